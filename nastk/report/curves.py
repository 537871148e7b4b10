"""Curves with 95 % intervals, one panel per task: as PNG, SVG and PDF, and as data for the pages that draw them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

from nastk.report.figure import new_figure, save_all
from nastk.report.text import drawable

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#3a3f47", "#949aa5")
"""Line colours of the methods, in turn, which the colour-blind tell apart (M. Okabe and K. Ito, 2008); further methods
repeat them with another stroke. Those of ``style.css``."""

STROKES = ("-", "--", ":")
"""Strokes of the first eight methods, of the next, and of all others."""

MARKERS = "osD^v<>P"
"""Shapes of the methods' points, so that a print without colours tells them apart as well."""

PUBLISHED = "published (colour: its method)"
"""In the legend, where there are any."""

LETTERS = 12.5
"""Letters of a label on an inch: longer ones are wrapped, or have fewer columns of the legend."""

FEW = 4
"""Published figures of a panel that are named in it; of more, only the greatest."""


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

    @property
    def lonely(self) -> float | None:
        """Where all curves have their only point; None where there is more than one such place, or no point."""
        places = {x for curve in self.curves for x in curve.x}
        return next(iter(places)) if len(places) == 1 else None


@dataclass(frozen=True)
class Curves:
    """A picture of curves.

    Args:
        panels: its sets of axes.
        x, y: labels of the axes.
        caption: what it shows, in a sentence.
        log, log_y: logarithmic axes.
        top: where the y axis ends; None for just above the curves.
        chosen: the method whose interval a page shows first; "" for the first one.
    """

    panels: Sequence[Panel]
    x: str
    y: str
    caption: str = ""
    log: bool = False
    log_y: bool = False
    top: float | None = 1.0
    chosen: str = ""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Draw it; see :func:`write_curves`."""
        write_curves(self.panels, path, self.x, self.y, self.log, top=self.top, log_y=self.log_y)


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
    """Draw the panels; see :func:`nastk.report.figure.save_all` for the files.

    A panel in which all curves have a single point at the same place has the methods below each other instead, with
    their intervals.

    Args:
        x, y: labels of the axes.
        log: logarithmic x axis.
        top: where the y axis ends; None for just above the curves.
        log_y: logarithmic y axis.
    """
    columns = min(4, len(panels))
    lines = math.ceil(len(panels) / columns)
    labels = list(dict.fromkeys(curve.label for panel in panels for curve in panel.curves))
    width = max(3.6 * columns, 5.4)
    named = [*labels, PUBLISHED] if any(panel.published for panel in panels) else labels
    across = max(1, min(4, len(named), int(1.25 * width * LETTERS / (max(map(len, named), default=0) + 6))))
    rows = math.ceil(len(named) / across)
    figure = new_figure(width, 3.0 * lines + 0.9 + 0.18 * max(rows - 2, 0), "constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    looks = {label: _look(i) for i, label in enumerate(labels)}
    lonely = [panel.lonely is not None for panel in panels]
    for axes, panel in zip(grid.flat, panels, strict=False):
        if panel.lonely is not None:
            _draw_lonely(axes, panel, looks, log_y, top)
            axes.set_xlabel("" if all(lonely) else drawable(y), fontsize=9)
        else:
            _draw(axes, panel, looks, log, log_y, top)
        at = "" if panel.lonely is None else f" ({x.partition(' (')[0]}: {panel.lonely:g})"
        axes.set_title(fill(drawable(panel.title + at), 44), loc="left", fontsize=10, fontweight="bold")
        axes.grid(color="#e6e8ec", lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(fill(drawable(y if all(lonely) else x), round(width * LETTERS)), fontsize=10)
    if not all(lonely):
        figure.supylabel(drawable(y), fontsize=10)
        _legend(figure, looks, across, any(panel.published for panel in panels))
    save_all(figure, path, dpi)


def _look(i: int) -> dict[str, Any]:
    colour, stroke = COLOURS[i % len(COLOURS)], STROKES[min(i // len(COLOURS), len(STROKES) - 1)]
    return {"color": colour, "ls": stroke, "marker": MARKERS[i % len(MARKERS)], "lw": 1.4}


def _draw(axes: Any, panel: Panel, looks: dict[str, dict[str, Any]], log: bool, log_y: bool, top: float | None) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    for curve in panel.curves:
        look = looks[curve.label]
        low = [max(m - h, m / 10) if log_y else m - h for m, h in zip(curve.mean, curve.half, strict=True)]
        high = [m + h for m, h in zip(curve.mean, curve.half, strict=True)]
        axes.fill_between(curve.x, low, high, color=look["color"], alpha=0.15, lw=0)
        size = 3.5 if len(curve.x) <= 15 else 0.0
        joined = "steps-post" if curve.steps else "default"
        axes.plot(curve.x, curve.mean, ms=size, drawstyle=joined, **look)
    _draw_published(axes, panel, looks)
    means = [m for curve in panel.curves for m in curve.mean] + [p[2] for p in panel.published]
    if log_y:
        axes.set_yscale("log")
    elif top is not None and means:
        bottom = max(min(means), -0.2)
        axes.set_ylim(bottom - 0.06 * (top - bottom) - 0.005, top)
    if log:
        axes.set_xscale("log")
        _mark_decades(axes)
    ticks = sorted({v for curve in panel.curves for v in curve.x})
    if not log and len(ticks) <= 10:
        if ticks and ticks[0] > 0:
            axes.set_xscale("log")
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()


def _draw_published(axes: Any, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    """Others' figures as open diamonds, named where they are few; the name stands on the side with more room."""
    places = [at for curve in panel.curves for at in curve.x] + [at for _, at, _ in panel.published]
    for label, at, value in panel.published:
        colour = looks.get(label, {"color": "#3a3f47"})["color"]
        axes.plot([at], [value], "D", ms=5.5, mfc="none", mew=1.2, color=colour)
    greatest = sorted(panel.published, key=lambda p: -p[2])
    for label, at, value in greatest if len(greatest) <= FEW else greatest[:1]:
        right = places and at >= sorted(places)[len(places) // 2]
        place: dict[str, Any] = {"xytext": (-7 if right else 7, -3), "ha": "right" if right else "left"}
        axes.annotate(drawable(label), (at, value), fontsize=7, color="#555b66", textcoords="offset points", **place)


def _draw_lonely(axes: Any, panel: Panel, looks: dict[str, dict[str, Any]], log: bool, top: float | None) -> None:
    """Methods below each other: their only values, with intervals, across."""
    curves = [curve for curve in panel.curves if len(curve.x)]
    for i, curve in enumerate(curves):
        look = looks[curve.label]
        axes.errorbar(
            curve.mean, [i], xerr=curve.half, fmt=look["marker"], color=look["color"], ms=5, lw=1.4, capsize=3
        )
    for label, _, value in panel.published:
        place = next((float(i) for i, curve in enumerate(curves) if curve.label == label), len(curves) - 0.5)
        axes.plot([value], [place], "D", ms=5.5, mfc="none", mew=1.2, color="#3a3f47")
        said: dict[str, Any] = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate("published", (value, place), fontsize=7, color="#555b66", **said)
    axes.set_yticks(range(len(curves)), [fill(drawable(curve.label), 24) for curve in curves], fontsize=8)
    axes.set_ylim(len(curves) - 0.4, -0.6)
    if top is not None and axes.get_xlim()[1] > top:
        axes.set_xlim(right=top)
    if log:
        axes.set_xscale("log")
        _mark_decades(axes)


def _legend(figure: Any, looks: dict[str, dict[str, Any]], columns: int, published: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], ms=3.5, **look) for look in looks.values()]
    labels = list(looks)
    if published:
        handles.append(Line2D([], [], marker="D", mfc="none", color="#3a3f47", lw=0))
        labels.append(PUBLISHED)
    names = list(map(drawable, labels))
    figure.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=8.5, frameon=False)


def _mark_decades(axes: Any) -> None:
    """Few ticks on a logarithmic axis, as plain numbers: within a decade at 1, 2 and 5, within two at 1 and 3, else at
    some powers of ten. More would overlap in a narrow panel."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_xlim()
    decades = math.log10(high / low) if low > 0 else math.inf
    subs = (1.0, 2.0, 5.0) if decades <= 1.2 else (1.0, 3.0) if decades <= 2.2 else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
