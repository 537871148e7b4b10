"""Labelled time series: four data sets that sktime ships, and files in its ``.ts`` format.

The files are read as text here, so that nothing of sktime is imported.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataError, InvalidValue, not_installed

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = {
    "basic-motions": "BasicMotions",
    "japanese-vowels": "JapaneseVowels",
    "acsf1": "ACSF1",
    "plaid": "PLAID",
}
"""Data sets that sktime ships, and its names of them. docs/time-series.md says what they are, and whom to cite."""

Labelled = tuple[list[NDArray[np.float32]], NDArray[np.str_]]
"""Series ``(channels, length)``, of any length each, and their labels."""


def shipped_series(name: str) -> dict[str, tuple[NDArray[np.float32], NDArray[np.str_]]]:
    """The training and the test part of a data set of :data:`SHIPPED`: series ``(n, channels, length)`` and labels.

    Series that are shorter than the longest are followed by zeros.

    Raises:
        MissingExtra: sktime is not installed.
        DataError: its file is not what it should be.
    """
    found = find_spec("sktime")
    if found is None or not found.submodule_search_locations:
        raise not_installed(f"{name} is a part of sktime", "timeseries")
    called = SHIPPED[name]
    folder = Path(found.submodule_search_locations[0], "datasets", "data", called)
    parts = {part: read_ts(folder / f"{called}_{part.upper()}.ts") for part in ("train", "test")}
    longest = max(series.shape[1] for listed, _ in parts.values() for series in listed)
    return {
        {"train": "training"}.get(part, part): (padded(listed, longest), labels)
        for part, (listed, labels) in parts.items()
    }


def read_ts(file: Path) -> Labelled:
    """The series of a file of classification problems in sktime's ``.ts`` format.

    After a header that ends with ``@data`` each line is a series: its channels, separated by colons, and its label.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error}") from error
    begin = next((i for i, line in enumerate(lines) if line.strip().lower() == "@data"), None)
    if begin is None:
        raise DataError(f"{file} has no line @data: it is no .ts file")
    series: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for number, line in enumerate(lines[begin + 1 :], begin + 2):
        if not line.strip():
            continue
        *channels, label = line.strip().split(":")
        try:
            found = np.array([channel.split(",") for channel in channels], dtype=np.float32)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: channels are numbers, as many of each: {error}") from error
        if found.ndim != 2 or not found.size or not np.isfinite(found).all():
            raise DataError(f"{file}, line {number}: a series is one or more channels of finite numbers, and a label")
        if series and len(found) != len(series[0]):
            raise DataError(f"{file}, line {number}: {len(found)} channels, and {len(series[0])} before")
        series.append(found)
        labels.append(label.strip())
    if not series:
        raise DataError(f"{file} has no series")
    return series, np.array(labels)


def padded(listed: list[NDArray[np.float32]], length: int) -> NDArray[np.float32]:
    """Series of one length, followed by zeros where they are shorter, ``(n, channels, length)``."""
    found = np.zeros((len(listed), len(listed[0]), length), dtype=np.float32)
    for place, series in zip(found, listed, strict=True):
        place[:, : series.shape[1]] = series
    return found


def with_length(series: Tensor, length: int | None) -> Tensor:
    """Series ``(n, channels, time)`` of this many steps: means of the steps that each stands for, or, where there are
    fewer, between them linearly."""
    import torch

    if length is None or series.shape[-1] == length:
        return series
    if length < series.shape[-1]:
        return torch.nn.functional.interpolate(series, length, mode="area")
    return torch.nn.functional.interpolate(series, length, mode="linear", align_corners=False)


def checked(name: str, array: NDArray[np.generic]) -> NDArray[np.float32]:
    """Series ``(n, channels, time)`` or ``(n, time)`` as numbers, ``(n, channels, time)``.

    Raises:
        InvalidValue: they are not.
    """
    if array.dtype.kind not in "biuf":
        raise InvalidValue(f"{name}: series are numbers; got {array.dtype}")
    if array.ndim == 2:
        array = array[:, None]
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise InvalidValue(f"{name}: series are (n, channels, time) or (n, time); got {array.shape}")
    found = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(found).all():
        raise InvalidValue(f"{name}: series have values that are not finite")
    return found
