"""BANANAS: an ensemble, independent Thompson sampling, mutants of the best (White, Neiswanger & Savani, AAAI 2021)."""

from __future__ import annotations

import numpy as np

from nastk.search._surrogate import SurrogateSearch
from nastk.spaces.base import Archs


class Bananas(SurrogateSearch):
    """Evaluates, of a hundred mutants of the ten best, those with the best draw from their predictive distribution.

    Independent Thompson sampling (the paper, Section 4): each candidate is drawn from its own marginal, which needs no
    joint sample of the function.
    """

    default_predictor = "bananas"
    parents, mutants = 10, 10

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self.fresh_from(lambda k: self._mutants(k, self.parents, rng), self.parents * self.mutants, pending, rng)
        mean, std = self._predict_cost(pool)
        draw = mean + std * rng.standard_normal(len(pool))
        return pool[np.argsort(draw, kind="stable")[:n]]
