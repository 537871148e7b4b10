"""What workers save: the same search inline, in threads and in worker processes, with evaluations of a given length."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

from nastk import run
from nastk.errors import InvalidValue
from nastk.metrics import mean_ci
from nastk.oracles.base import Evaluation, Oracle
from nastk.oracles.goals import Goal
from nastk.oracles.table import benchmark
from nastk.search.base import Objective
from nastk.spaces.base import Archs

HOW = ("inline", "threads", "processes")


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
    metrics: Sequence[str] = ("test_accuracy", "latency:pixel3"),
    searcher: str = "predictor",
    evaluations: int = 24,
    seconds: float = 0.2,
    workers: int = 4,
    batch: int | None = 1,
    repeats: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Wall-clock times of one search, by how its evaluations are run.

    Pools of workers are started before the clock: a search of any length starts them once.

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

    Returns:
        Tidy rows: seconds of each way, and their ratio to the inline time, with 95 % intervals; ``samples`` are
        evaluations of an objective that is not learned from few, ``evaluations`` those of all objectives.

    Raises:
        InvalidValue: no evaluation, worker or repeat, or a negative time.
    """
    if min(evaluations, workers, repeats) < 1 or not 0 <= seconds < math.inf:
        raise InvalidValue("there must be at least one evaluation, worker and repeat, of 0 seconds or more")
    table = benchmark(space, dataset=dataset)

    def composed(seed: int) -> run.Run:
        goals = [Objective.of(Slow(Goal.parse(text).oracle(table), seconds)) for text in metrics]
        described = run.describe_objects(
            table.space, goals, searcher, budget=evaluations, batch=batch, verify=0, seed=seed
        )
        return run.compose(*described)

    def search(seed: int, executor: Executor | None) -> float:
        search = composed(seed)
        begun = time.perf_counter()
        result = search.search(executor=executor, workers=workers)
        seconds_taken = time.perf_counter() - begun
        paid.append(sum(result.history.counts().values()))
        return seconds_taken

    composed(0)  # names that do not exist are refused before any process is started

    taken: dict[str, list[float]] = {name: [] for name in HOW}
    paid: list[int] = []
    with (
        ThreadPoolExecutor(workers) as threads,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes,
    ):
        list(processes.map(_warm_up, [seconds] * workers))
        pools: dict[str, Executor | None] = {"inline": None, "threads": threads, "processes": processes}
        search(0, None)  # what a process computes once is no part of any of them
        for seed in range(repeats):
            for name in HOW:
                taken[name].append(search(seed, pools[name]))
                if progress:
                    progress(sum(map(len, taken.values())), repeats * len(HOW))
    rows = []
    for name in HOW:
        ratios = [t / inline for t, inline in zip(taken[name], taken["inline"], strict=True)]
        for metric, values in (("seconds", taken[name]), ("ratio_to_inline", ratios)):
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


def _warm_up(seconds: float) -> None:
    """Something to do for each process, long enough that none does it twice."""
    import torch  # noqa: F401  what takes longest to import

    time.sleep(max(seconds, 0.2))
