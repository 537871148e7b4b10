"""synflow: flow through the weights without data (Tanaka et al., SynFlow, NeurIPS 2020; as a proxy, ICLR 2021)."""

from __future__ import annotations

import torch
from torch import nn

from nastk.oracles.zerocost._pass import Pass, first_output, without_normalisation
from nastk.oracles.zerocost.base import Proxy


class Synflow(Proxy):
    """``sum |w dR/dw|`` with R the sum of the outputs for an input of ones, all weights positive, no normalisation.

    In double precision: on deep networks single precision overflows. For tokens the embeddings are the input.
    """

    alone = True

    def __call__(self, run: Pass) -> float:
        model = run.model
        kept = {name: p.data for name, p in model.named_parameters()}
        buffers = {name: b.data for name, b in model.named_buffers()}
        try:
            with torch.no_grad():
                for p in model.parameters():
                    p.data = p.data.double().abs() if p.is_floating_point() else p.data
                for b in model.buffers():
                    b.data = b.data.double().abs() if b.is_floating_point() else b.data
            ones = torch.ones_like(run.images[:1], dtype=torch.float64 if run.images.is_floating_point() else None)
            embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
            hooks = [m.register_forward_hook(lambda _, inputs, output: torch.ones_like(output)) for m in embeddings]
            try:
                with without_normalisation(model):
                    output = first_output(model(ones))
            finally:
                for hook in hooks:
                    hook.remove()
            found = torch.autograd.grad(output.sum(), run.weights, allow_unused=True)
            return float(
                sum((w.detach() * g).abs().sum() for w, g in zip(run.weights, found, strict=True) if g is not None)
            )
        finally:
            for name, p in model.named_parameters():
                p.data = kept[name]
            for name, b in model.named_buffers():
                b.data = buffers[name]
