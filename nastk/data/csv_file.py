"""CSV as people write it: the one reader of every CSV file that nastk reads.

Byte-order marks (UTF-8, UTF-16), semicolons or tabs, decimal commas, blanks around headings and cells, ``N/A`` and
percent signs are understood; anything else that is not what it should be is an error with file, line and column. A
file is parsed anew for each column that is asked for, so that it never needs much more memory than its own size.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.errors import DataError, UnknownName

DELIMITERS = "\t;,"
"""What may separate cells; of two that fit a file equally well, the earlier one, which is rarer within cells."""
RECORD = 1 << 22
"""Most characters of a row, so that a file without line ends cannot exhaust the memory."""
SAMPLE = 100
"""Rows that decide between several possible delimiters."""

_SEPARATOR = re.compile(r'"?sep=([,;\t])"?\s*')
"""First line by which Excel is told the delimiter."""
_COMMA = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
"""A number with a decimal comma."""
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
"""What may be a number with a decimal comma, or one whose thousands are set apart."""


class CSVFile:
    """A CSV file with a heading.

    Args:
        path: the file; one whose name ends in ``.gz`` is unpacked.
        limit: most bytes, unpacked.

    Attributes:
        columns: names of its columns, without blanks around them; one without a heading is called ``column 3``.
        delimiter: what separates its cells.

    Raises:
        DataError: unreadable, not CSV, two columns of one name, or a row with another number of cells than the heading.
    """

    def __init__(self, path: str | Path, limit: int = readers.LIMIT):
        self.path = str(path)
        zipped = self.path.endswith(".gz")
        self._content = readers.read_gzip(path, limit) if zipped else readers.read_bytes(path, limit)
        self._encoding = _encoding(self._content)
        first = next(self._lines(), "")
        separator = _SEPARATOR.fullmatch(first)
        self._skip = 1 if separator else 0
        self.delimiter = separator[1] if separator else self._guess()
        heading = next(self._records(self.delimiter), (0, []))[1]
        if not heading:
            raise DataError(f"{self.path} is empty: it needs a line of headings, and a row below it for each value")
        self.columns = tuple(name or f"column {place}" for place, name in enumerate(heading, 1))
        seen: set[str] = set()
        for name in self.columns:
            if name in seen:
                raise DataError(f"{self.path} has two columns {_shown(name)}")
            seen.add(name)
        self._rows = sum(1 for _ in self._body())

    def __len__(self) -> int:
        """Number of rows; those without any content do not count."""
        return self._rows

    def entries(self, column: str) -> Iterator[str]:
        """The cells of a column, without blanks around them.

        Raises:
            UnknownName: no such column.
        """
        return (cell for _, cell in self.located(column))

    def located(self, column: str) -> Iterator[tuple[int, str]]:
        """Line number and cell of each row.

        Raises:
            UnknownName: no such column.
        """
        if column not in self.columns:
            raise UnknownName("column of the file", column, self.columns)
        place = self.columns.index(column)
        return ((line, record[place]) for line, record in self._body())

    def numbers(self, column: str, percent: bool = False) -> NDArray[np.float64]:
        """The values of a column ``(n,)``, NaN where unknown (an empty cell, ``N/A``).

        Args:
            column: its name.
            percent: whether values are percentages, so that a cell may end in a percent sign.

        Raises:
            DataError: a cell is no number, or could be two different ones; the message has its line.
        """
        values = np.full(len(self), np.nan)
        commas: list[tuple[int, int, str]] = []  # row, line and text of each decimal comma
        point = 0  # line of the first decimal point
        for row, (line, cell) in enumerate(self.located(column)):
            text = cell
            if text.endswith("%"):
                if not percent:
                    raise DataError(
                        f"{self._at(line, column)}: {_shown(cell)} is a percentage, and this column is not in %"
                    )
                text = text[:-1].rstrip()
            if "," in text:
                commas.append((row, line, text))
                continue
            try:
                values[row] = readers.number(text)
            except ValueError:
                raise DataError(
                    f"{self._at(line, column)}: {_shown(cell)} is not a number; leave unknown values empty"
                ) from None
            if not point and "." in text:
                point = line
        if commas:
            self._check_commas(column, commas, point)
        for row, _, text in commas:
            values[row] = float(text.replace(",", "."))
        return values

    def _check_commas(self, column: str, commas: Sequence[tuple[int, int, str]], point: int) -> None:
        _, line, text = commas[0]
        if point:
            raise DataError(
                f"{self._at(line, column)}: {_shown(text)} has a comma where line {point} has a decimal point; write "
                "both alike, and thousands without a comma"
            )
        wrong = next(((line, text) for _, line, text in commas if not _COMMA.fullmatch(text)), None)
        if wrong is not None:
            raise DataError(f"{self._at(wrong[0], column)}: {_shown(wrong[1])} is not a number")
        if self.delimiter == "," and all(_THOUSANDS.fullmatch(text) for _, _, text in commas):
            whole, decimal = _shown(text.replace(",", "")), _shown(text.replace(",", "."))
            raise DataError(
                f"{self._at(line, column)}: {_shown(text)} may be {whole} or {decimal}; "
                "write it with a decimal point, or without the comma"
            )

    def where(self, row: int, column: str) -> str:
        """File, line and column of a cell, for messages; rows count from 0."""
        line = next(line for number, (line, _) in enumerate(self._body()) if number == row)
        return self._at(line, column)

    def _at(self, line: int, column: str) -> str:
        return f"{self.path}, line {line}, column {_shown(column)}"

    def _body(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of every row below the heading that has any content."""
        width = len(self.columns)
        records = self._records(self.delimiter)
        next(records)
        for line, record in records:
            if len(record) != width:
                found = f"{self.path}, line {line} has {_number(len(record), 'cell')} under {_number(width, 'heading')}"
                if len(record) < width:
                    raise DataError(f"{found}: is the file cut off, or a cell missing?")
                if any(record[width:]):
                    raise DataError(f"{found}; a cell that holds {self.delimiter!r} needs quotes around it")
                del record[width:]
            yield line, record

    def _records(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """First line, and cells without blanks around them, of every row with any content, the heading included."""
        lines = _Counted(self._lines(), self.path)
        line = 1
        for _ in range(self._skip):
            next(lines)
            line += 1
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for record in reader:
                lines.left = RECORD
                cells = [cell.strip() for cell in record]
                if any(cells):
                    yield line, cells
                line = self._skip + reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.path}, line {line} is not CSV, or the file is truncated: {error}") from error

    def _lines(self) -> Iterator[str]:
        """The lines with their ends."""
        stream = io.TextIOWrapper(io.BytesIO(self._content), self._encoding, newline="")
        number = 0
        try:
            while text := stream.readline(RECORD + 1):
                number += 1
                if len(text) > RECORD:
                    raise DataError(f"{self.path}, line {number} is longer than {RECORD:,} characters: not a table")
                if "\0" in text:
                    raise DataError(f"{self.path}, line {number} holds a null character: not CSV")
                yield text
        except UnicodeError:
            raise DataError(f"{self.path}, {self._undecodable()}; save it as 'CSV UTF-8'") from None

    def _undecodable(self) -> str:
        """Line and reason of the first bytes that are no text: those of a stream count from its last part."""
        try:
            self._content.decode(self._encoding)
        except UnicodeDecodeError as error:
            line = 1 + self._content.count(b"\n", 0, error.start)
            return f"line {line} is no text in {error.encoding.upper()}"
        return "its end is no text"

    def _guess(self) -> str:
        """The delimiter by which the first rows have as many cells as the heading, and the most of them."""
        most, best, fitting = 1, ",", 0
        for delimiter in DELIMITERS:
            try:
                widths = [len(record) for _, record in islice(self._records(delimiter), SAMPLE)]
            except DataError:
                continue
            if not widths or widths[0] == 1:
                continue
            fits = int(len(set(widths)) == 1)
            if (fits, widths[0]) > (fitting, most):
                fitting, most, best = fits, widths[0], delimiter
        return best


def read(path: str | Path, columns: Sequence[str], rows: int | None = None) -> dict[str, list[str]]:
    """The texts of these columns of a CSV file with a heading line.

    Args:
        path: the file.
        columns: names that the heading must contain.
        rows: required number of rows.

    Raises:
        DataError: a column is missing, a line has another number of cells, or the number of rows differs.
    """
    file = CSVFile(path)
    missing = [c for c in columns if c not in file.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}")
    if rows is not None and len(file) != rows:
        raise DataError(f"{path} has {len(file)} rows, expected {rows}")
    return {column: list(file.entries(column)) for column in columns}


class _Counted:
    """Lines of which only so many characters belong to one row."""

    def __init__(self, lines: Iterator[str], path: str):
        self._lines, self._path, self.left = lines, path, RECORD

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.left -= len(line)
        if self.left < 0:
            raise DataError(f"{self._path} has a row of more than {RECORD:,} characters: a quote is not closed")
        return line


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _encoding(content: bytes) -> str:
    """UTF-8, with or without a mark, or UTF-16 with one."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _shown(text: str) -> str:
    """A text of a file as messages show it: quoted, and cut where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
