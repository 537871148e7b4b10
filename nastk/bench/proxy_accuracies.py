"""How well proxies computed here rank networks by a table's accuracies, with no training, beside the table's own.

A random sample of a table's networks is built and scored; what is compared is all of a network's accuracies that the
table has, by data set. Aggregates of the papers are sums of log ranks (AZ-NAS, CVPR 2024; VKDNW, CVPR 2025).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.bench import accuracy
from nastk.errors import DataWarning
from nastk.metrics import ndcg, spearman
from nastk.oracles.base import Values
from nastk.oracles.zerocost import ZeroCost

Array = NDArray[np.float64]

PROXIES = (
    *("az_expressivity", "az_progressivity", "az_trainability", "flops", "jacov", "meco", "near", "nwot", "params"),
    *("swap", "zico"),
)
"""Proxies scored unless others are named: those that are not of the table, and the cheap ones of it; `vkdnw` costs ten
times as much as the others together."""
AGGREGATES = {
    "az-nas": ("az_expressivity", "az_progressivity", "az_trainability", "flops"),
    "vkdnw-agg": ("vkdnw", "jacov", "az_expressivity", "az_trainability", "flops"),
}
"""Sums of the logarithms of the ranks of these, where all of them were computed."""
RESAMPLES = 1000
"""Bootstrap samples of the networks, for the intervals."""


def run(
    space: str = "nasbench201",
    networks: int = 100,
    proxies: Sequence[str] | None = None,
    batch: str = "random",
    batch_size: int = 16,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Spearman's correlation and nDCG of each proxy with each data set's accuracies over random networks.

    Weights are drawn by fan-in, as AZ-NAS and VKDNW do. A network on which a proxy has no value is the worst by it. The
    table's own proxies are called ``table:<name>``. Values are cached on disk, so that more networks take up where
    fewer ended.

    Returns:
        Tidy rows, ``method`` the proxy, ``dataset`` "*" the mean; ``low`` and ``high`` are the bounds of the 95 %
        bootstrap interval over the networks.

    Raises:
        UnknownName: no such space or proxy.
        InvalidValue: the table has no accuracies.
        Unsupported: the space has no networks.
    """
    tasks = accuracy.targets(space)
    first = next(iter(tasks.values()))
    whole = first.space.whole
    archs = first.archs[np.random.default_rng(seed).permutation(len(first))[:networks]]
    scores = ZeroCost(
        whole, PROXIES if proxies is None else proxies, batch, batch_size, init="kaiming", seed=seed,
        workers=workers or os.cpu_count() or 1,
    )  # fmt: skip
    values = scores(archs, progress)
    columns = {name: values[:, j] for j, name in enumerate(scores.names) if np.isfinite(values[:, j]).any()}
    for name in (name for name in scores.names if name not in columns):
        why = next((found[name] for found in scores.reasons.values() if name in found), "it is not finite")
        warnings.warn(f"{name} is left out, as it has no value on any of the networks: {why}", DataWarning, 2)
    for name, parts in AGGREGATES.items():
        if set(parts) <= set(columns):
            columns[name] = np.sum([np.log(rankdata(_worst(columns[p]))) for p in parts], axis=0)
    rows: list[dict[str, Any]] = []
    for dataset, task in tasks.items():
        at = {row.tobytes(): i for i, row in enumerate(task.archs)}
        there = np.array([row.tobytes() in at for row in archs])
        known = task.values[[at[row.tobytes()] for row in archs[there]]] * (1.0 if task.direction == "max" else -1.0)
        mine = {name: column[there] for name, column in columns.items()}
        if (table := task.context.proxies) is not None:
            theirs = np.asarray(table(archs[there]), dtype=np.float64)
            mine |= {f"table:{name}": theirs[:, j] for j, name in enumerate(table.names)}
        rows += _compared(mine, known, seed, {"experiment": "zcp", "space": space, "dataset": dataset})
    return rows + _means(rows)


def _worst(column: Array) -> Array:
    return np.where(np.isfinite(column), column, -np.inf)


def _compared(columns: Mapping[str, Array], known: Values, seed: int, facts: dict[str, Any]) -> list[dict[str, Any]]:
    drawn = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    truth = rankdata(known[drawn], axis=1)
    rows = []
    for name, column in columns.items():
        if not np.isfinite(column).any():
            continue
        ranks = rankdata(_worst(column))
        each = _correlations(rankdata(ranks[drawn], axis=1), truth)
        low, high = np.nanquantile(each, [0.025, 0.975]) if np.isfinite(each).any() else (np.nan, np.nan)
        mine = {**facts, "method": name, "samples": len(known)}
        rho = spearman(ranks, known)
        rows.append({**mine, "metric": "spearman", "mean": rho, "low": float(low), "high": float(high)})
        rows.append({**mine, "metric": "ndcg", "mean": ndcg(ranks, known), "low": None, "high": None})
    return rows


def _correlations(a: Array, b: Array) -> Array:
    """Pearson's correlations of the rows of two matrices."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.where(scale > 0, (a * b).sum(axis=1) / np.where(scale > 0, scale, 1.0), np.nan)


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the data sets; without intervals, as the networks are the same."""
    found = []
    for key in dict.fromkeys((row["method"], row["metric"]) for row in rows):
        mine = [row for row in rows if (row["method"], row["metric"]) == key]
        mean = float(np.mean([row["mean"] for row in mine]))
        found.append({**mine[0], "dataset": "*", "mean": mean, "low": None, "high": None})
    return found
