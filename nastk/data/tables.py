"""Compact columnar tables compiled from the fetched files, one per space, stored without pickle.

A table is ``<home>/tables/<name>.npz``: architectures as int8 rows, columns of equal length and type stacked in one
matrix, and a JSON text that describes each column. It is compiled on first use, and again when its importer or the
checksum of a source file has changed.

What another collection adds to a table is a table of its own, with the same architectures in the same order. The two
are joined when they are opened (:func:`load_joined`), so that the first needs nothing of the second.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.data.catalogue import File, shipped
from nastk.data.fetch import Store
from nastk.errors import DataError, DataWarning, MissingExtra, StorageError, UnknownName
from nastk.files import atomic_path

FORMAT = 1
"""Version of the layout of the file."""

Kind = Literal["accuracy", "latency", "energy", "count", "proxy", "seconds", "other"]

EXPENSIVE = frozenset({"accuracy", "latency", "energy", "other"})
"""Kinds whose values need a training or a measurement; the others follow from the architecture alone."""


SPREAD = "_std"
"""Ending of the metrics that are standard deviations of others."""


@dataclass(frozen=True)
class Column:
    """One column: a metric of the architectures of a table.

    Args:
        metric: name ("latency", "test_accuracy", "nwot").
        kind: of value; accuracy, latency, energy and other measurements are expensive.
        unit: "%", "ms", "mJ", "s", "M" (millions), "" for plain numbers.
        direction: "max" or "min".
        dataset: the data set it was measured on; None if it is independent of data sets.
        device: the device that it was measured on.
        fidelity: training epochs.
        variant: name of the source, if the same metric has a second one.
        source: ``repo@commit path`` of the file that it was read from (of several, the first and their number).
        sha256: checksum of that file; of several, of the list of their checksums.
        note: caveats for users.
        imported: name of the user's import that it belongs to; "" for a fetched table's own.
    """

    metric: str
    kind: Kind
    unit: str = ""
    direction: Literal["min", "max"] = "max"
    dataset: str | None = None
    device: str | None = None
    fidelity: float | None = None
    variant: str | None = None
    source: str = ""
    sha256: str = ""
    note: str = ""
    imported: str = ""

    @property
    def expensive(self) -> bool:
        """Whether a value needs a training or a measurement."""
        return self.kind in EXPENSIVE

    @property
    def label(self) -> str:
        """Identifies the column within its table, for messages."""
        epochs = f"{self.fidelity:g} epochs" if self.fidelity is not None else None
        return " ".join(str(p) for p in (self.metric, self.dataset, self.device, epochs, self.variant) if p)


def spread_of(column: Column) -> Column:
    """The column of the standard deviations of another's values, where architectures were measured repeatedly."""
    note = f"standard deviation of repeated measurements of {column.metric}"
    return replace(column, metric=f"{column.metric}{SPREAD}", kind="other", direction="min", note=note)


@dataclass(frozen=True)
class Block:
    """Columns of equal type over the same architectures.

    Args:
        rows: architecture numbers, ascending, shape ``(m,)``; None for all.
        values: shape ``(k, m)``.
    """

    rows: NDArray[np.int32] | None
    values: NDArray[Any]


@dataclass(frozen=True)
class ColumnTable:
    """A table as it is stored.

    Args:
        name: its name ("nasbench201").
        archs: the architectures, shape ``(n, d)``, int8, in the source's official order.
        columns: their descriptions.
        blocks: their values.
        places: block and row within it of each column.
    """

    name: str
    archs: NDArray[np.int8]
    columns: list[Column]
    blocks: list[Block]
    places: list[tuple[int, int]]

    def values(self, number: int) -> NDArray[np.float64]:
        """A column, shape ``(n,)``; NaN for architectures without a value."""
        place, line = self.places[number]
        block = self.blocks[place]
        if block.rows is None:
            return block.values[line].astype(np.float64)
        full = np.full(len(self.archs), np.nan)
        full[block.rows] = block.values[line]
        return full

    def joined(self, other: ColumnTable) -> ColumnTable:
        """This table with the columns of another one of the same architectures after its own.

        Raises:
            DataError: the other has other architectures, or another order.
        """
        if not np.array_equal(self.archs, other.archs):
            raise DataError(f"the table {other.name} does not have the architectures of {self.name}, in their order")
        places = [(block + len(self.blocks), line) for block, line in other.places]
        columns, blocks = [*self.columns, *other.columns], [*self.blocks, *other.blocks]
        return replace(self, columns=columns, blocks=blocks, places=[*self.places, *places])


@dataclass
class Draft:
    """A table under construction: an importer adds validated columns to it.

    Args:
        archs: the architectures, shape ``(n, d)``.
    """

    archs: NDArray[np.int8]
    columns: list[tuple[Column, NDArray[np.float64], NDArray[np.int32] | None]] = field(default_factory=list)
    files: list[tuple[str, ...]] = field(default_factory=list)

    def add(
        self,
        file: str,
        column: Column,
        values: NDArray[np.float64],
        rows: NDArray[np.int64] | None = None,
        low: float = -np.inf,
        high: float = np.inf,
        failed: float | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """Add a column.

        Args:
            file: name of the file that it was read from.
            column: description; source and checksum are filled in.
            values: shape ``(n,)``, or ``(m,)`` with `rows`.
            rows: the architectures with values, each once; by default all.
            low, high: valid range, bounds included.
            failed: the value that stands for a failed measurement; it becomes NaN. Without it, NaN is an error.
            more: names of further files that it was read from.

        Raises:
            DataError: not a number, out of range, of a wrong length, or an architecture is duplicated.
        """
        expected = len(self.archs) if rows is None else len(rows)
        if values.shape != (expected,):
            raise DataError(f"{file}: {column.label} has shape {values.shape}, expected ({expected},)")
        if failed is not None:
            values = np.where(values == failed, np.nan, values)
            whole = values[~np.isnan(values)]
        else:
            whole = values
        if not np.isfinite(whole).all() or (len(whole) and (whole.min() < low or whole.max() > high)):
            raise DataError(f"{file}: {column.label} holds values that are not finite or not in {low:g} to {high:g}")
        places = None
        if rows is not None:
            order = np.argsort(rows, kind="stable")
            rows, values = rows[order], values[order]
            if len(rows) and (rows[0] < 0 or rows[-1] >= len(self.archs) or (np.diff(rows) == 0).any()):
                raise DataError(f"{file}: an architecture comes twice, or is not in the table")
            places = rows.astype(np.int32)
        self.columns.append((column, values, places))
        self.files.append((file, *more))

    def finish(self, name: str, store: Store) -> ColumnTable:
        """Stack the columns, each in the narrowest type that keeps distinct values distinct, and record their
        sources."""
        groups: dict[tuple[bytes, str], list[int]] = {}
        for i, (_, values, rows) in enumerate(self.columns):
            key = (b"" if rows is None else rows.tobytes(), _narrowest(values))
            groups.setdefault(key, []).append(i)
        blocks = []
        places = [(0, 0)] * len(self.columns)
        for number, ((_, dtype), members) in enumerate(groups.items()):
            matrix = np.stack([self.columns[i][1] for i in members]).astype(dtype)
            blocks.append(Block(self.columns[members[0]][2], matrix))
            for line, i in enumerate(members):
                places[i] = (number, line)
        columns = []
        for (column, _, _), paths in zip(self.columns, self.files, strict=True):
            files = [store.catalogue.file(path) for path in paths]
            source = files[0].origin + (f" and {len(files) - 1} more" if len(files) > 1 else "")
            columns.append(replace(column, source=source, sha256=_checksum(files)))
        return ColumnTable(name, self.archs, columns, blocks, places)


def _checksum(files: Sequence[File]) -> str:
    """SHA-256 of a file; for several files, of the lines ``checksum  name`` sorted by name."""
    if len(files) == 1:
        return files[0].sha256
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _narrowest(values: NDArray[np.float64]) -> str:
    """float32 if rounding makes no two distinct values equal (which preserves order and ties), else float64."""
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    if not np.array_equal(np.isfinite(short), np.isfinite(values)):
        return "float64"
    return "float32" if len(np.unique(short)) == len(np.unique(values)) else "float64"


def load(name: str, store: Store | None = None) -> ColumnTable:
    """The table of this name, compiled from the fetched files unless it is up to date.

    Raises:
        UnknownName: no such table.
        DataError: its files are not fetched (the message names the command), or damaged.
    """
    store = store or Store()
    file = table_path(name, store)
    expected = _made_of(name, store)
    reason: DataError | None = None
    if file.exists():
        try:
            table, made_of = _read(name, file)
            if made_of == expected:
                return table
        except DataError as error:
            reason = error
    try:
        return compile_table(name, store)
    except DataError as error:
        raise error if reason is None else DataError(f"{reason}; it cannot be made anew: {error}") from error


def load_joined(name: str, store: Store) -> ColumnTable:
    """The table of this name with the columns of all fetched tables that join it, those last.

    One that cannot be read for want of an extra is left out, with a warning: nobody needs the extra for the table.

    Raises:
        UnknownName, DataError: see :func:`load`, for each of these tables.
    """
    table = load(name, store)
    for collection in store.catalogue.collections.values():
        for more in collection.tables if collection.joins == name else ():
            if not is_there(more, store):
                continue
            try:
                table = table.joined(load(more, store))
            except MissingExtra as error:
                warnings.warn(
                    f"the columns of {collection.name} are left out of {name}: {error}", DataWarning, stacklevel=2
                )
    return table


def is_there(name: str, store: Store) -> bool:
    """Whether the compiled table is there, or all files to compile it."""
    files = [store.catalogue.file(path) for path in _importer(name).FILES]
    return table_path(name, store).exists() or all(store.state(f).state != "missing" for f in files)


def check_reader(name: str) -> None:
    """Refuse a table whose files need an extra that is not installed.

    Raises:
        MissingExtra: it is not; the message names it.
    """
    check = fact(name, "check_reader", None)
    if check is not None:
        check()


def table_path(name: str, store: Store) -> Path:
    """Path of the compiled table."""
    return store.home / "tables" / f"{name}.npz"


def is_current(name: str, store: Store) -> bool:
    """Whether the compiled table exists and was made from the catalogue's files by this importer."""
    try:
        _, made_of = _read(name, table_path(name, store))
    except DataError:
        return False
    return made_of == _made_of(name, store)


def compile_table(name: str, store: Store) -> ColumnTable:
    """Read the fetched files, checksums verified, and store the table; nothing is stored if there is any error."""
    importer = _importer(name)
    missing = [p for p in importer.FILES if store.state(store.catalogue.file(p)).state == "missing"]
    if missing:
        collection = next((c.name for c in store.catalogue.collections.values() if name in c.tables), name)
        part = "" if len(missing) == len(importer.FILES) else f" completely ({missing[0]} is missing)"
        raise DataError(f"the table {name} is not fetched{part}; run: nastk data fetch {collection}")
    draft: Draft = importer.draft(lambda path: store.path(path, checksum=True))
    table = draft.finish(name, store)
    try:
        _write(table, _made_of(name, store), table_path(name, store))
    except StorageError as error:  # a read-only shared cache is still usable
        warnings.warn(f"the table is used but not kept: {error}", stacklevel=2)
    return table


def names() -> list[str]:
    """Tables that can be compiled, as the catalogue lists them; each is a module of this package."""
    return sorted({table for collection in shipped().collections.values() for table in collection.tables})


def fact(name: str, what: str, default: Any) -> Any:
    """A constant of the table's importer ("SOURCE_DEVICES"), or `default` if it has none."""
    return getattr(_importer(name), what, default) if name in names() else default


def _importer(name: str) -> ModuleType:
    if name not in names():
        raise UnknownName("table", name, names())
    return importlib.import_module(f"nastk.data.{name.replace('-', '_')}")


def _made_of(name: str, store: Store) -> dict[str, Any]:
    """Versions of an up-to-date table: layout, importer and files."""
    importer = _importer(name)
    files = {path: store.catalogue.file(path).sha256 for path in importer.FILES}
    return {"format": FORMAT, "importer": importer.VERSION, "files": files}


def _write(table: ColumnTable, made_of: dict[str, Any], path: Path) -> None:
    columns = [{k: v for k, v in asdict(c).items() if v not in (None, "")} for c in table.columns]
    text = json.dumps({"made_of": made_of, "name": table.name, "columns": columns, "places": table.places})
    members: dict[str, NDArray[Any]] = {"about": np.frombuffer(text.encode(), dtype=np.uint8), "archs": table.archs}
    for number, block in enumerate(table.blocks):
        members[f"values{number}"] = block.values
        if block.rows is not None:
            members[f"rows{number}"] = block.rows
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **members)  # type: ignore[arg-type]  # the stubs take no mapping of arrays


def _read(name: str, path: Path) -> tuple[ColumnTable, dict[str, Any]]:
    """A stored table and its versions, checked for consistency."""
    try:
        with np.load(path, allow_pickle=False) as content:
            members = {key: content[key] for key in content.files}
        about = json.loads(members["about"].tobytes())
        columns = [Column(**c) for c in about["columns"]]
        places: Sequence[tuple[int, int]] = [(int(b), int(line)) for b, line in about["places"]]
        archs = members["archs"]
        blocks = [
            Block(members.get(f"rows{i}"), members[f"values{i}"])
            for i in range(sum(key.startswith("values") for key in members))
        ]
        if about["name"] != name or archs.ndim != 2 or archs.dtype != np.int8 or len(places) != len(columns):
            raise ValueError("not the table that its name says")
        for block in blocks:
            held = len(archs) if block.rows is None else len(block.rows)
            if block.values.ndim != 2 or block.values.shape[1] != held or block.values.dtype.kind != "f":
                raise ValueError("a block of another shape than its rows")
        if any(not (0 <= b < len(blocks) and 0 <= line < len(blocks[b].values)) for b, line in places):
            raise ValueError("a column without values")
        return ColumnTable(name, archs, columns, blocks, list(places)), about["made_of"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        RecursionError,
    ) as error:
        raise DataError(f"{path} is damaged ({error})") from error
