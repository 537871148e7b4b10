"""az-expressivity: how evenly features use their channels (Lee & Ham, AZ-NAS, CVPR 2024)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class AzExpressivity(Proxy):
    """``sum over features of the entropy of p``, p the shares of the eigenvalues of a feature's covariance.

    The covariance is that of the channels over images and places (Section 3.2). Features are the input of the first
    block and the outputs of all, in training mode; the paper draws weights by fan-in (``init="kaiming"``). No label is
    read, and images may be noise.
    """

    needs = frozenset({"features"})

    def __call__(self, run: Pass) -> float:
        return sum(feature.entropy for feature in run.features)
