"""Shapes of the layers of NAS-Bench-Macro: what the space counts and its network is built from."""

from __future__ import annotations

from typing import NamedTuple


class Layer(NamedTuple):
    """Channels, stride, and side (pixels) of the input of one layer."""

    c_in: int
    c_out: int
    stride: int
    side: int
