"""Shapes of the inverted residuals of MobileNetV3 and MnasNet: what the spaces count and build networks from."""

from __future__ import annotations

from typing import NamedTuple


class Layer(NamedTuple):
    """One inverted residual: channels in, inside, squeezed (0: no squeeze-and-excitation) and out, and its stride."""

    c_in: int
    c_inside: int
    c_squeezed: int
    c_out: int
    kernel: int
    stride: int
    hard_swish: bool = False

    @property
    def expands(self) -> bool:
        """Whether a 1x1 convolution precedes the depthwise one; the fixed first block has none."""
        return self.c_inside != self.c_in

    @property
    def params(self) -> int:
        """Weights, biases (of squeeze-and-excitation only) and normalisation."""
        inside = self.c_inside
        expand = (self.c_in + 2) * inside if self.expands else 0
        return expand + (self.kernel**2 + 2) * inside + self._excitation + (inside + 2) * self.c_out

    def flops(self, side: int) -> int:
        """Multiply-adds for an input of this side in pixels."""
        after = (-(-side // self.stride)) ** 2
        expand = self.c_in * self.c_inside * side**2 if self.expands else 0
        return expand + (self.kernel**2 + self.c_out) * self.c_inside * after + self._excitation

    @property
    def _excitation(self) -> int:
        """Weights and biases of squeeze-and-excitation; also its multiply-adds, as it sees one pixel."""
        return (2 * self.c_inside + 1) * self.c_squeezed + self.c_inside if self.c_squeezed else 0
