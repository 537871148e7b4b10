"""Terminal tables."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from nastk.report.rows import columns, numeric
from nastk.report.text import printable

GAP = 3
"""Spaces between two columns."""

SHORTEST = 10
"""A column that may be cut keeps as many characters."""


def show(
    rows: Sequence[Mapping[str, Any]],
    title: str | None = None,
    file: IO[str] | None = None,
    shorten: Sequence[str] = (),
) -> None:
    """Print rows as a table, with the columns of all rows; numbers to the right.

    Texts are shown as :func:`nastk.report.text.printable` has them, with no markup read in them.

    Args:
        rows: at least one; floats are shown with four significant digits, NaN and None as a dash.
        title: a line above.
        file: by default standard output; where that is no terminal, lines are as long as they need to be.
        shorten: columns that may be cut on a narrow terminal (the others wrap).
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = sys.stdout if file is None else file
    console = Console(file=out, highlight=False, width=None if out.isatty() else 10_000)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=None)
    headings = columns(rows)
    cells = {heading: [cell(row.get(heading)) for row in rows] for heading in headings}
    # No narrower than its values and the words of its heading: a number that is cut is another number.
    least = {h: max(map(len, [*cells[h], *printable(h).split()]), default=1) for h in headings}
    room = console.width - GAP * (len(headings) - 1) - sum(least[h] for h in headings if h not in shorten)
    for heading in headings:
        numbers = numeric(rows, heading)
        cut = heading in shorten
        table.add_column(
            Text(printable(heading)),
            justify="right" if numbers else "left",
            overflow="ellipsis" if cut else "fold",
            no_wrap=cut,
            min_width=least[heading] if numbers else None,
            max_width=max(room // len(shorten), SHORTEST) if cut else None,
        )
    for texts in zip(*cells.values(), strict=True):
        table.add_row(*map(Text, texts))
    if title:
        console.print(Text("\n".join(map(printable, title.split("\n"))), style="bold"))
    console.print(table)


def cell(value: Any) -> str:
    """One value as people read it, on one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,d}" if abs(value) >= 10_000 else str(value)
    return printable(str(value))


def number(value: float) -> str:
    """Four significant digits, without exponents for everyday sizes."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 3 - math.floor(math.log10(abs(value)))
    if digits < -6 or digits > 8:
        return f"{value:.3e}"
    return f"{value:,.{max(digits, 0)}f}" if digits >= 0 else f"{round(value):,d}"
