"""How alike devices and zero-cost proxies rank architectures (Multi-Predict, Figures 12 to 14, Table 11).

What a few-shot predictor can gain from a source device is bounded by how close a ranking it has: the task distance of
the paper's section 5. Spearman correlations are over all architectures with both values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from nastk.bench.latency_tasks import TASKS
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.oracles.table import first_dataset
from nastk.report.heatmap import write_heatmap

CLOSE, MIDDLING = 0.7, 0.5
"""Correlations from which two devices count as close, and as neither close nor far (Figure 14)."""

KINDS = {
    "devices": ("devices", "devices"),
    "proxies": ("proxies", "proxies"),
    "proxies-devices": ("proxies", "devices"),
}
"""What is correlated with what."""

TITLES = {
    "devices": "how alike devices rank networks",
    "proxies": "how alike proxies rank networks",
    "proxies-devices": "how proxies rank networks beside latencies",
}
"""Of the pictures."""

Row = dict[str, Any]


def run(space: str = "nasbench201") -> list[Row]:
    """Correlations of a fetched table.

    Args:
        space: whose table.

    Returns:
        Tidy rows: ``kind`` (:data:`KINDS`), ``a``, ``b``, ``spearman``, ``architectures`` (with both values). Pairs of
        one kind are there in both orders, a name with itself is not. Devices, and proxies, are in an order in which
        those that rank alike are neighbours.

    Raises:
        UnknownName: no such space.
        NastkError: its table is not fetched.
        Unsupported: it has neither two devices nor proxies.
    """
    table = first_dataset(space)
    archs = table.space.enumerate()
    devices = table.devices(metric="latency") if "latency" in table.table.metrics() else []
    columns = {"devices": pd.DataFrame({name: table.values("latency", device=name) for name in devices})}
    try:
        source = table.proxy_source()
    except (UnknownName, InvalidValue):  # the table has none
        pass
    else:
        columns["proxies"] = pd.DataFrame(source(archs), columns=list(source.names))
    columns = {kind: _ordered(frame) for kind, frame in columns.items() if frame.shape[1] > 1}
    if not columns:
        raise Unsupported(f"the table of {space} has neither two devices nor zero-cost proxies")
    everything = pd.concat(columns, axis=1)  # columns (kind, name)
    rho, known = everything.corr("spearman", min_periods=3), everything.notna().to_numpy(dtype=np.int64)
    counts = pd.DataFrame(known.T @ known, everything.columns, everything.columns)
    rows: list[Row] = []
    for kind, (one, other) in KINDS.items():
        if one not in columns or other not in columns:
            continue
        for a in columns[one].columns:
            for b in columns[other].columns:
                value = float(rho.loc[(one, a), (other, b)])
                if (one, a) != (other, b) and np.isfinite(value):
                    count = int(counts.loc[(one, a), (other, b)])
                    rows.append({"kind": kind, "a": a, "b": b, "spearman": value, "architectures": count})
    return [{"experiment": "correlations", "space": space, **row} for row in rows]


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns so that those that rank alike are neighbours: leaves of average linkage on 1 - |correlation|."""
    frame = frame.loc[:, frame.nunique() > 1]
    if frame.shape[1] < 3:
        return frame
    distance = 1.0 - frame.corr("spearman").abs().fillna(0.0).to_numpy()
    np.fill_diagonal(distance, 0.0)
    return frame.iloc[:, leaves_list(linkage(squareform(distance, checks=False), "average"))]


def tables(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Titles and rows of the terminal tables: each device's closest, and each set's training devices (Table 11)."""
    space = rows[0]["space"]
    rho = {(row["a"], row["b"]): row["spearman"] for row in rows if row["kind"] == "devices"}
    found: list[tuple[str, list[Row]]] = []
    lines: list[Row] = []
    for device in dict.fromkeys(a for a, _ in rho):
        others = {b: value for (a, b), value in rho.items() if a == device}
        closest = max(others, key=lambda name: others[name])
        values = np.array(list(others.values()))
        lines.append(
            {
                "device": device, "closest": closest, "spearman": others[closest],
                f"close (from {CLOSE:g})": int((values >= CLOSE).sum()),
                f"from {MIDDLING:g}": int(((values >= MIDDLING) & (values < CLOSE)).sum()),
                "far": int((values < MIDDLING).sum()),
            }
        )  # fmt: skip
    if lines:
        found.append((f"{space}: the device that ranks most like each, and how many are close", lines))
    distances: list[Row] = []
    for task, devices in TASKS.items():
        for target in devices.targets if devices.space == space else ():
            known = {source: rho[target, source] for source in devices.sources if (target, source) in rho}
            if known:
                best = max(known, key=lambda name: known[name])
                distances.append(
                    {"task": task, "target": target, "closest training device": best, "spearman": known[best],
                     "least": min(known.values()), "training devices": len(known)}
                )  # fmt: skip
    if distances:
        found.append((f"{space}: how far the training devices of the literature's sets are", distances))
    return found


def draw(rows: Sequence[Row], folder: Path) -> list[str]:
    """Write one heat map a kind; returns the file names."""
    space, names = rows[0]["space"], []
    for kind, (one, other) in KINDS.items():
        values = {(row["a"], row["b"]): row["spearman"] for row in rows if row["kind"] == kind}
        if values:
            name = f"correlations-{space}-{kind}.png"
            write_heatmap(values, folder / name, one, other, f"{space}: {TITLES[kind]}", "Spearman", by_space=False)
            names.append(name)
    return names
