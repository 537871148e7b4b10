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

import numpy as np

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
    """The source of a function or class, or a script by its path; None where it belongs to an installed package.

    Of a file it is the whole file: a training recipe is more than the function that runs it.
    """
    if isinstance(thing, Path):
        file: Path | None = thing.resolve()
    else:
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


def identify(function: Any, depth: int = 3) -> dict[str, Any]:
    """What tells a function or class from others, JSON-able: file, name, and the values that it carries.

    These are the defaults of its arguments, what it closes over, and the attributes of the object that it is a method
    of, as far as they are numbers, texts, functions, and tuples or dictionaries of them; lists and arrays are left out,
    which are mostly logs. A function that wraps another (`functools.wraps`) is taken for that one.
    """
    if isinstance(function, partial):
        given = [_state(function.args, depth), _state(dict(function.keywords), depth)]
        return {**identify(function.func, depth), "arguments": given}
    owner = getattr(function, "__self__", None)
    plain = _plain_function(function)
    if owner is None and plain is not inspect.unwrap(function):  # an object with __call__
        owner = inspect.unwrap(function)
    file, body = _file_of(plain), getattr(plain, "__code__", None)
    found: dict[str, Any] = {"function": _name_of(plain)}
    if file is not None and not _is_installed(file):
        found["file"] = str(file)
    else:
        found["module"] = getattr(plain, "__module__", None)
    if body is not None and "<lambda>" in found["function"]:
        found["body"] = _digest(_of_bytecode(body))
    names, cells = getattr(body, "co_freevars", ()), getattr(plain, "__closure__", None) or ()
    carried = {
        "closure": {name: cell.cell_contents for name, cell in zip(names, cells, strict=False) if _is_filled(cell)},
        "defaults": getattr(plain, "__defaults__", None) or (),
        "keywords": getattr(plain, "__kwdefaults__", None) or {},
        "object": {} if isinstance(owner, types.ModuleType) else dict(getattr(owner, "__dict__", {})),
    }
    states = {name: _without_unknown(_state(value, depth)) for name, value in carried.items()}
    return found | {name: state for name, state in states.items() if state}


UNKNOWN = "?"
"""Stands for a value that tells nothing, such as a log or an open file."""


def _state(value: Any, depth: int) -> Any:
    """A value as JSON-able content; :data:`UNKNOWN` for what is no number, text or function, or tuple or dictionary."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.generic):
        return repr(value.item())
    if depth and isinstance(value, (tuple, frozenset)):
        ordered = value if isinstance(value, tuple) else sorted(value, key=repr)
        return [_state(v, depth - 1) for v in ordered]
    if depth and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _state(v, depth - 1) for key, v in value.items()}
    if depth and isinstance(value, (types.FunctionType, types.MethodType, type)):
        return identify(value, depth - 1)
    return UNKNOWN


def _without_unknown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_unknown(v) for key, v in value.items() if v != UNKNOWN}
    return value


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
