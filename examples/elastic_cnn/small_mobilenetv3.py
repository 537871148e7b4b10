"""MobileNetV3's choices on small images: few channels, one resolution.

nastk bench supernet --space examples/elastic_cnn/small_mobilenetv3.py:SmallMobileNetV3 --image-size 16
"""

from typing import Any

import numpy as np
import torch

from nastk.spaces.base import Archs
from nastk.spaces.mobilenetv3 import MobileNetV3


class SmallMobileNetV3(MobileNetV3):
    """MobileNetV3 of a small width; images keep their size, whatever resolution an architecture names."""

    name = "small-mobilenetv3"
    width = 0.15  # stages of 8, 8, 16, 16 and 24 channels

    def input_shape(self, input_size: int = 16, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        return super().input_shape(input_size, in_channels)

    def build(self, arch: Archs, num_classes: int = 10, input_size: int = 16, in_channels: int = 1) -> torch.nn.Module:
        return super().build(arch, num_classes, None, input_size, in_channels)

    def statics(self, archs: Archs, num_classes: int = 10, input_size: int = 16, in_channels: int = 1):
        return super().statics(archs, num_classes, None, input_size, in_channels)


class NarrowMobileNetV3(SmallMobileNetV3):
    """For images of 8 x 8: very few channels, and strides that leave maps on which kernels differ.

    Residual layers begin as the identity, since the scales of their last normalisation begin at 0 (BigNAS, Yu et al.,
    ECCV 2020, section 3.2): in a brief training, deep networks else learn less than shallow ones.
    """

    name = "narrow-mobilenetv3"
    width = 0.05  # stages of 4, 4, 4, 8 and 8 channels
    divisor = 4
    strides = (1, 1, 2, 1, 1, 2)  # maps of 8 x 8, from the second stage on of 4 x 4, in the last one of 2 x 2

    def input_shape(self, input_size: int = 8, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        return super().input_shape(input_size, in_channels)

    def canonical(self, archs: Archs) -> Archs:
        found = super().canonical(archs)
        found[:, -1] = 0  # the resolution
        return found

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        # with each of 45 choices drawn by itself, nearly all networks would be of a middle size; here sizes are alike
        # likely, and depths, kernels and expansions of a network grow about together
        size = rng.random((n, 1)) + rng.uniform(-0.25, 0.25, (n, 3))
        larger = size.clip(0, 1).repeat([5, 20, 20], axis=1)
        return self.canonical(np.concatenate([rng.binomial(2, larger), np.zeros((n, 1), dtype=np.int64)], axis=1))

    def build(self, arch: Archs, num_classes: int = 10, input_size: int = 8, in_channels: int = 1) -> torch.nn.Module:
        network = super().build(arch, num_classes, input_size, in_channels)
        for module in network:
            if getattr(module, "residual", False):
                torch.nn.init.zeros_(module.body[-1].weight)
        return network
