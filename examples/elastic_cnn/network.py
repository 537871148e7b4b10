"""A network with elastic widths, depths, kernels and expansions: 373,248 architectures, for supernets.

nastk search --space examples/elastic_cnn/network.py:ElasticCNN ...
"""

from torch import Tensor, nn

import nastk

WIDTHS = ([8, 16], [12, 24], [16, 32])
"""Channels of each stage to choose from."""


class Layer(nn.Module):
    """An inverted residual: 1 x 1 expansion, depthwise convolution, 1 x 1 projection."""

    def __init__(self, c_in: int, c_out: int, kernel: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside = expansion * c_in
        self.body = nn.Sequential(
            nn.Conv2d(c_in, inside, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, inside, kernel, stride, padding=kernel // 2, groups=inside, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class ElasticCNN(nn.Module):
    """Three stages for small images of one channel."""

    input_shape = (1, 8, 8)

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        channels = 8
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        stages = []
        for stage, widths in enumerate(WIDTHS, start=1):
            width = nastk.choice(f"width {stage}", widths)
            expansion = nastk.choice(f"expansion {stage}", [1, 3])
            layers = []
            for place in range(1, 1 + nastk.choice(f"depth {stage}", [1, 2])):
                kernel = nastk.choice(f"kernel {stage}.{place}", [1, 3, 5])
                stride = 2 if place == 1 and stage > 1 else 1
                layers.append(Layer(channels, width, kernel, expansion, stride))
                channels = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3)))
        return found
