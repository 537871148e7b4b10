"""What all workers have in common: what they are asked, limits, and what an evaluation is whose process ended."""

from __future__ import annotations

import hashlib
import math
import re
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import Purpose, Record, evaluate_calls, failed_record, is_transient

if TYPE_CHECKING:
    from nastk.search.base import Objective
    from nastk.spaces.base import Archs

Answers = list[list[Record]]
"""For each architecture the record of the objective, then those of others that the same call told."""

Warned = list[tuple[type[Warning], str]]

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
"""Bytes of what may stand before the B of a size."""


@dataclass(frozen=True)
class Call:
    """One evaluation, or one of several architectures together; arguments as of
    :func:`nastk.evaluation.evaluate_calls`."""

    objective: Objective
    others: Sequence[Objective]
    archs: Archs
    fidelity: float | None
    purpose: Purpose = "search"
    retries: int = 0

    def here(self) -> Answers:
        """Evaluate it in this process."""
        return evaluate_calls(self.objective, self.others, self.archs, self.fidelity, self.purpose, self.retries)

    def failed(self, reason: str, seconds: float = math.nan, attempts: int = 1) -> Answers:
        """A failed record for each architecture."""
        return [
            [failed_record(self.objective, arch, self.fidelity, self.purpose, reason, seconds, attempts)]
            for arch in self.archs
        ]

    def each(self) -> list[Call]:
        """The same, of one architecture each."""
        what = self.objective, self.others
        return [Call(*what, arch[None], self.fidelity, self.purpose, self.retries) for arch in self.archs]


class Sent:
    """Objectives as they are sent to another process, once.

    Functions of a notebook or a script are sent by value (cloudpickle), those of a module or file by their name.

    Raises:
        NastkError: they cannot be sent.
    """

    def __init__(self, objectives: Sequence[Objective]):
        import cloudpickle

        try:
            self.content: bytes = cloudpickle.dumps(tuple(objectives))
        except Exception as error:  # whatever an object of the user's raises
            raise NastkError(
                f"an objective cannot be sent to a worker process: {type(error).__name__}: {error}; define its "
                "function at the top level of a module, and let it open files and the like itself"
            ) from error

    @classmethod
    def received(cls, digest: str, content: bytes) -> Sent:
        """What another process sent."""
        sent = cls.__new__(cls)
        sent.content, sent.digest = content, digest
        return sent

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Limits:
    """What an evaluation may take at most; one that takes more is ended, and failed.

    Args:
        timeout: seconds.
        memory: bytes of main memory, of all its processes together.

    Raises:
        InvalidValue: a limit that is not more than 0.
    """

    timeout: float | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.timeout), ("memory_limit", self.memory)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                raise InvalidValue(f"{name} is a number of more than 0; got {value!r}")

    @classmethod
    def of(cls, timeout: float | None, memory: str | float | None) -> Limits:
        """Limits of a number of seconds, and of bytes or a text such as "4GB"."""
        return cls(timeout, parse_size(memory) if isinstance(memory, str) else _whole(memory))


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number == number and abs(number) < math.inf else number


def parse_size(text: str) -> int:
    """The bytes in a text such as ``4GB``, ``500 MB`` or ``1.5GiB``.

    Raises:
        InvalidValue: it is no such text.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([kmgt]i?)?b?", text.strip(), re.ASCII | re.IGNORECASE)
    size = int(float(found[1]) * UNITS[(found[2] or "").lower()]) if found else 0
    if size < 1:
        raise InvalidValue(f"memory limit {text!r}: write a size such as 500MB or 4GB")
    return size


def size_in_words(size: float) -> str:
    """Such as "2 GB" or "1.5 GB"."""
    for unit, many in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= many:
            return f"{size / many:.3g} {unit}"
    return f"{size:.0f} bytes"


def time_in_words(seconds: float) -> str:
    """Such as "60 s", "5 min" or "8 h"."""
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 120 else f"{seconds:.3g} s"


class Ended(Exception):
    """An evaluation's process ended before it answered.

    Args:
        reason: in words.
        seconds: that it ran.
        lasting: whether it would end so again, such as at a limit that the user set.
    """

    def __init__(self, reason: str, seconds: float, lasting: bool = False):
        super().__init__(reason)
        self.reason, self.seconds, self.lasting = reason, seconds, lasting


def with_retries(once: Callable[[Call], Answers], call: Call) -> Answers:
    """Evaluate by `once`, which raises :class:`Ended` where its process ends.

    One that failed for a passing reason, the end of its process included, is tried again `call.retries` times, unless
    the oracle does that by itself. Several together that ended are evaluated one by one: one of them is to blame.
    """
    ones = call.each()
    try:
        first = [(records, _is_settled(call, records)) for records in once(call)]
    except Ended as ended:
        alone = [(call.failed(ended.reason, ended.seconds)[0], ended.lasting)]
        first = alone if len(ones) == 1 else [_attempt(once, one) for one in ones]
    found = []
    for one, (records, settled) in zip(ones, first, strict=True):
        for attempt in range(2, call.retries + 2):
            if settled:
                break
            records, settled = _attempt(once, one)
            records = [replace(record, attempts=attempt) for record in records]
        found.append(records)
    return found


def _attempt(once: Callable[[Call], Answers], call: Call) -> tuple[list[Record], bool]:
    """The records of one architecture, and whether another try is not worth it."""
    try:
        records = once(call)[0]
    except Ended as ended:
        return call.failed(ended.reason, ended.seconds)[0], ended.lasting
    return records, _is_settled(call, records)


def _is_settled(call: Call, records: Sequence[Record]) -> bool:
    first = records[0]
    return first.status == "ok" or not is_transient(first.reason) or call.objective.oracle.handles_retries


class Workers(ABC):
    """Evaluate for one study.

    Attributes:
        isolated: whether each evaluation has a process of its own to end, so that nothing that it does ends a run.
        here: whether they work on this machine, where they would disturb a measurement.
        count: how many evaluations they take at a time.
        sequential: whether one after another is all that they do, so that a study runs as without workers.
    """

    isolated: bool = False
    here: bool = True
    sequential: bool = False

    @property
    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def submit(self, call: Call) -> Future[Answers]:
        """Begin an evaluation; its future raises the errors that end a run."""

    def evaluate(self, call: Call) -> Answers:
        """Evaluate, and wait for it."""
        return self.submit(call).result()

    def wait(self, running: Collection[Future[Answers]], patience: float = 0.0) -> set[Future[Answers]]:
        """Wait until one of these is done, and then `patience` seconds for more of them.

        Returns:
            Those that are done; none where something else may be begun.
        """
        done = wait(running, return_when=FIRST_COMPLETED).done
        return wait(running, timeout=patience).done if patience else done

    def wait_for_all(self, running: Collection[Future[Answers]]) -> None:
        """After Ctrl-C: wait for evaluations that cannot be stopped."""

    def local(self) -> Workers:
        """Workers of one place for what has to be evaluated on this machine; closed with these."""
        return self

    def close(self) -> None:
        """End what is still running, and let go of everything."""


class InProcess(Workers):
    """This process: an evaluation is over when it has been begun."""

    sequential = True

    @property
    def count(self) -> int:
        return 1

    def submit(self, call: Call) -> Future[Answers]:
        answer: Future[Answers] = Future()
        answer.set_result(call.here())
        return answer


class OnExecutor(Workers):
    """Any executor of Python's, such as one of threads, whose owner closes it.

    Args:
        executor: evaluates.
        count: evaluations at a time.
    """

    def __init__(self, executor: Executor, count: int):
        self.executor, self._count = executor, count

    @property
    def count(self) -> int:
        return self._count

    def submit(self, call: Call) -> Future[Answers]:
        return self.executor.submit(
            evaluate_calls, call.objective, call.others, call.archs, call.fidelity, call.purpose, call.retries
        )

    def wait_for_all(self, running: Collection[Future[Answers]]) -> None:
        wait(running)  # the executor waits for what is running anyway


def say(warned: Warned) -> None:
    """Warn here of what a worker process warned of."""
    for kind, text in warned:
        warnings.warn(text, kind, stacklevel=2)


def seconds_since(begun: float) -> float:
    """Of the monotonic clock."""
    return time.monotonic() - begun
