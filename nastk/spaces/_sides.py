"""Sides of the feature maps of image networks."""

from __future__ import annotations

from collections.abc import Sequence

from nastk.errors import InvalidValue


def checked_size(space: str, input_size: int) -> int:
    """A side of input images, in pixels.

    Raises:
        InvalidValue: it is not positive.
    """
    if input_size < 1:
        raise InvalidValue(f"{space}: input_size must be a positive number of pixels; got {input_size}")
    return input_size


def stage_sides(input_size: int, strides: Sequence[int], stem: int = 2) -> list[int]:
    """Side of the input of each stage behind a stem of stride `stem`, and of the last one's output."""
    sides = [-(-input_size // stem)]
    for stride in strides:
        sides.append(-(-sides[-1] // stride))
    return sides
