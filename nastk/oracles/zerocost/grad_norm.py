"""grad-norm: size of the gradients (Abdelfattah et al., Zero-cost proxies for lightweight NAS, ICLR 2021)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class GradNorm(Proxy):
    """``sum over layers of ||dL/dw||_2`` on the batch."""

    def __call__(self, run: Pass) -> float:
        return float(sum(g.detach().double().norm() for g in run.gradients))
