"""Shapes of the cells of a DARTS network: what the space counts and its network is built from."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """One cell of the network: channels of its two inputs and of its nodes, and sides (height, width) of its input.

    Args:
        c_before, c_previous: channels of the outputs of the cell before the previous one, and of the previous one.
        channels: of each node.
        reduction: whether it halves the sides.
        after_reduction: whether the previous one does, so that the output of the one before it is twice as large.
        height, width: sides of the previous cell's output.
    """

    c_before: int
    c_previous: int
    channels: int
    reduction: bool
    after_reduction: bool
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Pixels of the nodes."""
        return self.height * self.width // (4 if self.reduction else 1)
