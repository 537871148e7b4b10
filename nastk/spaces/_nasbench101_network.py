"""The networks of NAS-Bench-101."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.spaces._nasbench101_shapes import vertex_channels


def _conv(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
    )


def _operation(label: str, channels: int) -> nn.Module:
    if label == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return _conv(channels, channels, 3 if label == "conv3x3-bn-relu" else 1)


class Cell(nn.Module):
    """A directed acyclic graph: the input is projected, inner values are added, the inputs of the output are
    concatenated.

    Args:
        matrix: adjacency ``(v, v)``.
        labels: of the vertices.
        c_in, c_out: channels.
    """

    def __init__(self, matrix: NDArray[np.bool_], labels: Sequence[str], c_in: int, c_out: int):
        super().__init__()
        self.matrix = matrix
        self.channels = [int(c) for c in vertex_channels(matrix[None], c_out)[0]]
        self.last = len(labels) - 1
        self.projections, self.operations = nn.ModuleDict(), nn.ModuleDict()
        for vertex in range(1, self.last):
            if matrix[0, vertex]:
                self.projections[str(vertex)] = _conv(c_in, self.channels[vertex], 1)
            self.operations[str(vertex)] = _operation(labels[vertex], self.channels[vertex])
        if matrix[0, self.last]:
            self.projections[str(self.last)] = _conv(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        values: dict[int, Tensor] = {}
        for vertex in range(1, self.last):
            inputs = [values[s][:, : self.channels[vertex]] for s in range(1, vertex) if self.matrix[s, vertex]]
            if self.matrix[0, vertex]:
                inputs.append(self.projections[str(vertex)](x))
            total = inputs[0]
            for other in inputs[1:]:
                total = total + other
            values[vertex] = self.operations[str(vertex)](total)
        joined = [values[s] for s in range(1, self.last) if self.matrix[s, self.last]]
        direct = self.projections[str(self.last)](x) if self.matrix[0, self.last] else None
        if not joined:
            assert direct is not None
            return direct
        out = torch.cat(joined, dim=1) if len(joined) > 1 else joined[0]
        return out if direct is None else out + direct


class Network(nn.Module):
    """A 3x3 convolution, three stacks of cells with pooling and doubled channels between, pooling, classifier."""

    def __init__(
        self,
        matrix: NDArray[np.bool_],
        labels: Sequence[str],
        num_classes: int,
        channels: int,
        cells_per_stack: int,
        in_channels: int,
    ):
        super().__init__()
        parts: list[nn.Module] = [_conv(in_channels, channels, 3)]
        width = channels
        for stack in range(3):
            if stack:
                parts.append(nn.MaxPool2d(2, stride=2))
            for _ in range(cells_per_stack):
                parts.append(Cell(matrix, labels, width, channels * 2**stack))
                width = channels * 2**stack
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits
