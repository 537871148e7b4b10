"""snip: sensitivity of the loss to removing each weight (Lee et al., SNIP, ICLR 2019; as a proxy, ICLR 2021)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class Snip(Proxy):
    """``sum |w dL/dw|`` over the weights of layers."""

    def __call__(self, run: Pass) -> float:
        pairs = zip(run.weights, run.gradients, strict=True)
        return float(sum((w.detach() * g.detach()).abs().double().sum() for w, g in pairs))
