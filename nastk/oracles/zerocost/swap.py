"""swap: how many different patterns of activation over the images there are (Peng et al., SWAP-NAS, ICLR 2024)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined


class Swap(Proxy):
    """``|{p_v}|``, p_v the signs of unit v for all images (Definition 3.3), over the units of all nonlinearities.

    A unit's pattern has one bit an image, so that there are at most 2^b of them: the batch bounds the score of a large
    network. It reads no labels. This is the score without the paper's regularisation by the network's size.
    """

    needs = frozenset({"patterns"})

    def __call__(self, run: Pass) -> float:
        _ = run.logits
        if run.patterns is None:
            raise Undefined("the network has no nonlinearity with two sides")
        return float(len(run.patterns))
