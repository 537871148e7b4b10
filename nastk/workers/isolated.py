"""Worker processes of this machine: whatever an evaluation does to its process, the search goes on.

A worker process evaluates one architecture after another, so that it imports PyTorch and loads data once. Where an
evaluation takes longer or more memory than it may, the process and all that it started are ended; where the process
ends by itself (a segmentation fault, the system's out-of-memory killer, ``os._exit``), that is seen at once. Either way
the evaluation has failed with a reason in words, and another process takes the place.

Processes are started anew (spawn), not forked: a fork of a process with threads, as PyTorch has them, may hang. The
memory limit watches what the processes hold, and is no ``ulimit``: CUDA reserves far more addresses than memory,
threads reserve stacks that they do not use, and a process that is refused memory ends in as many ways as it has
libraries.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

from nastk.errors import NastkError
from nastk.evaluation import reason_of
from nastk.workers import _child
from nastk.workers.base import (
    Answers,
    Call,
    Ended,
    Limits,
    Sent,
    Warned,
    Workers,
    say,
    seconds_since,
    size_in_words,
    time_in_words,
    with_retries,
)

POLL = 0.05
"""Seconds between two looks at the memory of a process; one that fills memory as fast as it can takes some hundred
megabytes in this time."""

CHILDREN_POLL = 1.0
"""Seconds between two looks for the processes that it started, for which the whole system's list is read."""

STARTS = 3
"""How often a process is started that ends before it can do anything."""

GRACE = 5.0
"""Seconds for an idle process to end by itself, with what it has to tidy up."""

SHOWN = 160
"""Characters of the last output in a reason."""

GIVEN_UP = "was given up"
"""Why an evaluation ended whose run has ended: nothing is recorded of it."""


class Child:
    """One worker process and its successors.

    Args:
        limits: of an evaluation.
        log: file for what evaluations print.
        variables: of its environment.
        threads: of numerical libraries; None for their own choice.
        paths, folder: where it looks for modules, and works; by default as here.
    """

    def __init__(
        self,
        limits: Limits,
        log: Path,
        variables: dict[str, str] | None = None,
        threads: int | None = None,
        paths: Collection[str] | None = None,
        folder: str | None = None,
    ):
        self.limits, self.log = limits, log
        paths = [p or os.getcwd() for p in sys.path] if paths is None else list(paths)
        self._surroundings = (str(log), variables or {}, threads, paths, folder or os.getcwd())
        self._pool: ProcessPoolExecutor | None = None
        self._process: Any = None
        self._has: set[str] = set()
        self._closed = False

    def run(
        self,
        call: Call,
        sent: Sent,
        tell: Callable[[Warned], None] = say,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Answers:
        """Evaluate in the process.

        Args:
            sent: the call's objectives.
            tell: is given the warnings of nastk's own that came in the process.
            is_wanted: looked at now and then; where the answer is wanted no more, the process is ended.

        Raises:
            Ended: the process ended, or was ended.
            NastkError: it cannot be started, or what nastk raises on purpose.
        """
        printed = self._printed()
        answer = self._begin(call, sent)
        begun = time.monotonic()
        timeout = None if self.limits.timeout is None else self.limits.timeout * len(call.archs)
        while not answer.done():
            over = self._watch(answer, begun, timeout, is_wanted)
            if over and not answer.done():
                self._end()
                raise Ended(f"{over}{self._last_output(printed)}", seconds_since(begun), lasting=True)
        try:
            found, warned = answer.result()
        except BrokenProcessPool:
            how = self._how_it_ended()
            self._end()
            raise Ended(f"{how}{self._last_output(printed)}", seconds_since(begun)) from None
        if warned:
            tell(warned)
        if isinstance(found, NastkError):
            raise found
        return found

    def close(self) -> None:
        """End the process: by itself where it is idle, at once where it is not."""
        self._closed = True
        pool, process = self._pool, self._process
        if pool is None:
            return
        pool.shutdown(wait=False, cancel_futures=True)
        if process is not None:
            process.join(GRACE)
        self._end()

    def kill(self) -> None:
        """End the process at once."""
        self._closed = True
        self._end()

    # ---- starting

    def _begin(self, call: Call, sent: Sent) -> Future[Any]:
        """Begin an evaluation; in another process, where the one that was there was killed while it did nothing."""
        what = sent.digest, call.archs, call.fidelity, call.purpose
        self._prepare(sent)
        try:
            return self._submit(_child.evaluate, *what)
        except BrokenProcessPool:
            self._end()
        self._prepare(sent)
        return self._submit(_child.evaluate, *what)

    def _prepare(self, sent: Sent) -> None:
        """A process that has these objectives; its start is no part of an evaluation's time."""
        for left in reversed(range(STARTS)):
            printed = self._printed()
            try:
                if self._pool is None:
                    self._start()
                if sent.digest not in self._has:
                    self._submit(_child.take_in, sent.digest, sent.content).result()
                    self._has.add(sent.digest)
                return
            except BrokenProcessPool:
                code, how = self._status(), self._how_it_ended()
                self._end()
                if self._closed or not left or (code is not None and code >= 0):  # one that was killed may work next
                    raise NastkError(
                        f"a worker process cannot be started: {how}{self._last_output(printed)}. A script that "
                        "searches with workers needs its search under: if __name__ == '__main__':"
                    ) from None
            except (NastkError, Ended):
                raise
            except Exception as error:
                raise NastkError(f"an objective cannot be made in a worker process: {reason_of(error)}") from error

    def _start(self) -> None:
        if self._closed:
            raise NastkError("the workers are closed")
        if multiprocessing.current_process().daemon:  # a Dask worker is one, and those may have no children
            multiprocessing.current_process().daemon = False
        self._has, self._process = set(), None
        self._pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=_child.start, initargs=self._surroundings
        )
        started = self._pool.submit(os.getpid)
        self._process = next(iter(self._pool._processes.values()))  # its pid and how it ended, before it has answered
        started.result()
        if self._closed:
            self._end()

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        pool = self._pool
        if pool is None:  # closed meanwhile
            raise Ended(GIVEN_UP, 0.0, lasting=True)
        return pool.submit(function, *arguments)

    # ---- watching and ending

    def _watch(self, answer: Future[Any], begun: float, timeout: float | None, is_wanted: Callable[[], bool]) -> str:
        """Wait for the answer, or until something is over: what, in words."""
        process, looked = self._process, 0.0
        family = _Family(process.pid if process is not None else -1)
        while True:
            left = None if timeout is None else timeout - seconds_since(begun)
            steps = [left, POLL if self.limits.memory else CHILDREN_POLL]
            if wait([answer], max(min(s for s in steps if s is not None), 0.0)).done:
                return ""
            if timeout is not None and seconds_since(begun) >= timeout:
                return f"ran longer than {time_in_words(timeout)}"
            if self.limits.memory and family.holds_more_than(self.limits.memory):
                return f"used more than {size_in_words(self.limits.memory)} of memory"
            if seconds_since(looked) >= CHILDREN_POLL:
                looked = time.monotonic()
                if self._closed or not is_wanted():
                    return GIVEN_UP

    def _end(self) -> None:
        """End the process and all that it started, at once."""
        pool, process = self._pool, self._process
        self._pool = self._process = None
        self._has = set()
        if process is not None:
            _kill_all(process.pid)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _status(self) -> int | None:
        """The exit status of the process that has ended, minus the number of the signal that ended it."""
        process, until = self._process, time.monotonic() + GRACE
        while process is not None and process.exitcode is None and time.monotonic() < until:
            time.sleep(0.01)  # the pool has seen its end, and its status comes in a moment
        return None if process is None else process.exitcode

    def _how_it_ended(self) -> str:
        code = self._status()
        if code is None:
            return "its process ended"
        if code < 0:
            killed = " (by the system, which had no memory left, or by somebody)" * (-code == signal.SIGKILL)
            return f"its process was ended by {signal.Signals(-code).name}{killed}"
        return f"its process ended itself with status {code}"

    def _printed(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _last_output(self, since: int) -> str:
        """The last line that was printed since then, as an end of a reason."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(since, self._printed() - (1 << 16)))
            lines = file.read().decode("utf-8", errors="replace").replace("\r", "\n").splitlines()
            last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
            if last:
                return f"; last output: {last if len(last) <= SHOWN else f'...{last[-SHOWN:]}'}"
        return ""


class _Family:
    """A process and those that it started.

    Pages that they share count once; that is looked up only where the plain sum is too much, since it takes longer.
    """

    def __init__(self, pid: int):
        self._processes: list[psutil.Process] = []
        self._looked = 0.0
        with suppress(psutil.Error):
            self._processes = [psutil.Process(pid)]

    def holds_more_than(self, limit: int) -> bool:
        if seconds_since(self._looked) >= CHILDREN_POLL:
            self._looked = time.monotonic()
            with suppress(psutil.Error, IndexError):
                self._processes[1:] = self._processes[0].children(recursive=True)
        if sum(_memory(p, shared=True) for p in self._processes) <= limit:
            return False
        return len(self._processes) == 1 or sum(_memory(p, shared=False) for p in self._processes) > limit


def _memory(process: psutil.Process, shared: bool) -> int:
    """Bytes that a process holds, its part of shared pages where not all of them are asked for; 0 if it is gone."""
    try:
        if shared:
            return int(process.memory_info().rss)
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.uss))
    except psutil.Error:
        return 0


def _kill_all(pid: int) -> None:
    """Kill a process, its session and all that descends from it."""
    descendants = []
    with suppress(psutil.Error):
        descendants = psutil.Process(pid).children(recursive=True)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    for process in descendants:
        with suppress(psutil.Error):
            process.kill()
    with suppress(psutil.Error):
        psutil.Process(pid).kill()  # one that ends before it has a session of its own


class Isolated(Workers):
    """Processes of this machine.

    With GPUs each process sees one of them: the i-th the i-th, and so on round, by ``CUDA_VISIBLE_DEVICES``. Numerical
    libraries share the processor's cores among them, unless ``OMP_NUM_THREADS`` says how many threads each gets.

    Args:
        count: of processes, which is how many evaluations there are at a time.
        limits: of an evaluation.
        logs: folder for what evaluations print, ``worker-0.log`` and so on; by default a temporary one.
        gpus: what they see by ``CUDA_VISIBLE_DEVICES``, one each; None to look what there is.
    """

    isolated = True

    def __init__(
        self,
        count: int = 1,
        limits: Limits | None = None,
        logs: str | os.PathLike[str] | None = None,
        gpus: Collection[str] | None = None,
    ):
        self._count, self.limits = count, limits or Limits()
        self.sequential = count == 1
        self._temporary = tempfile.TemporaryDirectory(prefix="nastk-workers-") if logs is None else None
        self.logs = Path(self._temporary.name if self._temporary is not None else logs or ".")
        numbers = list(visible_gpus() if gpus is None else gpus) if count > 1 else []
        threads = None if count == 1 else max(cores() // count, 1)
        self._children = [
            Child(self.limits, self.logs / f"worker-{i}.log", gpu_of(numbers, i), threads) for i in range(count)
        ]
        self._idle: SimpleQueue[Child] = SimpleQueue()
        for child in self._children:
            self._idle.put(child)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="nastk-worker")
        self._sent: dict[tuple[int, ...], tuple[Any, Sent]] = {}
        self._local: Isolated | None = None

    @property
    def count(self) -> int:
        return self._count

    def submit(self, call: Call) -> Future[Answers]:
        return self._threads.submit(self._run, call, self._as_sent(call))

    def local(self) -> Workers:
        if self.sequential:
            return self
        if self._local is None:
            self._local = Isolated(1, self.limits, self.logs / "measuring")
        return self._local

    def close(self) -> None:
        busy = len(self._children) - self._idle.qsize()
        for child in self._children:
            (child.kill if busy else child.close)()
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._local is not None:
            self._local.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _as_sent(self, call: Call) -> Sent:
        objectives = (call.objective, *call.others)
        known = self._sent.get(tuple(map(id, objectives)))
        if known is None:  # the objects are kept with it: another one could have the same id later
            known = self._sent[tuple(map(id, objectives))] = objectives, Sent(objectives)
        return known[1]

    def _run(self, call: Call, sent: Sent) -> Answers:
        child = self._idle.get()
        try:
            child.log.parent.mkdir(parents=True, exist_ok=True)
            return with_retries(lambda one: child.run(one, sent), call)
        finally:
            self._idle.put(child)


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs of this process, as ``CUDA_VISIBLE_DEVICES`` names them."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [part.strip() for part in said.split(",") if part.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def gpu_of(gpus: list[str], worker: int) -> dict[str, str]:
    """The environment of a worker: one of the GPUs, where there are any."""
    return {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if gpus else {}
