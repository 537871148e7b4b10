"""The front as a PNG."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nastk.files import atomic_path
from nastk.report.chart import KINDS, Axis, Chart, Point, Value, staircase
from nastk.report.tables import number
from nastk.report.text import drawable

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

GREY = "#b4b9c2"
"""Colour of predicted architectures."""

FRONT = "#d1495b"
"""Colour of the front."""

EVALUATED = "#2e6f95"
"""Colour of evaluated architectures outside the front."""

MARKERS = {(False, False): "o", (True, False): "o", (False, True): "D", (True, True): "s"}
"""Shapes of points by whether x, and whether y, is an estimate; see :func:`_markers`."""

TRUE = "#3a3f47"
"""Colour of the table's true front."""


def write_png(chart: Chart, path: str | os.PathLike[str], dpi: int = 160) -> None:
    """Draw the chart's two main objectives; the file is written whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across, upward = chart.xy
    figure = Figure(figsize=(8.4, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, chart, across, upward)
    if axes.get_legend_handles_labels()[0]:  # below the picture, where it hides nothing
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    notes = _wrap([*chart.notes, *left_out(chart, axes.get_xlim(), axes.get_ylim())])
    axes.text(0, 1.015, notes, transform=axes.transAxes, va="bottom", fontsize=8, color="#555b66", linespacing=1.35)
    pad = 10 + 11.5 * (notes.count("\n") + 1)
    axes.set_title(drawable(chart.title), loc="left", fontsize=13, fontweight="bold", pad=pad)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def _draw(axes: Axes, chart: Chart, across: Axis, upward: Axis) -> None:
    x, y = across.name, upward.name
    for name, limit in ((x, axes.set_xlim), (y, axes.set_ylim)):
        span = view(chart, name)
        if span is not None:
            limit(*span)
    cloud = chart.cloud.values
    if x in cloud and y in cloud:
        label = f"{len(chart.cloud.archs):,} others: {_kinds(chart, [cloud_kind(chart, n) for n in (x, y)])}"
        axes.scatter(cloud[x], cloud[y], s=5, color=GREY, alpha=0.55, linewidths=0, label=label, rasterized=True)
    if x in chart.true_front and y in chart.true_front:
        pairs = list(zip(chart.true_front[x], chart.true_front[y], strict=True))
        steps = staircase([pair for pair in pairs if all(map(math.isfinite, pair))], across, upward)
        if steps:
            axes.plot(*zip(*steps, strict=True), color=TRUE, lw=1, ls=(0, (4, 3)), label="true front of the table")
    _markers(axes, chart, chart.evaluated, "evaluated", {"ms": 4.5, "color": EVALUATED, "mew": 1, "zorder": 3})
    front = [p for p in chart.front if p.at(x, y) is not None]
    if front:
        _intervals(axes, front, x, y)
        steps = staircase([place for p in front if (place := p.at(x, y))], across, upward)
        axes.plot(*zip(*steps, strict=True), color=FRONT, lw=1, alpha=0.45)
        _markers(axes, chart, front, "front", {"ms": 6.5, "color": FRONT, "mew": 1.3, "zorder": 5})
        _mark_outside(axes, front, x, y)
    axes.set_xlabel(_label(across, [p.shown[x].kind for p in front]))
    axes.set_ylabel(_label(upward, [p.shown[y].kind for p in front]))
    axes.autoscale(enable=False)
    axes.grid(color="#e6e8ec", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _markers(axes: Axes, chart: Chart, points: Sequence[Point], what: str, style: dict[str, Any]) -> None:
    """Points by what is known of their places: filled where both values are, hollow where one or both are estimates."""
    x, y = (axis.name for axis in chart.xy)
    groups: dict[tuple[bool, bool], list[Point]] = {}
    for point in points:
        if point.at(x, y) is not None:
            groups.setdefault((point.estimated(x), point.estimated(y)), []).append(point)
    for unknown, members in sorted(groups.items()):
        places = [place for p in members if (place := p.at(x, y))]
        named = "proposed" if what == "evaluated" and all(unknown) else what
        label = f"{named}: {_kinds(chart, [members[0].shown[name].kind for name in (x, y)])}"
        look = {**style, "mfc": "white"} if any(unknown) else style
        axes.plot(*zip(*places, strict=True), MARKERS[unknown], ls="none", label=label, **look)


def _mark_outside(axes: Axes, front: Sequence[Point], x: str, y: str) -> None:
    """An arrow on the edge, with the value, for each of the front that lies outside of the picture."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for a, b in (place for p in front if (place := p.at(x, y))):
        arrow = "<" if a < left else ">" if a > right else "v" if b < bottom else "^" if b > top else ""
        if not arrow:
            continue
        inset = (0.012 * (right - left), 0.018 * (top - bottom))
        at = min(max(a, left + inset[0]), right - inset[0]), min(max(b, bottom + inset[1]), top - inset[1])
        axes.plot(*at, arrow, ms=7, color=FRONT, mec="white", mew=0.6, zorder=6)
        name, value = (x, a) if arrow in "<>" else (y, b)
        said = drawable(f"front: {name.replace('_', ' ')} {number(value)}")
        halo = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
        beside: dict[str, Any] = {"xytext": (7, -3), "textcoords": "offset points", "bbox": halo, "zorder": 6}
        axes.annotate(said, at, fontsize=8, color=FRONT, **beside)


def _kinds(chart: Chart, kinds: Sequence[str]) -> str:
    """What the values of the two drawn objectives are: in one word where they are alike."""
    if kinds[0] == kinds[1]:
        return KINDS[kinds[0]]
    named = zip(chart.xy, kinds, strict=True)
    return ", ".join(drawable(f"{axis.name.replace('_', ' ')} {KINDS[kind]}") for axis, kind in named)


def cloud_kind(chart: Chart, name: str) -> str:
    """Kind of the cloud's values of an objective; estimates in files that do not say it."""
    return chart.cloud.kinds.get(name, "estimate")


def _intervals(axes: Axes, front: Sequence[Point], x: str, y: str) -> None:
    """95 % intervals of the estimates: those that a measurement has replaced are shown where they were predicted."""
    label = "95 % interval of the prediction"
    for name, other, bars, marker, width, faint in (
        (x, y, axes.hlines, "|", 3.5, 0.22),
        (y, x, axes.vlines, "_", 1.5, 0.3),
    ):
        values = [(p.predicted.get(name, p.shown[name]), p.shown[other].value) for p in front]
        spans = [(place, v.low, v.high) for v, place in values if v.low is not None and v.high is not None]
        if spans:
            bars(*zip(*spans, strict=True), color=FRONT, lw=width, alpha=faint, label=label)
            label = ""
        replaced = [(p.predicted[name].value, p.shown[other].value) for p in front if name in p.predicted]
        if replaced:
            at = list(zip(*(replaced if name == x else [(b, a) for a, b in replaced]), strict=True))
            known = axes.get_legend_handles_labels()[1]
            said = "" if "predicted" in known else "predicted"
            axes.scatter(at[0], at[1], marker=marker, s=40, color=FRONT, linewidths=1, label=said)


def left_out(chart: Chart, across: tuple[float, float], upward: tuple[float, float]) -> list[str]:
    """Sentences on architectures that a picture of this range does not show."""
    x, y = (axis.name for axis in chart.xy)
    said = []
    nowhere = sum(p.at(x, y) is None for p in chart.front)
    if nowhere:
        said.append(f"{nowhere} of the front not drawn: a value is unknown.")
    places = [place for p in chart.evaluated if (place := p.at(x, y))]
    outside = sum(not (across[0] <= a <= across[1] and upward[0] <= b <= upward[1]) for a, b in places)
    if outside:
        said.append(f"{outside} evaluated architecture{'s' if outside > 1 else ''} outside of the picture.")
    return said


def view(chart: Chart, name: str) -> tuple[float, float] | None:
    """The range to draw of one objective, without outliers; those of the front get an arrow on the edge.

    Of what is maximised, values below the cloud's worst tenth by a quarter are outliers (networks that learn nothing
    would fill the picture), but never the better half of the front; of what is minimised, the cloud's greatest 0.5 %.
    """
    import numpy as np

    axis = next(a for a in chart.axes if a.name == name)
    front = _known([v for p in chart.front for v in _reach(p, name)])
    evaluated = [v for p in chart.evaluated for v in _reach(p, name)]
    inner = np.concatenate([front, _known([*evaluated, *chart.true_front.get(name, [])])])
    cloud = _known(chart.cloud.values.get(name, []))
    if len(cloud) and axis.direction == "max":
        floor, best = np.quantile(cloud, 0.1), max([*inner, cloud.max()])
        floor = min([floor - 0.25 * (best - floor), *([np.median(front)] if len(front) else [])])
        inner = np.append(inner[inner >= floor], [max(floor, cloud.min()), best])
    elif len(cloud):
        inner = np.append(inner, np.quantile(cloud, [0.0, 0.995]))
    if len(inner) < 2:
        return None
    low, high = float(inner.min()), float(inner.max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _known(values: Sequence[float]) -> NDArray[np.float64]:
    import numpy as np

    found = np.asarray(values, dtype=float)
    return found[np.isfinite(found)]


def _reach(point: Point, name: str) -> list[float]:
    values: list[Value | None] = [point.shown.get(name), point.predicted.get(name)]
    return [v.value for v in values if v is not None]


def _label(axis: Axis, kinds: Sequence[str]) -> str:
    said = " / ".join(KINDS[k] for k in dict.fromkeys(kinds))
    better = "lower is better" if axis.direction == "min" else "higher is better"
    return drawable(f"{axis.label}{', ' + said if said else ''}  [{better}]")


def _wrap(notes: Sequence[str]) -> str:
    import textwrap

    return "\n".join(line for note in notes for line in textwrap.wrap(drawable(note), 125))
