"""Whether values can be what their column says: impossible ones are refused, improbable ones named with the cure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.data import units
from nastk.data.tables import Column
from nastk.errors import DataError

Values = NDArray[np.float64]
Where = Callable[[int], str]
"""File, line and column of a row's value, for messages."""

KINDS_OF_UNITS = ("latency", "energy")
"""Kinds whose values are often written in another unit than they are taken for."""
FAR = 10.0
"""How many times above or below all other columns the median of one may be. Seconds taken for milliseconds are 1,000
times off, and the devices of a table differ by a factor of 30, so that 100 would let fast devices' seconds pass."""
GAP = 30.0
"""Ratio of two neighbours among the sorted values of one column above which they are perhaps in two units. The largest
in the public tables is 5; a few networks of a phone, with hardly any operation, reach hundreds in a sample of ten."""
PART = 0.1
"""Least share of the median percentage that a fraction taken as a percentage may stand for."""
ROOM = 10.0
"""Points by which it may be better than the best percentage; chance level, taken for a fraction, is far better."""
SHORTEST = 1e-3
"""Milliseconds, that is 1 microsecond: a processor needs longer to start a network of a single layer."""
NAMED = 3
"""Most places that one warning names."""


def bounds(column: Column) -> tuple[float, float, str]:
    """Least and greatest value that a column can hold (a least value of 0 is left out where it must be positive)."""
    if column.kind == "accuracy" and column.unit == "%":
        return 0.0, 100.0, "0 to 100 %"
    if column.kind in KINDS_OF_UNITS:
        return np.nextafter(0.0, 1.0), np.finfo(np.float64).max, "positive and finite"
    if column.kind in ("count", "seconds"):
        return 0.0, np.finfo(np.float64).max, "finite, 0 or more"
    return -np.finfo(np.float64).max, np.finfo(np.float64).max, "finite"


def check_possible(column: Column, values: Values, where: Where) -> None:
    """Refuse a value that the column cannot hold; NaN is an unknown value.

    Raises:
        DataError: with the place of the first such value, and what would be right.
    """
    low, high, right = bounds(column)
    wrong = (values < low) | (values > high)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{where(row)}: {values[row]:g} cannot be {column.metric} ({right})")


def doubts(column: Column, values: Values, where: Where, known: Values | None = None) -> list[str]:
    """Warnings about values that are possible and yet probably in another unit than the column's.

    Args:
        column: what they are taken for.
        values: ``(n,)``, NaN where unknown.
        where: their places.
        known: a typical value, in the same unit, of each other device (or the like) on these architectures, ``(m,)``.
    """
    there = np.flatnonzero(~np.isnan(values))
    if not len(there):
        return []
    if column.kind == "accuracy" and column.unit == "%":
        return _fractions(column, values, there, where)
    if column.kind in KINDS_OF_UNITS:
        first = where(int(there[0]))
        far = _far(column, values[there], first, known) or _too_short(column, values[there], first)
        return [*_two_units(column, values, there, where), *far]
    return []


def _fractions(column: Column, values: Values, there: NDArray[np.int64], where: Where) -> list[str]:
    small = there[(values[there] > 0) & (values[there] <= 1)]
    large = values[there[values[there] > 1]]
    if not len(small):
        return []
    cure = "if they are fractions, write percentages or say so, --column NAME:metric:fraction"
    if not len(large):
        return [
            f"{where(int(small[0]))}: no value of {column.metric} is above 1, though they are taken for percentages; "
            + cure
        ]
    # chance level is 1 % or less on data sets of many classes: a hundred times that would be the best network by far
    scaled = 100 * values[small]
    alike = small[(scaled >= PART * np.median(large)) & (scaled <= large.max() + ROOM)]
    if not len(alike):
        return []
    return [f"{_places(alike, values, where)}: percentages and perhaps fractions in one column; {cure}"]


def _two_units(column: Column, values: Values, there: NDArray[np.int64], where: Where) -> list[str]:
    order = there[np.argsort(values[there], kind="stable")]
    with np.errstate(over="ignore"):
        ratios = values[order[1:]] / values[order[:-1]]
    if not len(ratios) or ratios.max() < GAP:
        return []
    cut = int(np.argmax(ratios)) + 1
    below, above = order[:cut], order[cut:]
    odd = np.sort(below if len(below) < len(above) else above)
    with np.errstate(over="ignore"):
        ratio = float(np.median(values[above]) / np.median(values[below]))
    side = "below" if len(below) < len(above) else "above"
    return [
        f"{_places(odd, values, where)}: {column.metric} about {_round(ratio)} times {side} the rest of the file; "
        f"{'is it' if len(odd) == 1 else 'are they'} in {column.unit} too?"
    ]


def _far(column: Column, values: Values, first: str, known: Values | None) -> list[str]:
    known = np.empty(0) if known is None else known[np.isfinite(known) & (known > 0)]
    if not len(known):
        return []
    middle = float(np.median(values))
    low, high = float(known.min()), float(known.max())
    if low / FAR <= middle <= high * FAR:
        return []
    ratio, side = (low / middle, "below") if middle < low else (middle / high, "above")
    unit = column.unit
    return [
        f"{first}: the values ({middle:g} {unit} in the middle) are {_round(ratio)} times {side} all that is known of "
        f"other devices ({low:.3g} to {high:.3g} {unit}); are they in {unit}? Another unit is converted if the heading "
        "names it, such as lat_us or lat_s"
    ]


def _too_short(column: Column, values: Values, first: str) -> list[str]:
    scale = units.factor("latency", column.unit) if column.kind == "latency" else None
    if scale is None or scale * float(values.max()) >= SHORTEST:
        return []
    return [
        f"{first}: every latency is below 1 microsecond (the greatest is {values.max():g} {column.unit}), which hardly "
        "any network reaches; if they are seconds, name the column lat_s, and they are converted"
    ]


def _places(rows: Sequence[int] | NDArray[np.int64], values: Values, where: Where) -> str:
    named = [f"{where(int(row))} ({values[int(row)]:g})" for row in rows[:NAMED]]
    rest = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return "; ".join(named) + rest


def _round(ratio: float) -> str:
    """A ratio with one digit that counts."""
    if ratio > 1e15:
        return "10^" + f"{min(ratio, 1e300):.0e}".partition("e+")[2]
    return f"{float(f'{ratio:.0e}'):,.0f}"
