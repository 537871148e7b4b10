"""Errors that a user can fix: the command line prints each on one line and exits with status 2.

A message states the error and the remedy.
"""

from __future__ import annotations

import difflib
import importlib
import shlex
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


class NastkError(Exception):
    """Base class of all errors that nastk raises on purpose."""


class InvalidValue(NastkError, ValueError):
    """An argument has an invalid value."""


class InvalidArchitecture(InvalidValue):
    """An architecture is malformed or does not belong to the space."""


class Unsupported(NastkError):
    """The object does not support the operation (a space too large to enumerate, a ranker asked for units)."""


class DataError(NastkError):
    """A data file is missing, truncated, altered, or not what it claims to be."""


class StorageError(NastkError):
    """A file or database could not be read or written."""


class StudyHeld(StorageError):
    """Another process runs the study."""


class UnknownName(NastkError, LookupError):
    """No such space, oracle, predictor, searcher, device, data set ...

    Args:
        kind: of the name, in the singular ("predictor").
        name: as the user wrote it.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if close:
            cure = "did you mean " + " or ".join(repr(c) for c in close) + "?"
        elif len(known) <= 12:
            cure = "known: " + (", ".join(known) or "none")
        else:
            cure = "known: " + ", ".join(known[:12]) + f" and {len(known) - 12} more"
        self.kind, self.name, self.known = kind, name, known
        super().__init__(f"unknown {kind} {name!r}; {cure}")

    def __reduce__(self):  # type: ignore[no-untyped-def]  # exceptions pickle by args, which here is the message
        return type(self), (self.kind, self.name, self.known)


class MissingExtra(NastkError, ImportError):
    """An optional dependency is not installed; the message names the extra that provides it."""


class DataWarning(UserWarning):
    """Values were taken that are probably not what they claim to be, or were converted; the message says which and how.

    The command line prints each once, on one line.
    """


NOTES = {"litert": ", with constraints of its own: see docs/microcontrollers.md"}
"""What else there is to know before an extra is installed."""


def installing(extra: str) -> str:
    """The command that installs an extra: of the clone that this is, with its pinned versions, or of the package."""
    clone = Path(__file__).parents[1]
    pins = clone / ("constraints-litert.txt" if extra in ("litert", "mcu") else "constraints.txt")
    if not pins.exists():
        return f"pip install 'nastk[{extra}]'"
    if clone == Path.cwd():
        return f"pip install -c {pins.name} -e '.[{extra}]'"
    return f"pip install -c {shlex.quote(str(pins))} -e {shlex.quote(f'{clone}[{extra}]')}"


def not_installed(what: str, extra: str) -> MissingExtra:
    """The error that names what needs an extra ("this needs onnxruntime"), and the command that installs it."""
    said = f"{what}, which is not installed; install it with: {installing(extra)}"
    return MissingExtra(said + NOTES.get(extra, ""))


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: to import ("onnxruntime").
        extra: of this package that provides it ("onnx").

    Raises:
        MissingExtra: it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise not_installed(f"this needs {module.split('.')[0]}", extra) from error
