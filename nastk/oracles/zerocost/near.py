"""near: the effective rank of what layers and nonlinearities give (Husistein et al., NEAR, ICLR 2025)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined


class Near(Proxy):
    """``sum over outputs of the effective rank of H``, outputs of layers, of normalisations, and of nonlinearities.

    A row of H are an image's values at one place; of maps as many neighbouring rows are taken as there are channels,
    from a random start (Section 2). The effective rank is the exponential of the entropy of the singular values as
    shares of their sum (Roy & Vetterli, 2007). No label is read.
    """

    needs = frozenset({"ranks"})

    def __call__(self, run: Pass) -> float:
        ranks = run.ranks
        if not ranks.counted:
            raise Undefined("no layer, normalisation or nonlinearity ran")
        return ranks.total
