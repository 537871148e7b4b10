"""MobileNetV3's choices on small images: few channels, one resolution.

nastk bench supernet --space examples/elastic_cnn/small_mobilenetv3.py:SmallMobileNetV3 --image-size 16
"""

from typing import Any

import torch

from nastk.spaces.base import Archs
from nastk.spaces.mobilenetv3 import MobileNetV3

WIDTH = 0.15
"""Width multiplier: stages of 8, 8, 16, 16 and 24 channels."""


class SmallMobileNetV3(MobileNetV3):
    """MobileNetV3 of a small width; images keep their size, whatever resolution an architecture names."""

    name = "small-mobilenetv3"

    def input_shape(self, input_size: int = 16, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        return super().input_shape(input_size, in_channels)

    def build(self, arch: Archs, num_classes: int = 10, input_size: int = 16, in_channels: int = 1) -> torch.nn.Module:
        return super().build(arch, num_classes, WIDTH, input_size, in_channels)

    def statics(self, archs: Archs, num_classes: int = 10, input_size: int = 16, in_channels: int = 1):
        return super().statics(archs, num_classes, WIDTH, input_size, in_channels)
