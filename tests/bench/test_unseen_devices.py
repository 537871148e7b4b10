"""Latency predictors on unseen devices: no source of the target's family, one row each, paired differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nastk
from nastk.bench import unseen_devices
from nastk.bench.local_sources import Latencies
from nastk.bench.unseen_devices import Device, Rows
from nastk.cli import run as command
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.table import benchmark

OTHERS = ("no-sources", "flops")


pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def _home(extra_home: Path) -> None:
    """All tables are fetched."""


def test_sources_do_not_contain_the_family_of_a_target() -> None:
    found, _ = unseen_devices.devices()
    assert {d.family for d in found} <= set(unseen_devices.FAMILIES)
    assert len(set(found)) == len(found)
    for device in found:
        sources = set(unseen_devices._sources(device).devices)
        if device.family == "HW-NAS-Bench":
            assert not sources & set(unseen_devices.HW_NAS_BENCH)
        if device.family == "HELP":
            assert device.name not in sources
        if device.name == "titanx_32":
            assert not sources & {"titanx_1", "titanx_64", "titanx_256"}
            assert "gold_6226" in sources


def test_a_value_that_another_table_repeats_is_one_device() -> None:
    names = [d.name for d in unseen_devices.devices(["HELP"])[0] if d.space == "nasbench201"]
    assert not set(names) & set(unseen_devices.HW_NAS_BENCH)


def _scored(names: tuple[str, ...] = ("few-shot-gp", *OTHERS)) -> Rows:
    device = next(d for d in unseen_devices.devices(["HELP"])[0] if d.name == "gold_6226")
    return unseen_devices._scores(unseen_devices._Job(device, 0, "random", (5, 10), names))


def test_all_methods_get_the_same_measurements_and_are_tested_on_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bytes]] = []
    before = unseen_devices._adapted

    def spy(method, few, task):
        seen.append((method, task.archs.tobytes()))
        mine = before(method, few, task)
        tested = mine.predict

        def predict(archs):
            return tested(archs)

        mine.predict = predict
        return mine

    monkeypatch.setattr(unseen_devices, "_adapted", spy)
    rows = _scored()
    assert len(rows) == 2 * 3
    for n in (5, 10):
        assert len({archs for _, archs in seen if len(archs) == n * 6 * 8}) == 1
    assert rows[0]["spearman"] > 0.8
    assert 0 < rows[0]["median_error"] < 0.3
    assert np.isnan([r["stated_error"] for r in rows if r["samples"] == 5]).all()
    assert [np.isfinite(r["stated_error"]) for r in rows if r["samples"] == 10] == [True, True, False]


def test_differences_are_paired_and_worse_devices_are_named() -> None:
    shared = {"family": "F", "space": "s", "choice": "random", "samples": 10, "bias": 0.0, "covered95": 0.9}
    shared |= {"interval_score": 1.0, "stated_error": 0.1}
    rows = [
        {**shared, "device": d, "draw": draw, "method": m, "spearman": rho, "median_error": e}
        for draw in (0, 1)
        for d, m, rho, e in [
            ("a", "few-shot-gp", 0.9, 0.1), ("a", "flops", 0.8, 0.2),
            ("b", "few-shot-gp", 0.7, 0.1), ("b", "flops", 0.8, 0.2),
        ]
    ]  # fmt: skip
    (line,) = unseen_devices.differences(rows)
    assert line["spearman"] == pytest.approx(0.0)
    assert (line["spearman worse on"], line["median_error worse on"]) == (1, 0)
    (named,) = unseen_devices.worse(rows)
    assert (named["device"], named["best"]) == ("b", "flops 0.800")
    stars = [r for r in unseen_devices.tidy(rows) if r["family"] == "*" and r["metric"] == "spearman"]
    assert [(r["method"], r["mean"]) for r in stars] == [
        ("few-shot-gp", pytest.approx(0.8)),
        ("flops", pytest.approx(0.8)),
    ]
    without = [{**row, "covered95": np.nan} if row["method"] == "flops" else row for row in rows]
    told = [r for r in unseen_devices.tidy(without) if r["metric"] == "covered95"]
    assert {r["method"] for r in told} == {"few-shot-gp"}, "a method without intervals has no coverage"


@pytest.mark.long
def test_the_command_runs_on_a_fetched_family(tmp_path: Path) -> None:
    benchmark("gpt")
    file = tmp_path / "rows.json"
    line = "reproduce latency --unseen --families HW-GPT-Bench --methods no-sources,flops --samples 10 --seeds 1"
    assert command([*line.split(), "--workers", "1", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert {r["device"] for r in rows if r["family"] == "HW-GPT-Bench"} > {"v100", "*"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--unseen", "--tasks", "ND"], "--tasks is not an option of --unseen"),
        (["--families", "HELP"], "--families is an option of --unseen"),
        (["--measured", "here.json"], "--measured is an option of --unseen"),
        (["--unseen", "--families", "HELPS"], "unknown family of devices 'HELPS'; did you mean 'HELP'"),
        (["--unseen", "--samples", "2"], "three measurements"),
        (["--unseen", "--methods", "few-shot"], "unknown predictor 'few-shot'"),
    ],
)
def test_wrong_options_are_one_line(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["reproduce", "latency", *more]) == 2
    assert said in capsys.readouterr().err


def test_what_was_measured_here_is_a_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Latencies of made-up settings, as `nastk bench local-sources --keep` writes them; one network failed."""
    space = nastk.space("nasbench201")
    test = space.sample_networks(40, 0)
    work = space.statics(test, channels=4)["flops"] / 1e6
    remotes = {"torch": [None, *(0.1 + work[1:]).tolist()], "onnx": (0.2 + 2 * work).tolist()}
    file = tmp_path / "here.json"
    Latencies("nasbench201", {"channels": 4}, test.tolist(), remotes).write(file)
    line = "reproduce latency --unseen --methods few-shot-gp,flops --samples 10 --seeds 2 --workers 1 --measured"
    assert command([*line.split(), str(file), "--families", "this machine", "--json", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out
    for part in ("Mean over each family's devices", "paired by device", "few-shot-gp expects"):
        assert part in said
    rows = json.loads((tmp_path / "r.json").read_text())
    of = {(r["device"], r["method"]): r for r in rows if r["metric"] == "median_error" and r["choice"] == "chosen"}
    assert of["torch/here.json", "flops"]["mean"] < 1e-6, "built as the measured networks were"
    assert of["onnx/here.json", "few-shot-gp"]["mean"] < 0.05
    capsys.readouterr()
    assert command([*line.split(), str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidValue):
        unseen_devices.run(methods=[])
    with pytest.raises(UnknownName):
        unseen_devices.run(choices=["best"])
    assert Device("HELP", "fbnet", "a", None, None).label == "a"
