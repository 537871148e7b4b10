"""Few-shot latency of translators: each of HAT's eight files from ten of its measurements and the other devices' files.

The number of decoder layers alone ranks these latencies, so the Spearman correlation is also told within six of them.
What can be reached is told by a ridge on the table's ten features with 1,600 measurements of the same file
(:func:`ceiling`): where that ranks poorly within six layers, so far as these features go the rest is noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data.hat import MEASURED
from nastk.errors import InvalidValue
from nastk.metrics import mean_ci, spearman
from nastk.oracles.table import benchmark
from nastk.parallel import each
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.spaces.base import Archs
from nastk.spaces.hat import DEEPEST, HAT

Array = NDArray[np.float64]
File = tuple[str, str]
"""Task and device of a file."""

FILES: tuple[File, ...] = tuple((task, device) for task, devices in MEASURED.items() for device in devices)
"""All files."""
SOURCE_SAMPLES = 1900
"""Measurements of each file of another device that are learned from, nearly all of them: within one number of layers
they are noisy, and of 300 only some fifty have six."""
CEILING = 1600
"""Measurements of the same file that the ridge learns from."""
METRICS = ("spearman", "spearman_six_layers", "median_error")
"""What is told of a prediction: Spearman over all other networks, within six decoder layers, median relative error."""


@dataclass(frozen=True)
class _Job:
    device: str
    seed: int
    samples: tuple[int, ...]
    calculated: bool


_Scores = dict[tuple[File, str, int], tuple[float, float, float]]
"""By file, method and measurements."""


def run(
    samples: Sequence[int] = (10,),
    seeds: int = 10,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    partial: Callable[[list[dict[str, Any]]], None] | None = None,
    calculated: bool = True,
) -> list[dict[str, Any]]:
    """Leave each device out and predict its files.

    Args:
        samples: numbers of measurements of a file of the device that was left out, chosen by few-shot-gp.
        seeds: number of random seeds, from 0, of sources, measurements and the ridge's.
        workers: number of processes, by default one per core.
        progress: called with (done, total) after each device and seed.
        partial: called with the rows so far if it is interrupted.
        calculated: see `FewShotGP`; without, it is a hundred times faster and ranks worse on the Raspberry Pi.

    Returns:
        Tidy rows, one per file, method ("few-shot-gp", "ridge, 1600"), number of measurements and metric.

    Raises:
        InvalidValue: no seeds or too few samples.
        DataError: the table is not fetched.
    """
    if seeds < 1 or not samples or min(samples) < 3 or max(samples) > CEILING:
        raise InvalidValue(f"needs at least one seed, and 3 to {CEILING} measurements")
    benchmark("hat")
    devices = list(dict.fromkeys(device for _, device in FILES))
    jobs = [_Job(device, seed, tuple(samples), calculated) for device in devices for seed in range(seeds)]
    found: dict[tuple[int, str], _Scores] = {}
    try:
        for job, scores in each(_run, jobs, workers, progress):
            found[job.seed, job.device] = scores
    except KeyboardInterrupt:
        if partial and found:
            partial(_rows(found))
        raise
    return _rows(found)


def _run(job: _Job) -> _Scores:
    table = benchmark("hat")
    space, archs = HAT(), table.space.enumerate()
    values = {file: table.values("latency", dataset=file[0], device=file[1]) for file in FILES}
    rng = np.random.default_rng([job.seed, 1])
    sources = []
    for (task, device), ms in values.items():
        rows = rng.choice(np.flatnonzero(np.isfinite(ms)), SOURCE_SAMPLES, replace=False)
        if device != job.device:
            sources.append(Task(space, archs[rows], ms[rows], "latency", "ms", device=f"{device}-{task}"))
    few = FewShotGP(calculated=job.calculated).pretrain(sources)
    scores: _Scores = {}
    for file in (f for f in FILES if f[1] == job.device):
        rows = np.flatnonzero(np.isfinite(values[file]))
        mine, ms = archs[rows], values[file][rows]
        scores[file, f"ridge, {CEILING}", CEILING] = ceiling(mine, ms, job.seed)
        for n in job.samples:
            chosen = few.choose(n, space, candidates=mine, seed=job.seed)
            place = {row.tobytes(): i for i, row in enumerate(np.ascontiguousarray(mine))}
            got = np.array([place[row.tobytes()] for row in np.ascontiguousarray(chosen)])
            model = few.adapt(Task(space, mine[got], ms[got], "latency", "ms", device=f"{file[1]}-{file[0]}"))
            rest = np.setdiff1d(np.arange(len(ms)), got)
            scores[file, "few-shot-gp", n] = _quality(model.predict(mine[rest]).mean, ms[rest], mine[rest])
    return scores


def ceiling(archs: Archs, ms: Array, seed: int) -> tuple[float, float, float]:
    """What a ridge on the ten features reaches with :data:`CEILING` measurements of the same file, on the others.

    Each fifth of the 2,000 is predicted from the rest, so that all of them count: within six decoder layers there are
    some 330, and 70 in a fifth.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(1.0))
    folds = KFold(round(len(ms) / (len(ms) - CEILING)), shuffle=True, random_state=seed)
    return _quality(cross_val_predict(model, HAT().features(archs), ms, cv=folds), ms, archs)


def _quality(predicted: Array, true: Array, archs: Archs) -> tuple[float, float, float]:
    deepest = archs[:, 2] == DEEPEST - 1
    return (
        spearman(predicted, true),
        spearman(predicted[deepest], true[deepest]),
        float(np.median(np.abs(predicted / true - 1))),
    )


def _rows(found: Mapping[tuple[int, str], _Scores]) -> list[dict[str, Any]]:
    """Tidy rows, in the order of the files."""
    values: dict[tuple[File, str, int], list[tuple[float, float, float]]] = {}
    for _, scores in sorted(found.items()):
        for key, score in scores.items():
            values.setdefault(key, []).append(score)
    out = []
    for key in sorted(values, key=lambda k: (FILES.index(k[0]), k[1] != "few-shot-gp", k[2])):
        (task, device), method, n = key
        for metric, of_metric in zip(METRICS, np.array(values[key]).T, strict=True):
            mean, half = mean_ci(of_metric)
            out.append(
                {
                    "experiment": "hat latency", "space": "hat", "dataset": task, "device": device, "method": method,
                    "samples": n, "source_samples": SOURCE_SAMPLES if method == "few-shot-gp" else 0,
                    "metric": metric, "mean": mean, "ci95": half, "seeds": len(of_metric),
                }
            )  # fmt: skip
    return out


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per file and number of measurements: few-shot-gp beside the ridge, and its share of that."""
    means = {(r["dataset"], r["device"], r["method"], r["samples"], r["metric"]): r["mean"] for r in rows}
    counts = list(dict.fromkeys(r["samples"] for r in rows if r["method"] == "few-shot-gp"))
    lines = []
    for task, device in FILES:
        for n in counts:
            if (task, device, "few-shot-gp", n, METRICS[0]) not in means:
                continue
            line: dict[str, Any] = {"task": task, "device": device, "measurements": n}
            for metric, heading in zip(METRICS, ("all", "six layers", "error"), strict=True):
                mine = means[task, device, "few-shot-gp", n, metric]
                most = means[task, device, f"ridge, {CEILING}", CEILING, metric]
                line[heading], line[f"{heading}, ridge"] = f"{mine:.3f}", f"{most:.3f}"
                if metric != "median_error":
                    line[f"{heading}, share"] = f"{mine / most:.3f}"
            lines.append(line)
    return lines
