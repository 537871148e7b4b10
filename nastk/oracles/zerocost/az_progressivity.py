"""az-progressivity: whether features grow richer from block to block (Lee & Ham, AZ-NAS, CVPR 2024)."""

from __future__ import annotations

from itertools import pairwise

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class AzProgressivity(Proxy):
    """``min over blocks of the increase in expressivity``, that of one feature (`AzExpressivity`; Section 3.2)."""

    needs = frozenset({"features"})

    def __call__(self, run: Pass) -> float:
        entropies = [feature.entropy for feature in run.features]
        return min(after - before for before, after in pairwise(entropies))
