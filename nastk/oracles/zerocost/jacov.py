"""jacov: how differently the network responds to different images (Mellor et al., NAS without training v1, 2020)."""

from __future__ import annotations

import numpy as np

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined

SMALL = 1e-5
"""k of the definition: keeps the logarithm and the reciprocal finite at an eigenvalue of 0."""


class Jacov(Proxy):
    """``-sum over eigenvalues v of log(v + k) + 1 / (v + k)`` of the correlations between images' Jacobians."""

    def __call__(self, run: Pass) -> float:
        jacobian = run.jacobian.detach().double().cpu().numpy()
        if len(jacobian) < 2:
            raise Undefined("a correlation needs at least two images")
        spread = jacobian.std(axis=1)
        if not (spread > 0).all():
            raise Undefined("the logits do not depend on some image")
        v = np.maximum(np.linalg.eigvalsh(np.corrcoef(jacobian)), 0.0) + SMALL
        return float(-(np.log(v) + 1.0 / v).sum())
