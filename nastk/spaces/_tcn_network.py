"""The network of a TCN architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def layer(c_in: int, c_out: int, field: int, dilation: int) -> nn.Sequential:
    """A causal convolution over the last `field` steps, every `dilation`-th of them."""
    taps = (field - 1) // dilation + 1
    return nn.Sequential(
        nn.ConstantPad1d(((taps - 1) * dilation, 0), 0.0),
        nn.Conv1d(c_in, c_out, taps, dilation=dilation, bias=False),
        nn.BatchNorm1d(c_out),
        nn.ReLU(inplace=True),
    )


class Network(nn.Module):
    """Layers, the mean over time, classifier.

    Args:
        layers: channels, receptive field and dilation of each.
        in_channels: of the series.
        pooled: layers after which the mean of every two steps is taken.
    """

    def __init__(self, layers: Sequence[Sequence[int]], in_channels: int, num_classes: int, pooled: Sequence[int]):
        super().__init__()
        reads = [in_channels, *(channels for channels, _, _ in layers)]
        self.layers = nn.ModuleList(layer(c_in, *shape) for c_in, shape in zip(reads, layers, strict=False))
        self.pool = nn.AvgPool1d(2)
        self.pooled = tuple(pooled)
        self.classifier = nn.Linear(reads[-1], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, made in enumerate(self.layers):
            x = made(x)
            if i in self.pooled:
                x = self.pool(x)
        logits: torch.Tensor = self.classifier(x.mean(dim=2))
        return logits
