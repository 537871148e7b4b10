"""Networks of four blocks for `nastk bench supernet`: 1.68 million, small enough to be trained in seconds.

A stem, four stages of two layers, each layer one of six operations, and a linear layer: the form that block-wise
distillation needs, on images of 8 x 8 and more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from nastk.spaces._choices import choice

CHANNELS = (8, 8, 16, 24, 32)
"""Of the stem and of each stage."""

STRIDES = (1, 2, 2, 1)
"""Of each stage's first layer."""


def normed(*layers: nn.Module, channels: int, act: bool = True) -> list[nn.Module]:
    return [*layers, nn.BatchNorm2d(channels), *([nn.ReLU()] if act else [])]


def convolution(kernel: int, before: int, after: int, stride: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)


def full(kernel: int, before: int, after: int, stride: int) -> nn.Module:
    """A convolution."""
    return nn.Sequential(*normed(convolution(kernel, before, after, stride), channels=after))


def separable(kernel: int, before: int, after: int, stride: int) -> nn.Module:
    """A depthwise convolution and a 1 x 1 one."""
    return nn.Sequential(
        *normed(convolution(kernel, before, before, stride, before), channels=before),
        *normed(convolution(1, before, after, 1), channels=after),
    )


class Inverted(nn.Module):
    """MobileNetV2's inverted residual, with a 3 x 3 kernel."""

    def __init__(self, expansion: int, before: int, after: int, stride: int):
        super().__init__()
        hidden = before * expansion
        self.body = nn.Sequential(
            *normed(convolution(1, before, hidden, 1), channels=hidden),
            *normed(convolution(3, hidden, hidden, stride, hidden), channels=hidden),
            *normed(convolution(1, hidden, after, 1), channels=after, act=False),
        )
        self.residual = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return x + found if self.residual else found


def skip(before: int, after: int, stride: int) -> nn.Module:
    """Nothing; only where the shape stays."""
    return nn.Identity()


OPERATIONS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "conv3": partial(full, 3),
    "conv5": partial(full, 5),
    "dw3": partial(separable, 3),
    "dw5": partial(separable, 5),
    "mb3": partial(Inverted, 3),
}


class FourBlocks(nn.Module):
    """One network.

    Args:
        in_channels: of the images.
        num_classes: number of classes.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(*normed(convolution(3, in_channels, CHANNELS[0], 1), channels=CHANNELS[0]))
        stages = []
        for i, stride in enumerate(STRIDES):
            before, after = CHANNELS[i], CHANNELS[i + 1]
            first = choice(f"op {i}.0", {**OPERATIONS, "mb1": partial(Inverted, 1)})(before, after, stride)
            second = choice(f"op {i}.1", {**OPERATIONS, "skip": skip})(after, after, 1)
            stages.append(nn.Sequential(first, second))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(CHANNELS[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3)))
        return found
