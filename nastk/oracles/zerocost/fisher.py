"""fisher: estimated loss of removing each channel (Theis et al., 2018; Turner et al., BlockSwap, ICLR 2020)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class Fisher(Proxy):
    """``sum over channels c of mean over images of (sum over positions a dL/da)^2 / 2`` of the layers' outputs."""

    needs = frozenset({"activations"})

    def __call__(self, run: Pass) -> float:
        total = 0.0
        for a, g, channels in zip(run.activations, run.activation_gradients, run.channels, strict=True):
            flow = (a * g.detach()).double().movedim(channels, 1)
            flow = flow.flatten(2).sum(dim=2) if flow.ndim > 2 else flow
            total += float(flow.square().mean(dim=0).sum()) / 2.0
        return total
