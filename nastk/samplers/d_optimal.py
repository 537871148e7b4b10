"""d-optimal: the largest determinant of the measurements' covariance, greedily (Wald, 1943)."""

from __future__ import annotations

from nastk.samplers._design import Array, Design


class DOptimal(Design):
    """Each pick is the candidate with the largest posterior variance; prone to outliers."""

    def gain(self, covariance: Array, floor: float) -> Array:
        return covariance.diagonal().copy()
