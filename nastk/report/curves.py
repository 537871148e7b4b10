"""Curves with 95 % intervals, one panel per task, as a PNG."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

from nastk.files import atomic_path
from nastk.report.text import drawable

COLOURS = ("#d1495b", "#2e6f95", "#66a182", "#edae49", "#6d597a", "#8d6e63", "#3a3f47", "#b4b9c2")
"""Line colours of the methods, in turn; further methods repeat them with another stroke."""


PUBLISHED = "published (colour: its method)"
"""In the legend, where there are any."""
LETTERS = 12.5
"""Letters of a label on an inch: longer ones are wrapped, or have fewer columns of the legend."""


@dataclass(frozen=True)
class Curve:
    """One method: means at `x`, with the half-widths of their intervals.

    With `steps`, points are joined as the members of a front of two minimised objectives are, `x` ascending: each value
    holds until the next.
    """

    label: str
    x: Sequence[float]
    mean: Sequence[float]
    half: Sequence[float]
    steps: bool = False


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Args:
        title: above it.
        curves: what is drawn.
        published: label and figure of others' results, ``(label, x, y)``, drawn as open markers.
    """

    title: str
    curves: Sequence[Curve]
    published: Sequence[tuple[str, float, float]] = field(default_factory=tuple)


def write_curves(
    panels: Sequence[Panel],
    path: str | os.PathLike[str],
    x: str,
    y: str,
    log: bool = False,
    dpi: int = 150,
    top: float | None = 1.0,
    log_y: bool = False,
) -> None:
    """Draw the panels; the file is written whole or not at all.

    Args:
        x, y: labels of the axes.
        log: logarithmic x axis.
        top: where the y axis ends; None for just above the curves.
        log_y: logarithmic y axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    columns = min(4, len(panels))
    lines = math.ceil(len(panels) / columns)
    labels = list(dict.fromkeys(curve.label for panel in panels for curve in panel.curves))
    width = max(3.6 * columns, 5.4)
    named = [*labels, PUBLISHED] if any(panel.published for panel in panels) else labels
    across = max(1, min(4, len(named), int(1.25 * width * LETTERS / (max(map(len, named), default=0) + 6))))
    rows = math.ceil(len(named) / across)
    figure = Figure(figsize=(width, 3.0 * lines + 0.9 + 0.18 * max(rows - 2, 0)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False)
    colour = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    stroke = {label: ("-", "--", ":")[i // len(COLOURS) % 3] for i, label in enumerate(labels)}
    for axes, panel in zip(grid.flat, panels, strict=False):
        for curve in panel.curves:
            low = [max(m - h, m / 10) if log_y else m - h for m, h in zip(curve.mean, curve.half, strict=True)]
            high = [m + h for m, h in zip(curve.mean, curve.half, strict=True)]
            axes.fill_between(curve.x, low, high, color=colour[curve.label], alpha=0.15, lw=0)
            style = f"o{stroke[curve.label]}"
            size = 3.5 if len(curve.x) <= 15 else 0.0
            joined = "steps-post" if curve.steps else "default"
            axes.plot(curve.x, curve.mean, style, color=colour[curve.label], ms=size, lw=1.4, drawstyle=joined)
        for label, at, value in panel.published:
            axes.plot([at], [value], "D", ms=5.5, mfc="none", mew=1.2, color=colour.get(label, "#3a3f47"))
        if panel.published:
            label, at, value = max(panel.published, key=lambda p: p[2])
            place: dict[str, Any] = {"xytext": (-6, -11), "textcoords": "offset points", "ha": "right"}
            axes.annotate(drawable(label), (at, value), fontsize=7, color="#555b66", **place)
        means = [m for curve in panel.curves for m in curve.mean] + [p[2] for p in panel.published]
        if log_y:
            axes.set_yscale("log")
        elif top is not None:
            bottom = max(min(means), -0.2)
            axes.set_ylim(bottom - 0.06 * (top - bottom) - 0.005, top)
        if log:
            axes.set_xscale("log")
            _mark_decades(axes)
        ticks = sorted({v for curve in panel.curves for v in curve.x})
        if not log and len(ticks) <= 10:
            axes.set_xscale("log")
            axes.set_xticks(ticks)
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.minorticks_off()
        axes.set_title(drawable(panel.title), loc="left", fontsize=10, fontweight="bold")
        axes.grid(color="#e6e8ec", lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(fill(drawable(x), round(width * LETTERS)), fontsize=10)
    figure.supylabel(drawable(y), fontsize=10)
    handles = [_line(colour[label], stroke[label]) for label in labels]
    if named is not labels:
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], marker="D", mfc="none", color="#3a3f47", lw=0))
    figure.legend(
        handles,
        list(map(drawable, named)),
        loc="outside upper center",
        ncols=across,
        fontsize=8.5,
        frameon=False,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def _mark_decades(axes: Any) -> None:
    """Few ticks on a logarithmic axis, as plain numbers: within two decades at 1, 2 and 5, else at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_xlim()
    near = low > 0 and high < 100 * low
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _line(colour: str, stroke: str):  # type: ignore[no-untyped-def]  # a matplotlib artist
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, ls=stroke, marker="o", ms=3.5, lw=1.4)
