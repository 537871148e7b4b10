"""Official files that users supply because they cannot be fetched by name: one module per form of file.

A module names its SPACE (None if the file or the user names it) and has ``read(paths) -> list[Measurements]``; the
first line of its docstring describes it. Further arguments of ``read`` are command-line options of the
form. ``nastk data import <module> FILE...`` (underscores written as hyphens) adds what it reads to the space's table.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.tables import Column
from nastk.errors import InvalidValue, UnknownName
from nastk.registry import Entry, Registry

_FORMS = Registry("form of file", "nastk.data.official", "")
"""Forms of files by name, one module each."""


@dataclass(frozen=True)
class Measurements:
    """Columns over some architectures of a space.

    Args:
        space: name of the space, which is the name of the table too.
        archs: ``(n, d)``, members of the space, each once.
        columns: description of each column, and its values ``(n,)``, NaN where unknown. The import fills in source and
            checksum.
        label: default name of the import; by default the name of the file.
        files: the files that it was read from; by default all arguments of `read`.
    """

    space: str
    archs: NDArray[np.int64]
    columns: list[tuple[Column, NDArray[np.float64]]]
    label: str | None = None
    files: tuple[Path, ...] = ()


def forms() -> dict[str, Entry]:
    """Every form by name, with its description; imports none of them."""
    return _FORMS.entries


def form(name: str) -> Any:
    """The module of a form.

    Raises:
        UnknownName: no such form; the message proposes the nearest names.
    """
    entry = forms().get(name.replace("_", "-"))
    if entry is None:
        raise UnknownName("form of file", name, forms())
    return entry.target.load() if isinstance(entry.target, EntryPoint) else importlib.import_module(entry.target)


def one_path(paths: Sequence[Path], what: str) -> Path:
    """The only path given, which must exist.

    Raises:
        InvalidValue: there are several, or it does not exist.
    """
    if len(paths) != 1:
        raise InvalidValue(f"{what} is imported alone; got {len(paths)} paths")
    if not paths[0].exists():
        raise InvalidValue(f"{paths[0]}: no such file or folder")
    return paths[0]


def one_file(paths: Sequence[Path], what: str) -> Path:
    """The only path given, which must be a file.

    Raises:
        InvalidValue: there are several, or it is not a file.
    """
    path = one_path(paths, what)
    if path.is_dir():
        raise InvalidValue(f"{path} is a folder; give the file")
    return path
