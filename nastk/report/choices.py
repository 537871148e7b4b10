"""What each choice does to the objectives, as a PNG: a row a choice with a point an option, and gain against cost."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.report.chart import KINDS, Axis
from nastk.report.figure import new_figure, save
from nastk.report.tables import number
from nastk.report.text import drawable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from nastk.search.choice_effects import ChoiceEffects, EffectOf

MOST = 46
"""Choices to draw at most, those that explain most: further rows would be too small to read. The table has all."""

NAMED = 8
"""Options to name in the picture of gain against cost: those far from the others, and not more than fit."""

SQUARE = 22
"""Choices beyond which the picture of gain against cost is square, instead of as high as the rows."""

LARGE = ((1e9, "billion "), (1e6, "million "), (1e3, "thousand "))
"""Words for what a cost is counted in, where it has so many."""

COLOURS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#e0b400")
"""Viridis, with a last colour that shows on white: from an option of little cost to one of much."""

INK, GREY, RULE = "#2b2f36", "#6b7280", "#e5e7eb"


def write_png(effects: ChoiceEffects, path: str | os.PathLike[str], dpi: int = 150) -> None:
    """Draw the effects; the file is written whole or not at all."""

    table = _drawn(effects)
    choices = list(dict.fromkeys(table["choice"]))
    trade = effects.trade
    shown = list(trade) if trade is not None else effects.objectives[:2]
    height = 0.27 * len(choices) + 2.0
    widths = [1.0] * len(shown) + ([1.25] if trade is not None else [])
    figure = new_figure(4.3 * sum(widths) + 1.0, max(height, 4.6), "constrained")
    grid = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    colour = _colours(table, (trade or shown)[-1])
    for i, (axes, of) in enumerate(zip(grid, shown, strict=False)):
        _rows(axes, table, choices, of, colour, labelled=i == 0)
    if trade is not None:
        _trade(grid[-1], table, trade, colour, len(choices) > SQUARE)
    left = len(effects.options["choice"].unique()) - len(choices)
    by = (trade or shown)[-1]
    tint = f"Colours: from the option of least {by.name} of each choice (violet) to that of most (yellow)."
    notes = [*effects.notes, tint, *([f"{left} choices of less effect are not drawn."] if left else [])]
    wrapped = "\n".join(line for note in notes for line in textwrap.wrap(drawable(note), int(62 * sum(widths))))
    title = drawable(f"{effects.space}: what each choice does")
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=8, color=GREY)
    save(figure, path, dpi)


def _drawn(effects: ChoiceEffects) -> pd.DataFrame:
    """The rows to draw, of the choices that explain most of any objective, in the order of the space."""
    table = effects.options
    share = table[[f"{o.name}_share" for o in effects.objectives]].max(axis=1)
    order = share.groupby(table["choice"], sort=False).first().sort_values(ascending=False, kind="stable")
    return table[table["choice"].isin(order.index[:MOST])].reset_index(drop=True)


def _colours(table: pd.DataFrame, by: EffectOf) -> dict[tuple[str, str], Any]:
    """A colour for each option: by its rank, by what it costs, among the options of its choice."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("cost", COLOURS)
    found: dict[tuple[str, str], Any] = {}
    for choice, rows in table.groupby("choice", sort=False):
        rank = rows[f"{by.name}_effect"].fillna(0.0).rank(method="first").to_numpy() - 1
        for option, place in zip(rows["option"], rank / max(len(rows) - 1, 1), strict=True):
            found[str(choice), option] = scale(float(place))
    return found


def _rows(
    axes: Axes,
    table: pd.DataFrame,
    choices: list[str],
    of: EffectOf,
    colour: dict[tuple[str, str], Any],
    labelled: bool,
) -> None:
    """One objective: a row a choice, its options as points with their intervals, the outermost ones named."""
    place = {choice: i for i, choice in enumerate(choices)}
    axes.axvline(0, color=GREY, lw=0.8, zorder=1)
    for i in place.values():
        axes.axhline(i, color=RULE, lw=0.8, zorder=0)
    for choice, rows in table.groupby("choice", sort=False):
        known = rows[rows[f"{of.name}_effect"].notna()]
        y = place[str(choice)]
        for row in known.to_dict("records"):
            ends = row[f"{of.name}_low"], row[f"{of.name}_high"]
            tint = colour[row["choice"], row["option"]]
            if np.isfinite(ends).all():
                axes.plot(ends, (y, y), color=tint, lw=1.1, alpha=0.5, zorder=2, solid_capstyle="butt")
            axes.plot(row[f"{of.name}_effect"], y, "o", ms=5.2, color=tint, mec="white", mew=0.5, zorder=3)
        _name_ends(axes, known, of, y)
    axes.set_ylim(len(choices) - 0.4, -0.6)
    axes.set_yticks(range(len(choices)), [drawable(c) for c in choices] if labelled else [""] * len(choices))
    axes.tick_params(axis="y", length=0, labelsize=8.5, colors=INK)
    axes.tick_params(axis="x", labelsize=8, colors=GREY)
    label = Axis(of.name, of.unit).label
    axes.set_title(drawable(f"{label}: {KINDS[of.kind]}"), loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel("difference to the mean over the options", fontsize=8.5, color=GREY)
    axes.margins(x=0.16)
    _large_numbers(axes, table[f"{of.name}_effect"])
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _large_numbers(axes: Axes, values: pd.Series) -> None:
    """Write the x axis of counts as 20 M, not with a power of ten in a corner."""
    from matplotlib.ticker import EngFormatter

    if float(values.abs().max()) >= 1e4:
        axes.xaxis.set_major_formatter(EngFormatter())


def _name_ends(axes: Axes, rows: pd.DataFrame, of: EffectOf, y: int) -> None:
    """The names of the options of least and greatest effect, where they differ, outside of their intervals."""
    if len(rows) < 2:
        return
    effect = rows[f"{of.name}_effect"]
    if not effect.max() > effect.min():
        return
    for i, end, offset, side in ((effect.idxmin(), "low", -3, "right"), (effect.idxmax(), "high", 3, "left")):
        at = rows.loc[i, f"{of.name}_{end}"]
        at = rows.loc[i, f"{of.name}_effect"] if not np.isfinite(at) else at
        axes.annotate(
            drawable(_short(str(rows.loc[i, "option"]))), (float(at), y), xytext=(offset + np.sign(offset) * 2, 0),
            textcoords="offset points", ha=side, va="center", fontsize=6.8, color=GREY,
        )  # fmt: skip


def _short(text: str, most: int = 16) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _trade(
    axes: Axes,
    table: pd.DataFrame,
    trade: tuple[EffectOf, EffectOf],
    colour: dict[tuple[str, str], Any],
    rows_high: bool,
) -> None:
    """Every option against the cheapest one of its choice: what it gains for what it costs."""
    gain, cost = trade
    x, y = table[f"{cost.name}_over_cheapest"], table[f"{gain.name}_over_cheapest"]
    kept = table[x.notna() & y.notna() & ((x > 0) | (y != 0))]
    x, y = x[kept.index], y[kept.index]
    tints = [colour[c, o] for c, o in zip(kept["choice"], kept["option"], strict=True)]
    axes.axhline(0, color=GREY, lw=0.8, zorder=1)
    axes.axvline(0, color=GREY, lw=0.8, zorder=1)
    axes.scatter(x, y, c=tints, s=26, edgecolors="white", linewidths=0.5, zorder=3)
    spent = float((x * x).sum())
    if spent > 0:
        slope = float((x * y).sum()) / spent
        across = np.array([0.0, float(x.max())])
        many, word = next(((size, word) for size, word in LARGE if float(x.max()) >= size), (1.0, ""))
        said = f"on average {number(slope * many)} {gain.unit or gain.name} per {word}{cost.unit or cost.name}"
        axes.plot(across, slope * across, color=GREY, lw=1, ls=(0, (4, 3)), zorder=2, label=drawable(said))
        axes.legend(loc="best", fontsize=8, frameon=False)
        _name_far(axes, kept, x, y, slope)
    title = "Worth their cost? Each option beside the cheapest of its choice"
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel(drawable(f"more {Axis(cost.name, cost.unit).label}"), fontsize=9, color=INK)
    axes.set_ylabel(drawable(f"gained {Axis(gain.name, gain.unit).label}"), fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=GREY)
    _large_numbers(axes, table[f"{cost.name}_effect"])
    axes.margins(0.12)
    if rows_high:  # beside many rows it would be a column
        axes.set_box_aspect(1.0)
        axes.set_anchor("N")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)


def _name_far(axes: Axes, rows: pd.DataFrame, x: pd.Series, y: pd.Series, slope: float) -> None:
    """Name the options that are farthest from the average exchange, no two of them in one place."""
    wide, tall = max(float(np.ptp(x)), 1e-12), max(float(np.ptp(y)), 1e-12)
    distance = ((y - slope * x).abs() / tall).sort_values(ascending=False)
    taken: list[tuple[float, float]] = []
    named: set[str] = set()
    for i in distance.index:
        at = float(x[i]) / wide, float(y[i]) / tall
        if str(rows.loc[i, "choice"]) in named or any(abs(at[0] - a) < 0.3 and abs(at[1] - b) < 0.05 for a, b in taken):
            continue
        taken.append(at)
        named.add(str(rows.loc[i, "choice"]))
        left = at[0] > 0.6 * float(x.max()) / wide
        axes.annotate(
            drawable(f"{rows.loc[i, 'choice']}: {_short(str(rows.loc[i, 'option']))}"), (float(x[i]), float(y[i])),
            xytext=(-5 if left else 5, 3), textcoords="offset points", ha="right" if left else "left", fontsize=7.2,
            color=INK,
        )  # fmt: skip
        if len(taken) == NAMED:
            break
