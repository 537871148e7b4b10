"""MO-ASHA: asynchronous successive halving for several objectives (Schmucker et al., arXiv 2106.12639)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.errors import UnknownName
from nastk.metrics import nondominated
from nastk.oracles.base import Oracle
from nastk.search._rungs import RungSearch
from nastk.search.base import Constraint, Objective, Proposal
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

RANKINGS = ("epsilon-net", "crowding")
"""Orders within a non-dominated front: the paper's, and that of NSGA-II."""


class MOASHA(RungSearch):
    """Whenever something is to be evaluated, the highest rung with a candidate to promote is served first.

    Of the m architectures with results at a rung, failures included, the best floor(m / eta) may be promoted (the rule
    of ASHA, Li et al., MLSys 2020); where all of them have been, a new random architecture starts at the lowest rung.
    So no worker waits for a rung to be complete. The best are those of the first non-dominated front, then of the
    second, and so on; within a front they are ordered by `ranking`. Infeasible architectures come last, by violation.

    When the budget no longer carries a new architecture through all rungs, or the space has none, the best that was
    left behind is promoted.

    Args:
        rungs, eta, trainings: see :class:`RungSearch`.
        ranking: "epsilon-net", the paper's: from the best by the first objective on, always the one farthest
            from all before it; or "crowding", the crowding distance of NSGA-II (Deb et al., 2002). For both,
            objectives are scaled to their range over the rung.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        rungs: Sequence[float] | None = None,
        eta: float = 3.0,
        trainings: float | None = None,
        ranking: str = "epsilon-net",
    ):
        super().__init__(space, objectives, constraints, seed, budget, rungs, eta, trainings)
        if ranking not in RANKINGS:
            raise UnknownName("ranking", ranking, RANKINGS)
        self._within = epsilon_net if ranking == "epsilon-net" else crowding

    def _best_first(self, costs: Array, violation: Array) -> NDArray[np.int64]:
        kept, broken = np.flatnonzero(violation <= 0), np.flatnonzero(violation > 0)
        scaled = costs[kept]
        if len(kept):  # both rankings compare distances, which must not depend on the objectives' units
            scaled = (scaled - scaled.min(axis=0)) / np.maximum(np.ptp(scaled, axis=0), 1e-300)
        order: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        rest = np.arange(len(kept))
        while len(rest):
            first = nondominated(scaled[rest])
            front = rest[first]
            order.append(kept[front[self._within(scaled[front])]])
            rest = rest[~first]
        return np.concatenate([*order, broken[np.argsort(violation[broken], kind="stable")]])

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and (more := self._promotion() or self._start_or_promote(rng)):
            proposals += more
        return proposals

    def _promotion(self) -> list[Proposal]:
        """Promote one architecture among the best of its rung, from the highest rung that has one."""
        for rung in range(len(self.rungs) - 2, -1, -1):
            if not self._reaches(rung + 1):
                break
            above = self._keys_above(rung)
            for key in self.ranking(rung)[: int(len(self._members(rung)) / self.eta)]:
                if key not in above:
                    return self._promote([key], rung)
        return []

    def _start_or_promote(self, rng: np.random.Generator) -> list[Proposal]:
        """Start a new architecture, or promote one where the budget or the space has none; nothing while results that
        decide it are pending."""
        able = self._room() >= 1
        if able and self._reaches(0) and (new := self._start_new(1, 0, rng)):
            return new
        if (onward := self._promote_best()) or self._awaited:
            return onward
        for rung in range(1, len(self.rungs)):
            if able and self._reaches(rung):
                return self._start_new(1, rung, rng)
        return []


def epsilon_net(costs: Array) -> NDArray[np.int64]:
    """Greedy order of points ``(m, k)``: the best by the first objective, then always the one farthest from those
    taken."""
    order = [int(np.lexsort(costs.T[::-1])[0])]
    distance = np.linalg.norm(costs - costs[order[0]], axis=1)
    left = np.ones(len(costs), dtype=bool)
    left[order[0]] = False
    while left.any():
        order.append(int(np.argmax(np.where(left, distance, -1.0))))
        left[order[-1]] = False
        distance = np.minimum(distance, np.linalg.norm(costs - costs[order[-1]], axis=1))
    return np.array(order, dtype=np.int64)


def crowding(costs: Array) -> NDArray[np.int64]:
    """Order of a front's points ``(m, k)`` by falling crowding distance (Deb et al., 2002)."""
    distance = np.zeros(len(costs))
    for column in costs.T:
        order = np.argsort(column, kind="stable")
        distance[order[[0, -1]]] = np.inf
        distance[order[1:-1]] += column[order[2:]] - column[order[:-2]]
    return np.argsort(-distance, kind="stable")
