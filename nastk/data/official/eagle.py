"""EAGLE's latencies of NAS-Bench-201 (Dudziak et al., BRP-NAS, NeurIPS 2020): one pickle per device, files or folders.

A file is a pickled dictionary from architecture to seconds. An architecture is six operation numbers in the order of
the arch string, numbered as NAS-Bench-201's API lists them (none, skip_connect, nor_conv_1x1, nor_conv_3x3,
avg_pool_3x3), or the arch string itself. The device has the name of the file, with underscores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import _pickles, readers
from nastk.data.official import Measurements
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture, InvalidValue
from nastk.spaces.nasbench201 import NASBench201

SPACE = "nasbench201"
"""Space of the file's architectures."""
SUFFIXES = (".pickle", ".pkl", ".p")
"""File names that are read from folders."""
LEAST = 100
"""Fewest architectures of a file; fewer suggest another kind of file."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """One latency column per device.

    Raises:
        InvalidValue: no such file, or two of the same device.
        DataError: a file is not of EAGLE's form; the message names it.
    """
    found = [_read_file(path) for path in files(paths)]
    names = [measurements.label for measurements in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InvalidValue(f"two files are of the device {twice}")
    return found


def files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those with a pickle's suffix in folders and their subfolders.

    Raises:
        InvalidValue: a path does not exist, or a folder has none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not inside:
                raise InvalidValue(f"{path} holds no file that ends in {', '.join(SUFFIXES)}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InvalidValue(f"{path}: no such file or folder")
    return found


def device_of(path: Path) -> str:
    """The device in a file's name, with underscores: ``embedded-tpu-edge-tpu-int8.pickle``."""
    return path.stem.replace("-", "_")


def _read_file(path: Path) -> Measurements:
    """Milliseconds of the file's architectures, NaN where unknown."""
    found = _pickles.load(path, readers.LIMIT, family="a pickled dictionary of one device's latencies")
    if type(found) is not dict:
        raise DataError(f"{path} holds a {type(found).__name__}, not a dictionary of one device's latencies")
    if len(found) < LEAST:
        raise DataError(f"{path} holds {len(found)} architectures; a device's file has at least {LEAST}")
    space = NASBench201()
    archs = np.array([_arch(key, space, path) for key in found], dtype=np.int64)
    seconds = readers.numbers(list(found.values()), str(path))
    wrong = ~(np.isnan(seconds) | (np.isfinite(seconds) & (seconds > 0)))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(f"{path}: {space.format(archs[first])} takes {seconds[first]:g} s, must be positive")
    if np.isnan(seconds).all():
        raise DataError(f"{path} holds no latency at all")
    device = device_of(path)
    column = Column("latency", "latency", "ms", "min", device=device)
    return Measurements(SPACE, archs, [(column, 1000.0 * seconds)], label=device, files=(path,))


def _arch(key: Any, space: NASBench201, path: Path) -> NDArray[np.int64]:
    try:
        if isinstance(key, str):
            return space.parse(key)
        if type(key) is tuple and all(type(v) is int for v in key):
            return space.as_archs(np.array(key))[0]
    except InvalidArchitecture as error:
        raise DataError(f"{path}: {error}") from error
    raise DataError(f"{path}: {str(key)[:60]!r} is not an architecture; needs six operation numbers or an arch string")
