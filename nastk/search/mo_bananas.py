"""MO-BANANAS: Thompson draws of every objective, non-dominated mutants (Guerrero-Viu et al., AutoML@ICML 2021)."""

from __future__ import annotations

import numpy as np

from nastk.search._multi import MultiObjectiveLearner, by_dominance
from nastk.spaces.base import Archs


class MOBananas(MultiObjectiveLearner):
    """BANANAS for several objectives ("Bag of Baselines", Section 3).

    Of a hundred mutants of the ten best, by front and crowding, each has a draw of its own from the predictive
    distribution of every objective; those are evaluated that are best by front and crowding of their draws.
    """

    default_predictor = "bananas"
    parents, mutants = 10, 10

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self.fresh_from(lambda k: self._mutants(k, self.parents, rng), self.parents * self.mutants, pending, rng)
        costs, std, _ = self._believed(pool)
        draws = costs + std * rng.standard_normal(costs.shape)
        return pool[by_dominance(draws, self.violation(draws * self.signs))[:n]]
