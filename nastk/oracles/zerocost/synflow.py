"""synflow: flow through the weights without data (Tanaka et al., SynFlow, NeurIPS 2020; as a proxy, ICLR 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nastk.oracles._calls import NORMALISATIONS, Call, Layers, parameter
from nastk.oracles.zerocost._pass import Pass, trainable
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
            ran = _Flow()
            output = run.run(ones, ran)
            weights = trainable(ran.found)
            found = torch.autograd.grad(output.sum(), weights, allow_unused=True)
            pairs = zip(weights, found, strict=True)
            return float(sum((w.detach() * g).abs().sum() for w, g in pairs if g is not None))
        finally:
            for name, p in model.named_parameters():
                p.data = kept[name]
            for name, b in model.named_buffers():
                b.data = buffers[name]


class _Flow(Layers):
    """Layers, with normalisations as the identity and embeddings as ones."""

    def run(self, call: Call) -> Any:
        if call.name in NORMALISATIONS:
            return call.tensors[0].clone()  # what follows may work in place
        output = call.run()
        return torch.ones_like(output) if _embeds(call) else output


def _embeds(call: Call) -> bool:
    """Whether tokens choose rows of a parameter: ``embedding(tokens, w)`` or ``w[tokens]``."""
    if call.name != "getitem":
        return call.name == "embedding"
    rows = call.arguments[1]
    chosen = isinstance(rows, Tensor) and not rows.is_floating_point() and rows.dtype != torch.bool
    return chosen and parameter(call.arguments[0]) is not None
