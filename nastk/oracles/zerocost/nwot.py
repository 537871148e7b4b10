"""nwot: how differently images activate the nonlinearities (Mellor et al., NAS without training, ICML 2021)."""

from __future__ import annotations

import torch

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined


class Nwot(Proxy):
    """``log |det K|``, K the number of units with the same sign for each pair of images, over all nonlinearities."""

    needs = frozenset({"codes"})

    def __call__(self, run: Pass) -> float:
        _ = run.logits
        if run.codes is None:
            raise Undefined("the network has no nonlinearity with two sides")
        sign, log = torch.linalg.slogdet(run.codes)
        if float(sign) <= 0 or not torch.isfinite(log):
            raise Undefined("two images activate the same units")
        return float(log)
