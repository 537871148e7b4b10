"""Columns imported by users: files that cannot be fetched by name, checked, stored, and joined to the fetched tables.

An import is ``<home>/imported/<space>/<label>.npz``: its own architectures ``(n, d)``, its values ``(k, n)``, NaN where
unknown, and a JSON text that describes the columns and names their file. If the space has a fetched table, its rows
come first, followed by architectures that it lacks; otherwise the imports are the table.

A registered space is known by its name. A user's own may change, and rows of integers would then mean other networks:
its folder is its name and a digest of its choices and their options, in order.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
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
from nastk.spaces.factory import space as space_named

FORMAT = 2
"""Version of the layout of the file; the first had one latency column in the order of the fetched table."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Valid names of imports: safe as file names."""
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    RecursionError,
)
"""What reading a file raises that is truncated, altered or none of ours."""
DIGEST = 12
"""Hexadecimal digits of the digest of a user's own space: 48 bits, so that two of one name do not meet by chance."""
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
        ranges: least and greatest value of each column; empty where only the description was read.
    """

    space: str
    label: str
    columns: list[Column]
    rows: int
    path: Path
    ranges: tuple[tuple[float, float], ...] = ()


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
    if not math.isfinite(given.get("fidelity", 0.0)):
        raise InvalidValue(f"--fidelity {given['fidelity']}: write a number of epochs, such as 200")
    wrong = [OPTIONS[key] for key in given if key not in taken]
    if wrong:
        what = f"is of {module.SPACE}" if wrong == ["--space"] else f"does not take {', '.join(wrong)}"
        raise InvalidValue(f"the form {form} {what}; its files say it themselves")
    if name is not None and not NAME.fullmatch(name):
        raise InvalidValue(f"--name {name}: use letters, digits, '_', '-' and '.', with a letter or digit first")
    if "known" in taken:
        given["known"] = partial(_known, store)
    if "metrics" in taken:
        given["metrics"] = partial(_metrics, store)
    read: list[Measurements] = module.read(paths, **given)
    spaces = [space_named(given.get("space") or m.space).whole for m in read]
    prepared = [_prepare(m, m.files or tuple(map(Path, paths)), space) for m, space in zip(read, spaces, strict=True)]
    labels = [name or _label(m, paths) for m in read]
    places = [(label, m.space) for label, m in zip(labels, prepared, strict=True)]
    twice = next((f"{label} in {space}" for label, space in places if places.count((label, space)) > 1), None)
    if twice:
        raise InvalidValue(f"two parts of what is imported would be called {twice}; import them one by one")
    return [_save(m, label, store, space) for label, m, space in zip(labels, prepared, spaces, strict=True)]


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


def _metrics(store: Store, space: str) -> list[str]:
    """Metrics of accuracy, latency and energy in the space's table; none if there is no table."""
    try:
        table = load(space, store)
    except NastkError:
        return []
    return list(dict.fromkeys(c.metric for c in table.columns if c.kind in ("accuracy", "latency", "energy")))


def _label(found: Measurements, paths: Sequence[Path]) -> str:
    """Default name of an import."""
    label = found.label or re.sub(r"(\.[A-Za-z]\w{0,7}){1,2}$", "", Path(paths[0]).resolve().name)
    label = re.sub(r"[^A-Za-z0-9_.-]", "_", label)[:100]
    if not NAME.fullmatch(label):
        raise InvalidValue(f"{label!r} cannot be the name of an import; give one with --name")
    return label


def _prepare(found: Measurements, files: Sequence[Path], space: SearchSpace | None = None) -> Measurements:
    """A validated copy with its source, restricted to architectures with a value.

    Args:
        space: the user's own; by default the registered one of its name.
    """
    space = space or space_named(found.space)
    folder_of(space)  # refuses a name that is taken, before anything is stored
    archs = np.asarray(found.archs, dtype=np.int64)
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
    return Measurements(space.name, checked[kept], pairs)


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


def _save(found: Measurements, label: str, store: Store, space: SearchSpace | None = None) -> Import:
    """Store it atomically; an earlier import of the same label is replaced. `space` as in :func:`_prepare`."""
    space = space or space_named(found.space)
    path = store.home / "imported" / folder_of(space) / f"{label}.npz"
    columns = [column for column, _ in found.columns]
    about = {
        "format": FORMAT,
        "since": _since(path) or time.time(),
        "rows": len(found.archs),
        "space": space.identity(),
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
    ranges = tuple(_range(values) for _, values in found.columns)
    return Import(found.space, label, columns, len(found.archs), path, ranges)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)


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


def shown_names(store: Store | None = None) -> dict[str, str]:
    """Names of the tables with imports, for people, by their folders.

    A space's name, unless imports into two spaces of that name are there, or they are damaged: then the folder's.
    """
    found: dict[str, str] = {}
    for path in saved(store=store):
        folder = path.parent.name
        with contextlib.suppress(DataError):
            found.setdefault(folder, str(_read(path, ("about",))[0].get("space", {}).get("space", folder)))
    folders = {path.parent.name for path in saved(store=store)}
    names = list(found.values())
    return {f: found[f] if f in found and names.count(found[f]) == 1 else f for f in folders}


def forget(labels: Sequence[str], space: str | None = None, store: Store | None = None) -> list[tuple[str, str]]:
    """Delete imports by name, damaged ones included; returns the spaces (:func:`shown_names`) and names of the deleted
    ones. Folders that are empty then go, too.

    Args:
        labels: their names.
        space: only of this space, or of this table of :func:`shown_names` or folder of imports (a user's own space may
            have changed); by default of every space with such an import.
        store: the cache; by default the user's.

    Raises:
        UnknownName: there is no such space or import; nothing is deleted.
        StorageError: a file cannot be deleted.
    """
    there, shown = saved(store=store), shown_names(store)
    if space is not None:
        folder = next((folder for folder, name in shown.items() if space in (folder, name)), None)
        folder = folder or folder_of(space_named(space).whole)
        there = [p for p in there if p.parent.name == folder]
    for label in labels:
        if all(p.stem != label for p in there):
            raise UnknownName("import", label, {p.stem for p in there})
    gone = [p for p in there if p.stem in labels]
    for path in gone:
        try:
            path.unlink()
        except OSError as error:
            raise StorageError(f"cannot delete {path}: {error.strerror or error}") from error
    for emptied in dict.fromkeys(f for p in gone for f in (p.parent, p.parent.parent)):
        with contextlib.suppress(OSError):  # it is not empty
            emptied.rmdir()
    return [(shown[p.parent.name], p.stem) for p in gone]


# ---- whose imports they are


def folder_of(space: SearchSpace) -> str:
    """Name of the folder of a space's imports.

    Raises:
        InvalidValue: a user's own space has the name of a registered one.
    """
    if _is_registered(space):
        return space.name
    if space.name in SPACES.entries:
        raise InvalidValue(f"{space.name} is the name of a registered space; give your own another name")
    digest = hashlib.sha256(json.dumps(space.identity(), sort_keys=True).encode()).hexdigest()
    return f"{_stem(space)}-{digest[:DIGEST]}"


def _is_registered(space: SearchSpace) -> bool:
    """Whether it is the registered space of its name, or one with the same choices."""
    entry = SPACES.entries.get(space.name)
    if entry is None or entry.family:
        return False
    return bool(SPACES.create(space.name).identity()["choices"] == space.identity()["choices"])


def _stem(space: SearchSpace) -> str:
    """A user's name of a space as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", space.name).lstrip(".")[:60] or "space"


def _earlier(space: SearchSpace, store: Store) -> list[Path]:
    """Imports into a user's own space of this name when it had other choices."""
    if _is_registered(space):
        return []
    shape = re.compile(re.escape(_stem(space)) + f"-[0-9a-f]{{{DIGEST}}}")
    here = folder_of(space)
    found = [p for p in saved(store=store) if shape.fullmatch(p.parent.name) and p.parent.name != here]
    return [path for path in found if _read(path, ("about",))[0].get("space", {}).get("space") == space.name]


def _change(about: dict[str, Any], label: str, space: SearchSpace) -> str | None:
    """How a space differs from what it was when something was imported into it; None where it does not."""
    now = space.identity()
    before = about.get("space", now)  # imports into registered spaces did not always say it
    changed = f"the space {space.name} has changed since {label} was imported"
    for (name, *options), (other, *others) in zip(before["choices"], now["choices"], strict=False):
        if name != other:
            return f"{changed}: its choice {name} is gone, or in another place"
        if options != others:
            return f"{changed}: {name} was chosen among {', '.join(options)}, and now among {', '.join(others)}"
    if len(before["choices"]) != len(now["choices"]):
        return f"{changed}: it had {len(before['choices'])} choices and has {len(now['choices'])}"
    if not _is_registered(space) and before.get("build") != now.get("build"):
        return f"{changed}: it was built with {before.get('build')}, and now with {now.get('build')}"
    return None


def is_there(space: SearchSpace, store: Store | None = None) -> bool:
    """Whether a table of a space was fetched, or something imported into it, even when it had other choices."""
    store = store or Store()
    registered = _is_registered(space)
    return bool(
        saved(folder_of(space), store) or (registered and _fetched(space.name, store)) or _earlier(space, store)
    )


# ---- joined


def load(space: str | SearchSpace, store: Store | None = None, named: str | None = None) -> ColumnTable:
    """The fetched table of a space with all imports, if there are any.

    Args:
        named: the space as the user named it, for messages; by default its name.

    Raises:
        UnknownName: no such space.
        DataError: neither fetched nor imported, imported when the space had other choices, or a file is damaged; the
            message names the command that repairs it.
    """
    space = space_named(space).whole
    store, name = store or Store(), space.name
    has_catalogue = _is_registered(space) and name in tables.names()
    brought = saved(folder_of(space), store)
    if not brought and has_catalogue:
        return tables.load_joined(name, store)
    cure = f"nastk data import FILE.csv --space {named or name} --column NAME:METRIC"
    if not brought:
        for path in _earlier(space, store):
            change = _change(_read(path, ("about",))[0], path.stem, space)
            raise DataError(f"{change}; import it again: {cure}")
        raise DataError(f"nothing was imported into the space {name}; run: {cure}")
    base = tables.load_joined(name, store) if has_catalogue and _fetched(name, store) else None
    return _join(space, base, brought)


def _fetched(space: str, store: Store) -> bool:
    """Whether there is a compiled table, or all files to compile it."""
    return space in tables.names() and tables.is_there(space, store)


def _join(space: SearchSpace, base: ColumnTable | None, brought: Sequence[Path]) -> ColumnTable:
    """The fetched table, if there is one, with the imports in the order in which they were made.

    So an import never takes the place of an earlier one.
    """
    table = base
    for path in sorted(brought, key=lambda path: (_since(path) or np.inf, path)):
        about, archs, values = _read(path, ("about", "archs", "values"))
        if table is None:
            table = ColumnTable(space.name, archs[:0], [], [], [])
        if table.archs.shape[1] != archs.shape[1]:
            expected = f"expected {table.archs.shape[1]} choices, got {archs.shape[1]}"
            raise DataError(f"{path} does not fit the table {space.name} ({expected}); {_cure(path)}")
        if (change := _change(about, path.stem, space)) is not None:
            raise DataError(f"{change}; {_cure(path)}")
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
        columns = _with_new(table.columns, about["columns"], path.stem)
        table = ColumnTable(table.name, joined, columns, blocks, places)
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
            if "space" in about and not {"space", "choices"} <= about["space"].keys():
                raise ValueError("it does not say of which space it is")
            found = [about if name == "about" else content[name] for name in wanted]
        shapes = dict(zip(wanted, found, strict=True))
        n, k = int(about["rows"]), len(about["columns"])
        archs, values = shapes.get("archs"), shapes.get("values")
        if archs is not None and (archs.ndim != 2 or len(archs) != n or archs.dtype.kind != "i"):
            raise ValueError("its architectures are not those that it describes")
        if values is not None and (values.shape != (k, n) or values.dtype.kind != "f"):
            raise ValueError("its values do not fit its architectures")
    except DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}); {_cure(path)}") from error
    return found
