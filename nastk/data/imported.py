"""Columns that a user brings: files that cannot be fetched by name, checked and added to a fetched table.

An imported device is ``<home>/imported/<table>/<device>.npz``: its values in the table's order, NaN where unknown,
and a JSON text that says where they came from.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.fetch import Store
from nastk.data.tables import Block, Column, ColumnTable
from nastk.errors import DataError, InvalidValue
from nastk.files import atomic_path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def save(table: str, column: Column, values: NDArray[np.float64], store: Store | None = None) -> Path:
    """Keep a column; the file is written whole or not at all, an earlier one of the device is replaced.

    Raises:
        InvalidValue: the device's name cannot be a file's.
    """
    device = str(column.device)
    if not NAME.fullmatch(device):
        raise InvalidValue(f"{device!r} is no device name; use letters, digits, '_', '-' and '.'")
    path = (store or Store()).home / "imported" / table / f"{device}.npz"
    text = json.dumps({k: v for k, v in asdict(column).items() if v not in (None, "")})
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, about=np.frombuffer(text.encode(), dtype=np.uint8), values=values)
    return path


def saved(table: str, store: Store | None = None) -> list[Path]:
    """Files of the devices that were imported for a table."""
    return sorted(((store or Store()).home / "imported" / table).glob("*.npz"))


def extend(content: ColumnTable, store: Store | None = None) -> ColumnTable:
    """The table with the imported devices that it does not have itself.

    Raises:
        DataError: an imported file is damaged; the message says which.
    """
    columns, blocks, places = list(content.columns), list(content.blocks), list(content.places)
    known = {c.device for c in columns if c.metric == "latency"}
    for path in saved(content.name, store):
        column, values = _read(path, len(content.archs))
        if column.device not in known:
            places.append((len(blocks), 0))
            columns.append(column)
            blocks.append(Block(None, values[None]))
    return ColumnTable(content.name, content.archs, columns, blocks, places)


def _read(path: Path, rows: int) -> tuple[Column, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as members:
            column, values = Column(**json.loads(members["about"].tobytes())), members["values"]
        if values.shape != (rows,) or values.dtype.kind != "f":
            raise ValueError("its values do not fit the table")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and import the device again") from error
    return column, values
