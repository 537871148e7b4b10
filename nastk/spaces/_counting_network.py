"""The network of a counting architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

OPERATIONS = {"conv1": (1, 1), "conv3": (3, 1), "conv3_d2": (3, 2), "conv5": (5, 1)}
"""Kernel and dilation of an operation."""


def _convolution(c_in: int, c_out: int, kernel: int = 1, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Cell(nn.Module):
    """Operations between the cell's input and its nodes.

    Node 1 is ``op1(x)``, node 2 ``op2(x) + op3(node 1)``, and where there are four operations node 3 ``op4(node 2)``.
    The output is the sum of the input, node 2 and node 3.

    Args:
        operations: three or four names, of which modules keep theirs, so that a supernet shares weights of equal
            operations only.
        channels: in and out.
    """

    def __init__(self, operations: Sequence[str], channels: int):
        super().__init__()
        self.names = tuple(f"op{i}_{name}" for i, name in enumerate(operations, 1))
        for place, name in zip(self.names, operations, strict=True):
            self.add_module(place, _convolution(channels, channels, *OPERATIONS[name]))

    def forward(self, x: Tensor) -> Tensor:
        operations = [self.get_submodule(name) for name in self.names]
        one = operations[0](x)
        two = operations[1](x) + operations[2](one)
        y: Tensor = x + two
        return y + operations[3](two) if len(operations) > 3 else y


class Network(nn.Module):
    """A stem of stride 2, three levels of encoder cells, two of decoder cells, and a map.

    Args:
        encoder: operations of each encoder cell.
        decoder: operations of each decoder cell.
        skips: the paths beside the way down and up, of :data:`nastk.spaces.counting.SKIPS`.
        widths: channels of the three levels.
        in_channels: of the image.
    """

    def __init__(
        self,
        encoder: Sequence[str],
        decoder: Sequence[str],
        skips: Sequence[str],
        widths: Sequence[int],
        in_channels: int,
    ):
        super().__init__()
        one, two, three = widths
        self.stem = nn.Sequential(_convolution(in_channels, one, 3, stride=2), _convolution(one, one, 3))
        self.encoder = nn.ModuleList(Cell(encoder, width) for width in widths)
        self.down = nn.ModuleList([_convolution(one, two), _convolution(two, three)])
        self.up = nn.ModuleList([_convolution(three, two), _convolution(two, one)])
        shapes = {"e1d1": (one, one), "e2d2": (two, two), "e2d1": (two, one)}
        self.skips = nn.ModuleDict({name: _convolution(*shapes[name]) for name in skips})
        self.decoder = nn.ModuleList([Cell(decoder, two), Cell(decoder, one)])
        self.head = nn.Conv2d(one, 1, 1)
        nn.init.normal_(self.head.weight, std=0.01)  # maps hold small numbers
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Density maps ``(batch, 1, side / 2, side / 2)`` of images ``(batch, in_channels, side, side)``."""
        first = self.encoder[0](self.stem(x))
        second = self.encoder[1](self.down[0](functional.max_pool2d(first, 2)))
        third = self.encoder[2](self.down[1](functional.max_pool2d(second, 2)))
        y = functional.interpolate(self.up[0](third), scale_factor=2.0, mode="nearest")
        if "e2d2" in self.skips:
            y = y + self.skips["e2d2"](second)
        y = functional.interpolate(self.up[1](self.decoder[0](y)), scale_factor=2.0, mode="nearest")
        if "e1d1" in self.skips:
            y = y + self.skips["e1d1"](first)
        if "e2d1" in self.skips:
            y = y + functional.interpolate(self.skips["e2d1"](second), scale_factor=2.0, mode="nearest")
        density: torch.Tensor = self.head(self.decoder[1](y))
        return density
