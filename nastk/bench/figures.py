"""Figures, ranks and the HTML page of a comparison of searchers."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, wilcoxon

from nastk.bench.search import Comparison
from nastk.files import write_text
from nastk.metrics import mean_ci
from nastk.report.curves import Curve, Panel, write_curves
from nastk.report.tables import cell

Row = dict[str, Any]

POINTS = 40
"""Most budgets drawn on a curve: smoothness against drawing time."""


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
    """One self-contained HTML file: settings, figures, ranks and curves."""
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
    parts = [
        "<!doctype html><meta charset='utf-8'><title>searchers compared</title>",
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;"
        "text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}</style>",
        "<h1>Searchers compared</h1><ul>",
        *(f"<li>{html.escape(fact)}</li>" for fact in facts),
        "</ul>",
        f"<h2>Ranks after {found.budget} evaluations</h2>",
        _table(ranks(found, found.budget)),
        *(_picture(path) for path in pictures),
        "<h2>All figures</h2>",
        _table([{k: row[k] for k in shown} for row in rows]),
    ]
    write_text(path, "\n".join(parts) + "\n")


def _text(text: str, found: Comparison) -> str:
    return text if len(found.problems) == 1 else f"{text} and the same on the other devices"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"<p><img alt='{html.escape(path.stem)}' src='data:image/png;base64,{data}'></p>"


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    lines = ("".join(f"<td>{html.escape(cell(value))}</td>" for value in row.values()) for row in rows)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
