"""Figures, tables and the HTML page of a comparison of predictors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.bench.figures import BANDS, rank_section, shown_rows, write_rows
from nastk.bench.figures import METRICS as WORDS
from nastk.bench.predict import Predicted, ranks
from nastk.metrics import mean_ci
from nastk.report.curves import Curve, Curves, Panel
from nastk.report.page import Section, write_html

Row = dict[str, Any]

DRAWN = {
    "spearman": "Spearman's rank correlation with the truth, by the number of samples",
    "kendall": "Kendall's tau with the truth, by the number of samples",
    "ndcg": "nDCG, which asks most for the order of the best, by the number of samples",
    "median_error": "Median relative error, by the number of samples",
    "covered95": "Share of the true values in the 95 % intervals; .95 is right",
    "seconds": "Seconds for fitting and predicting, on one thread",
}
"""Metrics that are drawn, and what their figures show."""


def title(part: Predicted) -> str:
    """What is predicted, in a line."""
    first, devices = part.plan.problems[0], len(part.plan.problems)
    table = " ".join(text for text in (first.space, first.dataset) if text)
    over = f", mean over {devices} devices" if devices > 1 else ""
    return f"{table}: {first.searched if devices == 1 else first.goals[0].metric}{over}, {part.plan.seeds} seeds"


def lines(part: Predicted) -> list[Row]:
    """A line for each method and number of samples, with the main metrics: for the terminal."""
    device = part.plan.problems[0].device if len(part.plan.problems) == 1 else "*"
    mine = [row for row in part.rows() if row["device"] == device]
    found: dict[tuple[str, int], Row] = {}
    for row in mine:
        line = found.setdefault((row["method"], row["samples"]), {"method": row["method"], "samples": row["samples"]})
        if row["metric"] in DRAWN:
            line[WORDS.get(row["metric"], row["metric"].replace("_", " "))] = row["mean"]
            if row["metric"] == "spearman":
                line["± 95 %"] = row["ci95"]
    return list(found.values())


def figures(parts: Sequence[Predicted], chosen: str = "") -> dict[str, Curves]:
    """Curves of each metric by number of samples, by the names of their files; `chosen` shows its interval first."""
    found = {}
    for metric, caption in DRAWN.items():
        panels = [Panel(title(part), curves) for part in parts if (curves := _curves(part, metric))]
        if panels:
            words = WORDS.get(metric, metric.replace("_", " "))
            top = 1.0 if metric in ("spearman", "kendall", "ndcg", "covered95") else None
            log = metric == "seconds"
            found[metric] = Curves(panels, "samples", words, caption + BANDS, top=top, log_y=log, chosen=chosen)
    return found


def _curves(part: Predicted, metric: str) -> list[Curve]:
    curves = []
    for method in part.plan.methods:
        points = []
        for n in part.plan.sizes:
            values = np.mean([part.values(metric, method, p, n) for p in part.plan.problems], axis=0)
            if np.isfinite(values).all() and (metric != "seconds" or values.min() > 0):
                points.append((n, *mean_ci(values)))
        if points:
            x, mean, half = zip(*points, strict=True)
            curves.append(Curve(method, x, mean, [0.0 if np.isnan(h) else h for h in half]))
    return curves


def write_all(parts: Sequence[Predicted], rows: Sequence[Row], folder: Path) -> None:
    """Write what a comparison shows: rows as JSON and CSV, a LaTeX table of each metric, figures, the page."""
    write_rows(rows, folder)
    n = max(parts[0].plan.sizes)
    ranked = ranks(parts, n)
    drawn = figures(parts, ranked.methods[ranked.order[0]])
    for name, picture in drawn.items():
        picture.write(folder / f"{name}.png")
    sections = [
        rank_section(ranked, f"Ranks by Spearman from {n} samples", folder),
        Section("Curves", charts=list(drawn.values())),
        Section("All figures", tables=[("", shown_rows(rows))]),
    ]
    write_html("Predictors compared", [*map(title, parts), *_notes(parts)], sections, folder / "report.html")


def _notes(parts: Sequence[Predicted]) -> list[str]:
    said = [
        "Samples and the architectures that are predicted are the same for all predictors, but for those that choose "
        "their samples; no architecture is both",
        "params, flops, votes (zero-cost proxies) and lookup-table are baselines",
    ]
    return said + [f"left out: {name}: {reason}" for part in parts for name, reason in part.reasons().items()]
