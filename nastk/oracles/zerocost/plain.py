"""plain: snip without the absolute value (Abdelfattah et al., Zero-cost proxies for lightweight NAS, ICLR 2021)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class Plain(Proxy):
    """``sum w dL/dw`` over the weights of layers."""

    def __call__(self, run: Pass) -> float:
        pairs = zip(run.weights, run.gradients, strict=True)
        return float(sum((w.detach() * g.detach()).double().sum() for w, g in pairs))
