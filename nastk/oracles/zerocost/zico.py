"""zico: how steady the gradients are from batch to batch (Li et al., ZiCo, ICLR 2023)."""

from __future__ import annotations

import math

import torch

from nastk.oracles._calls import Layers
from nastk.oracles.zerocost._pass import Pass, trainable
from nastk.oracles.zerocost.base import Proxy, Undefined


class ZiCo(Proxy):
    """``sum over layers of log sum over weights of E|g| / sqrt(Var g)``, g the gradient in each half of the batch.

    The definition's variance (Section 3.3) is that of ``|g|``; the authors' code, by which the published figures are,
    takes that of ``g``, as here. Weights whose gradients do not differ are left out, and so are layers without others.
    """

    alone = True

    def __call__(self, run: Pass) -> float:
        if len(run.images) < 2:
            raise Undefined("two batches need at least two images")
        gradients: dict[int, list[torch.Tensor]] = {}
        for images, labels in zip(run.images.tensor_split(2), run.labels.tensor_split(2), strict=True):
            ran = Layers()
            loss = run.loss_function(run.run(images, ran), labels)
            weights = trainable(ran.found)
            for w, g in zip(weights, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                gradients.setdefault(id(w), []).append(torch.zeros_like(w) if g is None else g.detach())
        total, counted = 0.0, 0
        for both in gradients.values():
            g = torch.stack(both).double()
            spread = g.std(dim=0, unbiased=False)
            differs = spread > 0
            steady = float((g.abs().mean(dim=0)[differs] / spread[differs]).sum())
            if steady > 0:
                total += math.log(steady)
                counted += 1
        if not counted:
            raise Undefined("the gradients of both halves of the batch are the same")
        return total
