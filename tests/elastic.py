"""Small networks with choices, and few digits to train them on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import nastk
from nastk.data.images import ImageData, read_images


class Elastic(nn.Module):
    """Widths, depths and kernels; layers of both stages lie in one list, so that depths move them."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        channels, layers = 1, []
        for stage in range(2):
            width = nastk.choice(f"width {stage}", [4, 8])
            for i in range(nastk.choice(f"depth {stage}", [1, 2])):
                kernel = nastk.choice(f"kernel {stage}.{i}", [1, 3])
                convolution = nn.Conv2d(channels, width, kernel, padding="same")
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x).mean((2, 3)))
        return found


def plain(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())


def depthwise(channels: int) -> nn.Module:
    first = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    return nn.Sequential(first, nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())


def nothing(channels: int) -> nn.Module:
    return nn.Identity()


class Staged(nn.Module):
    """Two stages of two layers, each of three operations."""

    input_shape = (1, 8, 8)
    global_width = False

    def __init__(self) -> None:
        super().__init__()
        first = nastk.choice("width", [4, 8]) if self.global_width else 4
        widths = [first, first, 8]
        self.stem = nn.Sequential(nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU())
        stages = []
        for i in range(2):
            layers = [nastk.choice(f"op {i}.{j}", [plain, depthwise, nothing])(widths[i + 1]) for j in range(2)]
            stages.append(nn.Sequential(nn.Conv2d(widths[i], widths[i + 1], 1, stride=1 + i), *layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3)))
        return found


class Global(Staged):
    """A choice changes both stages."""

    global_width = True


def digits() -> ImageData:
    return read_images("digits")


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
