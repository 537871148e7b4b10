"""What workers save: tidy rows of one search inline, in threads and in processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nastk.bench.workers import HOW, Slow, compare
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.table import benchmark

METRICS = ("seconds", "ratio_to_inline", "speedup")


@pytest.mark.data
def test_each_way_is_timed_and_compared_with_inline(nastk_home: Path) -> None:
    rows = compare(searcher="random", evaluations=2, seconds=0.0, workers=2, repeats=1)
    assert [(r["method"], r["metric"]) for r in rows] == [(h, m) for h in HOW for m in METRICS]
    ratios = {r["method"]: r["mean"] for r in rows if r["metric"] == "ratio_to_inline"}
    assert ratios["inline"] == 1.0
    assert all(r["mean"] > 0 and r["seeds"] == 1 for r in rows)
    assert {(r["samples"], r["evaluations"]) for r in rows} == {(2, 4)}, "two accuracies and two latencies"


@pytest.mark.data
def test_a_slow_column_is_sent_as_its_name(nastk_home: Path) -> None:
    slow = Slow(benchmark("nasbench201", dataset="cifar10").oracle("test_accuracy"), 0.0)
    sent = pickle.dumps(slow)
    assert len(sent) < 2_000
    archs = slow.space.sample(3, 0)
    assert (pickle.loads(sent)(archs) == slow(archs)).all()


def test_numbers_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        compare(workers=0)
    with pytest.raises(InvalidValue, match="fewer than the 5 evaluations"):
        compare(evaluations=5, after=5)
    with pytest.raises(UnknownName, match="isolated"):
        compare(ways=["isolate"])
