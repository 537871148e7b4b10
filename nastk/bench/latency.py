"""Few-shot latency prediction: all methods on the literature's device sets, under one evaluation protocol.

A run samples source architectures, pretrains, and adapts a clean copy for each target device, number of samples and
draw. Its Spearman correlation is over all architectures of the table that were not sampled. The sources are exactly the
task's. The random seed determines the source and target samples; both are the same for all methods with random samples.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.bench._journal import Journal, each_once
from nastk.bench._lookups import Lookups
from nastk.bench.latency_tasks import PUBLISHED, TASKS, DeviceSet, Figure
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import mean_ci, spearman
from nastk.oracles.table import Benchmark, first_dataset
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.registry import PREDICTORS, SAMPLERS
from nastk.samplers.base import sampler
from nastk.spaces.base import Archs, SearchSpace

DRAWS = 4
"""Target draws that share a pretraining of a method that is slow to pretrain: time against independence of the
draws."""


@dataclass(frozen=True)
class Method:
    """A predictor with its options, as one entry of the comparison.

    Args:
        predictor: registered name, or a user's own as ``module:Class``.
        options: of its constructor.
        chooses: whether the predictor chooses the measurements (`Predictor.choose`); random ones otherwise.
        slow: whether one pretraining serves :data:`DRAWS` target draws.
        lookups: values that it looks up of the target's architectures: "zcp" (proxies of the table), "hwl" (latencies
            on the source devices, for its encoding or for a new device's row in the table).
        least: fewest target samples that it supports.
        scratch: the predictor learns only from the target's samples.
        short: in words, how its training is shorter than the predictor's; such a method is for a quick look.
    """

    predictor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    chooses: bool = False
    slow: bool = False
    lookups: tuple[str, ...] = ()
    least: int = 2
    scratch: bool = False
    short: str = ""


def _multi_predict(least: int = 2, chooses: bool = False, scratch: bool = False, **options: Any) -> Method:
    lookups = tuple(part for part in ("zcp", "hwl") if part in options.get("encoding", ""))
    if not scratch and options.get("representation", "table") == "table" and "initial_row" not in options:
        options["initial_row"] = "measured"  # the paper's
        lookups = tuple(dict.fromkeys((*lookups, "hwl")))
    return Method("multi-predict", options, chooses, not scratch, lookups, least, scratch)


METHODS: dict[str, Method] = {
    "few-shot-gp": Method("few-shot-gp", chooses=True),
    "few-shot-gp-random": Method("few-shot-gp"),
    "multi-predict": _multi_predict(),
    "multi-predict-predicted": _multi_predict(initial_row="predicted"),
    "multi-predict-index": _multi_predict(representation="index"),
    "multi-predict-sample": _multi_predict(representation="sample", chooses=True, least=10),
    "multi-predict-zcp": _multi_predict(encoding="zcp"),
    "multi-predict-hwl": _multi_predict(encoding="hwl"),
    "multi-predict-vec+zcp": _multi_predict(encoding="vec+zcp"),
    "multi-predict-vec+hwl": _multi_predict(encoding="vec+hwl"),
    **{
        f"multi-predict-{encoding}-scratch": _multi_predict(encoding=encoding, scratch=True)
        for encoding in ("vec", "zcp", "hwl", "vec+hwl")
    },
    "help": Method("help", slow=True, chooses=True, least=20),
    "nasflat": Method("nasflat", slow=True),
    "maple": Method("maple", slow=True, chooses=True, least=10),
    "brp-nas": Method("brp-nas", slow=True, scratch=True),
    "help-short": Method(
        "help", {"episodes": 500, "query": 50, "draws": 3}, True, True, (), 20,
        short="500 episodes of 50 queries in place of 2,000 (cells) or 4,000 (chains) of 200",
    ),
    "nasflat-short": Method("nasflat", {"epochs": 20}, slow=True, short="20 epochs in place of 150"),
    "brp-nas-short": Method(
        "brp-nas", {"width": 200, "epochs": 100}, slow=True, scratch=True,
        short="100 epochs of a network 200 wide in place of 250 and 600",
    ),
    "lookup-table": Method("lookup-table", scratch=True),
    "flops": Method("flops", scratch=True),
}  # fmt: skip
"""Methods by name in the comparison; any other registered predictor can be named too."""

DEFAULT_METHODS = ("few-shot-gp", "multi-predict", "lookup-table", "flops")
"""Methods compared unless others are given."""
SAMPLES = (3, 5, 10, 20)
"""Numbers of measurements compared unless others are given."""
DEFAULT_TASKS = ("ND", "FD", "FA", "F1", "F2", "F3", "F4", "NA")
"""Tasks compared unless others are given."""


class Score(NamedTuple):
    """Quality of the predictions for one device.

    Args:
        spearman: over all architectures not sampled.
        trimmed: the same without the fastest and slowest tenth (HELP's own metric).
        error: median relative error; NaN for methods that only rank.
        covered: fraction of true values in the 95 % intervals; NaN for methods without.
        seconds: for adapting and predicting the whole table, on one thread.
        pretraining: seconds of its pretraining, on one thread.
        measurements: different latencies that it used, of the sources, looked up, and of the target.
        source_measurements: those from which it learned the sources.
        looked_up: those of source devices that its encoding looked up.
        proxies: architectures whose zero-cost proxies its encoding looked up.
    """

    spearman: float
    trimmed: float
    error: float
    covered: float
    seconds: float
    pretraining: float
    measurements: int = 0
    source_measurements: int = 0
    looked_up: int = 0
    proxies: int = 0


USED = ("measurements", "source_measurements", "looked_up", "proxies")
"""Fields of a score, and columns of the rows, that say what was used."""


_Scores = dict[tuple[int, int, str], Score]
"""By (samples, draw, device)."""


@dataclass(frozen=True)
class Job:
    """One pretraining with all its draws, numbers of samples and devices."""

    task: str
    devices: DeviceSet
    method: str
    pretraining: int
    draws: tuple[int, ...]
    samples: tuple[int, ...]
    source_samples: int
    sampler: str | None


def run(
    tasks: Sequence[str] = DEFAULT_TASKS,
    methods: Sequence[str] = DEFAULT_METHODS,
    samples: Sequence[int] = SAMPLES,
    seeds: int = 10,
    source_samples: Sequence[int] | None = None,
    sampler_name: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    partial: Callable[[list[dict[str, Any]]], None] | None = None,
    sets: Mapping[str, DeviceSet] | None = None,
    journal: str | os.PathLike[str] | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Compare methods on device sets.

    Args:
        tasks: keys of `nastk.bench.latency_tasks.TASKS`, or of `sets`.
        methods: keys of :data:`METHODS`, or names of predictors.
        samples: numbers of measurements of the target device.
        seeds: number of random seeds, from `first`. Methods that are slow to pretrain share a pretraining among four
            draws, and round up.
        source_samples: architectures per source device; by default the papers' 900 (NAS-Bench-201) and 4,000 (FBNet).
        sampler_name: sampler that chooses the measurements for all methods, instead of each method's own.
        workers: number of processes, by default one per core.
        progress: called with (done, total) after each run.
        partial: called with the rows so far if the comparison is interrupted.
        sets: further device sets by name (:mod:`nastk.bench.device_sets`), none of which is a name of the literature's.
        journal: a file that keeps every finished run; runs that it holds are not repeated.
        first: random seed; of methods that share a pretraining, the next multiple of four draws.

    Returns:
        Tidy rows, one per task, method, number of samples, device and metric; device "*" is the mean over devices.
        ``measurements`` are all different latencies that a method used: those of its sources
        (``source_measurements``), those that its encoding looks up on source devices (``looked_up``), and the samples;
        ``proxies`` are architectures whose zero-cost proxies it looks up. ``training_measurements`` are the latencies
        of what it learns from alone, as the papers count (:func:`training_measurements`).

    Raises:
        UnknownName: no such task, method or sampler.
        InvalidValue: nothing to run.
    """
    wanted = jobs(tasks, methods, samples, seeds, source_samples, sampler_name, sets, first)
    found: dict[Job, _Scores] = {}
    try:
        for job, scores in _finished(wanted, journal, workers, progress):
            found[job] = scores
    except KeyboardInterrupt:
        if partial and found:
            partial(rows(found, methods))
        raise
    return rows(found, methods)


def jobs(
    tasks: Sequence[str],
    methods: Sequence[str],
    samples: Sequence[int],
    seeds: int,
    source_samples: Sequence[int] | None = None,
    sampler_name: str | None = None,
    sets: Mapping[str, DeviceSet] | None = None,
    first: int = 0,
) -> list[Job]:
    """What :func:`run` runs with these arguments."""
    if not tasks or not methods or not samples or seeds < 1:
        raise InvalidValue("a comparison needs at least one task, one method, one number of samples and one seed")
    known = {task: device_set_of(task, sets or {}) for task in tasks}
    for method in methods:
        find(method)
    if sampler_name is not None:
        SAMPLERS.get(sampler_name)
    if min(samples) < 2:
        raise InvalidValue(f"adapting to a device needs at least 2 samples; got {min(samples)}")
    able = [task for task in tasks if not missing(known[task])[0]]
    if not able:
        lacking = ", ".join(dict.fromkeys(d for task in tasks for d in missing(known[task])[1]))
        raise InvalidValue(f"no device of {', '.join(tasks)} can be run: the tables lack {lacking}; {CURE}")
    found = []
    for task in able:
        devices = known[task]
        for size in source_samples or [devices.source_samples]:
            most = len(open_table(devices.space).space.enumerate())
            if size < 3 or size > most:
                raise InvalidValue(f"source samples must be 3 to {most} for {task}; got {size}")
            for method in methods:
                each_draw = DRAWS if find(method).slow else 1
                enough = tuple(k for k in sorted(set(samples)) if k >= find(method).least)
                start = -(-first // each_draw)
                for number in range(start, start + -(-seeds // each_draw)):
                    draws = tuple(range(number * each_draw, (number + 1) * each_draw))
                    if enough:
                        found.append(Job(task, devices, method, number, draws, enough, size, sampler_name))
    return found


def finish(
    wanted: Sequence[Job],
    journal: str | os.PathLike[str],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run jobs of several comparisons at once, so that no core waits for the last one of each.

    Args:
        journal: where :func:`run` finds them.
    """
    for _ in _finished(list(dict.fromkeys(wanted)), journal, workers, progress):
        pass


def _finished(
    wanted: Sequence[Job],
    journal: str | os.PathLike[str] | None,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[Job, _Scores]]:
    """Each job with its scores; the longest begin first, so that no core idles at the end."""

    def length(job: Job) -> tuple[bool, int]:
        return find(job.method).slow, job.source_samples * len(job.devices.sources)

    ordered = sorted(wanted, key=length, reverse=True)
    return each_once(_pretrain_and_adapt, ordered, Journal(journal, _written, _read), asdict, workers, progress)


def _written(scores: _Scores) -> dict[str, Any]:
    return {"scores": [[*key, *score] for key, score in scores.items()]}


def _read(entry: Mapping[str, Any]) -> _Scores:
    return {(int(n), int(draw), str(device)): Score(*score) for n, draw, device, *score in entry["scores"]}


CURE = "import EAGLE's files with: nastk data import eagle PATH"
"""How to get the devices that the fetched tables lack."""


def find(method: str) -> Method:
    """The method of this name; a predictor without an entry is run with its defaults."""
    if method in METHODS:
        return METHODS[method]
    try:
        PREDICTORS.get(method)
    except UnknownName:
        raise UnknownName("method", method, dict.fromkeys([*METHODS, *PREDICTORS.names()])) from None
    return Method(method)


def device_set_of(task: str, sets: Mapping[str, DeviceSet]) -> DeviceSet:
    """The devices of a task of the literature, or of one of `sets`.

    Raises:
        UnknownName: no such task.
    """
    known = {**sets, **TASKS}
    if task not in known:
        raise UnknownName("task", task, known)
    return known[task]


def missing(devices: DeviceSet) -> tuple[bool, list[str]]:
    """Whether a device set cannot be run with the available tables, and the devices that they lack."""
    known = set(open_table(devices.space).devices())
    sources, targets = ([d for d in part if d not in known] for part in (devices.sources, devices.targets))
    return bool(sources) or len(targets) == len(devices.targets), [*sources, *targets]


@lru_cache(maxsize=4)
def open_table(space: str) -> Benchmark:
    """The fetched table of a space, on its first data set."""
    return first_dataset(space)


@lru_cache(maxsize=64)
def _latency(space: str, device: str) -> np.ndarray:
    return open_table(space).values("latency", device=device)


def generator(*key: object) -> np.random.Generator:
    """One of its own for each key, so that what is added to a comparison changes no other draw."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, key)).encode()))


class _Sources:
    """Latencies of source devices for samplers that need them, from models of the source samples only."""

    def __init__(self, tasks: Sequence[Task]):
        from nastk.predictors._source_models import SourceModels

        self._models = SourceModels.fit(tasks)
        self.names = self._models.names

    def __call__(self, archs: Archs) -> np.ndarray:
        return self._models(archs)


def _pretrain_and_adapt(job: Job) -> _Scores:
    """Scores by (samples, draw, device)."""
    devices, method = job.devices, find(job.method)
    table = open_table(devices.space)
    whole = table.space.whole
    archs = table.space.enumerate()
    context = _context(table, devices, method)
    rows = generator("sources", job.task, job.pretraining).choice(len(archs), job.source_samples, replace=False)
    sources = [_task(whole, archs, rows, devices.space, name, context) for name in devices.sources]
    learner = make(method, seed=job.pretraining)
    started = perf_counter()
    if not method.scratch:
        learner.pretrain(sources)
    pretraining = perf_counter() - started
    learned = np.zeros((len(archs), len(devices.sources)), dtype=bool)
    if measures_sources(job.method):
        learned[rows] = np.isfinite(np.stack([_latency(devices.space, d)[rows] for d in devices.sources], axis=1))
    given = _Sources(sources) if job.sampler is not None and sampler(job.sampler).needs_sources else None
    targets = [name for name in devices.targets if name in table.devices()]
    scores = {}
    for draw in job.draws:
        for k in job.samples:
            drawn = generator("target", job.task, k, draw)
            if job.sampler is not None:
                chosen = sampler(job.sampler).choose(
                    k, whole, candidates=archs, seed=drawn, sources=given, context=context
                )
            elif method.chooses:
                chosen = learner.choose(k, whole, candidates=archs, seed=drawn, context=context)
            else:
                chosen = archs[drawn.choice(len(archs), k, replace=False)]
            at = table.space.index(chosen)
            for name in targets:
                target = _task(whole, archs, at, devices.space, name, context)
                started = perf_counter()
                mine = learner.adapt(target)
                predicted = mine.predict(archs)
                seconds = perf_counter() - started
                quality = _quality(predicted, mine.scale == "metric", at, _latency(devices.space, name))
                used = _used(table, context, learned, len(target))
                scores[k, draw, name] = Score(*quality, seconds, pretraining, *used)
    return scores


def _used(table: Benchmark, context: Context, learned: NDArray[np.bool_], target: int) -> tuple[int, ...]:
    """What was used: :data:`USED`.

    Args:
        learned: latencies of the source devices from which was learned, ``(architectures, devices)``.
        target: measurements of the target device.
    """
    found, looked_up, proxies = learned.copy(), 0, 0
    if isinstance(context.latencies, Lookups):
        archs, known = context.latencies.asked()
        found[table.table.rows(archs)] |= known
        looked_up = int(known.sum())
    if isinstance(context.proxies, Lookups):
        proxies = context.proxies.count
    return int(found.sum()) + target, int(learned.sum()), looked_up, proxies


def training_measurements(samples: int, learned: int, encoding: int) -> int:
    """Latencies of the architectures that a method learns from: what the literature counts.

    Multi-Predict's "under 85 measurements" are five samples on the target and on the 16 devices of its encoding: those
    of what is predicted, which a user has to measure too, are not in it.

    Args:
        samples: of the target.
        learned: latencies of the sources that were learned before.
        encoding: devices on which the target's architectures are looked up.
    """
    return learned + samples * (1 + encoding)


def make(method: Method, seed: int) -> Predictor:
    """A new predictor of a method, with the random seed if it takes one."""
    import inspect

    options = dict(method.options)
    if "seed" in inspect.signature(PREDICTORS.get(method.predictor)).parameters:
        options["seed"] = seed
    made: Predictor = PREDICTORS.create(method.predictor, **options)
    return made


def _context(table: Benchmark, devices: DeviceSet, method: Method) -> Context:
    return Context(
        proxies=Lookups(table.proxy_source()) if "zcp" in method.lookups else None,
        latencies=Lookups(table.latency_source(devices.sources)) if "hwl" in method.lookups else None,
    )


def _task(space: SearchSpace, archs: Archs, rows: Any, table: str, device: str, context: Context) -> Task:
    values = _latency(table, device)[rows]
    known = np.isfinite(values)
    mine = context
    if context.latencies is not None and device in context.latencies.names:
        mine = Context(context.build_options, context.proxies, context.dataset, _Without(context.latencies, device))
    return Task(space, archs[rows][known], values[known], "latency", "ms", "min", device=device, context=mine)


class _Without:
    """Latencies of other devices for a source task: its own device's column is unknown there."""

    def __init__(self, source: Any, device: str):
        self._source, self._column = source, list(source.names).index(device)
        self.names = tuple("" if name == device else name for name in source.names)

    def __call__(self, archs: Archs) -> np.ndarray:
        values = np.array(self._source(archs), dtype=np.float64)
        values[:, self._column] = np.nan
        return values


def _quality(
    predicted: Prediction, units: bool, sampled: np.ndarray, truth: np.ndarray
) -> tuple[float, float, float, float]:
    """Spearman, trimmed Spearman, median relative error and coverage over architectures not sampled."""
    test = np.setdiff1d(np.flatnonzero(np.isfinite(truth)), sampled)
    mean, std, true = predicted.mean[test], predicted.std[test], truth[test]
    low, high = np.quantile(true, [0.1, 0.9])
    middle = (true >= low) & (true <= high)
    return (
        order(mean, true),
        order(mean[middle], true[middle]),
        float(np.median(np.abs(mean / true - 1.0))) if units else np.nan,
        float((np.abs(mean - true) < 1.96 * std).mean()) if units and np.isfinite(std).all() else np.nan,
    )


def order(predicted: np.ndarray, true: np.ndarray) -> float:
    """Spearman correlation; zero for constant predictions."""
    return spearman(predicted, true) if np.ptp(predicted) > 0 else 0.0


METRICS = {
    "spearman": "spearman",
    "spearman_trimmed": "trimmed",
    "median_error": "error",
    "covered95": "covered",
    "seconds": "seconds",
    "seconds_pretraining": "pretraining",
}
"""Metrics of the rows, and the fields of :class:`Score`."""


def rows(found: Mapping[Job, _Scores], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Tidy rows of finished runs."""
    grouped: dict[tuple[str, str, int], _Scores] = {}
    pretrainings: dict[tuple[str, str, int], int] = {}
    sets = {job.task: job.devices for job in found}
    for job, scores in found.items():
        key = (job.task, job.method, job.source_samples)
        grouped.setdefault(key, {}).update(scores)
        pretrainings[key] = pretrainings.get(key, 0) + 1
    order = {task: i for i, task in enumerate([*TASKS, *sorted(set(sets) - set(TASKS))])}
    out = []
    for task, method, size in sorted(grouped, key=lambda g: (order[g[0]], list(methods).index(g[1]), g[2])):
        scores = grouped[task, method, size]
        for k in sorted({key[0] for key in scores}):
            names = list(dict.fromkeys(d for n, _, d in scores if n == k))
            draws = sorted({draw for n, draw, _ in scores if n == k})
            used = [scores[k, s, d] for s in draws for d in names]
            most = {what: max(getattr(s, what) for s in used) for what in USED}
            devices = len(sets[task].sources) if "hwl" in find(method).lookups else 0
            most["training_measurements"] = training_measurements(k, most["source_measurements"], devices)
            for metric, attribute in METRICS.items():
                table = np.array([[getattr(scores[k, s, d], attribute) for d in names] for s in draws])
                if np.isnan(table).all():
                    continue
                for device, values in [*zip(names, table.T, strict=True), ("*", table.mean(axis=1))]:
                    mean, half = mean_ci(values)
                    out.append(
                        {
                            "experiment": "latency",
                            "space": sets[task].space,
                            "task": task,
                            "method": method,
                            "samples": k,
                            "source_samples": size,
                            **most,
                            "device": device,
                            "devices": len(names) if device == "*" else 1,
                            "metric": metric,
                            "mean": mean,
                            "ci95": half,
                            "seeds": len(draws),
                            "pretrainings": pretrainings[task, method, size],
                            **_reference(task, method, k, size, device, metric, len(names)),
                        }
                    )
    return out


def measures_sources(method: str) -> bool:
    """Whether a method learns from source devices."""
    made = PREDICTORS.get(find(method).predictor)
    return not find(method).scratch and isinstance(made, type) and issubclass(made, FewShotPredictor)


def _reference(
    task: str, method: str, samples: int, size: int, device: str, metric: str, devices: int
) -> dict[str, Any]:
    """The published figure of the same method, or else the best one of any method, for the same task and samples."""
    nothing: dict[str, Any] = {"reference": None, "reference_source": None}
    if task not in TASKS or metric != "spearman" or (device == "*" and devices < len(TASKS[task].targets)):
        return nothing
    same = [
        f
        for f in PUBLISHED
        if f.task == task and f.device == device and f.samples in (samples, None)
        and (f.source_samples or TASKS[task].source_samples) == size
    ]  # fmt: skip
    own = [f for f in same if f.method == method]
    best: list[Figure] = own[:1] or sorted((f for f in same if f.samples), key=lambda f: -f.value)[:1]
    if not best:
        return nothing
    said = best[0].table if own else f"best published: {best[0].method}, {best[0].table}"
    return {"reference": best[0].value, "reference_source": said}
