"""Pareto local search: evaluates the neighbours of what is not dominated (Paquete, Chiarandini & Stuetzle 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nastk.metrics import nondominated
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace


class ParetoLocalSearch(Searcher):
    """Takes a random member of the archive that has unseen neighbours and evaluates one of them.

    The archive holds what is non-dominated among the architectures that keep the constraints, or those that break them
    least while none does. With one objective this is local search from the best. When every neighbour is known, a
    random architecture starts anew.

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
        self._exhausted: set[bytes] = set()

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self.start - len(self.archs_) - len(pending)
        if missing > 0:
            fresh = self.fresh_random(min(n, missing), pending, rng)
            return [Proposal(arch, self.paid) for arch in fresh]
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        archive = rng.permutation(self.archive())
        for member in archive:
            if len(chosen) == n:
                break
            if member.tobytes() in self._exhausted:
                continue
            around = self.space.neighbours(member)
            around = around[self.unseen(around)]
            if not len(around):
                self._exhausted.add(member.tobytes())
                continue
            around = around[self.unseen(around, np.concatenate([pending, chosen]))]
            if len(around):
                chosen = np.concatenate([chosen, around[[rng.integers(len(around))]]])
        if len(chosen) < n:
            more = self.fresh_random(n - len(chosen), np.concatenate([pending, chosen]), rng)
            chosen = np.concatenate([chosen, more])
        return [Proposal(arch, self.paid) for arch in chosen]

    def archive(self) -> Archs:
        """The architectures whose neighbours are worth a look, ``(k, d)``."""
        archs, costs, violation = self.complete()
        if not len(archs):
            return archs
        best = violation <= max(float(violation.min()), 0.0)
        archs, costs = archs[best], costs[best]
        return archs[nondominated(costs)]
