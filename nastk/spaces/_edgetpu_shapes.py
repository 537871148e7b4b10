"""Shapes of the bottlenecks of the Edge-TPU space."""

from __future__ import annotations

from typing import NamedTuple


class Bottleneck(NamedTuple):
    """One bottleneck: whether a 1x1 convolution expands before, channels, side of the convolution, groups, stride."""

    expands: bool
    c_in: int
    c_inside: int
    c_out: int
    kernel: int
    groups: int
    stride: int
