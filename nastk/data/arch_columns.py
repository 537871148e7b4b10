"""Architectures in a table of a user's own: one column of texts, integers or indices, or one column a choice."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nastk.data.readers import cut
from nastk.errors import DataError, InvalidArchitecture, UnknownName, Unsupported
from nastk.spaces.base import Archs, SearchSpace


class Cells(Protocol):
    """A table with named columns: :class:`~nastk.data.csv_file.CSVFile`, or a Parquet file."""

    path: str
    columns: tuple[str, ...]

    def __len__(self) -> int: ...

    def entries(self, column: str) -> Iterator[Any]:
        """The entries of a column, one a row."""

    def numbers(self, column: str, percent: bool = False) -> NDArray[np.float64]:
        """The values of a column ``(n,)``, NaN where unknown."""

    def where(self, row: int, column: str) -> str:
        """File, row and column of an entry, for messages."""


def architectures(
    table: Cells, space: SearchSpace, arch: str | None = None, values: Collection[str] = (), indices: bool = False
) -> tuple[Archs, str]:
    """The architectures of a table's rows, ``(n, d)``, and the column that names them (the first of several).

    Args:
        table: one row a measurement.
        space: of its architectures.
        arch: the column of architectures. By default one column for each choice if the headings are the choices' names
            (or ``x0``, ``x1`` ... in their order), else the first in which every entry is a text or a row of integers
            of the space.
        values: columns that hold values, and no architectures.
        indices: whether a column of plain numbers that are no architectures may be official indices without being
            named as `arch`.

    Raises:
        UnknownName: there is no column `arch`.
        DataError: an entry is no architecture, or no column holds architectures.
    """
    if not len(table):
        raise DataError(f"{table.path} has no rows")
    if arch is not None:
        if arch not in table.columns:
            raise UnknownName("column of the file", arch, table.columns)
        return _of_column(table, arch, space, True), arch
    several = _columns_of_choices([c for c in table.columns if c not in values], space)
    if several is not None:
        return _of_choices(table, several, space), several[0]
    nearest: tuple[int, str] = (0, "")
    for column in [c for c in table.columns if c not in values]:
        try:
            return _of_column(table, column, space, indices), column
        except _NoArchitecture as error:
            nearest = max(nearest, (error.row, str(error)), key=lambda pair: pair[0])
    if nearest[0]:
        raise DataError(nearest[1])
    raise DataError(
        f"{table.path} has no column whose every value is an architecture of {space.name}; name it with --arch "
        f"(texts, integers, or official indices), or give one column for each choice ({_some(_names(space))})"
    )


class _NoArchitecture(DataError):
    """An entry that is no architecture, `row` rows after others that are."""

    def __init__(self, message: str, row: int):
        super().__init__(message)
        self.row = row


def _of_column(table: Cells, column: str, space: SearchSpace, indices: bool) -> Archs:
    if indices and all(_is_index(entry) for entry in table.entries(column)) and not _reads(space, table, column):
        return _of_indices(table, column, space)
    archs = np.empty((len(table), space.d), dtype=np.int64)
    for row, entry in enumerate(table.entries(column)):
        try:
            archs[row] = _arch(space, entry)
        except (InvalidArchitecture, Unsupported) as error:
            raise _NoArchitecture(f"{table.where(row, column)}: {cut(error)}", row) from error
    return archs


def _arch(space: SearchSpace, entry: Any) -> Archs:
    """The architecture ``(d,)`` that an entry of an untrusted file names.

    Raises:
        InvalidArchitecture: it names none.
    """
    try:
        if isinstance(entry, (list, tuple, np.ndarray)):
            return space.as_archs(np.array([list(entry)]))[0]
        return space.as_archs(space.parse(str(entry)))[0]
    except (InvalidArchitecture, Unsupported):
        raise
    except Exception as error:  # the parser of a user's own space, or a text of absurd numbers
        raise InvalidArchitecture(f"{str(entry)[:60]!r} is no architecture of {space.name}: {cut(error)}") from error


def _is_index(entry: Any) -> bool:
    if isinstance(entry, str):
        return entry.isascii() and entry.isdigit() and len(entry) < 19
    return isinstance(entry, (int, np.integer)) and not isinstance(entry, bool) and 0 <= int(entry) < 1 << 62


def _reads(space: SearchSpace, table: Cells, column: str) -> bool:
    """Whether the first entry is itself an architecture, as in a space of one choice."""
    try:
        _arch(space, str(next(table.entries(column))))
    except (InvalidArchitecture, Unsupported):
        return False
    return True


def _of_indices(table: Cells, column: str, space: SearchSpace) -> Archs:
    numbers = np.fromiter((int(entry) for entry in table.entries(column)), dtype=np.int64, count=len(table))
    wrong = numbers >= space.size
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _NoArchitecture(
            f"{table.where(row, column)}: {space.name} has indices 0 to {space.size - 1}; got {numbers[row]}", row
        )
    try:
        return space.from_index(numbers)
    except (InvalidArchitecture, Unsupported) as error:
        raise _NoArchitecture(f"{table.path}, column {column[:60]!r}: {cut(error)}", 0) from error


# ---- one column a choice


def _names(space: SearchSpace) -> list[str]:
    return [choice.name for choice in space.choices]


def _columns_of_choices(columns: Sequence[str], space: SearchSpace) -> list[str] | None:
    """The columns that are named like the choices, or numbered in one run of as many; None without such.

    A column "choice NAME" goes before one that is called NAME, as in a ``front.csv`` whose value has that name.
    """
    plain = {_plain(column): column for column in columns}
    names = [_plain(name) for name in _names(space)]
    wanted = [marked if (marked := f"choice {name}") in plain else name for name in names]
    if len(set(wanted)) == len(wanted) and all(name in plain for name in wanted):
        return [plain[name] for name in wanted]
    runs: dict[str, list[tuple[int, str]]] = {}
    for column in columns:
        if match := re.fullmatch(r"(.*?)(\d{1,6})", column, re.ASCII):
            runs.setdefault(match[1], []).append((int(match[2]), column))
    found = [[column for _, column in sorted(run)] for run in runs.values() if _whole(run, space.d)]
    return found[0] if len(found) == 1 and space.d > 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().lower()


def _whole(run: list[tuple[int, str]], d: int) -> bool:
    """Whether the numbers are 0 to d - 1, or 1 to d."""
    numbers = sorted(number for number, _ in run)
    return len(numbers) == d and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + d))


def _of_choices(table: Cells, columns: Sequence[str], space: SearchSpace) -> Archs:
    """Rows of options by their labels or, where not every entry is one, by their numbers from 0.

    An entry may be empty where the choice makes no difference (:meth:`SearchSpace.active`).
    """
    by_label, by_number = (np.full((len(table), space.d), -1, dtype=np.int64) for _ in range(2))
    empty = np.zeros(by_label.shape, dtype=bool)
    for place, (column, choice) in enumerate(zip(columns, space.choices, strict=True)):
        labels = {label: number for number, label in enumerate(choice.options)}
        for row, entry in enumerate(table.entries(column)):
            text = "" if entry is None else str(entry)
            empty[row, place] = text == "" and "" not in labels
            by_label[row, place] = labels.get(text, -1)
            if _is_index(text) and int(text) < len(choice):
                by_number[row, place] = int(text)
    by_label[empty] = by_number[empty] = 0
    archs = by_label if (by_label >= 0).all() else by_number
    wrong = archs < 0
    if wrong.any():
        neither = (by_label < 0) & (by_number < 0)
        row, place = np.argwhere(neither if neither.any() else by_label < 0)[0]
        entry = repr(str(next(e for number, e in enumerate(table.entries(columns[place])) if number == row))[:60])
        raise _no_option(table, space, columns, int(row), int(place), entry)
    valid = space.is_valid(archs)
    if not valid.all():
        row = int(np.argmin(valid))
        raise DataError(f"{table.where(row, columns[0])}: not a member of {space.name}: {space.format(archs[row])}")
    if empty.any():
        some = np.flatnonzero(empty.any(axis=1))
        needed = empty[some] & space.active(archs[some])
        if needed.any():
            row, place = np.argwhere(needed)[0]
            raise _no_option(table, space, columns, int(some[row]), int(place), "an empty cell")
    return archs


def _no_option(table: Cells, space: SearchSpace, columns: Sequence[str], row: int, place: int, entry: str) -> DataError:
    choice = space.choices[place]
    return DataError(
        f"{table.where(row, columns[place])}: {entry} is no option of {choice.name}, which has "
        f"{_some(choice.options)} (or, in every column, numbers from 0)"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
