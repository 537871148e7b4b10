"""Which workers evaluate for a search."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from nastk.errors import InvalidValue
from nastk.workers.base import Limits, OnExecutor, Workers


def make_workers(
    executor: Executor | Workers | None = None,
    workers: int | None = None,
    dask: Any = None,
    timeout: float | None = None,
    memory_limit: str | float | None = None,
    logs: Any = None,
) -> Workers | None:
    """The workers that a search asks for; None for the search's own process.

    Args:
        executor: one of Python's.
        workers: processes here; with `executor` evaluations at a time.
        dask: address of a Dask scheduler, ``local:4``, or a client or cluster object.
        timeout, memory_limit: see :class:`Limits`; without workers, one process evaluates.
        logs: folder for what evaluations print; by default a temporary one.

    Raises:
        InvalidValue: no number of workers, or arguments that exclude each other.
        MissingExtra: Dask is not installed.
        NastkError: no Dask scheduler answers there.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidValue(f"workers is a whole number of at least 1; got {workers!r}")
    limits = Limits.of(timeout, memory_limit)
    if executor is not None:
        if dask is not None or limits != Limits():
            raise InvalidValue("timeout, memory_limit and dask are not for an executor of your own; leave it out")
        return executor if isinstance(executor, Workers) else OnExecutor(executor, workers or 1)
    if dask is not None:
        if workers is not None:
            raise InvalidValue("a Dask cluster has workers of its own (dask local:4 starts four); leave workers out")
        from nastk.workers.dask import OnDask

        return OnDask(dask, limits)
    if workers is None and limits == Limits():
        return None
    from nastk.workers.isolated import Isolated

    return Isolated(workers or 1, limits, logs)
