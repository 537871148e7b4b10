"""The comparison of latency predictors: an honest protocol, tidy rows, the papers' figures in the right cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from nastk.bench import device_sets, latency
from nastk.bench.latency_tasks import PUBLISHED, TASKS
from nastk.cli import run as command
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import spearman
from nastk.oracles.table import benchmark
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.reproduce import cross_space, latency_tables


def test_device_sets_are_disjoint_and_of_the_papers_sizes() -> None:
    sizes = {name: (len(task.sources), len(task.targets)) for name, task in TASKS.items()}
    assert sizes == {
        "ND": (9, 6),
        "NA": (17, 3),
        "N1": (5, 5),
        "N2": (5, 5),
        "N3": (5, 5),
        "N4": (10, 3),
        "FD": (9, 3),
        "FA": (15, 4),
        "F1": (5, 5),
        "F2": (5, 5),
        "F3": (5, 5),
        "F4": (10, 3),
        "OFA": (9, 3),
        "GPT": (4, 4),
    }
    for name, task in TASKS.items():
        assert not set(task.sources) & set(task.targets), name
        assert len(set(task.sources)) == len(task.sources)


def test_published_figures_name_known_tasks_methods_and_devices() -> None:
    for figure in PUBLISHED:
        assert figure.method in latency.METHODS
        assert figure.device in (*TASKS[figure.task].targets, "*")
        assert 0.3 < figure.value < 1.0
    once = [(f.table, f.task, f.method, f.samples, f.device, f.source_samples) for f in PUBLISHED]
    assert len(set(once)) == len(once)


class Watch(FewShotPredictor):
    """Remembers what it was shown."""

    shown: ClassVar[list[tuple[str, int, tuple[str, ...]]]] = []

    def pretrain(self, tasks):  # type: ignore[no-untyped-def]
        self._check_sources(tasks)
        self.sizes = [len(t) for t in tasks]
        return self

    def adapt(self, task: Task) -> Predictor:
        self._check_target(task)
        Watch.shown.append((str(task.device), len(task), self.devices))
        return Constant().fit(task)


class Constant(Predictor):
    def fit(self, task: Task) -> Predictor:
        self.task_ = task
        return self

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        return Prediction(archs.sum(axis=1).astype(float), np.full(len(archs), np.nan))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watch]:
    Watch.shown = []
    return Watch


@pytest.mark.data
def test_targets_are_seen_only_through_their_samples(nastk_home: object, watched: type[Watch]) -> None:
    rows = latency.run(["ND", "NA"], [f"{__name__}:Watch"], [3, 5], seeds=2, source_samples=[50], workers=1)
    assert {d for d, _, _ in watched.shown} == {*TASKS["ND"].targets, "eyeriss"}
    assert {n for _, n, _ in watched.shown} == {3, 5}
    for device, _, sources in watched.shown:
        assert device not in sources
        assert sources in (TASKS["ND"].sources, TASKS["NA"].sources)
    assert len(watched.shown) == 2 * 2 * (6 + 1)
    found = {(r["task"], r["samples"], r["device"]): r for r in rows if r["metric"] == "spearman"}
    assert len(found) == 2 * (7 + 2)
    assert found["ND", 3, "*"]["measurements"] == 9 * 50 + 3
    assert found["ND", 3, "*"]["source_measurements"] == 9 * 50
    assert found["ND", 3, "*"]["looked_up"] == 0
    assert found["ND", 3, "*"]["seeds"] == 2
    assert found["ND", 3, "*"]["mean"] == pytest.approx(
        np.mean([found["ND", 3, d]["mean"] for d in TASKS["ND"].targets])
    )
    assert found["NA", 5, "*"]["devices"] == 1
    assert found["NA", 5, "*"]["reference"] is None, "a mean over other devices is not compared"
    assert not any(r["metric"] == "covered95" for r in rows), "no intervals, no coverage"


QUICK = {"epochs": 1, "transfer_epochs": 1, "scratch_epochs": 1, "cross_width": 8, "cross_layers": 1}


@pytest.mark.data
@pytest.mark.parametrize("scratch", [False, True])
def test_latencies_that_an_encoding_looks_up_are_measurements(
    nastk_home: object, monkeypatch: pytest.MonkeyPatch, scratch: bool
) -> None:
    for encoding in ("hwl", "zcp"):
        method = latency.Method("multi-predict", {**QUICK, "encoding": encoding}, False, False, (encoding,), 2, scratch)
        monkeypatch.setitem(latency.METHODS, f"quick-{encoding}", method)
    rows = latency.run(["FD"], ["quick-hwl", "quick-zcp"], [4], seeds=1, source_samples=[50], workers=1)
    used = {r["method"]: [r[what] for what in latency.USED] for r in rows}
    learned = 0 if scratch else 9 * 50
    assert used["quick-hwl"] == [9 * 5000 + 4, learned, 9 * 5000, 0], "every source device on every architecture"
    known = np.isfinite(benchmark("fbnet").proxies().values).any(axis=1).sum()
    assert used["quick-zcp"] == [learned + 4, learned, 0, known]

    monkeypatch.setattr(cross_space, "common_devices", lambda: ["pixel3", "fpga", "raspi4"])
    rows = cross_space.run(["NB201-FBNet"], ["quick-hwl"], [4], 1, [30], workers=1)
    (used_between,) = {tuple(r[what] for what in latency.USED) for r in rows}
    looked_up = 2 * 5000 + (0 if scratch else 2 * 30)
    assert used_between == (looked_up + 4 + (0 if scratch else 30), 0 if scratch else 30, looked_up, 0)
    (counted,) = {r["training_measurements"] for r in rows}
    assert counted == (0 if scratch else 30) + 4 * 17, "four samples on the target and 16 devices of the encoding"
    if not scratch:
        rows = cross_space.run(["FBNet-NB201"], ["quick-hwl"], [4], 1, workers=1, share=0.01)
        assert {r["source_samples"] for r in rows} == {50}, "a hundredth of FBNet's 5,000"
        with pytest.raises(InvalidValue, match="above 0 and at most 1"):
            cross_space.run(["FBNet-NB201"], ["quick-hwl"], [4], 1, workers=1, share=1.5)


@pytest.mark.data
def test_adding_a_method_changes_no_others_result(nastk_home: object) -> None:
    alone = latency.run(["FD"], ["ridge"], [5], seeds=2, source_samples=[60], workers=1)
    both = latency.run(["FD"], ["few-shot-gp", "ridge"], [5], seeds=2, source_samples=[60], workers=1)
    assert [r for r in both if r["method"] == "ridge" and "seconds" not in r["metric"]] == [
        r for r in alone if "seconds" not in r["metric"]
    ]
    assert {r["metric"] for r in alone} >= {"seconds", "seconds_pretraining"}


@pytest.mark.data
@pytest.mark.long
def test_few_shot_gp_beats_the_best_published_on_the_hardest_sets(nastk_home: object) -> None:
    rows = latency.run(["FA", "F3"], ["few-shot-gp"], [20], seeds=2, workers=2)
    for task, bar in (("FA", 0.70), ("F3", 0.87)):
        (row,) = [r for r in rows if r["task"] == task and r["device"] == "*" and r["metric"] == "spearman"]
        assert row["mean"] > bar > row["reference"]
        assert row["reference_source"] == "best published: nasflat, NASFLAT, task table"


@pytest.mark.data
def test_bad_input_is_refused(nastk_home: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ND'"):
        latency.run(["NDD"])
    with pytest.raises(UnknownName, match="few-shot-gp"):
        latency.run(["ND"], ["few-shot-g"])
    with pytest.raises(InvalidValue, match=r"import EAGLE.*nastk data import"):
        latency.run(["N3"])
    with pytest.raises(InvalidValue, match="at least 2"):
        latency.run(["ND"], samples=[1])
    with pytest.raises(InvalidValue, match="transfers between"):
        cross_space.run(["NB201-FBNet"], ["few-shot-gp"])
    assert command(["reproduce", "latency", "--tasks", "ND", "--samples", "ten"]) == 2
    assert "positive integers" in capsys.readouterr().err


@pytest.mark.data
def test_command_writes_rows_prints_tables_and_draws(
    nastk_home: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tasks", "FD,NA", "--methods", "few-shot-gp,ridge", "--samples", "3,10", "--seeds", "1"]
    files = ["--json", str(tmp_path / "rows.json"), "--figures", str(tmp_path / "figures"), "--workers", "1"]
    assert command(["reproduce", "latency", *arguments, "--source-samples", "200", *files]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {r["task"] for r in rows} == {"FD", "NA"}
    assert {r["experiment"] for r in rows} == {"latency"}
    printed = capsys.readouterr().out
    assert "NA: no table has desktop_gpu_gtx_1080ti_fp32" in printed
    assert "Mean over each task's devices" in printed
    for name in ("latency-samples.png", "latency-measurements.png", "latency-training.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_a_prediction_without_order_counts_as_none() -> None:
    assert latency.order(np.ones(5), np.arange(5.0)) == 0.0
    assert latency.order(np.arange(5.0), np.arange(5.0)) == pytest.approx(1.0)


def _row(task: str, method: str, samples: int, device: str, mean: float, **other: Any) -> dict[str, Any]:
    base = {"source_samples": TASKS[task].source_samples, "measurements": 9, "ci95": 0.01, "metric": "spearman"}
    return {"task": task, "method": method, "samples": samples, "device": device, "mean": mean, **base, **other}


def test_tables_put_published_beside_ours() -> None:
    rows = [
        _row("ND", "multi-predict", 10, "pixel2", 0.871),
        _row("ND", "multi-predict", 10, "*", 0.941, devices=6),
        _row("ND", "few-shot-gp", 10, "*", 0.967, devices=6),
        _row("ND", "few-shot-gp", 20, "*", 0.969, devices=6),
        _row("FD", "multi-predict", 10, "*", 0.913, devices=3, source_samples=1000),
    ]
    tables = {title.partition(":")[0]: lines for title, lines in latency_tables.tables(rows)}
    first = tables["Multi-Predict, Table 1"]
    line = next(x for x in first if x["method"] == "multi-predict")
    assert line["pixel2"] == "0.88 / 0.871 ±0.010"
    assert line["mean"] == "0.94 / 0.941 ±0.010"
    assert line["raspi4"] == "0.90 / -"
    fourth = next(x for x in tables["Multi-Predict, Table 4"] if x["source samples"] == 1000)
    assert fourth["mean"] == "0.91 / 0.913 ±0.010"
    last = tables["NASFLAT, task table"]
    assert next(x for x in last if x["method"] == "nasflat")["ND"] == "0.959 / -"
    assert next(x for x in last if x["method"] == "few-shot-gp")["ND"] == "- / 0.969 ±0.010"


def test_curves_have_a_line_a_method_and_the_published_figures() -> None:
    rows = [_row("FD", m, k, "*", 0.9, devices=3) for m in ("help", "few-shot-gp") for k in (10, 20)]
    (panel,) = latency_tables.curves(rows)
    assert [c.label for c in panel.curves] == ["help", "few-shot-gp"]
    assert list(panel.curves[0].x) == [10, 20]
    assert panel.title == "FD"
    (part,) = latency_tables.curves([_row("NA", "help", k, "*", 0.9, devices=1) for k in (10, 20)])
    assert part.title == "NA, partial: 1 of 3 targets"
    assert not part.published, "those are means over other devices"
    assert ("nasflat", 20.0, 0.961) in panel.published


@pytest.mark.data
def test_sets_of_ones_own_random_and_far_ones(nastk_home: object, capsys: pytest.CaptureFixture[str]) -> None:
    own = device_sets.device_set("fbnet", ["pixel3", "gold_6226"], ["fpga", "eyeriss"])
    far = device_sets.far_sets("own", own, 0.9)
    ms = {name: latency.open_table("fbnet").values("latency", device=name) for name in ("fpga", *own.sources)}
    rho = {d: spearman(ms[d], ms["fpga"]) for d in own.sources}
    assert far["own<0.9/fpga"].sources == tuple(d for d in own.sources if rho[d] <= 0.9) == ("gold_6226",)
    with pytest.raises(InvalidValue, match=r"ranks closer than -0\.9"):
        device_sets.far_sets("own", own, -0.9)
    between = device_sets.far_sets("own", own, 0.999, rho["gold_6226"] + 0.01)
    assert between[f"{rho['gold_6226'] + 0.01:g}<own<0.999/fpga"].sources == ("pixel3",)
    with pytest.raises(InvalidValue, match="the least below the most"):
        device_sets.far_sets("own", own, 0.5, 0.6)
    first, again = (device_sets.random_sets("fbnet", 2) for _ in range(2))
    assert first == again
    assert first["R1"] != first["R2"]
    assert not set(first["R1"].sources) & set(first["R1"].targets)
    rows = latency.run(["own", *far], ["flops"], [5], seeds=1, workers=1, sets={"own": own, **far})
    mine = {(r["task"], r["device"]): r["mean"] for r in rows if r["metric"] == "spearman"}
    assert {"own", "own<0.9/fpga"} <= {task for task, _ in mine}
    (line,) = [line for line in latency_tables.means(rows) if line["task"] == "own"]
    assert line["geometric"] == pytest.approx((mine["own", "fpga"] * mine["own", "eyeriss"]) ** 0.5)
    for options, said in (
        (["--sources", "pixel3"], "belong together"),
        (["--space", "fbnet", "--sources", "pixel3", "--targets", "pixel3"], "a target must not be a source too"),
        (["--space", "fbnet", "--sources", "pixel", "--targets", "pixel3"], "unknown device of fbnet 'pixel'"),
        (["--tasks", "ND", "--max-correlation", "2"], "between -1 and 1"),
        (["--tasks", "NX", "--max-correlation", "0.5"], "unknown task 'NX'"),
    ):
        assert command(["reproduce", "latency", *options]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.data
def test_finished_runs_are_kept_and_not_repeated(
    nastk_home: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(seeds: int) -> list[dict[str, Any]]:
        return latency.run(["FD"], ["flops"], [5], seeds=seeds, workers=1, journal=tmp_path / "runs.jsonl")

    first = compare(1)
    run = latency._pretrain_and_adapt
    done = []
    monkeypatch.setattr(latency, "_pretrain_and_adapt", lambda job: done.append(job) or run(job))
    assert str(compare(1)) == str(first)  # with NaN
    assert not done
    compare(2)
    assert [job.draws for job in done] == [(1,)]
    latency.run(["FD"], ["flops"], [5], seeds=2, workers=1, journal=tmp_path / "runs.jsonl", first=1)
    assert [job.draws for job in done] == [(1,), (2,)]
