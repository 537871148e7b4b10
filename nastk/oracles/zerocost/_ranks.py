"""Effective ranks of what layers and nonlinearities give, while a network runs; `near` adds them up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nastk.oracles._calls import GATES, NORMALISATIONS, Call, Layer

ACTIVATIONS = GATES | frozenset({
    "glu", "hardshrink", "hardsigmoid", "logsigmoid", "sigmoid", "softplus", "softshrink", "softsign",
    "tanh", "tanhshrink",
})  # fmt: skip
"""Without softmax, which fused attention does not show."""


class Ranks:
    """Adds up the effective ranks of all outputs.

    The effective rank is the exponential of the entropy of the singular values as shares of their sum (Roy & Vetterli,
    2007).

    Args:
        generator: for the places that a matrix starts from.

    Attributes:
        total, counted: sum, and number of outputs; the sum is NaN once an output is not finite.
    """

    def __init__(self, generator: torch.Generator):
        self._generator, self._channels = generator, {2: -1, 3: -1, 4: 1}
        self.total, self.counted = 0.0, 0

    def called(self, call: Call, output: Any) -> None:
        """A function gave this output."""
        scaled = call.name in NORMALISATIONS and call.get("weight") is not None
        if isinstance(output, Tensor) and output.ndim > 1 and (scaled or call.name in ACTIVATIONS):
            self._add(output)

    def ran(self, layer: Layer, output: Tensor) -> None:
        """A layer gave this output."""
        if layer.channels is not None:
            self._channels[output.ndim] = layer.channels
            self._add(output)

    def _add(self, output: Tensor) -> None:
        self.counted += 1
        maps = output.detach().movedim(self._channels.get(output.ndim, 1), -1)
        if maps.ndim == 4:
            maps = maps.transpose(1, 2)  # along columns, as the authors' code
        channels, places = maps.shape[-1], maps[0, ..., 0].numel()
        spare = len(maps) * places - channels
        start = int(torch.randint(0, spare + 1, (), generator=self._generator)) if spare > 0 else 0
        first = start // places  # image; only those that rows are taken of are copied
        rows = maps[first : (start + channels - 1) // places + 1].flatten(0, -2)[start - first * places :][:channels]
        if not bool(torch.isfinite(rows).all()):
            self.total = float("nan")
            return
        found = torch.linalg.svdvals(rows.double())
        if (whole := found.sum()) > 0:  # of zeros the rank is zero
            self.total += float(torch.exp(torch.special.entr(found / whole).sum()))
