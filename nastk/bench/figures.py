"""Figures, ranks and the HTML page of a comparison of searchers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, wilcoxon

from nastk.bench.search import Comparison
from nastk.metrics import mean_ci
from nastk.report.curves import Curve, Panel, write_curves
from nastk.report.page import Section, write_html

Row = dict[str, Any]

POINTS = 40
"""Most budgets drawn on a curve: smoothness against drawing time."""

HEADINGS = {"source_measurements": "source measurements", "ci95": "± 95 %", "reference": "best possible"}
"""What columns of the rows are called for people."""

METRICS = {"igd_plus": "IGD+", "overhead_ms": "proposing, ms"}
"""What metrics are called for people."""

CAPTIONS = {
    "regret": "Regret by the number of evaluations; bands are 95 % intervals over the seeds.",
    "hypervolume": "Hypervolume by the number of evaluations; bands are 95 % intervals over the seeds.",
    "igd_plus": "IGD+ by the number of evaluations, lower is better; bands are 95 % intervals over the seeds.",
    "seconds": "The same by the processor time that the searcher itself takes.",
}
"""What the pictures show, by the names of their files."""


def ranks(found: Comparison, n: int) -> list[Row]:
    """One row per searcher: mean rank over problems and seeds, and p-values of its differences to the others.

    Ranks are by regret or hypervolume after `n` evaluations, 1 the best, ties shared; `p` against another searcher is
    that of Wilcoxon's signed-rank test over the same problems and seeds, two-sided; NaN if no pair differs.
    """
    sign = 1.0 if found.single else -1.0
    costs = sign * np.stack(
        [
            np.concatenate([found.values(found.main_metric, name, problem, n) for problem in found.problems])
            for name in found.searchers
        ]
    )
    places = rankdata(np.nan_to_num(costs, nan=np.inf), axis=0).mean(axis=1)
    lines = []
    for i, name in enumerate(found.searchers):
        line: Row = {"method": name, "mean rank": float(places[i]), found.main_metric: float(sign * costs[i].mean())}
        for j, other in enumerate(found.searchers):
            line[f"p against {other}"] = _p_value(costs[i], costs[j]) if i != j else float("nan")
        lines.append(line)
    return sorted(lines, key=lambda line: float(line["mean rank"]))


def _p_value(a: Any, b: Any) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    if not (a[known] != b[known]).any():
        return float("nan")
    return float(wilcoxon(a[known], b[known]).pvalue)


def draw(found: Comparison, folder: Path) -> list[str]:
    """Write curves over evaluations and over the searchers' own CPU time; returns the file names."""
    metrics = ["regret"] if found.single else ["hypervolume", "igd_plus"]
    units = {"regret": "regret", "hypervolume": "hypervolume", "igd_plus": "IGD+"}
    label = "trainings (full equivalents)" if found.staged else "evaluations"
    names = []
    for metric in metrics:
        names.append(f"{metric}.png")
        panels = [Panel(title, _curves(found, metric, problems)) for title, problems in _panels(found)]
        write_curves(panels, folder / names[-1], label, units[metric], top=None, log_y=metric == "regret")
    names.append("seconds.png")
    panels = [Panel(title, _over_seconds(found, problems)) for title, problems in _panels(found)]
    label = "CPU seconds of the searcher itself"
    write_curves(panels, folder / "seconds.png", label, units[metrics[0]], log=True, top=None, log_y=found.single)
    return names


def _panels(found: Comparison) -> list[tuple[str, Sequence[Any]]]:
    first = found.problems[0]
    title = " ".join(part for part in (first.space, first.dataset) if part)
    if len(found.problems) == 1:
        return [(f"{title} {first.device}".strip(), found.problems)]
    return [(f"{title}, mean", found.problems), *((p.device, [p]) for p in found.problems)]


def _budgets(found: Comparison) -> list[int]:
    return sorted({int(n) for n in np.linspace(min(5, found.budget), found.budget, POINTS).round()})


def _values(found: Comparison, metric: str, searcher: str, problems: Sequence[Any], n: int) -> Any:
    return np.mean([found.values(metric, searcher, problem, n) for problem in problems], axis=0)


def _curves(found: Comparison, metric: str, problems: Sequence[Any]) -> list[Curve]:
    budgets = _budgets(found)
    curves = []
    for name in found.searchers:
        values = {n: _values(found, metric, name, problems, n) for n in budgets}
        known = [n for n in budgets if np.isfinite(values[n]).all()]
        points = [mean_ci(values[n]) for n in known]
        curves.append(Curve(name, known, [m for m, _ in points], [0.0 if np.isnan(h) else h for _, h in points]))
    return curves


def _over_seconds(found: Comparison, problems: Sequence[Any]) -> list[Curve]:
    curves = []
    for curve in _curves(found, found.main_metric, problems):
        seconds = [
            float(np.mean(n * _values(found, "overhead_ms", curve.label, problems, int(n))) / 1000.0) for n in curve.x
        ]
        curves.append(Curve(curve.label, [max(s, 1e-6) for s in seconds], curve.mean, curve.half))
    return curves


def write_page(found: Comparison, rows: Sequence[Row], path: str | os.PathLike[str], pictures: Sequence[Path]) -> None:
    """One self-contained HTML file: settings, ranks, curves and figures."""
    first = found.problems[0]
    facts = [
        f"space {first.space}" + (f", data set {first.dataset}" if first.dataset else ""),
        f"searched: {_text(first.searched, found)}",
        f"reported: {_text(first.reported, found)}",
        f"{found.seeds} seeds, {found.budget} evaluations, {len(found.problems)} problem(s)",
    ]
    if first.reported == first.searched and "test" in first.searched:
        facts.append("the test accuracy itself is the objective, to compare with the literature: no model selection")
    if found.staged:
        facts.append("costs are modelled, in full trainings: one of f epochs counts f divided by the most epochs")
    paid = ("samples", "evaluations", "measurements", "source_measurements")
    shown = ("method", "device", *paid, "metric", "mean", "ci95", "reference")
    table = [{HEADINGS.get(k, k): row[k] if k != "metric" else _metric(row[k]) for k in shown} for row in rows]
    sections = [
        Section(f"Ranks after {found.budget} evaluations", tables=[("", ranks(found, found.budget))]),
        Section("Curves", pictures=[(picture, CAPTIONS[picture.stem]) for picture in pictures]),
        Section("All figures", tables=[("", table)]),
    ]
    write_html("Searchers compared", facts, sections, path)


def _metric(name: str) -> str:
    return METRICS.get(name, name.replace("_", " "))


def _text(text: str, found: Comparison) -> str:
    return text if len(found.problems) == 1 else f"{text} and the same on the other devices"
