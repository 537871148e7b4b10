"""Supernets in the user's cache: trained once for a space, images and settings, and read again afterwards."""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from nastk.code import code_of
from nastk.data.fetch import default_home
from nastk.data.images import ImageData
from nastk.errors import DataError, InvalidValue, NastkError
from nastk.files import locked_folder, write_text
from nastk.registry import SUPERNETS
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets._memory import Memory, amount, available, estimate
from nastk.supernets.base import Array, Judged, Supernet
from nastk.supernets.factory import supernet

FOLDER = "supernets"
"""Folder of the cache that holds them, each in a folder of its own."""

WEIGHTS, CHECKPOINT, JUDGED = "supernet.safetensors", "checkpoint.pt", "judged.json"
"""Files of a supernet: what it learned, where its training goes on, and what it says of random networks."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sample:
    """What a supernet says of random networks.

    Args:
        archs: ``(n, d)``; those that failed are left out.
        loss, accuracy: see :class:`Judged`.
        seconds, elapsed: processor time that judging took, and time that passed.
    """

    archs: Archs
    loss: Array
    accuracy: Array
    seconds: float
    elapsed: float


class Trained(Protocol):
    """What a training leaves."""

    seconds: float
    elapsed: float


Learned = TypeVar("Learned", bound=Trained)


class Kept(ABC, Generic[Learned]):
    """Something that is trained where it is not kept already.

    It pickles without its weights, which another process reads from the disk.

    Attributes:
        folder: where it is kept.
    """

    folder: Path
    _trained: Learned | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trained": None}

    @property
    def is_kept(self) -> bool:
        return (self.folder / WEIGHTS).is_file()

    @property
    def seconds(self) -> float:
        """Processor time of its training, over all its runs; of one that is kept too."""
        return self.get().seconds

    @property
    def elapsed(self) -> float:
        """Time that passed in its training, likewise."""
        return self.get().elapsed

    def get(self, progress: Progress | None = None) -> Learned:
        """What was trained: read, or trained and kept.

        Args:
            progress: called with (done, total, what).

        Raises:
            DataError: what is kept is damaged.
            StorageError: it cannot be kept, or another process trains it.
            NastkError: it cannot be trained.
        """
        if self._trained is None and self.is_kept:
            self._trained = self._read()
        if self._trained is None:
            with locked_folder(self.folder):
                self._trained = self._read() if self.is_kept else self._train(progress)
        return self._trained

    @abstractmethod
    def _read(self) -> Learned:
        """What is kept."""

    @abstractmethod
    def _train(self, progress: Progress | None) -> Learned:
        """Train and keep it."""


class KeptSupernet(Kept[Supernet]):
    """A supernet that is trained where it is not kept already.

    Args:
        space: that is searched. Of a pool the networks of the space that it restricts share weights.
        data: images.
        method: name of the supernet, or ``file.py:Class``.
        options: of its class.
        build: options of `SearchSpace.build`.
        seed: of its training.
        device: of its training.

    Attributes:
        method, folder: as named, and where it is kept.
        shipping: what results say where its accuracies are an objective.

    Raises:
        UnknownName: no such supernet.
        InvalidValue: an option that cannot be used.
    """

    shipping = "Accuracies are those with its weights, as they ship: no network was trained alone."

    def __init__(
        self,
        space: SearchSpace,
        data: ImageData,
        method: str,
        options: Mapping[str, Any] | None = None,
        build: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.searched, self.space, self.data, self.method = space, space.whole, data, method
        self.options, self.build = dict(options or {}), dict(build or {})
        self.seed, self.device = seed, device
        self.folder = default_home() / FOLDER / self.key

    def _made(self, **more: Any) -> Supernet:
        return supernet(self.method, seed=self.seed, device=self.device, **self.options, **self.build, **more)

    @property
    def key(self) -> str:
        """Hash of all that its weights depend on."""
        made = self._made()
        made.space, made.data = self.space, self.data
        own = self.space.source_code(), SUPERNETS.get(self.method)
        codes = [None if code is None else code.digest for code in map(code_of, own)]
        text = json.dumps([made.identity(), codes, torch.device(self.device).type], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def asked(self) -> dict[str, Any]:
        """What it is, JSON-able, by which it can be made again; the images as :meth:`ImageData.asked` says."""
        return {
            "method": self.method, "options": self.options, "build": self.build, "seed": self.seed,
            **self.data.asked(),
        }  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """What its answers depend on, JSON-able."""
        facts = self.asked()
        return {name: facts[name] for name in ("method", "options", "build", "seed", "hash")}

    def check(self) -> None:
        """Refuse a space of whose networks the method can make no supernet, before any work.

        Raises:
            Unsupported: so it is.
        """
        self._made().check(self.space)

    @property
    def tells_accuracy(self) -> bool:
        return self._made().tells_accuracy

    @property
    def called(self) -> str:
        """What results call it."""
        return f"the supernet {self.method} on {self.data.name} ({self.data.identity})"

    @property
    def is_begun(self) -> bool:
        """Whether an interrupted training goes on."""
        return (self.folder / CHECKPOINT).is_file()

    @property
    def steps(self) -> int:
        """Of its training."""
        return self._made().steps

    @cached_property
    def _estimate(self) -> Memory:
        return estimate(self.space, self._made().batch, **self.build)

    def memory(self) -> Memory:
        """An estimate of what its training needs.

        Raises:
            NastkError: it exceeds what the machine has.
        """
        found = self._estimate
        if found.bytes > (free := available(torch.device(self.device))):
            raise NastkError(
                f"training the supernet {self.method} needs {found}; {amount(free)} are free here: narrow the space, "
                "its images, or the batch"
            )
        return found

    def _read(self) -> Supernet:
        try:
            return self._made().load(self.folder / WEIGHTS, self.space, self.data)
        except DataError as error:
            raise DataError(f"{error}; remove it, and it is trained again") from error

    def _train(self, progress: Progress | None) -> Supernet:
        def tick(done: int, total: int) -> None:
            if progress is not None:
                progress(done, total, f"steps of {self.method}")

        made = self._made(progress=tick).fit(self.space, self.data, self.folder / CHECKPOINT)
        made.progress = None
        made.save(self.folder / WEIGHTS)
        return made

    def evaluate(self, archs: Archs) -> Judged:
        """What it says of architectures ``(n, d)``."""
        return self.get().evaluate(archs)

    def weights_of(self, arch: Archs) -> dict[str, Tensor]:
        """The state of one architecture's own network ``(d,)``."""
        return self.get().weights_of(arch)

    @property
    def reasons(self) -> dict[str, str]:
        """Why networks could not be judged, by their text."""
        return self.get().reasons

    def judge_some(self, count: int, progress: Progress | None = None) -> Sample:
        """What it says of random networks of the space that is searched, all of them in a small one; kept beside it.

        Raises:
            NastkError: all of them failed.
        """
        of = hashlib.sha256(json.dumps([self.searched.identity(), count], sort_keys=True).encode()).hexdigest()[:8]
        file = self.folder / f"{of}-{JUDGED}"
        if file.is_file():
            return self._read_sample(file)
        trained = self.get(progress)
        archs = self._some(count)
        started, began = time.process_time(), time.monotonic()
        loss, accuracy = np.empty(len(archs)), np.empty(len(archs))
        for i, arch in enumerate(archs):
            judged = trained.evaluate(arch[None])
            loss[i], accuracy[i] = judged.loss[0], judged.accuracy[0]
            if progress is not None:
                progress(i + 1, len(archs), "networks judged")
        known = np.isfinite(loss)
        if not known.any():
            text, reason = next(iter(trained.reasons.items()))
            raise NastkError(f"{self.called}: none of {len(archs)} networks can be judged; {text}: {reason}")
        took = time.process_time() - started, time.monotonic() - began
        found = Sample(archs[known], loss[known], accuracy[known], *took)
        content = {
            "archs": found.archs.tolist(), "loss": found.loss.tolist(), "seconds": found.seconds,
            "elapsed": found.elapsed,
            "accuracy": [float(v) if np.isfinite(v) else None for v in found.accuracy],
        }  # fmt: skip
        write_text(file, json.dumps(content) + "\n")
        return found

    def _some(self, count: int) -> Archs:
        rng = np.random.default_rng([self.seed, 11])
        drawn = self.searched.sample(min(2 * count, self.searched.size), rng, unique=True)
        return drawn[self.searched.distinct(drawn)][:count]

    def _read_sample(self, file: Path) -> Sample:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            archs = self.searched.as_archs(np.array(content["archs"], dtype=np.int64))
            loss, accuracy = (np.array(content[name], dtype=np.float64) for name in ("loss", "accuracy"))
            if not len(archs) == len(loss) == len(accuracy) or not np.isfinite(loss).all():
                raise ValueError("numbers of architectures and losses differ, or a loss is none")
            return Sample(archs, loss, accuracy, float(content["seconds"]), float(content["elapsed"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, InvalidValue) as error:
            raise DataError(f"{file} is damaged: {error}; remove it") from error
