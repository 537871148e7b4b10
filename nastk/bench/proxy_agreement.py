"""Agreement of proxies computed here with the published tables (NAS-Bench-Suite-Zero's values).

Images and random weights differ from the tables', so that noisy proxies cannot agree fully: two published runs on the
same images agree to .95 (l2_norm), .81 (epe_nas), .70 (grasp) and .19 (plain).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nastk.metrics import mean_ci, spearman
from nastk.oracles.table import first_dataset
from nastk.oracles.zerocost import ZeroCost

BARS = {
    "params": 0.99,
    "flops": 0.99,
    "synflow": 0.95,
    "nwot": 0.95,
    "zen": 0.95,
    "snip": 0.9,
    "fisher": 0.9,
    "grad_norm": 0.9,
    "jacov": 0.9,
    "l2_norm": 0.9,
    "grasp": 0.6,
}
"""Spearman correlations that an implementation of the definitions should reach."""


def run(
    space: str = "nasbench201",
    architectures: int = 500,
    initialisations: int = 1,
    proxies: Sequence[str] | None = None,
    batch: str = "digits",
    batch_size: int = 64,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Rank correlation with the table of each proxy, over random architectures with proxies in the table.

    Args:
        initialisations: each with its own random weights and images; values are cached on disk after each.

    Returns:
        Tidy rows, ``method`` the proxy: ``metric`` "spearman_with_table" (mean and 95 % interval over the
        initialisations) and, for several, "spearman_with_table_averaged" (of the mean of their values).
    """
    table = first_dataset(space)
    published = table.proxies()
    known = np.flatnonzero(np.isfinite(published.values).mean(axis=1) > 0.5)
    rows = np.random.default_rng(seed).choice(known, min(architectures, len(known)), replace=False)
    archs = table.space.enumerate()[rows]
    values = []
    for i in range(initialisations):
        scores = ZeroCost(
            table.space, proxies, batch, batch_size, seed=seed + i, workers=workers or os.cpu_count() or 1
        )

        def follow(done: int, total: int, i: int = i) -> None:
            if progress:
                progress(i * total + done, initialisations * total)

        values.append(scores(archs, follow))
    found = []
    for j, name in enumerate(scores.names):
        if name not in published.names:
            continue
        theirs = published.values[rows, published.names.index(name)]
        mine = np.array([one[:, j] for one in values])
        both = np.isfinite(mine).all(axis=0) & np.isfinite(theirs)
        bar = None if name in table.table.noisy_proxies else BARS.get(name)
        each = [spearman(one[both], theirs[both]) for one in mine]
        mean, half = mean_ci(np.array(each))
        found.append(_row(space, name, int(both.sum()), "spearman_with_table", mean, half, initialisations, bar))
        if initialisations > 1:
            averaged = spearman(mine[:, both].mean(axis=0), theirs[both])
            metric = "spearman_with_table_averaged"
            found.append(_row(space, name, int(both.sum()), metric, averaged, None, initialisations, bar))
    return found


def _row(
    space: str, proxy: str, samples: int, metric: str, mean: float, half: float | None, seeds: int, bar: float | None
) -> dict[str, Any]:
    return {
        "experiment": "zcp",
        "space": space,
        "method": proxy,
        "samples": samples,
        "metric": metric,
        "mean": mean,
        "ci95": half,
        "seeds": seeds,
        "reference": bar,
        "reference_source": None if bar is None else "bar",
    }
