"""Tables and figures of the comparisons of accuracy predictors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.report.bars import Bar, write_bars
from nastk.report.curves import Curve, Panel, write_curves
from nastk.report.heatmap import write_heatmap

Row = dict[str, Any]

AGAINST = {
    "pairs_won": ("improvement", "its choices (vec)"),
    "pairs_won_over_scratch": ("improvement_over_scratch", "the same proxies (zcp)"),
}
"""What is said of pairs won: of which improvement, over what of the target alone."""


def tables(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Titles and rows of the terminal tables of a run."""
    kinds = {row["experiment"] for row in rows}
    found: list[tuple[str, list[Row]]] = []
    if "accuracy" in kinds:
        space = next(row["task"] for row in rows if row["experiment"] == "accuracy")
        for metric in ("spearman", "kendall", "ndcg", "seconds"):
            mine = [row for row in rows if row["dataset"] == "*" and row["metric"] == metric]
            counts = list(dict.fromkeys(row["samples"] for row in mine))
            lines = []
            for method in dict.fromkeys(row["method"] for row in mine):
                line: Row = {"method": method}
                for n in counts:
                    for row in (r for r in mine if (r["method"], r["samples"]) == (method, n)):  # one, or none
                        line[f"@{n}"] = _with_interval(row) if metric != "seconds" else row["mean"]
                        beside = row["beside"]
                line["used beside"] = beside or None
                lines.append(line)
            if lines:
                found.append((f"{space}: {metric}, mean over data sets, by number of accuracies seen", lines))
    if "calibration" in kinds:
        level = next(row["level"] for row in rows if row["experiment"] == "calibration")
        found.append((f"intervals of {100 * level:g} %, mean over a space's tasks", _calibration(rows)))
    if "wrong-prior" in kinds:
        space = next(row["task"] for row in rows if row["experiment"] == "wrong-prior")
        for metric in ("spearman", "regret"):
            found.append(
                (f"{space}: {metric} of gp-bma, mean over data sets, by accuracies seen", _priors(rows, metric))
            )
    if "transfer" in kinds:
        lines = []
        for row in rows:
            if row["metric"] not in AGAINST:
                continue
            mine = [r for r in rows if r["method"] == row["method"] and r["task"] != "*"]
            metric, other = AGAINST[row["metric"]]
            lines.append(
                {
                    "method": row["method"],
                    "against": other,
                    "pairs": len([r for r in mine if r["metric"] == metric]),
                    "won": row["mean"],
                    "spearman": _mean(mine, "spearman"),
                    "improvement": _mean(mine, metric),
                }
            )
        found.append(("transfer: pairs of tasks in which it beats learning from scratch", lines))
    if "proxy-removal" in kinds:
        whole = next(row["mean"] for row in rows if row["removed"] == "nothing")
        lines = [
            {"removed": row["removed"], "spearman": _with_interval(row), "change": row["mean"] - whole} for row in rows
        ]
        found.append(("transfer-mlp without one proxy, mean over the pairs", lines))
    if "proxies-in-order" in kinds:
        lines = []
        for left in sorted({row["left"] for row in rows}, reverse=True):
            line = {"proxies left": left}
            for row in (r for r in rows if r["left"] == left):
                line |= {f"{row['order']}: removed": row["removed"], row["order"]: _with_interval(row)}
            lines.append(line)
        title = f"{rows[0]['task']}, {rows[0]['samples']} accuracies: proxies removed one after another, Spearman"
        found.append((title, lines))
    return found


def _calibration(rows: Sequence[Row]) -> list[Row]:
    """A line for each method, space and number of accuracies: how often intervals hold, how wide they are."""
    lines: list[Row] = []
    for row in rows:
        if (row["dataset"], row["metric"]) != ("*", "coverage"):
            continue
        key = [row[name] for name in ("task", "method", "samples")]
        mine = {
            r["metric"]: r["mean"]
            for r in rows
            if r["dataset"] == "*" and [r[name] for name in ("task", "method", "samples")] == key
        }
        lines.append(
            {
                "method": row["method"],
                "space": row["task"],
                "samples": row["samples"],
                "holds": _with_interval(row),
                "least task": row["least"],
                "width": mine["width"],
                "score": mine["interval_score"],
                "own deviation: holds": mine["stated_coverage"],
                "own: score": mine["stated_interval_score"],
            }
        )
    return sorted(lines, key=lambda line: (line["method"], line["samples"]))


def _priors(rows: Sequence[Row], metric: str) -> list[Row]:
    """A line for each prior: the metric by number of accuracies, and the difference to no prior."""
    mine = [row for row in rows if row["dataset"] == "*" and row["metric"] == metric]
    counts = sorted({row["samples"] for row in mine})
    lines = []
    for prior in dict.fromkeys(row["prior"] for row in mine):
        line: Row = {"prior": prior}
        for n in counts:
            found = [row for row in mine if (row["prior"], row["samples"]) == (prior, n)]
            line[f"@{n}" if n else "alone"] = _with_interval(found[0]) if found else None
        for n in counts:
            found = [row for row in mine if (row["prior"], row["samples"]) == (prior, n)]
            if n and prior != "none":
                line[f"over none @{n}"] = found[0]["over_none"]
        lines.append(line)
    return lines


def draw(rows: Sequence[Row], folder: Path) -> list[str]:
    """Write the figures of a run; returns the file names."""
    names = []
    if any(row["experiment"] == "accuracy" for row in rows):
        for metric in ("spearman", "kendall"):
            mine = [row for row in rows if row["metric"] == metric]
            panels = []
            for dataset in sorted({row["dataset"] for row in mine}):
                these = [row for row in mine if row["dataset"] == dataset]
                panels.append(Panel("mean" if dataset == "*" else dataset, curves(these)))
            name = f"accuracy-{mine[0]['task']}-{metric}.png"
            write_curves(panels, folder / name, "accuracies seen", metric.capitalize())
            names.append(name)
    for method in dict.fromkeys(row["method"] for row in rows if row["metric"] == "improvement"):
        values = {
            (row["source"], row["task"]): row["mean"]
            for row in rows
            if row["metric"] == "improvement" and row["method"] == method
        }
        name = f"transfer-{method}.png"
        title = f"{method}: gain over learning from scratch on vec"
        write_heatmap(values, folder / name, "source task", "target task", title)
        names.append(name)
    alone = [row for row in rows if row["experiment"] == "proxy-removal"]
    if alone:
        whole = next(row for row in alone if row["removed"] == "nothing")
        others = [row for row in alone if row is not whole]
        bars = [Bar(row["removed"], row["mean"], row["ci95"]) for row in sorted(others, key=lambda row: row["mean"])]
        write_bars(bars, folder / "proxy-removal.png", "Spearman without it", (whole["mean"], "with all"))
        names.append("proxy-removal.png")
    ordered = [row for row in rows if row["experiment"] == "proxies-in-order"]
    if ordered:
        title = f"{ordered[0]['task']}, {ordered[0]['samples']} accuracies"
        panel = Panel(title, curves(ordered, "order", "left"))
        write_curves([panel], folder / "proxies-in-order.png", "proxies left", "Spearman", top=None)
        names.append("proxies-in-order.png")
    return names


def curves(rows: Sequence[Row], label: str = "method", x: str = "samples") -> list[Curve]:
    """One curve for each value of the column `label`, against the column `x`."""
    found = []
    for name in dict.fromkeys(row[label] for row in rows):
        mine = sorted((row for row in rows if row[label] == name), key=lambda row: row[x])
        half = [0.0 if np.isnan(row["ci95"]) else row["ci95"] for row in mine]
        found.append(Curve(name, [row[x] for row in mine], [row["mean"] for row in mine], half))
    return found


def _mean(rows: Sequence[Row], metric: str) -> float:
    return float(np.mean([row["mean"] for row in rows if row["metric"] == metric]))


def _with_interval(row: Row) -> str:
    if np.isnan(row["ci95"]):
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} +- {row['ci95']:.3f}"
