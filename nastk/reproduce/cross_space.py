"""Transfer of latency predictors between search spaces (Multi-Predict, Section 4; Figures 7, 20 and 21).

For each device in both tables, a predictor on ``hwl`` (or ``zcp``) only learns the device's latency in one space from a
hundred architectures and is adapted to the same device in the other space with a few. ``hwl`` contains the latencies on
the sixteen other common devices whose rankings of the source architectures correlate least with the target's. The
baseline is the same network trained only on the few samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from nastk.bench import latency
from nastk.bench._journal import Journal, each_once
from nastk.bench._lookups import Lookups
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import mean_ci, spearman
from nastk.predictors.base import Task

PAIRS = {"NB201-FBNet": ("nasbench201", "fbnet"), "FBNet-NB201": ("fbnet", "nasbench201")}
"""Source and target space of each task."""

SOURCE_SAMPLES = 100
"""Architectures of the source space."""
OTHERS = 16
"""Devices in ``hwl``."""


@dataclass(frozen=True)
class _Run:
    task: str
    method: str
    device: str
    draw: int
    samples: tuple[int, ...]
    source_samples: int


def common_devices() -> list[str]:
    """Devices that both tables have."""
    first, second = (latency.open_table(space).devices() for space in PAIRS["NB201-FBNet"])
    return [device for device in first if device in second]


def run(
    tasks: Sequence[str],
    methods: Sequence[str],
    samples: Sequence[int] = (2, 4, 5, 10, 15, 20, 30, 40),
    seeds: int = 10,
    source_samples: Sequence[int] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: str | os.PathLike[str] | None = None,
    share: float | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Compare methods across spaces; tidy rows like those of `nastk.bench.latency.run`, arguments as there.

    Args:
        share: in place of `source_samples`, the fraction of the source space's table that is learned from: .15 in the
            paper's text, where its code takes :data:`SOURCE_SAMPLES`.

    Raises:
        InvalidValue: a method whose encoding belongs to one space; a share of nothing, or of more than there is.
    """
    for task in tasks:
        if task not in PAIRS:
            raise UnknownName("pair of spaces", task, PAIRS)
    able = [m for m in methods if movable(m)]
    if not able:
        known = ", ".join(name for name in latency.METHODS if movable(name))
        raise InvalidValue(f"none of {', '.join(methods)} transfers between search spaces; those that do: {known}")
    if min(samples) < 2:
        raise InvalidValue(f"adapting to a device needs at least 2 samples; got {min(samples)}")
    if share is not None and (source_samples or not 0 < share <= 1):
        raise InvalidValue(
            f"the share of the source space is above 0 and at most 1, without source samples; got {share}"
        )
    jobs = [
        _Run(task, method, device, draw, tuple(sorted(set(samples))), size)
        for task in tasks
        for size in ([_size(task, share)] if share else source_samples or [SOURCE_SAMPLES])
        for method in able
        for draw in range(first, first + seeds)
        for device in common_devices()
    ]
    kept = Journal(journal, _written, _read)
    found = dict(each_once(_transfer, jobs, kept, asdict, workers, progress))
    return _rows(found, range(first, first + seeds))


def _size(task: str, share: float) -> int:
    """Architectures that are a share of the source space's table."""
    return max(3, round(share * len(latency.open_table(PAIRS[task][0]).space.enumerate())))


def _written(scores: dict[int, _Score]) -> dict[str, Any]:
    return {"transferred": [[n, *score] for n, score in scores.items()]}


def _read(entry: Mapping[str, Any]) -> dict[int, _Score]:
    return {int(n): _Score(*score) for n, *score in entry["transferred"]}


def movable(method: str) -> bool:
    """Whether a method works across spaces: its features mean the same in both, or it is not pretrained."""
    encoding = latency.find(method).options.get("encoding", "vec")
    return "vec" not in str(encoding).split("+") or latency.find(method).scratch


def _looks_up(method: str) -> bool:
    """Whether a method's encoding has latencies on other devices."""
    return "hwl" in str(latency.find(method).options.get("encoding", "vec")).split("+")


class _Score(NamedTuple):
    """Spearman's correlation, and the different latencies and architectures' proxies that were used for it."""

    spearman: float
    measurements: int
    source_measurements: int
    looked_up: int
    proxies: int


def _transfer(job: _Run) -> dict[int, _Score]:
    """Scores by number of samples."""
    method = latency.find(job.method)
    tables = [latency.open_table(space) for space in PAIRS[job.task]]
    archs = [table.space.enumerate() for table in tables]
    spaces = [table.space for table in tables]
    truth = [latency._latency(space, job.device) for space in PAIRS[job.task]]
    drawn = latency.generator("sources", job.task, job.device, job.draw)
    rows = drawn.choice(len(archs[0]), job.source_samples, replace=False)
    contexts = []
    names = _least_alike(PAIRS[job.task][0], job.device, rows)
    for table in tables:
        contexts.append(
            Context(
                proxies=Lookups(table.proxy_source()) if "zcp" in method.lookups else None,
                latencies=Lookups(table.latency_source(names)) if _looks_up(job.method) else None,
            )
        )
    learner = latency.make(method, seed=job.draw)
    if not method.scratch:
        source = Task(
            spaces[0], archs[0][rows], truth[0][rows], "latency", "ms", device=job.device, context=contexts[0]
        )
        learner.pretrain([source])
    scores = {}
    for k in job.samples:
        at = latency.generator("target", job.task, job.device, k, job.draw).choice(len(archs[1]), k, replace=False)
        target = Task(spaces[1], archs[1][at], truth[1][at], "latency", "ms", device=job.device, context=contexts[1])
        order = 0.0
        if np.ptp(target.values) > 0:  # else a low-resolution timer and two samples: nothing to learn
            rest = np.setdiff1d(np.arange(len(archs[1])), at)
            order = latency.order(learner.adapt(target).predict(archs[1]).mean[rest], truth[1][rest])
        # The device itself is not looked up, so that what is looked up and what was learned are different latencies.
        looked_up = sum(int(c.latencies.asked()[1].sum()) for c in contexts if isinstance(c.latencies, Lookups))
        proxies = sum(c.proxies.count for c in contexts if isinstance(c.proxies, Lookups))
        learned = 0 if method.scratch else job.source_samples
        scores[k] = _Score(order, k + learned + looked_up, learned, looked_up, proxies)
    return scores


def _least_alike(space: str, device: str, rows: np.ndarray) -> list[str]:
    """The common devices whose rankings of the source architectures correlate least with `device`."""
    mine = latency._latency(space, device)[rows]
    others = [d for d in common_devices() if d != device]
    alike = {d: spearman(latency._latency(space, d)[rows], mine) for d in others}
    return sorted(sorted(others, key=lambda d: alike[d])[:OTHERS])


def _rows(found: dict[_Run, dict[int, _Score]], draws: Sequence[int]) -> list[dict[str, Any]]:
    out = []
    groups = dict.fromkeys((job.task, job.source_samples, job.method) for job in found)
    for task, size, method in groups:
        mine = {
            (job.device, job.draw): scores
            for job, scores in found.items()
            if (job.task, job.source_samples, job.method) == (task, size, method)
        }
        devices = list(dict.fromkeys(device for device, _ in mine))
        for k in next(iter(mine.values())):
            table = np.array([[mine[d, s][k].spearman for d in devices] for s in draws])
            used = [scores[k] for scores in mine.values()]
            most = {what: max(getattr(s, what) for s in used) for what in latency.USED}
            others = OTHERS if _looks_up(method) else 0
            most["training_measurements"] = latency.training_measurements(k, most["source_measurements"], others)
            for device, values in [*zip(devices, table.T, strict=True), ("*", table.mean(axis=1))]:
                mean, half = mean_ci(values)
                out.append(
                    {
                        "experiment": "latency",
                        "space": PAIRS[task][1],
                        "task": task,
                        "method": method,
                        "samples": k,
                        "source_samples": size,
                        **most,
                        "device": device,
                        "devices": len(devices) if device == "*" else 1,
                        "metric": "spearman",
                        "mean": mean,
                        "ci95": half,
                        "seeds": len(draws),
                        "pretrainings": len(draws),
                        "reference": None,
                        "reference_source": None,
                    }
                )
    return out
