"""Problems of a benchmark of searchers: objectives on a table, and the scores of a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from nastk.bench._blank import blank
from nastk.data.device_file import read_devices
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import hypervolume, igd_plus, nondominated
from nastk.oracles.goals import Goal
from nastk.oracles.table import Benchmark, benchmark
from nastk.spaces._pool import Pool

Array = NDArray[np.float64]

ACCURACIES = ("val_accuracy", "test_accuracy")
"""A table's metrics for the searched accuracy, in order of preference; reversed for the reported one."""
USELESS = 10.0
"""Accuracy (%) at or below which MODNAS excludes an architecture from the normalisation and from all fronts."""


@dataclass(frozen=True)
class Problem:
    """Objectives of a search on a table.

    Args:
        space, dataset: of the table.
        goals: the objectives.
        report: metric for reporting the accuracy of results; None for the searched one.
        with_proxies: restrict the table to architectures with all zero-cost proxies known.
    """

    space: str
    dataset: str | None
    goals: tuple[Goal, ...]
    report: str | None = None
    with_proxies: bool = False

    @property
    def device(self) -> str:
        """The devices of its objectives, joined by ``+``; empty if none depends on one."""
        return "+".join(dict.fromkeys(g.device for g in self.goals if g.device))

    @property
    def searched(self) -> str:
        """Its objectives as a text."""
        return ", ".join(map(str, self.goals))

    @property
    def reported(self) -> str:
        """Its reported metrics as a text."""
        return ", ".join(map(str, self.report_goals()))

    def report_goals(self) -> tuple[Goal, ...]:
        """The objectives with the searched accuracy replaced by the reported one."""
        if self.report is None:
            return self.goals
        return tuple(replace(g, metric=self.report, epochs=None) if "accuracy" in g.metric else g for g in self.goals)


def problems(
    space: str,
    dataset: str | None = None,
    objectives: Sequence[str] | None = None,
    devices: Sequence[str] | None = None,
    report: str | None = None,
    with_proxies: bool = False,
) -> list[Problem]:
    """The problems of a benchmark, one per device if an objective needs a device and does not name it.

    Args:
        space: name of a fetched table.
        dataset: by default the table's first.
        objectives: texts for :meth:`Goal.parse`; by default the table's accuracy, and latency if it has some. A
            table without accuracies uses ``max:params`` instead, as a proxy of capacity.
        devices: of the objectives that need one; by default the table's target devices, or all.
        report: metric of the report; by default, if `objectives` are not given, the test accuracy.
        with_proxies: see :class:`Problem`.

    Raises:
        UnknownName: no such table, data set, metric or device.
        InvalidValue: an objective that cannot be read.
    """
    whole = benchmark(space)
    table, metrics = whole.table, whole.table.metrics()
    if dataset is None:
        dataset = next(iter(table.datasets()), None)
    bench = Benchmark(table, dataset)
    if objectives is None:
        known = [m for m in ACCURACIES if m in metrics and dataset in table.datasets(m)]
        goals = [Goal(known[0]) if known else Goal("params", direction="max")]
        if "latency" in metrics and devices != []:
            goals.append(Goal("latency"))
        if report is None and known[-1:] != known[:1]:
            report = known[-1]
    else:
        goals = [Goal.parse(text) for text in objectives]
    if report is not None and report not in metrics:
        raise UnknownName(f"metric of {space}", report, metrics)
    open_ = [g for g in goals if g.device is None and g.metric in metrics and table.devices(metric=g.metric)]
    if open_:
        able = [d for d in bench.devices(open_[0].metric) if all(d in bench.devices(g.metric) for g in open_)]
        chosen = list(devices or [d for d in table.target_devices if d in able] or able)
    elif devices:
        raise InvalidValue(f"no objective of {', '.join(map(str, goals))} leaves its device open for --devices")
    else:
        chosen = [""]
    found = []
    for device in chosen:
        placed = tuple(replace(g, device=device) if g in open_ else g for g in goals)
        found.append(Problem(space, dataset, placed, report, with_proxies))
    for problem in found:
        for goal in (*problem.goals, *problem.report_goals()):
            _refuse_unmeasured(goal, bench)
            goal.oracle(bench)
    return found


def _refuse_unmeasured(goal: Goal, bench: Benchmark) -> None:
    """Refuse a device of the user's that is no column of the table: a benchmark knows every value beforehand."""
    device = goal.device
    if device and device not in bench.devices() and device in read_devices():
        raise InvalidValue(
            f"{device} is a device of devices.toml, and a benchmark needs the values of all its networks: measure "
            f"them with nastk measure --device {device} --csv FILE, and bring them with nastk data import"
        )


def open_devices(goals: Sequence[Goal]) -> list[Goal]:
    """The same objectives without their devices."""
    return [replace(goal, device=None) for goal in goals]


@lru_cache(maxsize=4)
def members(
    space: str,
    dataset: str | None,
    accuracies: tuple[tuple[str, float | None], ...],
    proxies: bool,
    measured: tuple[tuple[str, str], ...] = (),
) -> Benchmark:
    """The table restricted to architectures with these accuracies (metric and epochs) and, optionally, all proxies.

    A table that holds a part of its space is restricted to those with the other values too (`measured`: metric and
    device), which may be few of it. In a table of a whole space, an architecture without a value is a failure.
    """
    whole = benchmark(space, dataset=dataset)
    known = np.ones(len(whole.table), dtype=bool)
    for metric, epochs in accuracies:
        known &= np.isfinite(whole.values(metric, fidelity=epochs))
    for metric, device in measured if isinstance(whole.space, Pool) else ():
        known &= np.isfinite(whole.values(metric, device=device))
    if proxies:
        source = whole.nearest_proxies()
        if source is None:
            raise InvalidValue(f"the table {space} has no zero-cost proxies")
        known &= np.isfinite(source(whole.table.space.enumerate())).all(axis=1)
    if not known.any():
        raise InvalidValue(f"no architecture of {space} has all requested values on {dataset}")
    return whole if known.all() else Benchmark(whole.table.subset(np.flatnonzero(known)), dataset)


class Scores:
    """Scores of architectures on a problem; all costs are minimised.

    Several objectives are scaled to [0, 1] over the table, excluding architectures of at most :data:`USELESS` %
    accuracy, and hypervolume is relative to (1, ..., 1): the protocol of MODNAS (Sukthanker et al., arXiv 2402.18213,
    released evaluation), for any objectives.

    Attributes:
        table: the architectures of the problem.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        wanted = (*problem.goals, *problem.report_goals())
        accuracies = tuple(dict.fromkeys((g.metric, g.epochs) for g in wanted if "accuracy" in g.metric))
        measured = tuple(dict.fromkeys((g.metric, g.device) for g in wanted if g.device))
        self.table = members(problem.space, problem.dataset, accuracies, problem.with_proxies, measured)
        self._searched, useful = self._costs(problem.goals)
        self._reported, also = self._costs(problem.report_goals())
        self.kept = useful & also
        if not self.kept.any():
            raise InvalidValue(f"no architecture of {problem.space} has all of {problem.searched}")
        self._low = self._reported[self.kept].min(axis=0)
        self._width = np.maximum(self._reported[self.kept].max(axis=0) - self._low, 1e-300)

    def _costs(self, goals: Sequence[Goal]) -> tuple[Array, NDArray[np.bool_]]:
        columns, kept = [], np.ones(len(self.table.table), dtype=bool)
        everything = self.table.space.enumerate()
        for goal in goals:
            oracle = goal.oracle(self.table)
            values = oracle(everything)
            columns.append(values if oracle.direction == "min" else -values)
            kept &= np.isfinite(values)
            if "accuracy" in goal.metric and oracle.unit == "%" and len(goals) > 1:
                kept &= values > USELESS
        return np.stack(columns, axis=1), kept

    @property
    def single(self) -> bool:
        """Whether there is one objective."""
        return len(self.problem.goals) == 1

    @cached_property
    def blank(self) -> Benchmark:
        """The table as a blank run shows it to searchers: see :func:`nastk.bench._blank.blank`.

        Raises:
            InvalidValue: an objective is no column of the table, but computed from the network, which such a searcher
                does not know.
        """
        held = self.table.table.metrics()
        for goal in self.problem.goals:
            if goal.metric not in held:
                raise InvalidValue(
                    f"{goal.metric} is computed from the network, which a blank table does not show, and the table has "
                    "no column of it; leave it out, or leave out --blank"
                )
        return blank(self.table, {goal.metric for goal in self.problem.goals})

    # ---- one objective

    @cached_property
    def best(self) -> float:
        """The best reported value of the table."""
        least = float(self._reported[self.kept, 0].min())
        return least if self.problem.report_goals()[0].oracle(self.table).direction == "min" else -least

    def regrets(self, rows: NDArray[np.int64]) -> Array:
        """Regret after each evaluation: reported value of the search's incumbent against the best possible, ``(n,)``.

        In the unit of the metric; NaN until a value is known.
        """
        costs = np.where(np.isfinite(self._searched[rows, 0]), self._searched[rows, 0], np.inf)
        leader = _leaders(costs)
        regret = self._reported[rows[leader], 0] - self._reported[self.kept, 0].min()
        return np.where(np.isfinite(costs[leader]), regret, np.nan)

    def evaluations_until(self, rows: NDArray[np.int64], within: float) -> float:
        """Evaluations until the regret is at most `within`; infinite if it never is."""
        there = np.flatnonzero(self.regrets(rows) <= within + 1e-9)
        return float(there[0] + 1) if len(there) else np.inf

    # ---- several objectives

    def normalise(self, rows: NDArray[np.int64]) -> Array:
        """Scaled reported costs of rows of the table, without excluded ones, ``(k, m)``."""
        rows = rows[self.kept[rows]]
        return np.asarray((self._reported[rows] - self._low) / self._width)

    def front(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that are non-dominated in the searched objectives."""
        rows = rows[self.kept[rows]]
        return rows[nondominated(self._searched[rows])] if self.problem.report is not None else rows

    def hypervolume(self, rows: NDArray[np.int64]) -> float:
        """Hypervolume of the front of these rows."""
        return hypervolume(self.normalise(self.front(rows)), np.ones(len(self.problem.goals)))

    def igd_plus(self, rows: NDArray[np.int64]) -> float:
        """IGD+ of the front of these rows to the true one."""
        return igd_plus(self.normalise(self.front(rows)), self.true_front)

    @cached_property
    def true_front(self) -> Array:
        """The true front in the reported metrics, ``(k, m)``."""
        points = self.normalise(np.arange(len(self.kept)))
        return points[nondominated(points)]

    @cached_property
    def best_hypervolume(self) -> float:
        """Hypervolume of the true front."""
        return hypervolume(self.true_front, np.ones(self.true_front.shape[1]))


def _leaders(costs: Array) -> NDArray[np.int64]:
    """For each position, the index of the incumbent: where the least cost so far was first reached."""
    best = np.minimum.accumulate(costs)
    new = np.concatenate([[True], best[1:] < best[:-1]])
    return np.maximum.accumulate(np.where(new, np.arange(len(costs)), 0))


@lru_cache(maxsize=64)
def scores(problem: Problem) -> Scores:
    """The scores of a problem; its table is read once."""
    return Scores(problem)
