"""The study: ask, evaluate, record, tell, until the budget is spent; resumes from its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.errors import InvalidValue, NastkError
from nastk.history import History, Purpose, Record, open_history
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from nastk.result import Result

Progress = Callable[[int, int, str], None]

HOPELESS = 5
"""If the first so many evaluations of an objective all fail, the run stops and says why."""


def evaluate(objective: Objective, arch: Archs, fidelity: float | None, purpose: Purpose = "search") -> Record:
    """Pay for one objective of one architecture; an oracle's failure is a record, an error of the user's is raised."""
    row = tuple(int(v) for v in arch)
    oracle = objective.oracle
    try:
        answer = oracle.evaluate(np.asarray(arch)[None], fidelity)
    except NastkError:
        raise
    except Exception as error:
        text = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {text}"
        return Record(
            row, objective.name, float("nan"), fidelity=fidelity, source=oracle.source, status="failed",
            reason=reason, purpose=purpose,
        )  # fmt: skip
    value = float(answer.value[0])
    failed = not np.isfinite(value)
    reason = ""
    if failed:
        reason = getattr(oracle, "reasons", {}).get(oracle.space.format(arch), "no value")
    return Record(
        row, objective.name, float("nan") if failed else value, float(answer.std[0]), float(answer.cost[0]), fidelity,
        oracle.source, "failed" if failed else "ok", reason, purpose,
    )  # fmt: skip


class Study:
    """One search.

    Args:
        searcher: proposes; it has the space, the objectives and the constraints.
        budget: evaluations of each paid objective, in all or by name; failures count. By default the searcher's own.
        history: where records go; in memory by default. One that holds records is resumed.
        batch: proposals asked for at a time.
        executor: evaluates in parallel where given; results are told in the order in which they come in.
        workers: evaluations under way at a time with an executor.
        progress: called with (done, total, objective) after every evaluation.
    """

    def __init__(
        self,
        searcher: Searcher,
        budget: int | Mapping[str, int] | None = None,
        history: History | None = None,
        batch: int = 1,
        executor: Executor | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ):
        self.searcher, self.space = searcher, searcher.space
        self.history = history if history is not None else History()
        self.batch, self.executor, self.workers, self.progress = batch, executor, workers, progress
        if batch < 1 or workers < 1:
            raise InvalidValue(f"batch and workers must be at least 1; got {batch} and {workers}")
        self._objectives = {o.name: o for o in searcher.objectives}
        self.budget = _by_objective(searcher.budget if budget is None else budget, searcher.paid)
        self._pending: list[Proposal] = []

    def run(self) -> Result:
        """Spend what is left of the budget.

        Raises:
            NastkError: nothing can be evaluated; what was paid for is in the history.
            KeyboardInterrupt: as it came; what was paid for is in the history, and the same study goes on from there.
        """
        from nastk.result import Result

        self.searcher.tell(self.history.records("search"))
        state = self.history.state()
        if state is not None:
            self.searcher.load_state(state)
        self._report("")
        if self.executor is None:
            self._run_inline()
        else:
            self._run_parallel(self.executor)
        return Result(self.searcher, self.history)

    def remaining(self) -> dict[str, int]:
        """Evaluations of each paid objective that the budget still allows."""
        spent = self.history.counts("search")
        return {name: max(limit - spent.get(name, 0), 0) for name, limit in self.budget.items()}

    def _run_inline(self) -> None:
        while True:
            proposals = self._ask(self.batch)
            if not proposals:
                return
            for proposal in proposals:
                for name in proposal.objectives:
                    record = evaluate(self._objectives[name], proposal.arch, proposal.fidelity)
                    self._record([record])

    def _run_parallel(self, executor: Executor) -> None:
        running: dict[Future[Record], Proposal] = {}
        try:
            while True:
                free = self.workers - len(running)
                for proposal in self._ask(free) if free else []:
                    self._pending.append(proposal)
                    for name in proposal.objectives:
                        job = executor.submit(evaluate, self._objectives[name], proposal.arch, proposal.fidelity)
                        running[job] = proposal
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for job in done:
                    proposal = running.pop(job)
                    if proposal not in running.values():
                        self._pending = [p for p in self._pending if p is not proposal]
                    self._record([job.result()])
        finally:
            for job in running:
                job.cancel()

    def _ask(self, n: int) -> list[Proposal]:
        """Proposals cut to what the budget allows and what is not known yet; empty when nothing is left to pay for."""
        left = self.remaining()
        for pending in self._pending:
            for name in pending.objectives:
                if self.history.find(pending.arch, name, pending.fidelity) is None:
                    left[name] -= 1
        if not any(v > 0 for v in left.values()):
            return []
        cut: list[Proposal] = []
        for proposal in self.searcher.ask(n, self._pending):
            names = []
            for name in proposal.objectives:
                known = self.history.find(proposal.arch, name, proposal.fidelity)
                if known is None and left.get(name, 0) > 0:
                    left[name] -= 1
                    names.append(name)
            if names:
                cut.append(Proposal(proposal.arch, tuple(names), proposal.fidelity))
        return cut

    def _record(self, records: Sequence[Record]) -> None:
        self.history.add(records, self.searcher.state())
        self.searcher.tell(records)
        self._report(records[-1].objective)
        self._stop_if_hopeless(records[-1])

    def _report(self, label: str) -> None:
        if self.progress is not None:
            spent = self.history.counts("search")
            self.progress(sum(spent.values()), sum(self.budget.values()), label)

    def _stop_if_hopeless(self, last: Record) -> None:
        if last.status == "ok":
            return
        records = [r for r in self.history.records("search") if r.objective == last.objective]
        if len(records) == HOPELESS and all(r.status == "failed" for r in records):
            raise NastkError(f"all of the first {HOPELESS} evaluations of {last.objective} failed; last: {last.reason}")


def _by_objective(budget: int | Mapping[str, int], paid: Sequence[str]) -> dict[str, int]:
    limits = dict.fromkeys(paid, budget) if isinstance(budget, int) else dict(budget)
    for name, limit in limits.items():
        if name not in paid:
            raise InvalidValue(f"the budget names {name!r}, which is not a paid objective (paid: {', '.join(paid)})")
        if limit < 0:
            raise InvalidValue(f"a budget cannot be negative; got {limit} for {name}")
    return {name: limits.get(name, 0) for name in paid}


def search(
    space: SearchSpace | str,
    objectives: Sequence[Oracle | Objective],
    searcher: str = "predictor",
    predictor: Any = None,
    constraints: Sequence[str | Constraint] = (),
    budget: int | Mapping[str, int] = 50,
    measurements: int = 10,
    seed: int = 0,
    storage: str | None = None,
    study: str = "nastk",
    batch: int = 1,
    executor: Executor | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    config: dict[str, Any] | None = None,
    **options: Any,
) -> Result:
    """Search a space; what ``nastk.search(...)`` calls.

    Args:
        space: a space or its name.
        objectives: oracles, the paid ones within the budget and the free ones at will.
        searcher: name of the searcher.
        predictor: for searchers that learn: a name, a predictor, or one by objective.
        constraints: such as ``latency<=10``.
        budget: evaluations of each paid objective.
        measurements: evaluations of a paid objective that a few-shot predictor learns, unless `budget` names it.
        seed: fixes everything that is drawn.
        storage, study: keep the history in a database and resume from it; see `nastk.history.open_history`.
        batch, executor, workers, progress: see :class:`Study`.
        config: further settings that make the study what it is.
        options: of the searcher.

    Raises:
        UnknownName: no such space, searcher or predictor.
        InvalidValue: an argument that cannot be used.

    Example::

        >>> result = nastk.search(space, [accuracy, latency], budget=50, seed=0)
        >>> result.front
    """
    from nastk.registry import SEARCHERS
    from nastk.spaces.factory import space as named

    space = named(space)
    if any(isinstance(o, str) for o in objectives):
        raise InvalidValue("objectives are oracles, such as nastk.benchmark(...).oracle('test_accuracy'), not names")
    goals = [Objective.of(o) for o in objectives]
    paid = [o.name for o in goals if o.paid]
    limits = _by_objective(budget, paid)
    if predictor is not None:
        options["predictor"] = predictor
    made: Searcher = SEARCHERS.create(
        searcher, space, goals, constraints=constraints, seed=seed, budget=limits, **options
    )
    for name in made.few_shot:
        if isinstance(budget, int) or name not in budget:
            limits[name] = made.budget[name] = measurements
    settings = {
        "space": space.name,
        "objectives": [[o.name, o.direction, o.fidelity, o.oracle.source] for o in goals],
        "constraints": [str(c) for c in made.constraints],
        "searcher": searcher,
        "seed": seed,
        **(config or {}),
    }
    history = open_history(storage, study, settings)
    try:
        return Study(made, limits, history, batch, executor, workers, progress).run()
    finally:
        history.close()
