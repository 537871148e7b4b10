"""Rebuild the shipped weights from fetched tables: ``python -m nastk.weights.build`` after ``nastk data fetch``.

Each is fitted on at most 900 architectures per device or data set (what a prior learns of a related space: all cells of
TransNAS-Bench-101 micro), and evaluated on held-out architectures of devices or data sets that it has not learned.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

import nastk
from nastk.bench import accuracy
from nastk.data.fetch import Store
from nastk.data.tables import Column
from nastk.metrics import kendall, ndcg, spearman
from nastk.oracles.table import Benchmark, benchmark
from nastk.predictors.base import Predictor, Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.predictors.gp import GP
from nastk.predictors.gp_bma import GPBMA

SAMPLES = 900
"""Architectures per device or data set: those of the papers on NAS-Bench-201; more would enlarge the files."""
TESTED = 2000
"""Held-out architectures, at most, on which a predictor is compared with others: more change the third decimal."""
MEASUREMENTS = 10
"""Target measurements when the quality of latency weights is evaluated."""
COMPARED = (5, 10, 20)
"""Target measurements when they are compared with what learns from the target alone."""
TRAININGS = 25
"""Trainings when the quality of the accuracy prior is evaluated."""
TRAINED = (0, 10, 25, 50)
"""Trainings when it is compared with none; before the first there is a ranking only with a prior."""
DRAWS = 3
"""Random draws that an evaluation averages: precision against time."""
DUPLICATES = 0.995
"""Sources with a Spearman correlation to the target above this are near-duplicates, left out of the evaluation."""

Array = NDArray[np.float64]
Notes = dict[str, Any]


class Devices(NamedTuple):
    """Where the source devices of a space come from, and which of them are of a kind.

    Args:
        origin: repository of the columns.
        paper: that published them.
        kinds: how device names start, and the kind of hardware: all of a target's kind are left out when the quality is
            evaluated. Without kinds it is the target and its near-duplicates (:data:`DUPLICATES`).
        calculated: of `FewShotGP`. Graphics processors alone are always joined by calculated devices; beside FPGAs,
            TPUs and graphics processors these add nothing (docs/weights.md).
    """

    origin: str
    paper: str
    kinds: Mapping[str, str]
    calculated: bool | Literal["always"] = True


HELP = "HELP (Lee et al., NeurIPS 2021)"
DEVICES = {
    "nasbench201": Devices("HayeonLee/HELP", HELP, {}),
    "fbnet": Devices("HayeonLee/HELP", HELP, {}),
    "mobilenetv3": Devices(
        "HayeonLee/HELP", HELP, {"2080ti": "Turing", "titan_rtx": "Turing", "titan_xp": "Pascal", "v100": "Volta"},
        "always",
    ),
    "gpt": Devices(
        "automl/HW-GPT-Bench",
        "HW-GPT-Bench (Sukthanker et al., NeurIPS 2024)",
        {
            "P100": "Pascal", "v100": "Volta", "rtx2080": "Turing", "a100": "Ampere", "a40": "Ampere",
            "a6000": "Ampere", "rtx3080": "Ampere", "h100": "Hopper",
        },
        "always",
    ),
    "mnasnet": Devices(
        "afzalxo/Accel-NASBench",
        "Accel-NASBench (Ahmad et al., DAC 2024)",
        {"a100": "Ampere", "rtx3090": "Ampere", "tpu": "TPU", "zcu102": "FPGA", "vck190": "FPGA"},
        False,
    ),
}  # fmt: skip

TASKS = {
    "transbench101-micro": {
        "class_scene": "classification", "class_object": "classification", "room_layout": "layout", "jigsaw": "jigsaw",
        "segmentsemantic": "pixels", "normal": "pixels", "autoencoder": "pixels",
    },
}  # fmt: skip
TASKS["transbench101-macro"] = TASKS["transbench101-micro"]
"""Data sets whose accuracies a space's prior learns, and their kinds: all of a target's kind are left out when the
quality is evaluated. That of NAS-Bench-201 learns none of its own: its three rank the cells alike, so that none of them
could be left out."""


# ---- latency


def build_latency(space: str, seed: int = 0) -> tuple[FewShotGP, Notes]:
    """few-shot-gp on all devices of a space's table, and its quality with each device or kind left out."""
    table, which = benchmark(space), DEVICES[space]
    whole, everything = table.space.whole, table.space.enumerate()
    columns = _devices(table, which.origin)
    values = {d: _milliseconds(table, column) for d, column in columns.items()}
    known = np.flatnonzero(np.isfinite(list(values.values())).all(axis=0))
    rows = np.random.default_rng(seed).choice(known, SAMPLES, replace=False)
    held_out = np.setdiff1d(known, rows)
    few = FewShotGP(calculated=which.calculated).pretrain(
        [_latencies(whole, everything[rows], v[rows], d) for d, v in values.items()]
    )
    quality, compared = {}, dict[str, list[Array]]()
    for device, latencies in values.items():
        kin = [d for d in values if which.kinds and _kind(which, d) == _kind(which, device)]
        rest = few.without(kin) if kin else few.without([device], DUPLICATES)
        scores = [_latency_scores(rest, table, latencies, device, held_out, draw) for draw in range(DRAWS)]
        of_method = {method: np.mean([s[method] for s in scores], axis=0) for method in scores[0]}
        rho, error = of_method["few-shot-gp"][COMPARED.index(MEASUREMENTS)]
        quality[device] = {"spearman": round(float(rho), 4), "median_relative_error": round(float(error), 4)}
        for method, found in of_method.items():
            compared.setdefault(method, []).append(found)
    how = (
        "all devices of its kind left out (NVIDIA's generation, TPU, FPGA)"
        if which.kinds
        else f"sources that rank it above {DUPLICATES} left out too"
    )
    return few, {
        "what": f"latency of {whole.name} on {len(values)} devices of {which.paper}",
        "space": whole.name,
        "metric": "latency",
        "samples": SAMPLES,
        "seed": seed,
        "held_out": {
            "how": f"each device new in turn, {how}, {MEASUREMENTS} measurements, mean of {DRAWS} draws, architectures "
            "never fitted",
            "spearman": round(float(np.mean([q["spearman"] for q in quality.values()])), 4),
            "devices": quality,
            "compared": _table("spearman, median_relative_error", COMPARED, compared),
        },
        "data": {c.source: c.sha256 for c in columns.values()},
    }


def _devices(table: Benchmark, origin: str) -> dict[str, Column]:
    """Columns with a latency on each device; where there is none, with its throughput."""
    found: dict[str, Column] = {}
    for metric in ("latency", "throughput"):
        for column in table.table.columns:
            if column.metric == metric and column.source.startswith(origin) and not column.imported:
                found.setdefault(str(column.device), column)
    return found


def _milliseconds(table: Benchmark, column: Column) -> Array:
    """Latencies ``(n,)``; of a device whose throughput alone is known, milliseconds an image."""
    values: Array = table.values(column.metric, device=column.device)
    return 1e3 / values if column.metric == "throughput" else values


def _kind(which: Devices, device: str) -> str:
    return next(kind for stem, kind in which.kinds.items() if device.startswith(stem))


def _latency_scores(
    few: FewShotGP, table: Benchmark, values: Array, device: str, held_out: NDArray[np.int64], draw: int
) -> dict[str, Array]:
    """Spearman correlation and median relative error of each method, ``(len(COMPARED), 2)``, from the same
    measurements."""
    whole, everything = table.space.whole, table.space.enumerate()
    chosen = few.choose(max(COMPARED), whole, seed=draw, candidates=everything[held_out])  # fewer are the first of more
    at = table.space.index(chosen)
    test = np.setdiff1d(np.random.default_rng(draw).permutation(held_out)[:TESTED], at)
    methods = {
        "few-shot-gp": few,
        "few-shot-gp without sources": FewShotGP(),
        "gp": nastk.predictor("gp"),
        "lookup-table": nastk.predictor("lookup-table"),
    }
    found: dict[str, Array] = {}
    for method, predictor in methods.items():
        scores = []
        for n in COMPARED:
            task = _latencies(whole, chosen[:n], values[at[:n]], device)
            mean, truth = predictor.adapt(task).predict(everything[test]).mean, values[test]
            scores.append((spearman(mean, truth), np.median(np.abs(mean / truth - 1))))
        found[method] = np.array(scores, dtype=np.float64)
    return found


def _latencies(space: nastk.SearchSpace, archs: NDArray[np.int64], values: Array, device: str) -> Task:
    return Task(space, archs, values, "latency", "ms", "min", device=device)


# ---- accuracy


def build_accuracy(dataset: str, seed: int = 0) -> tuple[GP, Notes]:
    """gp on NAS-Bench-201's test accuracy (200 epochs), and its quality on held-out architectures."""
    table = benchmark("nasbench201", dataset=dataset)
    everything, values = table.space.enumerate(), table.values("test_accuracy")
    rows = np.random.default_rng(seed).choice(len(everything), SAMPLES, replace=False)
    held_out = np.setdiff1d(np.arange(len(everything)), rows)
    task = Task(
        table.space, everything[rows], values[rows], "test_accuracy", "%", "max", dataset,
        context=nastk.Context(build_options=dict(_build_options(dataset))),
    )  # fmt: skip
    fitted = GP().fit(task)
    model = GP()
    model.restore(
        *cast("tuple[Any, Any]", fitted.learned()), task, None
    )  # as what is read predicts: in double precision
    mean, truth = model.predict(everything[held_out]).mean, values[held_out]
    best = truth >= np.quantile(truth, 0.9)
    _, column = table.table.find("test_accuracy", dataset=dataset)
    return model, {
        "what": f"test accuracy (%) after 200 epochs of nasbench201 on {dataset}, an estimate",
        "space": "nasbench201",
        "metric": "test_accuracy",
        "dataset": dataset,
        "samples": SAMPLES,
        "seed": seed,
        "held_out": {
            "how": f"the {len(held_out)} architectures never fitted",
            "spearman": round(spearman(mean, truth), 4),
            "kendall": round(kendall(mean, truth), 4),
            "spearman_best_tenth": round(spearman(mean[best], truth[best]), 4),
            "median_absolute_error": round(float(np.median(np.abs(mean - truth))), 4),
        },
        "data": {column.source: column.sha256},
    }


def build_prior(space: str) -> tuple[GPBMA, Notes]:
    """gp-bma's prior for a space, by other tasks of it."""
    own = {dataset: _accuracies(space, dataset, SAMPLES) for dataset in TASKS[space]}
    model = GPBMA().pretrain((), list(own.values()))
    return model, {
        "what": f"accuracies of {space} from few trainings, by those of the same networks in {len(own)} tasks",
        "space": space,
        "metric": "accuracy",
        "samples": SAMPLES,
        "held_out": _of_other_tasks(space, own),
        "data": {column.source: column.sha256 for column in _columns(list(own.values()))},
    }


def build_prior_of_other_spaces() -> tuple[GPBMA, Notes]:
    """gp-bma's prior for NAS-Bench-201, by tasks of other spaces and of the same cells elsewhere."""
    sources, related = accuracy.sources("nasbench201"), list(accuracy.related("nasbench201"))
    model = GPBMA().pretrain(sources, related, accuracy.further("nasbench201"))
    quality: dict[str, float] = {}
    for dataset, task in accuracy.targets("nasbench201").items():
        found = []
        for draw in range(DRAWS):
            seen = task.space.index(
                model.choose(TRAININGS, task.space, candidates=task.archs, seed=draw, context=task.context)
            )
            chosen = np.isin(task.space.index(task.archs), seen)
            mean = model.adapt(task.subset(chosen)).predict(task.archs[~chosen]).mean
            found.append(spearman(mean, task.values[~chosen]))
        quality[dataset] = round(float(np.mean(found)), 4)
    return model, {
        "what": "accuracies of nasbench201 from few trainings, by how proxies rank networks in "
        f"{len(sources)} tasks of other spaces and the same cells in {len(related)} tasks of {related[0].space.name}",
        "space": "nasbench201",
        "metric": "accuracy",
        "samples": max(len(task) for task in sources),
        "held_out": {
            "how": f"{TRAININGS} trainings of nasbench201, of which no accuracy was fitted, mean of {DRAWS} draws",
            "spearman": round(float(np.mean(list(quality.values()))), 4),
            "datasets": quality,
        },
        "data": {column.source: column.sha256 for column in _columns(related)}
        | {file.path: file.sha256 for file in _suite_files()},
    }


def _of_other_tasks(space: str, own: Mapping[str, Task]) -> Notes:
    """Quality on each task in turn, which the prior has not learned, nor those of its kind, without proxies."""
    compared: dict[str, list[Array]] = {}
    for dataset, kind in TASKS[space].items():
        rest = [task for name, task in own.items() if TASKS[space][name] != kind]
        models = {"gp-bma": GPBMA().pretrain((), rest), "gp-bma alone": GPBMA()}
        fitted = {row.tobytes() for row in own[dataset].archs}
        task = _accuracies(space, dataset, None)
        fresh = np.array([row.tobytes() not in fitted for row in task.archs])
        _compare(models, task.subset(fresh), compared)
    at = TRAINED.index(TRAININGS)
    quality = {name: round(float(s[at, 0]), 4) for name, s in zip(TASKS[space], compared["gp-bma"], strict=True)}
    return {
        "how": f"each task new in turn, all of its kind left out, {TRAININGS} random trainings, mean of {DRAWS} draws, "
        "architectures never fitted, no proxies",
        "spearman": round(float(np.mean(list(quality.values()))), 4),
        "datasets": quality,
        "compared": _table("spearman, ndcg", TRAINED, compared),
    }


def _compare(models: Mapping[str, GPBMA], task: Task, found: dict[str, list[Array]]) -> None:
    """Add Spearman correlation and nDCG of each model, ``(len(TRAINED), 2)``, from the same random trainings.

    NaN before the first training where there is no prior. Tested on at most :data:`TESTED` other architectures.
    """
    for name, model in models.items():
        scores = np.full((DRAWS, len(TRAINED), 2), np.nan)
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(task))
            for i, n in enumerate(TRAINED):
                test = order[n:][:TESTED]
                if n:
                    mean = model.adapt(task.subset(order[:n])).predict(task.archs[test]).mean
                else:
                    prior = model.prior_score(task.space, task.archs[test], task.context)
                    if prior is None:
                        continue
                    mean = prior
                scores[draw, i] = spearman(mean, task.values[test]), ndcg(mean, task.values[test])
        found.setdefault(name, []).append(scores.mean(axis=0))


def _accuracies(space: str, dataset: str, samples: int | None) -> Task:
    """Accuracies of random architectures of a table, or of all that have one."""
    table = benchmark(space)
    metrics = [m for m in accuracy.ACCURACIES if m in table.table.metrics()]
    metric = next(m for m in metrics if dataset in table.table.datasets(m))
    everything, values = table.space.enumerate(), table.values(metric, dataset=dataset)
    rows = np.flatnonzero(np.isfinite(values))
    if samples is not None:
        rows = np.sort(np.random.default_rng(0).choice(rows, samples, replace=False))
    return Task(table.space, everything[rows], values[rows], metric, "%", "max", dataset=dataset)


def _columns(tasks: Sequence[Task]) -> list[Column]:
    return [benchmark(task.space.whole.name).table.find(task.metric, dataset=task.dataset)[1] for task in tasks]


def _suite_files() -> list[Any]:
    return list(Store().catalogue.select(["nasbench101", "nasbench301", "transbench101"]))


def _build_options(dataset: str) -> dict[str, int]:
    from nastk.spaces.nasbench201 import DATASETS

    return DATASETS[dataset]


# ---- all of them


def _table(what: str, counts: Sequence[int], compared: Mapping[str, Sequence[Array]]) -> Notes:
    """Means over targets by method and number of target samples: `what` says which two figures."""
    means = {method: np.mean(scores, axis=0) for method, scores in compared.items()}
    rounded = {
        method: {
            str(n): [round(float(v), 4) for v in row] for n, row in zip(counts, rows, strict=True) if row[0] == row[0]
        }
        for method, rows in means.items()
    }
    return {"figures": what, **rounded}


def _licences(data: Iterable[str]) -> dict[str, str]:
    """Licence of each repository that a source file, named by its path or origin, comes from."""
    named = "\n".join(data)
    files = [file for file in Store().catalogue.files.values() if file.path in named or file.origin in named]
    return {file.source.repo: file.source.licence for file in files}


class Recipe(NamedTuple):
    """How to make weights: the collections that `nastk data fetch` has to bring, and what builds them."""

    collections: str
    build: Callable[[], tuple[Predictor, Notes]]


RECIPES: dict[str, Recipe] = {
    "few-shot-gp-nasbench201": Recipe("nasbench201", partial(build_latency, "nasbench201")),
    "few-shot-gp-fbnet": Recipe("fbnet", partial(build_latency, "fbnet")),
    "few-shot-gp-mobilenetv3": Recipe("mobilenetv3", partial(build_latency, "mobilenetv3")),
    "few-shot-gp-gpt": Recipe("hw-gpt-bench", partial(build_latency, "gpt")),
    "few-shot-gp-mnasnet": Recipe("accel-nasbench", partial(build_latency, "mnasnet")),
    "gp-nasbench201-cifar10": Recipe("nasbench201", partial(build_accuracy, "cifar10")),
    "gp-nasbench201-cifar100": Recipe("nasbench201", partial(build_accuracy, "cifar100")),
    "gp-nasbench201-ImageNet16-120": Recipe("nasbench201", partial(build_accuracy, "ImageNet16-120")),
    "gp-bma-nasbench201": Recipe("nasbench201 nasbench101 nasbench301 transbench101", build_prior_of_other_spaces),
    "gp-bma-transbench101-micro": Recipe("transbench101", partial(build_prior, "transbench101-micro")),
    "gp-bma-transbench101-macro": Recipe("transbench101", partial(build_prior, "transbench101-macro")),
}
"""All weights that ship, by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *RECIPES], help="weights to build (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder (default: the package's)")
    asked = parser.parse_args()
    for name in asked.names or RECIPES:
        recipe = RECIPES[name]
        model, notes = recipe.build()
        notes["licences"] = _licences(notes["data"])
        notes["command"] = f"nastk data fetch {recipe.collections} && python -m nastk.weights.build {name}"
        model.save(asked.out / name, notes)
        print(f"{name}: held-out Spearman {notes['held_out']['spearman']}")


if __name__ == "__main__":
    main()
