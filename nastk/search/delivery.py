"""What is delivered at the end of a search whose objectives are measured: measured again, and within the limits.

A latency that was measured early in a search was measured at another speed of the machine than one at its end, and one
that was predicted near a limit breaks it about every other time. So the proposed front is measured again, together.
A network keeps a limit where its true value is within it with 95 % confidence, by the measurement's own standard
deviation and by how much slower the machine was in the search. For those that break one, the predictions are shifted by
what was measured, and the next best are measured.

Here is what decides; `nastk.Result.settle` evaluates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from nastk.metrics import hypervolume, nondominated
from nastk.search.base import Constraint, Searcher
from nastk.search.candidates import other_networks
from nastk.spaces.base import Archs

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

CONFIDENCE = 0.95
"""With which the true value of what is delivered is within each limit. More keeps limits surer, and leaves out more
networks that keep them too."""

NEAR = 0.1
"""Share of a limit within which a value is near to it, where the spread of the value is not known to reach further."""

FREEDOM = 7
"""Degrees of freedom of a measurement's own standard deviation (its parts, `nastk.oracles._timing.PARTS`, less one),
by which it is pooled with what the machine moved between two measurements, which has one."""

TOGETHER = 5
"""Least number of networks that are measured together where there is room: with fewer, the machine's speed cannot be
told from theirs (`nastk.oracles._timing.ADJUSTED`)."""

LIKELY = (0.5, 0.8, 0.95)
"""Probabilities of keeping the limits; the next to measure are of the fronts of what is at least as likely. High ones
alone would leave the room up to the limit unused."""

ANCHORS = 2
"""Networks that the search measured and that are measured again, where there is a limit: they tell how far the machine
moved since, for the margin and for the predictions. More tell it better, and are no part of the front."""

WORTH = 0.001
"""Share of the front's hypervolume that a network is expected to add, from which on it is measured although nothing
broke a limit. Lower measures more, for less."""

REACH = 0.1
"""Distance, as a share of the front's range, at which a replacement is worth 1 / e as much as one in the same place:
smaller insists on the place, larger on what is most likely to keep the limit."""

SCATTER = 0.05
"""Relative standard deviation of shifted predictions, where fewer than three measurements tell it."""

Look = Callable[[Archs], "Measured"]


@dataclass(frozen=True)
class Measured:
    """What the final measurements say of some architectures.

    Args:
        value, std: of the measured objectives, ``(n, k)``; NaN where there is no value, or its spread is unknown.
        tried: which were measured, successfully or not, ``(n,)``.
    """

    value: Array
    std: Array
    tried: NDArray[np.bool_]


@dataclass(frozen=True)
class Promise:
    """How far the limits were kept.

    Args:
        measured: how many networks were measured at the end.
        repairs: how many of them the search had not proposed.
        broken: what was proposed and broke a limit (text of the architecture, and its values by objective).
        left_out: proposals without a final measurement, that are predicted too near to a limit.
        kept: whether what is delivered keeps the limits with :data:`CONFIDENCE`.
        missed: where nothing does, a sentence for each limit.
        moved: by which share the machine was slower (faster: below 0) than in the search, by objective.
    """

    measured: int
    repairs: int
    broken: list[dict[str, object]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    kept: bool = True
    missed: list[str] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)


def first_to_measure(searcher: Searcher, values: Array, std: Array, n: int) -> Rows:
    """Which of a front to measure where it has more than `n`: those near a limit, the ends and the knee, then evenly.

    Args:
        values: of the front, ``(m, k)``, as told or predicted.
        std: their standard deviations, 0 where unknown.

    Returns:
        Rows, at most `n`, ascending.
    """
    if len(values) <= n:
        return np.arange(len(values))
    order = np.argsort(values[:, -1], kind="stable")
    costs = values * searcher.signs
    low, high = costs.min(axis=0), costs.max(axis=0)
    scaled = (costs - low) / np.where(high > low, high - low, 1.0)
    distance = _distance(searcher, values, std)
    near = np.argsort(distance, kind="stable").tolist()
    limited = [i for i in near if distance[i] < 1.0][: (n + 1) // 2]
    special = [int(order[0]), int(order[-1]), int(np.argmin(scaled.sum(axis=1)))]
    evenly = order[np.linspace(0, len(order) - 1, n).round().astype(int)].tolist()
    return np.sort(list(dict.fromkeys([*limited, *special, *evenly, *near]))[:n])


def _distance(searcher: Searcher, values: Array, std: Array) -> Array:
    """How far each of ``(m, k)`` is from the limit that it is nearest to; below 1 is near."""
    found = np.full(len(values), np.inf)
    names = [o.name for o in searcher.objectives]
    for c in searcher.constraints:
        j = names.index(c.objective)
        reach = np.maximum(NEAR * abs(c.bound), norm.ppf(CONFIDENCE) * np.nan_to_num(std[:, j]))
        found = np.minimum(found, np.abs(values[:, j] - c.bound) / np.maximum(reach, 1e-12))
    return found


def _gains(front: Array, candidates: Array) -> Array:
    """By which share of its hypervolume each candidate would enlarge a front; up to a tenth of the range beyond the
    worst of both."""
    everything = np.concatenate([front, candidates])
    low, high = everything.min(axis=0), everything.max(axis=0)
    reference = high + 0.1 * np.where(high > low, high - low, 1.0)
    before = hypervolume(front, reference)
    after = [hypervolume(np.concatenate([front, point[None]]), reference) for point in candidates]
    return np.asarray(after) / before - 1.0


class Delivery:
    """Which networks to measure at the end of a search, and which of them to deliver.

    Args:
        searcher: that has ended.
        proposed: its front, ``(m, d)``.
        n: measure at most this many of it, and once as many others where something breaks a limit.
        look: tells the final measurements of architectures ``(n, d)``.
        known: architectures that have such measurements already.
        repair: whether others are measured; without, what breaks a limit is left out.
    """

    def __init__(self, searcher: Searcher, proposed: Archs, n: int, look: Look, known: Archs, repair: bool = True):
        self.searcher, self.n, self.look, self.repair = searcher, n, look, repair
        self.objectives = searcher.objectives
        names = [o.name for o in self.objectives]
        self.measured = [j for j, o in enumerate(self.objectives) if o.expensive and o.oracle.noisy]
        self.limits = [(names.index(c.objective), c) for c in searcher.constraints]
        self._limited = any(j in self.measured for j, _ in self.limits)
        others = searcher.alternatives() if self._limited and repair else proposed[:0]
        measured_before = searcher.archs_[np.isfinite(searcher.values_[:, self.measured]).all(axis=1)]
        parts = [np.concatenate([known, proposed, measured_before if self._limited else known[:0]]), others]
        archs = np.concatenate(parts)
        believed = [np.concatenate(of) for of in zip(*map(self._believe, parts), strict=True)]
        distinct = searcher.space.distinct(archs)
        self.archs = archs = archs[distinct]
        self.believed, self.spread, self.told = (of[distinct] for of in believed)
        rows = {network.tobytes(): i for i, network in enumerate(searcher.space.as_networks(archs))}
        self.proposed = np.array([rows[a.tobytes()] for a in searcher.space.as_networks(proposed)], dtype=np.int64)
        self.eligible = np.zeros(len(archs), dtype=bool)  # others tell the machine's speed alone
        self.eligible[self.proposed] = True
        self.eligible[[rows[a.tobytes()] for a in searcher.space.as_networks(others)]] = True
        complete = self.proposed[np.isfinite(self.believed[self.proposed]).all(axis=1)]
        self.first = complete[first_to_measure(searcher, self.believed[complete], self.spread[complete], n)]
        self.anchors = self._choose_anchors()
        self.value, self.std = np.full(self.believed.shape, np.nan), np.full(self.believed.shape, np.nan)
        self.tried = np.zeros(len(archs), dtype=bool)
        self.moved: dict[int, float] = {}
        self.take(np.arange(len(known)))

    def _believe(self, archs: Archs) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Values ``(n, k)`` as told or predicted, standard deviations of predictions (0 elsewhere), and which were
        told."""
        told = self.searcher.values_of(archs)
        known = np.isfinite(told)
        values, spread = told.copy(), np.zeros_like(told)
        if not len(archs):
            return values, spread, known
        predictions, computed = self.searcher.estimate(archs), self.searcher.computed(archs)
        for j, o in enumerate(self.objectives):
            if not o.expensive:
                values[:, j] = np.where(known[:, j], told[:, j], computed[o.name])
            elif o.name in predictions:
                found = predictions[o.name]
                values[:, j] = np.where(known[:, j], told[:, j], found.mean)
                spread[:, j] = np.where(known[:, j], 0.0, np.nan_to_num(found.std))
        return values, spread, known

    # ---- what to measure

    def next(self) -> Rows:
        """Rows of :attr:`archs` to measure next; none where nothing more is to be measured."""
        waiting = np.concatenate([self.first, self.anchors])
        waiting = waiting[~self.tried[waiting]]
        return waiting if len(waiting) else self._repairs()

    def _choose_anchors(self) -> Rows:
        """Networks that the search measured, so that at least :data:`ANCHORS` are measured again: the nearest to a
        limit, whose values matter most."""
        told: NDArray[np.bool_] = np.asarray(self.told[:, self.measured].all(axis=1))
        lacking = ANCHORS - int(told[self.first].sum())
        if not self._limited or lacking <= 0:
            return self.first[:0]
        told[self.first] = False
        told &= np.isfinite(self.believed).all(axis=1)
        rows = np.flatnonzero(told)
        distance = _distance(self.searcher, self.believed[rows], self.spread[rows])
        return rows[np.argsort(distance, kind="stable")[:lacking]]

    def take(self, rows: Rows) -> None:
        """Take the final measurements of these rows."""
        found = self.look(self.archs[rows])
        self.value[rows], self.std[rows] = found.value, found.std
        self.tried[rows] = found.tried
        for j in self.measured:
            both = self.tried & self.told[:, j] & (self.value[:, j] > 0) & (self.believed[:, j] > 0)
            if both.any():
                self.moved[j] = float(np.median(np.log(self.value[both, j] / self.believed[both, j])))

    def _repairs(self) -> Rows:
        """Others to measure: for each proposal that broke a limit one, until as many keep it or all are spent."""
        left = self.n - int(self._extra.sum())
        if not (self.repair and self._limited) or left <= 0:
            return self.first[:0]
        self._look_further()
        kept = self.keeps()
        missing = int((~kept[self.first]).sum()) - int((kept & self._extra).sum())
        values, likely = self.expected()
        if missing > 0:
            return self._replacements(min(left, max(missing, TOGETHER)), kept, values, likely)
        return self._improvements(min(left, TOGETHER), kept, values, likely)

    def _look_further(self) -> None:
        """Add what the predictions, as they are after what was measured, lead to."""
        told = {self.objectives[j].name: found for j in self.measured if (found := self._told_now(j)) is not None}
        archs = self.searcher.further(told)
        if len(archs):
            archs = other_networks(self.searcher.space, archs, self.archs)
        if not len(archs):
            return
        believed, spread, of_search = self._believe(archs)
        blank = np.full(believed.shape, np.nan)
        self.archs = np.concatenate([self.archs, archs])
        self.believed, self.spread = np.concatenate([self.believed, believed]), np.concatenate([self.spread, spread])
        self.told = np.concatenate([self.told, of_search])
        self.value, self.std = np.concatenate([self.value, blank]), np.concatenate([self.std, blank])
        self.tried = np.concatenate([self.tried, np.zeros(len(archs), dtype=bool)])
        self.eligible = np.concatenate([self.eligible, np.ones(len(archs), dtype=bool)])

    @property
    def _extra(self) -> NDArray[np.bool_]:
        """What was measured without having been chosen of the proposal."""
        extra = self.tried.copy()
        extra[self.first] = extra[self.anchors] = False
        return extra

    def _replacements(self, count: int, kept: NDArray[np.bool_], values: Array, likely: Array) -> Rows:
        """For each proposal that broke a limit, in turn, what is likely to keep it and is nearest to it by the
        objectives; where nothing is likely to, what comes nearest to the limits."""
        costs = self._scaled(values)
        broken = self.first[~kept[self.first] & np.isfinite(costs[self.first]).all(axis=1)]
        free = self._fresh(values, likely)
        if not len(broken) or not (free & (likely >= LIKELY[0])).any():
            rows = np.flatnonzero(free)
            order = np.lexsort((self.searcher.violation(values[rows]), -likely[rows].round(3)))
            return rows[order[:count]]
        found: list[int] = []
        while len(found) < count:
            free[found] = False
            rows = self._fronts(costs, likely, free, kept)
            if not len(rows):
                break
            target = costs[broken[len(found) % len(broken)]]
            away = np.linalg.norm(costs[rows] - target, axis=1)
            found.append(int(rows[np.argmax(likely[rows] * np.exp(-away / REACH))]))
        return np.array(found, dtype=np.int64)

    def _improvements(self, count: int, kept: NDArray[np.bool_], values: Array, likely: Array) -> Rows:
        """What is likely to keep the limits and expected to enlarge the front's hypervolume by :data:`WORTH` at least:
        the search predicted it too slow, or the front worse than it is."""
        costs, free = self._scaled(values), self._fresh(values, likely)
        known = np.zeros(len(self.archs), dtype=bool)  # delivered as the search measured them
        known[self.proposed] = self.told[self.proposed][:, self.measured].all(axis=1)
        known &= ~self.tried & (likely >= CONFIDENCE)
        free &= ~known
        found: list[int] = []
        front = costs[kept | known]
        while len(found) < count and len(front):
            free[found] = False
            rows = self._fronts(costs, likely, free, kept)
            if not len(rows):
                break
            gain = likely[rows] * _gains(front, costs[rows])
            best = int(np.argmax(gain))
            if gain[best] < WORTH:
                break
            found.append(int(rows[best]))
            front = np.concatenate([front, costs[rows[[best]]]])
        return np.array(found, dtype=np.int64)

    def _fresh(self, values: Array, likely: Array) -> NDArray[np.bool_]:
        return self.eligible & ~self.tried & np.isfinite(values).all(axis=1) & np.isfinite(likely)

    def _scaled(self, values: Array) -> Array:
        """Costs of what the front is about, in units of their range over what was proposed."""
        costs = (values * self.searcher.signs)[:, : self.searcher.optimised]
        known = costs[self.proposed][np.isfinite(costs[self.proposed]).all(axis=1)]
        spread = np.ptp(known, axis=0) if len(known) else np.ones(costs.shape[1])
        return np.asarray(costs / np.where(spread > 0, spread, np.maximum(np.abs(costs[self.proposed[0]]), 1e-12)))

    def _fronts(self, costs: Array, likely: Array, free: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Rows:
        """What nothing dominates that was kept or is as likely to keep the limits, for each of :data:`LIKELY`."""
        found = []
        for p in LIKELY:
            rows = np.flatnonzero(kept | (free & (likely >= p)))
            rows = rows[nondominated(costs[rows])]
            found.append(rows[free[rows]])
        return np.unique(np.concatenate(found))

    # ---- what keeps the limits

    def _relative(self, j: int, limit: Constraint) -> float:
        """Relative standard deviation of a measured objective: the median of what its measurements tell."""
        known = self.tried & np.isfinite(self.value[:, j]) & np.isfinite(self.std[:, j]) & (self.std[:, j] > 0)
        own = float(np.median(self.std[known, j] / np.abs(self.value[known, j]))) if known.any() else 0.0
        return float(self._pooled(own, j, limit))

    def _pooled(self, own: Any, j: int, limit: Constraint) -> Any:
        """Relative standard deviations with what the machine moved between the search and now, as far as that speaks
        against a limit: on a machine that is slower now than it was, the values are too high already."""
        moved = self.moved.get(j, 0.0)
        against = max(-moved if limit.relation == "<=" else moved, 0.0)
        return np.maximum(own, np.sqrt((FREEDOM * own**2 + against**2 / 2) / (FREEDOM + 1)))

    def _deviation(self, j: int, limit: Constraint) -> Array:
        """Standard deviation of each measured value ``(n,)``, what the machine moves included; NaN where there is no
        value."""
        size = np.maximum(np.abs(self.value[:, j]), 1e-12)
        own = np.where(self.std[:, j] > 0, self.std[:, j], np.nan) / size
        known = ~np.isnan(own)
        return np.asarray(size * np.where(known, self._pooled(own, j, limit), self._relative(j, limit)))

    def keeps(self) -> NDArray[np.bool_]:
        """Which architectures were measured, and keep every limit with :data:`CONFIDENCE`, ``(n,)``."""
        fine = self.eligible & self.tried & np.isfinite(self.value[:, self.measured]).all(axis=1)
        fine &= np.isfinite(self._values()).all(axis=1)
        for j, limit in self.limits:
            fine &= self._excess_of(j, limit) <= 0
        return fine

    def _excess_of(self, j: int, limit: Constraint) -> Array:
        """By how much the bound of each measured value's confidence breaks a limit."""
        worst = self._values()[:, j]
        if j in self.measured:
            side = 1.0 if limit.relation == "<=" else -1.0
            worst = worst + side * norm.ppf(CONFIDENCE) * self._deviation(j, limit)
        return np.where(np.isfinite(worst), limit.violation(np.nan_to_num(worst)), np.inf)

    def _values(self) -> Array:
        """Measured where that was done, else as told or predicted."""
        return np.where(np.isfinite(self.value), self.value, self.believed)

    # ---- predictions, by what was measured

    def expected(self) -> tuple[Array, Array]:
        """Of each architecture the expected measurement ``(n, k)``, and the probability that it keeps all limits."""
        values, likely = self.believed.copy(), np.ones(len(self.archs))
        scatter: dict[int, Array] = {}
        for j in self.measured:
            now, scatter[j] = self._predicted(j)
            values[:, j] = np.where(np.isfinite(self.value[:, j]), self.value[:, j], now)
        for j, limit in self.limits:
            if j not in self.measured:
                likely *= limit.violation(values[:, j]) <= 0
                continue
            own = self._relative(j, limit)
            side = 1.0 if limit.relation == "<=" else -1.0
            needed = limit.bound / (1.0 + side * norm.ppf(CONFIDENCE) * own)
            sd = np.abs(values[:, j]) * np.hypot(scatter[j], own)
            likely *= norm.cdf(side * (needed - values[:, j]) / np.maximum(sd, 1e-12))
        return values, likely

    def _predicted(self, j: int) -> tuple[Array, Array]:
        """Of each architecture the value of an objective at the speed of now, and the relative standard deviation of
        that, both ``(n,)``: by the searcher's predictor fitted once more to all that was measured, where it has one."""
        shift, scatter = self._shift(j)
        values, spread = self.believed[:, j] * np.exp(shift), np.full(len(self.archs), scatter)
        told = self._told_now(j)
        if told is not None:
            found = self.searcher.relearned(self.objectives[j].name, *told, self.archs)
            if found is not None:
                relative = np.nan_to_num(found.std / np.maximum(np.abs(found.mean), 1e-12), nan=scatter)
                values = np.where(self.told[:, j], values, found.mean)
                spread = np.where(self.told[:, j], scatter, np.maximum(relative, 0.01))
        return values, spread

    def _told_now(self, j: int) -> tuple[Archs, Array] | None:
        """What is known of an objective at the speed of now: architectures and values, measured last or told in the
        search; None before anything was measured last."""
        done = self.tried & np.isfinite(self.value[:, j])
        if not done.any():
            return None
        known = done | self.told[:, j]
        told = np.where(done, self.value[:, j], self.believed[:, j] * np.exp(self.moved.get(j, 0.0)))
        return self.archs[known], told[known]

    def _shift(self, j: int) -> tuple[Array, float]:
        """Logarithms by which the values told and predicted of an objective are to be shifted ``(n,)``, and the scatter
        that remains: the medians over what was measured, of values told and of predictions apart."""
        known = self.tried & (self.value[:, j] > 0) & (self.believed[:, j] > 0)
        ratio = np.log(self.value[known, j] / self.believed[known, j])
        told = self.told[known, j]
        shift = np.zeros(len(self.archs))
        if not len(ratio):
            return shift, SCATTER
        rest = ratio.copy()
        for kind in (True, False):
            mine = told == kind
            middle = float(np.median(ratio[mine] if mine.sum() >= 2 else ratio))
            shift[self.told[:, j] == kind] = middle
            rest[mine] -= middle
        predicted = rest[~told] if (~told).sum() >= 3 else rest
        return shift, max(1.4826 * float(np.median(np.abs(predicted))), 0.01) if len(rest) >= 3 else SCATTER

    # ---- what is delivered

    def deliver(self) -> tuple[Archs, Promise]:
        """The front, ``(m, d)``, and how far it keeps the limits.

        Never empty where something was proposed: where nothing keeps the limits, what comes nearest.
        """
        kept, values = self.keeps(), self._values()
        safe, near = self._unmeasured()
        rows = np.flatnonzero(kept | safe)
        if not self._limited:
            rows = np.union1d(rows, np.setdiff1d(self.proposed, self.first))
            rows = rows[self.searcher.violation(np.nan_to_num(values[rows], nan=np.inf)) <= 0]
        broken = [r for r in self.first if not kept[r]] if self.limits else []
        missed: list[str] = []
        if not len(rows):
            rows, missed = self._nearest(values)
        else:
            wanted = self.searcher.optimised
            rows = rows[nondominated(values[rows, :wanted] * self.searcher.signs[:wanted])]
        return self.archs[rows], Promise(
            measured=int(self.tried.sum()),
            repairs=int(self._extra.sum()),
            broken=[self._row(r) for r in broken],
            left_out=[self.searcher.space.format(self.archs[r]) for r in near],
            kept=not missed,
            missed=missed,
            moved={self.objectives[j].name: float(np.expm1(moved)) for j, moved in self.moved.items()},
        )

    def _row(self, row: int) -> dict[str, object]:
        names = [o.name for o in self.objectives]
        values = {name: float(v) for name, v in zip(names, self._values()[row], strict=True)}
        if any(not np.isfinite(self.value[row, j]) for j in self.measured):
            values = {name: v for name, v in values.items() if names.index(name) not in self.measured}
        return {"arch": self.searcher.space.format(self.archs[row]), **values}

    def _unmeasured(self) -> tuple[NDArray[np.bool_], list[int]]:
        """Proposals without a final measurement: which are far enough from every limit, and which are not."""
        safe, near = np.zeros(len(self.archs), dtype=bool), []
        if self._limited:
            _, likely = self.expected()
            for row in self.proposed[~self.tried[self.proposed]]:
                safe[row] = likely[row] >= CONFIDENCE
                if not safe[row]:
                    near.append(int(row))
        return safe, near

    def _nearest(self, values: Array) -> tuple[Rows, list[str]]:
        """What breaks the limits least of all that was measured, and for each limit that it breaks a sentence."""
        done = np.flatnonzero(self.eligible & self.tried & np.isfinite(self.value[:, self.measured]).all(axis=1))
        if not len(done):
            unmeasured = self.proposed[:1]
            return unmeasured, ["Nothing of the proposed front could be measured again."] if len(unmeasured) else []
        total = np.zeros(len(self.archs))
        for j, limit in self.limits:
            total += self._excess_of(j, limit) / max(abs(limit.bound), 1e-12)
        best = int(done[np.argmin(total[done])])
        return np.array([best]), [
            self._sentence(best, j, limit) for j, limit in self.limits if self._excess_of(j, limit)[best] > 0
        ]

    def _sentence(self, row: int, j: int, limit: Constraint) -> str:
        o = self.objectives[j]
        unit = f" {o.unit}" if o.unit else ""
        value = self._values()[row, j]
        least = {"latency": "fastest", "energy": "most frugal", "peak_memory": "smallest"}.get(o.oracle.name, "nearest")
        asked = f"Asked {o.name} {limit.relation} {limit.bound:g}{unit}; the {least} found measures {value:.3g}{unit}"
        if limit.violation(value) > 0:
            return f"{asked}."
        side = 1.0 if limit.relation == "<=" else -1.0
        reach = value + side * norm.ppf(CONFIDENCE) * self._deviation(j, limit)[row]
        return f"{asked}, which may be {reach:.3g}{unit} at another time: it is not certain to keep the limit."
