"""flops: multiply-adds of one input (Ning et al., Evaluating efficient performance estimators, NeurIPS 2021)."""

from __future__ import annotations

from nastk.oracles.counts import count_network
from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class Flops(Proxy):
    """Multiply-adds of convolutions and linear layers for one input."""

    direction = "min"

    def __call__(self, run: Pass) -> float:
        return float(count_network(run.model, run.images[:1])["flops"])
