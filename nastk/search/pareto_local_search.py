"""Pareto local search: evaluates the neighbours of what is not dominated (Paquete, Chiarandini & Stuetzle 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nastk.evaluation import Record
from nastk.metrics import nondominated
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace


class ParetoLocalSearch(Searcher):
    """Takes a random member of the archive that has unseen neighbours and evaluates one of them.

    The archive holds the non-dominated feasible architectures, or the least-violating ones while none is feasible. With
    one objective this is local search from the best. When all neighbours of the archive are known, the search restarts
    from a random architecture.

    Args:
        start: random architectures at the beginning.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        start: int = 5,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        self.start = start
        self._archive = np.empty(0, dtype=np.int64)  # rows of archs_
        self._news: set[int] = set()  # rows told since the archive was last brought up to date
        self._exhausted: set[int] = set()

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self.start - len(self._rows) - len(pending)
        if missing > 0:
            fresh = self.fresh_random(min(n, missing), pending, rng)
            return [Proposal(arch, self.expensive) for arch in fresh]
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        self._update()
        for row in rng.permutation(self._archive).tolist():
            if len(chosen) == n:
                break
            if row in self._exhausted:
                continue
            around = self.space.neighbours(self._archs[row])
            around = around[self.unseen(around)]
            if not len(around):
                self._exhausted.add(row)
                continue
            if len(pending) or len(chosen):
                around = around[self.unseen(around, np.concatenate([pending, chosen]))]
            if len(around):
                chosen = np.concatenate([chosen, around[[rng.integers(len(around))]]])
        if len(chosen) < n:
            more = self.fresh_random(n - len(chosen), np.concatenate([pending, chosen]), rng)
            chosen = np.concatenate([chosen, more])
        return [Proposal(arch, self.expensive) for arch in chosen]

    def _tell(self, records: Sequence[Record]) -> None:
        keys = (np.asarray(r.arch, dtype=np.int64).tobytes() for r in records)
        self._news.update(self._rows[key] for key in keys if key in self._rows)

    def _update(self) -> None:
        """Bring the archive up to date: new results either enter it now or never will, so it needs no other rows."""
        if not self._news:
            return
        rows = np.array(sorted(self._news.union(self._archive.tolist())), dtype=np.int64)
        self._news.clear()
        values = self._values[rows]
        known = np.isfinite(values).all(axis=1)
        rows, values = rows[known], values[known]
        if len(rows):
            violation = self.violation(values)
            best = violation <= violation.min()
            rows, values = rows[best], values[best]
            rows = rows[nondominated(values * self.signs)]
        self._archive = rows

    def archive(self) -> Archs:
        """The non-dominated architectures, whose neighbours are evaluated next, ``(k, d)``."""
        self._update()
        return self._archs[self._archive]
