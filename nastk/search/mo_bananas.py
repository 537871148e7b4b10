"""MO-BANANAS: Thompson draws of every objective, non-dominated mutants (Guerrero-Viu et al., AutoML@ICML 2021)."""

from __future__ import annotations

import numpy as np

from nastk.search._multi import MultiObjectiveLearner, by_dominance
from nastk.spaces.base import Archs


class MOBananas(MultiObjectiveLearner):
    """BANANAS for several objectives ("Bag of Baselines", Section 3).

    The candidates are a hundred mutants of the ten best by non-dominated front and crowding distance. Each is drawn
    from its own predictive distribution of every objective (independent Thompson sampling), and those whose draws are
    best by front and crowding distance are evaluated.
    """

    default_predictor = "bananas"
    parents, mutants = 10, 10

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self.fresh_from(lambda k: self._mutants(k, self.parents, rng), self.parents * self.mutants, pending, rng)
        costs, std, _ = self._predict_costs(pool)
        draws = costs + std * rng.standard_normal(costs.shape)
        return pool[by_dominance(draws, self.violation(draws * self.signs))[:n]]
