"""Horizontal bars with 95 % intervals, one a name, as PNG, SVG and PDF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nastk.report.curves import COLOURS
from nastk.report.figure import new_figure, save_all
from nastk.report.text import drawable


@dataclass(frozen=True)
class Bar:
    """A name, its mean, and the half-width of its interval (NaN where unknown)."""

    label: str
    mean: float
    half: float


def write_bars(
    bars: Sequence[Bar], path: str | os.PathLike[str], x: str, line: tuple[float, str] | None = None, dpi: int = 150
) -> None:
    """Draw the bars, the first on top; the file is written whole or not at all.

    Args:
        x: label of the axis, which begins where the differences can be seen.
        line: a value to compare with, and what it is.
    """

    figure = new_figure(5.4, 0.3 * len(bars) + 1.2, "constrained")
    axes = figure.subplots()
    half = [0.0 if np.isnan(bar.half) else bar.half for bar in bars]
    names = [drawable(bar.label) for bar in bars]
    axes.barh(names, [bar.mean for bar in bars], xerr=half, color=COLOURS[1], ecolor="#3a3f47", height=0.65)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    low = min(bar.mean - h for bar, h in zip(bars, half, strict=True))
    high = max(bar.mean + h for bar, h in zip(bars, half, strict=True))
    if line is not None:
        low, high = min(low, line[0]), max(high, line[0])
        axes.axvline(line[0], color=COLOURS[0], lw=1.4, label=drawable(line[1]))
        figure.legend(loc="outside upper right", fontsize=8.5, frameon=False)
    room = 0.1 * max(high - low, 1e-6)
    axes.set_xlim(low - 2 * room, high + room)
    axes.set_xlabel(drawable(x))
    axes.grid(axis="x", color="#e6e8ec", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    save_all(figure, path, dpi)
