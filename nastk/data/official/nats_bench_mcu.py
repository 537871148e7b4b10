"""NATS-Bench-MCU's hw_metrics.csv: what NAS-Bench-201 networks take in int8 on an nRF5340, by tflite-micro.

A row of the file (ankilab/NATS-Bench-MCU, AutoML 2026) is a network for CIFAR-10 that was quantised, built into a
firmware, flashed and measured. 1,346 of the 15,625 networks are not in it: their int8 file has more than 800 KiB, so
that they do not fit into the flash of 1 MiB. Those have no values, like all that the file leaves out.

Flash is what binds: ``rom``, all of the firmware, the network's own part being ``int8``. Memory is ``arena``, what
tflite-micro used of its arena of 350 KiB; the file's ``ram_kb`` is the same for all networks, as the firmware reserves
the whole arena, and is not read. Three boards were used, which the file names and the table does not.

The networks are the whole official ones. Dead edges were not removed before the conversion, and the converter may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nastk.data.arch_columns import architectures
from nastk.data.csv_file import CSVFile
from nastk.data.official import Measurements, one_file
from nastk.data.tables import Column
from nastk.errors import DataError
from nastk.spaces.nasbench201 import NASBench201

SPACE = "nasbench201"
"""Space of the file's architectures."""
DATASET = "cifar10"
"""What its networks are for: 3 x 32 x 32, ten classes."""
DEVICE = "nrf5340"
"""The microcontroller; with tflite-micro, in int8."""
LIMIT = 1 << 28
"""Most bytes of a file, so that a wrong one cannot exhaust the memory."""

INDEX, ARCH = "arch_idx", "arch_str"
"""Columns that name the architecture, each by itself."""


def _column(metric: str, kind: str, unit: str, note: str) -> Column:
    return Column(metric, kind, unit, "min", dataset=DATASET, device=DEVICE, note=f"int8, tflite-micro; {note}")  # type: ignore[arg-type]


COLUMNS = {
    "latency_s": (_column("latency", "latency", "ms", "of an inference"), 1000.0),
    "energy_mJ": (_column("energy", "energy", "mJ", "of an inference"), 1.0),
    "power_mW": (_column("power", "other", "mW", "mean over an inference"), 1.0),
    "current_uA": (_column("current", "other", "µA", "mean over an inference"), 1.0),
    "rom_kb": (_column("rom", "count", "KiB", "flash of the whole firmware"), 1.0),
    "int8_kb": (_column("int8", "count", "KiB", "flash of the network's file"), 1.0),
    "arena_used_kb": (_column("arena", "count", "KiB", "memory of the activations, used of 350 KiB"), 1.0),
    "operators": (_column("operators", "count", "", "in the network's file"), 1.0),
}
"""What becomes of a column of the file, and what its values are multiplied by."""


def read(paths: Sequence[Path]) -> list[Measurements]:
    """The measurements of the networks in the file, all that it has.

    Raises:
        InvalidValue: not exactly one file.
        DataError: not of this form, a value is missing or not positive, a network comes twice, or its index and its
            text name two networks.
    """
    file = CSVFile(one_file(paths, "NATS-Bench-MCU's CSV"), LIMIT)
    missing = [name for name in (INDEX, ARCH, *COLUMNS) if name not in file.columns]
    if missing:
        raise DataError(f"{file.path} has no column {missing[0]!r}, as hw_metrics.csv of NATS-Bench-MCU has")
    space = NASBench201()
    archs, _ = architectures(file, space, ARCH)
    rows = space.index(archs)
    _check(file, INDEX, file.numbers(INDEX) == rows, "is not the index of the architecture beside it")
    first = np.unique(rows, return_index=True)[1]
    _check(file, ARCH, np.isin(np.arange(len(rows)), first), "comes twice")
    columns = []
    for name, (column, scale) in COLUMNS.items():
        values = file.numbers(name)
        _check(file, name, np.isfinite(values) & (values > 0), "must be positive")
        columns.append((column, scale * values))
    return [Measurements(SPACE, archs, columns)]


def _check(file: CSVFile, column: str, good: np.ndarray, what: str) -> None:
    """Refuse the first entry that is not good."""
    if not good.all():
        row = int(np.argmin(good))
        entry = next(cell for number, cell in enumerate(file.entries(column)) if number == row)
        raise DataError(f"{file.where(row, column)}: {entry[:60]!r} {what}")
