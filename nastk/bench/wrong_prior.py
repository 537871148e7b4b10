"""What a wrong prior costs, and whether the first trainings do harm: gp-bma with its prior, with wrong ones, without.

All see the same random architectures of a space. A right prior has learned from other spaces; the wrong ones read
proxies that are negated, or of other networks, or values of related cells that were negated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nastk.bench import accuracy
from nastk.bench._journal import Journal, each_once
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import mean_ci, spearman
from nastk.oracles.base import Values
from nastk.predictors.base import Task
from nastk.predictors.gp_bma import GPBMA
from nastk.spaces.base import Archs

Array = NDArray[np.float64]

PRIORS = ("none", "right", "negated", "permuted", "another-space", "cells", "negated-cells")
"""Priors that are compared: none, and no proxies either; proxies as they are; negated; of other networks of the space;
of networks of another space; without proxies what related cells are worth; the same negated."""
WRONG = ("negated", "permuted", "another-space", "negated-cells")
"""Those that mislead."""
SAMPLES = (10, 20, 30, 50)
"""Numbers of accuracies seen unless others are given."""
TRAINED = 10
"""Networks predicted best of which the best counts for the regret, beside those that were seen."""


class Score(NamedTuple):
    """Spearman's correlation over the architectures not seen, and the regret in the metric's unit: how far the best of
    those seen and of the :data:`TRAINED` predicted best is from the best of all."""

    spearman: float
    regret: float


@dataclass(frozen=True)
class _Run:
    space: str
    prior: str
    draw: int
    samples: tuple[int, ...]


def run(
    space: str = "nasbench201",
    priors: Sequence[str] | None = None,
    samples: Sequence[int] = SAMPLES,
    seeds: int = 5,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Compare priors on all data sets of a space.

    Args:
        space: name of a fetched table with accuracies and proxies.
        priors: of :data:`PRIORS`, by default all that apply to the space; "none" is always compared.
        samples: numbers of accuracies seen.
        seeds: number of random seeds, from `first`.
        progress: called with (done, total) after each run.
        journal: a file that keeps every finished run.

    Returns:
        Tidy rows: ``spearman`` and ``regret`` by data set ("*": their mean), prior and number of samples (0: the prior
        alone), and ``over_none``, the mean of the differences to no prior in the same draws.

    Raises:
        UnknownName: no such prior.
        InvalidValue: nothing to run, no proxies, or a prior that does not apply to the space.
    """
    able = [p for p in PRIORS if space in accuracy.RELATED or not p.endswith("cells")]
    wanted = list(dict.fromkeys(["none", *(able if priors is None else priors)]))
    for prior in wanted:
        if prior not in PRIORS:
            raise UnknownName("prior", prior, PRIORS)
        if prior not in able:
            raise InvalidValue(f"{prior}: no space with the edges of {space} is known; use {', '.join(able)}")
    if not samples or min(samples) < 2 or seeds < 1:
        raise InvalidValue("a comparison of priors needs a seed, and numbers of samples of at least 2")
    if any(task.context.proxies is None for task in accuracy.targets(space).values()):
        raise InvalidValue(f"the table {space} has no zero-cost proxies, from which the prior is learned")
    counts = tuple(sorted(set(samples)))
    jobs = [_Run(space, prior, draw, counts) for draw in range(first, first + seeds) for prior in wanted]
    kept = Journal(journal, _written, _read)
    found = dict(each_once(_scores, jobs, kept, asdict, workers, progress))
    return _rows(found)


class _Shuffled:
    """Proxies of a space's architectures, each of which has the row that belongs to another.

    Args:
        space: that enumerates.
        rows: values of the architectures, ``(n, k)``, in the space's order.
        names: of the columns.
    """

    def __init__(self, space: Any, rows: Array, names: Sequence[str]):
        self._space, self._rows, self.names = space, rows, tuple(names)

    def __call__(self, archs: Archs) -> Array:
        return self._rows[self._space.index(archs)]


def _context(space: str, prior: str, task: Task) -> Context:
    """The context in which a prior is read: its proxies are the right ones, wrong ones, or none."""
    proxies = task.context.proxies
    if prior in ("none", "cells", "negated-cells"):
        return replace(task.context, proxies=None)
    if prior == "right":
        return task.context
    assert proxies is not None
    everything = task.space.enumerate()
    values = np.asarray(proxies(everything), dtype=np.float64)
    if prior == "negated":
        return replace(task.context, proxies=_Shuffled(task.space, -values, proxies.names))
    rng = np.random.default_rng(crc32(f"{space}/{prior}".encode()))
    if prior == "permuted":
        return replace(task.context, proxies=_Shuffled(task.space, values[rng.permutation(len(values))], proxies.names))
    other = next(t for name, t in accuracy.sources_and_targets().items() if name.partition("/")[0] != space)
    assert other.context.proxies is not None
    theirs = np.asarray(other.context.proxies(other.archs), dtype=np.float64)
    drawn = theirs[rng.integers(0, len(theirs), len(everything))]
    return replace(task.context, proxies=_Shuffled(task.space, drawn, other.context.proxies.names))


@lru_cache(maxsize=3)
def _learned(space: str, prior: str) -> GPBMA:
    """gp-bma with what this prior has learned; the same for all that differ in what they read."""
    if prior == "none":
        return GPBMA()
    sources = list(accuracy.sources(space))
    if not prior.endswith("cells"):
        return GPBMA().pretrain(sources)
    related = list(accuracy.related(space))
    if prior == "negated-cells":
        related = [replace(task, values=-task.values) for task in related]
    return GPBMA().pretrain(sources, related)


def _scores(job: _Run) -> dict[tuple[str, int], Score]:
    found: dict[tuple[str, int], Score] = {}
    learned = _learned(job.space, job.prior if job.prior.endswith("cells") or job.prior == "none" else "right")
    for dataset, whole in accuracy.targets(job.space).items():
        task = replace(whole, context=_context(job.space, job.prior, whole))
        order = np.random.default_rng([3, job.draw, crc32(f"{job.space}/{dataset}".encode())]).permutation(len(task))
        alone = learned.prior_score(task.space, task.archs, task.context)
        if alone is not None:
            found[dataset, 0] = _score(alone, task, order[:0])
        for n in job.samples:
            predicted = learned.adapt(task.subset(order[:n])).predict(task.archs).mean
            found[dataset, n] = _score(predicted, task, order[:n])
    return found


def _score(predicted: Values, task: Task, seen: NDArray[np.int64]) -> Score:
    sign = 1.0 if task.direction == "max" else -1.0
    values, others = sign * task.values, np.setdiff1d(np.arange(len(task)), seen)
    towards = predicted[others] if len(seen) == 0 else sign * predicted[others]
    rank = spearman(towards, values[others]) if np.ptp(towards) > 0 else 0.0
    tried = np.concatenate([seen, others[np.argsort(-towards, kind="stable")[:TRAINED]]])
    return Score(rank, float(values.max() - values[tried].max()))


def _written(scores: dict[tuple[str, int], Score]) -> dict[str, Any]:
    return {"scores": [[*key, list(score)] for key, score in scores.items()]}


def _read(entry: Mapping[str, Any]) -> dict[tuple[str, int], Score]:
    return {(str(dataset), int(n)): Score(*score) for dataset, n, score in entry["scores"]}


def _rows(found: Mapping[_Run, Mapping[tuple[str, int], Score]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    runs = {(job.prior, job.draw): scores for job, scores in found.items()}
    draws = sorted({job.draw for job in found})
    space = next(iter(found)).space
    for prior in dict.fromkeys(job.prior for job in found):
        keys = list(runs[prior, draws[0]])
        for n in dict.fromkeys(n for _, n in keys):
            datasets = [d for d, m in keys if m == n]
            for dataset in [*datasets, "*"]:
                mine = datasets if dataset == "*" else [dataset]
                for k, metric in enumerate(Score._fields):
                    values = np.array([np.mean([runs[prior, draw][d, n][k] for d in mine]) for draw in draws])
                    mean, half = mean_ci(values)
                    row = {
                        "experiment": "wrong-prior",
                        "task": space,
                        "dataset": dataset,
                        "method": f"gp-bma, prior: {prior}",
                        "prior": prior,
                        "samples": n,
                        "metric": metric,
                        "mean": mean,
                        "ci95": half,
                        "seeds": len(draws),
                        "reference": None,
                        "reference_source": None,
                    }
                    if n:
                        none = np.array([np.mean([runs["none", draw][d, n][k] for d in mine]) for draw in draws])
                        row["over_none"], row["over_none_ci95"] = mean_ci(values - none)
                    rows.append(row)
    return rows
