"""A radar plot: one spoke per device, one closed line per method."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from nastk.report.curves import COLOURS
from nastk.report.figure import new_figure, save_all
from nastk.report.text import drawable


def write_radar(
    values: Mapping[str, Mapping[str, float]],
    path: str | os.PathLike[str],
    title: str,
    marked: Sequence[str] = (),
    dpi: int = 150,
    note: str = "",
) -> None:
    """Draw values by method and spoke; the file is written whole or not at all.

    Args:
        values: by method, then spoke; every method has the same spokes.
        title: above.
        marked: spokes whose names are set in bold.
        note: below.
    """

    spokes = list(next(iter(values.values())))
    angles = [2 * math.pi * i / len(spokes) for i in range(len(spokes))]
    figure = new_figure(9.4, 7.2)
    axes = figure.add_axes((0.12, 0.05, 0.6, 0.83), projection="polar")
    axes.set_theta_offset(math.pi / 2)  # type: ignore[attr-defined]  # of a polar plot
    axes.set_theta_direction(-1)  # type: ignore[attr-defined]
    for i, (method, by_spoke) in enumerate(values.items()):
        line = [by_spoke[s] for s in spokes]
        colour = COLOURS[i % len(COLOURS)]
        style = "--" if i >= len(COLOURS) or method == "true front" else "-"
        axes.plot(
            [*angles, angles[0]],
            [*line, line[0]],
            style,
            color=colour,
            lw=1.6,
            ms=3,
            marker="o",
            label=drawable(method),
        )
    every = [v for by_spoke in values.values() for v in by_spoke.values()]
    low = math.floor((min(every) - 0.01) * 20) / 20
    axes.set_ylim(low, max(every) + 0.01)
    axes.set_xticks(angles, list(map(drawable, spokes)), fontsize=9)
    for label, spoke, angle in zip(axes.get_xticklabels(), spokes, angles, strict=True):
        label.set_fontweight("bold" if spoke in marked else "normal")
        side = math.sin(angle)
        label.set_horizontalalignment("center" if abs(side) < 0.2 else "left" if side > 0 else "right")
    axes.tick_params(axis="x", pad=2)
    axes.tick_params(axis="y", labelsize=7, labelcolor="#555b66")
    axes.grid(color="#e1e4e8", lw=0.7)
    axes.spines["polar"].set_color("#b4b9c2")
    figure.suptitle(drawable(title), x=0.02, ha="left", fontsize=12, fontweight="bold")
    figure.text(0.02, 0.01, drawable(note), fontsize=9)
    figure.legend(loc="upper right", bbox_to_anchor=(0.995, 0.9), fontsize=9, frameon=False)
    save_all(figure, path, dpi)
