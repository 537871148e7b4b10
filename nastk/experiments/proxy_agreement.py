"""Whether proxies computed here rank architectures as the published tables do (NAS-Bench-Suite-Zero's values).

Images and random weights differ from the tables', so that noisy proxies cannot agree fully: two published runs on the
same images agree to .95 (l2_norm), .81 (epe_nas), .70 (grasp) and .19 (plain).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nastk.metrics import spearman
from nastk.oracles.table import benchmark
from nastk.oracles.zerocost import ZeroCost

BARS = {
    "params": 0.99, "flops": 0.99, "synflow": 0.95, "nwot": 0.95, "zen": 0.95, "snip": 0.9, "fisher": 0.9,
    "grad_norm": 0.9, "jacov": 0.9, "l2_norm": 0.9, "grasp": 0.6,
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
    """Rank correlation with the table of each proxy, over random architectures that the table has proxies of.

    Returns:
        Tidy rows, ``method`` the proxy, ``metric`` "spearman_with_table".
    """
    import os

    table = benchmark(space, dataset="cifar10" if space == "nasbench201" else None)
    published = table.proxies()
    known = np.flatnonzero(np.isfinite(published.values).all(axis=1))
    rows = np.random.default_rng(seed).choice(known, min(architectures, len(known)), replace=False)
    scores = ZeroCost(
        table.space, proxies, batch, batch_size, initialisations=initialisations, seed=seed,
        workers=workers or os.cpu_count() or 1,
    )  # fmt: skip
    values = scores(table.space.enumerate()[rows], progress)
    found = []
    for j, name in enumerate(scores.names):
        if name not in published.names:
            continue
        theirs = published.values[rows, published.names.index(name)]
        mine = values[:, j]
        both = np.isfinite(mine)
        found.append(
            {
                "experiment": "zcp",
                "space": space,
                "method": name,
                "samples": int(both.sum()),
                "metric": "spearman_with_table",
                "mean": spearman(mine[both], theirs[both]),
                "ci95": None,
                "seeds": initialisations,
                "reference": BARS.get(name),
                "reference_source": "bar" if name in BARS else None,
            }
        )
    return found
