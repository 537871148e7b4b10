"""Pictures and a page of tidy rows, as ``--json`` of the benchmarks writes them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nastk.errors import InvalidValue
from nastk.report.curves import Curve, Curves, Panel
from nastk.report.latex import Row, metrics_of, settings_of
from nastk.report.page import Section, write_html

MOST = 16
"""Panels of a picture at most; more are too small to read."""


def curves_of(rows: Sequence[Row], metric: str | None = None) -> Curves:
    """One metric by number of samples, a panel for each setting (space, device ...).

    Where rows have a mean over devices (``"*"``) and there are too many panels, only that is drawn.

    Args:
        rows: with ``method``, ``metric``, ``mean`` and where known ``samples`` and ``ci95``.
        metric: which; by default the first.

    Raises:
        InvalidValue: rows of something else, no such metric, or more than :data:`MOST` settings.
    """
    known = metrics_of(rows)
    if not known:
        raise InvalidValue("a picture needs rows with method, metric and mean, as --json of a comparison writes them")
    metric = known[0] if metric is None else metric
    if metric not in known:
        raise InvalidValue(f"no metric {metric!r} in these rows; there are {', '.join(known)}")
    mine = [row for row in rows if str(row["metric"]) == metric and _known(row["mean"])]
    keys = [key for key in settings_of(mine) if key != "samples"]
    settings = list(dict.fromkeys(tuple(row.get(key) for key in keys) for row in mine))
    if len(settings) > MOST and any(row.get("device") == "*" for row in mine):
        mine = [row for row in mine if row.get("device") == "*"]
        settings = list(dict.fromkeys(tuple(row.get(key) for key in keys) for row in mine))
    if not settings or len(settings) > MOST:
        raise InvalidValue(f"{metric} has {len(settings)} settings of {', '.join(keys)}; at most {MOST} can be drawn")
    panels = []
    for setting in settings:
        here = [row for row in mine if tuple(row.get(key) for key in keys) == setting]
        title = ", ".join("mean" if value == "*" else str(value) for value in setting if value not in (None, ""))
        methods = dict.fromkeys(str(row["method"]) for row in here)
        panels.append(Panel(title, [_curve(m, [row for row in here if str(row["method"]) == m]) for m in methods]))
    words = metric.replace("_", " ")
    return Curves(panels, "samples", words, f"{words}; bands are 95 % intervals.", top=None)


def write_rows_html(rows: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write a page of rows: curves of every metric that can be drawn, and the table."""
    charts = []
    for metric in metrics_of(rows):
        try:
            charts.append(curves_of(rows, metric))
        except InvalidValue:  # too many settings: the table has them
            continue
    sections = [Section("Curves", charts=charts)] if charts else []
    title = str(rows[0].get("experiment") or Path(path).stem)
    write_html(title, [], [*sections, Section("All figures", tables=[("", list(map(dict, rows)))])], path)


def _curve(method: str, rows: Sequence[Row]) -> Curve:
    places: dict[float, Row] = {}
    for row in rows:
        places.setdefault(float(row.get("samples") or 0), row)
    xs = sorted(places)
    half: list[Any] = [places[x].get("ci95") for x in xs]
    return Curve(method, xs, [float(places[x]["mean"]) for x in xs], [float(h) if _known(h) else 0.0 for h in half])


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
