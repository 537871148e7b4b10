"""The source code of a user's functions and classes: where it is, and whether it has changed."""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
import types
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

PLAIN = (bool, int, float, str, type(None))
"""Values of a closure that tell it from another one of the same function."""


@dataclass(frozen=True)
class Code:
    """A user's source code.

    Args:
        where: the file, or the name where it was typed in.
        digest: of the source.
        changed: the date of the last change, ``2026-01-31 12:00``; empty where it is unknown.
    """

    where: str
    digest: str
    changed: str = ""

    def __str__(self) -> str:
        return f"{self.where} (changed {self.changed})" if self.changed else self.where


def code_of(thing: Any) -> Code | None:
    """The source of a function or class; None where it belongs to an installed package.

    Of a file it is the whole file: a training recipe is more than the function that runs it.
    """
    thing = _plain_function(thing)
    file = _file_of(thing)
    if file is None:
        body = getattr(thing, "__code__", None)
        return None if body is None else Code(_name_of(thing), _digest(_of_bytecode(body)))
    if _is_installed(file):
        return None
    try:
        content, changed = file.read_bytes(), file.stat().st_mtime
    except OSError:
        return None
    return Code(file.name, _digest(content), datetime.fromtimestamp(changed).strftime("%Y-%m-%d %H:%M"))


def identify(function: Any) -> dict[str, Any]:
    """What tells a function from others, JSON-able: file and name; for what has no name of its own, what it does."""
    if isinstance(function, partial):
        given = repr((function.args, sorted(function.keywords.items())))
        return {**identify(function.func), "arguments": given}
    function = _plain_function(function)
    file = _file_of(function)
    found: dict[str, Any] = {"function": _name_of(function)}
    if file is not None and not _is_installed(file):
        found["file"] = str(file)
    else:
        found["module"] = getattr(function, "__module__", None)
    body = getattr(function, "__code__", None)
    if body is not None and "<lambda>" in found["function"]:
        found["body"] = _digest(_of_bytecode(body))
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _is_filled(cell)]
    if plain := [value for value in cells if isinstance(value, PLAIN)]:
        found["closure"] = plain
    return found


def _plain_function(thing: Any) -> Any:
    """The function or class that a bound method, a partial or an object with ``__call__`` runs."""
    if isinstance(thing, partial):
        return _plain_function(thing.func)
    thing = inspect.unwrap(thing)
    if isinstance(thing, types.MethodType):
        return thing.__func__
    is_code = isinstance(thing, (type, types.FunctionType, types.BuiltinFunctionType))
    return thing if is_code else type(thing)


def _name_of(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", None) or type(thing).__qualname__)


def _file_of(thing: Any) -> Path | None:
    body = getattr(thing, "__code__", None)
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    name = body.co_filename if body is not None else getattr(module, "__file__", None)
    file = Path(name).resolve() if name else None
    return file if file is not None and file.is_file() else None


def _is_installed(file: Path) -> bool:
    """Whether a file is nastk's or in the standard library or an installed package."""
    folders = [Path(__file__).parent, *(Path(sysconfig.get_path(n)) for n in ("stdlib", "purelib", "platlib"))]
    return any(file.is_relative_to(folder.resolve()) for folder in folders)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # the name is not assigned yet
        return False
    return True


def _of_bytecode(body: types.CodeType) -> bytes:
    constants = [c.co_code if isinstance(c, types.CodeType) else repr(c).encode() for c in body.co_consts]
    return b"|".join([body.co_code, *constants, repr(body.co_names).encode()])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
