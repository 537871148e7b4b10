"""MobileNetV3 of width 1.0: the once-for-all space that has public ImageNet accuracies (Cai et al., ICLR 2020)."""

from __future__ import annotations

from nastk.spaces.mobilenetv3 import MobileNetV3


class MobileNetV3W10(MobileNetV3):
    """The rows of `mobilenetv3`, built at the width of ``ofa_mbv3_d234_e346_k357_w1.0`` and not of its w1.2.

    Another width is another network: latencies of `mobilenetv3`'s table and accuracies of this one's are of different
    networks whatever their rows.
    """

    name = "mobilenetv3-w10"
    width = 1.0
