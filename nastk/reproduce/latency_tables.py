"""The comparison of latency predictors in the papers' layout: published tables with our figures, and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nastk.bench.latency_tasks import PUBLISHED, TASKS, Figure
from nastk.report.curves import Curve, Panel, write_curves

Rows = Sequence[dict[str, Any]]
LAST = "NASFLAT, task table"
"""The published table with one column per task; the others have one per device."""


def tables(rows: Rows) -> list[tuple[str, list[dict[str, Any]]]]:
    """Titles and rows: for each published table with any runs, "published / ours" in every cell."""
    ours = {
        (r["task"], r["method"], r["samples"], r["source_samples"], r["device"]): r
        for r in rows
        if r["metric"] == "spearman"
    }
    methods = list(dict.fromkeys(r["method"] for r in rows))
    found = []
    for title in dict.fromkeys(f.table for f in PUBLISHED):
        figures = [f for f in PUBLISHED if f.table == title]
        lines = _by_task(figures, ours, methods) if title == LAST else _by_device(figures, ours, methods)
        if lines:
            found.append((f"{title}: Spearman, published / ours", lines))
    return found


def _cell(published: float | None, row: dict[str, Any] | None) -> str:
    theirs = "-" if published is None else f"{published:.3f}".rstrip("0").ljust(4, "0")
    mine = "-" if row is None else f"{row['mean']:.3f}"
    if row is not None and not math.isnan(row["ci95"]):  # of one draw there is no interval
        mine += f" ±{row['ci95']:.3f}"
    return f"{theirs} / {mine}"


def _by_device(figures: Sequence[Figure], ours: dict[Any, Any], methods: Sequence[str]) -> list[dict[str, Any]]:
    """One row per task, method and number of samples, one column per device."""
    devices = list(dict.fromkeys(f.device for f in figures))
    keys = dict.fromkeys((f.task, f.method, f.samples, f.source_samples) for f in figures)
    lines = []
    for task in dict.fromkeys(f.task for f in figures):
        asked = [k for k in keys if k[0] == task]
        for k in sorted({key[2] for key in ours if key[0] == task}):
            known = {(m, s) for _, m, n, s in asked if n in (k, None)}
            for method in methods:
                sizes = [s for m, s in known if m == method] or ([None] if method == "few-shot-gp" else [])
                for size in sizes:
                    full = size or TASKS[task].source_samples
                    if (task, method, k, full, "*") not in ours:
                        continue
                    line: dict[str, Any] = {"task": task, "method": method, "samples": k}
                    if any(f.source_samples for f in figures):
                        line["source samples"] = full
                    for device in devices:
                        theirs = [
                            f.value
                            for f in figures
                            if f.task == task and f.method == method and f.samples in (k, None)
                            and f.source_samples == size and f.device == device
                        ]  # fmt: skip
                        line["mean" if device == "*" else device] = _cell(
                            theirs[0] if theirs else None, ours.get((task, method, k, full, device))
                        )
                    lines.append(line)
    return lines


def _by_task(figures: Sequence[Figure], ours: dict[Any, Any], methods: Sequence[str]) -> list[dict[str, Any]]:
    """One row per method, one column per task (with an asterisk if some of its devices were missing)."""
    samples = max(f.samples for f in figures if f.samples)
    theirs = {(f.task, f.method): f.value for f in figures}
    lines = []
    for method in dict.fromkeys([*(f.method for f in figures), *methods]):
        line: dict[str, Any] = {"method": method, "samples": samples}
        run = 0
        for task in dict.fromkeys(f.task for f in figures):
            full = TASKS[task].source_samples
            known = [ours[task, m, samples, full, "*"] for m in methods if (task, m, samples, full, "*") in ours]
            if not known:
                continue
            row = ours.get((task, method, samples, full, "*"))
            run += row is not None
            partial = known[0]["devices"] < len(TASKS[task].targets)
            line[task + "*" * partial] = _cell(theirs.get((task, method)), row)
        if len(line) > 2 and (run or method not in methods):
            lines.append(line)
    return lines


def curves(rows: Rows, against: str = "samples") -> list[Panel]:
    """One panel per task: mean Spearman over its devices against ``samples`` or total ``measurements``."""
    means = [r for r in rows if r["metric"] == "spearman" and r["device"] == "*"]
    panels = []
    for task in dict.fromkeys(r["task"] for r in means):
        mine = [r for r in means if r["task"] == task]
        learned = [r for r in mine if _learned(r)]
        several = len({r["source_samples"] for r in learned}) > 1
        lines, seen, full = [], set(), {}
        for r in mine:
            size = r["source_samples"] if several and against == "samples" and _learned(r) else 0
            if (r["method"], size) in seen:
                continue
            seen.add((r["method"], size))
            points = [p for p in mine if p["method"] == r["method"] and size in (0, p["source_samples"])]
            points = sorted(points, key=lambda p: p[against])
            label = f"{r['method']}, {size} source samples" if size else r["method"]
            if task in TASKS and size in (0, TASKS[task].source_samples):
                full[r["method"]] = label
            x, mean, half = ([p[key] for p in points] for key in (against, "mean", "ci95"))
            lines.append(Curve(label, x, mean, half))
        published = [
            (full.get(f.method, f.method), float(f.samples), f.value)
            for f in PUBLISHED
            if f.task == task and f.device == "*" and f.samples and not f.source_samples
            and against == "samples" and f.samples <= max(r["samples"] for r in mine)
            and mine[0]["devices"] == len(TASKS[task].targets)  # those of a part are others
        ]  # fmt: skip
        panels.append(Panel(_heading(task, mine[0]["devices"]), lines, published))
    return panels


def _heading(task: str, devices: int) -> str:
    """The name of a task, and how many of its targets there are if not all."""
    targets = len(TASKS[task].targets) if task in TASKS else devices
    return task if devices == targets else f"{task}, partial: {devices} of {targets} targets"


def _learned(row: dict[str, Any]) -> bool:
    """Whether a method learned from source devices; in older rows, whether it used more than its samples."""
    return bool(row.get("source_measurements", row["measurements"] - row["samples"]) > 0)


def devices(rows: Rows, task: str, against: str = "samples") -> list[Panel]:
    """One panel per device of a task: Spearman against ``samples``, or another column of the rows."""
    mine = [r for r in rows if r["task"] == task and r["metric"] == "spearman" and r["device"] != "*"]
    panels = []
    for device in dict.fromkeys(r["device"] for r in mine):
        lines = []
        for method in dict.fromkeys(r["method"] for r in mine):
            points = sorted(
                (r for r in mine if r["device"] == device and r["method"] == method), key=lambda r: r[against]
            )
            if points:
                x, mean, half = ([p[key] for p in points] for key in (against, "mean", "ci95"))
                lines.append(Curve(method, x, mean, half))
        panels.append(Panel(device, lines))
    return panels


MEASURED = (
    ("samples", "samples", "measurements of the target device", False),
    ("measurements", "measurements", "measurements: source devices, target, and all that the encoding looks up", True),
    (
        "training",
        "training_measurements",
        "measurements of what is learned from: source devices, target, and its architectures on the encoding's devices",
        True,
    ),
)
"""Pictures of a run: name, column of the rows against which is drawn, its label, whether logarithmic."""


def draw(rows: Rows, folder: Path, pairs: Sequence[str] = (), name: str = "latency") -> list[str]:
    """Write the curves; returns the file names.

    Args:
        pairs: tasks between spaces, which also have a picture with one panel per device.
        name: in front of the files' names.
    """
    drawn = []
    for what, against, label, logarithmic in MEASURED:
        drawn.append(f"{name}-{what}.png")
        write_curves(curves(rows, against), folder / drawn[-1], label, "Spearman", logarithmic)
    for task in pairs:
        drawn.append(f"{task}.png")
        write_curves(devices(rows, task), folder / drawn[-1], "measurements of the target device", "Spearman")
    return drawn


def means(rows: Rows) -> list[dict[str, Any]]:
    """One row per task, method and number of samples.

    Mean Spearman over the devices, their geometric mean, the mean without the fastest and slowest tenth, median
    relative error, fraction of true values in the 95 % intervals, and seconds to adapt and predict the table. Where a
    task has other numbers of source architectures than the papers', they are a column.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    single: dict[tuple[Any, ...], list[float]] = {}
    several = any(r["task"] in TASKS and r["source_samples"] != TASKS[r["task"]].source_samples for r in rows)
    for r in rows:
        key = (r["task"], r["method"], r["source_samples"], r["samples"])
        if r["device"] != "*":
            if r["metric"] == "spearman":
                single.setdefault(key, []).append(r["mean"])
            continue
        columns = (
            "measurements",
            "of sources",
            "looked up",
            "of training",
            "spearman",
            "ci95",
            "geometric",
            "best known",
            "trimmed",
            "error",
            "covered",
            "s",
            "draws",
        )
        start = {"task": r["task"], "method": r["method"], "samples": r["samples"]}
        start |= ({"source samples": r["source_samples"]} if several else {}) | dict.fromkeys(columns)
        line = found.setdefault(key, start)
        if r["metric"] == "spearman":
            line |= {"measurements": r["measurements"], "spearman": r["mean"], "ci95": r["ci95"]}
            parts = {
                "of sources": "source_measurements",
                "looked up": "looked_up",
                "of training": "training_measurements",
            }
            line |= {name: r.get(column) for name, column in parts.items()}
            line |= {"best known": r["reference"], "draws": r["seeds"]}
            devices = single.get(key, [])
            if devices and min(devices) > 0:
                line["geometric"] = math.exp(sum(map(math.log, devices)) / len(devices))
        elif r["metric"] == "spearman_trimmed":
            line["trimmed"] = r["mean"]
        elif r["metric"] == "median_error":
            line["error"] = r["mean"]
        elif r["metric"] == "covered95":
            line["covered"] = r["mean"]
        elif r["metric"] == "seconds":
            line["s"] = r["mean"]
    return list(found.values())
