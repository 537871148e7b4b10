"""The best network by sums over stages, exactly."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nastk.errors import InvalidValue
from nastk.metrics import nondominated
from nastk.supernets.knapsack import best, depth_first, front

RNG = np.random.default_rng(0)
LOSSES = [RNG.exponential(size=n) for n in (6, 5, 7, 4)]
COSTS = [np.stack([np.exp(-x), RNG.random(len(x))], axis=1) for x in LOSSES]
"""Two costs of each path: one that a low loss costs, one that has nothing to do with it."""
ALL = np.array(list(product(*map(range, map(len, LOSSES)))))
LOSS = sum(x[ALL[:, i]] for i, x in enumerate(LOSSES))
COST = sum(c[ALL[:, i]] for i, c in enumerate(COSTS))


def by_enumeration(limits: np.ndarray) -> np.ndarray | None:
    fits = (COST[:, : len(limits)] <= limits).all(axis=1)
    return ALL[np.flatnonzero(fits)[LOSS[fits].argmin()]] if fits.any() else None


@pytest.mark.parametrize("several", [False, True])
def test_is_what_enumeration_finds_for_fifty_limits(several: bool) -> None:
    found = 0
    for share in np.linspace(-0.05, 1, 50):
        limits = COST.min(axis=0) + share * np.ptp(COST, axis=0)
        limits = limits if several else limits[:1]
        costs = COSTS if several else [c[:, 0] for c in COSTS]
        wanted, got = by_enumeration(limits), best(LOSSES, costs, limits)
        assert (wanted is None) == (got is None)
        assert wanted is None or np.array_equal(got, wanted)
        found += wanted is not None
        if not several:
            walked = depth_first(LOSSES, costs, float(limits[0]))
            assert (walked is None and wanted is None) or np.array_equal(walked, wanted)
    assert 30 < found < 50, "some limits can be kept, and some cannot"


def test_the_front_is_that_of_all_networks() -> None:
    found = front(LOSSES, [c[:, 0] for c in COSTS])
    every = np.stack([LOSS, COST[:, 0]], axis=1)
    wanted = {tuple(row) for row in ALL[nondominated(every)]}
    assert {tuple(row) for row in found.paths} == wanted
    assert (np.diff(found.costs) > 0).all()
    assert (np.diff(found.losses) < 0).all()
    assert len(front(LOSSES, [c[:, 0] for c in COSTS], limit=0.0).paths) == 0


def test_costs_that_may_be_negative_are_solved_as_an_integer_program() -> None:
    costs = [c[:, 0] - 0.5 for c in COSTS]
    limit = float(np.median(COST[:, 0]) - 2.0)
    assert np.array_equal(best(LOSSES, costs, limit), by_enumeration(np.array([limit + 2.0])))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidValue, match="stage 1: losses of shape"):
        front([[1.0, 2.0]], [[1.0]])
    with pytest.raises(InvalidValue, match="stage 2: a loss or a cost is not finite"):
        front([[1.0], [np.nan]], [[1.0], [1.0]])
    with pytest.raises(InvalidValue, match="1 and 2 stages"):
        front([[1.0]], [[1.0], [1.0]])
    with pytest.raises(InvalidValue, match="2 limits, and paths have 1 cost"):
        best([[1.0]], [[1.0]], [1.0, 2.0])
    with pytest.raises(InvalidValue, match="at least 0"):
        front([[1.0]], [[-1.0]])
