"""Scenes for counting: scikit-learn's real handwritten digits at several scales on synthetic canvases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.data._image_sources import digits
from nastk.data.images import ImageData, data_of
from nastk.errors import InvalidValue
from nastk.problems import Problem

Array = NDArray[np.float64]

STRIDE = 2
"""Pixels of a canvas to one of its density map."""

SPREAD = 0.15
"""Deviation of the bell that stands for a digit, as a share of its side: about as wide as the digit."""

APART = 0.7
"""Least distance of two digits' centres, as a share of the mean of their sides: they may touch and overlap a little."""

TRIES = 20
"""Places that are tried for a digit before it is left out."""


def digit_scenes(
    training: int = 800,
    validation: int = 200,
    test: int = 400,
    side: int = 24,
    most: int = 6,
    sizes: tuple[int, int] = (5, 11),
    seed: int = 0,
    problem: str | Problem = "density",
    off: float = 0.0,
) -> ImageData:
    """Canvases with up to `most` digits each, and density maps of which each digit has 1: a map's sum is their number.

    The digits are real images, the scenes are not. Those of the three parts are of different images: 60, 20 and 20 %.

    Args:
        training, validation, test: scenes of each part.
        side: of a canvas, pixels; maps have half of it.
        most: digits of a scene, from 1 to this; one that finds no place among the others is left out.
        sizes: least and greatest side of a digit, pixels; equally often at each scale.
        seed: random seed of the images' parts, of places and of sizes.
        problem: what networks are trained for: "density", or a :class:`nastk.problems.Density` with a pyramid.
        off: how far from the digits' centres they are marked, as people mark them: the deviation of a normal
            distribution, down and across, as a share of the digit's side.

    Raises:
        InvalidValue: parts without scenes, digits that are larger than the canvas, or a negative deviation.
    """
    if not 0 <= off < 1:
        raise InvalidValue(f"marks are off by a deviation from 0 to below 1 of a digit's side; got {off}")
    if min(training, validation, test, most) < 1 or not 2 <= sizes[0] <= sizes[1] <= side or side % STRIDE:
        raise InvalidValue(
            "scenes need 1 or more in each part, digits of 2 pixels up to the side, which is even; got "
            f"{(training, validation, test)}, sizes of {sizes[0]} to {sizes[1]}, and a side of {side}"
        )
    rng = np.random.default_rng(seed)
    images = digits()[0] / 16.0
    order = rng.permutation(len(images))
    parts = np.split(order, [round(0.6 * len(order)), round(0.8 * len(order))])
    scaled: dict[int, Array] = {}
    fitted, judged, tested = (
        _scenes(count, images, rows, side, most, sizes, off, rng, scaled)
        for count, rows in zip((training, validation, test), parts, strict=True)
    )
    return data_of(fitted, judged, tested, problem, name="digit scenes")


def _scenes(
    count: int,
    images: Array,
    rows: NDArray[np.int64],
    side: int,
    most: int,
    sizes: tuple[int, int],
    off: float,
    rng: np.random.Generator,
    scaled: dict[int, Array],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Canvases ``(count, 1, side, side)`` from 0 to 1 and their density maps ``(count, 1, side / 2, side / 2)``."""
    canvases = np.zeros((count, 1, side, side), dtype=np.float32)
    maps = np.zeros((count, 1, side // STRIDE, side // STRIDE), dtype=np.float32)
    for canvas, density in zip(canvases[:, 0], maps[:, 0], strict=True):
        placed: list[tuple[float, float, int]] = []
        for _ in range(rng.integers(1, most + 1)):
            size = round(float(np.exp(rng.uniform(*np.log(sizes)))))
            digit = _resized(images, size, scaled)[rng.choice(rows)]
            for y, x in rng.integers(0, side - size + 1, (TRIES, 2)):
                centre = (y + size / 2, x + size / 2)
                if all(np.hypot(centre[0] - a, centre[1] - b) >= APART * (size + s) / 2 for a, b, s in placed):
                    seen = canvas[y : y + size, x : x + size]
                    np.maximum(seen, digit, out=seen)
                    marked = centre + rng.normal(0.0, off * size, 2) if off else np.array(centre)
                    density += _bell(marked.clip(0, side), SPREAD * size, side)
                    placed.append((*centre, size))
                    break
    return canvases, maps


def _bell(centre: Array, deviation: float, side: int) -> Array:
    """A density map of one thing at this place of the canvas, which has 1 in all."""
    pixels = (np.arange(side // STRIDE) + 0.5) * STRIDE
    down, across = (np.exp(-0.5 * ((pixels - c) / deviation) ** 2) for c in centre)
    found: Array = np.outer(down, across)
    return found / found.sum()


def _resized(images: Array, size: int, kept: dict[int, Array]) -> Array:
    """All digits at a size, ``(n, size, size)``."""
    if size not in kept:
        import torch
        from torch.nn import functional

        given = torch.as_tensor(images)[:, None]
        resized = functional.interpolate(given, (size, size), mode="bilinear", antialias=True)
        kept[size] = resized[:, 0].clamp(0.0, 1.0).numpy()
    return kept[size]
