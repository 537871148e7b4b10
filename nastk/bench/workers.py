"""What workers save: the same search inline and by workers of each sort, with evaluations of a given length."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

from nastk import run
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import mean_ci
from nastk.oracles.base import Evaluation, Oracle
from nastk.oracles.goals import Goal
from nastk.oracles.table import benchmark
from nastk.search.base import Objective
from nastk.spaces.base import Archs
from nastk.workers.base import Call, Workers
from nastk.workers.isolated import Isolated

HOW = ("inline", "threads", "processes", "isolated")
"""This process; executors of Python's; processes of nastk's own, which may end as they like (``--workers``)."""

METRICS = ("test_accuracy", "latency:pixel3")
"""Objectives of the search where nothing else is said."""

DASK = "dask"
"""The same on a Dask cluster of this machine, where Dask is installed."""


class Slow(Oracle):
    """A column of a table whose evaluations take a given time, as a training or a measurement does.

    Args:
        oracle: of a table; a worker process opens the table again.
        seconds: that each evaluation takes.
    """

    def __init__(self, oracle: Oracle, seconds: float):
        self.oracle, self.seconds, self.space = oracle, seconds, oracle.space
        self.name, self.unit, self.direction, self.source = oracle.name, oracle.unit, oracle.direction, oracle.source
        self.dataset, self.device, self.few_shot = oracle.dataset, oracle.device, oracle.few_shot

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "space"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, space=state["oracle"].space)

    def search_proxies(self) -> Any:
        return self.oracle.search_proxies()

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        time.sleep(self.seconds * len(archs))
        return self.oracle.evaluate(archs, fidelity)


def compare(
    space: str = "nasbench201",
    dataset: str | None = "cifar10",
    metrics: Sequence[str] = METRICS,
    searcher: str = "predictor",
    evaluations: int = 24,
    seconds: float = 0.2,
    workers: int = 4,
    batch: int | None = 1,
    repeats: int = 3,
    progress: Callable[[int, int], None] | None = None,
    ways: Sequence[str] = HOW,
    after: int = 0,
) -> list[dict[str, Any]]:
    """Wall-clock times of one search, by how its evaluations are run.

    Workers are started before the clock: a search of any length starts them once.

    Args:
        space, dataset: of a fetched table.
        metrics: its objectives, ``METRIC`` or ``METRIC:DEVICE``.
        searcher: its name.
        evaluations: of each expensive objective; a few-shot predictor learns from its ten measurements.
        seconds: that each evaluation takes.
        workers: of the pools.
        batch: proposals that the inline search asks for at a time: with 1 each knows all results before it; None for
            the default of `nastk.search`. Workers ask for as many as are free.
        repeats: random seeds 0 to ``repeats - 1``.
        progress: called with (done, total) after each search.
        ways: of :data:`HOW` and :data:`DASK`; inline is always among them.
        after: evaluations, over all objectives, that are left out: the clock begins when so many are recorded.

    Returns:
        Tidy rows: seconds of each way, their ratio to the inline time, and how many times as fast it was (speedup),
        with 95 % intervals; ``samples`` are evaluations of an objective that is not learned from few, ``evaluations``
        those of all objectives.

    Raises:
        InvalidValue: no evaluation, worker or repeat, a negative time, or nothing left after `after`.
        UnknownName: no such way.
        MissingExtra: Dask is asked for, and not installed.
    """
    if min(evaluations, workers, repeats) < 1 or not 0 <= seconds < math.inf:
        raise InvalidValue("there must be at least one evaluation, worker and repeat, of 0 seconds or more")
    if not 0 <= after < evaluations:
        raise InvalidValue(f"after leaves out fewer than the {evaluations} evaluations; got {after}")
    for way in ways:
        if way not in (*HOW, DASK):
            raise UnknownName("way to evaluate", way, (*HOW, DASK))
    ways = tuple(dict.fromkeys(["inline", *ways]))
    table = benchmark(space, dataset=dataset)

    def composed(seed: int) -> run.Run:
        goals = [Objective.of(Slow(Goal.parse(text).oracle(table), seconds)) for text in metrics]
        described = run.describe_objects(
            table.space, goals, searcher, budget=evaluations, batch=batch, verify=0, seed=seed
        )
        return run.compose(*described)

    def search(seed: int, executor: Executor | Workers | None) -> float:
        search = composed(seed)
        begun = [time.perf_counter()]

        def left_out(done: float, total: float, objective: str) -> None:
            if objective and done == after:
                begun[0] = time.perf_counter()

        result = search.search(left_out, executor, workers)
        seconds_taken = time.perf_counter() - begun[0]
        paid.append(sum(result.history.counts().values()))
        return seconds_taken

    goals = composed(0).searcher.objectives  # names that do not exist are refused before any process is started

    taken: dict[str, list[float]] = {name: [] for name in ways}
    paid: list[int] = []
    with ExitStack() as stack:
        pools: dict[str, Executor | Workers | None] = {"inline": None}
        for name in ways[1:]:
            pools[name] = _started(name, workers, goals, max(seconds, 0.2), stack)
        search(0, None)  # what a process computes once is no part of any of them
        for seed in range(repeats):
            for name in ways:
                taken[name].append(search(seed, pools[name]))
                if progress:
                    progress(sum(map(len, taken.values())), repeats * len(ways))
    rows = []
    for name in ways:
        ratios = [t / inline for t, inline in zip(taken[name], taken["inline"], strict=True)]
        speedups = [1.0 / ratio for ratio in ratios]
        for metric, values in (("seconds", taken[name]), ("ratio_to_inline", ratios), ("speedup", speedups)):
            mean, half = mean_ci(values)
            rows.append(
                {
                    "experiment": "workers", "space": space, "dataset": dataset, "method": name,
                    "samples": evaluations, "evaluations": max(paid), "metric": metric, "mean": mean, "ci95": half,
                    "seeds": repeats,
                    "workers": 1 if name == "inline" else workers, "evaluation_seconds": seconds, "searcher": searcher,
                }
            )  # fmt: skip
    return rows


def _started(
    name: str, workers: int, goals: Sequence[Objective], seconds: float, stack: ExitStack
) -> Executor | Workers:
    """Workers of one sort, each of which has done something."""
    if name == "threads":
        return stack.enter_context(ThreadPoolExecutor(workers))
    if name == "processes":
        pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
        list(pool.map(_warm_up, [seconds] * workers))
        return pool
    own: Workers = Isolated(workers)
    if name == DASK:
        from nastk.workers.dask import OnDask

        own = OnDask(f"local:{workers}")
    stack.callback(own.close)
    for goal in goals:
        if goal.expensive:  # as many at a time as there are workers, each of which then has opened the table
            some = goal.oracle.space.sample(workers, 0)
            for answer in [own.submit(Call(goal, (), arch[None], None)) for arch in some]:
                answer.result()
    return own


def _warm_up(seconds: float) -> None:
    """Something to do for each process, long enough that none does it twice."""
    import torch  # noqa: F401  what takes longest to import

    time.sleep(max(seconds, 0.2))
