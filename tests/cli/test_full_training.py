"""``nastk search --data`` and ``nastk train``: from a search on images to networks that are trained fully."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nastk.cli import run

NET = """
import nastk
from torch import nn

class Net(nn.Module):
    input_shape = (1, 6, 6)

    def __init__(self):
        super().__init__()
        width = nastk.choice("width", [1, 2, 4])
        activation = nastk.choice("activation", [nn.ReLU, nn.Tanh])
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3), activation(), nn.Flatten(), nn.Linear(16 * width, 3))

    def forward(self, x):
        return self.layers(x)
"""
OWN = """
import torch

def fit(network, folder):
    with open("trained", "a") as log:
        log.write("x")
    return 70.0 + float(torch.rand(())) + sum(p.numel() for p in network.parameters()) / 100

def fixed(row):
    return 60.0 + float(row.sum())
"""
SEARCH = ["search", "--space", "net.py:Net", "--objective", "accuracy", "--objective", "params", "--seed", "3"]


def files() -> None:
    Path("net.py").write_text(NET)
    Path("own.py").write_text(OWN)
    rng, labels = np.random.default_rng(0), np.arange(90) % 3
    np.savez("data.npz", images=rng.normal(size=(90, 6, 6)) + labels[:, None, None], labels=labels)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    files()
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one search on images, which many tests share."""
    place = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASTK_HOME", str(place / "home"))
        patch.chdir(place)
        files()
        search("--data", "data.npz", "--epochs", "1,2")
    return place / "nastk-out"


@pytest.fixture
def searched(here: Path, results: Path) -> None:
    shutil.copytree(results, here / "nastk-out")


def search(*more: str) -> None:
    assert run([*SEARCH, "--searcher", "random", "--budget", "3", *more]) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def report(folder: str = "nastk-trained") -> dict:
    return json.loads(Path(folder, "trained.json").read_text())


def test_a_search_on_images_and_its_best_networks_trained_fully(
    searched: None, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "nastk-out", "--top", "2", "--seeds", "2", "--json", "rows.json"]
    assert run(asked) == 0
    said = capsys.readouterr().out
    assert "data.npz: 66 training, 12 validation, 12 test images of 1 x 6 x 6 in 3 classes" in said
    assert "trained again with other seeds it was" in said
    assert "no choice made here, has seen" in said
    first = report()
    assert first["comparable"]
    for network in first["networks"]:
        known = [
            row["value"] for row in first["rows"] if (row["arch"], row["metric"]) == (network["arch"], "test_accuracy")
        ]
        assert len(known) == 2
        assert network["test_accuracy"]["mean"] == pytest.approx(np.mean(known))
        assert network["optimism"] == pytest.approx(network["believed"] - network["validation_accuracy"]["mean"])
        for folder in network["folders"]:
            assert {p.name for p in Path(folder).iterdir()} == {"weights.safetensors", "training.json"}
    assert {row["seed"] for row in json.loads(Path("rows.json").read_text())} == {4, 5}, "not the search's"
    written = [p.stat().st_mtime_ns for p in sorted(Path("nastk-trained").rglob("weights.safetensors"))]
    assert run(asked) == 0
    assert [p.stat().st_mtime_ns for p in sorted(Path("nastk-trained").rglob("weights.safetensors"))] == written
    assert report() == first
    assert "other settings, data or code" in refused(capsys, *asked, "--epochs", "3")
    assert report() == first


def test_files_of_the_searchs_networks_are_calibrated_and_compared_on_its_images(
    searched: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    export = ["export", "nastk-out", "--pick", "accuracy", "--format", "onnx"]
    assert run([*export, "--precision", "int8", "--out", "eight"]) == 0
    card = json.loads(next(Path("eight").glob("*.json")).read_text(encoding="utf-8"))
    assert card["checked_on"].endswith("validation images of data.npz")
    assert "given inputs" in card["files"][0]["run_by"]

    Path("data.npz").unlink()
    said = refused(capsys, *export, "--precision", "int8", "--out", "gone")
    assert "there is no data.npz" in said
    assert "--calibration inputs.npy" in said
    assert not Path("gone").exists()
    assert run([*export, "--out", "compared"]) == 0
    assert "outputs are compared on random inputs" in capsys.readouterr().err


def test_what_the_search_trained_otherwise_is_not_compared(searched: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "nastk-out", "--pick", "accuracy, params<=130", "--epochs", "3", "--seeds", "1"]) == 0
    assert "The search trained otherwise" in capsys.readouterr().out
    assert report()["networks"][0]["optimism"] is None
    images = np.load("data.npz")
    np.savez("more.npz", images=images["images"] + 1, labels=images["labels"])
    assert run(["train", "nastk-out", "--arch", "1_ReLU", "--data", "more.npz", "--seeds", "1", "--out", "more"]) == 0
    said = capsys.readouterr().out
    assert "Whether the search has seen them is not known here" in said
    np.savez("data.npz", images=images["images"] + 2, labels=images["labels"])
    assert "holds other images now" in refused(capsys, "train", "nastk-out", "--top", "1")
    assert "trainings on other images" in refused(
        capsys, "train", "nastk-out", "--top", "1", "--data", "data.npz", "--out", "more"
    )


def test_an_interrupted_training_goes_on(
    searched: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nastk import full_training

    asked = ["train", "nastk-out", "--top", "2", "--seeds", "1"]
    whole = [*asked, "--out", "whole"]
    assert run(whole) == 0
    train, done = full_training.train_network, []

    def once(*arguments: object) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(train(*arguments))
        return done[0]

    monkeypatch.setattr(full_training, "train_network", once)
    assert run(asked) == 130
    assert "what was trained is kept in nastk-trained; to go on: nastk" in capsys.readouterr().err
    assert not Path("nastk-trained/trained.json").exists()
    monkeypatch.setattr(full_training, "train_network", train)
    assert run(asked) == 0
    assert [row["value"] for row in report()["rows"]] == [row["value"] for row in report("whole")["rows"]]


def test_a_training_of_ones_own_trains_with_other_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    search("--accuracy", "own.py:fit")
    trained = len(Path("trained").read_text())
    asked = ["train", "nastk-out", "--top", "2", "--seeds", "3"]
    assert run(asked) == 0
    assert len(Path("trained").read_text()) == trained + 6
    values = [row["value"] for row in report()["rows"]]
    assert len(set(values)) == 6
    assert "trained again with other seeds it was" in capsys.readouterr().out
    assert run(asked) == 0
    assert len(Path("trained").read_text()) == trained + 6, "nothing is trained again"
    assert [row["value"] for row in report()["rows"]] == values
    Path("own.py").write_text(OWN + "\n# another recipe\n")
    assert "with other settings or code" in refused(capsys, *asked)
    assert "a training of your own trains" in refused(capsys, *asked, "--optimizer", "adamw")


def test_a_training_that_draws_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    search("--accuracy", "own.py:fixed")
    assert run(["train", "nastk-out", "--top", "1", "--seeds", "2"]) == 0
    assert "All seeds gave the same value" in capsys.readouterr().out


def test_a_failed_training_is_told_and_ends_nothing(searched: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(NET.replace("super().__init__()", "super().__init__(); width = 1", 1).replace(
        "nn.Flatten()", "nn.Flatten(2) if width == 4 else nn.Flatten()"
    ))  # fmt: skip
    archs = ["--arch", "4_ReLU", "--arch", "1_ReLU", "--seeds", "1"]
    assert run(["train", "nastk-out", *archs]) == 0
    said = capsys.readouterr().out
    assert "4_ReLU, seed 4 failed: RuntimeError" in said
    assert "all trainings failed; the first: RuntimeError" in refused(
        capsys, "train", "nastk-out", *archs[:2], "--out", "other"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which: --pick, --arch or --top"),
        (["--top", "1", "--pick", "accuracy"], "--pick and --top are given; leave one out"),
        (["--pick", "params<=1"], "say what is to be the best"),
        (["--arch", "9_ReLU"], "must be one of 1, 2, 4"),
        (["--top", "1", "--optimizer", "adam"], "sgd or adamw"),
        (["--top", "1", "--data", "nothing"], "there is no nothing"),
        (["--top", "1", "--data", "data.npz", "--image-size", "9"], "--image-size 6 resizes them"),
        (["--top", "1", "--image-size", "9"], "--image-size is of --data"),
        (["--top", "1", "--device", "tpu"], "unknown device"),
        (["--top", "1", "--device", "cpu", "--gpus", "2"], "gpus is a number of GPUs for --device cuda"),
    ],
)
def test_what_cannot_be_used_is_refused(
    searched: None, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "train", "nastk-out", *arguments)
    assert not Path("nastk-trained").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "data.npz", "--accuracy", "own.py:fit"], "leave one out"),
        (["--data", "data.npz", "--train", "train {arch}"], "leave one out"),
        (["--data", "data.npz", "--dataset", "cifar10"], "leave one out"),
        (["--image-size", "8"], "--image-size is of --data"),
        (["--data", "data.npz", "--image-size", "8"], "--image-size 6 resizes them"),
        (["--data", "nothing.npz"], "there is no nothing.npz"),
        (["--epochs", "2"], "--epochs are of trainings"),
    ],
)
def test_searches_that_cannot_be_had_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, *SEARCH, *arguments)
    assert not Path("nastk-out").exists()


def test_data_that_no_objective_needs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *SEARCH[:3], "--objective", "params", "--data", "data.npz")
    assert "no objective is measured by it" in said


def test_in_python_it_takes_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    import nastk
    from nastk.data.images import read_images

    data = read_images("data.npz")
    space = nastk.space("net.py:Net")
    oracle = nastk.oracles.Training(space, data, epochs=1)
    result = nastk.search(space, [oracle, nastk.oracles.Params(space)], "random", budget=2)
    found = nastk.train(result, "data.npz", archs=["1_ReLU"], seeds=2, recipe={"ema": 0.9})
    assert len(found.rows()) == 4
    assert found.networks[0].summary("test_accuracy")["seeds"] == 2
    assert Path(found.networks[0].folders[0], "weights.safetensors").exists()
