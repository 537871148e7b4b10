"""l2-norm: size of the weights (Abdelfattah et al., Zero-cost proxies for lightweight NAS, ICLR 2021)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class L2Norm(Proxy):
    """``sum over layers of ||w||_2``."""

    def __call__(self, run: Pass) -> float:
        return float(sum(w.detach().double().norm() for w in run.weights))
