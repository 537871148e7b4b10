"""Standard output and error that end no command: a closed one goes nowhere, and a reader that leaves early is no error.

``nastk list | head -1`` has shown what was asked for, and a command that also writes files has still to write them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


@contextmanager
def forgiving() -> Iterator[None]:
    """Within the block, writing to standard output or error raises neither for a reader that left nor for a character
    that the terminal's encoding lacks. A full disk is still an error."""
    kept = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = (_Forgiving(stream or nowhere) for stream in kept)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = kept


def occupy_standard_descriptors() -> None:
    """Open the null device where the process was started without standard input, output or error (``nastk list >&-``).

    The next file that is opened would get the free number, and what a library writes to that number would end in it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def silence(descriptor: int) -> None:
    """Send what is still in the buffer nowhere, so that the interpreter's own flush at exit has nothing to say."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


CLOSED = (errno.EPIPE, errno.EBADF)
"""Errors of a stream whose reader left, or that a user's function closed."""


class _Forgiving:
    """A text stream whose `write` and `flush` end no command; all else is the stream's own."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._write(text)
        except OSError as error:
            if error.errno not in CLOSED:
                raise
            silence(self._stream.fileno())
            return len(text)

    def _write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError as error:
            known = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            return self._stream.write(known)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            if error.errno not in CLOSED:
                raise
            silence(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
