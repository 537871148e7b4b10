"""Independent jobs on all cores, one thread each; Ctrl-C stops them immediately, or waits for what must not be cut."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from time import process_time
from types import FrameType
from typing import Any, ClassVar, TypeVar

from threadpoolctl import threadpool_limits

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class _Kept:
    """Processes of :func:`kept_processes`.

    Attributes:
        pool: None before the first jobs, and after an error, whose processes are ended.
        seconds: processor time of the finished jobs.
    """

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None
        self.workers = 0
        self.seconds = 0.0

    def open(self, workers: int) -> ProcessPoolExecutor:
        if self.pool is not None and self.workers != workers:
            self.close()
        if self.pool is None:
            self.pool, self.workers = _pool(workers, False), workers
        return self.pool

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()
        self.pool = None


_kept: _Kept | None = None


@contextmanager
def kept_processes() -> Iterator[None]:
    """A block in which :func:`each` starts its processes once: a start takes seconds, for imports and tables."""
    global _kept
    mine = _Kept()
    before, _kept = _kept, mine
    try:
        yield
    finally:
        mine.close()
        _kept = before


def kept_seconds() -> float:
    """Processor time of the jobs that ended in processes that are kept; they count as children only at their end."""
    return 0.0 if _kept is None else _kept.seconds


def each(
    function: Callable[[Job], Answer],
    jobs: Sequence[Job],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
) -> Iterator[tuple[Job, Answer]]:
    """Yield each job with its result, in the order of completion.

    Args:
        function: defined in a module, so that other processes can import it.
        jobs: its arguments.
        workers: number of processes, by default one per core; with 1 everything runs in this process.
        progress: called with (done, total) after each job.
        fresh: run each job in a new process.
    """
    most = workers or os.cpu_count() or 1
    workers = min(most, max(len(jobs), 1))
    if workers == 1 and not fresh:
        for done, job in enumerate(jobs, 1):
            with one_thread():
                answer = function(job)
            yield job, answer
            if progress:
                progress(done, len(jobs))
        return
    kept = None if fresh else _kept
    pool = _pool(workers, fresh) if kept is None else kept.open(most)
    try:
        futures = {pool.submit(_timed, function, job): job for job in jobs}
        for done, future in enumerate(as_completed(futures), 1):
            answer, seconds = future.result()
            if kept is not None:
                kept.seconds += seconds
            yield futures[future], answer
            if progress:
                progress(done, len(jobs))
    except BaseException:
        for process in list(pool._processes.values()):  # otherwise Ctrl-C would wait for the running jobs
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        if kept is not None:
            kept.pool = None
        raise
    if kept is None:
        pool.shutdown()


def _pool(workers: int, fresh: bool) -> ProcessPoolExecutor:
    context = get_context("spawn")
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, max_tasks_per_child=1 if fresh else None
    )


def _timed(function: Callable[[Job], Answer], job: Job) -> tuple[Answer, float]:
    """The answer, and the processor time that it took."""
    before = process_time()
    return function(job), process_time() - before


ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end."""


class Uninterrupted:
    """A block in which Ctrl-C and requests to end are held back: they take effect after it, or within :meth:`lifted`.

    What was evaluated is recorded in such a block, so that no second Ctrl-C comes between a training and its record.
    Without effect in other threads than the main one, which alone receives signals.
    """

    _waiting: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}

    @classmethod
    def is_asked_to_end(cls) -> bool:
        """Whether a signal is held back: what waits within the block should stop waiting."""
        return bool(cls._waiting)

    def __enter__(self) -> Uninterrupted:
        self._hold()
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Within it, signals take effect at once."""
        self._release()
        try:
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            handler = signal.getsignal(number)
            if callable(handler):  # what ends the process without Python, or is ignored, stays so
                self._handlers[number] = signal.signal(number, self._note)

    def _release(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        held, self._handlers = self._handlers, {}
        if held and self._waiting:
            number, self._waiting[:] = self._waiting[0], []
            signal.raise_signal(number)

    @classmethod
    def _note(cls, number: int, frame: FrameType | None) -> None:
        cls._waiting.append(number)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _limit()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit PyTorch, NumPy and SciPy to one thread within the block."""
    import torch

    before = torch.get_num_threads()
    limits = _limit()
    try:
        yield
    finally:
        limits.restore_original_limits()
        torch.set_num_threads(before)


def _limit() -> threadpool_limits:
    import scipy.linalg  # noqa: F401  it has its own BLAS, and only loaded libraries can be limited
    import torch

    torch.set_num_threads(1)
    return threadpool_limits(1)
