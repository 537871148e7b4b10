"""A matrix as a picture: rows against columns, colours from blue (worse) over white (equal) to red (better)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np

from nastk.report.figure import new_figure, save_all
from nastk.report.text import drawable


def write_heatmap(
    values: Mapping[tuple[str, str], float],
    path: str | os.PathLike[str],
    rows: str,
    columns: str,
    title: str,
    label: str = "difference in Spearman",
    by_space: bool = True,
    dpi: int = 150,
) -> None:
    """Draw values by row and column name; pairs without a value stay grey. The file is written whole or not at all.

    Args:
        values: by (row, column).
        rows, columns: what the axes show.
        title: above.
        label: of the colours.
        by_space: lines between names of different spaces ("space/task").
    """

    down, across = (list(dict.fromkeys(pair[k] for pair in values)) for k in (0, 1))
    both = list(dict.fromkeys([*down, *across]))
    across.sort(key=both.index)  # a name that is both a row and a column has one place
    grid = np.full((len(down), len(across)), np.nan)
    for (row, column), value in values.items():
        grid[down.index(row), across.index(column)] = value
    size = 0.27
    width = max(3.4 + size * len(across), 6.4)
    figure = new_figure(width, 2.6 + size * len(down), "constrained")
    axes = figure.subplots()
    axes.set_facecolor("#d9dce1")
    most = float(np.nanmax(np.abs(grid))) or 1.0
    image = axes.imshow(grid, cmap="RdBu_r", vmin=-most, vmax=most)
    axes.set_xticks(range(len(across)), list(map(drawable, across)), rotation=90, fontsize=7)
    axes.set_yticks(range(len(down)), list(map(drawable, down)), fontsize=7)
    axes.set_xlabel(drawable(columns))
    axes.set_ylabel(drawable(rows))
    figure.suptitle(fill(drawable(title), round(10 * width)), x=0.01, ha="left", fontsize=10, fontweight="bold")
    if by_space:
        for line in _borders(across):
            axes.axvline(line - 0.5, color="#3a3f47", lw=0.7)
        for line in _borders(down):
            axes.axhline(line - 0.5, color="#3a3f47", lw=0.7)
    figure.colorbar(image, ax=axes, shrink=0.6, label=label)
    save_all(figure, path, dpi)


def _borders(names: Sequence[str]) -> list[int]:
    spaces = [name.partition("/")[0] for name in names]
    return [i for i in range(1, len(names)) if spaces[i] != spaces[i - 1]]
