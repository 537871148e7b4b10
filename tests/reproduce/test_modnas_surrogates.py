"""``nastk reproduce modnas`` where no table has all objectives: judged by surrogates, learned from measurements."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentences import sentence_pairs, write_pairs

from nastk.cli import run as command
from nastk.errors import InvalidValue, UnknownName
from nastk.generators import ParetoGenerator
from nastk.oracles.table import benchmark
from nastk.reproduce import modnas, modnas_hat, modnas_surrogates
from nastk.reproduce.modnas_surrogates import Surrogate, SurrogateCase
from nastk.spaces.base import Archs


@pytest.fixture
def home(fetched: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the tables of hat and of both widths of mobilenetv3."""
    found = fetched("hat", "mobilenetv3", "mobilenetv3-w10")
    monkeypatch.setenv("NASTK_HOME", str(found))
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches and trainings that show nothing but that they run."""
    for name, value in (("SAMPLE", 200), ("POOL", 60), ("GENERATIONS", 2), ("FRONT_GENERATIONS", 2)):
        monkeypatch.setattr(modnas_surrogates, name, value)
    monkeypatch.setattr(modnas, "ParetoGenerator", partial(ParetoGenerator, labels=200, distillation_steps=20))


def hat(**options: Any) -> Any:
    return modnas.setting("hat", source_samples=100, evaluations=(10,), steps=10, **options)


def test_the_error_of_a_surrogate_is_that_on_what_it_did_not_learn() -> None:
    archs = np.arange(100)[:, None]
    values = np.random.default_rng(0).normal(size=100)

    def memory(known: Archs, of: Any) -> Any:
        told = dict(zip(known[:, 0].tolist(), of, strict=True))
        return lambda more: np.array([told.get(int(a), a / 1e6) for (a,) in more])

    made = Surrogate.fit(memory, archs, np.where(archs[:, 0] < 90, values, np.nan), "ms", "min")
    assert made.predict(archs[:90]).tolist() == values[:90].tolist()
    assert made.measured == 90
    assert abs(made.rank) < 0.3
    assert made.error == pytest.approx(np.median(np.abs(values[:90])), abs=0.01)


@pytest.mark.data
def test_the_unseen_device_is_known_by_its_own_ten_measurements(home: Path) -> None:
    case = SurrogateCase(hat(), 0)
    (latency,) = case.open
    assert {task.device for task in case.source_tasks(latency)} == {"raspberrypi", "xeon"}
    table = benchmark("hat", dataset="wmt14ende")
    truth = table.values("latency", device="titanxp")[table.table.rows(case.references())]
    assert np.isfinite(truth).all()
    assert len(truth) == 10
    assert case.measured(latency, "titanxp").tolist() == truth.tolist()
    on_xeon = table.values("latency", device="xeon")[table.table.rows(case.references())]
    assert np.isnan(on_xeon).all()  # so they are predicted from what the Xeon did measure
    assert (case.measured(latency, "xeon") > 0).all()
    # a network is judged by its features: those of uneven layers by the even one
    archs = case.space.sample(5, 0)
    oracle = case.oracle(latency, "titanxp")
    np.testing.assert_allclose(oracle(archs), oracle(modnas_hat.same_features(archs)))
    with pytest.raises(InvalidValue, match="name one --unseen; got 2"):
        hat(train=["xeon"], unseen=["titanxp", "raspberrypi"])
    with pytest.raises(UnknownName, match="titanxp"):
        hat(unseen=["titan"])
    with pytest.raises(UnknownName, match="params"):
        hat(objectives=["val_accuracy", "latency"])
    with pytest.raises(InvalidValue, match="on each device in turn"):
        hat(objectives=["params", "flops"])


@pytest.mark.data
@pytest.mark.usefixtures("small")
def test_the_command_says_what_judges_its_results(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(modnas.SETTINGS, "hat", hat())
    files = ["--json", str(tmp_path / "rows.json")]
    line = ["reproduce", "modnas", "--space", "hat", "--seeds", "1", "--steps", "5", "--workers", "1"]
    assert command([*line, *files]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "surrogate front" in said
    assert "judged by surrogates: latency of 2,000 a device, Spearman 0.9" in said
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all("judged by surrogates" in row["note"] for row in rows)
    found = {(r["method"], r["device"], r["metric"]): r for r in rows}
    assert (
        found["surrogate front", "titanxp", "hypervolume"]["mean"] > found["random", "titanxp", "hypervolume"]["mean"]
    )
    assert found["random", "titanxp", "distinct"]["mean"] == 24
    paid = {what: found[what, "titanxp", "hypervolume"]["measurements"] for what in ("generator", "nsga2@10", "random")}
    assert paid == {"generator": 10, "nsga2@10": 10, "random": 0}


@pytest.mark.data
def test_accuracies_of_one_width_and_latencies_of_another_are_said_to_be_mixed(home: Path) -> None:
    assert len(modnas.SETTINGS["mobilenetv3"].train) == 11
    setting = modnas.setting("mobilenetv3", train=["2080ti_1"])
    for where in (setting.mixed, setting.note):
        assert "width 1.0" in where
        assert "width 1.2" in where
    assert "val_accuracy of 2,162 values, Spearman 0.99" in setting.note
    case = setting.case(0)
    assert case.whole.name == "mobilenetv3"
    assert case.space.name == "mobilenetv3-w10"
    archs = case.space.sample(20, 0)
    assert (case.space.settings(archs).resolutions == 224).all()
    other = archs.copy()
    other[:, -1] = 0  # the resolution of a row says nothing here
    goals = [case.placed(goal, "titan_rtx_64") for goal in case.goals]
    for goal in goals:
        assert case.world.oracle(goal)(other).tolist() == case.world.oracle(goal)(archs).tolist()
    assert case.world.oracle(goals[0]).direction == "max"
    assert len(case.points(np.concatenate([archs, other]), "titan_rtx_64")) == 20


@pytest.mark.data
def test_the_loss_of_sentence_pairs_takes_the_place_of_parameters(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modnas_hat, "EVALUATED", 12)
    files = write_pairs(tmp_path, sentence_pairs()[:120])
    setting = hat(pairs=files, training=1, labels=6)
    assert setting.objectives == ("validation_loss", "latency")
    assert "narrow networks" in setting.mixed
    assert "validation_loss of 12 values" in setting.note
    assert setting.needs_labels()
    case = setting.case(0)
    loss = case.shared(predicted=True)["0 validation_loss"]
    assert len(loss.task_) == 6
    assert np.isfinite(loss.predict(case.space.sample(3, 0)).mean).all()
    with pytest.raises(InvalidValue, match="--pairs goes with --space hat"):
        modnas.setting("gpt", pairs=files)


# ---- the bars


def mean(rows: list[dict[str, Any]], method: str, metric: str = "hypervolume") -> float:
    found = [r["mean"] for r in rows if (r["method"], r["device"], r["metric"]) == (method, "unseen", metric)]
    assert len(found) == 1
    return found[0]


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize("space", ["mobilenetv3", "hat"])
def test_an_unseen_device_is_served_as_well_as_by_enumeration(home: Path, space: str) -> None:
    rows = modnas.run(modnas.setting(space), seeds=2, first=5, workers=1).rows()
    assert mean(rows, "generator, decoded") >= 0.95 * mean(rows, "enumeration")
    for other in ("random", "untrained generator", "nsga2@10", "nsga2@24"):
        assert mean(rows, "generator, decoded") > mean(rows, other)
