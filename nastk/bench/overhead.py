"""What proposing costs: processor seconds an evaluation, and peak memory, by the number of observations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk import run
from nastk.bench._memory import peak
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.oracles.base import FunctionOracle
from nastk.oracles.goals import Goal, objective_names
from nastk.oracles.table import Benchmark, benchmark
from nastk.parallel import each
from nastk.predictors.base import FewShotPredictor
from nastk.predictors.factory import predictor as named_predictor
from nastk.search.base import Objective, Proposal, Searcher, searcher_class
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.factory import space as named_space

OBSERVATIONS = (100, 300, 1000, 3000)
"""Numbers of observations by default."""

MEASUREMENTS = 10
"""Observations of an objective that a few-shot predictor learns, as in a search."""

PROPOSALS = 20
"""Proposals that are timed by default: the searcher `predictor` scores a whole space anew after every ten."""

DRAWS = 20
"""Random architectures that are drawn for each observation wanted, at most: few remain where many are isomorphic."""


@dataclass(frozen=True)
class _Job:
    """One process; see :func:`run_all`."""

    space: str
    dataset: str | None
    objectives: tuple[str, ...]
    functions: int
    observations: int
    searcher: str
    predictor: str | None
    proposals: int
    batch: int
    seed: int


def run_all(
    space: str = "nasbench201",
    dataset: str | None = None,
    objectives: Sequence[str] = ("test_accuracy",),
    functions: int = 0,
    observations: Sequence[int] = OBSERVATIONS,
    searcher: str = "predictor",
    predictor: str | None = None,
    proposals: int = PROPOSALS,
    batch: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Tell a searcher of random architectures, then ask and tell it further; one process, one thread each.

    Args:
        space: of a table; with `functions` any space, one's own too.
        dataset: of the table.
        objectives: on the table, texts for :meth:`Goal.parse`.
        functions: instead of the table, so many made-up functions of the choices: smooth, the first maximised, the
            others minimised, all expensive and without proxies.
        observations: numbers of architectures told before the clock begins; of a latency that a few-shot predictor
            learns, :data:`MEASUREMENTS`.
        searcher, predictor: names, as of a search.
        proposals: that are timed, in all.
        batch: proposals at a time; by default 1 for one objective, 5 for several.
        seed: of the architectures, the functions and the search.
        progress: called with (done, total) after each number of observations.

    Returns:
        Tidy rows by number of observations: "cpu_seconds" an evaluation, the mean over the proposals that follow the
        first ask; "first_cpu_seconds" of the first ask, which begins with nothing computed; "peak_mb", the most
        memory of the process, its libraries included.

    Raises:
        InvalidValue, UnknownName, DataError: an argument that cannot be used, before anything is timed.
    """
    if functions < 0 or proposals < 1 or seed < 0 or not observations or min(observations) < 2:
        raise InvalidValue("there must be at least one proposal, and two observations")
    if functions and dataset is not None:
        raise InvalidValue(f"made-up functions have no data set; leave out {dataset}")
    count = functions or len(objectives)
    batch = batch or (1 if count == 1 else 5)
    if predictor is not None:
        named_predictor(predictor)
    jobs = [
        _Job(space, dataset, tuple(objectives), functions, n, searcher, predictor, proposals, batch, seed)
        for n in observations
    ]
    searched = _problem(jobs[-1])[1]  # what cannot be used is said before anything is timed
    searcher_class(searcher)
    rows = []
    for done, job in enumerate(jobs, 1):
        ((_, taken),) = each(_time, [job], workers=1, fresh=True)
        rows += [
            {
                "experiment": "overhead", "space": space, "dataset": dataset, "method": searcher,
                "predictor": predictor or "", "samples": job.observations, "proposals": job.proposals,
                "batch": job.batch, "metric": metric, "mean": value,
                "searched": ", ".join(o.name for o in searched),
            }
            for metric, value in taken.items()
        ]  # fmt: skip
        if progress is not None:
            progress(done, len(jobs))
    return rows


def _problem(job: _Job) -> tuple[SearchSpace, list[Objective]]:
    if job.functions:
        whole = named_space(job.space)
        return whole, [_function(whole, j, job.seed) for j in range(job.functions)]
    goals = [Goal.parse(text) for text in job.objectives]
    table: Benchmark = benchmark(job.space, dataset=job.dataset)
    return table.space, [
        Objective(name, goal.oracle(table)) for name, goal in zip(objective_names(goals), goals, strict=True)
    ]


def _function(space: SearchSpace, number: int, seed: int) -> Objective:
    """A smooth function of the choices: a sum over them, and over random pairs of options."""
    rng = np.random.default_rng([seed, number])
    width = int(space.sizes.sum())
    linear, factors = rng.normal(size=width), rng.normal(size=(width, 3))

    def values(archs: Archs) -> NDArray[np.float64]:
        hot = space.one_hot(archs)
        return 50.0 + (hot @ linear + ((hot @ factors) ** 2).sum(axis=1) / space.d) / np.sqrt(space.d)

    name = f"function{number + 1}"
    return Objective(name, FunctionOracle(space, values, name, "", "min" if number else "max"))


def _time(job: _Job) -> dict[str, float]:
    space, goals = _problem(job)
    described = run.describe_objects(
        space, goals, job.searcher, job.predictor, budget=job.observations + 2 * job.proposals + job.batch,
        measurements=min(MEASUREMENTS, job.observations), batch=job.batch, verify=0, seed=job.seed, local_sources=0,
    )  # fmt: skip
    searcher = run.compose(*described).searcher
    models = getattr(searcher, "models", None)
    few = [name for name, model in getattr(models, "templates", {}).items() if isinstance(model, FewShotPredictor)]
    archs, values = _observed(space, goals, job)
    for o in goals:
        if o.expensive:
            told = slice(MEASUREMENTS if o.name in few else None)
            searcher.tell(_records(o, archs[told], values[o.name][told]))
    first = _proposal_seconds(searcher, goals, job.batch)[0]
    taken, proposed = 0.0, 0
    while proposed < job.proposals:
        seconds, n = _proposal_seconds(searcher, goals, job.batch)
        if not n:
            raise InvalidValue(f"{job.space} has no more networks after {job.observations + proposed} observations")
        taken, proposed = taken + seconds, proposed + n
    return {"cpu_seconds": taken / proposed, "first_cpu_seconds": first, "peak_mb": peak()}


def _observed(
    space: SearchSpace, goals: Sequence[Objective], job: _Job
) -> tuple[Archs, dict[str, NDArray[np.float64]]]:
    """Different networks on which every expensive objective is known, and the values."""
    rng = np.random.default_rng([job.seed, 1])
    pool = (
        space.enumerate()[rng.permutation(space.size)]
        if space.enumerable
        else space.sample(DRAWS * job.observations, rng)
    )
    pool = pool[space.distinct(pool)][: 2 * job.observations]
    values = {o.name: o.oracle(pool) for o in goals if o.expensive}
    known = np.flatnonzero(np.isfinite(list(values.values())).all(axis=0))[: job.observations]
    if len(known) < job.observations:
        raise InvalidValue(
            f"{job.space} has {len(known)} networks with all values among those drawn, not {job.observations}"
        )
    return pool[known], {name: of[known] for name, of in values.items()}


def _proposal_seconds(searcher: Searcher, goals: Sequence[Objective], batch: int) -> tuple[float, int]:
    """Processor seconds to propose a batch and to take its results, and how many there were."""
    clock = time.process_time()
    proposals = searcher.ask(batch)
    taken = time.process_time() - clock
    records = [record for o in goals if o.expensive for record in _results(o, proposals)]
    clock = time.process_time()
    searcher.tell(records)
    return taken + time.process_time() - clock, len(proposals)


def _results(objective: Objective, proposals: Sequence[Proposal]) -> list[Record]:
    archs = [p.arch for p in proposals if objective.name in p.objectives]
    return _records(objective, np.array(archs), objective.oracle(np.array(archs))) if archs else []


def _records(objective: Objective, archs: Archs, values: NDArray[np.float64]) -> list[Record]:
    return [
        Record(tuple(map(int, arch)), objective.name, float(value), fidelity=objective.fidelity,
               status="ok" if np.isfinite(value) else "failed")
        for arch, value in zip(archs, values, strict=True)
    ]  # fmt: skip
