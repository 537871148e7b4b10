"""The front as a table for spreadsheets: values with kind, interval and unit, and one column a choice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from nastk.report.front import choices_of, interval, options_of, predicted_ends

if TYPE_CHECKING:
    import pandas as pd

    from nastk.result import Result

KIND_OF = {"predicted": "estimate"}
"""Kinds of values by what ``<name>_source`` says, where the words differ."""

ADDED = ("_kind", "_low", "_high", "_unit")
"""Ends of the names of columns that the table has beside those of the front."""

MARK = "choice "
"""Before the name of a choice whose column would otherwise be called like another one."""


def front_table(result: Result) -> pd.DataFrame:
    """One row an architecture of the front; more columns than :attr:`nastk.Result.front`.

    Beside its columns there are, for each objective, ``<name>_kind`` ("measured", "table", "estimate" or "computed"),
    ``<name>_low`` and ``<name>_high``, the ends of a 95 % interval (empty where none is known; of a prediction those of
    :func:`nastk.report.front.predicted_ends`), and ``<name>_unit``; then one column for each choice with the option's
    label, empty where the choice makes no difference to the network (:meth:`nastk.SearchSpace.active`).
    """
    import pandas as pd

    front = result.front
    archs = result.space.as_archs(list(front["arch"]))
    believed = predicted_ends(result.searcher, archs)
    units = {o.name: o.unit for o in result.objectives}
    columns: dict[str, Any] = {}
    for name in front.columns:
        columns[name] = front[name]
        objective = str(name).removesuffix("_source")
        if objective in units and name != objective:
            ends = list(map(interval, front[objective], front[f"{objective}_std"]))
            if objective in believed:
                known = zip(front[name], believed[objective], ends, strict=True)
                ends = [learned if source == "predicted" else measured for source, learned, measured in known]
            columns[f"{objective}_kind"] = [KIND_OF.get(source, source) for source in front[name]]
            columns[f"{objective}_low"] = [None if e is None else e[0] for e in ends]
            columns[f"{objective}_high"] = [None if e is None else e[1] for e in ends]
            columns[f"{objective}_unit"] = units[objective]
    options = options_of(result.space, archs)
    columns |= {heading: [row[j] for row in options] for j, heading in enumerate(_headings(result))}
    return pd.DataFrame(columns)


def front_rows(result: Result) -> list[dict[str, Any]]:
    """The rows of :attr:`nastk.Result.front` for JSON, with ``<name>_kind``, ``<name>_low`` and ``<name>_high`` as of
    :func:`front_table`, and ``choices``: the label of each choice that makes a difference, by name."""
    from nastk.result import rows_of

    units = [f"{o.name}_unit" for o in result.objectives]
    table = front_table(result).drop(columns=[*units, *_headings(result)])
    choices = choices_of(result.space, result.space.as_archs(list(table["arch"])))
    return [{**row, "choices": of} for row, of in zip(rows_of(table), choices, strict=True)]


def headings(choices: Sequence[str], taken: Collection[str]) -> list[str]:
    """Columns of choices: their names, with :data:`MARK` before one that is `taken`, and a number behind one that comes
    again."""
    found: list[str] = []
    for name in choices:
        plain = name if name not in taken else f"{MARK}{name}"
        numbered = (f"{plain} ({i})" for i in range(2, len(choices) + len(taken) + 3))
        used = {*taken, *found}
        found.append(plain if plain not in used else next(n for n in numbered if n not in used))
    return found


def heading_notes(result: Result) -> list[str]:
    """Which choices have another heading than their name in the table, in words; nothing where none has."""
    names = [c.name for c in result.space.choices]
    renamed = [(n, h) for n, h in zip(names, _headings(result), strict=True) if n != h]
    return [f"In front.csv the choice {n!r} is the column {h!r}: the other name is taken." for n, h in renamed]


def _headings(result: Result) -> list[str]:
    """Columns of the choices; names of values are taken whether or not this front has such a column."""
    values = [f"{o.name}{end}" for o in result.objectives for end in ("", "_std", "_source", *ADDED)]
    return headings([c.name for c in result.space.choices], {"arch", "index", "violation", *values})
