"""Sample efficiency of searchers on a table: accuracy against latency, hypervolume by the MODNAS protocol."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import ModnasProtocol, mean_ci
from nastk.oracles.table import Benchmark, CountingOracle, benchmark
from nastk.parallel import each
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.registry import SEARCHERS
from nastk.search.base import Objective, Searcher
from nastk.spaces.base import Pool
from nastk.study import Study

SOURCES = {
    "nasbench201": (
        "1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3",
        "essential_ph_1", "samsung_s7",
    ),
    "fbnet": (
        "1080ti_1", "1080ti_32", "1080ti_64", "silver_4114", "silver_4210r", "samsung_a50", "pixel3",
        "essential_ph_1", "samsung_s7",
    ),
}  # fmt: skip
"""Training devices of Multi-Predict's default tasks ND and FD: the latency sources unless others are named."""

DUPLICATES = 0.995
"""Where a target is itself a source, it and the sources that rank like it (Spearman) above this are left out."""


@dataclass(frozen=True)
class _Run:
    space: str
    dataset: str
    device: str
    searcher: str
    seed: int
    budgets: tuple[int, ...]
    sources: tuple[str, ...]
    source_samples: int
    measurements: int
    batch: int


def run(
    space: str = "nasbench201",
    dataset: str = "cifar10",
    devices: Sequence[str] = (),
    searchers: Sequence[str] = ("random", "pymoo:nsga2", "pareto-local-search", "predictor"),
    budgets: Sequence[int] = (20, 50, 100),
    seeds: int = 10,
    sources: Sequence[str] | None = None,
    source_samples: int = 900,
    measurements: int = 10,
    batch: int = 5,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run every searcher on every device with every seed, once to the largest budget.

    The metric at a budget is the hypervolume of the architectures whose accuracy was paid for by then, at their table
    accuracy and latency. A searcher that takes predictors learns latency with few-shot-gp: it pays `measurements`
    latencies of the device and the budget in accuracies; any other pays the budget in both. The objective is the
    table's test accuracy, as in the literature that this is compared with.

    Args:
        space, dataset, devices: columns of a fetched table.
        searchers: names.
        budgets: paid accuracies at which the hypervolume is taken.
        seeds: repetitions 0 to ``seeds - 1``; a seed draws the source samples, the target samples and the search, and
            adding a searcher changes no other's result.
        sources: source devices of few-shot-gp, the default task's training devices if None. A target among them is
            left out, with its likes.
        source_samples: architectures a source device.
        batch: proposals at a time, the same for all searchers.
        workers: processes, by default one a core.
        progress: called with (done, total) after each run.

    Returns:
        Tidy rows, one a searcher, device and budget, and with device "*" their mean over devices.
    """
    if not searchers or not budgets or seeds < 1:
        raise InvalidValue("a benchmark needs at least one searcher, one budget and one seed")
    table = benchmark(space, dataset=dataset)
    devices = list(devices) or table.devices()
    table.values("test_accuracy")
    for device in devices:
        table.values("latency", device=device)
    for name in searchers:
        SEARCHERS.get(name)
    sources = tuple(SOURCES.get(table.table.name, ()) if sources is None else sources)
    for device in sources:
        if device not in table.devices():
            raise UnknownName("source device", device, table.devices())
    budgets = tuple(sorted(set(budgets)))
    jobs = [
        _Run(space, dataset, device, searcher, seed, budgets, sources, source_samples, measurements, batch)
        for seed in range(seeds)
        for searcher in searchers
        for device in devices
    ]
    found = dict(each(_search, jobs, workers, progress))
    return _rows(found, table, devices, searchers, budgets, seeds)


def _search(job: _Run) -> dict[int, tuple[float, int]]:
    """Hypervolume, and latencies paid for, at each budget of one run."""
    import torch

    torch.set_num_threads(1)
    table = _table(job.space, job.dataset)
    accuracy = CountingOracle(table.oracle("test_accuracy"))
    latency = CountingOracle(table.oracle("latency", device=job.device))
    goals = [Objective("accuracy", accuracy), Objective("latency", latency)]
    most = max(job.budgets)
    seed = zlib.crc32(f"search/{job.space}/{job.dataset}/{job.device}/{job.searcher}/{job.seed}".encode())
    options: dict[str, Any] = {}
    budget = {"accuracy": most, "latency": most}
    if "predictor" in inspect.signature(SEARCHERS.get(job.searcher)).parameters:
        options["predictor"] = {"accuracy": "gp", "latency": _latency_predictor(job)}
        budget["latency"] = job.measurements
    searcher: Searcher = SEARCHERS.create(job.searcher, table.space, goals, seed=seed, budget=budget, **options)
    history = Study(searcher, budget, batch=job.batch).run().history
    counts = history.counts()
    if accuracy.count != counts.get("accuracy", 0) or latency.count != counts.get("latency", 0):
        raise RuntimeError(f"{job.searcher} saw values that were not paid for")
    records = history.records()
    rows = table.table.rows(np.array([r.arch for r in records if r.objective == "accuracy"]))
    trained = np.cumsum([r.objective == "accuracy" for r in records])
    measured = np.cumsum([r.objective == "latency" for r in records])
    protocol = _protocol(job.space, job.dataset, job.device)
    return {n: (protocol.hypervolume(rows[:n]), int(measured[trained <= n].max(initial=0))) for n in job.budgets}


@lru_cache(maxsize=4)
def _table(space: str, dataset: str) -> Benchmark:
    return benchmark(space, dataset=dataset)


@lru_cache(maxsize=64)
def _protocol(space: str, dataset: str, device: str) -> ModnasProtocol:
    table = _table(space, dataset)
    return ModnasProtocol(100.0 - table.values("test_accuracy"), table.values("latency", device=device))


def _latency_predictor(job: _Run) -> FewShotGP:
    few = _pretrained(job.space, job.dataset, job.sources, job.source_samples, job.seed)
    return few.without([job.device], DUPLICATES) if job.device in few.devices else few


@lru_cache(maxsize=4)
def _pretrained(space: str, dataset: str, sources: tuple[str, ...], samples: int, seed: int) -> FewShotGP:
    """few-shot-gp on the sources, from samples that the seed draws."""
    few = FewShotGP()
    if not sources:
        return few
    table = _table(space, dataset)
    whole = table.space.space if isinstance(table.space, Pool) else table.space
    archs = table.space.enumerate()
    rng = np.random.default_rng([zlib.crc32(b"sources"), seed])
    rows = rng.choice(len(archs), min(samples, len(archs)), replace=False)
    values = {d: table.values("latency", device=d)[rows] for d in sources}
    return few.pretrain([Task(whole, archs[rows], values[d], "latency", "ms", "min", device=d) for d in sources])


def _rows(
    found: dict[_Run, dict[int, tuple[float, int]]],
    table: Benchmark,
    devices: Sequence[str],
    searchers: Sequence[str],
    budgets: Sequence[int],
    seeds: int,
) -> list[dict[str, Any]]:
    best = {d: _protocol(table.table.name, str(table.dataset), d).front_hypervolume() for d in devices}
    rows = []
    for searcher in searchers:
        for n in budgets:
            runs = {d: np.empty(seeds) for d in devices}
            paid = 0
            for job, values in found.items():
                if job.searcher == searcher:
                    runs[job.device][job.seed], measured = values[n]
                    paid = max(paid, measured)
            everything = {**runs, "*": np.mean(list(runs.values()), axis=0)}
            for device, values in everything.items():
                mean, half = mean_ci(values)
                rows.append(
                    {
                        "experiment": "search",
                        "space": table.table.name,
                        "dataset": table.dataset,
                        "device": device,
                        "method": searcher,
                        "samples": n,
                        "measurements": paid,
                        "metric": "hypervolume",
                        "mean": mean,
                        "ci95": half,
                        "seeds": seeds,
                        "reference": float(np.mean(list(best.values()))) if device == "*" else best[device],
                        "reference_source": "true front of the table",
                    }
                )
    return rows
