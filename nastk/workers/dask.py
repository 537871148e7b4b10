"""Workers of a Dask cluster (extra ``dask``): any that dask-jobqueue, dask-kubernetes or ``dask worker`` starts.

Each evaluation is given to one Dask worker, on which it has a process of its own (`nastk.workers.isolated`). Where the
Dask worker ends, another one gets it, once: Dask's own rule would begin it up to four times. Workers may come and go
while a search runs.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psutil

from nastk.errors import InvalidValue, NastkError, import_extra
from nastk.evaluation import reason_of
from nastk.workers.base import (
    Answers,
    Call,
    Limits,
    Sent,
    Warned,
    Workers,
    say,
    seconds_since,
    with_retries,
)
from nastk.workers.isolated import Child, Isolated, cores, gpu_of, visible_gpus

DEATHS = 2
"""An evaluation during which its Dask worker ended this often is failed, as where a run ends: one may be a node that
went down, or a queue whose time was over."""

LOOK = 1.0
"""Seconds between two looks at which workers there are."""

CONNECT = 15.0
"""Seconds in which a scheduler answers."""

SILENT = 60.0
"""Seconds without a scheduler's answer after which the run ends."""

IDLE = 600.0
"""Seconds after which a process of another search, on a Dask worker, is ended: its coordinator may be no more."""


@dataclass(eq=False)
class _Job:
    """An evaluation that a Dask worker has, or is to get."""

    call: Call
    sent: Sent
    answer: Future[Answers]
    address: str = ""
    task: Any = None
    lost: bool = False
    deaths: int = 0


class OnDask(Workers):
    """The workers of a Dask cluster; each evaluates as many architectures at a time as it has threads.

    Args:
        cluster: address of a scheduler (``tcp://host:8786``), ``local:4`` to start a cluster of four workers here, or a
            client or cluster object of Dask's.
        limits: of an evaluation.

    Raises:
        MissingExtra: Dask is not installed.
        InvalidValue: no such address.
        NastkError: no scheduler answers there.
    """

    isolated = True

    def __init__(self, cluster: Any, limits: Limits | None = None):
        import_extra("distributed", "dask")
        self.limits = limits or Limits()
        self._session = uuid4().hex
        self._started: Any = None  # a cluster of its own
        self._mine = not hasattr(cluster, "submit")
        self._client = self._connect(cluster) if self._mine else cluster
        self._gpus: list[str] = visible_gpus() if self._started is not None else []
        self._addresses = {address.address for found in psutil.net_if_addrs().values() for address in found}
        self._lock = threading.RLock()
        self._there: dict[str, dict[str, Any]] = {}
        self._running: list[_Job] = []
        self._waiting: list[_Job] = []
        self._sent: dict[tuple[int, ...], tuple[Any, Sent]] = {}
        self._local: Isolated | None = None
        self._closed = threading.Event()
        self._look()
        if not self._there:
            warnings.warn("the Dask cluster has no workers yet; waiting for the first", stacklevel=2)
        self._watcher = threading.Thread(target=self._watch, name="nastk-dask", daemon=True)
        self._watcher.start()

    def _connect(self, cluster: Any) -> Any:
        import distributed

        if isinstance(cluster, str):
            if found := re.fullmatch(r"local(?::(\d{1,4}))?", cluster):
                return distributed.Client(self._start(int(found[1] or cores())), set_as_default=False)
            if "://" not in cluster and not re.fullmatch(r"[\w.-]+:\d+", cluster):
                raise InvalidValue(f"dask {cluster!r}: write a scheduler's address, tcp://host:8786, or local:4")
        try:
            return distributed.Client(cluster, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise NastkError(f"no Dask scheduler answers at {cluster}: {reason_of(error)}") from error

    def _start(self, count: int) -> Any:
        import logging

        import distributed

        if count < 1:
            raise InvalidValue("dask local:0: a cluster has at least one worker")
        threads = os.environ.get("OMP_NUM_THREADS", str(max(cores() // count, 1)))
        self._started = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, memory_limit=0, dashboard_address=None,
            silence_logs=logging.CRITICAL, env={"OMP_NUM_THREADS": threads},
        )  # fmt: skip
        return self._started

    @property
    def count(self) -> int:
        with self._lock:
            return max(sum(int(facts["nthreads"]) for facts in self._there.values()), 1)

    @property
    def here(self) -> bool:  # type: ignore[override]
        """Whether one of the workers is on this machine."""
        if self._started is not None:
            return True
        with self._lock:
            return any(facts["host"] in self._addresses for facts in self._there.values())

    def submit(self, call: Call) -> Future[Answers]:
        objectives = (call.objective, *call.others)
        key = tuple(map(id, objectives))
        if key not in self._sent:  # the objects are kept with it: another one could have the same id later
            self._sent[key] = objectives, Sent(objectives)
        job = _Job(call, self._sent[key][1], Future())
        job.answer.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(job)
            self._place_if_it_answers()
        return job.answer

    def wait(self, running: Collection[Future[Answers]], patience: float = 0.0) -> set[Future[Answers]]:
        before = self.count
        while True:
            done = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED).done
            if done:
                return wait(running, timeout=patience).done if patience else done
            if self.count > before:
                return done

    def local(self) -> Workers:
        if self._local is None:
            self._local = Isolated(1, self.limits)
        return self._local

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            jobs, self._running, self._waiting = self._running, [], []
        for job in jobs:  # their processes are ended by the Dask workers, which look whether they are wanted
            with suppress(Exception):
                job.task.cancel()
        if self._local is not None:
            self._local.close()
        if self._started is None:
            _within(CONNECT, self._client.run, _release, self._session)
        self._watcher.join(CONNECT)
        if self._mine:
            _within(CONNECT, self._client.close, CONNECT)
        if self._started is not None:
            _within(2 * CONNECT, self._started.close, CONNECT)

    # ---- which worker evaluates what

    def _place_if_it_answers(self) -> None:
        """What cannot be given to a worker now, since there is no connection, waits for the next look."""
        with suppress(Exception):
            self._place()

    def _place(self) -> None:
        """Give what is waiting to workers with a free thread."""
        for job in list(self._waiting):
            free = [a for a, facts in self._there.items() if self._load(a) < int(facts["nthreads"])]
            if not free:
                return
            job.address, job.lost = min(free, key=self._load), False
            where = _Place(
                self._session, self.limits, gpu_of(self._gpus, self._number(job.address)),
                [path or os.getcwd() for path in sys.path], os.getcwd(),
            )  # fmt: skip
            call = job.call
            job.task = self._client.submit(
                _evaluate_there, where, job.sent.digest, job.sent.content, call.archs, call.fidelity, call.purpose,
                call.retries, workers=[job.address], allow_other_workers=False, pure=False, key=f"nastk-{uuid4().hex}",
            )  # fmt: skip
            self._waiting.remove(job)
            self._running.append(job)
            job.task.add_done_callback(partial(self._take, job))

    def _load(self, address: str) -> int:
        return sum(job.address == address for job in self._running)

    def _number(self, address: str) -> int:
        name = str(self._there[address].get("name", ""))
        return int(name) if name.isdigit() else 0

    def _take(self, job: _Job, task: Any) -> None:
        """Take the answer of a task that is over."""
        found: Any = None
        error: BaseException | None = None
        try:  # of a worker that ended before it handed its answer over there is none
            if task.status == "finished":
                found = task.result(timeout=CONNECT)
            elif task.status == "error":
                error = task.exception(timeout=CONNECT)
        except Exception:
            found = None
        with self._lock:
            if job not in self._running or task is not job.task:  # given up meanwhile
                return
            if (found is None and error is None) or type(error).__name__ == "KilledWorker":
                job.lost = True  # with its worker, or with the scheduler: that is seen at the next look
                return
            self._running.remove(job)
            self._place_if_it_answers()
        if error is None:
            answers, warned = found
            say(warned)
            job.answer.set_result([[replace(r, attempts=r.attempts + job.deaths) for r in rs] for rs in answers])
        elif isinstance(error, NastkError):
            job.answer.set_exception(error)
        else:
            job.answer.set_exception(NastkError(f"the Dask worker {job.address} cannot evaluate: {reason_of(error)}"))

    def _lose(self, job: _Job) -> None:
        """An evaluation whose worker has ended: another one gets it, or it has failed."""
        self._running.remove(job)
        job.deaths += 1
        with suppress(Exception):
            job.task.cancel()
        if job.deaths < DEATHS:
            self._waiting.insert(0, job)
            self._place_if_it_answers()
            return
        reason = f"its Dask worker ended {job.deaths} times during this evaluation; the last was {job.address}"
        job.answer.set_result(job.call.failed(reason, attempts=job.deaths))

    def _look(self) -> None:
        there = self._client.scheduler_info(n_workers=-1).get("workers")
        if there is None:
            raise ConnectionError("there is no connection")
        with self._lock:
            self._there = {a: facts for a, facts in there.items() if facts.get("status", "running") == "running"}
            for job in list(self._running):
                if job.lost or job.address not in there:
                    self._lose(job)
            self._place()

    def _watch(self) -> None:
        heard = time.monotonic()
        while not self._closed.wait(LOOK):
            try:
                self._look()
                heard = time.monotonic()
            except Exception as error:  # whatever the connection raises: it is tried again, and then the run ends
                if seconds_since(heard) > SILENT and not self._closed.is_set():
                    self._give_up(error)
                    return

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            jobs, self._running, self._waiting = [*self._running, *self._waiting], [], []
        for job in jobs:
            job.answer.set_exception(NastkError(f"the Dask scheduler answers no more: {error}"))


def _within(seconds: float, action: Any, *arguments: Any) -> None:
    """Do something of a cluster that may not answer, for at most so long."""

    def quietly() -> None:
        with suppress(Exception):
            action(*arguments)

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    thread.join(seconds)


# ---- on a Dask worker


class _Place(NamedTuple):
    """Whose processes evaluate, and their surroundings."""

    session: str
    limits: Limits
    variables: dict[str, str]
    paths: list[str]
    folder: str


_idle: dict[str, list[tuple[Child, float]]] = {}
"""Processes of this Dask worker that evaluate nothing, by the search that started them, and since when."""

_lock = threading.Lock()


def _evaluate_there(
    where: _Place, digest: str, content: bytes, archs: Any, fidelity: Any, purpose: Any, retries: int
) -> tuple[Answers, Warned]:
    """Evaluate in a process of this Dask worker. The task of Dask."""
    import pickle

    import distributed

    worker, key = distributed.get_worker(), distributed.get_worker().get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    sys.path += [path for path in where.paths if path not in sys.path and os.path.isdir(path)]
    objective, *others = pickle.loads(content)  # for the records of failures; evaluated in the process
    told: Warned = []
    child = _take_child(where)
    try:
        sent = Sent.received(digest, content)
        call = Call(objective, others, archs, fidelity, purpose, retries)
        return with_retries(lambda one: child.run(one, sent, told.extend, is_wanted), call), told
    finally:
        with _lock:
            _idle.setdefault(where.session, []).append((child, time.monotonic()))


def _take_child(where: _Place) -> Child:
    with _lock:
        if not _idle:
            _end_with_worker()
        for session in list(_idle):
            for child, since in list(_idle[session]) if session != where.session else ():
                if seconds_since(since) > IDLE:
                    _idle[session].remove((child, since))
                    child.kill()
        mine = _idle.setdefault(where.session, [])
        if mine:
            return mine.pop()[0]
    log = Path(tempfile.gettempdir()) / f"nastk-{os.getpid()}-{uuid4().hex[:8]}.log"
    return Child(where.limits, log, where.variables, None, where.paths, where.folder)


def _end_with_worker() -> None:
    """End the idle processes when this one ends; it would wait for them otherwise."""
    from multiprocessing.util import Finalize

    Finalize(None, _release_all, exitpriority=100)


def _release_all() -> None:
    for session in list(_idle):
        _release(session)


def _release(session: str) -> None:
    """End the idle processes of a search."""
    with _lock:
        children = _idle.pop(session, [])
    for child, _ in children:
        child.kill()
        with suppress(OSError):
            child.log.unlink()
