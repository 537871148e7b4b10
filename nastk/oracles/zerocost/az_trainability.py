"""az-trainability: whether gradients keep their size through a block (Lee & Ham, AZ-NAS, CVPR 2024)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined

SMALL = 1e-6
"""Keeps the reciprocal of a spectral norm of zero finite, as in the authors' code."""


class AzTrainability(Proxy):
    """``mean over blocks of 2 - s - 1 / s``, s the spectral norm of a block's Jacobian between channels.

    The Jacobian is estimated with random signs g for the block's output: ``mean over images and places of h g'``, h the
    gradient of ``g . output`` for its input (Section 3.3), whose places are moved to channels where the block lowers
    the resolution. One is best; a block that is the identity, whose Jacobian says nothing of its weights, is worst
    (-inf, which has no value here).
    """

    needs = frozenset({"features"})

    def __call__(self, run: Pass) -> float:
        scores = []
        for before, after in pairwise(run.features):
            signs = torch.randint(0, 2, after.value.shape, generator=run.generator).to(after.value) * 2 - 1
            (found,) = torch.autograd.grad(after.edge, before.edge, signs, retain_graph=True, allow_unused=True)
            gradient = torch.zeros_like(before.value) if found is None else found
            if torch.equal(gradient, signs):
                raise Undefined("a block is the identity")
            h, g = before.rows(_lowered(gradient, signs)), after.rows(signs)
            size = float(torch.linalg.matrix_norm(h.T.double() @ g.double() / len(g), 2))
            scores.append(2.0 - size - 1.0 / (size + SMALL))
        return sum(scores) / len(scores)


def _lowered(gradient: Tensor, signs: Tensor) -> Tensor:
    """The gradient at the resolution of the output, further places as channels.

    Raises:
        Undefined: the output's size does not divide the input's.
    """
    if gradient.ndim == 4 and signs.ndim == 4 and gradient.shape[2:] != signs.shape[2:]:
        factor = gradient.shape[2] // max(signs.shape[2], 1)
        if tuple(size * factor for size in signs.shape[2:]) == tuple(gradient.shape[2:]):
            return torch.nn.functional.pixel_unshuffle(gradient, factor)
    if gradient.ndim != signs.ndim or (gradient.ndim > 3 and gradient.shape[2:] != signs.shape[2:]):
        raise Undefined("the places of a block's output do not divide those of its input")
    return gradient
