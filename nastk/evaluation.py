"""One evaluation: its record, its kind of value, and how one objective of one architecture is evaluated.

Imported by histories, studies, results and reports, and imports none of them.
"""

from __future__ import annotations

import builtins
import gc
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nastk.errors import NastkError

if TYPE_CHECKING:
    from nastk.oracles.base import Evaluation
    from nastk.search.base import Objective
    from nastk.spaces.base import Archs

Purpose = str
"""Why a value was evaluated: "search", within the budget; "verify", beyond it, to verify the front; "verify 1", "verify
2" ... (:func:`of_seed`), beyond it, a training of the front with another seed."""

Key = tuple[tuple[int, ...], str, float | None, str]
"""What identifies an evaluation within a study: architecture, objective, fidelity and purpose."""

Kind = Literal["measured", "table", "estimate", "computed"]
"""Kind of a value: a measurement or training on this machine, of a table, a predictor's estimate, or computed
exactly."""

ISOMORPHIC = "an equal network"
"""Source of a record whose value is that of an isomorphic architecture, instead of an evaluation. Databases hold this
text, so it has to stay."""


@dataclass(frozen=True)
class Record:
    """One evaluation of one objective on one architecture.

    Args:
        arch: the architecture, a row of integers.
        objective: name of the objective.
        value: in the objective's unit; NaN if it failed.
        std: its standard deviation, NaN where unknown.
        cost: seconds it took, NaN where unknown.
        fidelity: at which it was evaluated (training epochs); None where the objective was evaluated as it stands.
        source: where the value comes from ("measured on ...", "table ...").
        status: "ok" or "failed".
        reason: why it failed.
        purpose: "search", or "verify" for evaluations that check a front and are not part of the budget.
        time: when it was recorded, seconds since 1970.
        kind: of the value, see :data:`Kind`.
        attempts: how often it was tried; more than once where a transient failure was tried again.
        charged: whether it counts against the budget of its study.
        study: the study of the same storage that evaluated it, where that was another one; it is not charged then,
            unless the search was asked to reuse what others paid for.
        details: what else the oracle tells of the value, such as a latency's 90th percentile and how steady the machine
            was (`nastk.oracles.Latency`); JSON-able.
    """

    arch: tuple[int, ...]
    objective: str
    value: float
    std: float = float("nan")
    cost: float = float("nan")
    fidelity: float | None = None
    source: str = ""
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""
    purpose: Purpose = "search"
    time: float = field(default_factory=time)
    kind: Kind = "measured"
    attempts: int = 1
    charged: bool = True
    study: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> Key:
        """Identity of the evaluation, of which there is one record at most."""
        return self.arch, self.objective, self.fidelity, self.purpose


@dataclass(frozen=True)
class Identity:
    """What an objective's evaluations are evaluations of: those of equal identity are interchangeable between studies.

    Args:
        digest: of the space (choices and options in order) and the oracle (data set, device, runtime, function).
        target: the fidelity that a record without one has.
        fidelity: the objective's own.
        fidelities: that the oracle has.
        sizes: number of options of each choice of the space.
        code: the user's source code that evaluates: in words, with the date of the last change, by its digest.
    """

    digest: str
    target: float | None = None
    fidelity: float | None = None
    fidelities: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Of the user's source code: its digests; empty where there is none."""
        return "-".join(self.code)

    def edited_since(self, version: str) -> list[str]:
        """The sources, in words, that another version of it did not have."""
        before = version.split("-")
        return [said for digest, said in self.code.items() if version and digest not in before]

    def resolved(self, fidelity: float | None) -> float | None:
        """The fidelity at which a record was evaluated."""
        return self.target if fidelity is None else fidelity

    def recorded(self, resolved: float | None) -> float | None:
        """The inverse of :meth:`resolved`: what the objective's records of this fidelity are filed under."""
        return self.fidelity if resolved == self.target else resolved

    def has(self, resolved: float | None) -> bool:
        """Whether the objective has values of this fidelity."""
        return resolved == self.target or resolved in self.fidelities


def of_seed(number: int) -> Purpose:
    """The purpose of the training with the `number`-th other seed, from 1."""
    return f"verify {number}"


def is_purpose(text: object) -> bool:
    """Whether a text is a purpose of evaluations."""
    return isinstance(text, str) and bool(re.fullmatch(r"search|verify( [1-9][0-9]*)?", text))


def key_of(arch: Iterable[int], objective: str, fidelity: float | None, purpose: Purpose) -> Key:
    """The key of an evaluation: that of its record, :attr:`Record.key`."""
    return tuple(int(v) for v in arch), objective, fidelity, purpose


DETERMINISTIC = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, NotImplementedError,
    SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""Exceptions of a program that does the same again: trying again would only cost another training. What else is raised
(out of memory, a lost connection, a device that hangs, ``sys.exit``) may not come again."""

NO_VALUE = "no value"
"""Reason of a failure without an exception: the oracle answered NaN, as for a diverged training or an unknown row."""


LONGEST_REASON = 300
"""Characters of an exception's message to keep: CUDA's and the exporter's have pages."""


class Failure(Exception):
    """An error that nastk raises on purpose, but in a user's function or network: a failure of that architecture.

    Its message is a reason as :func:`reason_of` writes it.
    """


def is_transient(reason: str) -> bool:
    """Whether a failure may be gone at the next try, by the exception's name at the start of its reason."""
    name = reason.partition(":")[0].rpartition(".")[2]
    kind = getattr(builtins, name, None)
    known = isinstance(kind, type) and issubclass(kind, DETERMINISTIC)
    return reason != NO_VALUE and not known


def reason_of(error: BaseException) -> str:
    """A failure's reason in one line of at most :data:`LONGEST_REASON` characters: the exception's name and message."""
    text = " ".join(str(error).split())
    if len(text) > LONGEST_REASON:
        text = f"{text[:LONGEST_REASON]}..."
    if isinstance(error, Failure):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def evaluate(
    objective: Objective, arch: Archs, fidelity: float | None, purpose: Purpose = "search", retries: int = 0
) -> Record:
    """Evaluate one objective of one architecture ``(d,)``.

    A failure of the oracle is a record with its reason; an error that nastk raises on purpose ends the run.

    Args:
        retries: try a transient failure (see :func:`is_transient`) again, at most this often.
    """
    return evaluate_together(objective, np.asarray(arch)[None], fidelity, purpose, retries)[0]


def evaluate_together(
    objective: Objective, archs: Archs, fidelity: float | None, purpose: Purpose = "search", retries: int = 0
) -> list[Record]:
    """Evaluate one objective of several architectures ``(n, d)`` in one call of its oracle; see :func:`evaluate`."""
    return [records[0] for records in evaluate_calls(objective, (), archs, fidelity, purpose, retries)]


def of_one_call(objective: Objective, objectives: Iterable[Objective]) -> tuple[Objective, ...]:
    """The other objectives whose values an evaluation of this one gives as well; see `Oracle.call`."""
    call = objective.oracle.call
    return () if call is None else tuple(o for o in objectives if o is not objective and o.oracle.call == call)


def evaluate_calls(
    objective: Objective,
    others: Sequence[Objective],
    archs: Archs,
    fidelity: float | None,
    purpose: Purpose = "search",
    retries: int = 0,
) -> list[list[Record]]:
    """Evaluate one objective of several architectures ``(n, d)``, and record what the same calls tell of others. The
    function that an executor's workers run.

    Args:
        others: objectives that an evaluation of this one may give as well (:func:`of_one_call`).
        retries: see :func:`evaluate`; none where the oracle tries again by itself.

    Returns:
        For each architecture the objective's record first, then one of each of the others, then those of lower
        fidelities that the evaluation passed, which are part of it and so are not charged.
    """
    found = _try(objective, others, archs, fidelity, purpose)
    for _ in range(0 if objective.oracle.handles_retries else retries):
        failed = [i for i, (r, *_) in enumerate(found) if r.status == "failed" and is_transient(r.reason)]
        if not failed:
            break
        if any("memory" in found[i][0].reason.lower() for i in failed):
            gc.collect()  # tensors that the failed attempt left behind may be why there was none
        for i in failed:
            again = _try(objective, others, archs[i : i + 1], fidelity, purpose)[0]
            found[i] = [replace(record, attempts=found[i][0].attempts + 1) for record in again]
    return found


def _try(
    objective: Objective, others: Sequence[Objective], archs: Archs, fidelity: float | None, purpose: Purpose
) -> list[list[Record]]:
    oracle, process = objective.oracle, os.getpid()
    folder = _working_directory()
    try:
        answer = oracle.evaluate(archs, fidelity)
    except (NastkError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        # Whatever a user's function or network raises, `sys.exit` and the panic of a library in another language
        # included, is that architecture's failure, never the end of the run.
        if os.getpid() != process:  # a process that the function forked off, and that should end here
            raise
        failure = error
    else:
        reasons = getattr(oracle, "reasons", {})
        return [
            [
                _record(
                    o, arch, at, purpose, of.value[i], of.std[i], of.cost[i],
                    reasons.get(oracle.space.format(arch), NO_VALUE), 1 if of.attempts is None else int(of.attempts[i]),
                    charged, {} if of.details is None else of.details[i],
                )
                for o, of, at, charged in _told(objective, others, answer, fidelity)
                if charged or np.isfinite(of.value[i])
            ]
            for i, arch in enumerate(archs)
        ]  # fmt: skip
    finally:
        if folder is not None and _working_directory() != folder:
            os.chdir(folder)  # a function that changes the working directory must not move what is written later
    if len(archs) > 1:  # one of them is to blame: evaluate each alone
        return [_try(objective, others, arch[None], fidelity, purpose)[0] for arch in archs]
    return [[failed_record(objective, archs[0], fidelity, purpose, reason_of(failure))]]


def _told(
    objective: Objective, others: Sequence[Objective], answer: Evaluation, fidelity: float | None
) -> Iterator[tuple[Objective, Evaluation, float | None, bool]]:
    """What an evaluation told: objective, values, the fidelity that they are recorded under, whether they are charged.

    First the objective that was asked for, then others of the same call, then all of them at lower fidelities, which
    the evaluation passed on its way.
    """
    at = objective.target if fidelity is None else fidelity
    yield objective, answer, fidelity, True
    yield from ((o, answer.others[o.oracle.name], o.at(at), True) for o in others if o.oracle.name in answer.others)
    for lower, of in answer.lower.items():
        yield objective, of, objective.at(lower), False
        yield from ((o, of.others[o.oracle.name], o.at(lower), False) for o in others if o.oracle.name in of.others)


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _record(
    objective: Objective,
    arch: Any,
    fidelity: float | None,
    purpose: Purpose,
    value: float,
    std: float,
    cost: float,
    reason: str,
    attempts: int = 1,
    charged: bool = True,
    details: Mapping[str, Any] | None = None,
) -> Record:
    ok = bool(np.isfinite(value))
    if np.isinf(value):
        reason = f"{value:g} is no finite number"
    elif ok and objective.oracle.kind == "measured" and objective.unit == "%" and "accuracy" in objective.name:
        ok = bool(0 <= value <= 100)
        reason = f"{value:g} % is no {objective.name}, which is from 0 to 100 %"
    return Record(
        tuple(int(v) for v in arch),
        objective.name,
        float(value) if ok else float("nan"),
        float(std),
        float(cost),
        fidelity,
        objective.oracle.source_at(fidelity),
        "ok" if ok else "failed",
        "" if ok else reason,
        purpose,
        kind=objective.oracle.kind,
        attempts=attempts,
        charged=charged,
        details=dict(details or {}) if ok else {},
    )


def failed_record(
    objective: Objective,
    arch: Any,
    fidelity: float | None,
    purpose: Purpose,
    reason: str,
    cost: float = float("nan"),
    attempts: int = 1,
) -> Record:
    """The record of an evaluation that failed for a reason that its oracle could not tell, after `cost` seconds."""
    return _record(objective, arch, fidelity, purpose, np.nan, np.nan, cost, reason, attempts)


def of_isomorphic(record: Record, arch: Sequence[int]) -> Record:
    """The record of an architecture whose value is that of an isomorphic one, at no cost."""
    return Record(
        tuple(int(v) for v in arch), record.objective, record.value, record.std, 0.0, record.fidelity, ISOMORPHIC,
        kind=record.kind,
    )  # fmt: skip
