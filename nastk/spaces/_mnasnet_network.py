"""The network of an MnasNet architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nastk.spaces._mobilenetv3_shapes import Layer


def _convolution(
    c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), *([nn.SiLU(inplace=True)] if activated else []))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate that is computed from the means of all channels (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, 1x1 projection; the first and third may be absent.

    Parts keep their names whatever is absent, so that networks of a supernet share them.
    """

    def __init__(self, layer: Layer):
        super().__init__()
        inside = layer.c_inside
        self.residual = layer.stride == 1 and layer.c_in == layer.c_out
        self.expand = _convolution(layer.c_in, inside) if layer.expands else nn.Identity()
        self.depthwise = _convolution(inside, inside, layer.kernel, layer.stride, groups=inside)
        self.squeeze = SqueezeExcitation(inside, layer.c_squeezed) if layer.c_squeezed else nn.Identity()
        self.project = _convolution(inside, layer.c_out, activated=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class Network(nn.Module):
    """Stem, blocks of layers, a 1x1 convolution, global average pooling, classifier.

    Args:
        blocks: the layers of each block.
        in_channels: of the image.
        stem: channels of the stem.
        head: channels of the last convolution.
    """

    def __init__(self, blocks: Sequence[Sequence[Layer]], in_channels: int, stem: int, head: int, num_classes: int):
        super().__init__()
        self.stem = _convolution(in_channels, stem, 3, 2)
        self.blocks = nn.Sequential(*(nn.Sequential(*map(InvertedResidual, layers)) for layers in blocks))
        self.head = _convolution(blocks[-1][-1].c_out, head)
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.head(self.blocks(self.stem(x)))
        logits: torch.Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits
