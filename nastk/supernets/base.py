"""Supernets: one training that rates all architectures of a space, by weights that they share.

A method is one file, ``supernets/sandwich.py`` the supernet ``sandwich``, behind one contract: :meth:`Supernet.fit` on
images, :meth:`Supernet.evaluate` of architectures, :meth:`Supernet.weights_of` one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.images import ImageData
from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.spaces._networks import recalibrate
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets._sharing import SharedWeights

Array = NDArray[np.float64]

CALIBRATED_ON = 4
"""Batches of training images whose statistics a network gets before it is judged."""

MOST_TRIES = 100
"""Networks in a row that may fail before a space is given up."""

JUDGED_ON = 500
"""Images of a batch when networks are judged."""


@dataclass(frozen=True)
class Judged:
    """What a supernet says of architectures, on validation images.

    Args:
        loss: ``(n,)``, lower is better; cross-entropy, or the method's own. NaN where a network failed.
        accuracy: ``(n,)``, %; NaN where the method has none.
    """

    loss: Array
    accuracy: Array


class Supernet(ABC):
    """Weights that all architectures of a space share.

    Args:
        steps: of the training.
        batch: images a step, about.
        rate, decay: learning rate, annealed to 0 by a cosine, and weight decay of AdamW.
        clip: greatest norm of a step's gradients.
        shift: training images are moved by up to this many pixels.
        seed: random seed of weights, paths and images.
        device: of the training.
        progress: called with (done, total) steps.
        build_options: of `SearchSpace.build`.

    Attributes:
        name: as registered.
        space, data, shared: after :meth:`fit`.
        reasons: for architectures (as text) that failed, why.

    Raises:
        InvalidValue: a number that cannot be used.
    """

    name: ClassVar[str]
    shared: SharedWeights

    def __init__(
        self,
        steps: int = 600,
        batch: int = 64,
        rate: float = 4e-3,
        decay: float = 1e-2,
        clip: float = 5.0,
        shift: int = 1,
        seed: int = 0,
        device: str | torch.device = "cpu",
        progress: Callable[[int, int], None] | None = None,
        **build_options: Any,
    ):
        if steps < 1 or batch < 2 or rate <= 0 or decay < 0 or clip <= 0 or shift < 0:
            raise InvalidValue(
                f"a supernet's training takes 1 step, 2 images, a positive rate and clip, and decay and shift of "
                f"at least 0; got steps={steps}, batch={batch}, rate={rate}, clip={clip}, decay={decay}, shift={shift}"
            )
        self.steps, self.batch, self.rate, self.decay, self.clip = steps, batch, rate, decay, clip
        self.shift, self.seed, self.device, self.progress = shift, seed, torch.device(device), progress
        self.build_options = build_options
        self.reasons: dict[str, str] = {}

    def fit(self, space: SearchSpace, data: ImageData) -> Supernet:
        """Train the shared weights.

        Args:
            space: builds its networks.
            data: training images are learned from; validation images only judge.

        Raises:
            Unsupported: the space builds no networks, or not such as the method needs.
            NastkError: no network of the space could be trained.
        """
        self.space, self.data = space, data
        self._training = data.training.to(self.device)
        self._validation = data.validation.to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._fit()
        return self

    def check(self, space: SearchSpace) -> None:
        """Refuse a space of whose networks the method can make no supernet, before any work.

        Raises:
            Unsupported: the space builds no networks, or not such as the method needs.
        """
        space.need_networks("a supernet")

    @abstractmethod
    def _fit(self) -> None: ...

    def evaluate(self, archs: Archs) -> Judged:
        """Judge architectures, ``(n, d)``, on the validation images."""
        found = [self._attempt(arch) for arch in self.space.as_archs(archs)]
        loss, accuracy = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return Judged(loss, accuracy)

    def _attempt(self, arch: Archs) -> tuple[float, float]:
        try:
            return self._judge(arch)
        except NastkError:
            raise
        except (Exception, SystemExit) as error:
            self.reasons[self.space.format(arch)] = reason_of(error)
            return np.nan, np.nan

    @abstractmethod
    def _judge(self, arch: Archs) -> tuple[float, float]:
        """Loss and accuracy (%) of an architecture ``(d,)``."""

    @abstractmethod
    def weights_of(self, arch: Archs) -> dict[str, Tensor]:
        """The state of one architecture's own network, to start its training from, or to use as it is."""

    @property
    def unshared(self) -> str:
        """In one line, what the networks of the space do not share; after :meth:`fit`."""
        return self.shared.unshared_summary

    # ---- images

    def _draw(self) -> tuple[Tensor, Tensor]:
        """A random batch of training images, moved, and their labels."""
        places = torch.randint(len(self._training), (min(self.batch, len(self._training)),))
        images, labels = self._training.batch(places)
        images, labels = images.to(self.device), labels.to(self.device)
        if self.shift and images.dim() == 4:
            # as dark as the darkest pixel: a border of the mean would be an edge that no image has when judged
            padded = functional.pad(images, [self.shift] * 4, value=float(images.min()))
            down, right = torch.randint(2 * self.shift + 1, (2,)).tolist()
            images = padded[..., down : down + images.shape[-2], right : right + images.shape[-1]]
        return images, labels

    def _calibration_batches(self) -> list[Tensor]:
        """The same training images for every network."""
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self._training), generator=generator)[: CALIBRATED_ON * self.batch]
        return [
            self._training.batch(places)[0].to(self.device) for places in order.split(self.batch) if len(places) > 1
        ]

    def _step(self, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
        nn.utils.clip_grad_norm_(parameters, self.clip)
        optimiser.step()


class PathSupernet(Supernet):
    """A supernet whose networks run with slices of shared weights; a method says what a step trains.

    Args:
        kernel_transforms: see :class:`nastk.supernets._sharing.SharedWeights`.
        options: see :class:`Supernet`.
    """

    def __init__(self, kernel_transforms: bool = False, **options: Any):
        super().__init__(**options)
        self.kernel_transforms = kernel_transforms

    def _fit(self) -> None:
        self._calibration = self._calibration_batches()
        self.shared = SharedWeights(self.space, self.seed, self.device, self.kernel_transforms, **self.build_options)
        self._generator = np.random.default_rng(self.seed)
        self._sample(1)  # an optimiser needs a parameter to begin with
        self._begin()
        optimiser = torch.optim.AdamW(list(self.shared.weights), self.rate, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)

        def grown(parameter: nn.Parameter, new: bool) -> None:
            parameter.grad = None
            optimiser.state.pop(parameter, None)  # its running means have the old shape
            if new:
                optimiser.param_groups[0]["params"].append(parameter)

        self.shared.grown = grown
        for step in range(self.steps):
            optimiser.zero_grad()
            self._train(*self._draw(), step)
            self._step(optimiser, list(self.shared.weights))
            schedule.step()
            if self.progress is not None:
                self.progress(step + 1, self.steps)
        self.shared.grown = None

    def _begin(self) -> None:
        """What is known before the first step, such as the largest network."""

    @abstractmethod
    def _train(self, images: Tensor, labels: Tensor, step: int) -> None:
        """Add the gradients of one step to the shared weights."""

    def _sample(self, count: int, move: Callable[[Archs], Archs] | None = None) -> Archs:
        """Random architectures, ``(count, d)``, whose networks can be run; of the others the reason is kept.

        Args:
            move: where an architecture ``(d,)`` that was drawn is taken, such as into a part of the space.

        Raises:
            NastkError: there is hardly one.
        """
        found: list[Archs] = []
        for _ in range(MOST_TRIES + count):
            if len(found) == count:
                break
            arch = self.space.sample(1, self._generator)[0]
            if move is not None:
                arch = self.space.canonical(move(arch)[None])[0]
            try:
                self.shared.network(arch)
            except (Exception, SystemExit) as error:
                self.reasons[self.space.format(arch)] = reason_of(error)
            else:
                found.append(arch)
        if len(found) < count:
            raise NastkError(
                f"none of {MOST_TRIES} networks of {self.space.name} in a row could be run; the last: "
                f"{list(self.reasons.values())[-1]}"
            )
        return np.array(found, dtype=np.int64).reshape(count, self.space.d)

    def _logits(self, images: Tensor, arch: Archs) -> Tensor:
        """A network in training mode on images."""
        self.shared.network(arch).train()
        found: Tensor = self.shared(images, arch)
        return found

    def network_of(self, arch: Archs) -> nn.Module:
        """The network of an architecture with its shared weights, recalibrated, in evaluation mode."""
        network = self.shared.materialise(arch)
        recalibrate(network, self._calibration)
        return network

    def _judge(self, arch: Archs) -> tuple[float, float]:
        network = self.network_of(arch)
        loss, right, count = 0.0, 0, 0
        with torch.inference_mode():
            for images, labels in self._validation.batches(JUDGED_ON):
                logits, labels = network(images.to(self.device)), labels.to(self.device)
                loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
                right += int((logits.argmax(1) == labels).sum())
                count += len(labels)
        return loss / count, 100.0 * right / count

    def weights_of(self, arch: Archs) -> dict[str, Tensor]:
        network = self.network_of(self.space.as_archs(arch)[0])
        return {name: value.detach().cpu() for name, value in network.state_dict().items()}
