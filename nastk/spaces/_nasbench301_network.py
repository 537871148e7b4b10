"""The network of two DARTS cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nastk.spaces._nasbench301_shapes import Stage

Edges = Sequence[tuple[str, int]]
"""Operation and input of each edge; two edges per node."""


class _ReLUConvBN(nn.Sequential):
    """ReLU, 1x1 convolution, batch normalisation."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))


class FactorizedReduce(nn.Module):
    """Halves the resolution: half of the channels read every second pixel, half the diagonal neighbours."""

    def __init__(self, c_in: int, c_out: int, affine: bool):
        super().__init__()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.normalisation = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(x)
        return self.normalisation(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))


def _separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise and 1x1 convolution, batch normalisation without weights."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
    ]


def _operation(name: str, channels: int, stride: int) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=False)
    if name == "max_pool_3x3":
        return nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(channels, affine=False))
    if name == "avg_pool_3x3":
        pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False))
    kernel = int(name[-1])
    if name.startswith("dil"):
        return nn.Sequential(*_separable(channels, kernel, stride, dilation=2))
    return nn.Sequential(*_separable(channels, kernel, stride), *_separable(channels, kernel, 1))


class Cell(nn.Module):
    """Nodes that add two operations on earlier ones; the output is the concatenation of all but the two inputs.

    In a reduction cell the operations on the two inputs have stride 2.
    """

    def __init__(self, edges: Edges, stage: Stage):
        super().__init__()
        c = stage.channels
        self.before = (
            FactorizedReduce(stage.c_before, c, affine=True)
            if stage.after_reduction
            else _ReLUConvBN(stage.c_before, c)
        )
        self.previous = _ReLUConvBN(stage.c_previous, c)
        self.inputs = [source for _, source in edges]
        self.operations = nn.ModuleList(
            _operation(name, c, 2 if stage.reduction and source < 2 else 1) for name, source in edges
        )

    def forward(self, before: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        values = [self.before(before), self.previous(previous)]
        for k in range(0, len(self.inputs), 2):
            first, second = (self.operations[j](values[self.inputs[j]]) for j in (k, k + 1))
            values.append(first + second)
        return torch.cat(values[2:], dim=1)


class Network(nn.Module):
    """Stem, cells, global average pooling, classifier.

    Args:
        normal, reduce: edges of the two kinds of cells, two per node.
        stages: shapes of the cells.
        num_classes: logits.
        in_channels: of the image.
    """

    def __init__(self, normal: Edges, reduce: Edges, stages: Sequence[Stage], num_classes: int, in_channels: int):
        super().__init__()
        stem = stages[0].c_previous
        self.stem = nn.Sequential(nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList(Cell(reduce if stage.reduction else normal, stage) for stage in stages)
        width = len(normal) // 2 * stages[-1].channels
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``."""
        before = previous = self.stem(x)
        for cell in self.cells:
            before, previous = previous, cell(before, previous)
        return self.classifier(previous)
