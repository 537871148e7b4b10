"""From timed visits to latencies: the machine's speed is fitted and taken out, and the interval is that of a new run.

Networks are visited in turn, again and again, and each visit times a few runs. On a machine with other work on it a
visit's time has three parts: the network, the machine's speed at that moment (a busy sibling core, a changed frequency,
caches that other work emptied), and noise. The speed is common to neighbouring visits of other networks, which is how
it is told from the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

ADJUSTED = 5
"""Least number of networks whose visits tell the machine's speed. With fewer, the speed cannot be distinguished from
that of the networks."""

NEIGHBOURS = 1.0
"""Timings to either side that tell the speed at a timing: the scale of a Gaussian kernel over their order. The speed of
a busy machine changes within tens of milliseconds, so that near ones tell it better than many."""

FAST = 0.1
"""The level that is reported of a disturbed machine: its speed in its fastest tenth of visits, which is the nearest
that was seen to a machine without other work."""

PARTS = 8
"""Parts of a run that are resampled."""

DRAWS = 100
"""Resamples: for the standard deviation of a level to within a tenth."""

LASTING = 1.5
"""How much more the levels of two runs differ than those of one run's resampled parts do: from repeated runs on a
two-core machine with more and less other work."""

UNSEEN = 0.2
"""Share of the speed's spread that is taken for the deviation of a run's level, where the run itself did not see it
move: what makes a machine unsteady for moments may do so for minutes. From the same runs."""

BUSY = 1.05
"""Wall time over processor time from which on other work is said to have disturbed the runs."""

UNSTEADY = 0.05
"""Spread of the speed (standard deviation of its logarithm) from which on a machine is called unsteady."""


@dataclass(frozen=True)
class Timings:
    """Times of a set of networks, in the order in which they were taken; all of shape ``(n,)``.

    Args:
        network: number of the network of each.
        visit: number of the visit of the network in which it was taken.
        build: number of the build of the network: weights lie elsewhere in memory after another one.
        ms: of one run, or the median of some runs of a visit if they are short.
    """

    network: NDArray[np.int64]
    visit: NDArray[np.int64]
    build: NDArray[np.int64]
    ms: Values


@dataclass(frozen=True)
class Fit:
    """Latencies of the networks of a set.

    Args:
        ms: of each network, shape ``(networks,)``.
        error: standard error of log `ms` from visit to visit and from build to build, shape ``(networks,)``.
        level: standard deviation of the logarithm of a run's own level, common to all its networks.
        freedom: degrees of freedom of `level`.
        speed: logarithm of how slow the machine was at each visit, shape ``(n,)``, 0 in the median.
    """

    ms: Values
    error: Values
    level: float
    freedom: int
    speed: Values

    @property
    def spread(self) -> float:
        """Standard deviation of the speed's logarithm, from its quartiles."""
        return _spread(self.speed)

    def interval(self, confidence: float = 0.95) -> tuple[Values, Values]:
        """Bounds that hold the latencies of another run of the same measurement, each of shape ``(networks,)``.

        The other run has the same errors as this one, hence twice the variance.
        """
        factor = stats.t.ppf(0.5 + confidence / 2, self.freedom)
        half = factor * np.sqrt(2.0 * (self.error**2 + self.level**2))
        return self.ms * np.exp(-half), self.ms * np.exp(half)


def fit_timings(timings: Timings, count: int, fast: bool = False, sweeps: int = 6) -> Fit:
    """Fit ``log ms = network + speed + noise``; networks by medians, the speed by a running weighted median.

    A backfitting of the additive model (Hastie & Tibshirani, Generalized Additive Models, 1990) with medians, which
    single disturbed visits do not move.

    Args:
        timings: at least one of each network.
        count: number of networks.
        fast: report the level of the fastest tenth of visits instead of the median one.
        sweeps: of the backfitting.
    """
    logs = np.log(timings.ms)
    own = [timings.network == k for k in range(count)]
    level = np.array([np.median(logs[mine]) for mine in own])
    speed = np.zeros(len(logs))
    if count >= ADJUSTED:
        near, weights = _neighbours(timings.network)
        for _ in range(sweeps):
            speed = _weighted_median((logs - level[timings.network])[near], weights)
            speed -= np.median(speed)
            level = np.array([np.median((logs - speed)[mine]) for mine in own])
    rest = logs - speed - level[timings.network]
    if count < ADJUSTED:
        speed = rest  # what moves so few networks may be the machine, and is taken for it
    at = float(np.quantile(speed, FAST)) if fast else 0.0
    between, freedom = _level_error(speed, fast)
    error = np.array([_standard_error(_by_visit(rest, timings, mine)) for mine in own])
    layout = _build_variance(timings, rest, own) / len(np.unique(timings.build))
    return Fit(np.exp(level + at), np.sqrt(error**2 + layout), between, freedom, speed)


def _neighbours(network: NDArray[np.int64]) -> tuple[NDArray[np.int64], Values]:
    """Positions and weights of the visits of other networks around each visit, both ``(n, neighbours)``."""
    n, reach = len(network), int(np.ceil(3 * NEIGHBOURS))
    offsets = np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])
    position = np.arange(n)[:, None] + offsets
    near = np.clip(position, 0, n - 1)
    weights = np.exp(-0.5 * (offsets / NEIGHBOURS) ** 2) * np.ones((n, 1))
    weights[(position != near) | (network[near] == network[:, None])] = 0.0
    return near, weights


def _weighted_median(values: Values, weights: Values) -> Values:
    """The weighted median of each row; 0 for a row without weight."""
    order = np.argsort(values, axis=1)
    ordered, mass = np.take_along_axis(values, order, 1), np.take_along_axis(weights, order, 1).cumsum(axis=1)
    middle = (mass >= mass[:, -1:] / 2).argmax(axis=1)
    return np.where(mass[:, -1] > 0, ordered[np.arange(len(values)), middle], 0.0)


def _by_visit(rest: Values, timings: Timings, mine: NDArray[np.bool_]) -> Values:
    """Means of the timings of each visit, which are not independent of each other."""
    _, visit = np.unique(timings.visit[mine], return_inverse=True)
    return np.asarray(np.bincount(visit, rest[mine]) / np.bincount(visit))


def _spread(values: Values) -> float:
    """Standard deviation, from the quartiles."""
    low, high = np.percentile(values, [25, 75])
    return float(high - low) / 1.349


def _standard_error(rest: Values) -> float:
    """Of the median of one network's visits, whose neighbours in time are independent once the speed is out."""
    if len(rest) < 2:
        return float("nan")
    sd = max(_spread(rest), 0.5 * float(rest.std(ddof=1)))
    return float(np.sqrt(np.pi / 2)) * sd / float(np.sqrt(len(rest)))


def _build_variance(timings: Timings, rest: Values, own: Sequence[NDArray[np.bool_]]) -> float:
    """Variance between builds of a network beyond that between visits, pooled over all networks."""
    builds = np.unique(timings.build)
    if len(builds) < 2:
        return 0.0
    excess = []
    for mine in own:
        parts = [_by_visit(rest, timings, mine & (timings.build == b)) for b in builds]
        if all(len(part) > 1 for part in parts):
            medians = np.array([np.median(part) for part in parts])
            within = float(np.mean([_standard_error(part) ** 2 for part in parts]))
            excess.append(float(medians.var(ddof=1)) - within)
    return max(float(np.mean(excess)), 0.0) if excess else 0.0


def _level_error(speed: Values, fast: bool) -> tuple[float, int]:
    """Standard deviation of a run's own level, and its degrees of freedom.

    From the level of resampled parts of the run (a block bootstrap; Künsch, Annals of Statistics, 1989): what moves a
    machine for seconds or minutes is in some of them and not in others. What lasts longer than a run is in all or in
    none, hence the two factors (`LASTING`, `UNSEEN`).
    """
    parts = np.array_split(speed, min(PARTS, max(len(speed) // 4, 1)))
    if len(parts) < 2:
        return 0.0, 1
    rng, at = np.random.default_rng(0), FAST if fast else 0.5
    draws = rng.integers(len(parts), size=(DRAWS, len(parts)))
    levels = [np.quantile(np.concatenate([parts[i] for i in draw]), at) for draw in draws]
    return float(np.hypot(LASTING * np.std(levels, ddof=1), UNSEEN * _spread(speed))), len(parts) - 1


def median_interval(times: Values) -> tuple[float, float]:
    """The 95 % order-statistic interval of the median of independent times.

    The k-th least and k-th greatest of n enclose the median unless fewer than k of n fair coins fall on one side; k is
    the greatest for which that is at most 5 % likely. Below six values no such k exists, and the bounds are the range.
    """
    ordered = np.sort(times)
    rank = max(int(stats.binom.ppf(0.025, len(ordered), 0.5)), 1)
    return float(ordered[rank - 1]), float(ordered[-rank])
