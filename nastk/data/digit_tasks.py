"""scikit-learn's handwritten digits with two real labels each, for networks of several tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data._image_sources import digits
from nastk.data.images import ImageData, data_of
from nastk.errors import InvalidValue, UnknownName
from nastk.problems import MultiTask

Array = NDArray[np.float64]

SECOND = ("parity", "thickness", "width")
"""The second label: of the number, or of how it is written."""


def digit_tasks(
    second: str = "parity", training: int = 500, validation: int = 400, seed: int = 0, weight: float = 1.0
) -> ImageData:
    """The digits, each with its number and a second label; the problem is a :class:`nastk.problems.MultiTask` of
    "digit" and that one.

    Args:
        second: "parity" (odd or even), or "thickness" (whether strokes are thicker than the median of the training
            part; see :func:`thickness`), both two classes; or "width", that thickness itself, for regression, in
            deviations of the training part from its mean.
        training, validation: images of these parts, drawn by the seed; the others are the test part.
        seed: random seed.
        weight: of the second label's loss.

    Raises:
        UnknownName: no such label.
        InvalidValue: parts that are empty.
    """
    if second not in SECOND:
        raise UnknownName("second label", second, SECOND)
    images, numbers = digits()
    if min(training, validation) < 1 or training + validation >= len(images):
        raise InvalidValue(
            f"there are {len(images)} digits for a training, a validation and a test part; got {training} and "
            f"{validation} for the first two"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    places = np.split(order, [training, training + validation])
    measured = thickness(images)
    of_training = measured[places[0]]
    labels: NDArray[Any]
    if second == "parity":
        labels = numbers % 2
    elif second == "thickness":
        labels = measured > np.median(of_training)
    else:
        labels = (measured - of_training.mean()) / of_training.std()
    pairs = np.stack([numbers, labels], axis=1).astype(np.float32 if second == "width" else np.int64)
    fitted, judged, tested = ((images[rows][:, None].astype(np.float32), pairs[rows]) for rows in places)
    problem = MultiTask(
        {"digit": "classification", second: "regression" if second == "width" else "classification"}, {second: weight}
    )
    return data_of(fitted, judged, tested, problem, name=f"digits with {second}")


def thickness(images: Array) -> Array:
    """Mean width of the strokes of images ``(n, height, width)``, pixels, ``(n,)``: a stroke of width w and length l
    has an area of ``w l`` and a contour of ``2 l``, so that it is twice the ink over the total variation of the image,
    both measured in the pixels."""
    padded = np.pad(np.asarray(images, dtype=np.float64), ((0, 0), (1, 1), (1, 1)))
    across, down = padded[:, 1:, 1:] - padded[:, 1:, :-1], padded[:, 1:, 1:] - padded[:, :-1, 1:]
    contour = np.hypot(across, down).sum(axis=(1, 2))
    ink: Array = padded.sum(axis=(1, 2))
    return 2.0 * ink / np.maximum(contour, 1e-9)
