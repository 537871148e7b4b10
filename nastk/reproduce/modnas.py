"""MODNAS: one generator for many devices against searches on a single device (arXiv 2402.18213, Section 4).

A generator is trained on source devices and proposes an architecture for each of 24 preferences on these and on unseen
devices, of which only the latencies of ten reference architectures are known. Proposals are scored as in the released
evaluation of the paper, by a table's values (`nastk.reproduce.modnas_tables`) or, where no table has all objectives of
the same networks, by predictors of all that is measured (`nastk.reproduce.modnas_surrogates`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, UnknownName
from nastk.generators import Cost, ParetoGenerator, rays
from nastk.generators.decoding import greedy
from nastk.metrics import gd_plus, hypervolume, igd_plus, mean_ci, nondominated
from nastk.parallel import each
from nastk.reproduce import modnas_hat, modnas_mobilenetv3, modnas_tables
from nastk.reproduce.modnas_cases import Case, Setting
from nastk.spaces.base import Archs

Array = NDArray[np.float64]

SETTINGS: dict[str, Setting] = {
    "nasbench201": modnas_tables.NASBENCH201,
    "gpt": modnas_tables.GPT,
    "fbnet": modnas_tables.FBNET,
    "mobilenetv3": modnas_mobilenetv3.SETTING,
    "hat": modnas_hat.SETTING,
}
"""By space."""


def setting(
    space: str = "nasbench201",
    objectives: Sequence[str] | None = None,
    train: Sequence[str] | None = None,
    unseen: Sequence[str] | None = None,
    pairs: tuple[str, str] | None = None,
    **options: Any,
) -> Setting:
    """The setting of a space, with other objectives or devices if given.

    Args:
        pairs: of `hat`, text files of sentences and translations: the loss of a SuperTransformer that is trained on
            them takes the place of the number of parameters.

    Raises:
        UnknownName: no setting for the space, no such metric or device.
        InvalidValue: an objective that cannot be read, or fewer than two.
    """
    if space not in SETTINGS:
        raise UnknownName("space of the comparison", space, SETTINGS)
    found = replace(SETTINGS[space], **options)
    if pairs is not None:
        found = found.with_pairs(*pairs)
    if objectives is not None:
        found = replace(found, objectives=tuple(objectives))
    if len(found.goals) < 2:
        raise InvalidValue("a front needs at least two objectives")
    found = replace(
        found, train=tuple(train or found.train), unseen=tuple(unseen if unseen is not None else found.unseen)
    )
    if set(found.train) & set(found.unseen):
        raise InvalidValue(f"{', '.join(sorted(set(found.train) & set(found.unseen)))} are both trained on and unseen")
    found.check()
    return found


# ---- one seed


@dataclass(frozen=True)
class _Job:
    setting: Setting
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Results of one seed.

    Args:
        points: scaled costs ``(k, m)`` of the different networks that a method found on a device; NaN where one does
            not count.
        seconds: CPU seconds on one thread, by method and step.
    """

    points: Mapping[tuple[str, str], Array]
    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)


def _run(job: _Job) -> Outcome:
    """All methods of one seed."""
    case = job.setting.case(job.seed)
    points: dict[tuple[str, str], Array] = {}
    seconds: dict[tuple[str, str], float] = {}

    def keep(method: str, device: str, archs: Archs) -> None:
        points[method, device] = case.points(archs, device)

    for device in job.setting.devices():
        keep("random", device, case.random(job.setting.rays, device))
        for n, archs in _nsga2(case, device).items():
            keep(f"nsga2@{n}", device, archs)
        points["true front", device] = case.front(device)
    if job.setting.true_costs:
        _generate(case, False, keep, seconds)
    _generate(case, True, keep, seconds)
    return Outcome(points, seconds)


def _generate(
    case: Case,
    predicted: bool,
    keep: Callable[[str, str, Archs], None],
    seconds: dict[tuple[str, str], float],
) -> None:
    """Results of generators and enumeration, with predictors or with the table's values."""
    suffix = "" if predicted else ", true costs"
    n = case.setting.rays
    devices = case.devices(predicted)
    sources = [devices[d] for d in case.trained] if case.open else []
    shared = case.shared(predicted)
    options: dict[str, Any] = {
        "references": case.references(),
        "network": case.setting.network,
        "steps": case.setting.steps,
    }
    seed = int(case.draw(f"generator {predicted}").integers(2**31))
    untrained = ParetoGenerator(case.space, shared, seed=seed, **{**options, "steps": 0}).fit(sources)
    start = process_time()
    generator = ParetoGenerator(case.space, shared, seed=seed, **options).fit(sources)
    seconds[f"generator{suffix}", "training_seconds"] = process_time() - start
    took: dict[str, list[float]] = {"proposal_ms": [], "decoding_ms": []}
    for name, device in devices.items():
        start = process_time()
        proposed = generator.propose(replace(device, costs={}), n)
        took["proposal_ms"].append(1000 * (process_time() - start))
        keep(f"generator{suffix}", name, proposed)
        start = process_time()
        keep(f"generator, decoded{suffix}", name, generator.decode(device, n))
        took["decoding_ms"].append(1000 * (process_time() - start))
        if not (predicted and case.setting.true_costs):  # its proposals need no costs: once is enough
            keep("untrained generator", name, untrained.propose(replace(device, costs={}), n))
        if predicted:
            keep("untrained generator, decoded", name, untrained.decode(device, n))
        for method, archs in _enumerate(case, [*generator._costs(device)], n).items():
            keep(f"{method}{suffix}", name, archs)
    for what, times in took.items():
        method = f"generator{suffix}" if what == "proposal_ms" else f"generator, decoded{suffix}"
        seconds[method, what] = float(np.median(times))


def _enumerate(case: Case, costs: Sequence[Cost], n: int) -> dict[str, Archs]:
    """Enumeration with the same costs: the best hypervolume of `n`, and the least scalarised cost of each ray."""
    archs = case.enumerated(costs)
    values = np.stack([cost(archs) for cost in costs], axis=1)
    values = np.where(np.isfinite(values), values, np.nanmax(values, axis=0))
    scaled = (values - values.min(axis=0)) / np.maximum(np.ptp(values, axis=0), 1e-12)
    front = np.flatnonzero(nondominated(scaled))
    best = front[greedy(scaled[None, front], n)]
    least = (scaled @ rays(n, len(costs)).T).argmin(axis=0)
    return {"enumeration": archs[best], "enumeration, least a ray": archs[np.unique(least)]}


def _nsga2(case: Case, device: str) -> dict[int, Archs]:
    """Architectures that NSGA-II has evaluated on the table after each number of evaluations."""
    from nastk.search.base import Objective
    from nastk.search.pymoo import PymooSearch
    from nastk.study import Study

    most = max(case.setting.evaluations)
    goals = [Objective(name, case.oracle(goal, device)) for name, goal in zip(case.names, case.goals, strict=True)]
    budget = {goal.name: most for goal in goals if goal.expensive}
    seed = int(case.draw(f"nsga2 {device}").integers(2**31))
    searcher = PymooSearch("nsga2", case.space, goals, seed=seed, budget=budget, population=10)
    records = Study(searcher, budget, batch=10).run().history.records()
    first = next(iter(budget))
    archs = np.array([r.arch for r in records if r.objective == first], dtype=np.int64)
    return {n: archs[:n] for n in case.setting.evaluations}


# ---- all seeds

METHODS = (
    "true front",
    "enumeration, least a ray, true costs",
    "enumeration, true costs",
    "generator, true costs",
    "generator, decoded, true costs",
    "random",
    "untrained generator",
    "untrained generator, decoded",
    "enumeration, least a ray",
    "enumeration",
    "generator",
    "generator, decoded",
)
"""Methods in display order; NSGA-II comes after them."""
METRICS = ("hypervolume", "gd_plus", "igd_plus", "distinct")
"""Metrics of a result: the first three of its front, "distinct" of all its architectures."""


@dataclass(frozen=True)
class Comparison:
    """Finished runs.

    Args:
        setting: of the comparison.
        outcomes: by seed.
    """

    setting: Setting
    outcomes: Mapping[int, Outcome]

    @property
    def methods(self) -> list[str]:
        """All methods, in display order."""
        searches = [f"nsga2@{n}" for n in self.setting.evaluations]
        place = METHODS.index("random") + 1
        found = [*METHODS[:place], *searches, *METHODS[place:]]
        return [m for m in found if self.setting.true_costs or not m.endswith("true costs")]

    def groups(self) -> dict[str, list[str]]:
        """Single devices, and groups to average over."""
        devices = self.setting.devices()
        found = {device: [device] for device in devices}
        if self.setting.open():
            found["train"] = list(self.setting.train)
            if self.setting.unseen:
                found["unseen"] = list(self.setting.unseen)
                found["*"] = devices
        return found

    def values(self, method: str, metric: str, device: str) -> Array:
        """A metric of each seed, ``(seeds,)``, of a device, or the mean over a group."""
        members = self.groups()[device]
        found = [
            [_metric(metric, outcome.points[method, d], outcome.points["true front", d]) for d in members]
            for outcome in self.outcomes.values()
        ]
        return np.mean(found, axis=1)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one per method, device (and "train", "unseen", "*", their means) and metric."""
        out = []
        for method in self.methods:
            for device in self.groups():
                for metric in METRICS:
                    values = self.values(method, metric, device)
                    reference = self.values("true front", metric, device)[0] if metric == "hypervolume" else None
                    out.append(self._row(method, device, metric, values, reference))
        first = next(iter(self.outcomes.values()))
        for method, what in first.seconds:
            values = np.array([o.seconds[method, what] for o in self.outcomes.values()])
            out.append(self._row(method, "*", what, values, None))
        return out

    def _row(self, method: str, device: str, metric: str, values: Array, reference: float | None) -> dict[str, Any]:
        mean, half = mean_ci(values)
        samples, measurements = self._evaluation_counts(method, device)
        return {
            "experiment": "modnas",
            "space": self.setting.space,
            "dataset": self.setting.dataset,
            "device": device,
            "method": self.setting.called(method),
            "network": self.setting.network if "generator" in method else "",
            "objectives": ", ".join(self.setting.objectives),
            "samples": samples,
            "measurements": measurements,
            "metric": metric,
            "mean": mean,
            "ci95": half,
            "seeds": len(self.outcomes),
            "reference": reference,
            "reference_source": "" if reference is None else self.setting.best,
            "note": self.setting.note,
        }

    def _evaluation_counts(self, method: str, device: str) -> tuple[int | None, int | None]:
        """Evaluations of objectives independent of the device, and measurements on the device."""
        s = self.setting
        if method.startswith("nsga2@"):
            n = int(method.partition("@")[2])
            return n, n
        if method in ("random", "untrained generator"):
            return 0, 0
        if "true" in method:
            return None, None
        source = device in s.train or device == "train"
        labels = s.labels if s.needs_labels() else 0
        return labels, (s.source_samples if source else s.measurements) if s.open() else labels


def _metric(metric: str, points: Array, front: Array) -> float:
    return _cached_metric(metric, points.shape[1], points.tobytes(), front.tobytes())


@lru_cache(maxsize=100_000)
def _cached_metric(metric: str, objectives: int, points_: bytes, front_: bytes) -> float:
    points = np.frombuffer(points_).reshape(-1, objectives)
    if metric == "distinct":
        return float(len(points))
    points = points[np.isfinite(points).all(axis=1)]
    if metric == "hypervolume":
        return hypervolume(points, np.ones(objectives))
    front = _nondominated(objectives, front_)
    return igd_plus(points, front) if metric == "igd_plus" else gd_plus(points[nondominated(points)], front)


@lru_cache(maxsize=64)
def _nondominated(objectives: int, front: bytes) -> Array:
    points = np.frombuffer(front).reshape(-1, objectives)
    return np.asarray(points[nondominated(points)])


def run(
    setting: Setting,
    seeds: int = 10,
    first: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    partial: Callable[[list[dict[str, Any]]], None] | None = None,
) -> Comparison:
    """Compare generator, baselines and bounds.

    Args:
        setting: see :func:`setting`.
        seeds: number of random seeds, from `first`, of sources, labels, references, generators and searches.
        progress: called with (done, total) after each seed.
        partial: called with the rows so far if the comparison is interrupted.

    Raises:
        InvalidValue: no seeds.
    """
    if seeds < 1:
        raise InvalidValue(f"a comparison needs at least one seed; got {seeds}")
    found: dict[int, Outcome] = {}
    try:
        for job, outcome in each(_run, [_Job(setting, first + i) for i in range(seeds)], workers, progress):
            found[job.seed] = outcome
    except KeyboardInterrupt:
        if partial and found:
            partial(Comparison(setting, found).rows())
        raise
    return Comparison(setting, dict(sorted(found.items())))
