"""Proposals from a hypernetwork that is trained in turns with a supernet (MODNAS, Sukthanker et al., arXiv 2402.18213).

The training is :class:`nastk.supernets.modnas.Modnas`'s; this proposes with what it learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk import problems
from nastk.data.images import Part
from nastk.errors import InvalidValue
from nastk.relaxation.discretisers import Discretiser
from nastk.relaxation.entropy import entropies
from nastk.relaxation.hypernetworks import Hypernetwork
from nastk.relaxation.scalarisations import Scalarisation
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets.modnas import Epoch, Images, Modnas, Target, sampled

Array = NDArray[np.float64]


class SupernetGenerator:
    """Proposes architectures for a preference and a device after training one supernet and no single architecture.

    Both objectives are normalised to their quantile among random architectures: latency once per device, the
    cross-entropy in every epoch, as the supernet learns. (The released code scales the cross-entropy by its minimum and
    maximum so far in the epoch.)

    Args:
        space: one with a supernet (`SearchSpace.supernet`).
        network: the hypernetwork's name; `network_options` go to its constructor.
        discretiser: from logits to architectures. A hard one passes single paths through the supernet; where it
            needs a gradient, also the outputs of the other operations on these paths.
        scalarisation: of the two objectives.
        combination: of the devices' gradients, "mean" or "mgda".
        epochs: passes over the training images.
        warmup: fraction of the epochs in which paths are uniform and the hypernetwork is not trained.
        batch: approximate number of images per step.
        weight_rate, momentum, decay, clip: of the supernet's SGD, whose rate is annealed to 0 by a cosine.
        learning_rate, betas: of the hypernetwork's Adam.
        alignment: weight of the cosine between objectives and preference, subtracted from the loss.
        references: number of random architectures for normalising the cross-entropy.
        seed: random seed.
        device: of the supernet; the hypernetwork stays on the CPU.
        progress: called with (done, total) after each epoch.
        problem: what the supernet is trained for, see :mod:`nastk.problems`; where this says cross-entropy, it is the
            problem's loss.
        entropy: greatest weight of the mean entropy of the choices (nats) in the hypernetwork's loss, which grows
            linearly from 0 after the warm-up, so that what it draws becomes what it proposes (MTL-NAS, arXiv
            2003.14058; its weight is 10). 0, as in MODNAS, leaves it out.
        build_options: of `SearchSpace.supernet`.

    Raises:
        UnknownName: no such hypernetwork, discretiser, scalarisation, combination.
        InvalidValue: an option out of range.
        Unsupported: the exact expectation, which would pass the whole space through the supernet.
    """

    def __init__(
        self,
        space: SearchSpace,
        network: str = "bank",
        discretiser: str | Discretiser = "reinmax",
        scalarisation: str | Scalarisation = "linear",
        combination: str = "mean",
        epochs: int = 100,
        warmup: float = 0.25,
        batch: int = 64,
        weight_rate: float = 0.1,
        momentum: float = 0.9,
        decay: float = 5e-4,
        clip: float = 5.0,
        learning_rate: float = 3.9e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        alignment: float = 0.01,
        references: int = 64,
        seed: int = 0,
        device: str = "cpu",
        network_options: dict[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        problem: str | problems.Problem = "classification",
        entropy: float = 0.0,
        **build_options: Any,
    ):
        if epochs < 1 or not 0 <= warmup < 1:
            raise InvalidValue(
                f"a supernet needs at least 1 epoch and a warm-up of 0 up to 1; got {epochs} and {warmup}"
            )
        self.space, self.epochs, self.warmup, self.progress = space, epochs, warmup, progress
        self.problem = problems.problem(problem)
        self.sizes = [int(size) for size in space.sizes]
        self.trained = Modnas(
            network, discretiser, scalarisation, combination, warmup, weight_rate, momentum, decay, learning_rate,
            betas, alignment, references, entropy, network_options, batch=batch, clip=clip, shift=0, seed=seed,
            device=device, progress=self._tick, **build_options,
        )  # fmt: skip

    # ---- training

    def fit(self, training: Images, validation: Images, devices: Sequence[Target]) -> SupernetGenerator:
        """Train both networks; returns itself, with the training curve `epochs_`.

        Args:
            training: images for the supernet's weights.
            validation: other images, for the hypernetwork.
            devices: at least one; their embeddings have the same length.

        Raises:
            InvalidValue: no devices, embeddings of different lengths, or too few images.
        """
        for pictures, labels in (training, validation):
            if len(pictures) < 2 or len(pictures) != len(labels):
                raise InvalidValue(f"needs 2 or more images with one label each; got {len(pictures)} and {len(labels)}")
        self.trained.begin(self.space, devices, self.problem)
        own, held_out = (Part.of(*images).to(self.trained.device) for images in (training, validation))
        self._parts = self.trained.parts_of(len(own))  # steps of an epoch
        resting = round(self.warmup * self.epochs) * self._parts
        self.trained.alternate(own, held_out, self.epochs * self._parts, resting)
        return self

    def _tick(self, done: int, total: int) -> None:
        if self.progress is not None and done % self._parts == 0:
            self.progress(done // self._parts, self.epochs)

    @property
    def epochs_(self) -> list[Epoch]:
        """The training curve."""
        return self.trained.epochs_

    @property
    def supernet_(self) -> nn.Module:
        return self.trained.supernet_

    @property
    def hypernetwork_(self) -> Hypernetwork:
        return self.trained.hypernetwork_

    def cross_entropies(self, archs: Archs, images: Images) -> Array:
        """Cross-entropy (nats) of each architecture ``(n, d)`` with the shared weights, ``(n,)``."""
        return self.trained.cross_entropies(archs, images)

    # ---- proposals

    def logits(self, embedding: Array, preferences: Array) -> Tensor:
        """Logits ``(n, S)`` for a device ``(e,)`` and preferences ``(n, 2)`` of error and latency.

        Raises:
            InvalidValue: invalid preferences, or an embedding of a wrong length.
        """
        weights = torch.as_tensor(np.atleast_2d(preferences), dtype=torch.float32)
        if weights.ndim != 2 or weights.shape[1] != 2 or not bool(((weights >= 0).all(1) & (weights.sum(1) > 0)).all()):
            raise InvalidValue(
                "a preference is two weights, of error and of latency; they must not be negative nor both be zero"
            )
        place = torch.as_tensor(np.asarray(embedding), dtype=torch.float32)
        if place.shape != self.trained.hypernetwork_.centre.shape:
            known = tuple(self.trained.hypernetwork_.centre.shape)
            raise InvalidValue(f"the embedding has shape {tuple(place.shape)}, those learned from {known}")
        with torch.no_grad():
            return self.hypernetwork_(weights / weights.sum(1, keepdim=True), place.expand(len(weights), -1))

    def entropies(self, embedding: Array, preferences: Array) -> Array:
        """Mean entropy of the choices for each preference, nats, ``(n,)``: 0 where one architecture is certain."""
        found: Array = entropies(self.logits(embedding, preferences).detach(), self.sizes).mean(-1).double().numpy()
        return found

    def propose(self, embedding: Array, preferences: Array) -> Archs:
        """The most probable architecture for each preference, ``(n, d)``; the device may be new."""
        return self._archs(self.logits(embedding, preferences))

    def sample(self, embedding: Array, preferences: Array, draws: int, seed: int = 0) -> Archs:
        """Architectures sampled for each preference, ``(n * draws, d)``."""
        logits = self.logits(embedding, preferences).repeat_interleave(draws, 0)
        return self._archs(sampled(logits, self.sizes, torch.Generator().manual_seed(seed)))

    def _archs(self, scores: Tensor) -> Archs:
        return np.stack([row.argmax(1).numpy() for row in scores.split(self.sizes, dim=1)], axis=1).astype(np.int64)
