"""A critical-difference diagram: methods on an axis of mean ranks, joined where their differences may be chance.

J. Demsar. Statistical Comparisons of Classifiers over Multiple Data Sets. JMLR 7, 2006, Figure 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from nastk.report.figure import new_figure, save_all
from nastk.report.text import drawable

LINE = 0.27
"""Inches that the line of a method takes."""


def write_ranked(
    methods: Sequence[str],
    ranks: Sequence[float],
    cliques: Sequence[Sequence[int]],
    path: str | os.PathLike[str],
    joined: str = "joined: no significant difference",
) -> None:
    """Draw the diagram; see :func:`nastk.report.figure.save_all`.

    Args:
        methods: names.
        ranks: mean ranks, 1 the best.
        cliques: groups of positions in `methods` that a bar joins.
        joined: what a bar means, below the picture.
    """
    order = sorted(range(len(methods)), key=lambda i: ranks[i])
    left = order[: math.ceil(len(order) / 2)]
    right = order[len(left) :][::-1]
    deep = max(len(left), len(right))
    bars = 0.16 * len(cliques)
    longest = max(len(m) for m in methods)
    names = min(0.085 * longest + 0.75, 3.2)  # inches beside the axis
    height = 0.75 + bars + LINE * (deep + 0.6)
    figure = new_figure(3.6 + 2 * names, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = 1, max(len(methods), 2)
    axes.set_xlim(low - names * (high - low) / 3.6, high + names * (high - low) / 3.6)
    axes.set_ylim(height, 0)
    top = 0.42
    ink: dict[str, Any] = {"color": "#1d2129", "lw": 1.0, "solid_capstyle": "butt"}
    axes.plot([low, high], [top, top], **ink)
    for tick in range(low, high + 1):
        axes.plot([tick, tick], [top - 0.08, top], **ink)
        axes.text(tick, top - 0.13, str(tick), ha="center", va="bottom", fontsize=8)
    for k, clique in enumerate(cliques):
        ends = [ranks[i] for i in clique]
        room = 0.012 * (high - low)
        y = top + 0.14 + 0.16 * k
        axes.plot([min(ends) - room, max(ends) + room], [y, y], color="#d1495b", lw=3.2, solid_capstyle="round")
    for side, edge, align in ((left, low, "right"), (right, high, "left")):
        away = -1 if align == "right" else 1
        for k, i in enumerate(side):
            y = top + bars + 0.2 + LINE * (k + 0.4)
            end = edge + away * 0.02 * (high - low)
            axes.plot([ranks[i], ranks[i], end], [top, y, y], **{**ink, "lw": 0.8})
            text = f"{drawable(methods[i])}  {ranks[i]:.2f}"
            axes.text(end + away * 0.015 * (high - low), y, text, ha=align, va="center", fontsize=8.5)
    if cliques:
        axes.text(
            (low + high) / 2, height - 0.06, drawable(joined), ha="center", va="bottom", fontsize=7.5, color="#555b66"
        )
    save_all(figure, path)
