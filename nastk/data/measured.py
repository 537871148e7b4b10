"""A user's measurements of one device, as a predictor learns from them: a CSV file of architectures and latencies."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import plausible, units
from nastk.data.arch_columns import architectures
from nastk.data.csv_file import CSVFile
from nastk.data.repeats import contradictions, same_networks, same_rows
from nastk.data.tables import Column
from nastk.errors import DataError, DataWarning
from nastk.files import write_text
from nastk.spaces.base import Archs, SearchSpace

LEAST = 2
"""Fewest networks that a predictor can learn a device from."""
REASON = "reason"
"""Column that says why a row has no value."""
NAMED = 3
"""Most reasons that a message names."""
LONGEST = 120
"""Most characters of a reason in a message."""
TO_FILL_IN = ("file", "arch", "predicted_ms")
"""Columns of a table of networks to be measured that are not left empty."""
_MILLISECONDS = Column("latency", "latency", "ms", "min")


@dataclass(frozen=True)
class Measured:
    """Measurements of one device, each architecture once.

    Args:
        archs: ``(m, d)``, in the order of the file.
        values: ms, ``(m,)``; means where an architecture was measured repeatedly.
        std: standard deviation of the repeats of each, ``(m,)``; NaN for a single measurement.
        count: number of measurements of each, ``(m,)``.
        failed: architectures without a value of which the file says why, each network once, ``(f, d)``:
            they could not be built or run.
    """

    archs: Archs
    values: NDArray[np.float64]
    std: NDArray[np.float64]
    count: NDArray[np.int64]
    failed: Archs

    def have_failed(self, space: SearchSpace, archs: Archs) -> NDArray[np.bool_]:
        """Which architectures are one of the networks in :attr:`failed`, ``(n,)``."""
        return _among(space, archs, self.failed)


def read(path: str | Path, space: SearchSpace, known: Callable[[Archs], NDArray[np.float64]] | None = None) -> Measured:
    """Read a CSV file with a column ``ms``, or one whose heading names another unit of time (``lat_us``), which is
    converted; architectures are in a column ``arch``, in any other, or in one column a choice.

    Repeats of an architecture are one measurement with a spread. So are equal networks in different encodings, unless
    the encodings run differently (:attr:`SearchSpace.forms_differ`).

    A row may lack a value. Where a column ``reason`` says why, as in the files that ``nastk measure`` writes, its
    architecture has failed.

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
    reasons = list(table.entries(REASON)) if REASON in table.columns else [""] * len(values)
    networks = len(set(space.keys(archs[there]))) if there.any() else 0
    if networks < LEAST:
        hole = "" if there.all() else f"; {where(int(np.argmin(there)))} holds no value{_why(reasons, there)}"
        raise DataError(
            f"{path}: at least {LEAST} measurements of different networks are needed, and it has {networks}{hole}"
        )
    _warn(f"{path}, column {column!r}: converted from {units.heading_unit('latency', column)} to ms", scale != 1)
    missing = int((~there).sum())
    hole = where(int(np.argmin(there))) if missing else ""
    _warn(
        f"{hole}: no value{_why(reasons, there)}; {missing} row{'s are' if missing > 1 else ' is'} left out",
        missing > 0,
    )
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
    failed = archs[np.array([bool(reason) for reason in reasons]) & ~there]
    failed = failed[~_among(space, failed, archs[there])]  # another try may have gone well
    failed = failed[space.distinct(failed)] if len(failed) else failed
    return Measured(archs[repeats.first][kept], mean[kept], std[kept], count[kept], failed)


def read_archs(path: str | Path, space: SearchSpace) -> Archs:
    """The architectures of a CSV file, such as one of networks to be measured, each network once, ``(n, d)``.

    Raises:
        DataError: unreadable, or an entry is no architecture; the message has file, line and column.
    """
    table = CSVFile(path)
    found, _ = architectures(table, space, "arch" if "arch" in table.columns else None, set(), indices=True)
    return found[space.distinct(found)] if len(found) else found


def to_fill_in(path: str | Path, archs: Sequence[str], **columns: Sequence[Any]) -> None:
    """Write a table of networks to be measured: the column ``ms`` is empty, and :func:`read` takes the rest back.

    Args:
        archs: text forms, ``n``.
        columns: of :data:`TO_FILL_IN`, further ones by name, each of ``n`` entries.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "arch", "ms"])
    writer.writerows([*more, arch, ""] for *more, arch in zip(*columns.values(), archs, strict=True))
    write_text(path, text.getvalue())


def has_values(path: str | Path) -> bool:
    """Whether a file may hold measurements, and so must not be replaced: true of any that is not a table without them.

    False where there is no file.
    """
    if not Path(path).exists():
        return False
    try:
        table = CSVFile(path)
        return any(any(table.entries(column)) for column in table.columns if column not in TO_FILL_IN)
    except DataError:
        return True


def _among(space: SearchSpace, archs: Archs, others: Archs) -> NDArray[np.bool_]:
    """Which architectures are the same network as one of the others, ``(n,)``."""
    if not len(archs) or not len(others):
        return np.zeros(len(archs), dtype=bool)
    rows, known = (np.ascontiguousarray(space.as_networks(a), dtype=np.int64) for a in (archs, others))
    keys = {row.tobytes() for row in known}
    return np.array([row.tobytes() in keys for row in rows], dtype=bool)


def _why(reasons: list[str], there: NDArray[np.bool_]) -> str:
    """The reasons of the rows without a value, each once, and how many rows have it."""
    counts = Counter(reason for reason, known in zip(reasons, there, strict=True) if reason and not known)
    if not counts:
        return ""
    named = [f"{_short(reason)}" + (f" ({n} rows)" if n > 1 else "") for reason, n in counts.most_common(NAMED)]
    more = f" and {len(counts) - NAMED} more reasons" if len(counts) > NAMED else ""
    return f", because of {'; '.join(named)}{more}"


def _short(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


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
