"""The network of an Edge-TPU architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nastk.spaces._edgetpu_shapes import Bottleneck


def _convolution(
    c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    # a supernet shares the groups of a wider network, if those are of the same shape
    convolution.shared_by_group = True  # type: ignore[assignment]
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), *([nn.ReLU(inplace=True)] if activated else []))


class InvertedBottleneck(nn.Module):
    """1x1 expansion where the kind has one, a depthwise, full or group convolution, 1x1 projection.

    Parts keep their names whatever is absent, so that networks of a supernet share them.
    """

    def __init__(self, of: Bottleneck):
        super().__init__()
        c_in = of.c_inside if of.expands else of.c_in
        self.residual = of.stride == 1 and of.c_in == of.c_out
        self.expand = _convolution(of.c_in, of.c_inside) if of.expands else nn.Identity()
        self.convolution = _convolution(c_in, of.c_inside, of.kernel, of.stride, of.groups)
        self.project = _convolution(of.c_inside, of.c_out, activated=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.convolution(self.expand(x)))
        return x + y if self.residual else y


class Network(nn.Module):
    """Stem, a 1x1 convolution, stages of bottlenecks, a 1x1 convolution, global average pooling, classifier.

    Args:
        in_channels: of the image.
        stem: channels of the stem.
        first: channels after the first 1x1 convolution.
        stages: the bottlenecks of each stage.
        head: channels of the last convolution.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int,
        first: int,
        stages: Sequence[Sequence[Bottleneck]],
        head: int,
        num_classes: int,
    ):
        super().__init__()
        self.stem = _convolution(in_channels, stem, 5, 2)
        self.first = _convolution(stem, first, activated=False)
        self.stages = nn.Sequential(*(nn.Sequential(*map(InvertedBottleneck, of)) for of in stages))
        self.head = _convolution(stages[-1][-1].c_out, head)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.head(self.stages(self.first(self.stem(x))))
        logits: torch.Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits
