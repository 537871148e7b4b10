"""MobileNetV3's choices on images of 8 x 8: very few channels, and strides that leave maps on which kernels differ.

nastk bench supernet --space examples/elastic_cnn/small_mobilenetv3.py:SmallMobileNetV3 --rate 1e-2 --train-images 600
"""

from typing import Any

import torch

from nastk.spaces.base import Archs
from nastk.spaces.mobilenetv3 import MobileNetV3


class SmallMobileNetV3(MobileNetV3):
    """MobileNetV3 for small images, which keep their size, whatever resolution an architecture names.

    Residual layers begin as the identity, since the scales of their last normalisation begin at 0 (BigNAS, Yu et al.,
    ECCV 2020, section 3.2): in a brief training, deep networks else learn less than shallow ones, and more by chance.
    """

    name = "small-mobilenetv3"
    width = 0.05  # stages of 4, 4, 4, 8 and 8 channels
    divisor = 4
    strides = (1, 1, 2, 1, 1, 2)  # maps of 8 x 8, from the second stage on of 4 x 4, in the last one of 2 x 2

    def input_shape(self, input_size: int = 8, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        return super().input_shape(input_size, in_channels)

    def build(self, arch: Archs, num_classes: int = 10, input_size: int = 8, in_channels: int = 1) -> torch.nn.Module:
        network = super().build(arch, num_classes, None, input_size, in_channels)
        for module in network:
            if getattr(module, "residual", False):
                torch.nn.init.zeros_(module.body[-1].weight)
        return network

    def statics(self, archs: Archs, num_classes: int = 10, input_size: int = 8, in_channels: int = 1):
        return super().statics(archs, num_classes, None, input_size, in_channels)
