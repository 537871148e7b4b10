"""The network of an FBNet architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nastk.spaces._fbnet_shapes import Block, Layer


def _convolution(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(c_out)]


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection without ReLU (Figure 3 of the paper).

    With groups, the channels are shuffled after the expansion, so that the groups mix.
    """

    def __init__(self, block: Block, layer: Layer):
        super().__init__()
        middle = layer.c_in * block.expansion
        shuffle = [nn.ChannelShuffle(block.groups)] if block.groups > 1 else []
        self.residual = layer.same_shape
        self.body = nn.Sequential(
            *_convolution(layer.c_in, middle, groups=block.groups),
            nn.ReLU(inplace=True),
            *shuffle,
            *_convolution(middle, middle, block.kernel, layer.stride, groups=middle),
            nn.ReLU(inplace=True),
            *_convolution(middle, layer.c_out, groups=block.groups),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return x + y if self.residual else y


def _layer(block: Block | None, layer: Layer) -> nn.Module:
    if block is not None:
        return InvertedResidual(block, layer)
    if layer.same_shape:
        return nn.Identity()
    return nn.Sequential(*_convolution(layer.c_in, layer.c_out, stride=layer.stride), nn.ReLU(inplace=True))


class Network(nn.Sequential):
    """Stem, the layers, a 1x1 head, global average pooling, classifier.

    Args:
        blocks: of each layer, None where it is skipped.
        layers: their shapes.
        stem: channels of the image, channels and stride of the stem.
        head: channels before the classifier.
    """

    def __init__(
        self,
        blocks: Sequence[Block | None],
        layers: Sequence[Layer],
        stem: tuple[int, int, int],
        head: int,
        num_classes: int,
    ):
        in_channels, width, stride = stem
        super().__init__(
            *_convolution(in_channels, width, 3, stride),
            nn.ReLU(inplace=True),
            *(_layer(block, layer) for block, layer in zip(blocks, layers, strict=True)),
            *_convolution(layers[-1].c_out, head),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(head, num_classes),
        )
