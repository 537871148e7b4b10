"""FBNet: 9^22 networks of 22 inverted-residual layers (Wu et al., CVPR 2019)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._fbnet_shapes import Block, Layer
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import torch


BLOCKS = {
    "k3_e1": Block(3, 1),
    "k3_e1_g2": Block(3, 1, 2),
    "k3_e3": Block(3, 3),
    "k3_e6": Block(3, 6),
    "k5_e1": Block(5, 1),
    "k5_e1_g2": Block(5, 1, 2),
    "k5_e3": Block(5, 3),
    "k5_e6": Block(5, 6),
}
"""Candidate blocks of the paper by name."""
OPERATIONS = (*BLOCKS, "skip")
"""Options of every layer, in the order of their indices."""
STEM = 16
"""Output channels of the stem (Table 1 of the paper)."""
HEAD = 1504
"""Channels of the last 1x1 convolution (Table 1 of the paper)."""
WIDTHS = (16, 24, 32, 64, 112, 184, 352)
"""Output channels of each stage (Table 1 of the paper)."""
LAYERS = (1, 4, 4, 4, 4, 4, 1)
"""Layers of each stage; the first of them carries the stage's stride."""
STAGES = tuple(stage for stage, layers in enumerate(LAYERS) for _ in range(layers))
"""Stage of each of the 22 layers, from 0."""
STRIDES = {"cifar": (1, (1, 1, 2, 2, 1, 2, 1)), "imagenet": (2, (1, 2, 2, 2, 1, 2, 1))}
"""Stride of the stem and of each stage, for 32-pixel and for 224-pixel images."""
DATASETS: dict[str, dict[str, Any]] = {
    "cifar10": {"num_classes": 10, "input_size": 32, "strides": "cifar"},
    "cifar100": {"num_classes": 100, "input_size": 32, "strides": "cifar"},
    "ImageNet": {"num_classes": 1000, "input_size": 224, "strides": "imagenet"},
}
"""Build options of data sets."""


def skeleton(strides: str = "cifar", input_size: int = 32) -> list[Layer]:
    """The 22 layers after the stem.

    Raises:
        InvalidValue: unknown `strides`.
    """
    if strides not in STRIDES:
        raise InvalidValue(f"fbnet: strides is {strides!r}, must be one of {', '.join(STRIDES)}")
    stem_stride, stage_strides = STRIDES[strides]
    layers: list[Layer] = []
    width, side = STEM, -(-input_size // stem_stride)
    for place, stage in enumerate(STAGES):
        stride = stage_strides[stage] if place == 0 or STAGES[place - 1] != stage else 1
        layers.append(Layer(width, WIDTHS[stage], stride, side, -(-side // stride)))
        width, side = WIDTHS[stage], layers[-1].side_out
    return layers


class FBNet(SearchSpace):
    """Seven stages of layers; each of the 22 layers is one of eight inverted residuals or is skipped.

    A skipped layer is the identity, or a 1x1 convolution with batch normalisation and ReLU where it changes the shape.
    Defaults are those of the public latency tables: CIFAR-100, 32-pixel images.
    """

    name = "fbnet"
    datasets = DATASETS
    choices = tuple(Choice(f"layer {i}", OPERATIONS, f"stage {stage + 1}") for i, stage in enumerate(STAGES, 1))

    # ---- text

    def format(self, arch: Archs) -> str:
        """Operations joined by ``|``: ``k3_e1|skip|k5_e6|...`` (their names contain underscores)."""
        return "|".join(OPERATIONS[int(v)] for v in np.asarray(arch).ravel())

    def parse(self, text: str) -> Archs:
        """The row of 22 operations joined by ``|``, or of their integers joined by ``_``, commas or blanks."""
        row = self._parse_integers(text)
        if row is None:
            parts = text.strip().strip("|").split("|")
            if len(parts) != self.d:
                raise InvalidArchitecture(
                    f"{self.name}: expected {self.d} operations joined by '|' or integers joined by '_', "
                    f"got {len(parts)} in {text!r}"
                )
            row = np.array([self._option(j, part) for j, part in enumerate(parts)], dtype=np.int64)
        return self.as_archs(row)[0]

    # ---- counts

    def statics(
        self,
        archs: Archs,
        num_classes: int = 100,
        input_size: int = 32,
        strides: str = "cifar",
        in_channels: int = 3,
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters, and multiply-adds of convolutions and classifier (with its bias) for one image, each ``(n,)``.

        The `flops` of NAS-Bench-Suite-Zero's FBNet file also count normalisation, ReLU and pooling.
        """
        archs = np.asarray(archs)
        params, flops = _layer_counts(strides, input_size)
        layers = skeleton(strides, input_size)
        places = np.arange(self.d)
        first, last = layers[0].side_in, layers[-1].side_out
        stem, head, classifier = 9 * in_channels * STEM, WIDTHS[-1] * HEAD, (HEAD + 1) * num_classes
        return {
            "params": stem + 2 * STEM + head + 2 * HEAD + classifier + params[places, archs].sum(axis=1),
            "flops": stem * first**2 + head * last**2 + classifier + flops[places, archs].sum(axis=1),
        }

    # ---- network

    def input_shape(self, input_size: int = 32, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        return (in_channels, input_size, input_size)

    def build(
        self,
        arch: Archs,
        num_classes: int = 100,
        input_size: int = 32,
        strides: str = "cifar",
        in_channels: int = 3,
    ) -> torch.nn.Module:
        """The network: ``(batch, in_channels, input_size, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._fbnet_network import Network

        blocks = [BLOCKS.get(OPERATIONS[int(v)]) for v in self.as_archs(arch)[0]]
        layers = skeleton(strides, input_size)
        return Network(blocks, layers, (in_channels, STEM, STRIDES[strides][0]), HEAD, num_classes)


@lru_cache(maxsize=8)
def _layer_counts(strides: str, input_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parameters and multiply-adds of each operation in each layer, each ``(22, 9)``."""
    layers = skeleton(strides, input_size)
    params, flops = np.zeros((2, len(layers), len(OPERATIONS)))
    for i, layer in enumerate(layers):
        inside, outside = layer.side_in**2, layer.side_out**2
        for j, block in enumerate(BLOCKS.values()):
            middle = layer.c_in * block.expansion
            expand, project = layer.c_in * middle // block.groups, middle * layer.c_out // block.groups
            depthwise = block.kernel**2 * middle
            params[i, j] = expand + depthwise + project + 2 * (2 * middle + layer.c_out)
            flops[i, j] = expand * inside + (depthwise + project) * outside
        if not layer.same_shape:
            params[i, -1] = layer.c_in * layer.c_out + 2 * layer.c_out
            flops[i, -1] = layer.c_in * layer.c_out * outside
    return params, flops
