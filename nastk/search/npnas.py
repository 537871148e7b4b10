"""NPNAS: train N architectures, predict all others, train the best K (Wen et al., ECCV 2020)."""

from __future__ import annotations

import numpy as np

from nastk.search._surrogate import SurrogateSearch
from nastk.spaces.base import Archs


class NPNAS(SurrogateSearch):
    """Half of the budget (50 where it is not known) is a random sample, the rest are the best of one prediction.

    The predictor is fitted once, to the random sample, of which failed architectures are replaced first.
    """

    default_predictor = "npnas"

    def _start(self) -> int:
        return max(2, min(self.budget.values(), default=100) // 2)

    def _learning_count(self) -> int:
        known = np.flatnonzero(np.isfinite(self.values_).all(axis=1))
        return int(known[self._start() - 1]) + 1 if len(known) >= self._start() else len(self.archs_)

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self._pool(pending, np.random.default_rng([self.seed, 5]))
        mean, _ = self._predict_cost(pool)
        return pool[np.argsort(mean, kind="stable")[:n]]
