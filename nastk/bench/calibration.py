"""Do intervals hold what they promise? Coverage, width and interval score of accuracy predictors on the 28 tasks.

A method sees the accuracies of some architectures of a task, and states an interval for each of the others. A prior has
seen tasks of other spaces only, as in :mod:`nastk.bench.accuracy`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nastk.bench import accuracy
from nastk.bench._journal import Journal, each_once
from nastk.data import suite_zero
from nastk.errors import InvalidValue
from nastk.metrics import interval_score, mean_ci
from nastk.oracles.base import Values

DEFAULT_METHODS = ("gp-bma", "gp-bma-random", "gp", "bayes-linear", "mlp-ensemble", "lightgbm")
"""Methods compared unless others are given."""
SAMPLES = (10, 25, 50)
"""Numbers of accuracies seen unless others are given."""
TESTED = 1000
"""Other architectures of a task, at most, whose intervals are judged: more change the third decimal of nothing."""


class Held(NamedTuple):
    """How well intervals hold; widths and scores in standard deviations of the task's accuracies.

    Args:
        coverage: share of the values within their interval.
        width: mean width.
        interval_score: its mean (see :func:`nastk.metrics.interval_score`).
        stated_coverage, stated_width, stated_interval_score: the same of the method's own deviation, the prediction
            plus and minus so many of it.
    """

    coverage: float
    width: float
    interval_score: float
    stated_coverage: float
    stated_width: float
    stated_interval_score: float


@dataclass(frozen=True)
class _Run:
    task: str
    method: str
    draw: int
    samples: tuple[int, ...]
    level: float


def run(
    methods: Sequence[str] = DEFAULT_METHODS,
    tasks: Sequence[str] | None = None,
    samples: Sequence[int] = SAMPLES,
    seeds: int = 3,
    level: float = 0.95,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Coverage, width and interval score by method and task.

    Args:
        methods: as of :func:`nastk.bench.accuracy.run`; those that only rank have no intervals.
        tasks: such as "nasbench201/svhn", or spaces for all their tasks; by default all 28.
        samples: numbers of accuracies seen, at least five.
        seeds: number of random seeds, from `first`.
        level: probability of the intervals.
        progress: called with (done, total) after each run.
        journal: a file that keeps every finished run.

    Returns:
        Tidy rows: one for each task, method, number of samples and field of :class:`Held`; ``dataset`` "*" is the mean
        over a space's tasks, and ``least`` the least mean of one of them.

    Raises:
        UnknownName: no such method or task.
        InvalidValue: nothing to run, or fewer than five samples.
    """
    wanted = suite_zero.names_of(tasks)
    if not methods or not samples or seeds < 1 or min(samples) < 5:
        raise InvalidValue("calibration needs a method, a seed, and numbers of samples of at least 5")
    for method in methods:
        if method in accuracy.RANKINGS:
            raise InvalidValue(f"{method} only ranks, and has no intervals")
        accuracy.find(method)
    jobs = [
        _Run(task, method, draw, tuple(sorted(set(samples))), level)
        for task in wanted
        for method in methods
        for draw in range(first, first + seeds)
    ]
    kept = Journal(journal, _written, _read)
    found = dict(each_once(_held, jobs, kept, asdict, workers, progress))
    return _rows(found, level)


def _held(job: _Run) -> dict[int, Held]:
    """Of one task, method and draw, by the number of samples."""
    task = accuracy.sources_and_targets()[job.task]
    base, order = accuracy.prepared(job.task.partition("/")[0], job.method, job.draw, task, max(job.samples))
    others = np.setdiff1d(np.arange(len(task)), order[: max(job.samples)])
    tested = np.random.default_rng([2, *_seed(job)]).permutation(others)[:TESTED]
    truth, unit = task.values[tested], float(task.values.std())
    found = {}
    for n in job.samples:
        fitted = base.adapt(task.subset(order[:n]))
        low, high = fitted.interval(task.archs[tested], job.level)
        stated = fitted.predict(task.archs[tested])
        half = NormalDist().inv_cdf(0.5 + job.level / 2.0) * np.nan_to_num(stated.std)
        ours = _quality(low, high, truth, unit, job.level)
        found[n] = Held(*ours, *_quality(stated.mean - half, stated.mean + half, truth, unit, job.level))
    return found


def _seed(job: _Run) -> list[int]:
    return [job.draw, crc32(job.task.encode())]


def _quality(low: Values, high: Values, truth: Values, unit: float, level: float) -> tuple[float, float, float]:
    within = (low <= truth) & (truth <= high)
    score = interval_score(low, high, truth, level)
    return float(within.mean()), float((high - low).mean()) / unit, float(score.mean()) / unit


def _written(found: Mapping[int, Held]) -> dict[str, Any]:
    return {"held": {str(n): list(held) for n, held in found.items()}}


def _read(entry: Mapping[str, Any]) -> dict[int, Held]:
    return {int(n): Held(*held) for n, held in entry["held"].items()}


def _rows(found: Mapping[_Run, Mapping[int, Held]], level: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for space in dict.fromkeys(job.task.partition("/")[0] for job in found):
        of_space = {job: held for job, held in found.items() if job.task.partition("/")[0] == space}
        for method in dict.fromkeys(job.method for job in of_space):
            mine = {job: held for job, held in of_space.items() if job.method == method}
            for n in next(iter(mine.values())):
                for k, metric in enumerate(Held._fields):
                    rows += _of(space, method, n, metric, {job: held[n][k] for job, held in mine.items()}, level)
    return rows


def _of(
    space: str, method: str, n: int, metric: str, found: Mapping[_Run, float], level: float
) -> list[dict[str, Any]]:
    """A row for each task, and one of their mean."""
    by_task: dict[str, list[float]] = {}
    for job, value in found.items():
        by_task.setdefault(job.task.partition("/")[2], []).append(value)
    means: NDArray[np.float64] = np.array([np.mean(values) for values in by_task.values()])
    over_draws = np.mean(np.array(list(by_task.values())), axis=0)
    shared = {"experiment": "calibration", "task": space, "method": method, "samples": n, "metric": metric}
    rows = []
    for dataset, values in [*by_task.items(), ("*", over_draws)]:
        mean, half = mean_ci(values)
        rows.append(
            {
                **shared,
                "dataset": dataset,
                "level": level,
                "mean": mean,
                "ci95": half,
                "least": float(means.min()) if dataset == "*" else mean,
                "seeds": len(values),
                "reference": None,
                "reference_source": None,
            }
        )
    return rows
