"""The network of a NAS-Bench-201 cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class _ReLUConvBN(nn.Sequential):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
        )


class _Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0


def _operation(name: str, channels: int) -> nn.Module:
    if name == "none":
        return _Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return _ReLUConvBN(channels, channels, 3 if name == "nor_conv_3x3" else 1)


class Cell(nn.Module):
    """Each node is the sum of its edges' operations on their source nodes; the last node is the output."""

    def __init__(self, operations: Sequence[str], edges: Sequence[tuple[int, int]], channels: int):
        super().__init__()
        self.edges = tuple(edges)
        self.operations = nn.ModuleList(_operation(name, channels) for name in operations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nodes: list[torch.Tensor] = [x]
        for (source, target), operation in zip(self.edges, self.operations, strict=True):
            value = operation(nodes[source])
            if target == len(nodes):
                nodes.append(value)
            else:
                nodes[target] = nodes[target] + value
        return nodes[-1]


class Reduction(nn.Module):
    """Residual block that halves the resolution and doubles the channels."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.body = nn.Sequential(_ReLUConvBN(c_in, c_out, 3, 2), _ReLUConvBN(c_out, c_out, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


class Network(nn.Module):
    """Stem, three stages of cells with a reduction before the second and the third, pooling, classifier."""

    def __init__(
        self,
        operations: Sequence[str],
        edges: Sequence[tuple[int, int]],
        num_classes: int,
        channels: int,
        cells_per_stage: int,
        in_channels: int,
    ):
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                layers.append(Reduction(width // 2, width))
            layers += [Cell(operations, edges, width) for _ in range(cells_per_stage)]
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, size, size)``."""
        return self.classifier(self.features(x))
