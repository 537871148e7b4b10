"""Regularised evolution: tournaments among the youngest, whose winner is mutated (Real et al., AAAI 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nastk.oracles.base import Oracle
from nastk.search._single import SingleObjective
from nastk.search.base import Constraint, Objective, Proposal
from nastk.spaces.base import Archs, SearchSpace


class RegularisedEvolution(SingleObjective):
    """The population is the last `population` architectures evaluated; the oldest leaves, however good it is.

    Children that are known already, by canonical form, are mutated once more instead of being evaluated twice.

    Args:
        population: its size; by default 30, or less where the budget is below 100 (the paper: 100 of 20,000).
        tournament: how many are drawn, of which the best is the parent (the paper: 25 of 100).
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        population: int | None = None,
        tournament: int = 10,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if population is None:
            population = min(30, max(5, min(self.budget.values(), default=100) // 3))
        self.population, self.tournament = population, min(tournament, population)

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self.population - len(self.archs_) - len(pending)
        archs, costs, violation = self.complete()
        if missing > 0 or not len(archs):
            return self.propose(self.fresh_random(min(n, max(missing, 1)), pending, rng))
        archs = archs[-self.population :]
        place = np.empty(len(archs), dtype=np.int64)
        place[np.lexsort((costs[-self.population :, 0], violation[-self.population :]))] = np.arange(len(archs))

        def children(k: int) -> Archs:
            drawn = rng.random((k, len(archs))).argsort(axis=1)[:, : self.tournament]
            winners = drawn[np.arange(k), place[drawn].argmin(axis=1)]
            return self.space.mutate(archs[winners], rng)

        return self.propose(self.fresh_from(children, n, pending, rng, tries=30))
