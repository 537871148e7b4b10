"""What searches for paths share that train candidates alone: their trainings, and the best of them by validation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nastk.data.images import ImageData
from nastk.errors import InvalidValue
from nastk.generators._mtl_together import batches_of, train_together
from nastk.generators.mtl_nas import check_tasks, loss_on
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion

APART = 1000
"""Between the random seeds of two trainings of one architecture."""


class Candidates:
    """Architectures trained alone, side by side, and judged by the validation part; see the searches."""

    candidates_: Archs
    losses_: NDArray[np.float64]

    def __init__(
        self,
        space: MTLFusion,
        epochs: int,
        batch: int,
        rate: float,
        decay: float,
        repeats: int,
        seed: int,
        device: str | torch.device,
        progress: Callable[[int, int], None] | None,
    ):
        if min(epochs, repeats) < 1 or batch < 2:
            raise InvalidValue(
                f"needs 2 images a step, and an epoch and a repeat at least; got {batch}, {epochs} and {repeats}"
            )
        for name, value in {"rate": rate, "decay": decay}.items():
            if not (math.isfinite(value) and value >= 0) or (value == 0 and name == "rate"):
                raise InvalidValue(f"{name} is a positive number, the decay also 0; got {value}")
        self.space, self.epochs, self.batch, self.rate, self.decay = space, epochs, batch, rate, decay
        self.repeats, self.seed, self.device, self.progress = repeats, seed, torch.device(device), progress

    def _begin(self, data: ImageData, trainings: int) -> None:
        """Check the data, and forget what was trained. `trainings` are counted by the progress, side by side as one."""
        check_tasks(self.space, data)
        self.problem = data.problem
        steps = len(batches_of(len(data.training), self.epochs, self.batch, torch.Generator()))
        self._done, self._total = 0, trainings * steps
        self._networks: list[list[nn.Module]] = []
        self.candidates_ = np.empty((0, self.space.d), dtype=np.int64)
        self.losses_ = np.empty((0, self.repeats))

    def _train(self, archs: Archs, data: ImageData) -> None:
        """Train candidates ``(n, d)``, and keep their networks and losses beside those before them."""
        repeats = [
            train_together(
                self.space, archs, data, self.epochs, self.batch, self.rate, self.decay, self.seed + APART * i,
                self.device, self._follow,
            )
            for i in range(self.repeats)
        ]  # fmt: skip
        validation = data.validation.to(self.device)
        losses = np.array(
            [[loss_on(validation, self.problem, network, self.device) for network in some] for some in repeats]
        ).T
        if not np.isfinite(losses).all():
            raise InvalidValue(f"validation losses are not finite: take a rate below {self.rate:g}")
        self._networks += [list(some) for some in zip(*repeats, strict=True)]
        self.candidates_ = np.concatenate([self.candidates_, archs])
        self.losses_ = np.concatenate([self.losses_, losses])

    def _follow(self) -> None:
        self._done += 1
        if self.progress is not None:
            self.progress(self._done, self._total)

    @property
    def best(self) -> int:
        """Which candidate has the least validation loss."""
        return int(self.losses_.mean(axis=1).argmin())

    @property
    def arch(self) -> Archs:
        """The candidate with the least validation loss, ``(d,)``."""
        found: Archs = self.candidates_[self.best]
        return found

    def networks(self, candidate: int | None = None) -> list[nn.Module]:
        """The networks of a candidate (its place; by default that of :attr:`arch`) as trained, one a repeat, in
        evaluation mode."""
        return self._networks[self.best if candidate is None else candidate]

    def network(self) -> nn.Module:
        """That one of :meth:`networks` with the least validation loss."""
        return self.networks()[int(self.losses_[self.best].argmin())]
