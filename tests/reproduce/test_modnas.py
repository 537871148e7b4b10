"""``nastk reproduce modnas``: the comparison on real tables, and the bars that it has to reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.cli import run as command
from nastk.errors import InvalidValue, UnknownName
from nastk.reproduce import modnas, modnas_figures


def mean(rows: list[dict[str, Any]], method: str, device: str, metric: str = "hypervolume") -> float:
    found = [r for r in rows if (r["method"], r["device"], r["metric"]) == (method, device, metric)]
    assert len(found) == 1
    return found[0]["mean"]


@pytest.mark.data
def test_the_command_compares_prints_draws_and_writes_tidy_rows(
    nastk_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--train",
        "pixel3,silver_4114",
        "--unseen",
        "fpga",
        "--labels",
        "40",
        "--seeds",
        "1",
        "--steps",
        "300",
    ]
    places = ["--json", str(tmp_path / "rows.json"), "--figures", str(tmp_path / "figures")]
    assert command(["reproduce", "modnas", *arguments, "--workers", "1", *places]) == 0
    assert "Hypervolume by device" in capsys.readouterr().out
    names = {f"{name}.{ending}" for name in ("modnas-fronts", "modnas-radar") for ending in ("png", "svg", "pdf")}
    assert {p.name for p in (tmp_path / "figures").iterdir()} == names
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {r["device"] for r in rows} == {"pixel3", "silver_4114", "fpga", "train", "unseen", "*"}
    assert all(
        {"experiment", "space", "method", "metric", "mean", "ci95", "seeds", "reference"} <= set(r) for r in rows
    )
    assert mean(rows, "true front", "fpga") == pytest.approx(0.9742, abs=1e-4)
    assert mean(rows, "true front", "pixel3") == pytest.approx(0.9840, abs=1e-4)
    assert mean(rows, "enumeration, true costs", "fpga") > 0.973
    for group in ("train", "unseen"):
        least = max(mean(rows, m, group) for m in ("random", "untrained generator", "nsga2@10", "nsga2@24"))
        assert mean(rows, "generator, decoded", group) > least
        assert mean(rows, "generator, decoded, true costs", group) > least
        assert mean(rows, "true front", group) >= mean(rows, "generator, decoded, true costs", group)
    assert mean(rows, "random", "fpga", "distinct") == 24
    assert mean(rows, "nsga2@10", "fpga", "distinct") == 10
    paid = {(r["method"], r["device"]): (r["samples"], r["measurements"]) for r in rows}
    assert paid["generator", "fpga"] == (40, 10)
    assert paid["generator", "pixel3"] == (40, 900)
    assert paid["nsga2@24", "fpga"] == (24, 24)


@pytest.mark.data
def test_fronts_of_objectives_that_name_their_devices_are_drawn(nastk_home: Path, tmp_path: Path) -> None:
    chosen = modnas.setting(objectives=("test_accuracy", "latency:pixel3", "energy:eyeriss"))
    (device,) = chosen.devices()
    points = np.random.default_rng(0).random((5, 3))
    made_up = modnas.Outcome({(method, device): points for method in modnas.Comparison(chosen, {}).methods})
    assert modnas_figures.draw(modnas.Comparison(chosen, {0: made_up}), tmp_path) == ["modnas-fronts.png"]


@pytest.mark.data
@pytest.mark.long
def test_the_bars_of_two_objectives(nastk_home: Path) -> None:
    rows = modnas.run(modnas.setting(), seeds=1, first=7, workers=1).rows()
    assert mean(rows, "generator, decoded, true costs", "*") >= 0.962
    assert mean(rows, "generator, decoded", "train") >= 0.945
    assert mean(rows, "generator, decoded", "unseen") >= 0.957
    for group in ("train", "unseen"):
        assert mean(rows, "generator, decoded", group, "distinct") >= 15
        for other in ("random", "untrained generator", "nsga2@10", "nsga2@24", "nsga2@50"):
            assert mean(rows, "generator", group) > mean(rows, other, group)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize(
    "third", [("latency:pixel3", "energy:eyeriss"), ("latency:raspi4", "energy:edgegpu")], ids=lambda t: t[0]
)
def test_three_objectives_beat_random_and_the_untrained_generator(nastk_home: Path, third: tuple[str, str]) -> None:
    rows = modnas.run(modnas.setting(objectives=("test_accuracy", *third), steps=600), seeds=1, workers=1).rows()
    device = rows[0]["device"]
    for method in ("generator", "generator, true costs", "generator, decoded", "generator, decoded, true costs"):
        for other in ("random", "untrained generator"):
            assert mean(rows, method, device) > mean(rows, other, device)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize(
    ("space", "train", "unseen"), [("gpt", "P100,a6000", "h100"), ("fbnet", "pixel3,1080ti_1", "fpga")]
)
def test_spaces_beyond_cells(extra_home: object, space: str, train: str, unseen: str) -> None:
    chosen = modnas.setting(space, train=train.split(","), unseen=[unseen], steps=500)
    rows = modnas.run(chosen, seeds=1, workers=1).rows()
    for group in ("train", "unseen"):
        for method in ("generator, decoded", "generator, decoded, true costs"):
            assert mean(rows, method, group) > mean(rows, "random", group)
            assert mean(rows, method, group) > mean(rows, "untrained generator", group)
    labels = {r["samples"] for r in rows if r["method"] == "generator"}
    assert labels == ({100} if space == "gpt" else {0})  # nothing of fbnet is trained


@pytest.mark.data
@pytest.mark.long
def test_memory_is_a_third_objective_of_language_models(extra_home: object) -> None:
    chosen = modnas.setting(
        "gpt", ("perplexity", "latency", "memory"), ["P100", "a6000"], ["h100"], steps=300, true_costs=False
    )
    rows = modnas.run(chosen, seeds=1, workers=1).rows()
    assert mean(rows, "generator, decoded", "unseen") > mean(rows, "random", "unseen")


@pytest.mark.data
def test_a_run_is_the_same_again_and_seeds_differ(nastk_home: Path) -> None:
    chosen = modnas.setting(train=("pixel3",), unseen=("fpga",), labels=20, steps=20)
    first, again, other = (modnas._run(modnas._Job(chosen, seed)).points for seed in (3, 3, 4))
    assert all(np.array_equal(first[key], again[key], equal_nan=True) for key in first)
    assert any(not np.array_equal(first[key], other[key], equal_nan=True) for key in first)


@pytest.mark.data
def test_what_cannot_be_is_refused(nastk_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match="nasbench201"):
        modnas.setting("nasbench202")
    with pytest.raises(InvalidValue, match="two objectives"):
        modnas.setting(objectives=("latency",))
    with pytest.raises(InvalidValue, match="both trained on and unseen"):
        modnas.setting(train=("fpga",))
    with pytest.raises(UnknownName, match="pixel3"):
        modnas.setting(train=("pixel33",))
    with pytest.raises(InvalidValue, match="at least one seed"):
        modnas.run(modnas.setting(), seeds=0)
    for wrong, cure in (
        (["--network", "bankk"], "bank"),
        (["--space", "nasbench202"], "nasbench201"),
        (["--objectives", "test_accuracy,latncy"], "latency"),
        (["--train", "fpga"], "both trained on and unseen"),
    ):
        assert command(["reproduce", "modnas", *wrong]) == 2
        assert cure in capsys.readouterr().err
