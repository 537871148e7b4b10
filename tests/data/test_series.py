"""Time series: sktime's files, .npz files of series, and what cannot be used."""

from __future__ import annotations

import importlib.machinery
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nastk
from nastk.data import _series_sources as module
from nastk.data.images import read_images
from nastk.errors import DataError, InvalidValue, MissingExtra, installing
from nastk.oracles import Recipe, Training
from nastk.oracles._fitting import options_for
from nastk.spaces.tcn import TCN

HEADER = "#about\n@problemName Toy\n@univariate false\n@classLabel true a b\n@data\n"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for sktime, with 20 training and 8 test series of two channels and 5 to 7 steps."""
    folder = tmp_path / "sktime" / "datasets" / "data" / "BasicMotions"
    folder.mkdir(parents=True)
    for part, count in (("TRAIN", 20), ("TEST", 8)):
        lines = []
        for i in range(count):
            steps = 5 + i % 3
            channels = [",".join(str(i + c + t / 10) for t in range(steps)) for c in range(2)]
            lines.append(":".join([*channels, "ab"[i % 2]]))
        (folder / f"BasicMotions_{part}.ts").write_text(HEADER + "\n".join(lines) + "\n")
    spec = importlib.machinery.ModuleSpec("sktime", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "sktime")]
    monkeypatch.setattr(module, "find_spec", lambda name: spec)
    return folder


def test_sktimes_files_are_read_and_padded(shipped: Path) -> None:
    data = read_images("basic-motions")
    assert data.description.startswith("basic-motions: 16 training, 4 validation, 8 test series of 2 x 7 in 2 classes")
    assert data.classes == ("a", "b")
    raw = module.shipped_series("basic-motions")["test"][0]
    np.testing.assert_allclose(raw[0, 1], [1, 1.1, 1.2, 1.3, 1.4, 0, 0], rtol=1e-6)
    x = data.training.tensors()[0]
    assert x.mean((0, 2)).abs().max() < 1e-5
    assert read_images("basic-motions", 4).shape == (2, 4)


def test_shorter_series_are_means_and_longer_ones_lines(shipped: Path) -> None:
    import torch

    x = torch.arange(6.0).reshape(1, 1, 6)
    assert module.with_length(x, 3).tolist() == [[[0.5, 2.5, 4.5]]]
    assert module.with_length(x, 12).shape == (1, 1, 12)
    assert module.with_length(x, None) is x


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2:a\n", "no line @data"),
        ("@data\n", "no series"),
        ("@data\n1,2:3:a\n", "line 2"),
        ("@data\n1,x:a\n", "line 2"),
        ("@data\n1,?:a\n", "line 2"),
        ("@data\n1,nan:a\n", "finite"),
        ("@data\n1,2:a\n\n1,2:3,4:b\n", "line 4: 2 channels, and 1 before"),
        ("@data\na\n", "line 2"),
    ],
)
def test_files_that_are_damaged_are_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.ts"
    file.write_text(text)
    with pytest.raises(DataError, match=said) as refused:
        module.read_ts(file)
    assert "\n" not in str(refused.value)


def test_without_sktime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=re.escape(installing("timeseries"))):
        read_images("plaid")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("basic-motions", "40 test series of 6 x 100 in 4 classes"),
        ("japanese-vowels", "370 test series of 12 x 29 in 9 classes"),
        ("acsf1", "100 test series of 1 x 1460 in 10 classes"),
        ("plaid", "537 test series of 1 x 1344 in 11 classes"),
    ],
)
def test_what_sktime_ships(name: str, said: str) -> None:
    if find_spec("sktime") is None:
        pytest.skip("needs sktime: pip install 'nastk[timeseries]'")
    assert said in read_images(name).description


def of_file(path: Path, **arrays: Any) -> str:
    np.savez(path / "series.npz", **arrays)
    return str(path / "series.npz")


def test_files_of_series(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3, 9)), np.arange(40) % 2
    data = read_images(of_file(tmp_path, series=x, labels=y))
    assert data.shape == (3, 9)
    assert data.kind == "series"
    assert read_images(of_file(tmp_path, series=x[:, 0], labels=y)).shape == (1, 9)
    parts = {"train_series": x, "train_labels": y, "test_series": x[:8], "test_labels": y[:8]}
    assert len(read_images(of_file(tmp_path, **parts)).test) == 8
    for wrong, said in (
        ({"series": x[0, 0], "labels": y[:9]}, "series are"),
        ({"series": np.full_like(x, np.inf), "labels": y}, "not finite"),
        ({"series": x.astype(str), "labels": y}, "series are numbers"),
        ({"train_series": x, "labels": y}, "without its other half"),
    ):
        with pytest.raises(InvalidValue, match=said):
            read_images(of_file(tmp_path, **wrong))


def test_networks_of_images_and_of_series_are_told_apart(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3, 9)), np.arange(40) % 2
    data = read_images(of_file(tmp_path, series=x, labels=y))
    assert options_for(TCN(), data) == {"num_classes": 2, "in_channels": 3, "input_size": 9}
    with pytest.raises(InvalidValue, match="the series of"):
        options_for(nastk.space("nasbench-macro"), data)
    with pytest.raises(InvalidValue, match="take inputs of"):
        options_for(TCN(), read_images("digits"))
    recipe = Recipe()
    object.__setattr__(recipe, "augment", ("flip",))  # as where torchvision is installed
    with pytest.raises(InvalidValue, match="augmentation is of images"):
        Training(TCN(), data, recipe=recipe)


def test_a_network_is_trained_on_series(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 1, 16)) + np.where(y, 1.5, -1.5)[:, None, None] * np.sin(np.arange(16))
    oracle = Training(TCN(), read_images(of_file(tmp_path, series=x, labels=y)), epochs=6, batch=8)
    found = oracle.evaluate(TCN().parse("c8_f5_d1|c8_f5_d2|c8_f3_d1|c8_f3_d1")[None]).value[0]
    assert found > 80, oracle.reasons


def test_proxies_of_networks_that_take_series() -> None:
    oracle = nastk.oracles.ZeroCost(TCN(), ["nwot", "snip"], batch_size=8, cache=False, input_size=20, in_channels=2)
    found = oracle(TCN().sample(2, 0))
    assert found.shape == (2, 2)
    assert np.isfinite(found).all(), oracle.reasons
