"""HW-NAS-Bench-360 (2026): latency and energy of NAS-Bench-201's cells on a Raspberry Pi 5 and a Pixel phone.

Four devices, named by board and runtime: ``pi5-litert``, ``pi5-onnx``, ``pi5-torchmobile`` (one core) and
``pixel-litert`` (the phone's accelerator by NNAPI); three data sets: CIFAR-100 (3 x 32 x 32), and ninapro (1 x 52 x 16)
and darcy (1 x 88 x 88) of NAS-Bench-360. The columns join the table ``nasbench201``.

Only one cell of each class of isomorphic ones was measured, that with the lowest official index: 6,466. The file
repeats its values for the others, which would run differently as they are written; in the table those have none (NaN).

Latency is the median of 40 runs of one image, in ms; on the Pixel it is the mean, whatever the file's heading says: the
source's program keeps what LiteRT's benchmark reports as the average. ``latency_std`` is the root of the file's
variance, which is in square ms: the source's program takes the sample variance of times in ms, and the values agree. In
square ms, the median deviation is .1 to .8 % of the latency; square microseconds would make it some nanoseconds, square
seconds more than the latency itself. The Pixel has none.

Energy, of the Pi only, is in mJ of one inference, without what the idle board takes.

Five cells are not connected: their output does not depend on their input, and LiteRT folds most of such a network
into a constant, down to 75 nanoseconds. Those are measurements, and are kept.

The file's accuracies are not read. Those on CIFAR-100 are the official test accuracies of NAS-Bench-201 again (equal in
81 % of the measured cells, else up to 2.6 points apart), which the table has; those of ninapro and darcy are of
NAS-Bench-360's trainings, darcy's a score from -.8 to .98 and no percentage.

No licence is stated: the file is fetched from its address and never shipped, and no shipped weights are fitted on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.parquet_file import ParquetFile, check_reader
from nastk.data.tables import Column, Draft, spread_of
from nastk.errors import DataError
from nastk.spaces.nasbench201 import NASBench201, official_order

__all__ = ["check_reader", "draft"]

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

FILE = "hw-nas-bench-360/dataset.parquet"
"""A row for each architecture, device, runtime and data set."""
FILES = (FILE,)
"""Source files of the table."""

N = 15625
"""Cells of the space."""
DEVICES = ("pi5-litert", "pi5-onnx", "pi5-torchmobile", "pixel-litert")
"""Devices of the table: board and runtime, which the file has in two columns."""
WITH_ENERGY = ("pi5-litert", "pi5-onnx", "pi5-torchmobile")
"""Those with energies and the variance of latencies."""
DATASETS = ("cifar100", "ninapro", "darcy")
"""Data sets of the table."""
ROWS = N * len(DEVICES) * len(DATASETS)
"""Rows of the file."""

_TEXT, _INTEGER, _NUMBER = ("string", "large_string"), ("int64",), ("double",)
TYPES: dict[str, tuple[str, ...]] = {
    "arch_idx": _INTEGER,
    "rep_arch_idx": _INTEGER,
    "device": _TEXT,
    "framework": _TEXT,
    "task": _TEXT,
    "lat_ms_median": _NUMBER,
    "lat_ms_var": _NUMBER,
    "energy_mj": _NUMBER,
}
"""Columns that are read, and the types that each may have."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read the file; of all architectures those that were measured have values.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        MissingExtra: pyarrow is not installed.
        DataError: the file is not what it should be.
    """
    check_reader()
    rows = _read(path(FILE))
    table = Draft(official_order().astype(np.int8))
    measured = rows["arch_idx"] == rows["rep_arch_idx"]
    for device in DEVICES:
        for dataset in DATASETS:
            of_these = (rows["on"] == device) & (rows["task"] == dataset)
            _check_architectures(rows["arch_idx"][of_these], rows["rep_arch_idx"][of_these], f"{device}, {dataset}")
            _add(table, {name: values[of_these & measured] for name, values in rows.items()}, device, dataset)
    return table


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The columns that are needed, each ``(ROWS,)``, and the name of each row's device as ``on``."""
    file = ParquetFile(path)
    lacking = [name for name in TYPES if name not in file.columns]
    if lacking:
        raise DataError(f"{FILE} has no column {', '.join(lacking)}")
    if len(file) != ROWS:
        raise DataError(f"{FILE} has {len(file):,} rows, expected {ROWS:,}")
    found = {}
    for name, types in TYPES.items():
        if file.types[name] not in types:
            raise DataError(f"{FILE}: the column {name} is of type {file.types[name]}, expected {' or '.join(types)}")
        column = np.array(list(file.entries(name)), dtype=object) if types is _TEXT else file.array(name)
        if column.shape != (ROWS,) or (types is _INTEGER and column.dtype.kind != "i"):
            raise DataError(f"{FILE}: the column {name} has no entry in some rows")
        found[name] = column
    found["on"] = np.array([f"{d}-{f}" for d, f in zip(found["device"], found["framework"], strict=True)], dtype=object)
    return found


def _check_architectures(archs: NDArray[np.int64], measured: NDArray[np.int64], where: str) -> None:
    """Refuse rows that are not every architecture once, or copies of what is another network."""
    if len(archs) != N or not np.array_equal(np.sort(archs), np.arange(N)):
        raise DataError(f"{FILE} does not hold every architecture once on {where}")
    wrong = np.flatnonzero(measured != _first_of_class()[archs])
    if len(wrong):
        arch, other = archs[wrong[0]], measured[wrong[0]]
        raise DataError(f"{FILE} has architecture {arch} as a copy of {other} on {where}, which is not its network")


@lru_cache(maxsize=1)
def _first_of_class() -> NDArray[np.int64]:
    """The lowest index of the architectures that are isomorphic to each, ``(N,)``."""
    space = NASBench201()
    classes = space.index(space.canonical(official_order()))
    _, first, of_class = np.unique(classes, return_index=True, return_inverse=True)
    return first[of_class]


def _add(table: Draft, rows: dict[str, NDArray[Any]], device: str, dataset: str) -> None:
    archs = rows["arch_idx"]
    how = "median of 40 runs on one core" if device in WITH_ENERGY else "mean of 40 runs on the accelerator, by NNAPI"
    copies = "NaN for cells of which only an isomorphic one was measured"
    note = f"{how}; {copies}"
    latency = Column("latency", "latency", "ms", "min", dataset=dataset, device=device, note=note)
    table.add(FILE, latency, rows["lat_ms_median"], archs, low=1e-6, high=1e5)
    if device not in WITH_ENERGY:
        return
    with np.errstate(invalid="ignore"):  # a negative variance becomes NaN, which is refused
        deviation = np.sqrt(rows["lat_ms_var"].astype(np.float64))
    table.add(FILE, spread_of(latency), deviation, archs, low=0, high=1e5)
    note = f"of an inference, without what the idle board takes; {copies}"
    energy = Column("energy", "energy", "mJ", "min", dataset=dataset, device=device, note=note)
    table.add(FILE, energy, rows["energy_mj"], archs, low=1e-6, high=1e6)
