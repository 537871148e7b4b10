"""The network of a MobileNetV3 architecture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nastk.spaces._mobilenetv3_shapes import Layer


class Resize(nn.Module):
    """Bilinear resizing to squares of `side` pixels; images of that size are unchanged."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (self.side, self.side)
        if x.shape[-2:] == size:
            return x
        return nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)


class HardSigmoid(nn.Module):
    """``relu6(x + 3) / 6``; unlike torch's own it has second derivatives, which the proxy grasp needs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu6(x + 3.0) / 6.0


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate that is computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            HardSigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


def _activation(hard_swish: bool) -> nn.Module:
    return nn.Hardswish(inplace=True) if hard_swish else nn.ReLU(inplace=True)


def _convolution(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(c_out)]


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, 1x1 projection (Figure 4 of the paper)."""

    def __init__(self, layer: Layer):
        super().__init__()
        inside = layer.c_inside
        expansion = [*_convolution(layer.c_in, inside), _activation(layer.hard_swish)] if layer.expands else []
        excitation = [SqueezeExcitation(inside, layer.c_squeezed)] if layer.c_squeezed else []
        self.residual = layer.stride == 1 and layer.c_in == layer.c_out
        self.body = nn.Sequential(
            *expansion,
            *_convolution(inside, inside, layer.kernel, layer.stride, groups=inside),
            _activation(layer.hard_swish),
            *excitation,
            *_convolution(inside, layer.c_out),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return x + y if self.residual else y


class Network(nn.Sequential):
    """Resizing, stem, the layers, a 1x1 convolution, global average pooling, another 1x1 convolution, classifier.

    Args:
        layers: the fixed first block and the active layers.
        places: what each layer is called, whatever the depths of stages before it; supernets share weights by it.
        side: pixels to which images are resized.
        in_channels: of the image.
        expanded, features: channels before and after the last 1x1 convolution, which has no normalisation.
        stride: of the stem.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        places: Sequence[str],
        side: int,
        in_channels: int,
        expanded: int,
        features: int,
        num_classes: int,
        stride: int = 2,
    ):
        super().__init__(
            Resize(side),
            *_convolution(in_channels, layers[0].c_in, 3, stride),
            _activation(hard_swish=True),
            *(InvertedResidual(layer) for layer in layers),
            *_convolution(layers[-1].c_out, expanded),
            _activation(hard_swish=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(expanded, features, 1, bias=False),
            _activation(hard_swish=True),
            nn.Flatten(),
            nn.Linear(features, num_classes),
        )
        # Sequential counts its modules, and the depths of stages move the later ones
        blocks = [place for place, module in enumerate(self) if isinstance(module, InvertedResidual)]
        called = dict(zip(blocks, places, strict=True))
        for place, module in enumerate(self):
            after = place - blocks[-1]
            object.__setattr__(  # a text, and no part of the state
                module, "shared_as", called.get(place, f"end {after}" if after > 0 else f"begin {place}")
            )
