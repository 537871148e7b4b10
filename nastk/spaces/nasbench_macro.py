"""NAS-Bench-Macro: 6,561 networks of eight inverted-residual layers (Su et al., CVPR 2021)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces._nasbench_macro_shapes import Layer
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import torch

OPERATIONS = ("identity", "MB3_K3", "MB6_K5")
"""Options of every layer, in the order of the benchmark's digits."""
BLOCKS = ((0, 0), (3, 3), (6, 5))
"""Expansion and kernel of each operation; the identity has none."""
STEM = 32
"""Output channels of the stem."""
HEAD = 1280
"""Channels of the last 1x1 convolution."""
WIDTHS = (64, 128, 256)
"""Output channels of the three stages."""
STAGES = (0, 0, 1, 1, 1, 2, 2, 2)
"""Stage of each layer. The first layer of a stage halves the resolution and changes the width."""
PAIRS = ((3, 4), (6, 7))
"""Adjacent layers of the same shape: an identity in one or in the other gives isomorphic networks."""
DATASETS = {"cifar10": {"num_classes": 10, "input_size": 32}}
"""Build options of the benchmark's data set."""


def skeleton(input_size: int = 32) -> list[Layer]:
    """The eight layers after the stem."""
    layers: list[Layer] = []
    width, side = STEM, input_size
    for place, stage in enumerate(STAGES):
        stride = 2 if place == 0 or STAGES[place - 1] != stage else 1
        layers.append(Layer(width, WIDTHS[stage], stride, side))
        width, side = WIDTHS[stage], -(-side // stride)
    return layers


class NASBenchMacro(SearchSpace):
    """Each layer is an identity or an inverted residual (MobileNetV2) of expansion 3 or 6 and kernel 3 or 5.

    An identity that changes the shape is a strided 1x1 convolution with batch normalisation.
    """

    name = "nasbench-macro"
    datasets = DATASETS
    choices = tuple(Choice(f"layer {i}", OPERATIONS, f"stage {stage + 1}") for i, stage in enumerate(STAGES, 1))

    def canonical(self, archs: Archs) -> Archs:
        """Puts identities second in their pair (:data:`PAIRS`); there are 3,969 different networks."""
        archs = np.array(archs, dtype=np.int64)
        for first, second in PAIRS:
            late = archs[:, first] == 0
            archs[late, first], archs[late, second] = archs[late, second], 0
        return archs

    # ---- text

    def format(self, arch: Archs) -> str:
        """The benchmark's digits, one per layer, such as ``22212220``."""
        return "".join(str(int(v)) for v in np.asarray(arch).ravel())

    def parse(self, text: str) -> Archs:
        """The row that eight digits name, with or without commas or blanks between them."""
        row = self._parse_integers(text)
        if row is None:
            digits = text.strip()
            if len(digits) != self.d or not set(digits) <= set("012"):
                raise InvalidArchitecture(
                    f"{text!r} is not a NAS-Bench-Macro network; write eight digits, 0 identity, 1 MB3_K3, 2 MB6_K5"
                )
            row = np.array([int(c) for c in digits], dtype=np.int64)
        return self.as_archs(row)[0]

    # ---- counts

    def statics(
        self, archs: Archs, num_classes: int = 10, input_size: int = 32, in_channels: int = 3
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters and multiply-adds of convolutions and classifier (with its bias), each ``(n,)``.

        `params` are the benchmark's; its `flops` omit the classifier's bias.
        """
        archs = np.asarray(archs)
        params, flops = _layer_counts(input_size)
        places = np.arange(self.d)
        last = skeleton(input_size)[-1]
        side = -(-last.side // last.stride)
        stem, head, classifier = 9 * in_channels * STEM, WIDTHS[-1] * HEAD, (HEAD + 1) * num_classes
        return {
            "params": stem + 2 * STEM + head + 2 * HEAD + classifier + params[places, archs].sum(axis=1),
            "flops": stem * input_size**2 + head * side**2 + classifier + flops[places, archs].sum(axis=1),
        }

    # ---- network

    def input_shape(self, input_size: int = 32, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        return (in_channels, input_size, input_size)

    def build(self, arch: Archs, num_classes: int = 10, input_size: int = 32, in_channels: int = 3) -> torch.nn.Module:
        """The network: ``(batch, in_channels, input_size, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._nasbench_macro_network import Network

        blocks = [BLOCKS[int(v)] for v in self.as_archs(arch)[0]]
        return Network(blocks, skeleton(input_size), (in_channels, STEM), HEAD, num_classes)


@lru_cache(maxsize=8)
def _layer_counts(input_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parameters and multiply-adds of each operation in each layer, each ``(8, 3)``."""
    layers = skeleton(input_size)
    params, flops = np.zeros((2, len(layers), len(OPERATIONS)))
    for i, layer in enumerate(layers):
        inside, outside = layer.side**2, (-(-layer.side // layer.stride)) ** 2
        for j, (expansion, kernel) in enumerate(BLOCKS):
            middle = layer.c_in * expansion
            if middle:
                expand, depthwise, project = layer.c_in * middle, kernel**2 * middle, middle * layer.c_out
                params[i, j] = expand + depthwise + project + 2 * (2 * middle + layer.c_out)
                flops[i, j] = expand * inside + (depthwise + project) * outside
            elif layer.stride == 2:
                params[i, j] = layer.c_in * layer.c_out + 2 * layer.c_out
                flops[i, j] = layer.c_in * layer.c_out * outside
    return params, flops
