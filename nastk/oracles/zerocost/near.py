"""near: the effective rank of what layers and nonlinearities give (Husistein et al., NEAR, ICLR 2025)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nastk.oracles._calls import NORMALISATIONS, Call, Layer, Layers
from nastk.oracles.zerocost._pass import GATES, Pass
from nastk.oracles.zerocost.base import Proxy, Undefined

_ACTIVATIONS = GATES | frozenset({
    "glu", "hardshrink", "hardsigmoid", "logsigmoid", "sigmoid", "softplus", "softshrink", "softsign",
    "tanh", "tanhshrink",
})  # fmt: skip
"""Without softmax, which fused attention does not show."""


class Near(Proxy):
    """``sum over outputs of the effective rank of H``, outputs of layers, of normalisations, and of nonlinearities.

    A row of H are an image's values at one place; of maps as many neighbouring rows are taken as there are channels,
    from a random start (Section 2). The effective rank is the exponential of the entropy of the singular values as
    shares of their sum (Roy & Vetterli, 2007). No label is read.
    """

    alone = True

    def __call__(self, run: Pass) -> float:
        ran = _Ranks(run.generator)
        with torch.no_grad():
            run.run(run.images, ran)
        if not ran.counted:
            raise Undefined("no layer, normalisation or nonlinearity ran")
        return ran.total


class _Ranks(Layers):
    """Adds up the effective ranks of all outputs.

    Attributes:
        total, counted: sum, and number of outputs.
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self._generator, self._channels = generator, {2: -1, 3: -1, 4: 1}
        self.total, self.counted = 0.0, 0

    def run(self, call: Call) -> Any:
        output = call.run()
        scaled = call.name in NORMALISATIONS and call.get("weight") is not None
        if isinstance(output, Tensor) and output.ndim > 1 and (scaled or call.name in _ACTIVATIONS):
            self._add(output)
        return output

    def ran(self, layer: Layer, output: Any) -> None:
        if layer.biases and self.found and self.found[-1] is layer:
            return  # a bias that was added in a call of its own: its layer has been counted
        super().ran(layer, output)
        if layer.channels is not None:
            self._channels[output.ndim] = layer.channels
            self._add(output)

    def _add(self, output: Tensor) -> None:
        maps = output.movedim(self._channels.get(output.ndim, 1), -1)
        if maps.ndim == 4:
            maps = maps.transpose(1, 2)  # along columns, as the authors' code
        rows = maps.flatten(0, -2)
        spare = len(rows) - rows.shape[1]
        start = int(torch.randint(0, spare + 1, (), generator=self._generator)) if spare > 0 else 0
        found = torch.linalg.svdvals(rows[start : start + rows.shape[1]].double())
        shares = found / found.sum()
        if bool(torch.isfinite(shares).all()):  # of zeros the rank is zero
            self.total += float(torch.exp(torch.special.entr(shares).sum()))
        self.counted += 1
