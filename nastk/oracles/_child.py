"""A program run as a child process: a time limit for all its processes, and no more output than is kept.

Nothing of what it prints reaches the terminal, and it reads nothing from there. It has a process group of its own, so
that Ctrl-C ends it by way of this process, which may have something to save first.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

KEPT = 1 << 20
"""Bytes of each output stream that are kept, its last ones: what is asked for stands at the end."""

GRACE = 0.5
"""Seconds between the request to end and the end by force. A program that talks to a device can stop there."""

POLL = 0.05
"""Seconds between two looks whether the program has ended, where its output stays open."""

GUARD = """
import os, signal, sys, time
parent, group = map(int, sys.argv[1:])
while os.getppid() == parent:
    time.sleep(0.5)
try:
    os.killpg(group, signal.SIGKILL)
except ProcessLookupError:
    pass
"""
"""A process beside the program, which ends it where this process was killed and cannot: a training that nobody waits
for would go on for hours, and write to the same files as the next one of its network."""


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Args:
        status: its exit status, minus the number of the signal that ended it; None where it was ended before its own.
        output, errors: the end of what it printed.
        stopped: whether it was ended since what it printed was enough; else, without a status, its time was over.
    """

    status: int | None
    output: str
    errors: str
    stopped: bool = False


def run_child(
    arguments: Sequence[str],
    folder: str,
    timeout: float,
    watch: Callable[[bytes], bool] | None = None,
    environment: Mapping[str, str] | None = None,
    guarded: bool = False,
) -> Ended:
    """Run a program to its end, to the end of its time, or until what it prints is enough, after which none of its
    process group is left.

    A process that it leaves behind in a group of its own (a server such as adb's) is left alone, and not waited for
    though it holds the output open.

    Args:
        arguments: the program's path, and its arguments.
        folder: where it runs.
        timeout: seconds; may be infinite.
        watch: called with each piece of its standard output; True ends the program.
        environment: variables beside those of this process.
        guarded: end it also where this process is killed.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
        start_new_session=True, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    tails = _Tail(process.stdout, watch), _Tail(process.stderr)
    finished, guard = False, None
    try:
        guard = _guard(process) if guarded else None
        finished = _wait(process, tails, time.monotonic() + timeout)
    finally:
        if not finished:
            _end(process)
        if guard is not None:
            guard.kill()
            guard.wait()
        for tail in tails:
            tail.read_rest()
            tail.stream.close()
    status = process.returncode if finished else None
    output, errors = (tail.text() for tail in tails)
    return Ended(status, output, errors, stopped=any(tail.enough for tail in tails))


def _guard(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Start the process that ends the program's group once this process is no more."""
    arguments = [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), str(process.pid)]
    return subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def _wait(process: subprocess.Popen[bytes], tails: Sequence[_Tail], until: float) -> bool:
    """Read until the process has ended; False where its time was over before, or its output enough."""
    with selectors.DefaultSelector() as waiting:
        for tail in tails:
            waiting.register(tail.stream, selectors.EVENT_READ, tail)
        while waiting.get_map():
            if (left := until - time.monotonic()) <= 0:
                return False
            for key, _ in waiting.select(min(left, POLL)):
                if not key.data.read():
                    waiting.unregister(key.fileobj)
            if any(tail.enough for tail in tails):
                return False
            if process.poll() is not None:
                return True
    try:  # it has closed its output, and may still hang
        process.wait(max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: by request, and after a moment by force."""
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:  # also where a second Ctrl-C cuts the moment short
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Tail:
    """The last :data:`KEPT` bytes of a stream, which is read without waiting; each piece is shown to `watch`."""

    def __init__(self, stream: IO[bytes], watch: Callable[[bytes], bool] | None = None):
        self.stream, self.watch, self.enough = stream, watch, False
        self._bytes = bytearray()
        os.set_blocking(stream.fileno(), False)

    def read(self) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            chunk = os.read(self.stream.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        self._bytes += chunk
        if chunk and self.watch is not None and not self.enough:
            self.enough = self.watch(chunk)
        if len(self._bytes) > 2 * KEPT:
            del self._bytes[:-KEPT]
        return bool(chunk)

    def read_rest(self) -> None:
        """Take what an ended process has left in the pipe; a process that it left behind may go on writing."""
        for _ in range(KEPT >> 16):
            before = len(self._bytes)
            if not self.read() or len(self._bytes) == before:
                return

    def text(self) -> str:
        return self._bytes[-KEPT:].decode("utf-8", errors="replace")
