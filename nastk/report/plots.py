"""The front as a PNG."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nastk.files import atomic_path
from nastk.report.chart import KINDS, Axis, Chart, Point, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#b4b9c2"
"""Colour of predicted architectures."""

FRONT = "#d1495b"
"""Colour of the front."""

EVALUATED = "#2e6f95"
"""Colour of evaluated architectures outside the front."""

TRUE = "#3a3f47"
"""Colour of the table's true front."""


def write_png(chart: Chart, path: str | os.PathLike[str], dpi: int = 160) -> None:
    """Draw the chart's two main objectives; the file is written whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across, upward = chart.xy
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, chart, across, upward)
    notes = _wrap(chart.notes)
    axes.text(0, 1.015, notes, transform=axes.transAxes, va="bottom", fontsize=8, color="#555b66", linespacing=1.35)
    pad = 10 + 11.5 * (notes.count("\n") + 1)
    axes.set_title(chart.title, loc="left", fontsize=13, fontweight="bold", pad=pad)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def _draw(axes: Axes, chart: Chart, across: Axis, upward: Axis) -> None:
    x, y = across.name, upward.name
    cloud = chart.cloud.values
    if x in cloud and y in cloud:
        label = f"{len(chart.cloud.archs):,} architectures (estimates)"
        axes.scatter(cloud[x], cloud[y], s=5, color=GREY, alpha=0.55, linewidths=0, label=label, rasterized=True)
    if x in chart.true_front and y in chart.true_front:
        pairs = sorted(zip(chart.true_front[x], chart.true_front[y], strict=True))
        axes.plot(*zip(*pairs, strict=True), color=TRUE, lw=1, ls=(0, (4, 3)), label="true front of the table")
    evaluated = [p for p in chart.evaluated if x in p.shown and y in p.shown]
    if evaluated:
        _markers(
            axes,
            evaluated,
            x,
            y,
            marker="o",
            s=20,
            facecolors="none",
            edgecolors=EVALUATED,
            linewidths=1,
            label="evaluated",
        )
    front = sorted((p for p in chart.front if x in p.shown and y in p.shown), key=lambda p: p.shown[x].value)
    if front:
        _intervals(axes, front, x, y)
        axes.plot([p.shown[x].value for p in front], [p.shown[y].value for p in front], color=FRONT, lw=1, alpha=0.45)
        _front_markers(axes, front, x, y)
    axes.set_xlabel(_label(across, [p.shown[x].kind for p in front]))
    axes.set_ylabel(_label(upward, [p.shown[y].kind for p in front]))
    _limit(axes, chart, x, y)
    axes.grid(color="#e6e8ec", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="lower right", markerscale=1.3, framealpha=0.85, edgecolor="none")


def _front_markers(axes: Axes, front: Sequence[Point], x: str, y: str) -> None:
    """Filled where both coordinates were evaluated or computed, hollow where the first is an estimate."""
    known = [p for p in front if p.shown[x].kind != "estimate"]
    estimated = [p for p in front if p.shown[x].kind == "estimate"]
    if known:
        label = f"front, {x} {KINDS[known[0].shown[x].kind]}"
        _markers(axes, known, x, y, s=42, color=FRONT, edgecolors="white", linewidths=0.8, label=label, zorder=5)
    if estimated:
        label = f"front, {x} estimated"
        style: dict[str, Any] = {"facecolors": "white", "edgecolors": FRONT, "linewidths": 1.3}
        _markers(axes, estimated, x, y, s=34, label=label, zorder=4, **style)


def _markers(axes: Axes, points: Sequence[Point], x: str, y: str, **style: Any) -> None:
    axes.scatter([p.shown[x].value for p in points], [p.shown[y].value for p in points], **style)


def _intervals(axes: Axes, front: Sequence[Point], x: str, y: str) -> None:
    """95 % intervals of the estimates: those that a measurement has replaced are shown where they were predicted."""
    across = [(p.predicted.get(x, p.shown[x]), p.shown[y].value) for p in front]
    spans = [(v.low, v.high, height) for v, height in across if v.low is not None and v.high is not None]
    if spans:
        low, high, height = zip(*spans, strict=True)
        axes.hlines(height, low, high, color=FRONT, lw=3.5, alpha=0.22, label="95 % interval of the prediction")
    replaced = [(p.predicted[x].value, p.shown[y].value) for p in front if x in p.predicted]
    if replaced:
        predicted, height = zip(*replaced, strict=True)
        axes.scatter(predicted, height, marker="|", s=40, color=FRONT, linewidths=1, label="predicted")
    upward = [(p.shown[x].value, p.shown[y]) for p in front]
    spans = [(v.low, v.high, place) for place, v in upward if v.low is not None and v.high is not None]
    if spans:
        low, high, place = zip(*spans, strict=True)
        axes.vlines(place, low, high, color=FRONT, lw=1, alpha=0.3)


def _limit(axes: Axes, chart: Chart, x: str, y: str) -> None:
    """Leave outliers (a network that learns nothing) out of the picture, and say how many of the front they are."""
    for axis, limit in ((x, axes.set_xlim), (y, axes.set_ylim)):
        span = view(chart, axis)
        if span is not None:
            limit(*span)
    low, _ = axes.get_ylim()
    below = sum(p.shown[y].value < low for p in chart.front if y in p.shown)
    if below:
        text = f"{below} of the front below" if below > 1 else "1 of the front below"
        axes.text(0.008, 0.015, f"↓ {text}", transform=axes.transAxes, fontsize=8, color=FRONT)


def view(chart: Chart, name: str) -> tuple[float, float] | None:
    """The range to draw of one objective; of a maximised one without the cloud's worst tenth and what lies below it."""
    import numpy as np

    axis = next(a for a in chart.axes if a.name == name)
    points = [v for p in [*chart.front, *chart.evaluated] for v in _reach(p, name)] + chart.true_front.get(name, [])
    cloud = np.asarray(chart.cloud.values.get(name, []), dtype=float)
    inner = np.asarray(points, dtype=float)
    if len(cloud) and axis.direction == "max":
        floor, best = np.nanquantile(cloud, 0.1), max([*points, np.nanmax(cloud)])
        floor -= 0.25 * (best - floor)
        inner = np.append(inner[inner >= floor], [max(floor, np.nanmin(cloud)), best])
    elif len(cloud):
        inner = np.append(inner, np.nanquantile(cloud, [0.0, 0.995]))
    if len(inner) < 2:
        return None
    low, high = float(inner.min()), float(inner.max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _reach(point: Point, name: str) -> list[float]:
    values: list[Value | None] = [point.shown.get(name), point.predicted.get(name)]
    return [v.value for v in values if v is not None]


def _label(axis: Axis, kinds: Sequence[str]) -> str:
    said = " / ".join(KINDS[k] for k in dict.fromkeys(kinds))
    better = "lower is better" if axis.direction == "min" else "higher is better"
    return f"{axis.label}{', ' + said if said else ''}  [{better}]"


def _wrap(notes: Sequence[str]) -> str:
    import textwrap

    return "\n".join(line for note in notes for line in textwrap.wrap(note, 125))
