"""What proposing costs: the figures are there, of the observations and proposals that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import nastk
from nastk.bench import overhead
from nastk.errors import InvalidValue
from nastk.search.base import Searcher


def _in_this_process(function: Callable[[Any], Any], jobs: Sequence[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
    yield from ((job, function(job)) for job in jobs)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "each", _in_this_process)


@pytest.mark.usefixtures("here")
def test_a_searcher_is_told_the_observations_and_then_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    ask = Searcher.ask
    monkeypatch.setattr(Searcher, "ask", lambda s, n, pending=(): told.append(len(s.archs_)) or ask(s, n, pending))
    rows = overhead.run_all(
        "nasbench201", functions=2, observations=[12, 20], predictor="ridge", proposals=4, batch=2, progress=None
    )
    assert told == [12, 14, 16, 20, 22, 24], "a first ask that is not counted, and two that are"
    found = {(row["samples"], row["metric"]): row["mean"] for row in rows}
    assert set(found) == {(n, m) for n in (12, 20) for m in ("cpu_seconds", "first_cpu_seconds", "peak_mb")}
    assert min(found.values()) > 0


@pytest.mark.usefixtures("here")
def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidValue, match="two observations"):
        overhead.run_all("nasbench201", functions=1, observations=[1])
    with pytest.raises(InvalidValue, match="not 100000"):
        overhead.run_all("nasbench201", functions=1, observations=[100_000], searcher="random")


def test_the_made_up_functions_differ_and_the_first_is_maximised() -> None:
    space = nastk.space("nasbench201")
    first, second = (overhead._function(space, number, 0) for number in range(2))
    assert (first.direction, second.direction) == ("max", "min")
    archs = space.sample(30, 0)
    assert abs(np.corrcoef(first.oracle(archs), second.oracle(archs))[0, 1]) < 0.9
    assert np.array_equal(first.oracle(archs), overhead._function(space, 0, 0).oracle(archs))
