"""MODNAS on tables: one generator for many devices against searches on a single device (arXiv 2402.18213, Section 4).

A generator is trained on source devices and proposes an architecture for each of 24 preferences on these and on unseen
devices, of which only the latencies of ten reference architectures are known. Proposals are looked up in the table and
scored as in the released evaluation of the paper; see `nastk.bench.problems.Scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from time import process_time
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nastk.bench.problems import Problem, Scores, scores
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.generators import Cost, Device, ParetoGenerator, rays
from nastk.generators.decoding import greedy
from nastk.metrics import gd_plus, mean_ci, nondominated
from nastk.oracles.goals import Goal
from nastk.oracles.table import benchmark
from nastk.parallel import each
from nastk.predictors.base import Task
from nastk.predictors.factory import predictor, shipped_prior
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """Objectives and devices of a comparison.

    Args:
        space, dataset: of a fetched table.
        objectives: texts for `Goal.parse`; those that need a device but name none are for each device in turn.
        train, unseen: the devices.
        labels: evaluations for predicting expensive objectives that do not depend on the device.
        source_samples: number of latencies of each training device.
        measurements: number of latencies of an unseen device, on the reference architectures.
        network: hypernetwork of the generator.
        evaluations: budget of the searches on a single device.
        rays: number of preferences.
        steps: of the generator's training.
    """

    space: str
    dataset: str | None
    objectives: tuple[str, ...]
    train: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    labels: int = 100
    source_samples: int = 900
    measurements: int = 10
    network: str = "bank"
    evaluations: tuple[int, ...] = (10, 24, 50)
    rays: int = 24
    steps: int = 1500

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The objectives, without the devices in turn."""
        return tuple(Goal.parse(text) for text in self.objectives)

    def open(self) -> list[Goal]:
        """Objectives for each device in turn."""
        return list(_open(self.space, self.goals))

    def problem(self, device: str) -> Problem:
        """The problem on one device."""
        placed = self.open()
        return Problem(
            self.space, self.dataset, tuple(replace(g, device=device) if g in placed else g for g in self.goals)
        )

    def problems(self) -> dict[str, Problem]:
        """Problems by device; a single one, of the named devices, if no objective depends on the device in turn."""
        return dict(_problems(self))


@lru_cache(maxsize=64)
def _open(space: str, goals: tuple[Goal, ...]) -> tuple[Goal, ...]:
    table = benchmark(space).table
    known = table.metrics()
    return tuple(g for g in goals if g.device is None and g.metric in known and table.devices(metric=g.metric))


@lru_cache(maxsize=64)
def _problems(setting: Setting) -> dict[str, Problem]:
    if not setting.open():
        problem = Problem(setting.space, setting.dataset, setting.goals)
        return {problem.device or "-": problem}
    return {device: setting.problem(device) for device in (*setting.train, *setting.unseen)}


_NB201_TRAIN = (
    *("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3"),
    *("essential_ph_1", "samsung_s7", "titanx_1", "titanx_32", "titanx_256", "gold_6240"),
)
"""Training devices of the paper."""
_NB201_UNSEEN = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
"""Test devices of the paper."""

SETTINGS: dict[str, Setting] = {
    "nasbench201": Setting("nasbench201", "cifar10", ("test_accuracy", "latency"), _NB201_TRAIN, _NB201_UNSEEN),
    "gpt": Setting("gpt", "openwebtext", ("perplexity", "latency"), ("P100", "a6000", "rtx2080", "rtx3080"),
                   ("a100", "a40", "h100", "v100")),
    "fbnet": Setting("fbnet", None, ("max:params", "max:nwot", "latency"),
                     ("1080ti_1", "1080ti_32", "1080ti_64", "silver_4114", "silver_4210r", "samsung_a50", "pixel3",
                      "essential_ph_1", "samsung_s7"), ("fpga", "raspi4", "eyeriss")),
}  # fmt: skip
"""By space. The devices of nasbench201 are the paper's; those of gpt its four for training and four
unseen ones. FBNet has no accuracies: parameters and the zero-cost proxy nwot represent capacity."""


def setting(
    space: str = "nasbench201",
    objectives: Sequence[str] | None = None,
    train: Sequence[str] | None = None,
    unseen: Sequence[str] | None = None,
    **options: Any,
) -> Setting:
    """The setting of a space, with other objectives or devices if given.

    Raises:
        UnknownName: no setting for the space, no such metric or device.
        InvalidValue: an objective that cannot be read, or fewer than two.
    """
    if space not in SETTINGS:
        raise UnknownName("space of the comparison", space, SETTINGS)
    found = replace(SETTINGS[space], **options)
    if objectives is not None:
        found = replace(found, objectives=tuple(objectives))
    if len(found.goals) < 2:
        raise InvalidValue("a front needs at least two objectives")
    found = replace(
        found, train=tuple(train or found.train), unseen=tuple(unseen if unseen is not None else found.unseen)
    )
    if set(found.train) & set(found.unseen):
        raise InvalidValue(f"{', '.join(sorted(set(found.train) & set(found.unseen)))} are both trained on and unseen")
    for problem in found.problems().values():
        for goal in problem.goals:
            goal.oracle(benchmark(found.space, dataset=found.dataset))
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
        rows: rows of the table that a method found on a device.
        seconds: CPU seconds on one thread, by method and step.
    """

    rows: Mapping[tuple[str, str], Rows]
    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)


class _Bench:
    """Costs of one seed: those of the table, and their predictions."""

    def __init__(self, job: _Job):
        self.setting, self.seed = job.setting, job.seed
        self.problems = self.setting.problems()
        self.scores = {device: scores(problem) for device, problem in self.problems.items()}
        self.table = next(iter(self.scores.values())).table
        self.space: SearchSpace = self.table.space
        self.archs = self.space.enumerate()
        self.whole = self.space.whole
        self.members = None if self.whole is self.space else self.archs
        self.goals = self.setting.goals
        self.open = self.setting.open()
        self.names = [f"{i} {goal}" for i, goal in enumerate(self.goals)]
        self.trained = self.setting.train if self.open else tuple(self.problems)
        self._few: FewShotGP | None = None

    def oracle(self, goal: Goal, device: str) -> Any:
        """The table's column of an objective on a device."""
        return (replace(goal, device=device) if goal in self.open else goal).oracle(self.table)

    def draw(self, what: str) -> np.random.Generator:
        """A separate random generator for each purpose."""
        return np.random.default_rng([crc32(what.encode()), self.seed])

    # ---- predictors

    def references(self) -> Archs:
        """Architectures to measure on an unseen device."""
        if not hasattr(self, "_references"):
            few = self.few_shot(self.open[0]) if self.open else FewShotGP()
            seed = int(self.draw("references").integers(2**31))
            self._references = few.choose(self.setting.measurements, self.whole, candidates=self.members, seed=seed)
        return self._references

    def few_shot(self, goal: Goal) -> FewShotGP:
        """few-shot-gp, pretrained on the source devices' samples."""
        if self._few is None:
            size = min(self.setting.source_samples, len(self.archs))
            rows = self.draw("sources").choice(len(self.archs), size, replace=False)
            tasks = []
            for device in self.setting.train:
                values = self.oracle(goal, device)(self.archs[rows])
                known = np.isfinite(values)
                tasks.append(Task(self.whole, self.archs[rows][known], values[known], goal.metric, device=device))
            self._few = FewShotGP().pretrain(tasks)
        return self._few

    def learned(self, goal: Goal) -> Any:
        """A predictor of an objective that does not depend on the device; the oracle itself if it is free."""
        oracle = self.oracle(goal, "")
        if not oracle.expensive:
            return oracle
        proxies = self.table.nearest_proxies()
        context = Context(proxies=proxies, dataset=self.setting.dataset)
        model = predictor("gp-bma", pretrained=shipped_prior(self.space, oracle.direction))
        seed = int(self.draw("labels").integers(2**31))
        if not hasattr(self, "_labelled"):
            self._labelled = model.choose(
                self.setting.labels, self.space, candidates=self.members, seed=seed, context=context
            )
        task = Task.measure(oracle, self._labelled, context=context)
        return model.adapt(replace(task, space=self.space))

    def devices(self, predicted: bool) -> dict[str, Device]:
        """Devices with the table's values, or with predictions, of the objectives that depend on the device."""
        if not self.open:
            return {device: Device("") for device in self.problems}
        found = {}
        known: dict[str, Array] = {}
        if predicted:
            sources = self.few_shot(self.open[0])
            assert sources.sources_ is not None
            known = dict(zip(sources.devices, sources.sources_(self.archs).T, strict=True))
        for device in self.problems:
            costs: dict[str, Any] = {}
            references: dict[str, Array] = {}
            for name, goal in zip(self.names, self.goals, strict=True):
                if goal not in self.open:
                    continue
                oracle = self.oracle(goal, device)
                references[name] = oracle(self.references())
                if not predicted:
                    costs[name] = oracle
                elif device in known:
                    costs[name] = known[device]
                else:
                    task = Task.measure(oracle, self.references(), device=device)
                    costs[name] = self.few_shot(goal).adapt(replace(task, space=self.whole))
            found[device] = Device(device, costs, references)
        return found

    def shared(self, predicted: bool) -> dict[str, Any]:
        """Objectives of the generator."""
        found: dict[str, Any] = {}
        for name, goal in zip(self.names, self.goals, strict=True):
            if goal in self.open:
                found[name] = None
            else:
                found[name] = self.learned(goal) if predicted else self.oracle(goal, "")
        return found


def _run(job: _Job) -> Outcome:
    """All methods of one seed."""
    bench = _Bench(job)
    if len([g for g in bench.open if g.metric != "latency"]):
        raise InvalidValue("only latency can be taken on each device in turn; name the device of others (energy:fpga)")
    rows: dict[tuple[str, str], Rows] = {}
    seconds: dict[tuple[str, str], float] = {}

    def keep(method: str, device: str, archs: Archs) -> None:
        rows[method, device] = np.unique(bench.table.table.rows(archs))

    for device in bench.problems:
        keep("random", device, bench.space.sample(job.setting.rays, bench.draw(f"random {device}"), unique=True))
        for n, archs in _nsga2(bench, device).items():
            keep(f"nsga2@{n}", device, archs)
        rows["true front", device] = np.flatnonzero(bench.scores[device].kept)
    for predicted in (False, True):
        _generate(bench, predicted, keep, seconds)
    return Outcome(rows, seconds)


def _generate(
    bench: _Bench,
    predicted: bool,
    keep: Callable[[str, str, Archs], None],
    seconds: dict[tuple[str, str], float],
) -> None:
    """Results of generators and enumeration, with predictors or with the table's values."""
    suffix = "" if predicted else ", true costs"
    n = bench.setting.rays
    devices = bench.devices(predicted)
    sources = [devices[d] for d in bench.trained] if bench.open else []
    shared = bench.shared(predicted)
    options: dict[str, Any] = {
        "references": bench.references(),
        "network": bench.setting.network,
        "steps": bench.setting.steps,
    }
    seed = int(bench.draw(f"generator {predicted}").integers(2**31))
    untrained = ParetoGenerator(bench.space, shared, seed=seed, **{**options, "steps": 0}).fit(sources)
    start = process_time()
    generator = ParetoGenerator(bench.space, shared, seed=seed, **options).fit(sources)
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
        if not predicted:
            keep("untrained generator", name, untrained.propose(replace(device, costs={}), n))
        else:
            keep("untrained generator, decoded", name, untrained.decode(device, n))
        for method, archs in _enumerate(bench, [*generator._costs(device)], n).items():
            keep(f"{method}{suffix}", name, archs)
    for what, times in took.items():
        method = f"generator{suffix}" if what == "proposal_ms" else f"generator, decoded{suffix}"
        seconds[method, what] = float(np.median(times))


def _enumerate(bench: _Bench, costs: Sequence[Cost], n: int) -> dict[str, Archs]:
    """Enumeration with the same costs: the best hypervolume of `n`, and the least scalarised cost of each ray."""
    values = np.stack([cost(bench.archs) for cost in costs], axis=1)
    values = np.where(np.isfinite(values), values, np.nanmax(values, axis=0))
    scaled = (values - values.min(axis=0)) / np.maximum(np.ptp(values, axis=0), 1e-12)
    front = np.flatnonzero(nondominated(scaled))
    best = front[greedy(scaled[None, front], n)]
    least = (scaled @ rays(n, len(costs)).T).argmin(axis=0)
    return {"enumeration": bench.archs[best], "enumeration, least a ray": bench.archs[np.unique(least)]}


def _nsga2(bench: _Bench, device: str) -> dict[int, Archs]:
    """Architectures that NSGA-II has evaluated on the table after each number of evaluations."""
    from nastk.search.base import Objective
    from nastk.search.pymoo import PymooSearch
    from nastk.study import Study

    most = max(bench.setting.evaluations)
    goals = [Objective(name, bench.oracle(goal, device)) for name, goal in zip(bench.names, bench.goals, strict=True)]
    budget = {goal.name: most for goal in goals if goal.expensive}
    seed = int(bench.draw(f"nsga2 {device}").integers(2**31))
    searcher = PymooSearch("nsga2", bench.space, goals, seed=seed, budget=budget, population=10)
    records = Study(searcher, budget, batch=10).run().history.records()
    first = next(iter(budget))
    archs = np.array([r.arch for r in records if r.objective == first], dtype=np.int64)
    return {n: archs[:n] for n in bench.setting.evaluations}


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
        return [*METHODS[:place], *searches, *METHODS[place:]]

    def groups(self) -> dict[str, list[str]]:
        """Single devices, and groups to average over."""
        devices = list(self.setting.problems())
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
            [_metric(self.setting, d, metric, outcome.rows[method, d]) for d in members]
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
            "method": method,
            "network": self.setting.network if "generator" in method else "",
            "objectives": ", ".join(self.setting.objectives),
            "samples": samples,
            "measurements": measurements,
            "metric": metric,
            "mean": mean,
            "ci95": half,
            "seeds": len(self.outcomes),
            "reference": reference,
            "reference_source": "" if reference is None else "best of the table",
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
        labels = s.labels if _needs_labels(s) else 0
        return labels, (s.source_samples if source else s.measurements) if s.open() else labels


@lru_cache(maxsize=64)
def _needs_labels(setting: Setting) -> bool:
    """Whether an objective that does not depend on the device is expensive."""
    table = benchmark(setting.space, dataset=setting.dataset)
    return any(goal.oracle(table).expensive for goal in setting.goals if goal not in setting.open())


@lru_cache(maxsize=100_000)
def _cached_metric(setting: Setting, device: str, metric: str, rows: bytes) -> float:
    scored = _scored(setting, device)
    found = np.frombuffer(rows, dtype=np.int64)
    if metric == "distinct":
        return float(len(found))
    if metric == "hypervolume":
        return scored.hypervolume(found)
    if metric == "igd_plus":
        return scored.igd_plus(found)
    points = scored.normalise(found)
    return gd_plus(points[nondominated(points)], scored.true_front)


def _metric(setting: Setting, device: str, metric: str, rows: Rows) -> float:
    return _cached_metric(setting, device, metric, np.ascontiguousarray(rows, dtype=np.int64).tobytes())


def _scored(setting: Setting, device: str) -> Scores:
    return scores(_problems(setting)[device])


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
        InvalidValue: no seeds, or more labels than architectures.
    """
    if seeds < 1:
        raise InvalidValue(f"a comparison needs at least one seed; got {seeds}")
    size = len(scores(next(iter(setting.problems().values()))).table.table)
    if max(setting.labels, *setting.evaluations, setting.rays) > size:
        raise InvalidValue(f"{setting.space} has only {size} architectures")
    found: dict[int, Outcome] = {}
    try:
        for job, outcome in each(_run, [_Job(setting, first + i) for i in range(seeds)], workers, progress):
            found[job.seed] = outcome
    except KeyboardInterrupt:
        if partial and found:
            partial(Comparison(setting, found).rows())
        raise
    return Comparison(setting, dict(sorted(found.items())))
