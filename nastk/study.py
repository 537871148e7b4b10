"""The study: ask, evaluate, record, tell, until the budget is spent; resumes from its history."""

from __future__ import annotations

import math
import sys
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from numbers import Integral
from pickle import PicklingError
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from nastk.errors import DataWarning, InvalidValue, NastkError
from nastk.evaluation import Key, Record, key_of, of_isomorphic, of_one_call
from nastk.history import History
from nastk.oracles.base import THIS_MACHINE
from nastk.parallel import Uninterrupted, one_thread
from nastk.result import Result
from nastk.search.base import Objective, Proposal, Searcher
from nastk.spaces.base import Archs
from nastk.workers.base import Answers, Call, OnExecutor, Workers, time_in_words

Progress = Callable[[float, float, str], None]
"""Called with (done, total, objective)."""

HOPELESS = 5
"""If the first HOPELESS evaluations of an objective all fail, the run stops and says why. Fewer stop a run for bad
luck; more waste evaluations on a broken objective. Later failures stop a run when there are as many as the budget, and
no fewer than this."""

FRUITLESS = 20
"""Consecutive proposals without anything new and affordable, after which the run ends. A searcher may propose known
architectures now and then, and one that does so for ever must not hang the run."""

FRACTIONS = 3
"""Values of a percentage between 0 and 1 after which a user is asked whether they are fractions."""

PATIENCE = 1.0
"""Further results are awaited before the next ask for at most this share of the time that the last one took: with 1, an
ask for several proposals that know of all these results costs no more than two asks one after the other."""


MEASURED_TOGETHER = 2
"""Measurements on this machine that wait, for each worker, until no training begins any more and they can be made.
Workers stand still meanwhile; with more, a search chooses for longer without knowing their results."""


@dataclass(eq=False)
class _Open:
    """A proposal and those of its objectives that have no record yet."""

    proposal: Proposal
    missing: list[str]
    again: bool = False
    """Whether it failed in an earlier run and is tried again: that is no part of the budget, which others have used."""


@dataclass(eq=False)
class _Job:
    """An evaluation that runs: one objective of some proposals.

    Args:
        workers: that evaluate it; None for this process.
        alone: whether nothing runs beside it, to see what it does to its process.
    """

    entries: list[_Open]
    objective: Objective
    fidelity: float | None
    workers: Workers | None
    alone: bool = False

    @property
    def place(self) -> str | None:
        """What it has to itself; see `Oracle.exclusive`."""
        return self.objective.oracle.exclusive

    @property
    def here(self) -> bool:
        """Whether it works on this machine."""
        return self.workers is None or self.workers.here


class Study:
    """One search.

    An evaluation that raises is a failed record with its reason, and the run continues; an error that nastk raises on
    purpose ends it. An evaluation that ended the process of an earlier run is tried alone, and failed if it does so
    again. Proposals that were open when a run ended are evaluated first when it is resumed, so that the same
    architectures are evaluated as without the interruption.

    Not thread-safe: one thread runs a study, and the executor's workers only evaluate.

    Args:
        searcher: proposes; it has the space, the objectives and the constraints.
        budget: evaluations of each expensive objective, in all or by name; each fidelity, low or high, counts as one.
            By default the searcher's own. Where no objective is expensive, a number of
            architectures.
        history: keeps the records; in memory by default. One that holds records is resumed.
        batch: proposals asked for at a time.
        executor: evaluates in parallel where given, one of Python's or `nastk.workers`; results are told in the order
            in which they come in. What is measured on this machine is measured while nothing else runs here.
        workers: concurrent evaluations with an executor of Python's.
        progress: called with (done, total, objective) after every evaluation, as the searcher's
            :meth:`~Searcher.progress` counts, or in evaluations.
        retries: try an evaluation that failed for a transient reason (out of memory, a lost connection: see
            :func:`nastk.evaluation.is_transient`) again, at most this often.
        count_failures: count failed evaluations against the budget. Otherwise others replace them; a run ends when
            there are as many failures as its budget.
        time: seconds of this run after which no evaluation begins; those in progress are finished. None for no limit.
        cost: seconds that the evaluations of the study, those of earlier runs too, may take together: when they are
            used up no evaluation begins. One whose time is unknown, such as a failed one, counts as nothing. None for
            no limit.

    Raises:
        InvalidValue: a budget, batch, time, cost, or number of workers or retries that cannot be used.
    """

    def __init__(
        self,
        searcher: Searcher,
        budget: int | Mapping[str, int] | None = None,
        history: History | None = None,
        batch: int = 1,
        executor: Executor | Workers | None = None,
        workers: int = 1,
        progress: Progress | None = None,
        retries: int = 1,
        count_failures: bool = False,
        time: float | None = None,
        cost: float | None = None,
    ):
        self.searcher, self.space = searcher, searcher.space
        self.history = history if history is not None else History()
        self.batch, self.progress = batch, progress
        if batch < 1 or workers < 1:
            raise InvalidValue(f"batch and workers must be at least 1; got {batch} and {workers}")
        self.workers = OnExecutor(executor, workers) if isinstance(executor, Executor) else executor
        self.time, self.cost = limit_of("time", time), limit_of("cost", cost)
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise InvalidValue(f"retries is a whole number, 0 or more; got {retries!r}")
        self.retries, self.count_failures = retries, count_failures
        self._objectives = {o.name: o for o in searcher.objectives}
        self._evaluable = searcher.expensive or tuple(self._objectives)
        self.budget = budget_by_objective(searcher.budget if budget is None else budget, self._evaluable)
        if searcher.expensive and (unsaid := [name for name in searcher.expensive if name not in self.budget]):
            raise InvalidValue(f"the budget does not say how many evaluations of {', '.join(unsaid)}")
        self._open: list[_Open] = []
        self._by_network: dict[tuple[Hashable, str, float | None], Record] = {}
        self._skipped: dict[tuple[int, ...], list[str]] = {}  # objectives of architectures of which another failed
        self._failures: dict[str, int] = {}  # that were not charged
        self._failed_now: dict[str, int] = {}  # in this run
        self._successes: set[str] = set()
        self._looked_at: set[str] = set()  # objectives whose first values were looked at: are they fractions?
        self._seconds = 0.0  # that evaluations took so far
        self._until = math.inf
        self._ended_by = ""
        self._asking = 0.0  # seconds that the last ask took
        self._shield = Uninterrupted()

    def run(self) -> Result:
        """Spend the remaining budget.

        Raises:
            NastkError: nothing can be evaluated; earlier evaluations are in the history.
            KeyboardInterrupt: passed on; earlier evaluations are in the history, from which the same study resumes.
        """
        self._until = math.inf if self.time is None else monotonic() + self.time
        self._ended_by = ""
        with self._shield:
            try:
                self._resume()
                self._report("")
                if self.workers is None or self.workers.sequential:
                    self._run_inline()
                else:
                    self._run_parallel(self.workers)
                self.history.flush()
            except BaseException as error:
                if not isinstance(error.__cause__, BrokenExecutor):  # a worker's end is its evaluation's doing
                    self.history.abandon()
                raise
        for name in self._evaluable:
            if name not in self._successes and self.history.counts("search").get(name):
                raise self._all_failed(name)
        result = Result(self.searcher, self.history, self.retries, self.workers)
        exhausted = [self._exhausted_note(name) for name in self._evaluable if self._is_exhausted(name)]
        result.notes += [*self.history.notes, *exhausted, *self._limit_notes(), *self._unspent_notes()]
        result.notes += self._fraction_notes(self.searcher.expensive)
        return result

    def remaining(self) -> dict[str, int]:
        """Evaluations of each expensive objective that the budget still allows."""
        spent = self.history.spent("search")
        left = {name: max(limit - spent.get(name, 0), 0) for name, limit in self.budget.items()}
        return {name: 0 if self._is_exhausted(name) else count for name, count in left.items()}

    def _may_begin(self) -> bool:
        """Whether another evaluation may begin: neither the time nor the cost is used up."""
        if self.is_time_up:
            self._ended_by = f"Time was up ({time_in_words(self.time or 0.0)})"
        elif self.cost is not None and self._seconds >= self.cost:
            self._ended_by = f"The evaluations took {time_in_words(self._seconds)} together, their limit"
        return not self._ended_by

    @property
    def is_time_up(self) -> bool:
        """Whether the time of the run is over."""
        return monotonic() >= self._until

    def _limit_notes(self) -> list[str]:
        """That time or cost ended the run, and how much of the budget is left for another one."""
        if not self._ended_by or not (self._open or any(self.remaining().values())):
            return []
        spent = self.history.spent("search")
        left = [f"{spent.get(name, 0)} of {self.budget[name]} evaluations of {name}" for name in self.budget]
        return [f"{self._ended_by} after {' and '.join(left)}; the same search, begun again, goes on."]

    def _is_exhausted(self, name: str) -> bool:
        """Whether so many evaluations failed without being charged that the run ends."""
        return self._failures.get(name, 0) >= max(self.budget.get(name, 0), HOPELESS)

    def _exhausted_note(self, name: str) -> str:
        place, study = self.history.place, getattr(self.history, "study", "")
        again = (
            f"; nastk study retry --storage {place} --study {study} lets the next run try them again" if place else ""
        )
        return f"Stopped: {self._failures[name]} evaluations of {name} failed, as many as its budget allows{again}."

    def _unspent_notes(self) -> list[str]:
        """What is left of the budget where nothing else was proposed: the space, or another budget, is used up."""
        if self.searcher.progress() is not None or self._ended_by:
            return []
        spent = self.history.spent("search")
        return [
            f"{spent.get(name, 0)} of the budget of {self.budget[name]} evaluations of {name} were used: nothing "
            "else was left to propose."
            for name in self.searcher.expensive
            if spent.get(name, 0) < self.budget.get(name, 0) and not self._is_exhausted(name)
        ]

    def _fraction_notes(self, names: Sequence[str]) -> list[str]:
        """Percentages that look like fractions: every value is between 0 and 1."""
        notes = []
        for name in names:
            objective = self._objectives[name]
            values = [r.value for r in self.history.records("search") if r.objective == name and r.status == "ok"]
            measured = objective.unit == "%" and objective.oracle.kind == "measured"
            if measured and len(values) >= FRACTIONS and 0 < max(values) <= 1.0:
                notes.append(
                    f"Every value of {name} is between 0 and 1, as of fractions; it is in %: let the function return "
                    "93.1 and not 0.931."
                )
        return notes

    def _resume(self) -> None:
        records = self.history.records("search")
        self.searcher.tell(records)
        for record in records:
            self._remember(record)
            self._count_failure(record)
        self._seconds = self.history.cost("search")
        state = dict(self.history.state() or {})
        proposed = state.pop("open", [])
        again = state.pop("retry", [])
        self._skipped = {tuple(arch): list(names) for arch, names in state.pop("skipped", [])}
        if state:
            self.searcher.load_state(state)
        self._open = [
            _Open(Proposal(np.array(a, dtype=np.int64), tuple(o), f), [n for n in o if n in self._objectives], True)
            for a, o, f in again
        ]
        self._open += self._cut([Proposal(np.array(a, dtype=np.int64), tuple(o), f) for a, o, f in proposed])

    def _run_inline(self) -> None:
        while True:
            if not self._open:
                self._open = self._ask(self.batch)
            if not self._open or not self._may_begin():
                return
            name = self._open[0].missing[0]
            group = self._alike(self._open, name, self._fidelity(self._open[0].proposal, name), first=True)
            self._evaluate_together(group, self._objectives[name])

    def _alike(self, entries: Iterable[_Open], name: str, fidelity: float | None, first: bool) -> list[_Open]:
        """Those that are evaluated together: where the objective is missing, or the first that is, at this fidelity."""
        group = [
            e
            for e in entries
            if name in e.missing[: 1 if first else None] and self._fidelity(e.proposal, name) == fidelity
        ]
        return self._blameable(group[: self._objectives[name].oracle.together], name, fidelity)

    def _evaluate_together(self, group: list[_Open], objective: Objective) -> None:
        """Evaluate an objective of some proposals, wait for it, and record it."""
        fidelity = self._fidelity(group[0].proposal, objective.name)
        archs = np.array([entry.proposal.arch for entry in group])
        for entry, records in zip(group, self._evaluate(objective, archs, fidelity), strict=True):
            self._record(entry, records)

    def _blameable(self, group: list[_Open], name: str, fidelity: float | None) -> list[_Open]:
        """The first of a group alone where a process ended during one of them: the next end then has one cause."""
        suspect = any(self.history.is_suspect(key_of(e.proposal.arch, name, fidelity, "search")) for e in group)
        return group[:1] if suspect else group

    def _run_parallel(self, workers: Workers) -> None:
        running: dict[Future[Answers], _Job] = {}
        queue = deque(self._open)
        try:
            while True:
                self._fill(workers, queue, running)
                if not running:
                    return
                with self._shield.lifted():
                    # Wait a little for evaluations that are about to end, a fraction of what an ask takes: one ask for
                    # several proposals is cheaper than one each, and the searcher then knows all these results.
                    done = workers.wait(running, PATIENCE * self._asking)
                for answer in done:
                    answers = answer.result()
                    job = running.pop(answer)
                    for entry, records in zip(job.entries, answers, strict=True):
                        self._record(entry, records)
                    for entry in reversed(job.entries):
                        self._requeue(queue, entry)
        except BrokenExecutor as error:
            raise NastkError(f"a worker ended without an answer: {error}") from error
        except (PicklingError, AttributeError) as error:  # CPython 3.11 raises either for a local function
            if isinstance(error, AttributeError) and "pickle" not in str(error):
                raise
            raise NastkError(
                f"an objective cannot be sent to a worker process: {error}; define its function at the top level of a "
                "module, or give an executor of threads"
            ) from error
        finally:
            for answer in running:
                answer.cancel()
            if isinstance(sys.exc_info()[1], KeyboardInterrupt):  # a second Ctrl-C gives up what cannot be stopped
                with suppress(KeyboardInterrupt), self._shield.lifted():
                    workers.wait_for_all(running)
            for answer, job in running.items():  # keep every finished evaluation, whatever else went wrong
                if answer.done() and not answer.cancelled() and answer.exception() is None:
                    with suppress(NastkError):
                        for entry, records in zip(job.entries, answer.result(), strict=True):
                            self._record(entry, records)

    def _fill(self, workers: Workers, queue: deque[_Open], running: dict[Future[Answers], _Job]) -> None:
        """Begin what can be begun, and ask for more as long as there is a free worker."""
        while self._may_begin():
            job = self._next(workers, queue, running)
            if job is None:
                free = workers.count - sum(of.workers is workers for of in running.values())
                if free <= 0 or not self._may_ask(workers, queue, running):
                    return
                begun = perf_counter()
                fresh = self._ask(free)
                self._asking = perf_counter() - begun
                self._open += fresh
                queue.extend(fresh)
                if not fresh:
                    return
                continue
            for entry in job.entries:
                queue.remove(entry)
            if job.workers is None:
                self._evaluate_together(job.entries, job.objective)
                for entry in reversed(job.entries):
                    self._requeue(queue, entry)
            elif (started := self._start(job, queue)) is not None:
                running[started] = job

    def _next(self, workers: Workers, queue: deque[_Open], running: Mapping[Any, _Job]) -> _Job | None:
        """The first evaluation that waits, and for which there is a place.

        There are queues of their own for what the workers evaluate, for each device that is measured, one evaluation
        after another, and for this machine, which is measured while nothing else runs on it.
        """
        jobs = list(running.values())
        here = any(job.here for job in jobs)
        if any(job.alone for job in jobs):
            return None
        first = next(iter(self._waiting_for(queue, THIS_MACHINE)), None)
        if first is not None and not here:
            name = next(n for n in first.missing if self._objectives[n].oracle.exclusive == THIS_MACHINE)
            fidelity = self._fidelity(first.proposal, name)
            group = self._alike(queue, name, fidelity, first=False)
            return _Job(group, self._objectives[name], fidelity, workers.local() if workers.isolated else None)
        quiet = self._is_quiet(workers, queue, running)
        taken = {job.place for job in jobs}
        for entry in queue:
            for name in entry.missing:
                objective, fidelity = self._objectives[name], self._fidelity(entry.proposal, name)
                place = objective.oracle.exclusive
                by = workers.local() if place is not None and workers.isolated else workers
                full = by is workers and sum(job.workers is workers for job in jobs) >= workers.count
                if place == THIS_MACHINE or (place is not None and place in taken) or full or (by.here and quiet):
                    continue
                # a process ended during it before: see what it does alone, where the process is the executor's
                key = key_of(entry.proposal.arch, name, fidelity, "search")
                alone = not workers.isolated and self.history.is_suspect(key)
                if alone and jobs:
                    return None
                return _Job([entry], objective, fidelity, by, alone)
        return None

    def _waiting_for(self, queue: Iterable[_Open], place: str) -> list[_Open]:
        return [e for e in queue if any(self._objectives[name].oracle.exclusive == place for name in e.missing)]

    def _is_quiet(self, workers: Workers, queue: Iterable[_Open], running: Mapping[Any, _Job]) -> bool:
        """Whether nothing else is to begin on this machine: it is measured, or will be when what runs has ended."""
        if any(job.place == THIS_MACHINE for job in running.values()):
            return True
        return len(self._waiting_for(queue, THIS_MACHINE)) >= MEASURED_TOGETHER * workers.count

    def _may_ask(self, workers: Workers, queue: deque[_Open], running: Mapping[Any, _Job]) -> bool:
        """Whether to ask for more. Not beside a measurement on this machine, for which it is to be quiet; nor where as
        much already waits for a place of its own, which more would only join."""
        return not self._is_quiet(workers, queue, running) and len(queue) < MEASURED_TOGETHER * workers.count

    def _start(self, job: _Job, queue: deque[_Open]) -> Future[Answers] | None:
        """Begin a job; those of its proposals that an isomorphic architecture answers are recorded at once."""
        fresh = []
        for entry in job.entries:
            known = self._find_isomorphic(job.objective, entry.proposal.arch, job.fidelity)
            if known is None:
                fresh.append(entry)
            else:
                self._record(entry, [known])
                self._requeue(queue, entry)
        job.entries[:] = fresh
        if not fresh:
            return None
        archs = np.array([entry.proposal.arch for entry in fresh])
        self._begin(job.objective, [key_of(arch, job.objective.name, job.fidelity, "search") for arch in archs])
        others = of_one_call(job.objective, self.searcher.objectives)
        assert job.workers is not None
        return job.workers.submit(Call(job.objective, others, archs, job.fidelity, "search", self.retries))

    def _requeue(self, queue: deque[_Open], entry: _Open) -> None:
        """The other objectives of a proposal come next, one after another: they are not evaluated where one failed."""
        if entry.missing:
            queue.appendleft(entry)

    def _evaluate(self, objective: Objective, archs: Archs, fidelity: float | None) -> list[list[Record]]:
        """Records of `archs`, and of what the same calls tell of other objectives; where isomorphic architectures share
        a value, each network is evaluated once."""
        found = [self._find_isomorphic(objective, arch, fidelity) for arch in archs]
        fresh = archs[[record is None for record in found]]
        answers: Iterator[list[Record]] = iter(())
        if len(fresh):
            self._begin(objective, [key_of(arch, objective.name, fidelity, "search") for arch in fresh])
            others = of_one_call(objective, self.searcher.objectives)
            call = Call(objective, others, fresh, fidelity, "search", self.retries)
            isolated = self.workers is not None and self.workers.isolated
            with self._shield.lifted():
                made = self.workers.evaluate(call) if self.workers is not None and isolated else call.here()
            answers = iter(made)
        return [next(answers) if record is None else [record] for record in found]

    def _begin(self, objective: Objective, keys: Sequence[Key]) -> None:
        if objective.oracle.kind == "measured":  # nothing else runs what could end the process
            self.history.begin(keys)

    def _find_isomorphic(self, objective: Objective, arch: Archs, fidelity: float | None) -> Record | None:
        """The record of this architecture by an isomorphic one's value, or None."""
        if not objective.oracle.per_network:
            return None
        found = self._by_network.get(self._network_key(arch, objective.name, fidelity))
        if found is None:
            return None
        return of_isomorphic(found, arch.tolist())

    def _remember(self, record: Record) -> None:
        objective = self._objectives.get(record.objective)
        if objective is not None and objective.oracle.per_network and record.status == "ok":
            key = self._network_key(record.arch, record.objective, record.fidelity)
            self._by_network.setdefault(key, record)

    def _network_key(self, arch: Any, name: str, fidelity: float | None) -> tuple[Hashable, str, float | None]:
        return self._objectives[name].oracle.keys(np.reshape(arch, (1, -1)))[0], name, fidelity

    def _ask(self, n: int) -> list[_Open]:
        """Ask for proposals, cut to the budget and to unknown values; empty when nothing is left to evaluate."""
        for _ in range(FRUITLESS):
            if not any(self._affordable_counts().values()):
                return []
            # Models have many small matrices: one thread is faster than several, and gives the same digits on every
            # machine. Setting it takes milliseconds, which searchers without models need not wait.
            with self._shield.lifted(), one_thread() if self.searcher.learns else nullcontext():
                proposals = self.searcher.ask(n, [entry.proposal for entry in self._open])
            cut = self._cut(proposals)
            if cut or not proposals:
                return cut
        return []

    def _affordable_counts(self) -> dict[str, int]:
        """Evaluations of each objective that the budget allows beside the open proposals."""
        left = self.remaining()
        for entry in self._open:
            for name in self._told_by(entry.proposal, entry.missing) if not entry.again else ():
                left[name] = max(left.get(name, 0) - 1, 0)
        return left

    def _told_by(self, proposal: Proposal, names: Sequence[str]) -> list[str]:
        """These objectives, and those whose unknown values the same calls will tell: each is charged for them."""
        others = [
            other.name
            for name in names
            if name in self._objectives
            for other in of_one_call(self._objectives[name], self.searcher.objectives)
            if self.history.find(proposal.arch, other.name, self._fidelity(proposal, other.name)) is None
        ]
        return list(dict.fromkeys([*names, *others]))

    def _cut(self, proposals: Sequence[Proposal]) -> list[_Open]:
        """Proposals with the objectives that are unknown, not open already and within the budget.

        What failures left of an objective's budget is for networks on which the others can be evaluated too.
        """
        left = self._affordable_counts()
        replaced = {name: left[name] - self._failures.get(name, 0) for name in left}
        taken = {
            self._key(entry.proposal, name)
            for entry in self._open
            for name in self._told_by(entry.proposal, entry.missing)
        }
        cut: list[_Open] = []
        for proposal in proposals:
            unknown = [
                name
                for name in proposal.objectives or self._evaluable
                if self.history.find(proposal.arch, name, self._fidelity(proposal, name)) is None
                and self._key(proposal, name) not in taken
            ]
            if any(self._is_exhausted(name) for name in unknown):
                continue  # the rest of what was to be evaluated of this network would be of no use
            room = left if all(left.get(name, 0) > 0 for name in unknown) else replaced
            names = [name for name in unknown if room.get(name, 0) > 0]
            for name in self._told_by(proposal, names):
                left[name] = left.get(name, 0) - 1
                replaced[name] = replaced.get(name, 0) - 1
                taken.add(self._key(proposal, name))
            if names:
                cut.append(_Open(proposal, names))
        return cut

    def _fidelity(self, proposal: Proposal, name: str) -> float | None:
        return self._objectives[name].at(proposal.fidelity) if name in self._objectives else None

    def _key(self, proposal: Proposal, name: str) -> tuple[bytes, str, float | None]:
        return np.asarray(proposal.arch, dtype=np.int64).tobytes(), name, self._fidelity(proposal, name)

    def _record(self, entry: _Open, records: Sequence[Record]) -> None:
        """Keep the record that was asked for, and with it, in one step, what the same call told of other objectives."""
        asked = records[0]
        entry.missing.remove(asked.objective)
        kept = [self._account(entry, asked)]
        for record in records[1:]:
            if self._is_welcome(entry, record, asked):
                # Asked for or not, it costs no further evaluation, and so is charged only as far as the budget of its
                # objective has room: the two count as one measurement, of which each model learns its part. A value at
                # another fidelity, such as a lower one that the evaluation passed on its way, is never charged.
                at_fidelity = self._is_at(entry, record)
                room = record.objective in entry.missing or self._affordable_counts().get(record.objective, 0) > 0
                if at_fidelity and record.objective in entry.missing:
                    entry.missing.remove(record.objective)
                kept.append(self._account(entry, replace(record, charged=at_fidelity and room)))
        if asked.status == "failed" and not self.count_failures:
            # Another network replaces this one; what else was to be evaluated of it is better spent on that, unless
            # the failure is tried again.
            if entry.missing:
                self._skipped[asked.arch] = list(entry.missing)
            entry.missing.clear()
        if not entry.missing:
            self._open.remove(entry)
        state = {**self.searcher.state(), "open": self._proposed(again=False)}
        if retries := self._proposed(again=True):
            state["retry"] = retries
        if self._skipped:
            state["skipped"] = [[list(arch), names] for arch, names in self._skipped.items()]
        self.history.add(kept, state)
        self.searcher.tell(kept)
        for record in kept:
            self._take_note(record)

    def _is_at(self, entry: _Open, record: Record) -> bool:
        """Whether a record is of the fidelity at which the proposal wants its objective."""
        return record.fidelity == self._fidelity(entry.proposal, record.objective)

    def _account(self, entry: _Open, record: Record) -> Record:
        """The record as it is charged to the budget."""
        if record.status == "failed":
            return replace(record, charged=self.count_failures)
        return replace(record, charged=False) if entry.again else record

    def _is_welcome(self, entry: _Open, record: Record, asked: Record) -> bool:
        """Whether what a call told besides is kept: a value that is not known, nor asked for by another proposal.

        A metric that the call did not answer is not: where it is asked for, it gets a call of its own, which is tried
        again. But a call that failed as a whole has failed for all that count.
        """
        name = record.objective
        if record.status == "failed" and not (
            asked.status == "failed" and self.count_failures and name in entry.missing
        ):
            return False
        if self.history.find(record.arch, name, record.fidelity) is not None:
            return False
        return not any(
            e is not entry and name in e.missing and tuple(e.proposal.arch) == record.arch for e in self._open
        )

    def _take_note(self, record: Record) -> None:
        """Count a record that was kept, and see whether there is something to say or nothing more to hope for."""
        self._remember(record)
        self._count_failure(record)
        if record.cost == record.cost:
            self._seconds += record.cost
        self._report(record.objective)
        count = self.history.counts("search").get(record.objective, 0)
        if count >= FRACTIONS and record.objective not in self._looked_at:  # soon, before hours are spent
            self._looked_at.add(record.objective)
            for note in self._fraction_notes([record.objective]):
                warnings.warn(note, DataWarning, stacklevel=2)
        if record.status == "failed" and record.objective not in self._successes:
            self._failed_now[record.objective] = self._failed_now.get(record.objective, 0) + 1
            if self._failed_now[record.objective] == HOPELESS:
                raise self._all_failed(record.objective)

    def _proposed(self, again: bool) -> list[list[Any]]:
        """The open proposals, JSON-able; those that are tried again, or the others."""
        return [
            [[int(v) for v in e.proposal.arch], list(e.missing), e.proposal.fidelity]
            for e in self._open
            if e.again == again
        ]

    def _report(self, label: str) -> None:
        if self.progress is not None:
            spent = self.history.spent("search")
            done, total = self.searcher.progress() or (sum(spent.values()), sum(self.budget.values()))
            self.progress(done, total, label)

    def _count_failure(self, record: Record) -> None:
        if record.status == "ok":
            self._successes.add(record.objective)
        elif not record.charged and not record.study:
            self._failures[record.objective] = self._failures.get(record.objective, 0) + 1

    def _all_failed(self, name: str) -> NastkError:
        failed = [r for r in self.history.records("search") if r.objective == name]
        every = f"all {len(failed)} evaluations" if len(failed) > 1 else "the evaluation"
        return NastkError(f"{every} of {name} failed; last: {failed[-1].reason}")


def limit_of(name: str, seconds: float | None) -> float | None:
    """A number of seconds that something may take, or None.

    Raises:
        InvalidValue: it is no number of more than 0.
    """
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 0 < seconds < math.inf):
        raise InvalidValue(f"{name} is a number of seconds of more than 0; got {seconds!r}")
    return seconds


def budget_by_objective(budget: int | Mapping[str, int], evaluable: Sequence[str]) -> dict[str, int]:
    """A budget, in all or by name, as evaluations of each objective that may be evaluated.

    Raises:
        InvalidValue: it names another objective, or is no whole number of 0 or more.
    """
    limits = dict(budget) if isinstance(budget, Mapping) else dict.fromkeys(evaluable, budget)
    for name, limit in limits.items():
        if name not in evaluable:
            raise InvalidValue(
                f"the budget names {name!r}, which is not an expensive objective "
                f"(expensive: {', '.join(evaluable) or 'none'})"
            )
        if not isinstance(limit, Integral) or limit < 0:
            raise InvalidValue(f"a budget is a whole number of evaluations, 0 or more; got {limit!r} for {name}")
    return {name: int(limits[name]) for name in evaluable if name in limits}
