"""A pool from a CSV of a user's own: one row an architecture, one column a choice."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from nastk.data import readers
from nastk.data.arch_columns import architectures
from nastk.data.csv_file import CSVFile
from nastk.errors import DataError, InvalidArchitecture, InvalidValue, UnknownName
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, Choice, SearchSpace
from nastk.spaces.factory import space as space_named

SEPARATOR = "|"
"""Between the options of a text form."""


class Columns(SearchSpace):
    """The space of all combinations of what the columns of a table hold; it builds no networks.

    Args:
        name: of the space.
        choices: one a column.
    """

    def __init__(self, name: str, choices: Sequence[Choice]):
        self.name, self.choices = name, tuple(choices)

    def format(self, arch: Archs) -> str:
        """Options joined by ``|``."""
        return SEPARATOR.join(c.options[int(v)] for c, v in zip(self.choices, np.ravel(arch), strict=True))

    def parse(self, text: str) -> Archs:
        """The row of options joined by ``|``, or of their integers with commas or blanks."""
        parts = [part.strip() for part in text.split(SEPARATOR)]
        named = len(parts) == self.d and all(p in c.options for p, c in zip(parts, self.choices, strict=True))
        row = None if named else self._parse_integers(text)
        if row is None:
            if len(parts) != self.d:
                raise self._wrong_number(text, SEPARATOR)
            row = np.array([self._option(j, part) for j, part in enumerate(parts)], dtype=np.int64)
        return self.as_archs(row)[0]


def pool_of(
    path: str | os.PathLike[str],
    space: str | SearchSpace | None = None,
    choices: Sequence[str] | None = None,
    values: Collection[str] = (),
    name: str | None = None,
) -> Pool:
    """The architectures of a CSV file as a space: searches on it stay among them.

    Args:
        path: the file; one row an architecture, with a heading. Rows that repeat another are the same member.
        space: whose members they are: one column a choice, or one column of texts. By default a space of the file's
            own: each column is a choice, and its different cells are the options (numbers in ascending order, texts in
            the order in which they first come). That space builds no networks. Cells of a choice that not every
            architecture makes are empty; another choice decides where (of networks with "depth" 1, all cells of
            "kernel 2", and of others none).
        choices: without `space`, the columns that are choices; by default all but `values`.
        values: columns that hold measurements.
        name: of the space of the file's own; by default the name of the file.

    Raises:
        UnknownName: there is no such space or column.
        InvalidValue: a column is named twice, or as choice and as value; `choices` or `name` beside `space`.
        DataError: not CSV, a cell is no option, or empty where no choice decides that, or every row of a column is
            different, so that it is no choice.
    """
    table = CSVFile(os.fspath(path), readers.LIMIT)
    if not len(table):
        raise DataError(f"{table.path} has no rows")
    for column in (*values, *(choices or ())):
        if column not in table.columns:
            raise UnknownName("column of the file", column, table.columns)
    named = [*values, *(choices or ())]
    if twice := [column for column in named if named.count(column) > 1]:
        raise InvalidValue(f"the column {twice[0]!r} is named twice among choices and values; once is enough")
    if space is not None and (choices is not None or name is not None):
        raise InvalidValue("choices and name are of a space of the file's own; leave them out, or the space")
    if space is not None:
        whole = space_named(space)
        return Pool(whole, architectures(table, whole, values=values)[0])
    columns = [c for c in table.columns if c not in values] if choices is None else list(choices)
    if not columns:
        raise DataError(f"{table.path} has no columns of choices")
    cells = {column: list(table.entries(column)) for column in columns}
    made = [_choice(table, column, cells, given=choices is not None) for column in columns]
    archs = np.array([[c.options.index(cell) for cell in cells[c.name]] for c in made], dtype=np.int64).T
    try:
        return Pool(Columns(name or Path(path).stem, made), archs)
    except InvalidArchitecture as error:
        raise DataError(f"{table.path}: {error}") from error


def _choice(table: CSVFile, column: str, columns: Mapping[str, Sequence[str]], given: bool) -> Choice:
    """The choice that a column makes; where architectures do not make it, its option is the empty text."""
    cells = columns[column]
    conditional = any(cells) and any(_decides(other, cells) for name, other in columns.items() if name != column)
    for row, cell in enumerate(cells):
        if not cell and not conditional:
            raise DataError(
                f"{table.where(row, column)} is empty, and no other choice decides where; write a text, such as none, "
                "where nothing is chosen"
            )
        if SEPARATOR in cell:
            raise DataError(f"{table.where(row, column)}: an option cannot hold {SEPARATOR!r}")
    options = list(dict.fromkeys(cells))
    if len(options) == len(cells) > 2 and not given:
        raise DataError(
            f"{table.path}: every row has another {column!r}, so that it is no choice; name it among values, or the "
            "columns that are choices as choices"
        )
    if all(_is_number(option) for option in options if option):  # else in the order of the file
        options.sort(key=lambda option: float(option) if option else -np.inf)
    return Choice(column, tuple(options))


def _decides(other: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether the option of another choice, which is not another one in every row, tells if a cell is empty."""
    options = set(other)
    found = set(zip(other, map(bool, cells), strict=True))
    return len(found) == len(options) < len(cells)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(readers.number(cell)))
    except ValueError:
        return False
