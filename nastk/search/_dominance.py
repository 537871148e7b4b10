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


def best_rows(costs: Array, n: int) -> NDArray[np.int64]:
    """The `n` rows of `costs` ``(m, k)`` of the first non-dominated fronts, evenly spaced in the last of them."""
    import moocore

    if costs.shape[1] == 1:
        return np.argsort(costs[:, 0], kind="stable")[:n]
    front = np.asarray(moocore.pareto_rank(costs))
    order = np.lexsort((costs[:, 0], front))
    whole = int(np.searchsorted(front[order], front[order[n - 1]]))  # rows of the fronts before the last
    last = order[whole : np.searchsorted(front[order], front[order[n - 1]], side="right")]
    return np.concatenate([order[:whole], last[np.linspace(0, len(last) - 1, n - whole).round().astype(np.int64)]])
