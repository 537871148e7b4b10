"""Shared by searchers that sort architectures by several costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def by_dominance(costs: Array, violation: Array | None = None) -> NDArray[np.int64]:
    """Rows of `costs` ``(n, m)``, best first: by non-dominated front, then by crowding distance (Deb et al. 2002).

    Feasible rows come before infeasible ones, which are sorted by `violation` ``(n,)``: constrained domination as in
    NSGA-II (Section VI).
    """
    from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    broken = np.zeros(len(costs)) if violation is None else violation
    kept = np.flatnonzero(broken <= 0)
    order: list[int] = []
    for front in NonDominatedSorting().do(costs[kept]) if len(kept) else ():
        rows = kept[front]
        distance = get_crowding_function("cd").do(costs[rows])
        order += rows[np.argsort(-distance, kind="stable")].tolist()
    rest = np.flatnonzero(broken > 0)
    return np.array([*order, *rest[np.argsort(broken[rest], kind="stable")]], dtype=np.int64)
