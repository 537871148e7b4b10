"""The picture of the comparison of MTL-NAS with trained subsets."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from nastk.files import atomic_path
from nastk.reproduce.mtl import (
    ALL,
    ALONE,
    FOUND,
    GRADIENTS,
    IN_ROUNDS,
    LONGER,
    LOOK_AHEAD,
    NONE,
    SUBSET,
    Found,
    effects,
)
from nastk.spaces.mtl_fusion import MTLFusion

NAME = "mtl.png"
"""Of the file."""

_MARKS = {
    NONE: ("o", "#3a3f47"), ALL: ("s", "#3a3f47"), FOUND: ("D", "#d1495b"), ALONE: ("D", "none"),
    LOOK_AHEAD: ("^", "#2e6f95"), IN_ROUNDS: ("v", "#2f7d4f"),
}  # fmt: skip
_EFFECTS = {"effects": ("^", "#2e6f95"), "at_fixed_weights": ("D", "#d1495b")}


def draw(found: Found, folder: Path) -> str:
    """Write test losses by open paths, the gates of the first seed's search, and what each path adds to the loss, as
    measured and by gradients; returns the file's name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9.6, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes_of = figure.subplot_mosaic([["left", "right"], ["low", "low"]], height_ratios=[4, 3])
    left, right, low = (axes_of[name] for name in ("left", "right", "low"))
    archs = sorted({row["arch"] for row in found.of(method=SUBSET)})
    subsets = [[row for row in found.of(method=SUBSET, arch=arch) if row["seed"] in found.seeds] for arch in archs]
    paths = [some[0]["paths"] for some in subsets]
    means = [np.mean([row["test_loss"] for row in some]) for some in subsets]
    left.plot(paths, means, "o", color="#b4b9c2", ms=4.5, label=f"{len(archs)} subsets, each trained alone")
    for method, (marker, colour) in _MARKS.items():
        some = [row for row in found.of(method=method, search=0) if row["seed"] in found.seeds]
        x, y = (float(np.mean([row[name] for row in some])) for name in ("paths", "test_loss"))
        edge = "#d1495b" if method == ALONE else colour
        label = f"{FOUND}, not trained again, {LONGER} times the steps" if method == FOUND else method
        left.plot([x], [y], marker, color=colour, markeredgecolor=edge, ms=8, ls="", label=label)
    left.set_xlabel("open paths")
    left.set_ylabel(f"test loss of both tasks (mean of {len(found.seeds)} seeds)")
    left.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(0, 0.27), frameon=False)
    curve = np.array(found.of(seed=found.seeds[0], method=FOUND, search=0)[0]["curve"])
    curve = np.concatenate([np.full((1, curve.shape[1]), 0.5), curve])
    for values in curve.T:
        right.plot(values, color="#d1495b" if values[-1] > 0.5 else "#2e6f95", lw=1.1, alpha=0.85)
    opened = [choice.name for choice, last in zip(MTLFusion().choices, curve[-1], strict=True) if last > 0.5]
    title = textwrap.fill(f"open in the end: {', '.join(opened) or 'none'}", 60)
    right.set_title(title, loc="left", fontsize=9)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("epochs of the search")
    right.set_ylabel(f"probability that a path is open (seed {found.seeds[0]})")
    right.set_ylim(-0.03, 1.03)
    measured = effects(found).mean(axis=0)
    places = np.arange(len(measured))
    low.bar(places, measured, color="#d3d7de", label="measured: test losses of the subsets, by least squares")
    ahead = [row for row in found.of(method=LOOK_AHEAD) if row["seed"] in found.seeds]
    for key, name in GRADIENTS.items():
        marker, colour = _EFFECTS[key]
        values = np.mean([row[key] for row in ahead], axis=0)
        low.plot(places, values, marker, color=colour, ms=6, ls="", label=f"gradient {name}")
    low.axhline(0, color="#3a3f47", lw=0.8)
    low.set_xticks(places, [choice.name for choice in MTLFusion().choices])
    low.set_ylabel("adds to the loss when open")
    low.legend(fontsize=8.5, loc="upper left", frameon=False)
    for axes in (left, right, low):
        axes.grid(color="#e6e8ec", lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(folder / NAME) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return NAME
