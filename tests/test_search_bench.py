"""The benchmark of searchers: tidy rows, paid values only, results that do not depend on what else is compared."""

from __future__ import annotations

from typing import Any

import pytest

from nastk.errors import InvalidValue, UnknownName
from nastk.experiments import search_bench
from nastk.experiments.search_bench import SOURCES

pytestmark = pytest.mark.data

COLUMNS = {
    "experiment", "space", "dataset", "device", "method", "samples", "measurements", "metric", "mean", "ci95", "seeds",
    "reference", "reference_source",
}  # fmt: skip


def _run(searchers: list[str], **options: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"devices": ["fpga", "eyeriss"], "budgets": [8, 12], "seeds": 2, "workers": 1}
    return search_bench.run(searchers=searchers, **{**settings, **options})


def test_rows_are_tidy_and_a_method_does_not_change_another(nastk_home: object) -> None:
    rows = _run(["random", "pareto-local-search"])
    assert len(rows) == 2 * 2 * 3, "searchers x budgets x (devices and their mean)"
    assert all(set(row) >= COLUMNS for row in rows)
    alone = [row for row in rows if row["method"] == "random"]
    assert _run(["random"]) == alone
    mean = next(r for r in alone if r["device"] == "*" and r["samples"] == 12)
    parts = [r["mean"] for r in alone if r["device"] != "*" and r["samples"] == 12]
    assert mean["mean"] == pytest.approx(sum(parts) / 2)
    assert mean["measurements"] == 12
    assert all(0 < r["mean"] <= r["reference"] <= 1 for r in rows)
    by_budget = {r["samples"]: r["mean"] for r in alone if r["device"] == "*"}
    assert by_budget[12] >= by_budget[8]


def test_the_predictor_pays_few_latencies_and_learns_from_the_named_sources_only(nastk_home: object) -> None:
    rows = _run(["predictor"], devices=["fpga"], budgets=[10], seeds=1, measurements=4, sources=["pixel3", "1080ti_1"])
    assert {r["measurements"] for r in rows} <= {3, 4}, "a share is kept for what is proposed later"
    assert len(SOURCES["nasbench201"]) == 9
    assert not {"titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"} & set(SOURCES["nasbench201"])


def test_several_processes_give_the_same_rows(nastk_home: object) -> None:
    assert _run(["random"], workers=2) == _run(["random"])


def test_bad_input_is_refused_before_any_run(nastk_home: object) -> None:
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        _run(["randm"])
    with pytest.raises(UnknownName, match="did you mean 'fpga'"):
        _run(["random"], devices=["fpgaa"])
    with pytest.raises(UnknownName, match="source device"):
        _run(["random"], sources=["nope"])
    with pytest.raises(InvalidValue, match="at least one"):
        _run([])
