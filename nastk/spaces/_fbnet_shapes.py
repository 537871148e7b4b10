"""Shapes of FBNet's layers: what the space counts and its network is built from."""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """An inverted residual: kernel of its depthwise convolution, expansion, groups of its 1x1 convolutions."""

    kernel: int
    expansion: int
    groups: int = 1


class Layer(NamedTuple):
    """Input and output channels, stride and side (pixels) of one of the 22 layers."""

    c_in: int
    c_out: int
    stride: int
    side_in: int
    side_out: int

    @property
    def same_shape(self) -> bool:
        """Whether input and output have the same shape, so that there is a residual connection and `skip` is the
        identity."""
        return self.stride == 1 and self.c_in == self.c_out
