"""NPENAS: mutants of the best, screened by a predictor (Wei et al., TNNLS 2022)."""

from __future__ import annotations

import numpy as np

from nastk.search._surrogate import SurrogateSearch
from nastk.spaces.base import Archs


class NPENAS(SurrogateSearch):
    """Ten mutants of each of the ten best; those with the best predictions are evaluated (the paper, Section III)."""

    default_predictor = "npnas"
    parents, mutants = 10, 10

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self.fresh_from(lambda k: self._mutants(k, self.parents, rng), self.parents * self.mutants, pending, rng)
        mean, _ = self._predict_cost(pool)
        return pool[np.argsort(mean, kind="stable")[:n]]
