"""Supernets: one training that rates all architectures of a space, by weights that they share.

A method is one file, ``supernets/sandwich.py`` the supernet ``sandwich``, behind one contract: :meth:`Supernet.fit` on
images, :meth:`Supernet.evaluate` of architectures, :meth:`Supernet.weights_of` one.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.images import ImageData
from nastk.errors import DataError, InvalidValue, NastkError, UnknownName, Unsupported
from nastk.evaluation import reason_of
from nastk.files import atomic_path
from nastk.spaces._networks import recalibrate
from nastk.spaces._placeholders import build_options
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets._sharing import SharedWeights

Array = NDArray[np.float64]

CALIBRATED_ON = 4
"""Batches of training images whose statistics a network gets before it is judged."""

MOST_TRIES = 100
"""Networks in a row that may fail before a space is given up."""

JUDGED_ON = 500
"""Images of a batch when networks are judged."""

CHECKPOINT_SECONDS = 10.0
"""Seconds between checkpoints of a training."""

FACTS = "nastk-supernet"
"""Key of the metadata of a supernet's file under which it says what was trained."""

UNKEPT = ("progress", "device")
"""Arguments of constructors on which what a supernet learns does not depend, or that are written down apart."""


@dataclass(frozen=True)
class Judged:
    """What a supernet says of architectures, on validation images.

    Args:
        loss: ``(n,)``, lower is better; cross-entropy, or the method's own. NaN where a network failed.
        accuracy: ``(n,)``, %, or the metric of another problem than classification; NaN where the method has none.
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
        seconds, elapsed: processor time of the training, and time that passed, over all its runs, after :meth:`fit`.
        reasons: for architectures (as text) that failed, why.

    Raises:
        InvalidValue: a number that cannot be used.
    """

    name: ClassVar[str]
    shared: SharedWeights
    _generator: np.random.Generator
    """Draws paths."""
    tells_accuracy: ClassVar[bool] = True
    """Whether it tells accuracies, beside losses that rate."""
    _checkpoint: Path | None = None

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

    def fit(self, space: SearchSpace, data: ImageData, checkpoint: str | os.PathLike[str] | None = None) -> Supernet:
        """Train the shared weights.

        Args:
            space: builds its networks.
            data: training images are learned from; validation images only judge.
            checkpoint: a file from which an interrupted training of the same settings goes on, where the method keeps
                any; it is removed in the end.

        Raises:
            Unsupported: the space builds no networks, or not such as the method needs.
            UnknownName: an option that neither the method has nor the networks.
            NastkError: no network of the space could be trained.
            DataError: the checkpoint is another training's, or damaged.
        """
        Supernet.check(self, space)
        self._take(space, data)
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._before, self._began = (0.0, 0.0), (time.process_time(), time.monotonic())
        self._written = time.monotonic()
        with self._own_random_state():
            self._fit()
        self.seconds, self.elapsed = self._time_so_far
        if self._checkpoint is not None:
            self._checkpoint.unlink(missing_ok=True)
        return self

    def _take(self, space: SearchSpace, data: ImageData) -> None:
        self.space, self.data, self.problem = space, data, data.problem
        self._training = data.training.to(self.device)
        self._validation = data.validation.to(self.device)

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """PyTorch's random state, seeded within and as before afterwards."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            yield

    @property
    def _time_so_far(self) -> tuple[float, float]:
        now = time.process_time(), time.monotonic()
        before, began = self._before, self._began
        return before[0] + now[0] - began[0], before[1] + now[1] - began[1]

    def check(self, space: SearchSpace) -> None:
        """Refuse a space of whose networks the method can make no supernet, before any work.

        Raises:
            Unsupported: the space builds no networks, or not such as the method needs.
            UnknownName: an option that neither the method has nor the networks.
        """
        space.need_networks("a supernet")
        taken = build_options(space)
        for option in self.build_options:
            if option not in taken and "**" not in taken:
                raise UnknownName(f"option of the supernet {self.name}", option, parameters_of(type(self)))

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

    # ---- on disk

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments on which what is learned depends, with the values that they have."""
        return {name: getattr(self, name) for name in sorted(parameters_of(type(self))) if name not in UNKEPT}

    def identity(self) -> dict[str, Any]:
        """What a supernet's weights depend on, JSON-able; after :meth:`fit`.

        Raises:
            Unsupported: an argument cannot be written down, such as a teacher that is an object.
        """
        found = {
            "method": self.name, "settings": self.settings, "build": repr(sorted(self.build_options.items())),
            "space": self.space.whole.identity(), "data": self.data.identity,
        }  # fmt: skip
        try:
            content: dict[str, Any] = json.loads(json.dumps(found))
        except TypeError as error:
            raise Unsupported(f"{self.name} cannot be kept: {error}") from error
        return content

    def state(self) -> dict[str, Tensor]:
        """What was learned, by name; :meth:`load` gives it back.

        Raises:
            Unsupported: the method keeps nothing.
        """
        raise Unsupported(f"the supernet {self.name} cannot be kept on disk")

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`, after :meth:`_take`; KeyError, RuntimeError or ValueError where it does not
        fit."""
        raise Unsupported(f"the supernet {self.name} cannot be kept on disk")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write what was learned to a safetensors file, whole or not at all; after :meth:`fit`.

        Raises:
            Unsupported: the method, or one of its arguments, cannot be kept.
            StorageError: the file cannot be written.
        """
        from safetensors.torch import save_file

        times = {"seconds": self.seconds, "elapsed": self.elapsed}
        facts = json.dumps({"identity": self.identity(), **times}, sort_keys=True)
        state = {name: value.detach().cpu().contiguous().clone() for name, value in self.state().items()}
        with atomic_path(path) as temporary:
            save_file(state, temporary, {FACTS: facts})
        return Path(path)

    def load(self, path: str | os.PathLike[str], space: SearchSpace, data: ImageData) -> Supernet:
        """What :meth:`save` wrote, into a supernet of the same settings, instead of :meth:`fit`.

        Raises:
            DataError: the file is damaged, none of a supernet, or of another space, data, method or settings.
        """
        from safetensors import SafetensorError, safe_open

        self._take(space, data)
        try:
            with safe_open(path, framework="pt") as opened:
                facts = json.loads((opened.metadata() or {}).get(FACTS, "null"))
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
            identity, seconds, elapsed = facts["identity"], float(facts["seconds"]), float(facts["elapsed"])
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{path} is damaged, or no supernet: {reason_of(error)}") from error
        mine = self.identity()
        if other := [what for what in mine if identity.get(what) != mine[what]]:
            raise DataError(f"{path} is a supernet that differs in its {' and '.join(other)}")
        try:
            with self._own_random_state():
                self._restore({name: value.to(self.device) for name, value in state.items()})
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"{path} is damaged: {reason_of(error)}") from error
        self.seconds, self.elapsed = seconds, elapsed
        return self

    # ---- images

    def _draw(self) -> tuple[Tensor, Tensor]:
        """A random batch of training images, moved, and their labels."""
        places = torch.randint(len(self._training), (min(self.batch, len(self._training)),))
        images, labels = self._training.batch(places)
        return self._shifted(images.to(self.device)), labels.to(self.device)

    def _shifted(self, images: Tensor) -> Tensor:
        """Images moved by up to `shift` pixels, all the same way; series as they are."""
        if not self.shift or images.dim() != 4:
            return images
        # as dark as the darkest pixel: a border of the mean would be an edge that no image has when judged
        padded = functional.pad(images, [self.shift] * 4, value=float(images.min()))
        down, right = torch.randint(2 * self.shift + 1, (2,)).tolist()
        return padded[..., down : down + images.shape[-2], right : right + images.shape[-1]]

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

    # ---- a training that goes on

    def _checkpoint_due(self) -> bool:
        """Whether it is time to write one, which a caller then does."""
        if self._checkpoint is None:
            return False
        now = time.monotonic()
        due = now - self._written >= CHECKPOINT_SECONDS
        self._written = now if due else self._written
        return due

    def _write_checkpoint(self, **content: Any) -> None:
        """What the training depends on from here, with the state of PyTorch's random numbers and of those of paths,
        whole or not at all."""
        assert self._checkpoint is not None
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        content |= {
            "identity": json.dumps(self.identity()), "time": list(self._time_so_far), "weights": self._weights_so_far(),
            "paths": self._state_of_draws(), "random": torch.get_rng_state(), "cuda": cuda,
        }  # fmt: skip
        with atomic_path(self._checkpoint) as temporary:
            torch.save(content, temporary)

    def _resume(self, take: Callable[[dict[str, Any]], None] = lambda content: None) -> dict[str, Any] | None:
        """The checkpoint, whose weights and random states are taken; None where there is none.

        Args:
            take: takes what else the method wrote: after the weights, and before the random states.

        Raises:
            DataError: the file is damaged, or another training's.
        """
        file = self._checkpoint
        if file is None or not file.exists():
            return None
        try:
            content: dict[str, Any] = torch.load(file, map_location=self.device, weights_only=True)
            known = json.loads(content["identity"]) == self.identity()
            if known:
                self._take_weights(content["weights"])
                take(content)
                self._take_state_of_draws(content["paths"])
                torch.set_rng_state(content["random"].cpu())
                if content["cuda"] is not None:
                    torch.cuda.set_rng_state(content["cuda"].cpu(), self.device)
                self._before = (float(content["time"][0]), float(content["time"][1]))
        except Exception as error:  # of a damaged file: unpickling errors of many kinds
            raise DataError(f"{file} is no checkpoint of a supernet: {reason_of(error)}; remove it") from error
        if not known:
            raise DataError(f"{file} is of a training with other settings, data or space; remove it")
        return content

    def _weights_so_far(self) -> dict[str, Tensor]:
        return self.shared.kept()

    def _take_weights(self, kept: Mapping[str, Tensor]) -> None:
        self.shared.restore(kept)

    def _state_of_draws(self) -> Any:
        """The state of what draws paths, as a checkpoint keeps it."""
        return json.dumps(self._generator.bit_generator.state)

    def _take_state_of_draws(self, state: Any) -> None:
        self._generator.bit_generator.state = json.loads(state)


class NetworkSupernet(Supernet):
    """A supernet that judges an architecture by its own network with the shared weights."""

    _calibration: list[Tensor]
    """Batches of training images whose statistics networks get."""

    @abstractmethod
    def _own_network(self, arch: Archs) -> nn.Module:
        """The network of an architecture ``(d,)`` with a copy of its shared weights."""

    def network_of(self, arch: Archs) -> nn.Module:
        """The network of an architecture with its shared weights, recalibrated, in evaluation mode."""
        network = self._own_network(arch)
        recalibrate(network, self._calibration)
        return network

    def _judge(self, arch: Archs) -> tuple[float, float]:
        network = self.network_of(arch)
        loss, total, count = 0.0, 0.0, 0
        with torch.inference_mode():
            for images, labels in self._validation.batches(JUDGED_ON):
                found, labels = self.problem.read(network(images.to(self.device))), labels.to(self.device)
                loss += float(self.problem.total(found, labels))
                total += float(self.problem.scores(found, labels).double().sum())
                count += len(labels)
        return loss / count, self.problem.scale * total / count

    def weights_of(self, arch: Archs) -> dict[str, Tensor]:
        network = self.network_of(self.space.as_archs(arch)[0])
        return {name: value.detach().cpu() for name, value in network.state_dict().items()}


class PathSupernet(NetworkSupernet):
    """A supernet whose networks run with slices of shared weights; a method says what a step trains.

    Args:
        kernel_transforms: see :class:`nastk.supernets._sharing.SharedWeights`.
        options: see :class:`Supernet`.
    """

    def __init__(self, kernel_transforms: bool = False, **options: Any):
        super().__init__(**options)
        self.kernel_transforms = kernel_transforms

    def _fit(self) -> None:
        self._prepare()
        self._sample(1)  # an optimiser needs a parameter to begin with
        self._begin()
        first = self._resume(lambda content: self._take_position(content["position"]))
        optimiser = torch.optim.AdamW(list(self.shared.weights), self.rate, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        if first is not None:
            optimiser.load_state_dict(first["optimiser"])
            schedule.load_state_dict(first["schedule"])

        def grown(parameter: nn.Parameter, new: bool) -> None:
            parameter.grad = None
            optimiser.state.pop(parameter, None)  # its running means have the old shape
            if new:
                optimiser.param_groups[0]["params"].append(parameter)

        self.shared.grown = grown
        for step in range(0 if first is None else first["step"], self.steps):
            optimiser.zero_grad()
            self._train(*self._draw(), step)
            self._step(optimiser, list(self.shared.weights))
            schedule.step()
            if self._checkpoint_due():
                self._write_checkpoint(
                    step=step + 1, optimiser=optimiser.state_dict(), schedule=schedule.state_dict(),
                    position=self._position(),
                )  # fmt: skip
            if self.progress is not None:
                self.progress(step + 1, self.steps)
        self.shared.grown = None

    def _prepare(self) -> None:
        self._calibration = self._calibration_batches()
        self.shared = SharedWeights(self.space, self.seed, self.device, self.kernel_transforms, **self.build_options)
        self._generator = np.random.default_rng(self.seed)

    def state(self) -> dict[str, Tensor]:
        return self.shared.kept()

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        self._prepare()
        self.shared.restore(state)
        self._sample(1)  # as in a training, so that the same networks begin
        self._begin()

    def _begin(self) -> None:
        """What is known before the first step, such as the largest network."""

    def _position(self) -> dict[str, Any]:
        """What a step depends on beside the weights and random numbers, as a checkpoint keeps it."""
        return {}

    def _take_position(self, position: Mapping[str, Any]) -> None:
        """The inverse of :meth:`_position`, when the weights are those of the checkpoint."""

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

    def _logits(self, images: Tensor, arch: Archs) -> Any:
        """A network in training mode on images: its outputs, as the problem reads them."""
        self.shared.network(arch).train()
        with mixed_precision(self.device):
            found = self.problem.read(self.shared(images, arch))
        return {name: part.float() for name, part in found.items()} if isinstance(found, dict) else found.float()

    def _own_network(self, arch: Archs) -> nn.Module:
        return self.shared.materialise(arch)


def parameters_of(cls: type[Supernet]) -> dict[str, inspect.Parameter]:
    """The named arguments of a supernet's constructor, those that it hands on to the classes above it included."""
    found: dict[str, inspect.Parameter] = {}
    for above in cls.__mro__:
        if "__init__" in vars(above) and issubclass(above, Supernet):
            for parameter in list(inspect.signature(above.__init__).parameters.values())[1:]:
                if parameter.kind != parameter.VAR_KEYWORD:
                    found.setdefault(parameter.name, parameter)
    return found


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Forward passes in bfloat16 on a GPU that has it; as they are elsewhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()
