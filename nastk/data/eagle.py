"""EAGLE's latencies of NAS-Bench-201 (Dudziak et al., BRP-NAS, NeurIPS 2020), from files that users download by hand.

A file is a pickled dictionary from architecture to seconds, one a device. An architecture is six operation numbers in
the order of the arch string, numbered as NAS-Bench-201's API lists them (none, skip_connect, nor_conv_1x1,
nor_conv_3x3, avg_pool_3x3), or the arch string itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import imported, readers
from nastk.data.fetch import Store
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture, InvalidValue
from nastk.spaces.nasbench201 import NASBench201

TABLE = "nasbench201"
SUFFIXES = (".pickle", ".pkl", ".p")
LEAST = 100
"""Architectures that a file must hold at least."""


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
    """The device that a file's name says, with underscores: ``embedded-tpu-edge-tpu-int8.pickle``."""
    return path.stem.replace("-", "_")


def import_files(paths: Sequence[Path], store: Store | None = None) -> list[tuple[str, int]]:
    """Read, check and keep every device: names, and how many architectures each has. Nothing is kept if one is wrong.

    Raises:
        InvalidValue: no such file.
        DataError: a file is not of EAGLE's form; the message names it.
    """
    read = [(device_of(path), path, *read_file(path)) for path in files(paths)]
    names = [device for device, *_ in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InvalidValue(f"two files are of the device {twice}")
    for device, path, values, checksum in read:
        source = f"EAGLE, imported from {path.name}"
        column = Column("latency", "latency", "ms", "min", device=device, source=source, sha256=checksum)
        imported.save(TABLE, column, values, store)
    return [(device, int(np.isfinite(values).sum())) for device, _, values, _ in read]


def read_file(path: Path) -> tuple[NDArray[np.float64], str]:
    """Milliseconds ``(15625,)`` in the order of NAS-Bench-201's index, NaN where unknown, and the file's SHA-256.

    Raises:
        DataError: not a dictionary from architectures to seconds, too few of them, or values that are not positive.
    """
    found = readers.read_mapping(path)
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
    values = np.full(space.size, np.nan)
    values[space.index(archs)] = 1000.0 * seconds
    return values, hashlib.sha256(readers.read_bytes(path)).hexdigest()


def _arch(key: Any, space: NASBench201, path: Path) -> NDArray[np.int64]:
    try:
        if isinstance(key, str):
            return space.parse(key)
        if type(key) is tuple and all(type(v) is int for v in key):
            return space.as_archs(np.array(key))[0]
    except InvalidArchitecture as error:
        raise DataError(f"{path}: {error}") from error
    raise DataError(f"{path}: {str(key)[:60]!r} is no architecture; expected six operation numbers, or an arch string")
