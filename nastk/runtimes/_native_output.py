"""What libraries in C++ print, which Python's own redirection of `sys.stdout` and `sys.stderr` does not see."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator

STREAMS = (1, 2)
"""File descriptors of stdout and stderr."""


@contextlib.contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Keep what is printed within the block, by Python or by native code, off the terminal.

    The whole process's output is redirected, so that of other threads too: keep the block short.

    Yields:
        A function that returns what has been printed so far.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as printed, contextlib.ExitStack() as stack:
        file = printed.fileno()

        def text() -> str:
            printed.flush()
            return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

        for stream in STREAMS:
            stack.enter_context(_redirected(stream, file))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        yield text


@contextlib.contextmanager
def _redirected(stream: int, target: int) -> Iterator[None]:
    try:
        before = os.dup(stream)
    except OSError:  # closed, as in a service: nothing can be printed there
        yield
        return
    try:
        os.dup2(target, stream)
        yield
    finally:
        os.dup2(before, stream)
        os.close(before)
