"""a-optimal: least posterior variance over the whole space, greedily (Cohn, NeurIPS 1996); few-shot-gp's default."""

from __future__ import annotations

from nastk.gaussian import variance_reduction
from nastk.samplers._design import Array, Design


class AOptimal(Design):
    """Each pick reduces the total posterior variance of the candidates the most; picks are spread out, not extreme."""

    def gain(self, covariance: Array, floor: float) -> Array:
        return variance_reduction(covariance, floor)
