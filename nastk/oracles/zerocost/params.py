"""params: number of trainable weights (Ning et al., Evaluating efficient performance estimators, NeurIPS 2021)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class Params(Proxy):
    """Sum of the sizes of all parameters."""

    direction = "min"

    def __call__(self, run: Pass) -> float:
        return float(sum(p.numel() for p in run.model.parameters()))
