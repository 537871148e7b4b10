"""Columns imported by users: files that cannot be fetched by name, checked, stored, and joined to the fetched tables.

An import is ``<home>/imported/<space>/<label>.npz``: its own architectures ``(n, d)``, its values ``(k, n)``, NaN where
unknown, and a JSON text that describes the columns and names their file. If the space has a fetched table, its rows
come first, followed by architectures that it lacks; otherwise the imports are the table.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import official, tables
from nastk.data.fetch import Store, sha256_of
from nastk.data.official import Measurements
from nastk.data.plausible import check_possible
from nastk.data.tables import Block, Column, ColumnTable
from nastk.errors import DataError, InvalidValue, NastkError, StorageError, UnknownName
from nastk.files import atomic_path
from nastk.registry import SPACES
from nastk.spaces.base import SearchSpace

FORMAT = 2
"""Version of the layout of the file; the first had one latency column in the order of the fetched table."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Valid names of imports: safe as file names."""
OPTIONS = {"space": "--space", "columns": "--column", "dataset": "--dataset", "device": "--device"} | {
    "fidelity": "--fidelity",
    "arch": "--arch",
}
"""Options that a form may take, and their names on the command line."""


@dataclass(frozen=True)
class Import:
    """A stored import: its table, name and content.

    Args:
        space: whose table it is joined to.
        label: its name, used as the variant of its columns if the table itself has such columns.
        columns: their descriptions.
        rows: number of architectures with a value.
        path: its file.
    """

    space: str
    label: str
    columns: list[Column]
    rows: int
    path: Path


def bring(
    form: str, paths: Sequence[Path], name: str | None = None, store: Store | None = None, **options: Any
) -> list[Import]:
    """Read files of a form and store their columns; nothing is stored if there is any error.

    An earlier import of the same name and space is replaced.

    Args:
        form: of the files, one of :func:`nastk.data.official.forms`.
        paths: files or folders.
        name: of the import; by default that of the form, else of the first file.
        store: the cache; by default the user's.
        options: further options of the form (keys of :data:`OPTIONS`); None means not given.

    Raises:
        UnknownName: no such form, or an unknown name in an option.
        InvalidValue: no such file, or an option that the form needs or does not take.
        DataError: a file is not of the form; the message names it.
    """
    module = official.form(form)
    store = store or Store()
    given = {key: value for key, value in options.items() if value is not None and value != []}
    taken = inspect.signature(module.read).parameters
    if given.get("space") == module.SPACE:
        given.pop("space", None)
    wrong = [OPTIONS[key] for key in given if key not in taken]
    if wrong:
        what = f"is of {module.SPACE}" if wrong == ["--space"] else f"does not take {', '.join(wrong)}"
        raise InvalidValue(f"the form {form} {what}; its files say it themselves")
    if name is not None and not NAME.fullmatch(name):
        raise InvalidValue(f"--name {name}: use letters, digits, '_', '-' and '.', with a letter or digit first")
    if "known" in taken:
        given["known"] = partial(_known, store)
    read: list[Measurements] = module.read(paths, **given)
    prepared = [_prepare(m, m.files or tuple(map(Path, paths))) for m in read]
    labels = [name or _label(m, paths) for m in read]
    places = [(label, m.space) for label, m in zip(labels, prepared, strict=True)]
    twice = next((f"{label} in {space}" for label, space in places if places.count((label, space)) > 1), None)
    if twice:
        raise InvalidValue(f"two parts of what is imported would be called {twice}; import them one by one")
    return [_save(m, label, store) for label, m in zip(labels, prepared, strict=True)]


def _known(store: Store, space: str, column: Column) -> NDArray[np.float64]:
    """Medians of the columns of the space's table that are of this metric and unit, for other devices.

    Imports count only where nothing was fetched: one in a wrong unit would vouch for the next.
    """
    try:
        table = load(space, store)
    except NastkError:  # nothing to compare with; what is wrong with the table is said where it is used
        return np.empty(0)
    like = (column.metric, column.unit)
    alike = [i for i, c in enumerate(table.columns) if (c.metric, c.unit) == like and c.device != column.device]
    published = [i for i in alike if not table.columns[i].imported]
    return np.array([np.nanmedian(table.values(i)) for i in published or alike])


def _label(found: Measurements, paths: Sequence[Path]) -> str:
    """Default name of an import."""
    label = found.label or re.sub(r"(\.[A-Za-z]\w{0,7}){1,2}$", "", Path(paths[0]).resolve().name)
    label = re.sub(r"[^A-Za-z0-9_.-]", "_", label)[:100]
    if not NAME.fullmatch(label):
        raise InvalidValue(f"{label!r} cannot be the name of an import; give one with --name")
    return label


def _prepare(found: Measurements, files: Sequence[Path]) -> Measurements:
    """A validated copy with its source, restricted to architectures with a value."""
    if found.space not in SPACES.entries or SPACES.entries[found.space].family:
        raise InvalidValue(f"imports belong to registered spaces (nastk list spaces), and {found.space} is none")
    archs = np.asarray(found.archs, dtype=np.int64)
    space: SearchSpace = SPACES.create(found.space)
    checked = space.as_archs(archs)
    if len(set(_keys(checked))) != len(checked):
        raise DataError(f"{files[0]}: an architecture of {found.space} comes twice")
    values = np.array([column for _, column in found.columns], dtype=np.float64).reshape(len(found.columns), -1)
    if values.shape != (len(found.columns), len(checked)) or not values.size:
        raise DataError(f"{files[0]} holds no values of architectures")
    identities = [_identity(column) for column, _ in found.columns]
    if len(set(identities)) != len(identities):
        raise DataError(f"{files[0]} holds a column twice")
    for (column, _), line in zip(found.columns, values, strict=True):
        check_possible(column, line, partial(_place, files[0], column, space, checked))
    source = f"imported from {files[0].name}" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    checksum = _checksum(files)
    columns = [replace(column, source=source, sha256=checksum) for column, _ in found.columns]
    kept = ~np.isnan(values).all(axis=0)
    if not kept.any():
        raise DataError(f"{files[0]} holds no values of architectures")
    pairs = list(zip(columns, values[:, kept], strict=True))
    return Measurements(found.space, checked[kept], pairs)


def _place(file: Path, column: Column, space: SearchSpace, archs: NDArray[np.int64], row: int) -> str:
    return f"{file}, {column.label} of {space.format(archs[row])}"


def _checksum(paths: Sequence[Path]) -> str:
    """SHA-256 of a file; for several files or a folder, of the lines ``checksum  name`` sorted by name."""
    files = sorted(f for p in paths for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file())
    try:
        sums = [sha256_of(file) for file in files]
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror or error}") from error
    if len(sums) == 1:
        return sums[0]
    lines = "".join(f"{s}  {f.name}\n" for s, f in zip(sums, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _save(found: Measurements, label: str, store: Store) -> Import:
    """Store it atomically; an earlier import of the same label is replaced."""
    path = store.home / "imported" / found.space / f"{label}.npz"
    columns = [column for column, _ in found.columns]
    about = {
        "format": FORMAT,
        "since": _since(path) or time.time(),
        "rows": len(found.archs),
        "columns": [{k: v for k, v in asdict(c).items() if v not in (None, "")} for c in columns],
    }
    small = found.archs.size == 0 or found.archs.max() < 128
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
            archs=found.archs.astype(np.int8 if small else np.int32),
            values=np.stack([values for _, values in found.columns]),
        )
    return Import(found.space, label, columns, len(found.archs), path)


def _since(path: Path) -> float | None:
    """When an import of this name was first made, in seconds since 1970; None if there is none that can be read."""
    try:
        (about,) = _read(path, ("about",))
        return float(about.get("since", path.stat().st_mtime))
    except (DataError, OSError, TypeError, ValueError):
        return None


def saved(space: str = "*", store: Store | None = None) -> list[Path]:
    """The files of the imports of a space, or of all, in alphabetical order."""
    files = ((store or Store()).home / "imported").glob(f"{space}/*.npz")
    return sorted(path for path in files if NAME.fullmatch(path.stem))


def describe(path: Path) -> Import:
    """The import in a file.

    Raises:
        DataError: it is damaged; the message names the command that removes it.
    """
    (about,) = _read(path, ("about",))
    return Import(path.parent.name, path.stem, about["columns"], about["rows"], path)


def forget(labels: Sequence[str], space: str | None = None, store: Store | None = None) -> list[tuple[str, str]]:
    """Delete imports by name, damaged ones included; returns the spaces and names of the deleted ones.

    Args:
        labels: their names.
        space: only of this space; by default of every space with such an import.
        store: the cache; by default the user's.

    Raises:
        UnknownName: there is no such import; nothing is deleted.
        StorageError: a file cannot be deleted.
    """
    there = [p for p in saved(store=store) if space in (None, p.parent.name)]
    for label in labels:
        if all(p.stem != label for p in there):
            raise UnknownName("import", label, {p.stem for p in there})
    gone = [p for p in there if p.stem in labels]
    for path in gone:
        try:
            path.unlink()
        except OSError as error:
            raise StorageError(f"cannot delete {path}: {error.strerror or error}") from error
    return [(p.parent.name, p.stem) for p in gone]


def load(space: str, store: Store | None = None) -> ColumnTable:
    """The fetched table of a space with all imports, if there are any.

    Raises:
        UnknownName: there is neither a table nor an import of this name.
        DataError: not fetched, or a file is damaged; the message names the command that repairs it.
    """
    store = store or Store()
    brought = saved(space, store)
    if not brought:
        return tables.load(space, store)
    base = tables.load(space, store) if _fetched(space, store) else None
    return _join(space, base, brought)


def _fetched(space: str, store: Store) -> bool:
    """Whether there is a compiled table, or all files to compile it."""
    if space not in tables.names():
        return False
    files = [store.catalogue.file(path) for path in tables.fact(space, "FILES", ())]
    return tables.table_path(space, store).exists() or all(store.state(f).state != "missing" for f in files)


def _join(space: str, base: ColumnTable | None, brought: Sequence[Path]) -> ColumnTable:
    """The fetched table, if there is one, with the imports in the order in which they were made.

    So an import never takes the place of an earlier one.
    """
    table = base
    for path in sorted(brought, key=lambda path: (_since(path) or np.inf, path)):
        about, archs, values = _read(path, ("about", "archs", "values"))
        if table is None:
            table = ColumnTable(space, archs[:0], [], [], [])
        if table.archs.shape[1] != archs.shape[1]:
            expected = f"expected {table.archs.shape[1]} choices, got {archs.shape[1]}"
            raise DataError(f"{path} does not fit the table {space} ({expected}); {_cure(path)}")
        joined, rows = _append(table.archs, archs)
        order = np.argsort(rows)
        blocks = [*table.blocks, Block(rows[order].astype(np.int32), values[:, order])]
        blocks[:-1] = [
            Block(np.arange(len(table.archs), dtype=np.int32), b.values)
            if b.rows is None and len(table.archs) < len(joined)
            else b
            for b in table.blocks
        ]
        places = [*table.places, *((len(blocks) - 1, line) for line in range(len(values)))]
        table = ColumnTable(space, joined, _with_new(table.columns, about["columns"], path.stem), blocks, places)
    assert table is not None
    every = np.arange(len(table.archs))
    whole = [b.rows is None or np.array_equal(b.rows, every) for b in table.blocks]
    blocks = [Block(None, b.values) if w else b for b, w in zip(table.blocks, whole, strict=True)]
    return replace(table, blocks=blocks)


def _append(archs: NDArray[Any], more: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The union, each architecture once, and the row of each of the second."""
    if not len(archs):
        return more, np.arange(len(more))
    place = {key: row for row, key in enumerate(_keys(archs))}
    rows = np.array([place.get(key, -1) for key in _keys(more)], dtype=np.int64)
    new = np.flatnonzero(rows < 0)
    rows[new] = len(archs) + np.arange(len(new))
    return np.concatenate([archs, more[new]]), rows


def _keys(archs: NDArray[Any]) -> list[bytes]:
    """One hashable per architecture."""
    content, width = archs.astype(np.int32).tobytes(), 4 * archs.shape[1]
    return [content[i : i + width] for i in range(0, len(content), width)]


def _with_new(known: list[Column], more: list[Column], label: str) -> list[Column]:
    """All columns. Those of an import that answer what known ones answered already get its label as their variant.

    That is so for all fidelities alike, and where only one of the two is independent of data sets: otherwise an import
    at more epochs, or of a certain data set, would become the default.
    """
    found = list(known)
    for column in more:
        column = replace(column, imported=label)
        if any(_compete(column, other) for other in known):
            column = replace(column, variant=" ".join(p for p in (label, column.variant) if p))
        found.append(column)
    return found


def _compete(column: Column, other: Column) -> bool:
    """Whether one could be the answer where the other was."""
    same = (column.metric, column.device) == (other.metric, other.device)
    return same and (column.dataset == other.dataset or None in (column.dataset, other.dataset))


def _identity(column: Column) -> tuple[Any, ...]:
    return column.metric, column.dataset, column.device, column.fidelity, column.variant


def _cure(path: Path) -> str:
    return f"run: nastk data forget {path.stem} --space {path.parent.name}, and import it again"


def _read(path: Path, wanted: Sequence[str]) -> list[Any]:
    """Members of an import's file, checked against each other."""
    try:
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
            if about.get("format", 1) != FORMAT:
                raise DataError(f"{path} was imported by another version of nastk; {_cure(path)}")
            about["columns"] = [Column(**c) for c in about["columns"]]
            found = [about if name == "about" else content[name] for name in wanted]
        shapes = dict(zip(wanted, found, strict=True))
        n, k = int(about["rows"]), len(about["columns"])
        archs, values = shapes.get("archs"), shapes.get("values")
        if archs is not None and (archs.ndim != 2 or len(archs) != n or archs.dtype.kind != "i"):
            raise ValueError("its architectures are not those that it describes")
        if values is not None and (values.shape != (k, n) or values.dtype.kind != "f"):
            raise ValueError("its values do not fit its architectures")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); {_cure(path)}") from error
    return found
