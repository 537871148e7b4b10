"""Exporters and runtimes without their reports: on both streams, in logs and in warnings."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator

from nastk.parallel import Uninterrupted

_LOCK = threading.RLock()
"""Held while the streams are diverted: they are the process's, and two threads would restore each other's."""


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Nothing that is written within it, by Python or by libraries in C++, reaches the user; errors still raise.

    Ctrl-C and the like wait for its end: an exporter takes them for an error of the network, libraries in C++ are left
    half-way, modules half imported, and the streams diverted.

    Yields:
        A function that answers what was written so far: libraries that return no reason print one.
    """
    with Uninterrupted(), _LOCK, contextlib.ExitStack() as stack:
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, level)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        caught = stack.enter_context(tempfile.TemporaryFile())
        for descriptor in (1, 2):
            _divert(descriptor, caught.fileno(), stack)
        written = io.StringIO()
        stack.enter_context(contextlib.redirect_stdout(written))
        stack.enter_context(contextlib.redirect_stderr(written))

        def so_far() -> str:
            size = os.fstat(caught.fileno()).st_size
            return os.pread(caught.fileno(), size, 0).decode(errors="replace") + written.getvalue()

        yield so_far


def _divert(descriptor: int, to: int, stack: contextlib.ExitStack) -> None:
    try:
        before = os.dup(descriptor)
    except OSError:  # closed: nothing can be written to it
        return
    os.dup2(to, descriptor)
    stack.callback(os.close, before)
    stack.callback(os.dup2, before, descriptor)


def last_line(text: str, telling: tuple[str, ...]) -> str:
    """The last line with one of these words, else the last that is not empty; without a time in front."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if any(word in line.lower() for word in telling)]
    return re.sub(r"^\[[\d:]+\]\s*:\d+:\s*", "", (named or lines or [""])[-1])


def cause(error: BaseException) -> BaseException:
    """The first of a chain of exceptions: exporters wrap what went wrong in the name of their own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
