"""The masks of mask-based pruning, and the layers that run with them.

Masks are binary in the forward pass; the gradient passes as if they were not (straight-through).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from nastk.generators._pit_channels import NORMS, Channels, Layer, Masks, mask_of

THRESHOLD = 0.5
"""Sums of mask parameters above which a channel or a tap is kept."""


def straight_through(theta: Tensor) -> Tensor:
    """1 where `theta` is above :data:`THRESHOLD`, else 0, with the gradient of `theta`."""
    return theta + ((theta > THRESHOLD).to(theta.dtype) - theta).detach()


class ChannelMask(nn.Module):
    """Which channels of a group are kept; the first one always is.

    Args:
        size: number of channels, 2 or more.
    """

    def __init__(self, size: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(size - 1))

    def forward(self) -> Tensor:
        return straight_through(torch.cat([self.alpha.new_ones(1), self.alpha.abs()]))

    def weakest(self) -> float:
        """What the channel that is removed next has of mask; infinite where one is left."""
        kept = self.alpha.detach().abs()
        kept = kept[kept > THRESHOLD]
        return float(kept.min()) if len(kept) else math.inf

    @torch.no_grad()
    def remove(self) -> None:
        """Remove that channel."""
        kept = self.alpha.abs()
        self.alpha[torch.where(kept > THRESHOLD, kept, math.inf).argmin()] = 0.0


class TapMask(nn.Module):
    """Which taps of a kernel are kept: the newest ones, every first, second, fourth ... of them.

    The receptive field is the sum of |beta| from the oldest tap on, so that the oldest are removed first; the dilation
    the sum of |gamma| from the finest step on, so that only powers of two appear (Risso et al., Section III-B). The
    newest tap is always kept, and a dilation alone leaves two or more.

    Args:
        taps: number of taps, 2 or more.
    """

    steps: Tensor

    def __init__(self, taps: int):
        super().__init__()
        levels = int(math.log2(taps - 1))
        self.beta = nn.Parameter(torch.ones(taps - 1))
        self.gamma = nn.Parameter(torch.ones(levels))
        divisible = [min(_twos(i), levels) if i else levels for i in range(taps)]
        self.register_buffer("steps", torch.tensor(divisible), persistent=False)

    def forward(self) -> Tensor:
        """The mask of the taps in the order of the kernel, the oldest first, ``(taps,)``."""
        return (self.field() * self.grid()).flip(0)

    def field(self) -> Tensor:
        """Taps within the receptive field, the newest first."""
        oldest_first = self.beta.abs().flip(0).cumsum(0)
        return straight_through(torch.cat([self.beta.new_ones(1), oldest_first.flip(0)]))

    def grid(self) -> Tensor:
        """Taps at multiples of the dilation, the newest first."""
        sums = torch.cat([self.gamma.abs().cumsum(0), self.gamma.new_ones(1)])
        return straight_through(sums[self.steps])

    def weakest(self) -> float:
        """What the tap that is removed next, the oldest, has of mask; infinite where one is left."""
        oldest_first = self.beta.detach().abs().flip(0).cumsum(0)
        kept = oldest_first[oldest_first > THRESHOLD]
        return float(kept[0]) if len(kept) else math.inf

    @torch.no_grad()
    def remove(self) -> None:
        """Remove that tap."""
        self.beta[int(self.field().sum()) - 2 :] = 0.0

    @torch.no_grad()
    def kept(self) -> tuple[int, int]:
        """How many taps are kept, and their dilation, 1 of a single one."""
        inside = int(self.field().sum())
        on_grid = self.grid()
        dilation = int(torch.nonzero(on_grid[1:])[0]) + 1
        count = (inside - 1) // dilation + 1
        return count, dilation if count > 1 else 1


def _twos(number: int) -> int:
    """How often a number can be halved."""
    return (number & -number).bit_length() - 1


class MaskedLayer(nn.Module):
    """A layer whose weights of removed input channels and of removed taps are zero.

    What a removed channel carries is thus read by nobody, which is what its removal does, too.

    Args:
        layer: a convolution or linear layer.
        reads: channels of its input, None where none of them can be removed.
        masks: the masks of their groups; not a part of the module, as several layers share them.
        taps: the mask of its taps, None where there is none.
    """

    def __init__(self, layer: nn.Module, reads: Channels | None, masks: Masks, taps: TapMask | None):
        super().__init__()
        self.layer, self.taps = layer, taps
        self._masks = (reads, masks)

    def weight(self) -> Tensor:
        """The masked weight."""
        found: Any = self.layer.weight
        reads, masks = self._masks
        if reads is not None:
            found = found * mask_of(reads, masks).reshape(1, -1, *[1] * (found.ndim - 2))
        return found if self.taps is None else found * self.taps()

    def forward(self, x: Tensor) -> Tensor:
        layer: Any = self.layer
        if type(layer).forward is nn.Linear.forward:
            return functional.linear(x, self.weight(), layer.bias)
        if type(layer).forward in (nn.Conv1d.forward, nn.Conv2d.forward):
            found: Tensor = layer._conv_forward(x, self.weight(), layer.bias)
            return found
        called: Tensor = functional_call(layer, {"weight": self.weight()}, (x,))
        return called


@dataclass(frozen=True)
class LayerSize:
    """What is left of a layer, differentiable in the masks.

    Args:
        name: of the module.
        kind: "convolution", "depthwise", "linear" or "normalisation".
        inputs: channels that each output channel reads (those of a group, of a grouped convolution).
        outputs: channels of the output.
        taps: of the kernel.
        positions: elements of an output channel for one example, such as time steps.
        bias: whether it has one.
    """

    name: str
    kind: str
    inputs: Tensor
    outputs: Tensor
    taps: Tensor
    positions: int
    bias: bool

    @property
    def params(self) -> Tensor:
        if self.kind == "normalisation":
            return 2.0 * self.outputs if self.bias else 0.0 * self.outputs
        return self.outputs * (self.inputs * self.taps + float(self.bias))

    @property
    def flops(self) -> Tensor:
        """Multiply-adds, and one for each bias, as :func:`nastk.oracles.counts.count_network` counts."""
        return 0.0 * self.outputs if self.kind == "normalisation" else self.params * self.positions


def size_of(layer: Layer, masks: Masks, taps: TapMask | None) -> LayerSize:
    """What is left of a layer under these masks."""
    module: Any = layer.module
    reads, writes = mask_of(layer.reads, masks).sum(), mask_of(layer.writes, masks).sum()
    one = torch.ones_like(reads)
    if isinstance(module, NORMS):
        return LayerSize(layer.name, "normalisation", one, writes, one, layer.positions, module.weight is not None)
    kind = "linear" if isinstance(module, nn.Linear) else "depthwise" if layer.depthwise else "convolution"
    reads = one * module.weight.shape[1] if layer.depthwise else reads
    kernel = taps().sum() if taps is not None else one * math.prod(module.weight.shape[2:])
    return LayerSize(layer.name, kind, reads, writes, kernel, layer.positions, module.bias is not None)
