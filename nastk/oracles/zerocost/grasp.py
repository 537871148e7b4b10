"""grasp: how removing a weight changes the gradient flow (Wang et al., GraSP, ICLR 2020)."""

from __future__ import annotations

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy


class Grasp(Proxy):
    """``sum -w (H g)`` over the weights of layers, with the exact product of Hessian and gradient."""

    needs = frozenset({"second order"})

    def __call__(self, run: Pass) -> float:
        pairs = zip(run.weights, run.curvature, strict=True)
        return float(sum((-w.detach() * h.detach()).double().sum() for w, h in pairs))
