"""Sample efficiency of predictors on any table: quality of the predictions of architectures that were not seen.

A predictor sees the values of some architectures of the table and predicts others. Which those are is the same for all
predictors, numbers of samples and devices; the samples are random, unless a predictor chooses its own. Beside the
predictors stand baselines that cost nothing or next to it: parameters, FLOPs, votes of zero-cost proxies where the
table has them, and of what is measured on a device a lookup table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.bench import latency
from nastk.bench._journal import Journal, each_once
from nastk.bench._lookups import lookups
from nastk.bench.accuracy import VOTERS, seeded
from nastk.bench.latency import Method
from nastk.bench.problems import Problem, members, problems
from nastk.bench.ranks import Ranks, new_name
from nastk.bench.search import DUPLICATES, brought, predictor_of, source_tasks
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, NastkError, UnknownName
from nastk.metrics import kendall, mean_ci, ndcg, spearman
from nastk.oracles.table import Benchmark, benchmark
from nastk.predictors.base import FewShotPredictor, Predictor, Task
from nastk.predictors.factory import predictor as named_predictor
from nastk.predictors.factory import shipped_prior
from nastk.search.defaults import gp_bma_with_prior
from nastk.spaces.base import Archs

Values = NDArray[np.float64]

OF_QUALITY = ("gp-bma", "gp", "ridge")
"""Predictors compared by default of accuracies and the like."""

ON_DEVICES = ("few-shot-gp", "gp", "ridge")
"""Predictors compared by default of what is measured on a device."""

BASELINES = ("params", "flops", "votes", "lookup-table")
"""Baselines, as far as the table and the objective have them."""

SIZES = (10, 20, 50, 100)
"""Numbers of samples compared by default."""

POOL = 20_000
"""Most architectures among which samples are drawn or chosen: designs compare all of them."""


@dataclass(frozen=True)
class _Run:
    """One predictor with one seed on one problem; its scores depend on these values alone."""

    problem: Problem
    method: str
    seed: int
    sizes: tuple[int, ...]
    test: int
    sources: tuple[str, ...] = ()
    source_samples: int = 0
    brought: str = ""


@dataclass(frozen=True)
class Score:
    """Quality of predictions from some samples, on the architectures that are tested.

    Args:
        spearman, kendall: rank correlations; 0 for constant predictions.
        ndcg: see :func:`nastk.metrics.ndcg`; the best first.
        median_error: relative, of predictors in the metric's unit of what is measured on a device; else NaN.
        covered95: share of the true values in the 95 % intervals; NaN for predictors without.
        seconds: for fitting and predicting, on one thread.
        seconds_pretraining: for what was learned before.
        source_measurements: values of other devices from which was learned.
        proxies: architectures whose zero-cost proxies were looked up.
        looked_up: values on other devices that an encoding looked up.
    """

    spearman: float
    kendall: float
    ndcg: float
    median_error: float = float("nan")
    covered95: float = float("nan")
    seconds: float = 0.0
    seconds_pretraining: float = 0.0
    source_measurements: int = 0
    proxies: int = 0
    looked_up: int = 0


METRICS = ("spearman", "kendall", "ndcg", "median_error", "covered95", "seconds", "seconds_pretraining")
"""Fields of a score that are metrics of the rows."""

USED = ("source_measurements", "proxies", "looked_up")
"""Fields of a score that say what was used beside the samples."""

_Scores = dict[int, "Score | str"]
"""By number of samples; a text says why there is none."""


@dataclass(frozen=True)
class Plan:
    """A comparison on one table that can be run: nothing of it is wrong.

    Args:
        problems, methods, seeds, sizes: as in :func:`plan`, baselines included.
        runs: by problem, method and seed.
        absent: baselines that the table lacks, with the reason.
    """

    problems: tuple[Problem, ...]
    methods: tuple[str, ...]
    seeds: int
    sizes: tuple[int, ...]
    runs: Mapping[tuple[Problem, str, int], _Run]
    absent: Mapping[str, str]


def plan(
    space: str = "nasbench201",
    dataset: str | None = None,
    objective: str | None = None,
    devices: Sequence[str] | None = None,
    predictors: Sequence[str] | None = None,
    sizes: Sequence[int] = SIZES,
    seeds: int = 10,
    sources: Sequence[str] | None = None,
    source_samples: int = 900,
    test: int = 2000,
    with_proxies: bool = False,
) -> Plan:
    """Every predictor on every problem of a table with every seed.

    Args:
        space, dataset, devices, with_proxies: see `nastk.bench.problems.problems`.
        objective: what is predicted, a text for :meth:`Goal.parse`; by default the table's accuracy, test before
            validation, or latency where it has none.
        predictors: names, each with an encoding after an ``@`` if it is to have another; of latencies also those of
            `nastk.bench.latency.METHODS`. "gp-bma" has the prior that ships for the space. A few-shot predictor learns
            the source devices first, of which a target and its near-copies are left out.
        sizes: numbers of samples.
        seeds: repetitions with random seeds 0 to ``seeds - 1``, of the architectures that are tested, the samples, the
            source samples and the predictors; adding a predictor changes no other's result.
        sources: source devices of few-shot predictors, those that the table recommends if None.
        source_samples: architectures per source device.
        test: most architectures that are tested; never more than half of the table.

    Raises:
        UnknownName, InvalidValue: an argument that cannot be used.
    """
    if seeds < 1 or not sizes or min(sizes) < 2 or (predictors is not None and not predictors):
        raise InvalidValue("a comparison needs at least one predictor, one seed and numbers of samples from 2")
    if test < 3:
        raise InvalidValue(f"rank correlations need at least 3 architectures that are tested; got {test}")
    asked = problems(space, dataset, [objective or _usual(space, dataset)], devices, None, with_proxies)
    table = benchmark(space).table
    used = tuple(table.source_devices if sources is None else sources)
    for device in used:
        if device not in table.devices():
            raise UnknownName("source device", device, table.devices())
    on_device = bool(asked[0].device)
    chosen = list(dict.fromkeys(predictors or (ON_DEVICES if on_device else OF_QUALITY)))
    absent = {}
    for name in chosen:
        method_of(name, on_device)
        if name in BASELINES and name not in _baselines(asked[0]):
            raise InvalidValue(f"{name} tells nothing of {asked[0].searched}")
        if name in BASELINES and (reason := _why_not(name, asked[0])):
            raise InvalidValue(f"{name} of {space}: {reason}")
    for name in _baselines(asked[0]):
        reason = _why_not(name, asked[0])
        if name not in chosen and reason is None:
            chosen.append(name)
        elif reason:
            absent[name] = reason
    for problem in asked:
        known = len(_all(problem))
        if max(sizes) > known // 2:
            raise InvalidValue(
                f"{space} has {known} architectures with {problem.searched}; use at most {known // 2} samples"
            )
    mine = brought(table)
    runs = {}
    for seed in range(seeds):
        for name in chosen:
            few = used if _few_shot(name, on_device) else ()
            for problem in asked:
                made = _Run(
                    problem, name, seed, tuple(sorted(set(sizes))), test, few, source_samples if few else 0, mine
                )
                runs[problem, name, seed] = made
    return Plan(tuple(asked), tuple(chosen), seeds, tuple(sorted(set(sizes))), runs, absent)


def carry_out(
    plans: Sequence[Plan],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> list[Predicted]:
    """Run what was planned, table by table; arguments as of :func:`nastk.bench.search.carry_out`."""
    jobs = [job for planned in plans for job in planned.runs.values()]
    kept = Journal(journal, _written, _read)
    done = dict(each_once(_scores, jobs, kept, _settings, workers, progress))
    return [Predicted(p, {key: done[job] for key, job in p.runs.items()}) for p in plans]


# ---- methods


def method_of(name: str, on_device: bool) -> Method:
    """The predictor called `name`, with its options; of what is measured on a device also a method of
    `nastk.bench.latency`.

    Raises:
        UnknownName: no such predictor or encoding.
        InvalidValue: the predictor takes no encoding.
    """
    if _ranks_alone(name, on_device):
        return Method(name, scratch=True)
    if on_device and name in latency.METHODS:
        return latency.METHODS[name]
    base, _, encoding = name.partition("@")
    predictor_of(name)
    parts = tuple(part for part in ("zcp", "hwl") if part in encoding.split("+"))
    return Method(base, {"encoding": encoding} if encoding else {}, lookups=parts)


def _ranks_alone(name: str, on_device: bool) -> bool:
    """Whether a baseline learns nothing from the samples."""
    return name in ("params", "votes") or (name == "flops" and not on_device)


def _few_shot(name: str, on_device: bool) -> bool:
    """Whether a method learns source devices first."""
    if not on_device or (name in BASELINES):
        return False
    method = method_of(name, on_device)
    return not method.scratch and isinstance(named_predictor(method.predictor), FewShotPredictor)


def _baselines(problem: Problem) -> tuple[str, ...]:
    """Baselines that suit a problem: what is measured on a device adds up over a network, and proxies tell quality."""
    known = _table(problem).table.metrics()
    voters = set(VOTERS) & set(known)
    suits = {"lookup-table": bool(problem.device), "votes": not problem.device and len(voters) > 1}
    return tuple(name for name in BASELINES if suits.get(name, True))


def _why_not(name: str, problem: Problem) -> str | None:
    """Why a baseline that suits a problem is not to be had; None where it is."""
    if name == "lookup-table":
        return None
    if name == "votes":
        found = _proxies(problem, _table(problem))
        return "most architectures have no zero-cost proxies (see --with-proxies)" if found is None else None
    if name == "flops" and problem.device and not _counts(problem, name):
        return "no closed form: each network would have to be built"
    known = np.isfinite(_counted(problem, name, _all(problem).archs)).all()
    return None if known else "no closed form, and the table does not have it of all architectures"


def _counts(problem: Problem, name: str) -> bool:
    """Whether the space counts this without building networks."""
    space = _table(problem).space
    return name in space.statics(space.sample(1, 0))


def _counted(problem: Problem, name: str, archs: Archs) -> Values:
    """Parameters or FLOPs, from the space's closed form, else the table; NaN where neither has them."""
    table = _table(problem)
    if _counts(problem, name):
        return table.space.statics(archs)[name]
    if name not in table.table.metrics():
        return np.full(len(archs), np.nan)
    return table.oracle(name)(archs)


def _usual(space: str, dataset: str | None) -> str:
    table = benchmark(space, dataset=dataset).table
    for metric in ("test_accuracy", "val_accuracy", "latency"):
        if metric in table.metrics() and (dataset is None or dataset in table.datasets(metric) or metric == "latency"):
            return metric
    raise InvalidValue(
        f"the table {space} has neither accuracies nor latencies; name an --objective: {table.metrics()}"
    )


# ---- one run


@lru_cache(maxsize=8)
def _table(problem: Problem) -> Benchmark:
    (goal,) = problem.goals
    accuracies = ((goal.metric, goal.epochs),) if "accuracy" in goal.metric else ()
    return members(problem.space, problem.dataset, accuracies, problem.with_proxies)


def _proxies(problem: Problem, table: Benchmark) -> Any:
    """Zero-cost proxies where most architectures have them, as searchers are given them."""
    if problem.with_proxies:
        return table.nearest_proxies()
    return table.search_proxies()


@lru_cache(maxsize=8)
def _all(problem: Problem) -> Task:
    """Every architecture of the table with a value. Where that is of the network, and not of its form on a device, each
    network is there once: a twin of a sample would be no test."""
    (goal,) = problem.goals
    table = _table(problem)
    oracle = goal.oracle(table)
    archs = table.space.enumerate()
    values = oracle(archs)
    rows = np.flatnonzero(np.isfinite(values))
    if not goal.device:
        rows = rows[table.space.distinct(archs[rows])]
    # Source devices are learned on the whole space; proxies are known of the table's members alone.
    space = table.space.whole if goal.device else table.space
    return Task(
        space, archs[rows], values[rows], goal.metric, oracle.unit, oracle.direction, problem.dataset,
        goal.device, context=Context(proxies=_proxies(problem, table), dataset=problem.dataset),
    )  # fmt: skip


def _scores(job: _Run) -> _Scores:
    whole = _all(job.problem)
    # The same for all methods and devices of a table, so that they are compared on the same architectures.
    rng = np.random.default_rng([job.seed, crc32(f"predict/{job.problem.space}/{job.problem.dataset}".encode())])
    order = rng.permutation(len(whole))
    test = order[: min(job.test, len(whole) - max(job.sizes), max(len(whole) // 2, 3))]
    pool = order[len(test) : len(test) + POOL]
    if _ranks_alone(job.method, bool(job.problem.device)):
        score = _of_order(_order(job, whole, test), whole, test)
        return dict.fromkeys(job.sizes, score)
    method = method_of(job.method, bool(job.problem.device))
    proxies, latencies = lookups(whole.context.proxies), _latencies(job, method)
    known = proxies if "zcp" in method.lookups or not job.problem.device else None
    task = replace(whole, context=replace(whole.context, proxies=known, latencies=latencies))
    found: _Scores = {n: f"needs at least {method.least} samples" for n in job.sizes if n < method.least}
    if len(found) == len(job.sizes):
        return found
    sources = _sources(job)
    started = perf_counter()
    base = _pretrained(job.problem, job.method, job.seed, sources, job.source_samples)
    pretraining = perf_counter() - started
    learned = sum(len(t) for t in _source_tasks(job.problem, sources, job.source_samples, job.seed))
    for n in (n for n in job.sizes if n >= method.least):
        try:
            samples, tested = pool[:n], test
            if method.chooses:
                samples = _chosen(base, n, task, pool, int(rng.integers(2**31)))
                tested = test[~np.isin(test, samples)]
            started = perf_counter()
            mine = base.adapt(task.subset(samples))
            predicted = mine.predict(task.archs[tested])
            seconds = perf_counter() - started
            units = mine.scale == "metric"
            std = predicted.std if units else None
            score = _of_order(predicted.mean, task, tested, std, units and bool(job.problem.device))
        except NastkError as error:
            found[n] = str(error)
            continue
        used = {
            "source_measurements": learned,
            "proxies": 0 if proxies is None else proxies.count,
            "looked_up": 0 if latencies is None else int(latencies.asked()[1].sum()),
        }
        found[n] = replace(score, seconds=seconds, seconds_pretraining=pretraining, **used)
    return found


def _chosen(base: Predictor, n: int, task: Task, pool: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Positions in the task of samples that the predictor chooses from the pool, or has chosen for every target."""
    places = {row.tobytes(): i for i, row in enumerate(task.archs)}
    archs = base.choose(n, task.space, candidates=task.archs[pool], seed=seed, context=task.context)
    return np.array([places[row.tobytes()] for row in task.space.as_networks(archs)], dtype=np.int64)


def _latencies(job: _Run, method: Method) -> Any:
    """What the encoding hwl looks up: values on the source devices, without the target and its near-copies."""
    if "hwl" not in method.lookups:
        return None
    devices = _sources(job) or _without_copies(job.problem, tuple(_table(job.problem).table.source_devices))
    if not devices:
        raise InvalidValue(f"hwl: the table of {job.problem.space} has no other devices")
    return lookups(_table(job.problem).latency_source(devices))


def _sources(job: _Run) -> tuple[str, ...]:
    return _without_copies(job.problem, job.sources)


@lru_cache(maxsize=64)
def _without_copies(problem: Problem, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Source devices without the target and, where that is one of them, without those that rank like it."""
    (goal,) = problem.goals
    if goal.device not in sources:
        return sources
    table = _table(problem)
    values = {device: table.values(goal.metric, device=device) for device in sources}
    mine = values.pop(str(goal.device))
    kept = []
    for device, theirs in values.items():
        both = np.isfinite(mine) & np.isfinite(theirs)
        if not both.any() or spearman(mine[both], theirs[both]) <= DUPLICATES:
            kept.append(device)
    return tuple(kept)


@lru_cache(maxsize=4)
def _source_tasks(problem: Problem, sources: tuple[str, ...], samples: int, seed: int) -> tuple[Task, ...]:
    (goal,) = problem.goals
    if not sources:
        return ()
    return tuple(source_tasks(problem.space, problem.dataset, sources, samples, seed, goal.metric))


@lru_cache(maxsize=4)
def _pretrained(problem: Problem, name: str, seed: int, sources: tuple[str, ...], samples: int) -> Predictor:
    """The predictor before it sees the target: with its shipped prior, or having learned the sources."""
    method = method_of(name, bool(problem.device))
    options = dict(method.options)
    whole = _all(problem)
    if method.predictor == "gp-bma" and not options and shipped_prior(whole.space, whole.direction):
        return gp_bma_with_prior(whole.space, whole.direction)
    made = seeded(method.predictor, options, seed)
    tasks = _source_tasks(problem, sources, samples, seed)
    return made.pretrain(tasks) if tasks and not method.scratch else made


def _order(job: _Run, whole: Task, test: NDArray[np.int64]) -> Values:
    """A baseline's values, which rise with what is predicted."""
    if job.method == "votes":
        source = whole.context.proxies
        assert source is not None
        archs = whole.archs[test]
        values = source(archs)
        gaps = np.isnan(values).all(axis=1, keepdims=True)  # such a one has those of its canonical form, as in zcp
        values = np.nan_to_num(np.where(gaps, source(whole.space.canonical(archs)), values))
        votes = sum(rankdata(values[:, source.names.index(name)]) for name in VOTERS if name in source.names)
        return np.asarray(votes) * (1.0 if whole.direction == "max" else -1.0)
    counted = _counted(job.problem, job.method, whole.archs[test])
    # More of a network takes longer, and is better.
    return counted if job.problem.device or whole.direction == "max" else -counted


def _of_order(
    predicted: Values, task: Task, test: NDArray[np.int64], std: Values | None = None, relative: bool = False
) -> Score:
    true = task.values[test]
    sign = 1.0 if task.direction == "max" else -1.0
    if not np.isfinite(predicted).all():
        raise InvalidValue("predictions that are not finite")
    flat = np.ptp(predicted) == 0
    order = np.zeros(len(true)) if flat else predicted
    covered = float("nan")
    if std is not None and np.isfinite(std).all():
        covered = float((np.abs(predicted - true) < 1.96 * std).mean())
    error = float(np.median(np.abs(predicted / true - 1.0))) if relative else float("nan")
    correlations = (0.0, 0.0) if flat else (spearman(order, true), kendall(order, true))
    return Score(*correlations, ndcg(sign * order, sign * true), error, covered)


def _settings(job: _Run) -> dict[str, Any]:
    return asdict(job)


def _written(scores: _Scores) -> dict[str, Any]:
    return {"scores": {str(n): s if isinstance(s, str) else asdict(s) for n, s in scores.items()}}


def _read(entry: Mapping[str, Any]) -> _Scores:
    known = {f.name for f in fields(Score)}
    found: _Scores = {}
    for n, s in entry["scores"].items():
        if not isinstance(s, str) and set(s) != known:
            raise ValueError("of an earlier version")
        found[int(n)] = s if isinstance(s, str) else Score(**s)
    return found


# ---- results


@dataclass(frozen=True)
class Predicted:
    """Finished runs of predictors on problems that differ in their devices."""

    plan: Plan
    scores: Mapping[tuple[Problem, str, int], _Scores]

    def values(self, metric: str, method: str, problem: Problem, n: int) -> Values:
        """A metric of each seed from `n` samples, ``(seeds,)``; NaN where there is none."""
        found = [self.scores[problem, method, seed][n] for seed in range(self.plan.seeds)]
        return np.array([np.nan if isinstance(s, str) else getattr(s, metric) for s in found])

    def reasons(self) -> dict[str, str]:
        """Why there is no score, by method and number of samples; and baselines that there are not."""
        found = dict(self.plan.absent)
        for (_, method, _), scores in self.scores.items():
            for n, score in scores.items():
                if isinstance(score, str):
                    found.setdefault(f"{method} with {n} samples", score)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows, one per method, device, number of samples and metric; device "*" is the mean over several."""
        return [
            row
            for method in self.plan.methods
            for n in self.plan.sizes
            for metric in METRICS
            for row in self._rows(method, n, metric)
        ]

    def _rows(self, method: str, n: int, metric: str) -> list[dict[str, Any]]:
        parts = self.plan.problems
        values = {p.device: self.values(metric, method, p, n) for p in parts}
        if len(parts) > 1:
            values["*"] = np.mean(list(values.values()), axis=0)
        scores = [s[n] for (_, name, _), s in self.scores.items() if name == method]
        used = {k: max((getattr(s, k) for s in scores if not isinstance(s, str)), default=0) for k in USED}
        rows = []
        for device, found in values.items():
            if not np.isfinite(found).all():
                continue
            mean, half = mean_ci(found)
            rows.append(
                {
                    "experiment": "predict",
                    "space": parts[0].space,
                    "dataset": parts[0].dataset,
                    "objective": str(replace(parts[0].goals[0], device=None)),
                    "device": device,
                    "method": method,
                    "samples": n,
                    **used,
                    "metric": metric,
                    "mean": mean,
                    "ci95": half,
                    "seeds": self.plan.seeds,
                    "reference": 0.95 if metric == "covered95" else None,
                    "reference_source": "nominal" if metric == "covered95" else "",
                }
            )
        return rows


def ranks(parts: Sequence[Predicted], n: int, metric: str = "spearman") -> Ranks:
    """The methods' ranks by a metric from `n` samples, over all tables; those that all tables have."""
    methods = [m for m in parts[0].plan.methods if all(m in part.plan.methods for part in parts)]
    costs: dict[str, Any] = {}
    for part in parts:
        first = part.plan.problems[0]
        name = " ".join(text for text in (first.space, first.dataset) if text)
        costs[new_name(name, costs)] = -np.stack(
            [np.stack([part.values(metric, m, p, n) for p in part.plan.problems]) for m in methods]
        )
    return Ranks(tuple(methods), costs)
