"""Transfer of accuracy predictors between tasks and spaces (Multi-Predict, Section 4, Figures 9, 15, 18 and 19).

Each method learns one source task and is adapted to one target with a few samples. Methods that transfer use only
zero-cost proxies, so that they are independent of the space; their baselines only have the target's architectures. As
in the paper, 15 % of the source is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from nastk.bench._journal import Journal, each_once
from nastk.bench.accuracy import seeded, sources_and_targets
from nastk.data import suite_zero
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import mean_ci, spearman
from nastk.predictors.base import Predictor, Task

SHARE = 0.15
"""Fraction of the source task's architectures to learn from (the paper, Section 4)."""
METHODS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "transfer-mlp": ("transfer-mlp", {}, True),
    "transfer-mlp-vec": ("transfer-mlp", {"encoding": "vec"}, False),
    "transfer-mlp-zcp": ("transfer-mlp", {}, False),
    "gp-bma": ("gp-bma", {}, True),
    "gp-bma-vec": ("gp-bma", {"encoding": "vec"}, False),
}
"""Predictor, its options, and whether it is pretrained on the source."""
BASELINES = {"transfer-mlp": "transfer-mlp-vec", "gp-bma": "gp-bma-vec"}
"""Baseline of each method that transfers: the target's choices only."""
FROM_SCRATCH = {"transfer-mlp": "transfer-mlp-zcp"}
"""The same method on the same proxies without the source, where there is one."""


IN_ORDER = ("best first", "worst first")
"""Orders in which proxies are removed one after another."""

IN_ORDER_ON = "nasbench201/cifar10"
"""Task on which they are, as in the paper (Figure 15)."""


@dataclass(frozen=True)
class _Run:
    method: str
    source: str
    targets: tuple[str, ...]
    draw: int
    samples: int
    without: tuple[str, ...] = ()


def pairs(sources: Sequence[str] | None = None, targets: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Source and target of all pairs of different tasks; names of tasks, or of spaces for all their tasks.

    Raises:
        UnknownName: no such task or space.
    """
    return [(s, t) for s in suite_zero.names_of(sources) for t in suite_zero.names_of(targets) if s != t]


def run(
    methods: Sequence[str] = ("transfer-mlp",),
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    samples: int = 10,
    seeds: int = 10,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Methods that transfer, each with its baseline, on pairs of tasks.

    Args:
        methods: keys of :data:`BASELINES`.
        sources, targets: tasks ("nasbench201/svhn") or spaces; by default all 28.
        samples: number of accuracies of the target.
        seeds: number of random seeds, from 0, of source and target samples.
        journal: a file that keeps every finished run; runs that it holds are not repeated.

    Returns:
        Tidy rows: for each pair the method's ``spearman`` and its ``improvement`` over the baseline, and over itself
        from scratch on the same proxies (``improvement_over_scratch``, where :data:`FROM_SCRATCH` has one);
        ``pairs_won`` and ``pairs_won_over_scratch`` are the fractions of pairs with a positive mean improvement, and
        ``pairs_won_a_draw`` with one in a single draw, mean over draws.
        ``source_accuracies`` are those of the source task from which was learned before.
    """
    for method in methods:
        if method not in BASELINES:
            raise UnknownName("method that transfers", method, BASELINES)
    wanted = pairs(sources, targets)
    if not wanted or samples < 2 or seeds < 1:
        raise InvalidValue("transfer needs a pair of different tasks, at least 2 samples and a seed")
    ends = tuple(dict.fromkeys(target for _, target in wanted))
    jobs = []
    for draw in range(seeds):
        for method in methods:
            for source in dict.fromkeys(source for source, _ in wanted):
                mine = tuple(t for t in ends if (source, t) in set(wanted))
                jobs.append(_Run(method, source, mine, draw, samples))
            others = [BASELINES[method], *([FROM_SCRATCH[method]] if method in FROM_SCRATCH else [])]
            jobs += [_Run(other, "", ends, draw, samples) for other in others]
    found = _run_all(jobs, workers, progress, journal)
    return _rows(found, methods, wanted, seeds, samples)


def run_removal(
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    samples: int = 10,
    seeds: int = 3,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Ablation of each common proxy: transfer-mlp without it, mean over the pairs (Figure 15)."""
    wanted = pairs(sources, targets)
    if not wanted or samples < 2 or seeds < 1:
        raise InvalidValue("transfer needs a pair of different tasks, at least 2 samples and a seed")
    removals: list[tuple[str, ...]] = [(), *((name,) for name in suite_zero.COMMON)]
    jobs = [
        _Run("transfer-mlp", source, tuple(t for s, t in wanted if s == source), draw, samples, removed)
        for draw in range(seeds)
        for removed in removals
        for source in dict.fromkeys(source for source, _ in wanted)
    ]
    found = _run_all(jobs, workers, progress, journal)
    rows = []
    for removed in removals:
        values = [
            np.mean(
                [
                    v
                    for job, outcome in found.items()
                    if (job.draw, job.without) == (draw, removed)
                    for v in outcome.spearman.values()
                ]
            )
            for draw in range(seeds)
        ]
        learned = max(o.source_accuracies for o in found.values())
        row = _row("*", "*", "transfer-mlp", samples, learned, "spearman", np.array(values), "proxy-removal")
        rows.append({**row, "removed": removed[0] if removed else "nothing"})
    return rows


def run_in_order(
    target: str = IN_ORDER_ON,
    samples: int = 50,
    seeds: int = 10,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Proxies removed one after another, the best or the worst first, until one is left (Figure 15).

    Predictors learn from scratch, from `samples` accuracies of the task. How good a proxy is is told by its own
    Spearman correlation with all accuracies of the task, in size: hindsight, which no predictor has.

    Args:
        target: one task.
        samples: accuracies that predictors learn from; the paper does not say how many it took.

    Returns:
        Tidy rows; ``order`` is one of :data:`IN_ORDER`, ``left`` the number of proxies left, ``removed`` the last one
        removed.

    Raises:
        UnknownName: no such task.
        InvalidValue: `target` is several tasks.
    """
    ends = suite_zero.names_of([target])
    if len(ends) > 1 or samples < 2 or seeds < 1:
        raise InvalidValue(
            f"removal in order needs one task, such as nasbench201/cifar10, at least 2 samples and a seed; got {target}"
        )
    task = sources_and_targets()[ends[0]]
    ranked = _ranked_proxies(task)
    removals = {order: ranked if order == IN_ORDER[0] else ranked[::-1] for order in IN_ORDER}
    jobs = [
        _Run("transfer-mlp-zcp", "", (ends[0],), draw, samples, tuple(names[:count]))
        for draw in range(seeds)
        for names in removals.values()
        for count in range(len(ranked))
    ]
    found = _run_all(list(dict.fromkeys(jobs)), workers, progress, journal)
    rows = []
    for order, names in removals.items():
        for count in range(len(ranked)):
            gone = tuple(names[:count])
            values = [found[_Run("transfer-mlp-zcp", "", (ends[0],), d, samples, gone)] for d in range(seeds)]
            scores = np.array([outcome.spearman[ends[0]] for outcome in values])
            row = _row("", ends[0], "transfer-mlp-zcp", samples, 0, "spearman", scores, "proxies-in-order")
            rows.append(
                {**row, "order": order, "left": len(ranked) - count, "removed": gone[-1] if gone else "nothing"}
            )
    return rows


def _ranked_proxies(task: Task) -> list[str]:
    """Names of a task's proxies by the size of their rank correlation with its accuracies, the greatest first."""
    proxies = task.context.proxies
    assert proxies is not None
    values = proxies(task.archs)
    sizes = {}
    for column, name in zip(values.T, proxies.names, strict=True):
        known = np.isfinite(column)
        sizes[name] = abs(spearman(column[known], task.values[known]))
    return sorted(sizes, key=lambda name: -sizes[name])


class _Outcome(NamedTuple):
    """Spearman's correlation by target, and the accuracies of the source from which was learned before."""

    spearman: dict[str, float]
    source_accuracies: int


def _run_all(
    jobs: Sequence[_Run],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
    journal: str | os.PathLike[str] | None,
) -> dict[_Run, _Outcome]:
    kept = Journal(journal, _Outcome._asdict, lambda entry: _Outcome(entry["spearman"], entry["source_accuracies"]))
    return dict(each_once(_scores, jobs, kept, asdict, workers, progress))


def _scores(job: _Run) -> _Outcome:
    """Scores on each target, over all architectures not sampled."""
    name, options, transfers = METHODS[job.method]
    options = {**options, **({"without_proxies": job.without} if job.without else {})}
    made = seeded(name, options, job.draw)
    tasks = sources_and_targets()
    learned = 0
    if transfers:
        source = tasks[job.source]
        rng = np.random.default_rng([job.draw, crc32(job.source.encode())])
        rows = rng.choice(len(source), max(20, round(SHARE * len(source))), replace=False)
        made.pretrain([source.subset(rows)])
        learned = len(rows)
    return _Outcome({target: _score(made, tasks[target], job) for target in job.targets}, learned)


def _score(made: Predictor, task: Task, job: _Run) -> float:
    rng = np.random.default_rng([1, job.draw, crc32(f"{task.space.name}/{task.dataset}".encode())])
    order = rng.permutation(len(task))  # the same samples for every method and source
    seen, others = order[: job.samples], order[job.samples :]
    if np.ptp(task.values[seen]) == 0:
        return 0.0
    predicted = made.adapt(task.subset(seen)).predict(task.archs[others]).mean
    return spearman(predicted, task.values[others]) if np.ptp(predicted) > 0 else 0.0


def _rows(
    found: dict[_Run, _Outcome],
    methods: Sequence[str],
    wanted: Sequence[tuple[str, str]],
    seeds: int,
    samples: int,
) -> list[dict[str, Any]]:
    rows = []
    for method in methods:
        mine = {(j.source, j.draw): o.spearman for j, o in found.items() if j.method == method}
        learned = {j.source: o.source_accuracies for j, o in found.items() if j.method == method}
        for source, target in wanted:
            values = np.array([mine[source, draw][target] for draw in range(seeds)])
            rows.append(_row(source, target, method, samples, learned[source], "spearman", values))
        against = {"": BASELINES[method]} | ({"_over_scratch": FROM_SCRATCH[method]} if method in FROM_SCRATCH else {})
        for suffix, other in against.items():
            base = {j.draw: o.spearman for j, o in found.items() if j.method == other}
            gains = []
            for source, target in wanted:
                gain = np.array([mine[source, draw][target] - base[draw][target] for draw in range(seeds)])
                rows.append(_row(source, target, method, samples, learned[source], f"improvement{suffix}", gain))
                gains.append(gain)
            for target in dict.fromkeys(target for _, target in wanted):
                values = np.array([base[draw][target] for draw in range(seeds)])
                rows.append(_row("", target, other, samples, 0, "spearman", values))
            by_pair = np.array(gains)
            better = np.array([float(np.mean(by_pair.mean(axis=1) > 0))])
            won = _row("*", "*", method, samples, max(learned.values()), f"pairs_won{suffix}", better)
            rows.append({**won, "seeds": seeds})
            each_draw = (by_pair > 0).mean(axis=0)
            rows.append(_row("*", "*", method, samples, max(learned.values()), f"pairs_won_a_draw{suffix}", each_draw))
    return rows


def _row(
    source: str,
    target: str,
    method: str,
    samples: int,
    source_accuracies: int,
    metric: str,
    values: np.ndarray,
    experiment: str = "transfer",
) -> dict[str, Any]:
    mean, half = mean_ci(values)
    return {
        "experiment": experiment,
        "source": source,
        "task": target,
        "method": method,
        "samples": samples,
        "source_accuracies": source_accuracies,
        "metric": metric,
        "mean": mean,
        "ci95": half,
        "seeds": len(values),
        "reference": None,
        "reference_source": None,
    }
