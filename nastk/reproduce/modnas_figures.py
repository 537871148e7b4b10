"""Tables and figures of the comparison of MODNAS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from nastk.metrics import nondominated
from nastk.report.curves import COLOURS
from nastk.report.figure import new_figure, save_all
from nastk.report.radar import write_radar
from nastk.report.text import drawable
from nastk.reproduce.modnas import METRICS, Comparison

Row = Mapping[str, Any]

DRAWN = ("true front", "generator, decoded", "generator", "enumeration", "untrained generator", "random")
"""Methods in the figures, besides NSGA-II with the largest budget."""
HEADINGS = {"hypervolume": "hypervolume", "gd_plus": "GD+", "igd_plus": "IGD+", "distinct": "distinct"}
"""Column headings of the metrics."""


def tables(rows: Sequence[Row]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Titles and rows of the terminal tables: means over groups of devices, hypervolume by device, durations."""
    devices = list(dict.fromkeys(r["device"] for r in rows if r["metric"] in METRICS))
    groups = [g for g in ("train", "unseen") if g in devices] or devices[:1]
    methods = list(dict.fromkeys(r["method"] for r in rows))
    found = {(r["method"], r["device"], r["metric"]): r for r in rows}
    first: list[dict[str, Any]] = []
    for method in methods:
        line: dict[str, Any] = {"method": method}
        for metric in METRICS:
            for group in groups:
                row = found[method, group, metric]
                heading = f"{HEADINGS[metric]} {group}" if len(groups) > 1 else HEADINGS[metric]
                line[heading] = _with_interval(row, 1 if metric == "distinct" else 4)
        first.append(line)
    seeds = rows[0]["seeds"]
    what = f"{rows[0]['space']} {rows[0]['dataset'] or ''}".strip()
    out = [(f"{what}, {rows[0]['objectives']}: {seeds} seeds, means with 95 % intervals", first)]
    single = [d for d in devices if d not in ("train", "unseen", "*")]
    if len(single) > 1:
        lines = [
            {
                "device": device,
                **{m: _plain(found[m, device, "hypervolume"]["mean"]) for m in methods if "least" not in m},
            }
            for device in single
        ]
        out.append(("Hypervolume by device", lines))
    times = [r for r in rows if r["metric"] not in METRICS]
    if times:
        out.append(("Durations", [{"method": r["method"], "what": r["metric"], "mean": r["mean"]} for r in times]))
    return out


def _with_interval(row: Row, digits: int) -> str:
    if math.isnan(row["ci95"]):
        return f"{row['mean']:.{digits}f}"
    return f"{row['mean']:.{digits}f} ±{row['ci95']:.{digits}f}"


def _plain(value: float) -> str:
    return f"{value:.4f}"


def draw(found: Comparison, folder: Path) -> list[str]:
    """Write the radar plot and the fronts of the first seed; returns the file names."""
    names = []
    methods = [*DRAWN[:-2], f"nsga2@{max(found.setting.evaluations)}", *DRAWN[-2:]]
    devices = found.setting.devices()
    if len(devices) > 2:
        called = found.setting.called
        values = {called(m): {d: float(found.values(m, "hypervolume", d).mean()) for d in devices} for m in methods}
        title = f"Hypervolume by device, {found.setting.space} (bold: not seen in training)"
        write_radar(values, folder / "modnas-radar.png", title, found.setting.unseen, note=found.setting.mixed)
        names.append("modnas-radar.png")
    _write_fronts(found, methods, folder / "modnas-fronts.png")
    return [*names, "modnas-fronts.png"]


def _write_fronts(found: Comparison, methods: Sequence[str], path: Path) -> None:
    setting = found.setting
    devices = setting.devices()  # where the objectives name their devices, there are no unseen ones
    shown = ([device for device in setting.unseen if device in devices] or devices)[:6]
    columns = min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    said = "\n" + fill(setting.mixed, 75) if setting.mixed else ""
    wide = max(3.9 * columns, 7.5 if said else 5.5)
    figure = new_figure(wide, 3.3 * lines + 0.8 + 0.4 * bool(said), "constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    outcome = next(iter(found.outcomes.values()))
    for axes, device in zip(grid.flat, shown, strict=False):
        everyone = []
        for i, method in enumerate(methods):
            points = outcome.points[method, device]
            points = points[np.isfinite(points).all(axis=1)]
            points = points[nondominated(points)]
            points = points[points[:, -1].argsort(kind="stable")]
            everyone.append(points)
            colour = COLOURS[i % len(COLOURS)]
            if points.shape[1] == 2:
                axes.step(points[:, 1], points[:, 0], where="post", color=colour, lw=1.0, alpha=0.8)
            crowd = method == "true front" and points.shape[1] > 2  # projection of a surface
            axes.plot(
                *(points[:, -1], points[:, 0], "o"),
                color="#b4b9c2" if crowd else colour,
                ms=2.0 if crowd else 3.2,
                label=setting.called(method),
                alpha=0.9,
            )
        best = everyone[0]
        axes.set_xlim(-0.02, min(1.0, float(best[:, -1].max()) * 1.3 + 0.05))
        tallest = float(np.quantile(best[:, 0], 0.9)) * 1.4
        axes.set_ylim(-0.03 * tallest, min(1.0, tallest))
        axes.set_title(drawable(device), loc="left", fontsize=10, fontweight="bold")
        axes.grid(color="#e6e8ec", lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    goals = [str(g) for g in setting.goals]
    figure.supxlabel(f"{goals[-1]}, cost scaled over {setting.scaled_over}{said}", fontsize=10)
    figure.supylabel(fill(f"{goals[0]}, cost scaled over {setting.scaled_over}", 32 * lines), fontsize=10)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    across = min(4, int(wide / 1.8))
    figure.legend(handles, labels, loc="outside upper center", ncols=across, fontsize=8.5, frameon=False)
    save_all(figure, path)
