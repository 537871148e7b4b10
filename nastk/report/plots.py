"""The front as a PNG."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nastk.report.chart import INTERVALS, KINDS, Axis, Chart, Point, Value, staircase
from nastk.report.figure import new_figure, save
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
    """Draw the chart's two main objectives; the file is written whole or not at all. One whose name ends in .svg or
    .pdf is of that format."""

    across, upward = chart.xy
    figure = new_figure(8.4, 6.2, "constrained")
    axes = figure.add_subplot()
    _draw(axes, chart, across, upward)
    if axes.get_legend_handles_labels()[0]:  # below the picture, where it hides nothing
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    notes = _wrap([*chart.notes, *left_out(chart, axes.get_xlim(), axes.get_ylim())])
    axes.text(0, 1.015, notes, transform=axes.transAxes, va="bottom", fontsize=8, color="#555b66", linespacing=1.35)
    pad = 10 + 11.5 * (notes.count("\n") + 1)
    axes.set_title(drawable(chart.title), loc="left", fontsize=13, fontweight="bold", pad=pad)
    save(figure, path, dpi)


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
        if chart.feasible:
            steps = staircase([place for p in front if (place := p.at(x, y))], across, upward)
            axes.plot(*zip(*steps, strict=True), color=FRONT, lw=1, alpha=0.45)
        _markers(axes, chart, front, chart.front_name, {"ms": 6.5, "color": FRONT, "mew": 1.3, "zorder": 5})
        _mark_outside(axes, chart, front, x, y)
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


def _mark_outside(axes: Axes, chart: Chart, front: Sequence[Point], x: str, y: str) -> None:
    """An arrow on the edge, with the value, for each of the front that lies outside of the picture."""
    from matplotlib.patheffects import withStroke

    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for a, b in (place for p in front if (place := p.at(x, y))):
        arrow = "<" if a < left else ">" if a > right else "v" if b < bottom else "^" if b > top else ""
        if not arrow:
            continue
        inset = (0.012 * (right - left), 0.018 * (top - bottom))
        at = min(max(a, left + inset[0]), right - inset[0]), min(max(b, bottom + inset[1]), top - inset[1])
        axes.plot(*at, arrow, ms=7, color=FRONT, mec="white", mew=0.6, zorder=6)
        name, value = (x, a) if arrow in "<>" else (y, b)
        said = drawable(f"{chart.front_name}: {name.replace('_', ' ')} {number(value)}")
        far = at[0] > 0.5 * (left + right)  # the text stays in the picture, and off its edges
        beside: dict[str, Any] = {"xytext": (-7 if far else 7, 0), "ha": "right" if far else "left"}
        beside |= {"va": {"v": "bottom", "^": "top"}.get(arrow, "center"), "textcoords": "offset points", "zorder": 6}
        halo = [withStroke(linewidth=2, foreground="white")]
        axes.annotate(said, at, fontsize=8, color=FRONT, path_effects=halo, **beside)


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
    """Intervals of the front: broad bars of predictions, also of those that a measurement has replaced, and thin
    whiskers of the spread of what was measured."""
    said: set[str] = set()

    def once(label: str) -> str:
        """The label at its first use, for one entry in the legend."""
        new = label not in said
        said.add(label)
        return label if new else ""

    for name, other, lines, marker, width, faint in (
        (x, y, axes.hlines, "|", 3.5, 0.22),
        (y, x, axes.vlines, "_", 1.5, 0.3),
    ):
        for what, found in spans(front, name).items():
            if not found:
                continue
            ends = [(p.shown[other].value, *ends) for p, ends in found]
            if what == "prediction":
                lines(*zip(*ends, strict=True), color=FRONT, lw=width, alpha=faint, label=once(INTERVALS[what]))
            else:
                lines(*zip(*ends, strict=True), color=FRONT, lw=0.8, alpha=0.8, label=once(INTERVALS[what]))
                caps = [(end, place) for place, *both in ends for end in both]
                _scatter(axes, caps, name == x, marker=marker, s=16, linewidths=0.8, alpha=0.8)
            _mark_cut(axes, ends, name == x, once)
        replaced = [(p.predicted[name].value, p.shown[other].value) for p in front if name in p.predicted]
        if replaced:
            _scatter(axes, replaced, name == x, marker=marker, s=40, linewidths=1, label=once("predicted"))


def _scatter(axes: Axes, places: Sequence[tuple[float, float]], across: bool, **look: Any) -> None:
    """Marks at ``(value, place)``, where the value is of x (`across`) or of y."""
    pairs = places if across else [(b, a) for a, b in places]
    axes.scatter(*zip(*pairs, strict=True), color=FRONT, **look)


def _mark_cut(axes: Axes, ends: Sequence[tuple[float, float, float]], across: bool, once: Callable[[str], str]) -> None:
    """An open arrow where the picture's edge cuts an interval ``(place, low, high)`` of a point inside."""
    limits = axes.get_xlim(), axes.get_ylim()
    (low, high), (least, most) = limits if across else limits[::-1]
    inset = (0.008 if across else 0.011) * (high - low)
    seen = [(place, a, b) for place, a, b in ends if least <= place <= most and a <= high and b >= low]
    for arrow, cut in (
        ("<" if across else "v", [(low + inset, place) for place, a, _ in seen if a < low]),
        (">" if across else "^", [(high - inset, place) for place, _, b in seen if b > high]),
    ):
        if cut:
            look: dict[str, Any] = {"marker": arrow, "s": 22, "linewidths": 0.9, "zorder": 4, "facecolors": "white"}
            _scatter(axes, cut, across, label=once("interval goes on outside"), **look)


def spans(front: Sequence[Point], name: str) -> dict[str, list[tuple[Point, tuple[float, float]]]]:
    """Intervals of one objective in a front, with their points: of ``prediction`` and of ``measurement``."""
    found: dict[str, list[tuple[Point, tuple[float, float]]]] = {what: [] for what in INTERVALS}
    for point in (p for p in front if name in p.shown):
        for value in (point.shown.get(name), point.predicted.get(name)):
            if value is not None and value.interval is not None:
                found["prediction" if value.kind == "estimate" else "measurement"].append((point, value.interval))
    return found


def left_out(chart: Chart, across: tuple[float, float], upward: tuple[float, float]) -> list[str]:
    """Sentences on architectures that a picture of this range does not show."""
    x, y = (axis.name for axis in chart.xy)
    said = []
    nowhere = sum(p.at(x, y) is None for p in chart.front)
    if nowhere:
        of = "of the front" if chart.feasible else chart.front_name
        said.append(f"{nowhere} {of} not drawn: a value is unknown.")
    places = [place for p in chart.evaluated if (place := p.at(x, y))]
    outside = sum(not (across[0] <= a <= across[1] and upward[0] <= b <= upward[1]) for a, b in places)
    if outside:
        said.append(f"{outside} evaluated architecture{'s' if outside > 1 else ''} outside of the picture.")
    return said


def view(chart: Chart, name: str) -> tuple[float, float] | None:
    """The range to draw of one objective, without outliers; those of the front get an arrow on the edge.

    Of what is maximised, values below the cloud's worst tenth by a quarter are outliers (networks that learn nothing
    would fill the picture), but never the better half of the front; of what is minimised, the cloud's greatest 0.5 %.
    Intervals of the front are shown whole where that needs less than half of the range more on a side.
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
    low, high = _with_intervals(chart, name, float(inner.min()), float(inner.max()))
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _with_intervals(chart: Chart, name: str, low: float, high: float) -> tuple[float, float]:
    """A range widened to the front's intervals: those of its members inside, by less than half of it on a side."""
    within = [
        ends for found in spans(chart.front, name).values() for p, ends in found if low <= p.shown[name].value <= high
    ]
    room = 0.5 * (high - low) or math.inf
    return (
        min([low, *(a for a, _ in within if a >= low - room)]),
        max([high, *(b for _, b in within if b <= high + room)]),
    )


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
