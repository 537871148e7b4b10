"""BRP-NAS search: half of the evaluations from the top predictions, half random (Dudziak et al., NeurIPS 2020)."""

from __future__ import annotations

import numpy as np

from nastk.search._surrogate import SurrogateSearch
from nastk.spaces.base import Archs


class BRPNAS(SurrogateSearch):
    """Iterative data selection (the paper, Section 4.2): every other architecture evaluated is a top prediction.

    The random half keeps the predictor's training data representative of the whole space. Proposals alternate between
    the two, whatever the batch size.
    """

    default_predictor = "brp-nas"

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        turn = len(self.archs_) + len(pending)
        top = sum((turn + i) % 2 == 0 for i in range(n))
        pool = self._pool(pending, rng)
        mean, _ = self._predict_cost(pool)
        best = pool[np.argsort(mean, kind="stable")[:top]]
        return np.concatenate([best, self.fresh_random(n - len(best), np.concatenate([pending, best]), rng)])
