"""Rebuild the shipped weights from fetched tables: ``python -m nastk.weights.build`` after ``nastk data fetch``.

Each is fitted on at most 900 architectures per device or data set (the prior: all cells of TransNAS-Bench-101 micro),
and evaluated on held-out architectures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nastk
from nastk.bench import accuracy
from nastk.data.fetch import Store
from nastk.metrics import kendall, spearman
from nastk.oracles.table import benchmark
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.predictors.gp import GP
from nastk.predictors.gp_bma import GPBMA

COMMAND = "nastk data fetch nasbench201 fbnet nasbench101 nasbench301 transbench101 && python -m nastk.weights.build"
"""Documented command that rebuilds the weights, stored beside each."""
SAMPLES = 900
"""Architectures per device or data set: those of the papers on NAS-Bench-201; more would enlarge the files."""
MEASUREMENTS = 10
"""Target measurements when the quality of latency weights is evaluated."""
TRAININGS = 25
"""Trainings when the quality of the accuracy prior is evaluated."""
DRAWS = 3
"""Random draws that an evaluation averages: precision against time."""
DUPLICATES = 0.995
"""Sources with a Spearman correlation to the target above this are near-duplicates, left out of the evaluation."""


def build_latency(space: str, seed: int = 0) -> tuple[FewShotGP, dict[str, Any]]:
    """few-shot-gp on all devices of HELP in a space, and its quality with each device in turn held out."""
    table = benchmark(space)
    whole = table.space.whole
    everything = table.space.enumerate()
    latencies = [c for c in table.table.columns if c.metric == "latency"]
    columns = {str(c.device): c for c in latencies if c.source.startswith("HayeonLee/HELP")}
    devices = list(columns)
    rows = np.random.default_rng(seed).choice(len(everything), SAMPLES, replace=False)
    held_out = np.setdiff1d(np.arange(len(everything)), rows)
    values = {d: table.values("latency", device=d) for d in devices}
    few = FewShotGP().pretrain([_task(whole, everything[rows], values[d][rows], d) for d in devices])
    quality = {}
    for device in devices:
        rest = few.without([device], DUPLICATES)
        found = []
        for draw in range(DRAWS):
            chosen = rest.choose(MEASUREMENTS, seed=draw, candidates=everything[held_out])
            at = table.space.index(chosen)
            test = np.setdiff1d(held_out, at)
            mean = rest.adapt(_task(whole, chosen, values[device][at], device)).predict(everything[test]).mean
            truth = values[device][test]
            found.append((spearman(mean, truth), float(np.median(np.abs(mean / truth - 1)))))
        rho, error = np.mean(found, axis=0)
        quality[device] = {"spearman": round(float(rho), 4), "median_relative_error": round(float(error), 4)}
    sources = {c.source: c.sha256 for c in columns.values()}
    rhos = [q["spearman"] for q in quality.values()]
    return few, {
        "what": f"latency of {whole.name} on {len(devices)} devices of HELP (Lee et al., NeurIPS 2021)",
        "space": whole.name,
        "metric": "latency",
        "command": COMMAND,
        "samples": SAMPLES,
        "seed": seed,
        "held_out": {
            "how": f"each device new in turn, sources that rank it above {DUPLICATES} left out too, {MEASUREMENTS} "
            f"measurements, mean of {DRAWS} draws, architectures never fitted",
            "spearman": round(float(np.mean(rhos)), 4),
            "devices": quality,
        },
        "data": sources,
    }


def build_accuracy(dataset: str, seed: int = 0) -> tuple[GP, dict[str, Any]]:
    """gp on NAS-Bench-201's test accuracy (200 epochs), and its quality on held-out architectures."""
    table = benchmark("nasbench201", dataset=dataset)
    everything, values = table.space.enumerate(), table.values("test_accuracy")
    rows = np.random.default_rng(seed).choice(len(everything), SAMPLES, replace=False)
    held_out = np.setdiff1d(np.arange(len(everything)), rows)
    task = Task(
        table.space, everything[rows], values[rows], "test_accuracy", "%", "max", dataset,
        context=nastk.Context(build_options=dict(_build_options(dataset))),
    )  # fmt: skip
    model = GP().fit(task)
    mean, truth = model.predict(everything[held_out]).mean, values[held_out]
    best = truth >= np.quantile(truth, 0.9)
    _, column = table.table.find("test_accuracy", dataset=dataset)
    return model, {
        "what": f"test accuracy (%) after 200 epochs of nasbench201 on {dataset}, an estimate",
        "space": "nasbench201",
        "metric": "test_accuracy",
        "dataset": dataset,
        "command": COMMAND,
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


def build_prior(space: str = "nasbench201") -> tuple[GPBMA, dict[str, Any]]:
    """gp-bma's prior for a space from the tasks of all other spaces, and its quality after a few trainings."""
    sources, related = accuracy.sources(space), accuracy.related(space)
    model = GPBMA().pretrain(sources, related)
    quality: dict[str, float] = {}
    for dataset, task in accuracy.targets(space).items():
        found = []
        for draw in range(DRAWS):
            seen = task.space.index(
                model.choose(TRAININGS, task.space, candidates=task.archs, seed=draw, context=task.context)
            )
            chosen = np.isin(task.space.index(task.archs), seen)
            mean = model.adapt(task.subset(chosen)).predict(task.archs[~chosen]).mean
            found.append(spearman(mean, task.values[~chosen]))
        quality[dataset] = round(float(np.mean(found)), 4)
    files = Store().catalogue.select(["nasbench101", "nasbench301", "transbench101"])
    return model, {
        "what": f"accuracies of {space} from few trainings, by how proxies rank networks in {len(sources)} other tasks "
        f"and by the same cells in {len(related)} tasks of {related[0].space.name}",
        "space": space,
        "metric": "accuracy",
        "command": COMMAND,
        "samples": max(len(task) for task in sources),
        "held_out": {
            "how": f"{TRAININGS} trainings of {space}, of which no accuracy was fitted, mean of {DRAWS} draws",
            "spearman": round(float(np.mean(list(quality.values()))), 4),
            "datasets": quality,
        },
        "data": {file.path: file.sha256 for file in files},
    }


def _build_options(dataset: str) -> dict[str, int]:
    from nastk.spaces.nasbench201 import DATASETS

    return DATASETS[dataset]


def _task(space: nastk.SearchSpace, archs: NDArray[np.int64], values: NDArray[np.float64], device: str) -> Task:
    return Task(space, archs, values, "latency", "ms", "min", device=device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder (default: the package's)")
    folder = parser.parse_args().out
    for space in ("nasbench201", "fbnet"):
        few, notes = build_latency(space)
        few.save(folder / f"few-shot-gp-{space}", notes)
        print(f"few-shot-gp-{space}: held-out Spearman {notes['held_out']['spearman']}")
    for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
        model, notes = build_accuracy(dataset)
        model.save(folder / f"gp-nasbench201-{dataset}", notes)
        print(f"gp-nasbench201-{dataset}: held-out Spearman {notes['held_out']['spearman']}")
    prior, notes = build_prior()
    prior.save(folder / "gp-bma-nasbench201", notes)
    print(f"gp-bma-nasbench201: held-out Spearman {notes['held_out']['spearman']}")


if __name__ == "__main__":
    main()
