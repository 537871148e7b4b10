"""Sample efficiency of searchers on a table: regret or hypervolume by number of evaluations, over many seeds."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk import run
from nastk.bench._journal import Journal, each_once
from nastk.bench._virtual import VirtualWorkers
from nastk.bench.problems import Problem, Scores, open_devices, problems, scores
from nastk.encodings.base import Context
from nastk.encodings.base import encoding as _encoding
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.metrics import mean_ci
from nastk.oracles.goals import objective_names
from nastk.oracles.table import CountingOracle, Table, benchmark
from nastk.predictors.base import FewShotPredictor, Predictor, Task
from nastk.predictors.factory import predictor as named_predictor
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.registry import SEARCHERS
from nastk.search.base import Objective, searcher_class
from nastk.spaces.base import SearchSpace

Values = NDArray[np.float64]

SEARCHED = ("random", "pymoo:nsga2", "pareto-local-search", "predictor")
"""Searchers compared by default where there are several objectives."""

DUPLICATES = 0.995
"""Where a target is itself a source, it and the sources that correlate with it (Spearman) above this are left out. A
lower value excludes more useful sources; a higher one lets near-copies of the target leak its values."""


@dataclass(frozen=True)
class _Run:
    """One search; its trace depends on these values alone."""

    problem: Problem
    searcher: str
    seed: int
    budget: int
    sources: tuple[str, ...]
    source_samples: int
    measurements: int
    batch: int
    predictor: str
    brought: str = ""
    in_flight: int = 1
    candidates: int = 0
    blank: bool = False


@dataclass(frozen=True)
class Trace:
    """The course of one search.

    Args:
        rows: rows of the problem's table in the order in which its first expensive objective (on fidelities:
            the first that has some) was evaluated at its target fidelity, ``(n,)``.
        evaluations: all evaluations of expensive objectives by then, ``(n,)``.
        measurements: those of them that measure a device (latencies, energies), ``(n,)``.
        seconds: CPU seconds by then that were not spent on evaluations, ``(n,)``.
        cost: full trainings by then, this one included, ``(n,)``: a model, in which an evaluation at fidelity f costs
            f / target, as a training from scratch. Without fidelities 1, 2, 3 ...
        source_measurements: latencies of other devices from which the latency predictors were pretrained.
    """

    rows: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    measurements: NDArray[np.int64]
    seconds: NDArray[np.float64]
    cost: NDArray[np.float64]
    source_measurements: int = 0

    def within(self, n: float) -> int:
        """How many of the rows cost at most `n` full trainings in all."""
        return int(np.searchsorted(self.cost, n + 1e-9, side="right"))


@dataclass(frozen=True)
class Plan:
    """A comparison on one table that can be run: nothing of it is wrong.

    Args:
        problems, searchers, seeds, budget, blank: as in :func:`plan`.
        runs: by problem, searcher and seed.
    """

    problems: tuple[Problem, ...]
    searchers: tuple[str, ...]
    seeds: int
    budget: int
    runs: Mapping[tuple[Problem, str, int], _Run]
    blank: bool = False


def plan(
    space: str = "nasbench201",
    dataset: str | None = None,
    devices: Sequence[str] | None = None,
    searchers: Sequence[str] = SEARCHED,
    budget: int = 100,
    seeds: int = 10,
    sources: Sequence[str] | None = None,
    source_samples: int = 900,
    measurements: int = 10,
    batch: int | None = None,
    objectives: Sequence[str] | None = None,
    report: str | None = None,
    with_proxies: bool = False,
    predictor: str | None = None,
    in_flight: int = 1,
    candidates: int | None = None,
    blank: bool = False,
) -> Plan:
    """Every searcher on every problem of a table with every seed.

    A searcher that supports it (its class sets `learns_few_shot`) learns latency with few-shot-gp: it evaluates
    `measurements` latencies of the device, and the other objectives within the budget; any other evaluates all
    objectives within the budget. A searcher that takes contexts is given the table's zero-cost proxies where most
    architectures have them. The budget of a searcher on fidelities counts full trainings, short ones as their share,
    and it measures every architecture that it starts.

    Args:
        space, dataset, devices, objectives, report, with_proxies: see `nastk.bench.problems.problems`.
        searchers: names, each with a predictor of its own after an ``@`` if it is to have one: "npenas@brp-nas",
            "predictor@gp@path-counts" (the last is the predictor's encoding).
        budget: evaluations of a run, in full trainings where there are fidelities.
        seeds: repetitions with random seeds 0 to ``seeds - 1``, of the source samples, the target samples and the
            search; adding a searcher changes no other's result.
        sources: source devices of few-shot-gp, those that the table recommends if None. A target among them is left
            out, with the sources that correlate with it above :data:`DUPLICATES`.
        source_samples: architectures per source device.
        measurements: latencies that a searcher with a few-shot predictor evaluates.
        batch: proposals at a time, the same for all searchers; by default 1 for one objective, 5 for several.
        predictor: of expensive objectives, for searchers that take one and have none of their own; by default their
            own. "gp-bma" has the prior that ships for the space, as it has in the searcher `predictor`;
            "transfer-mlp@vec" has another encoding.
        in_flight: evaluations at a time, as by so many workers, whose lengths are drawn (on a virtual clock: nothing
            takes longer). With more than 1, `batch` is not used: each that ends is followed by a proposal.
        candidates: most architectures that a searcher scores at a time, for those that have such a limit; by default
            their own.
        blank: show searchers the choices alone, as categories without meaning: no graph, no isomorphic encodings (each
            is evaluated by itself), no counts, no zero-cost proxies, no shipped prior, no source devices, and latencies
            within the budget like all else. That is what a hyper-parameter optimiser is told. Values and scores are
            those of the same table.

    Raises:
        UnknownName, InvalidValue: an argument that cannot be used.
    """
    if not searchers or budget < 1 or seeds < 1 or in_flight < 1:
        raise InvalidValue("a benchmark needs at least one searcher, one budget, one seed and one evaluation in flight")
    asked = problems(space, dataset, objectives, devices, report, with_proxies)
    if predictor:
        predictor_of(predictor)
    taken = {label: _searcher(label, predictor or "") for label in searchers}
    if predictor and not any(searcher_class(name).learns for name, _ in taken.values()):
        raise InvalidValue(f"none of {', '.join(searchers)} learns; leave out the predictor")
    table = benchmark(space).table
    if blank and sources:
        raise InvalidValue("a blank table has no source devices; leave out --sources, or leave out --blank")
    used = () if blank else tuple(table.source_devices if sources is None else sources)
    for device in used:
        if device not in table.devices():
            raise UnknownName("source device", device, table.devices())
    for problem in asked:
        scored = scores(problem)
        if not any(goal.oracle(scored.table).expensive for goal in problem.goals):
            raise InvalidValue(f"nothing of {problem.searched} is expensive; there is nothing to search")
        shown = scored.blank if blank else scored.table
        for name, its in taken.values():
            if blank and its:
                _refuse_unlearnable(its, shown.space)
            if searcher_class(name).needs_fidelities:
                goals = [goal.oracle(shown) for goal in problem.goals]
                named = [Objective(n, o) for n, o in zip(objective_names(problem.goals), goals, strict=True)]
                SEARCHERS.create(name, shown.space, named)
    if candidates and not any(_limited(name) for name, _ in taken.values()):
        raise InvalidValue(f"none of {', '.join(searchers)} has a limit of candidates; leave out --candidates")
    batch = batch or (1 if len(asked[0].goals) == 1 else 5)
    mine = brought(table)
    runs = {
        (problem, label, seed): _Run(
            problem, name, seed, budget, used, source_samples, measurements, batch, its, mine, in_flight,
            candidates or 0, blank,
        )
        for seed in range(seeds)
        for label, (name, its) in taken.items()
        for problem in asked
    }  # fmt: skip
    return Plan(tuple(asked), tuple(taken), seeds, budget, runs, blank)


def carry_out(
    plans: Sequence[Plan],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> list[Comparison]:
    """Run what was planned, table by table.

    Args:
        workers: processes, by default one a core.
        progress: called with (done, total) after each run.
        journal: a file that keeps every finished run; runs that it holds are not repeated.
    """
    jobs = list(dict.fromkeys(job for planned in plans for job in planned.runs.values()))
    kept = Journal(journal, _written, _read)
    done = dict(each_once(_search, jobs, kept, _settings, workers, progress))
    return [
        Comparison(p.problems, p.searchers, p.seeds, p.budget, {k: done[job] for k, job in p.runs.items()}, p.blank)
        for p in plans
    ]


def compare(
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Comparison:
    """Run every searcher on every problem of one table with every seed: :func:`plan` (`options`) and
    :func:`carry_out`."""
    return carry_out([plan(**options)], workers, progress, journal)[0]


def _searcher(label: str, predictor: str) -> tuple[str, str]:
    """The searcher's name in ``SEARCHER[@PREDICTOR[@ENCODING]]``, and the predictor that it learns with, its own or the
    common one; empty for the searcher's default.

    Raises:
        UnknownName: no such searcher, predictor or encoding.
        InvalidValue: the searcher learns nothing, or the predictor takes no encoding.
    """
    name, at, own = label.partition("@")
    learns = searcher_class(name).learns
    if not at:
        return name, predictor
    if not learns:
        raise InvalidValue(f"{name} learns nothing; write {name}")
    predictor_of(own)
    return name, own


def _search(job: _Run) -> Trace:
    """One run; spies count the values that the searcher saw of its expensive objectives."""
    scored = scores(job.problem)
    shown = scored.blank if job.blank else scored.table
    spies = [CountingOracle(goal.oracle(shown)) for goal in job.problem.goals]
    goals = [Objective(name, spy) for name, spy in zip(objective_names(job.problem.goals), spies, strict=True)]
    expensive = [goal for goal in goals if goal.expensive]
    seed = zlib.crc32(
        f"search/{job.problem.space}/{job.problem.dataset}/{job.problem.device}/{job.searcher}/{job.seed}".encode()
    )
    kind = searcher_class(job.searcher)
    latencies = [o for o in expensive if o.oracle.few_shot] if kind.learns_few_shot and not job.blank else []
    # A search for latencies alone would be over after a few measurements: there they are learned like all else, so
    # that budgets mean the same for every searcher.
    few = bool(latencies) and len(latencies) < len(expensive) and min(job.measurements, job.budget) >= 2
    models: dict[str, Any] = {goal.name: _latency_predictor(job, goal) for goal in latencies} if few else {}
    if job.predictor and kind.learns:
        models |= {goal.name: predictor_of(job.predictor) for goal in expensive if goal.name not in models}
    measurements = min(job.measurements, job.budget) if few else None
    described = run.describe_objects(
        shown.space, goals, job.searcher, models or None, budget=job.budget, measurements=measurements, batch=job.batch,
        verify=0, seed=seed, retries=0, count_failures=True,  # an unknown value of a table stays unknown
        options={"candidates": job.candidates} if job.candidates and _limited(job.searcher) else None,
    )  # fmt: skip
    search = run.compose(*described)
    clock = _Clock()
    for spy in spies:
        clock.leave_out(spy)
    virtual = VirtualWorkers(job.in_flight, job.seed) if job.in_flight > 1 else None
    history = search.search(progress=clock, executor=virtual).history
    counts = history.counts()
    for goal, spy in zip(goals, spies, strict=True):
        if goal.expensive and spy.count != counts.get(goal.name, 0):
            raise RuntimeError(f"{job.searcher} saw values of {goal.name} that the study did not evaluate")
    records = history.records()
    staged = kind.needs_fidelities
    main = next(goal for goal in expensive if not staged or len(goal.oracle.fidelities))
    trained = np.array([r.objective == main.name for r in records], dtype=bool)
    evaluated = trained & [main.is_target(r.fidelity) for r in records]
    archs = np.array([r.arch for r in records], dtype=np.int64).reshape(-1, shown.space.d)[evaluated]
    on_devices = {goal.name for goal in expensive if goal.oracle.device is not None}
    paid = np.arange(1, len(records) + 1)
    measured = np.cumsum([r.objective in on_devices for r in records])
    before_next = np.append(np.flatnonzero(evaluated)[1:], len(records)) - 1
    cost = np.cumsum([main.share(r.fidelity) if r.objective == main.name else 0.0 for r in records])[evaluated]
    return Trace(
        scored.table.table.rows(archs),
        paid[before_next],
        measured[before_next],
        np.array(clock.seconds)[evaluated],
        cost,
        _source_measurements(job, models.values()),
    )


def predictor_of(name: str) -> str | Predictor:
    """The name of a predictor, or one with the encoding after an ``@``.

    Raises:
        UnknownName: no such predictor, or no such encoding.
        InvalidValue: the predictor takes no encoding.
    """
    base, _, encoding = name.partition("@")
    if not encoding:
        named_predictor(name)
        return name
    if "encoding" not in vars(named_predictor(base)):
        raise InvalidValue(f"{base} takes no encoding; write {base}")
    _encoding(encoding)
    return named_predictor(base, encoding=encoding)


def _refuse_unlearnable(name: str, space: SearchSpace) -> None:
    """Refuse a predictor that needs more of a blank space than its choices.

    Raises:
        InvalidValue: it does.
    """
    base, _, its = name.partition("@")
    why = "learns from source devices" if isinstance(named_predictor(base), FewShotPredictor) else ""
    if not why and its:
        try:
            _encoding(its).fit(space, Context())
        except (InvalidValue, Unsupported) as error:
            why = f"cannot be encoded: {error}"
    if why:
        raise InvalidValue(f"--blank: {name} {why}; a blank table shows choices alone")


def _limited(searcher: str) -> bool:
    """Whether a searcher scores at most so many candidates at a time."""
    return "candidates" in inspect.signature(searcher_class(searcher)).parameters


def _source_measurements(job: _Run, models: Iterable[Any]) -> int:
    """Different latencies from which few-shot predictors were pretrained: of the same architectures on every source."""
    devices = {device for model in models if isinstance(model, FewShotGP) for device in model.devices}
    return len(devices) * min(job.source_samples, len(benchmark(job.problem.space).table)) if devices else 0


class _Clock:
    """CPU seconds at each record, without those that the oracles took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start, self._oracles = process_time(), 0.0

    def leave_out(self, oracle: CountingOracle) -> None:
        """Do not count what this oracle takes."""
        evaluate = oracle._evaluate

        def timed(archs: Any, fidelity: float | None) -> Any:
            start = process_time()
            try:
                return evaluate(archs, fidelity)
            finally:
                self._oracles += process_time() - start

        oracle._evaluate = timed  # type: ignore[method-assign]

    def __call__(self, done: float, total: float, objective: str) -> None:
        if objective:
            self.seconds.append(process_time() - self._start - self._oracles)


def _latency_predictor(job: _Run, goal: Objective) -> Predictor:
    device = str(getattr(goal.oracle, "device", ""))
    few = _pretrain(job.problem.space, job.problem.dataset, job.sources, job.source_samples, job.seed)
    return few.without([device], DUPLICATES) if device in few.devices else few


@lru_cache(maxsize=4)
def _pretrain(space: str, dataset: str | None, sources: tuple[str, ...], samples: int, seed: int) -> FewShotGP:
    """few-shot-gp pretrained on random samples of the sources."""
    few = FewShotGP()
    return few.pretrain(source_tasks(space, dataset, sources, samples, seed)) if sources else few


def source_tasks(
    space: str, dataset: str | None, sources: Sequence[str], samples: int, seed: int, metric: str = "latency"
) -> list[Task]:
    """A task for each source device: the same random architectures on all, without those that could not be run."""
    table = benchmark(space, dataset=dataset)
    whole = table.space.whole
    archs = table.space.enumerate()
    rng = np.random.default_rng([zlib.crc32(b"sources"), seed])
    rows = rng.choice(len(archs), min(samples, len(archs)), replace=False)
    tasks = []
    for device in sources:
        values, unit = table.values(metric, device=device)[rows], table.oracle(metric, device=device).unit
        known = np.isfinite(values)  # some networks could not be run
        tasks.append(Task(whole, archs[rows[known]], values[known], metric, unit, "min", device=device))
    return tasks


# ---- runs on disk


def _written(trace: Trace) -> dict[str, Any]:
    return {k: np.asarray(v).tolist() for k, v in asdict(trace).items()}


def _read(entry: Mapping[str, Any]) -> Trace:
    """A trace; KeyError for one of an earlier version, which does not say what was paid."""
    columns = {k: np.array(entry[k]) for k in ("rows", "evaluations", "measurements", "seconds", "cost")}
    return Trace(**columns, source_measurements=int(entry["source_measurements"]))


def _settings(job: _Run) -> dict[str, Any]:
    facts = asdict(job)
    # a run of an earlier version does not say them
    later = {"brought": "", "in_flight": 1, "candidates": 0, "blank": False}
    return {k: v for k, v in facts.items() if k not in later or v != later[k]}


def brought(table: Table) -> str:
    """Digest of what a user brought, an own space and imported columns, with which finished runs are no longer these;
    empty where the whole table was fetched."""
    columns = [[c.label, c.sha256] for c in table.columns if c.source.startswith("imported from ")]
    if not columns:
        return ""
    return hashlib.sha256(json.dumps([table.space.whole.identity(), columns]).encode()).hexdigest()[:16]


# ---- results


@dataclass(frozen=True)
class Comparison:
    """Finished runs of searchers on problems that differ in their devices.

    Args:
        problems, searchers, seeds, budget, blank: as in :func:`plan`.
        traces: by problem, searcher and seed.
    """

    problems: tuple[Problem, ...]
    searchers: tuple[str, ...]
    seeds: int
    budget: int
    traces: Mapping[tuple[Problem, str, int], Trace]
    blank: bool = False

    @property
    def single(self) -> bool:
        """Whether there is one objective, whose metric is regret and not hypervolume."""
        return len(self.problems[0].goals) == 1

    @property
    def staged(self) -> bool:
        """Whether a searcher evaluated lower fidelities, so that the budget counts full trainings."""
        return any(len(t.cost) and t.cost[-1] != len(t.cost) for t in self.traces.values())

    @property
    def main_metric(self) -> str:
        """The metric that ranks searchers."""
        return "regret" if self.single else "hypervolume"

    def values(self, metric: str, searcher: str, problem: Problem, n: int) -> Values:
        """A metric of each seed after `n` evaluations, or as many full trainings by :class:`Trace`, ``(seeds,)``.

        Args:
            metric: "regret" (in the metric's unit) or "evaluations_to_best" and "evaluations_to_0.1" for one objective,
                "hypervolume" or "igd_plus" for several; "overhead_ms", the searcher's own CPU time an evaluation.
                Where nothing is known at the target fidelity yet, the hypervolume is 0 and the others are NaN.
        """
        runs = (self.traces[problem, searcher, seed] for seed in range(self.seeds))
        return np.array([_value(metric, trace, scores(problem), n) for trace in runs])

    def rows(self, budgets: Sequence[int]) -> list[dict[str, Any]]:
        """Tidy rows, one per searcher, device, budget and metric; device "*" is the mean over several devices.

        ``samples`` is the budget; ``evaluations`` are all that were paid by then, over all expensive objectives,
        ``measurements`` those of them on a device, and ``source_measurements`` the latencies of other devices that the
        latency predictor learned before: the most of any run.

        For one objective there are, at the largest budget, the medians of the evaluations until the best and until
        within 0.1 of it: without interval, and NaN where half of the runs do not get there.
        """
        wanted = sorted({min(n, self.budget) for n in budgets})
        timeless = ["regret", "overhead_ms"] if self.single else ["hypervolume", "igd_plus", "overhead_ms"]
        return [
            row
            for searcher in self.searchers
            for n in wanted
            for metric in [*timeless, *(UNTIL if self.single and n == wanted[-1] else ())]
            for row in self._rows(searcher, n, metric)
        ]

    def _rows(self, searcher: str, n: int, metric: str) -> list[dict[str, Any]]:
        values = {p.device: self.values(metric, searcher, p, n) for p in self.problems}
        facts = {p.device: (p.searched, p.reported, _reference(metric, scores(p))) for p in self.problems}
        if len(self.problems) > 1 and metric not in UNTIL:
            first = self.problems[0]
            searched, reported = (", ".join(map(str, open_devices(g))) for g in (first.goals, first.report_goals()))
            best = [reference for _, _, reference in facts.values() if reference is not None]
            facts["*"] = (searched, reported, float(np.mean(best)) if best else None)
            values["*"] = np.mean(list(values.values()), axis=0)
        traces = [t for (_, name, _), t in self.traces.items() if name == searcher]
        rows = []
        for device, (searched, reported, reference) in facts.items():
            mean, half = (_median(values[device]), float("nan")) if metric in UNTIL else _mean(values[device])
            rows.append(
                {
                    "experiment": "search",
                    "space": self.problems[0].space,
                    "dataset": self.problems[0].dataset,
                    "device": device,
                    "method": searcher,
                    "samples": n,
                    "evaluations": max(int(t.evaluations[: t.within(n)].max(initial=0)) for t in traces),
                    "measurements": max(int(t.measurements[: t.within(n)].max(initial=0)) for t in traces),
                    "source_measurements": max(t.source_measurements for t in traces),
                    "metric": f"median_{metric}" if metric in UNTIL else metric,
                    "mean": mean,
                    "ci95": half,
                    "seeds": self.seeds,
                    "reference": reference,
                    "reference_source": "" if reference is None else "best of the table",
                    "searched": searched,
                    "reported": reported,
                    **({"blank": True} if self.blank else {}),
                }
            )
        return rows


UNTIL = ("evaluations_to_best", "evaluations_to_0.1")
"""Metrics that count evaluations: until the best of the table, or a value within 0.1 of it, is found."""


def _value(metric: str, trace: Trace, scored: Scores, n: int) -> float:
    count = trace.within(n)
    found, cost = trace.rows[:count], trace.cost[:count]
    if metric == "overhead_ms":
        return float(1000.0 * trace.seconds[:count].max(initial=0.0) / cost.max(initial=1.0))
    if metric == "hypervolume" and not count:
        return 0.0
    if metric in UNTIL:
        needed = scored.evaluations_until(found, 0.0 if metric.endswith("best") else 0.1) if count else np.inf
        return float(cost[int(needed) - 1]) if np.isfinite(needed) else np.inf
    if not count:
        return float("nan")
    if metric == "regret":
        return float(scored.regrets(found)[-1])
    return scored.hypervolume(found) if metric == "hypervolume" else scored.igd_plus(found)


def _mean(values: Values) -> tuple[float, float]:
    return mean_ci(values) if np.isfinite(values).all() else (float("nan"), float("nan"))


def _median(values: Values) -> float:
    middle = float(np.median(values))
    return middle if np.isfinite(middle) else float("nan")


def _reference(metric: str, scored: Scores) -> float | None:
    if metric == "hypervolume":
        return scored.best_hypervolume
    return scored.best if metric == "regret" else None
