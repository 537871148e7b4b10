"""OFA2: predictors of a random sample, then one evolutionary run for the whole front (Ito & Von Zuben, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.search._dominance import by_dominance
from nastk.search._multi import MultiObjectiveLearner
from nastk.search.base import Constraint, Objective
from nastk.search.models import Predictors
from nastk.spaces.base import Archs, SearchSpace

ALGORITHMS = ("nsga2", "sms-emoa", "spea2")
"""Evolutionary algorithms that may run on the predictors, by their names in pymoo:<algorithm>."""


class OFA2(MultiObjectiveLearner):
    """The search stage of once-for-all as one multi-objective problem (arXiv 2303.13683, Section 3).

    Half of the budget is a random sample, on which the predictors are trained once. One run of an evolutionary
    algorithm on them yields the whole front, which the rest of the budget evaluates, least crowded first.

    Args:
        predictor, contexts, candidates: see :class:`nastk.search._surrogate.Learner`.
        start: random architectures; by default half of the budget, or 50 where it is not known.
        algorithm: nsga2, sms-emoa or spea2.
        population, generations: of the algorithm (the paper: 100 and 1,000).

    Raises:
        UnknownName: no such algorithm.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        predictor: Predictors = None,
        contexts: Mapping[str, Context] | None = None,
        start: int | None = None,
        candidates: int = 20_000,
        algorithm: str = "nsga2",
        population: int = 100,
        generations: int = 50,
    ):
        planned = min((budget or {}).values(), default=100)
        if start is None:
            start = max(2, planned // 2)
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, start, candidates)
        if algorithm not in ALGORITHMS:
            raise UnknownName("algorithm of ofa2", algorithm, ALGORITHMS)
        if generations < 1:
            raise InvalidValue(f"ofa2 needs at least 1 generation; got {generations}")
        self.algorithm, self.population, self.generations = algorithm, population, generations

    def _start(self) -> int:
        return max(2, self.start)

    def _learning_count(self) -> int:
        return min(self._start(), len(self.archs_))

    @cached_property
    def _plan(self) -> Archs:
        """All architectures that the run visited: by front, least crowded first."""
        rng = np.random.default_rng([self.seed, 5])
        known = self.archs_[: self._learning_count()]
        archs, costs, violation = self._evolve(self.algorithm, self.population, self.generations, known, rng)
        return archs[by_dominance(costs, violation)]

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        return self._plan[self.unseen(self._plan, pending)[:n]]
