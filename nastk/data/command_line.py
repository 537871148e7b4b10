"""A user's command with placeholders in braces, such as ``python train.py --arch {arch}``; never run by a shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nastk.errors import InvalidValue, UnknownName

NETWORK_FILES = ("onnx", "torchscript", "tflite", "pt2")
"""Placeholders that are replaced by the path of a file that holds the network."""
OF_THE_NETWORK = (*NETWORK_FILES, "arch", "arch_json")
"""Placeholders that say which network is meant; a command without one would answer the same each time."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}|\{(\w+)\}")
"""``{name}``, or ``{{name}}`` for the text ``{name}`` itself. Other braces stand for themselves."""


@dataclass(frozen=True)
class CommandLine:
    """A program and its arguments.

    Args:
        words: the program and its arguments, with placeholders.
        folder: where it runs, and what relative paths in it begin at.
        of: whose command it is, in messages: "device phone".
        purpose: what it does, in messages: "measures".
        known: the placeholders that exist.

    Raises:
        InvalidValue: a value that cannot be used, an unknown placeholder, or none of :data:`OF_THE_NETWORK`.
    """

    words: tuple[str, ...]
    folder: str
    of: str
    purpose: str
    known: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self._named:
            if name not in self.known:
                unknown = UnknownName(f"placeholder of {self.of}:", f"{{{name}}}", _braced(self.known))
                raise InvalidValue(f"{unknown}; the text {{{name}}} itself is written {{{{{name}}}}}")
        if _PLACEHOLDER.search(self.words[0]):
            raise self._wrong(f"the program {self.words[0]!r} holds a placeholder; only its arguments can")
        if not self.uses & set(OF_THE_NETWORK):
            known = ", ".join(_braced(OF_THE_NETWORK))
            raise self._wrong(f"the command does not say which network it {self.purpose}; it needs one of {known}")

    @staticmethod
    def check(words: object, of: str) -> None:
        """Refuse what is no list of a program and its arguments.

        Raises:
            InvalidValue: it is none.
        """
        if isinstance(words, str) or not isinstance(words, (list, tuple)):
            raise InvalidValue(f'{of}: command is a list of texts, such as ["./run.sh", "{{onnx}}"]; got {words!r}')
        if not all(isinstance(word, str) and "\0" not in word for word in words):
            raise InvalidValue(f"{of}: command is a list of texts; got {words!r}")
        if not words or not words[0].strip():
            raise InvalidValue(f"{of}: command is empty")

    @staticmethod
    def split(line: str, of: str) -> tuple[str, ...]:
        """The words of a line as a shell would split it.

        Raises:
            InvalidValue: a quote is not closed.
        """
        try:
            return tuple(shlex.split(line))
        except ValueError as error:
            raise InvalidValue(f"{of} {line!r}: {str(error).lower()}") from None

    def _wrong(self, what: str) -> InvalidValue:
        return InvalidValue(f"{self.of}: {what}")

    @property
    def _named(self) -> list[str]:
        return [match[2] for word in self.words for match in _PLACEHOLDER.finditer(word) if match[2]]

    @cached_property
    def uses(self) -> frozenset[str]:
        """The placeholders of the command."""
        return frozenset(self._named)

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """The arguments, program excluded, with placeholders replaced by `values`."""

        def put(match: re.Match[str]) -> str:
            return f"{{{match[1]}}}" if match[1] else values[match[2]]

        return [_PLACEHOLDER.sub(put, word) for word in self.words[1:]]

    def program(self) -> str:
        """The program's path.

        Raises:
            InvalidValue: there is no such program, or it cannot be executed.
        """
        name = os.path.expanduser(self.words[0])
        if os.path.dirname(name):
            path = Path(self.folder, name)
            if not path.is_file():
                raise self._wrong(f"there is no program {path}")
            if not os.access(path, os.X_OK):
                raise self._wrong(
                    f"{path} cannot be executed: chmod +x it, or begin the command with its interpreter (python, sh)"
                )
            return str(path)
        if (found := shutil.which(name)) is None:
            cure = f"; for the file of that name write ./{name}" if Path(self.folder, name).is_file() else ""
            raise self._wrong(f"there is no program {name!r} on the PATH{cure}")
        return os.path.abspath(found)

    @property
    def _files(self) -> list[str]:
        """The words that may name a file: a program without a folder is looked up on the PATH."""
        return list(self.words if os.path.dirname(self.words[0]) else self.words[1:])

    @property
    def script(self) -> Path | None:
        """The first file that it names, whose edits change what it does: ``train.py`` of ``python train.py``."""
        found = (Path(self.folder, os.path.expanduser(word)) for word in self._files if word)
        return next((path for path in found if path.is_file()), None)

    def identity(self) -> dict[str, object]:
        """What tells it from another command, JSON-able.

        The folder belongs to it where the command names a file by a relative path: ``./measure.sh`` of another folder
        is another program.
        """
        relative = any(not os.path.isabs(word) and word and Path(self.folder, word).is_file() for word in self._files)
        return {"command": list(self.words), **({"folder": self.folder} if relative else {})}


def _braced(names: Iterable[str]) -> list[str]:
    return [f"{{{name}}}" for name in names]


def shown(words: Sequence[str]) -> str:
    """A command in the names of sources: its program, its arguments left out."""
    return " ".join([shlex.quote(words[0]), "..."])
