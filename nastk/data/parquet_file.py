"""Parquet files, which pyarrow reads: one column at a time, in parts, with limits on what a file unpacks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.errors import DataError, MissingExtra, UnknownName, import_extra, installing

LIMIT = 1 << 30
"""Most bytes of a file, so that a wrong file cannot exhaust the memory."""
SAFE = 15
"""First version of pyarrow that never executes code from a file (CVE-2023-47248)."""
CELLS = 2_000_000
"""Most entries that a file of any size may have; they take about a hundred bytes each."""
BYTES = 64
"""Most bytes that an entry unpacks to, on average."""
BATCH = 1 << 14
"""Rows that are unpacked at a time."""
DENSITY = 16
"""Beyond that, fewest bytes of the file for an entry: one that repeats is compressed to almost nothing."""
EXTRA = "parquet"
"""Extra of this package that brings pyarrow."""


def check_reader() -> None:
    """Refuse to go on without pyarrow.

    Raises:
        MissingExtra: it is not installed, or too old to be safe.
    """
    pyarrow = import_extra("pyarrow", EXTRA)
    if int(pyarrow.__version__.partition(".")[0]) < SAFE:
        raise MissingExtra(f"pyarrow {pyarrow.__version__} is not safe for files of others; run: {installing(EXTRA)}")


class ParquetFile:
    """A Parquet file, of which one column at a time is read, in parts.

    Args:
        path: the file.

    Attributes:
        columns: their names.
        types: Arrow's name of each column's type ("int64", "double", "string"), by name.

    Raises:
        DataError: not Parquet, or it unpacks to more than a table of its size holds.
    """

    def __init__(self, path: Path):
        self.path = str(path)
        if path.stat().st_size > LIMIT:
            raise DataError(f"{path} is larger than the {LIMIT >> 30} GiB that are expected at most")
        with self._refusing():
            from pyarrow import types  # type: ignore[import-not-found, unused-ignore]
            from pyarrow.parquet import ParquetFile as Opened  # type: ignore[import-not-found, unused-ignore]

            schema = Opened(path).schema_arrow
            # a text that comes a million times is stored once, and so it must stay
            texts = [field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)]
            self._file = Opened(path, read_dictionary=texts)
            about = self._file.metadata
            parts = [
                about.row_group(i).column(j) for i in range(about.num_row_groups) for j in range(about.num_columns)
            ]
            cells = max(sum(part.num_values for part in parts), about.num_rows * about.num_columns)
            unpacked = sum(part.total_uncompressed_size for part in parts)
            self.columns = tuple(str(name) for name in schema.names)
            self.types = {str(field.name): str(field.type) for field in schema}
            self._rows = int(about.num_rows)
        most = CELLS + path.stat().st_size // DENSITY
        if cells > most or unpacked > BYTES * most:
            raise DataError(f"{path} unpacks to more than its {path.stat().st_size:,} bytes hold: {cells:,} entries")

    def __len__(self) -> int:
        return self._rows

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Whatever pyarrow raises for a malformed file, as one line."""
        try:
            yield
        except Exception as error:  # it raises many types of errors
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"{self.path} is truncated, or not a Parquet file: {reason}") from error

    def entries(self, column: str) -> Iterator[Any]:
        """The entries of a column as Python objects, None where there is none.

        Raises:
            UnknownName: no such column.
        """
        for part in self._parts(column):
            with self._refusing():
                if hasattr(part, "dictionary"):
                    texts = part.dictionary.to_pylist()
                    found = [None if place is None else texts[place] for place in part.indices.to_pylist()]
                else:
                    found = part.to_pylist()
            yield from found

    def _parts(self, column: str) -> Iterator[Any]:
        """The Arrow arrays that make up a column."""
        if column not in self.columns:
            raise UnknownName("column of the file", column, self.columns)
        batches = self._file.iter_batches(BATCH, columns=[column])
        while True:
            with self._refusing():
                batch = next(batches, None)
                if batch is None:
                    return
                part = batch.column(0)
            yield part

    def array(self, column: str) -> NDArray[Any]:
        """A column of numbers ``(n,)`` in the file's type; where entries are missing, as float64 with NaN there.

        Raises:
            UnknownName: no such column.
        """
        parts = []
        for part in self._parts(column):
            with self._refusing():
                parts.append(part.to_numpy(zero_copy_only=False))
        return np.concatenate(parts) if parts else np.empty(0)

    def numbers(self, column: str, percent: bool = False) -> NDArray[np.float64]:
        """The values of a column ``(n,)``, NaN where unknown.

        Raises:
            DataError: an entry is no number.
        """
        values = np.full(len(self), np.nan)
        for row, entry in enumerate(self.entries(column)):
            text = entry.strip().removesuffix("%") if percent and isinstance(entry, str) else entry
            try:
                values[row] = np.nan if text is None else readers.as_number(text)
            except (TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{self.where(row, column)}: not a number: {error}") from error
        return values

    def where(self, row: int, column: str) -> str:
        """File, row and column of an entry, for messages; rows are counted from 1 there, from 0 here."""
        return f"{self.path}, row {row + 1}, column {column!r}"
