"""Sample efficiency of accuracy predictors (Multi-Predict, Section 5, Figure 8).

A method sees the accuracies of some architectures and ranks all others of the task. Only architectures with known
zero-cost proxies are used, so that all methods rank the same ones. A method's prior may have seen proxies and tasks of
other spaces, never other accuracies of the test space.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.bench._journal import Journal, each_once
from nastk.bench._lookups import Lookups, lookups
from nastk.bench.suite_zero import tasks
from nastk.data import suite_zero
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import kendall, mean_ci, ndcg, spearman
from nastk.oracles.table import Benchmark, benchmark, first_dataset
from nastk.predictors.base import Predictor, Task
from nastk.predictors.factory import predictor
from nastk.predictors.gp_bma import GPBMA
from nastk.registry import PREDICTORS

RELATED = {"nasbench201": "transbench101-micro"}
"""Spaces with the same edges as another one, whose cells the prior of that one knows."""
VOTERS = ("nwot", "synflow", "jacov", "params")
"""Proxies of :func:`votes`."""


FURTHER = (25, 900)
"""Networks of a task, at least and at most, from whose further proxies a prior learns."""


@dataclass(frozen=True)
class Method:
    """One entry of the comparison.

    Args:
        predictor: its name.
        options: of its constructor.
        prior: whether it is pretrained on the tasks of other spaces; gp-bma on :func:`related` ones as well.
        chooses: whether it chooses its samples; random ones otherwise.
    """

    predictor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    prior: bool = False
    chooses: bool = False


METHODS: dict[str, Method] = {
    "gp-bma": Method("gp-bma", prior=True, chooses=True),
    "gp-bma-random": Method("gp-bma", prior=True),
    "gp-bma-no-prior": Method("gp-bma"),
    "gp-bma-vec": Method("gp-bma", {"encoding": "vec"}),
    "transfer-mlp": Method("transfer-mlp", prior=True),
    "transfer-mlp-scratch": Method("transfer-mlp", {"encoding": "vec"}),
}
"""Named methods. Any other name is a predictor's, with its encoding after an ``@``."""
DEFAULT_METHODS = ("gp-bma", "gp-bma-random", "gp-bma-no-prior", "gp", "mlp-ensemble@path-counts", "brp-nas", "votes")
"""Methods compared unless others are given."""
SAMPLES = (5, 10, 25, 50, 100, 200, 400)
"""Numbers of accuracies compared unless others are given."""
ACCURACIES = ("test_accuracy", "val_accuracy")
"""Reported metrics in order of preference."""


class Score(NamedTuple):
    """Quality of the ranking of the other architectures, and its cost.

    nDCG counts what comes first; NaN without an order, of which there is no row.
    """

    spearman: float
    kendall: float
    seconds: float
    ndcg: float = float("nan")


class Used(NamedTuple):
    """What a method used to rank the architectures of a data set.

    Args:
        accuracies: trainings of architectures of the space, on whatever data set and for however many epochs.
        proxies: architectures whose zero-cost proxies were looked up.
        source_tasks: tasks of other spaces, whose accuracies were all seen.
        beside: the same in words, but for the samples.
        latencies: of architectures on devices that were looked up.
    """

    accuracies: int
    proxies: int = 0
    source_tasks: int = 0
    beside: str = ""
    latencies: int = 0


@dataclass(frozen=True)
class _Run:
    space: str
    method: str
    draw: int
    samples: tuple[int, ...]


def run(
    space: str = "nasbench201",
    methods: Sequence[str] = DEFAULT_METHODS,
    samples: Sequence[int] = SAMPLES,
    seeds: int = 10,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    partial: Callable[[list[dict[str, Any]]], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Compare methods on all data sets of a space.

    Args:
        space: name of a fetched table with accuracies; see :func:`targets`.
        methods: keys of :data:`METHODS` and :data:`RANKINGS`, or predictors, with an encoding after an ``@``.
        samples: numbers of accuracies seen.
        seeds: number of random seeds, from `first`.
        progress: called with (done, total) after each run.
        partial: called with the rows so far if the comparison is interrupted.
        journal: a file that keeps every finished run; runs that it holds are not repeated.

    Returns:
        Tidy rows, one per data set ("*" is their mean), method, number of samples and metric; with what was used
        (:class:`Used`).

    Raises:
        UnknownName: no such space or method.
        InvalidValue: nothing to run, or more samples than architectures.
    """
    if not methods or not samples or seeds < 1 or min(samples) < 1:
        raise InvalidValue("a comparison needs at least one method, one number of samples and one seed, all positive")
    for method in methods:
        find(method)
    least = min(len(task) for task in targets(space).values())
    if max(samples) > least // 2:
        raise InvalidValue(f"{space} has {least} architectures; use at most {least // 2} samples; got {max(samples)}")
    jobs = [_Run(space, m, draw, tuple(sorted(set(samples)))) for draw in range(first, first + seeds) for m in methods]
    kept, found = Journal(journal, _written, _read), dict[_Run, _Scores]()
    try:
        for job, scores in each_once(_scores, jobs, kept, asdict, workers, progress):
            found[job] = scores
    except KeyboardInterrupt:
        if partial and found:
            partial(_rows(found, methods))
        raise
    return _rows(found, methods)


def _written(scores: _Scores) -> dict[str, Any]:
    return {"scores": [[*key, list(score), list(used)] for key, (score, used) in scores.items()]}


def _read(entry: Mapping[str, Any]) -> _Scores:
    return {(str(d), int(n)): (Score(*score), Used(*used)) for d, n, score, used in entry["scores"]}


def find(name: str) -> Method:
    """The method called `name`.

    Raises:
        UnknownName: neither a method nor a predictor.
    """
    if name in METHODS or name in RANKINGS:
        return METHODS.get(name, Method(name))
    known, _, encoding = name.partition("@")
    if ":" not in known and known not in PREDICTORS.names():
        raise UnknownName("method or predictor", known, [*METHODS, *RANKINGS, *PREDICTORS.names()])
    return Method(known, {"encoding": encoding} if encoding else {})


@lru_cache(maxsize=4)
def targets(space: str) -> dict[str, Task]:
    """The tasks of a table by data set, with test accuracies if it has some, as this is a report.

    Each network is there once (:meth:`nastk.SearchSpace.distinct`). If a table has zero-cost proxies, only
    architectures with most proxies known are used. A data set without proxies (CIFAR-100 in NAS-Bench-201) uses those
    of the table's first data set.

    Raises:
        InvalidValue: the table has no accuracies.
    """
    table = benchmark(space).table
    metric = next((m for m in ACCURACIES if m in table.metrics()), None)
    if metric is None:
        raise InvalidValue(f"the table {space} has no accuracies")
    everything = table.space.enumerate()
    found = {}
    for dataset in table.datasets(metric):
        bench = Benchmark(table, dataset)
        values = bench.values(metric)
        known = np.isfinite(values)
        proxies = bench.nearest_proxies()
        if proxies is not None:
            known &= np.isfinite(proxies(everything)).mean(axis=1) > 0.5
        rows = np.flatnonzero(known)
        rows = rows[table.space.distinct(everything[rows])]  # a twin of a sample would be no test
        column = table.find(metric, dataset=dataset)[1]
        context = Context(proxies=proxies, dataset=dataset)
        found[dataset] = Task(
            table.space, everything[rows], values[rows], metric, column.unit, column.direction, dataset=dataset,
            context=context,
        )  # fmt: skip
    return found


@lru_cache(maxsize=1)
def sources_and_targets() -> dict[str, Task]:
    """All 28 tasks by name."""
    return tasks()


def _names(space: str) -> list[str]:
    return [name for name in suite_zero.NAMES if name.partition("/")[0] == space]


@lru_cache(maxsize=2)
def sources(space: str) -> tuple[Task, ...]:
    """The tasks of all other spaces."""
    return tuple(tasks([n for n in suite_zero.NAMES if n not in _names(space)]).values())


@lru_cache(maxsize=2)
def further(space: str) -> tuple[Task, ...]:
    """The tasks of all other spaces on the networks whose further proxies nastk computed (`nastk.weights.proxies`)."""
    found = []
    for other in suite_zero.DATASETS:
        for task in targets(other).values() if other != space else ():
            source = getattr(task.context.proxies, "further", None)
            if source is None:
                continue
            known = np.flatnonzero(np.isfinite(source(task.archs)).any(axis=1))
            if len(known) >= FURTHER[0]:
                found.append(task.subset(np.sort(np.random.default_rng(0).permutation(known)[: FURTHER[1]])))
    return tuple(found)


@lru_cache(maxsize=2)
def related(space: str) -> tuple[Task, ...]:
    """Validation metrics of all cells of a space with the same edges, in its tasks that have nearly all; () if none."""
    if space not in RELATED:
        return ()
    table = benchmark(RELATED[space])
    archs = table.space.enumerate()
    found = []
    for name in table.table.datasets("val_accuracy"):
        values = table.values("val_accuracy", dataset=name)
        there = np.isfinite(values)
        if there.mean() > 0.9:
            found.append(Task(table.space, archs[there], values[there], "val_accuracy", "%", "max", dataset=name))
    return tuple(found)


@lru_cache(maxsize=8)
def _pretrained(space: str, method: str, draw: int | None) -> Predictor:
    chosen = find(method)
    made = seeded(chosen.predictor, chosen.options, draw)
    if chosen.prior and isinstance(made, GPBMA):
        return made.pretrain(sources(space), related(space), further(space))
    return made.pretrain(sources(space)) if chosen.prior else made


def seeded(name: str, options: Mapping[str, Any], seed: int | None) -> Predictor:
    """The predictor of this name, with the random seed if it takes one."""
    made: Predictor = predictor(name, **options)
    if seed is not None and "seed" in vars(made):
        made = predictor(name, **{**options, "seed": seed})
    return made


_Scores = dict[tuple[str, int], tuple[Score, Used]]
"""Scores by data set and number of samples, and what was used for them."""


def _scores(job: _Run) -> _Scores:
    found: _Scores = {}
    method = find(job.method)
    for dataset, task in targets(job.space).items():
        if job.method in RANKINGS:
            ranking = RANKINGS[job.method](job.space, dataset)
            order = _drawn(job.space, job.draw, task)[0]
            for n in job.samples:
                found[dataset, n] = _score(ranking.values, task, order[:n], 0.0), ranking.used
            continue
        proxies, latencies = lookups(task.context.proxies), _latencies(job.space, method)
        task = replace(task, context=replace(task.context, proxies=proxies, latencies=latencies))
        base, order = prepared(job.space, job.method, job.draw, task, max(job.samples))
        for n in job.samples:
            start = perf_counter()
            predicted = base.adapt(task.subset(order[:n])).predict(task.archs).mean
            score = _score(predicted, task, order[:n], perf_counter() - start)
            found[dataset, n] = score, _used(n, proxies, latencies, _learned_before(job.space, base, method.prior))
    return found


def prepared(space: str, name: str, draw: int, task: Task, most: int) -> tuple[Predictor, NDArray[np.int64]]:
    """A method as it is before it sees a task of a space, and the rows of the architectures that it sees, in order.

    Args:
        draw: seed of the method, and of the order.
        most: architectures that it may see.
    """
    method = find(name)
    random = "seed" in vars(seeded(method.predictor, method.options, None))
    base = _pretrained(space, _alike(name), draw if random else None)
    order, seed = _drawn(space, draw, task)
    if method.chooses:
        rows = {row.tobytes(): i for i, row in enumerate(task.archs)}
        chosen = base.choose(most, task.space, candidates=task.archs, seed=seed, context=task.context)
        order = np.array([rows[row.tobytes()] for row in chosen])
    return base, order


def _alike(name: str) -> str:
    """The first method that differs from this one in its samples at most: both share what was pretrained."""
    method = find(name)
    return next((other for other, m in METHODS.items() if replace(m, chooses=method.chooses) == method), name)


def _drawn(space: str, draw: int, task: Task) -> tuple[NDArray[np.int64], int]:
    """A random order of a task's architectures, and the seed of a method that chooses its own."""
    rng = np.random.default_rng([draw, crc32(f"{space}/{task.dataset}".encode())])
    return rng.permutation(len(task)), int(rng.integers(2**31))


def _latencies(space: str, method: Method) -> Lookups | None:
    """Latencies of the table's devices that predictors learn from, where the method's encoding looks them up."""
    if "hwl" not in str(method.options.get("encoding", "")).split("+"):
        return None
    table = first_dataset(space)
    if "latency" not in table.table.metrics():
        raise InvalidValue(f"hwl: the table of {space} has no latencies")
    return Lookups(table.latency_source(table.table.source_devices or table.devices()))


def _learned_before(space: str, learned: Predictor, prior: bool) -> tuple[int, list[str]]:
    """How many tasks of other spaces a predictor was pretrained on, and that in words."""
    if not prior:
        return 0, []
    tasks = len(sources(space))
    said = [f"all accuracies of {tasks} tasks of other spaces"]
    if isinstance(learned, GPBMA) and (cells := related(space)):
        said.append(f"all cells of {RELATED[space]} in {len(cells)} of them")
    return tasks, said


def _used(n: int, proxies: Lookups | None, latencies: Lookups | None, before: tuple[int, list[str]]) -> Used:
    """What a predictor used beside `n` accuracies; `before` as :func:`_learned_before` gives it."""
    tasks, learned = before
    count = 0 if proxies is None else proxies.count
    measured = 0 if latencies is None else int(latencies.asked()[1].sum())
    said = [f"zero-cost proxies of {count:,} architectures"] * bool(count)
    said += [f"{measured:,} latencies"] * bool(measured)
    return Used(n, count, tasks, "; ".join(said + learned), measured)


@dataclass(frozen=True)
class Ranking:
    """An order of all architectures of a data set that is not learned from the samples.

    Args:
        values: the higher the better, ``(n,)``.
        used: what they were made of; the samples are not.
    """

    values: NDArray[np.float64]
    used: Used


def votes(space: str, dataset: str) -> Ranking:
    """The sum of the ranks of four proxies, which needs no accuracies."""
    return _voted(space, dataset, lambda ranks: ranks)


def log_votes(space: str, dataset: str) -> Ranking:
    """The same of the ranks' logarithms, as AZ-NAS and VKDNW add theirs: one low rank counts more than one high."""
    return _voted(space, dataset, np.log)


def _voted(space: str, dataset: str, vote: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Ranking:
    task = targets(space)[dataset]
    if task.context.proxies is None:
        raise InvalidValue(f"the table {space} has no zero-cost proxies to vote")
    names = list(task.context.proxies.names)
    voters = [name for name in VOTERS if name in names]
    values = np.nan_to_num(task.context.proxies(task.archs))
    total = np.sum([vote(rankdata(values[:, names.index(name)])) for name in voters], axis=0)
    said = f"no accuracy; {', '.join(voters)} of {len(task):,} architectures"
    return Ranking(total, Used(0, len(task), 0, said))


def prior_alone(space: str, dataset: str) -> Ranking:
    """gp-bma's prior, learned from the tasks of other spaces: what it ranks by before the first training."""
    task = targets(space)[dataset]
    learned = _pretrained(space, "gp-bma", None)
    assert isinstance(learned, GPBMA)
    values = learned.prior_score(task.space, task.archs, task.context)
    if values is None:
        raise InvalidValue(f"the table {space} has no zero-cost proxies, from which the prior is learned")
    tasks, before = _learned_before(space, learned, prior=True)
    said = ["no accuracy", f"zero-cost proxies of {len(task):,} architectures", *before]
    return Ranking(values, Used(0, len(task), tasks, "; ".join(said)))


def another_dataset(space: str, dataset: str) -> Ranking:
    """All accuracies on another data set: a prior of the same space that needs as many trainings."""
    tasks = targets(space)
    task = tasks[dataset]
    others = [other for other in tasks if other != dataset]
    for other in others:
        if np.array_equal(tasks[other].archs, task.archs):
            said = f"none of the samples; {len(task):,} accuracies on {other}"
            return Ranking(tasks[other].values, Used(len(task), 0, 0, said))
    raise InvalidValue(f"no other data set of {space} has the architectures of {dataset}")


def twelve_epochs(space: str, dataset: str) -> Ranking:
    """All validation accuracies after 12 epochs."""
    table = benchmark(space, dataset=dataset)
    if "val_accuracy" not in table.table.metrics() or 12 not in table.table.fidelities("val_accuracy", dataset=dataset):
        raise InvalidValue(f"there are no accuracies of {space} after 12 epochs")
    archs = targets(space)[dataset].archs
    values = table.values("val_accuracy", fidelity=12)[table.table.rows(archs)]
    said = f"none of the samples; {len(archs):,} accuracies after 12 epochs"
    return Ranking(values, Used(len(archs), 0, 0, said))


RANKINGS: dict[str, Callable[[str, str], Ranking]] = {
    "prior": prior_alone,
    "votes": votes,
    "log-votes": log_votes,
    "another-dataset": another_dataset,
    "twelve-epochs": twelve_epochs,
}
"""Rankings that do not learn from the samples, for comparison; the last two are far more expensive."""


def _score(predicted: NDArray[np.float64], task: Task, seen: NDArray[np.int64], seconds: float) -> Score:
    others = np.setdiff1d(np.arange(len(task)), seen)
    sign = 1.0 if task.direction == "max" else -1.0
    known = sign * task.values[others]
    ranks = predicted[others] if np.ptp(predicted[others]) > 0 else None
    if ranks is None:  # constant predictions
        return Score(0.0, 0.0, seconds)
    return Score(spearman(ranks, known), kendall(ranks, known), seconds, ndcg(ranks, known))


def _rows(found: Mapping[_Run, _Scores], methods: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for method in methods:
        runs = {job.draw: scores for job, scores in found.items() if job.method == method}
        if not runs:
            continue
        space = next(iter(found)).space
        keys = list(dict.fromkeys(key for scores in runs.values() for key in scores))
        for n in dict.fromkeys(n for _, n in keys):
            datasets = [d for d, m in keys if m == n]
            for dataset in [*datasets, "*"]:
                mine = datasets if dataset == "*" else [dataset]
                # Data sets of a table differ in how many architectures have values: the mean says the most.
                used = max((scores[d, n][1] for scores in runs.values() for d in mine), key=lambda u: u[:3])
                for k, metric in enumerate(Score._fields):
                    values = np.array([np.mean([scores[d, n][0][k] for d in mine]) for scores in runs.values()])
                    if not np.isfinite(values).all():
                        continue
                    mean, half = mean_ci(values)
                    rows.append(
                        {
                            "experiment": "accuracy",
                            "task": space,
                            "dataset": dataset,
                            "method": method,
                            "samples": n,
                            **used._asdict(),
                            "metric": metric,
                            "mean": mean,
                            "ci95": half,
                            "seeds": len(values),
                            "reference": None,
                            "reference_source": None,
                        }
                    )
    return rows
