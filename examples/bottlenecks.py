"""Bottlenecks with equal parameters and multiply-adds, of four shapes: which is fastest depends on shape and runtime.

Each network is a stack of three equal bottlenecks. The channels inside of each are set so that all networks of a shape
have the same number of parameters, within five per cent: many for a depthwise convolution, few for a full one.

Run: nastk measure --space examples/bottlenecks.py:Middle --random 12 --runtime onnx
(about half a minute; the shapes are Early, Middle, Late and Last)
Expect: twelve latencies of networks with equal parameters that differ by half and more.
"""

from torch import nn

import nastk

BUDGET = 20
"""Parameters of a bottleneck, in squares of its channels; a full 3x3 one then doubles them inside."""


class Bottleneck(nn.Module):
    """1x1 expansion where the convolution is depthwise, a convolution in groups, 1x1 projection."""

    def __init__(self, channels, kernel, kind):
        super().__init__()
        layers = []
        if kind == "dw":
            inside = multiple(BUDGET * channels**2 / (2 * channels + kernel**2 + 4), 8)
            layers += [nn.Conv2d(channels, inside, 1, bias=False), nn.BatchNorm2d(inside), nn.ReLU()]
            c_in, groups = inside, inside
        else:
            c_in, groups = channels, {"fused": 1, "gc2": 2, "gc4": 4, "gc8": 8, "gc16": 16}[kind]
            each = kernel**2 * channels / groups + channels + 2  # parameters for each channel inside
            inside = multiple(BUDGET * channels**2 / each, max(8, groups))
        self.layers = nn.Sequential(
            *layers,
            nn.Conv2d(c_in, inside, kernel, padding="same", groups=groups, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return x + self.layers(x)


def multiple(number, of):
    """The nearest multiple, at least one."""
    return max(1, round(number / of)) * of


class Middle(nn.Module):
    """Three bottlenecks of one kind: depthwise (dw), full (fused), or a group convolution of 2 to 16 groups (gc)."""

    input_shape = (64, 28, 28)

    def __init__(self):
        super().__init__()
        kind = nastk.choice("kind", ["dw", "fused", "gc2", "gc4", "gc8", "gc16"])
        kernel = nastk.choice("kernel", [3, 5])
        self.layers = nn.Sequential(*(Bottleneck(self.input_shape[0], kernel, kind) for _ in range(3)))
        self.head = nn.Linear(self.input_shape[0], 10)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


class Early(Middle):
    """The same at the beginning of a network: few channels, many pixels."""

    input_shape = (32, 56, 56)


class Late(Middle):
    """The same after the middle of a network."""

    input_shape = (128, 14, 14)


class Last(Middle):
    """The same at the end of a network: many channels, few pixels."""

    input_shape = (256, 7, 7)


if __name__ == "__main__":
    for shape in (Early, Middle, Late, Last):
        space = nastk.space_of(shape)
        archs = space.enumerate()
        counts = nastk.oracles.Count(space, "params")(archs)
        print(space, f"{counts.min():.0f} to {counts.max():.0f} parameters")
