"""vkdnw: how evenly the weights can be known (Tybl & Neumann, Variance of Knowledge of Weights, CVPR 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined

WEIGHTS = 128
"""Parameter tensors, at most, of which one entry each is in the Fisher matrix."""
SMOOTHING = 0.05
"""Share of the uniform distribution in the predicted one."""
SMALL = 1e-10
"""Keeps the logarithm finite at an eigenvalue of zero."""
AT_ONCE = 8
"""Images, and classes, at once: the gradients of all weights are held for each pair, to bound the memory."""
SCALE = 10.0
"""The entropy of nine shares is below log 9: divided by this, it only orders networks with as many parameters."""


class Vkdnw(Proxy):
    """``number of parameter tensors + entropy / 10``, of the deciles of the Fisher matrix's eigenvalues.

    The paper's single score (Section 3.3): networks are ordered by the number of their parameter tensors, those with as
    many by the entropy of the nine inner deciles as shares of their sum. The Fisher matrix is that of the first entry
    of each of the first 128 parameter tensors, of a prediction that is smoothed by 5 %, over the images. In evaluation
    mode: with fresh running statistics batch normalisation is the identity. The paper takes 64 images of noise and
    draws weights by fan-in (``init="kaiming"``). With fewer images times classes than entries the lower deciles are
    zero. No label is read.
    """

    alone = True

    def __call__(self, run: Pass) -> float:
        run.restore()  # running statistics, which other proxies have moved
        run.model.eval()
        try:
            fisher = self.fisher(run)
        finally:
            run.model.train()
        deciles = torch.quantile(torch.linalg.eigvalsh(fisher).abs(), torch.arange(1, 10).to(fisher) / 10)
        shares = deciles / (deciles.sum() + SMALL)
        entropy = float(-(shares * torch.log(shares + SMALL)).sum())
        return len(list(run.model.parameters())) + entropy / SCALE

    @staticmethod
    def fisher(run: Pass) -> Tensor:
        """The mean over the images of ``J' (diag(q) - q q') J``, ``(p, p)``: J of the logits, q the prediction."""
        kept = {name: tensor.detach() for name, tensor in [*run.model.named_parameters(), *run.model.named_buffers()]}
        names = [name for name, p in run.model.named_parameters() if p.is_floating_point() and p.numel()][:WEIGHTS]
        if not names:
            raise Undefined("the network has no parameters")
        with torch.no_grad():
            if run.find.choose(run.model(run.images[:1]))[1].ndim != 2:
                raise Undefined("it needs one prediction for each image")

        def logits(entries: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
            moved = dict(kept)
            for entry, name in zip(entries, names, strict=True):
                flat = kept[name].flatten()
                moved[name] = torch.cat([entry[None], flat[1:]]).reshape(kept[name].shape)
            found = run.find.choose(functional_call(run.model, moved, (image[None],)))[1][0]
            return found, found

        entries = torch.stack([kept[name].flatten()[0] for name in names])
        slopes = jacrev(logits, has_aux=True, chunk_size=AT_ONCE)
        jacobian, given = vmap(slopes, (None, 0), chunk_size=AT_ONCE)(entries, run.images.detach())
        jacobian, given = jacobian.double(), given.detach().double()
        q = torch.softmax(given, dim=1) * (1 - SMOOTHING) + SMOOTHING / given.shape[1]
        mean = torch.einsum("bc,bcp->bp", q, jacobian)
        centred = jacobian - mean[:, None]  # J' (diag(q) - q q') J is the covariance of J's rows under q
        return torch.einsum("bc,bcp,bcr->pr", q, centred, centred) / len(q)
