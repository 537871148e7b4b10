"""Tidy rows of a comparison as a LaTeX table: methods down, settings across, intervals, the best bold.

It needs the package booktabs; the second best is underlined.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from nastk.errors import InvalidValue
from nastk.files import write_text
from nastk.report.rows import columns

Row = Mapping[str, Any]

RISING = ("spearman", "kendall", "ndcg", "hypervolume", "accuracy", "coverage", "within", "pearson", "r2")
"""Beginnings of the names of metrics that are better where they are higher."""

FALLING = ("regret", "igd_plus", "gd_plus", "igd", "error", "overhead", "seconds", "interval_score", "median_")
"""Those that are better where they are lower."""

OF_A_ROW = (
    "mean", "ci95", "method", "metric", "reference", "least", "evaluations", "measurements", "searched", "reported",
    "proxies", "looked_up",
)  # fmt: skip
"""What a row says beside where it stands: these make no columns, nor do others that begin like them."""

ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    c: f"\\{c}" for c in "&%$#_{}"
}


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """The metrics of rows, in their order; empty where they are no rows of a comparison."""
    if not rows or not all({"method", "metric", "mean"} <= set(row) for row in rows):
        return []
    return list(dict.fromkeys(str(row["metric"]) for row in rows))


def write_latex(rows: Sequence[Row], path: str | os.PathLike[str], metric: str | None = None) -> None:
    """Write one metric of tidy rows, as ``--json`` of the benchmarks has them, whole or not at all.

    Args:
        rows: with ``method``, ``metric``, ``mean`` and where known ``ci95``.
        metric: which; by default the first.

    Raises:
        InvalidValue: rows of something else, no such metric, or two values for one place of the table.
    """
    write_text(path, latex(rows, metric))


def latex(rows: Sequence[Row], metric: str | None = None) -> str:
    """The table as text; see :func:`write_latex`."""
    known = metrics_of(rows)
    if not known:
        raise InvalidValue(
            "a LaTeX table needs rows with method, metric and mean, as --json of a comparison writes them"
        )
    metric = known[0] if metric is None else metric
    if metric not in known:
        raise InvalidValue(f"no metric {metric!r} in these rows; there are {', '.join(known)}")
    mine = [row for row in rows if str(row["metric"]) == metric]
    keys = settings_of(mine)
    headings = list(dict.fromkeys(tuple(row.get(key) for key in keys) for row in mine))
    methods = list(dict.fromkeys(str(row["method"]) for row in mine))
    values: dict[tuple[str, tuple[Any, ...]], Row] = {}
    for row in mine:
        place = str(row["method"]), tuple(row.get(key) for key in keys)
        if place in values:
            raise InvalidValue(f"two values of {metric} for {place[0]} {' '.join(map(str, place[1]))}".rstrip())
        values[place] = row
    marks = {heading: _marks([values.get((m, heading)) for m in methods], _rising(metric)) for heading in headings}
    lines = [r"\begin{tabular}{l" + "r" * len(headings) + "}", r"\toprule"]
    for k, key in enumerate(keys):
        lines.append(
            " & ".join([escape(key.replace("_", " ")), *(escape(_plain(heading[k])) for heading in headings)]) + r" \\"
        )
    if not keys:
        lines.append(f" & {escape(metric.replace('_', ' '))}" + r" \\")
    lines.append(r"\midrule")
    for i, method in enumerate(methods):
        cells = [_cell(values.get((method, heading)), marks[heading][i]) for heading in headings]
        lines.append(" & ".join([escape(method), *cells]) + r" \\")
    return "\n".join([f"% {metric}, mean and 95 % interval", *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escape(text: str) -> str:
    """A text that LaTeX prints as it stands."""
    return "".join(ESCAPED.get(c, c) for c in text)


def settings_of(rows: Sequence[Row]) -> list[str]:
    """What distinguishes the rows of one method from each other."""
    found = []
    for key in columns(rows):
        by_method: dict[str, set[str]] = {}
        for row in rows:
            by_method.setdefault(str(row["method"]), set()).add(str(row.get(key)))
        if not key.startswith(OF_A_ROW) and "measurements" not in key and max(map(len, by_method.values())) > 1:
            found.append(key)
    return found


def _rising(metric: str) -> bool | None:
    """Whether higher is better; None where that is not known, and nothing is set off."""
    if metric.startswith(FALLING):
        return False
    return True if metric.startswith(RISING) else None


def _marks(rows: Sequence[Row | None], rising: bool | None) -> list[str]:
    """How each value of a column is set off: "best", "second" or "". Equal values share their place."""
    means = [math.nan if row is None or row["mean"] is None else float(row["mean"]) for row in rows]
    order = sorted({round(m, 6) for m in means if math.isfinite(m)}, reverse=bool(rising))
    if rising is None or len(order) < 2:
        return [""] * len(rows)
    places = {order[0]: "best", order[1]: "second"}
    return [places.get(round(m, 6), "") if math.isfinite(m) else "" for m in means]


def _cell(row: Row | None, mark: str) -> str:
    if row is None or row["mean"] is None or not math.isfinite(float(row["mean"])):
        return "--"
    half = row.get("ci95")
    known = half is not None and math.isfinite(float(half))
    digits = 3 if abs(float(row["mean"])) < 100 else 1
    mean = f"{float(row['mean']):.{digits}f}"
    mean = {"best": rf"\mathbf{{{mean}}}", "second": rf"\underline{{{mean}}}"}.get(mark, mean)
    return f"${mean} \\pm {float(half):.{digits}f}$" if known else f"${mean}$"  # type: ignore[arg-type]


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
