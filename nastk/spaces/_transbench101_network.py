"""The networks of TransNAS-Bench-101: stem, cells or residual blocks, one head per task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nastk.spaces._transbench101_heads import STEM, TILES, Conv, Task, decoder, stem_sides
from nastk.spaces.nasbench201 import EDGES

# ---- stem


def stem(task: Task) -> nn.Sequential:
    """Two strided 3x3 convolutions to a quarter of the resolution, or one that keeps the resolution of small images."""
    channels = task.image[0]
    if not task.strided:
        return nn.Sequential(nn.Conv2d(channels, STEM, 3, 1, 1, bias=False), nn.BatchNorm2d(STEM))
    return nn.Sequential(
        nn.Conv2d(channels, STEM // 2, 3, 2, 1, bias=False),
        nn.BatchNorm2d(STEM // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(STEM // 2, STEM, 3, 2, 1, bias=False),
        nn.BatchNorm2d(STEM),
    )


# ---- micro: cells


class _Zero(nn.Module):
    def __init__(self, c_out: int, stride: int):
        super().__init__()
        self.c_out, self.stride = c_out, stride

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        return x.new_zeros((batch, self.c_out, -(-height // self.stride), -(-width // self.stride)))


class _Reduce(nn.Module):
    """A skip that halves the resolution: two 1x1 convolutions of stride 2 side by side, one shifted by a pixel."""

    def __init__(self, c_in: int, c_out: int, affine: bool):
        super().__init__()
        self.first = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.second = nn.Conv2d(c_in, c_out - c_out // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        moved = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        joined: Tensor = self.norm(torch.cat([self.first(x), self.second(moved)], dim=1))
        return joined


def _operation(number: int, c_in: int, c_out: int, stride: int, affine_skip: bool) -> nn.Module:
    if number == 0:
        return _Zero(c_out, stride)
    if number == 1:
        return nn.Identity() if stride == 1 and c_in == c_out else _Reduce(c_in, c_out, affine_skip)
    kernel = 1 if number == 2 else 3
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(c_out))


class Cell(nn.Module):
    """Four nodes, an operation on each edge; the edges from the input carry the cell's stride and change its width."""

    def __init__(self, arch: Sequence[int], c_in: int, c_out: int, stride: int, affine_skip: bool):
        super().__init__()
        self.operations = nn.ModuleList(
            _operation(number, c_out if a else c_in, c_out, 1 if a else stride, affine_skip)
            for (a, _), number in zip(EDGES, arch, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        nodes: list[Tensor] = [x]
        for target in (1, 2, 3):
            parts = [
                op(nodes[a]) for (a, b), op in zip(EDGES, self.operations, strict=True) if b == target
            ]  # fmt: skip
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            nodes.append(total)
        return nodes[-1]


# ---- macro: residual blocks


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        same = stride == 1 and c_in == c_out
        projection = (nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        self.shortcut = nn.Sequential(*(() if same else projection))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


# ---- heads


class _Classifier(nn.Module):
    def __init__(self, channels: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.mean(dim=(-2, -1)).flatten(1))
        return logits


def _layer(layer: Conv) -> nn.Sequential:
    """A 3x3 convolution with bias, transposed where it doubles the resolution, normalised; leaky ReLU."""
    convolution: nn.Module = nn.Conv2d(layer.c_in, layer.c_out, 3, 1, 1)
    if layer.up:
        convolution = nn.ConvTranspose2d(layer.c_in, layer.c_out, 3, 2, 1, output_padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(layer.c_out), nn.LeakyReLU(0.2))


def head(task: Task, channels: int, sides: tuple[int, int]) -> nn.Module:
    """The head of a task on features with these channels and sides."""
    if task.head in ("classify", "jigsaw"):
        return _Classifier(channels * (TILES if task.head == "jigsaw" else 1), task.outputs)
    *layers, last = decoder(task, channels, sides[0])
    squash = [nn.Tanh()] if task.head == "generate" else []
    return nn.Sequential(*map(_layer, layers), nn.Conv2d(last.c_in, last.c_out, 3, 1, 1), *squash)


class Network(nn.Module):
    """Stem, body, head.

    Args:
        task: input and output.
        body: the modules after the stem.
        channels: output channels of the body.
        stride: factor by which the body reduces the resolution.
    """

    def __init__(self, task: Task, body: Sequence[nn.Module], channels: int, stride: int):
        super().__init__()
        self.jigsaw = task.head == "jigsaw"
        self.features = nn.Sequential(stem(task), *body)
        height, width = stem_sides(task)
        self.head = head(task, channels, (-(-height // stride), -(-width // stride)))

    def forward(self, x: Tensor) -> Tensor:
        if self.jigsaw:
            batch, tiles = x.shape[:2]
            features = self.features(x.flatten(0, 1))
            x = features.view(batch, tiles, *features.shape[1:])
        else:
            x = self.features(x)
        output: Tensor = self.head(x)
        return output
