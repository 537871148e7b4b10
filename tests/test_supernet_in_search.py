"""Supernets in searches: trained once, used as a lower fidelity, paid for, shipped, and where nothing can use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elastic import Elastic, Staged, digits
from typer.testing import CliRunner

import nastk
from nastk.cli import app, run
from nastk.errors import DataError, InvalidValue, NastkError, Unsupported
from nastk.oracles import Params, SupernetAccuracy
from nastk.run import SearchDescription, compose, describe
from nastk.supernets import _kept, _memory, base, supernet
from nastk.supernets._kept import KeptSupernet

BLOCKS = ("block-wise", "self-supervised")
STEPS = {"method": "sandwich", "steps": 3, "batch": 16}
NETWORK = """
from torch import nn
import nastk


class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        width = nastk.choice("width", [2, 4, 6])
        layers = [nn.Conv2d(1, width, nastk.choice("kernel", [1, 3]), 2, padding="valid"), nn.BatchNorm2d(width)]
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))

    def forward(self, x):
        return self.body(x)
"""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own, and few networks to judge."""
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("nastk.run.supernet.JUDGED", 12)


def accuracy(space: nastk.SearchSpace, **options: Any) -> nastk.FunctionOracle:
    return nastk.FunctionOracle(space, lambda archs: 50.0 + archs.sum(axis=1), "accuracy", "%", "max", **options)


def size(space: nastk.SearchSpace) -> nastk.FunctionOracle:
    return nastk.FunctionOracle(space, lambda archs: archs.sum(axis=1), "size", expensive=False)


def kept(**more: Any) -> KeptSupernet:
    return KeptSupernet(nastk.space_of(Elastic), digits(), "sandwich", {"steps": 3, "batch": 16, **more})


# ---- on disk


LONG = pytest.mark.long
SMALL_CELLS = {"channels": 2, "cells_per_stage": 1, "input_size": 8, "in_channels": 1}


@pytest.mark.parametrize(
    ("name", "options", "stopped"),
    [
        ("sandwich", {"steps": 6}, 5),
        pytest.param("single-path", {"steps": 6}, 5, marks=LONG),
        ("block-wise", {"steps": 2, "teacher_steps": 1, "rounds": 2}, 5),
        pytest.param("progressive", {"steps": 9}, 2, id="progressive, its teacher in training", marks=LONG),
        pytest.param("progressive", {"steps": 9}, 5, id="progressive, taught"),
        ("few-shot", {"steps": 6, "parts": 2}, 3),
        pytest.param(
            "few-shot",
            {"steps": 24, "parts": 2, "split": "edges"},
            5,
            id="few-shot, before edges are split",
            marks=pytest.mark.long,
        ),
        pytest.param("few-shot", {"steps": 24, "parts": 2, "split": "edges"}, 18, id="few-shot, within a round"),
        pytest.param(
            "few-shot", {"steps": 48, "parts": 2, "split": "gradient", "contexts": 1}, 35, id="few-shot, by gradients"
        ),
        pytest.param("self-supervised", {"steps": 6}, 2, id="self-supervised, first stage", marks=LONG),
        pytest.param("self-supervised", {"steps": 6}, 4, id="self-supervised, second stage"),
        pytest.param(
            "modnas", {"steps": 8, "warmup": 0.5, **SMALL_CELLS}, 2, id="modnas, warm-up", marks=pytest.mark.long
        ),
        pytest.param("modnas", {"steps": 8, "warmup": 0.5, **SMALL_CELLS}, 6, id="modnas, in turns"),
    ],
)
def test_a_training_goes_on_as_if_it_had_not_been_interrupted(
    name: str, options: dict[str, Any], stopped: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "CHECKPOINT_SECONDS", 0.0)
    options = {"batch": 8, **options}
    spaces = {"modnas": nastk.space("nasbench201")} | {n: nastk.space_of(Staged) for n in BLOCKS}
    space = spaces.get(name, nastk.space_of(Elastic))
    file = tmp_path / "checkpoint.pt"
    archs = space.sample(4, 1)
    total: list[int] = []
    made = supernet(name, progress=lambda done, of: total.append(of), **options)
    whole = made.fit(space, digits()).evaluate(archs).loss

    def stop(done: int, of: int) -> None:
        if done == stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supernet(name, progress=stop, **options).fit(space, digits(), file)
    seen: list[int] = []
    other = supernet(name, **{**options, "batch": 17})
    with pytest.raises(DataError, match="other settings"):
        other.fit(space, digits(), file)
    again = supernet(name, progress=lambda done, of: seen.append(done), **options).fit(space, digits(), file)
    assert seen == list(range(stopped + 1, total[0] + 1))
    assert np.array_equal(again.evaluate(archs).loss, whole)
    assert not file.exists()


def test_only_the_same_supernet_is_read(tmp_path: Path) -> None:
    space = nastk.space_of(Elastic)
    made = supernet("sandwich", steps=2, batch=16).fit(space, digits())
    file = made.save(tmp_path / "net.safetensors")
    same = supernet("sandwich", steps=2, batch=16).load(file, space, digits())
    archs = space.sample(3, 0)
    assert np.array_equal(same.evaluate(archs).loss, made.evaluate(archs).loss)
    with pytest.raises(DataError, match="differs in its settings"):
        supernet("sandwich", steps=3, batch=16).load(file, space, digits())
    with pytest.raises(DataError, match="differs in its method"):
        supernet("single-path", steps=2, batch=16).load(file, space, digits())
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(DataError, match="damaged"):
        supernet("sandwich", steps=2, batch=16).load(file, space, digits())


def test_it_is_trained_once_and_its_memory_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept()
    assert "shared weights" in str(first.memory())
    first.get()
    assert first.is_kept
    assert not first.is_begun
    monkeypatch.setattr(KeptSupernet, "_train", None)  # another training would fail
    assert kept().seconds == first.seconds
    assert not kept(steps=4).is_kept, "other settings, another supernet"
    monkeypatch.setattr(_kept, "available", lambda device: 1000)
    with pytest.raises(NastkError, match="1 kB are free here"):
        kept(steps=4).memory()


def test_memory_counts_every_option() -> None:
    found = _memory.estimate(nastk.space_of(Elastic), 8)
    made = supernet("sandwich", steps=2, batch=8).fit(nastk.space_of(Elastic), digits())
    weights = sum(w.numel() for w in made.shared.weights)  # type: ignore[attr-defined]
    assert 0.95 * weights < found.weights < 1.5 * weights
    assert found.bytes == 4 * (4 * found.weights + found.activations)


# ---- as a lower fidelity


@pytest.mark.parametrize(
    "searcher",
    ["predictor", "ofa2", "pymoo:nsga2", *(pytest.param(n, marks=LONG) for n in ("modnas", "nsganetv2"))],
)
def test_searchers_use_it(searcher: str) -> None:
    space = nastk.space_of(Elastic)
    options: dict[str, Any] = {"steps": 5} if searcher == "modnas" else {}
    options |= {"generations": 2} if searcher == "ofa2" else {}
    with pytest.warns(UserWarning, match="Training the supernet sandwich on"):
        result = nastk.search(
            space, [accuracy(space), size(space)], searcher, supernet=STEPS, data=digits(), budget=5, verify=0,
            **options,
        )  # fmt: skip
    assert result.history.counts()["accuracy"] == 5
    assert result.supernet is not None
    assert result.supernet["lower_fidelity_of"] == ["accuracy"]
    assert result.supernet["seconds"] > 0
    assert any("steps took" in note for note in result.notes)


def test_networks_that_cannot_be_built_are_left_out_of_what_leads() -> None:
    space = nastk.space_of(Elastic)

    def some(archs: np.ndarray) -> np.ndarray:
        return np.where(archs[:, 0] == 0, np.nan, archs.sum(axis=1))  # as parameters are of what cannot be built

    unknown = nastk.FunctionOracle(space, some, "size", expensive=False)
    with pytest.warns(UserWarning, match="Training the supernet"):
        result = nastk.search(space, [accuracy(space), unknown], supernet=STEPS, data=digits(), budget=3, verify=0)
    assert result.history.counts()["accuracy"] == 3


def test_what_leads_is_trained_first() -> None:
    space = nastk.space_of(Elastic)
    search = compose(_description(space), _objects(space))
    search.train_supernet()
    assert search.supernet is not None
    assert search.supernet.sample is not None
    first = np.stack([p.arch for p in search.searcher.ask(2)])
    lower = search.searcher.models.lowest("accuracy")  # type: ignore[attr-defined]
    everyone = lower.predict(space.sample(200, 3)).mean
    assert (lower.predict(first).mean >= np.quantile(everyone, 0.8)).all()
    assert search.searcher.models._lower_of("accuracy") is lower  # type: ignore[attr-defined]


def _description(space: nastk.SearchSpace, **more: Any) -> SearchDescription:
    from nastk.run import describe_objects
    from nastk.run.supernet import supernet_facts
    from nastk.search.base import Objective

    facts, _ = supernet_facts(space, STEPS, digits(), None, 0)
    found, _ = describe_objects(space, [Objective.of(accuracy(space))], budget=6)
    return SearchDescription.from_dict({**found.to_dict(), "supernet": facts, **more})


def _objects(space: nastk.SearchSpace) -> Any:
    from nastk.run import Objects

    return Objects(space, {"accuracy": accuracy(space)}, images=digits())


def test_it_is_part_of_what_a_study_is() -> None:
    space = nastk.space_of(Elastic)
    objects = _objects(space)
    plain = compose(_description(space, supernet=None), objects)
    shared = compose(_description(space), objects)
    assert "supernet" not in plain.identity
    assert shared.identity["supernet"]["method"] == "sandwich"
    assert "data" not in shared.identity["supernet"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"searcher": "random"}, Unsupported, "random cannot use a supernet; predictor"),
        ({"predictors": {"accuracy": "few-shot-gp"}}, InvalidValue, "few-shot predictor, and cannot learn from"),
        ({"objectives": ()}, InvalidValue, "pays for none"),
    ],
)
def test_what_cannot_use_it_says_so_before_anything_is_trained(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    space = nastk.space_of(Elastic)
    if "objectives" in change:
        with pytest.raises(error, match=message):
            nastk.search(space, [Params(space)], supernet=STEPS, data=digits())
        return
    with pytest.raises(error, match=message):
        compose(_description(space, **change), _objects(space))


def test_nsga2_needs_to_know_every_objective() -> None:
    space = nastk.space_of(Elastic)
    slow = nastk.FunctionOracle(space, lambda archs: archs.sum(axis=1), "latency", "ms")
    with pytest.raises(InvalidValue, match="latency is known of none"):
        nastk.search(space, [accuracy(space), slow], "pymoo:nsga2", supernet=STEPS, data=digits())


# ---- names, and what ships


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    return "net.py:Net"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"supernet": "sandwich"}, "trained on images: add --data"),
        ({"ship_supernet": True, "data": "digits"}, "--ship-supernet is of --supernet"),
        ({"supernet_steps": 5}, "--supernet-steps is of --supernet"),
        ({"supernet": "sandwhich", "data": "digits"}, "did you mean 'sandwich'"),
        ({"supernet": "sandwich", "data": "digits", "ship_supernet": True, "epochs": [3]}, "leave out --epochs"),
        ({"supernet": "sandwich", "data": "digits", "supernet_start": True, "train": "x {arch}"}, "you train"),
        ({"supernet": {"steps": 3}, "data": "digits"}, "name of its method"),
    ],
)
def test_options_that_mean_nothing_are_refused(network: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(NastkError, match=message):
        describe(network, objectives=["accuracy", "params"], **options)


def test_a_method_without_accuracies_cannot_ship(network: str) -> None:
    asked = describe(network, objectives=["accuracy"], data="digits", supernet="block-wise", ship_supernet=True)
    with pytest.raises(Unsupported, match="tells no accuracies"):
        compose(asked)


@pytest.fixture
def nastk_command(network: str) -> Callable[..., Any]:
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


COMMON = ("--supernet", "sandwich", "--supernet-steps", "2", "--data", "digits", "--objective", "accuracy",
          "--objective", "params", "--verify", "0")  # fmt: skip


def test_the_supernet_ships(nastk_command: Callable[..., Any], network: str, tmp_path: Path) -> None:
    found = nastk_command("search", "--space", network, *COMMON, "--ship-supernet", "--budget", "3")
    assert found.exit_code == 0, found.output
    assert "no network was trained alone" in " ".join(found.output.split())
    content = json.loads((tmp_path / "nastk-out" / "result.json").read_text())
    accuracies = next(o for o in content["objectives"] if o["name"] == "accuracy")
    assert accuracies["kind"] == "estimate"
    assert "not trained alone" in accuracies["source"]
    row = content["front"][0]
    assert row["accuracy_source"] == "predicted"
    weights = nastk_command("export", "nastk-out", "--arch", row["arch"], "--format", "safetensors")
    assert weights.exit_code == 0, weights.output
    oracle = SupernetAccuracy(nastk.space(network), "digits", "sandwich", {"steps": 2})
    assert oracle([row["arch"]])[0] == pytest.approx(row["accuracy"])


def test_trainings_begin_with_its_weights(nastk_command: Callable[..., Any], network: str, tmp_path: Path) -> None:
    words = ("search", "--space", network, *COMMON, "--epochs", "1", "--budget", "2")
    found = nastk_command(*words, "--supernet-start", "--out", "begun")
    assert found.exit_code == 0, found.output
    plain = nastk_command(*words, "--out", "plain")
    assert "is kept in" in plain.output, "trained once"
    begun, alone = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("begun", "plain"))
    values = [{h["arch"]: h["value"] for h in content["history"]} for content in (begun, alone)]
    assert values[0].keys() == values[1].keys(), "the same seed proposes the same"
    assert values[0] != values[1]
    assert alone["supernet"]["trainings"] > 0
    assert begun["search"]["objectives"][0]["oracle"]["start"]["method"] == "sandwich"
    trained = nastk_command("train", "plain", "--top", "1", "--seeds", "1", "--supernet-start")
    assert trained.exit_code == 0, trained.output
    assert "from the weights of the supernet sandwich" in " ".join(trained.output.split())


def test_searches_that_cannot_end_with_status_2(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "--space", network, *COMMON, "--searcher", "random"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
