"""Accuracy, or error, of networks trained from scratch."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nastk.data.images import ImageData, Part
from nastk.errors import DataError, InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.files import writable_folder, write_text
from nastk.oracles._fitting import check_fit, options_for
from nastk.oracles._trainer import Job, Recipe, fingerprint, train
from nastk.oracles.base import Evaluation, Oracle, check_ascending, chosen_fidelity, lower_values
from nastk.outputs import AmbiguousOutput
from nastk.problems import CLASSIFICATION, Problem
from nastk.problems import problem as problem_of
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

    from nastk.supernets._kept import KeptSupernet

    Images = tuple[Tensor, Tensor]

Found = TypeVar("Found")

SPLITS = "splits.json"
"""File beside the folders of the networks: which images are of which part."""


@dataclass(frozen=True)
class Trained:
    """A network after its training.

    Args:
        validation, test: error, %.
        seconds: processor time.
    """

    validation: float
    test: float
    seconds: float


class Training(Oracle):
    """Networks trained on images from scratch, one after another; an expensive oracle.

    By default SGD with Nesterov momentum and a learning rate annealed to 0 by a cosine. On one kind of machine the
    result depends on the seed and the architecture only. A network that cannot be built or trained gets NaN. Where it
    returns several tensors, its logits are the one that is called so, or the only one that suits the labels.

    Of :class:`nastk.data.images.ImageData` it tells the accuracy on the validation part (%, maximised) and never looks
    at the test part. Each network has a folder, in which its weights are kept (``weights.safetensors``), and
    checkpoints from which a training goes on: a longer one, or one that was interrupted.

    Of images and labels as tensors it tells the validation error (%, minimised). Each architecture is trained once:
    results are cached, in `folder` if given, where other runs on the same images with the same settings find them.

    Args:
        space: whose networks to train.
        training: images, or the images ``(n, channels, height, width)`` and labels ``(n,)`` of the training part.
        validation, test: such pairs, where `training` is one.
        epochs, batch, rate, momentum, decay: of the training.
        seed: random seed of initial weights and of the order of the images.
        device: of the training.
        folder: where results are kept. Of `ImageData` a search has its own.
        fidelities: epochs at which the accuracy may be asked for, ascending; the last is `epochs`. A training to fewer
            is the beginning of that to the last, with its learning rates.
        recipe: all of how networks are trained, in place of `epochs` to `decay`; see :class:`nastk.oracles.Recipe`.
        problem: what the networks are trained for and judged by, see :mod:`nastk.problems`; by default that of the
            data, which is classification where nothing else is said. Of another one than classification the metric is
            told in its own unit, with its name and direction, and labels are what its loss compares outputs with.
        build_options: of `SearchSpace.build`; of `ImageData` those with which the networks fit it, by default.

    Attributes:
        reasons: for architectures (as text) that failed, why.
        data: the images, if they are `ImageData`.
        start: a supernet, with whose weights of an architecture its training begins; None for random ones. Of
            `ImageData` only.

    Raises:
        InvalidValue: images without labels, or too few; networks that do not fit them.
        Unsupported: the space builds no networks.
        StorageError: the folder cannot be written to.
    """

    name = "error"
    unit = "%"

    def __init__(
        self,
        space: SearchSpace,
        training: Images | ImageData,
        validation: Images | None = None,
        test: Images | None = None,
        epochs: int = 30,
        batch: int = 64,
        rate: float | None = None,
        momentum: float = 0.9,
        decay: float | None = None,
        seed: int = 0,
        device: str = "cpu",
        folder: str | os.PathLike[str] | None = None,
        fidelities: Sequence[int] = (),
        recipe: Recipe | None = None,
        problem: str | Problem | None = None,
        **build_options: Any,
    ):
        check_ascending(fidelities)
        if not all(isinstance(epoch, int) and epoch > 0 for epoch in fidelities):
            raise InvalidValue(f"fidelities are whole epochs, such as 5, 30; got {tuple(fidelities)}")
        epochs = fidelities[-1] if fidelities else epochs
        self.recipe = recipe or Recipe(epochs, batch, "sgd", rate, momentum, decay)
        if fidelities and self.recipe.epochs != fidelities[-1]:
            raise InvalidValue(f"the last fidelity, {fidelities[-1]}, is the number of epochs, {self.recipe.epochs}")
        self.space, self.seed, self.device, self.fidelities = space, seed, device, tuple(fidelities)
        self._device = device
        self._known: dict[bytes, Trained] = {}
        self.reasons: dict[str, str] = {}
        self._folder: Path | None = None
        self.data: ImageData | None = None
        self.start: KeptSupernet | None = None
        own = training.problem if isinstance(training, ImageData) else CLASSIFICATION
        self.problem = own if problem is None else problem_of(problem)
        if self.recipe.smoothing and not self.problem.smooths:
            raise InvalidValue(f"smoothing is of labels, and {self.problem.name} has none; leave it out")
        if isinstance(training, ImageData):
            if validation is not None or test is not None:
                raise InvalidValue("the images have a validation and a test part; leave out validation and test")
            self._take(training, folder, build_options)
            return
        if validation is None or test is None:
            raise InvalidValue("needs images and labels for validation and test, too")
        for pictures, labels in (training, validation, test):
            if len(pictures) < 2 or len(pictures) != len(labels):
                raise InvalidValue(f"needs 2 or more images with one label each; got {len(pictures)} and {len(labels)}")
        space.need_networks(self.name)
        self.build_options = build_options
        self._parts = {
            name: Part.of(*part) for name, part in (("training", training), ("validation", validation), ("test", test))
        }
        self.source = f"trained {self.recipe.epochs} epochs on {len(training[0])} images"
        if not self._classifies:  # a classifier of tensors tells its error
            self.name, self.unit, self.direction = self.problem.metric, self.problem.unit, self.problem.direction
        self._folder = None if folder is None else writable_folder(folder) / self._fingerprint()

    def _take(self, data: ImageData, folder: str | os.PathLike[str] | None, options: dict[str, Any]) -> None:
        """Become the accuracy on some data."""
        self.data, self.per_network, self.needs_folder = data, True, True
        self.name, self.unit, self.direction = self.problem.metric, self.problem.unit, self.problem.direction
        if self.recipe.augment and data.kind != "images":
            raise InvalidValue(f"augmentation is of images, and {data.name} are {data.kind}; leave it out")
        self.build_options = options or options_for(self.space, data)
        if options:
            self.space.need_networks(self.name)
            check_fit(self.space, data, options)
        self.folder = "" if folder is None else os.path.abspath(folder)
        self._parts = {"training": data.training, "validation": data.validation}
        self.source = f"trained {self.recipe.epochs} epochs on {data.name} ({data.identity})"

    @property
    def _classifies(self) -> bool:
        return self.problem.name == CLASSIFICATION.name

    def _value(self, badness: float) -> float:
        """What is told, of what a training minimises: of tensors that are classified the error itself."""
        return badness if self.data is None and self._classifies else self.problem.value(badness)

    def _fingerprint(self) -> str:
        """Hash of all that a result on tensors depends on besides the architecture."""
        r = self.recipe
        settings: list[Any] = [self.space.name, r.epochs, r.batch, r.rate, r.momentum, r.decay, self.seed]
        if r != Recipe(r.epochs, r.batch, "sgd", r.rate, r.momentum, r.decay):
            settings.append(asdict(r))
        if not self._classifies:
            settings.append(self.problem.identity())
        digest = hashlib.sha256(json.dumps([settings, self.device, self.build_options], sort_keys=True).encode())
        for part in self._parts.values():
            for tensor in part.tensors():
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    # ---- what it is

    def describe(self) -> dict[str, Any]:
        if self.data is None or self.data.spec is None:
            return super().describe()
        found = {
            "oracle": "training", **self.data.asked(), "epochs": list(self.fidelities),
            "recipe": self.recipe.to_dict(), "build": dict(self.build_options),
        }  # fmt: skip
        return found if self.start is None else {**found, "start": _apart_from_data(self.start.asked())}

    def data_asked(self) -> dict[str, Any]:
        """The images as :meth:`ImageData.asked` says."""
        return {} if self.data is None else self.data.asked()

    def identity(self) -> dict[str, Any]:
        if self.data is None:
            return super().identity()
        found = {
            "oracle": "training", "data": self.data.identity, "recipe": asdict(self.recipe), "seed": self.seed,
            "device": self._device.partition(":")[0], "build": repr(sorted(self.build_options.items())),
        }  # fmt: skip
        if not self._classifies:
            found["problem"] = self.problem.identity()
        return found if self.start is None else {**found, "start": self.start.identity()}

    # ---- evaluations

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        asked = chosen_fidelity(self, fidelity)
        if self.data is not None:
            return self._accuracies(archs, int(asked[0]) if asked else self.recipe.epochs)
        found = [self._attempt(arch, lambda arch: self.train(arch)) or Trained(*[math.nan] * 3) for arch in archs]
        return Evaluation(
            np.array([self._value(t.validation) for t in found], dtype=np.float64),
            np.full(len(found), np.nan),
            np.array([t.seconds for t in found], dtype=np.float64),
        )

    def _accuracies(self, archs: Archs, until: int) -> Evaluation:
        """Accuracies after `until` epochs, and after the fidelities that are passed on the way."""
        at = (*(int(epoch) for epoch in self.fidelities if epoch < until), until)
        curves: list[Mapping[float, float]] = []
        seconds = []
        for arch in archs:
            started = time.perf_counter()
            found = self._attempt(arch, lambda arch: train(self.job(arch, at)))
            errors = {} if found is None else found.errors
            curves.append({float(epoch): self._value(errors[epoch]["validation"]) for epoch in at if epoch in errors})
            seconds.append(time.perf_counter() - started)
        values = np.array([curve.get(until, math.nan) for curve in curves], dtype=np.float64)
        lower = lower_values(self.fidelities, until, curves)
        return Evaluation(values, np.full(len(values), np.nan), np.array(seconds, dtype=np.float64), lower=lower)

    def _attempt(self, arch: Archs, work: Callable[[Archs], Found]) -> Found | None:
        """What comes of a training; None, with the reason kept, where the network fails."""
        text = self.space.format(arch)
        self.reasons.pop(text, None)
        try:
            return work(arch)
        except NastkError as error:
            if not isinstance(error, AmbiguousOutput):
                raise
            self.reasons[text] = str(error)
        except (Exception, SystemExit) as error:
            self.reasons[text] = reason_of(error)
        return None

    def train(self, arch: Any) -> Trained:
        """The result of one architecture (text, index or row); trains it if it is not cached.

        Of `ImageData` the test error is NaN: it is no part of a search.

        Raises:
            Exception: whatever the network raises.
        """
        row = self.space.as_archs(arch)[0]
        if self.data is not None:
            found = train(self.job(row, (self.recipe.epochs,)))
            return Trained(found.errors[self.recipe.epochs]["validation"], math.nan, found.seconds)
        key = row.tobytes()
        if key not in self._known:
            file = None if self._folder is None else self._folder / f"{'-'.join(map(str, row))}.json"
            kept = None if file is None else _read(file)
            if kept is None:
                epochs = self.recipe.epochs
                done = train(self.job(row, (epochs,)))
                kept = Trained(done.errors[epochs]["validation"], done.errors[epochs]["test"], done.seconds)
                if file is not None:
                    write_text(file, json.dumps(asdict(kept)) + "\n")
            self._known[key] = kept
        return self._known[key]

    def job(self, arch: Archs, at: tuple[int, ...]) -> Job:
        """The training of an architecture ``(d,)``, with evaluations after these epochs."""
        folder = None
        if self.data is not None and (self.folder or self.study_folder):
            folder = Path(self.network_folder(arch))
            self._write_splits()
        evaluated = {name: part for name, part in self._parts.items() if name != "training"}
        classes = None if self.data is None else len(self.data.classes)
        return Job(
            self.space, arch, self.build_options, self._parts["training"], evaluated, classes, self.recipe, self.seed,
            self._device, at, folder, fingerprint(self.identity()) if folder is not None else "",
            finite=self.data is not None, start=None if self.start is None else self.start.weights_of,
            problem=self.problem,
        )  # fmt: skip

    def _write_splits(self) -> None:
        """Write down which images are of which part, beside the networks' folders."""
        assert self.data is not None
        file = Path(self.folder or self.study_folder) / SPLITS
        if not file.exists():
            write_text(file, json.dumps(self.data.written()) + "\n")


def _apart_from_data(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in ("data", "image_size", "hash")}


def _read(file: Path) -> Trained | None:
    """A cached result, or None.

    Raises:
        DataError: the file holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = Trained(*(float(content[name]) for name in ("validation", "test", "seconds")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{file} is not the result of a training: {error}; remove it") from error
    if not all(math.isfinite(value) for value in asdict(found).values()):
        raise DataError(f"{file} is not the result of a training: its numbers are not finite; remove it")
    return found
