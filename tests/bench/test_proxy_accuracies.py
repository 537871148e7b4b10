"""Proxies computed here against a table's accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from nastk.bench import accuracy, proxy_accuracies
from nastk.metrics import spearman


def test_proxies_and_their_aggregate_are_compared_on_the_same_networks(nastk_home: Path) -> None:
    names = ["flops", "params", "az_expressivity", "az_progressivity", "az_trainability"]
    rows = proxy_accuracies.run("nasbench201", 4, names, batch_size=2, workers=1)
    cell = {(r["method"], r["dataset"], r["metric"]): r for r in rows}
    assert len(cell) == len(rows)
    task = accuracy.targets("nasbench201")["cifar10"]
    chosen = np.random.default_rng(0).permutation(len(task))[:4]
    published = task.context.proxies(task.archs[chosen])  # type: ignore[misc, union-attr]
    params = published[:, list(task.context.proxies.names).index("params")]  # type: ignore[union-attr]
    wanted = spearman(rankdata(params), task.values[chosen])
    assert cell["table:params", "cifar10", "spearman"]["mean"] == pytest.approx(wanted)
    assert cell["params", "cifar10", "spearman"]["mean"] == pytest.approx(wanted)
    row = cell["az-nas", "cifar10", "spearman"]
    assert row["low"] <= row["mean"] <= row["high"]
    datasets = [d for m, d, k in cell if (m, k) == ("az-nas", "spearman") and d != "*"]
    mean = np.mean([cell["az-nas", d, "spearman"]["mean"] for d in datasets])
    assert cell["az-nas", "*", "spearman"]["mean"] == pytest.approx(mean)
    assert ("vkdnw-agg", "*", "spearman") not in cell, "no vkdnw was computed"
