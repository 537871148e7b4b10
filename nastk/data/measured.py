"""A user's measurements of one device, as a predictor learns from them: a CSV file of architectures and latencies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data import plausible, units
from nastk.data.arch_columns import architectures
from nastk.data.csv_file import CSVFile
from nastk.data.repeats import contradictions, same_networks, same_rows
from nastk.data.tables import Column
from nastk.errors import DataError, DataWarning
from nastk.spaces.base import Archs, SearchSpace

LEAST = 2
"""Fewest networks that a predictor can learn a device from."""
_MILLISECONDS = Column("latency", "latency", "ms", "min")


@dataclass(frozen=True)
class Measured:
    """Measurements of one device, each architecture once.

    Args:
        archs: ``(m, d)``, in the order of the file.
        values: ms, ``(m,)``; means where an architecture was measured repeatedly.
        std: standard deviation of the repeats of each, ``(m,)``; NaN for a single measurement.
        count: number of measurements of each, ``(m,)``.
    """

    archs: Archs
    values: NDArray[np.float64]
    std: NDArray[np.float64]
    count: NDArray[np.int64]


def read(path: str | Path, space: SearchSpace, known: Callable[[Archs], NDArray[np.float64]] | None = None) -> Measured:
    """Read a CSV file with a column ``ms``, or one whose heading names another unit of time (``lat_us``), which is
    converted; architectures are in a column ``arch``, in any other, or in one column a choice.

    Repeats of an architecture are one measurement with a spread. So are equal networks in different encodings, unless
    the encodings run differently (:attr:`SearchSpace.forms_differ`).

    What is converted, left out, merged or probably wrong is said in a warning.

    Args:
        path: the file.
        space: of its architectures: text forms, integers or official indices.
        known: the latencies (ms) that known devices have on some architectures, one value a device, ``(k,)``.

    Raises:
        DataError: unreadable, a needed column is missing, an entry is no architecture or no positive number (with file,
            line and column), or there are fewer than two different networks.
    """
    table = CSVFile(path)
    column, scale = _latency(table)
    archs, named = architectures(table, space, "arch" if "arch" in table.columns else None, {column}, indices=True)
    values = scale * table.numbers(column)

    def where(row: int) -> str:
        return table.where(row, column)

    plausible.check_possible(_MILLISECONDS, values, where)
    there = ~np.isnan(values)
    networks = len(set(space.keys(archs[there]))) if there.any() else 0
    if networks < LEAST:
        hole = "" if there.all() else f"; {where(int(np.argmin(there)))} holds no value"
        raise DataError(
            f"{path}: at least {LEAST} measurements of different networks are needed, and it has {networks}{hole}"
        )
    _warn(f"{path}, column {column!r}: converted from {units.heading_unit('latency', column)} to ms", scale != 1)
    missing = int((~there).sum())
    hole = where(int(np.argmin(there))) if missing else ""
    _warn(f"{hole}: no value; {missing} row{'s are' if missing > 1 else ' is'} left out", missing > 0)
    for doubt in plausible.doubts(_MILLISECONDS, values, where, None if known is None else known(archs[there])):
        _warn(doubt)
    repeats = same_rows(archs) if space.forms_differ else same_networks(space, archs)
    for contradiction in contradictions(_MILLISECONDS, values, repeats, where):
        _warn(contradiction)
    mean, std, count = repeats.merge(values)
    kept = count > 0
    again = int((count[kept] - 1).sum())
    relative = 100 * float(np.nanmedian(std / mean)) if again else 0.0
    _warn(
        f"{path}, column {named!r}: {again} row{'s repeat' if again > 1 else ' repeats'} a network of other rows; each "
        f"network counts once, with its mean (standard deviation {relative:.2g} %, median)",
        again > 0,
    )
    return Measured(archs[repeats.first][kept], mean[kept], std[kept], count[kept])


def _latency(table: CSVFile) -> tuple[str, float]:
    """The column of latencies, and how many ms one of its unit is."""
    if "ms" in table.columns:
        return "ms", 1.0
    found = [(c, unit) for c in table.columns if (unit := units.heading_unit("latency", c)) is not None]
    if len(found) != 1:
        what = f"several are times ({', '.join(c for c, _ in found)})" if found else "none names a unit of time"
        raise DataError(
            f"{table.path} needs a column ms of latencies (or one such as lat_us): of its columns "
            f"{', '.join(table.columns[:12])}, {what}"
        )
    scale = units.factor("latency", found[0][1])
    assert scale is not None
    return found[0][0], scale


def _warn(message: str, wanted: bool = True) -> None:
    if wanted:
        warnings.warn(message, DataWarning, stacklevel=3)
