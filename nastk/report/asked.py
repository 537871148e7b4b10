"""A stored study asked for its front under other limits, or in other objectives: from its history alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.errors import InvalidValue, UnknownName
from nastk.evaluation import Record
from nastk.report.chart import Chart, Point, Value
from nastk.report.front import interval, options_of
from nastk.report.front_table import ADDED, headings
from nastk.report.stored import chart_of_stored, choices_of_identity, front_of_stored, space_of, text_of
from nastk.search.base import Constraint
from nastk.studies import Goal, StoredStudy, read_study, studies

if TYPE_CHECKING:
    import pandas as pd

SOURCES = {"estimate": "predicted"}
"""What the column ``<name>_source`` calls a kind of value, where the words differ."""


@dataclass(frozen=True)
class StudyFront:
    """The answer.

    Args:
        study: its name.
        chart: the front and the other architectures that were evaluated, with notes.
        table: one row an architecture of the front, with the columns of ``front.csv``.
        feasible: whether the front keeps the constraints.
    """

    study: str
    chart: Chart
    table: pd.DataFrame
    feasible: bool

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table, whole or not at all."""
        from nastk.files import write_text

        write_text(path, self.table.to_csv(index=False))

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the rows of the table as a list of objects, whole or not at all."""
        from nastk.report.rows import write_json
        from nastk.result import rows_of

        write_json(path, rows_of(self.table))


@dataclass(frozen=True)
class Question:
    """What is asked of a study.

    Args:
        found: the study.
        goals: the objectives that the front is of.
        limits: on any objectives of the study.
    """

    found: StoredStudy
    goals: list[Goal]
    limits: list[Constraint]


def question(
    storage: str | os.PathLike[str],
    study: str | None = None,
    constraints: Sequence[str] | str | None = None,
    objectives: Sequence[str] | str = (),
) -> Question:
    """Arguments and errors as of :func:`nastk.front`."""
    found = read_study(storage, _only(storage) if study is None else study)
    asked = [constraints] if isinstance(constraints, str) else constraints
    named = [objectives] if isinstance(objectives, str) else list(objectives)
    names = [goal.name for goal in found.goals]
    wanted = [_called(name, names) for name in named] or names
    if again := next((name for name in wanted if wanted.count(name) > 1), None):
        raise InvalidValue(f"the objective {again} is asked for twice")
    limits = [Constraint.parse(text) for text in (found.constraints if asked is None else asked)]
    limits = [replace(limit, objective=_called(limit.objective, names)) for limit in limits]
    for limit in limits:
        limit.warn_of_fractions(next(goal.unit for goal in found.goals if goal.name == limit.objective))
    return Question(found, [next(goal for goal in found.goals if goal.name == name) for name in wanted], limits)


def _only(storage: str | os.PathLike[str]) -> str:
    there = [facts.name for facts in studies(storage)]
    if len(there) != 1:
        raise InvalidValue(f"say which study: --study {' or '.join(there)}" if there else "the database has no study")
    return there[0]


def _called(name: str, names: Sequence[str]) -> str:
    """The objective of this name; a metric alone stands for the only objective that is of it."""
    if name in names:
        return name
    alike = [other for other in names if other.startswith((f"{name}-", f"{name}:")) or other.endswith(f"_{name}")]
    if len(alike) == 1:
        return alike[0]
    raise UnknownName("objective of the study", name, names)


def known_front(asked: Question) -> StudyFront:
    """The front of what was evaluated or computed."""
    found, goals, limits = asked.found, asked.goals, asked.limits
    best, feasible = front_of_stored(found, goals, limits)
    name = {goal.name for goal in goals} | {limit.objective for limit in limits}
    shown = [goal for goal in found.goals if goal.name in name]
    text = text_of(found.facts.identity)
    records = _latest(found)
    points = {arch: Point(text(arch), _values(found, records, shown, arch)) for arch in found.archs}
    order = sorted(best, key=lambda arch: found.values(arch)[goals[-1].name])
    known = sum(all(goal.name in points[arch].shown for goal in shown) for arch in found.archs)
    notes = [f"{known} of the {len(found.archs)} architectures in the history have known values of {_and(shown)}."]
    if known < len(found.archs):
        notes[0] += " The others are left out."
    if limits and not feasible:
        bounds = ", ".join(map(str, limits))
        nearest = "; showing the least-violating architecture" if best else ""
        notes.append(f"Nothing in the history keeps {bounds}{nearest}.")
    chart = chart_of_stored(replace(found, goals=list(goals), constraints=[str(limit) for limit in limits]))
    chart = replace(
        chart,
        title=f"{chart.title}{''.join(f', {limit}' for limit in limits)}",
        front=[points[arch] for arch in order],
        evaluated=[p for arch, p in points.items() if arch not in set(best) and p.shown],
        notes=notes,
        feasible=feasible or not limits,
    )
    return StudyFront(found.facts.name, chart, _table(found, shown, order, points, records), chart.feasible)


def _and(goals: Sequence[Goal]) -> str:
    return " and ".join(goal.name.replace("_", " ") for goal in goals)


def _latest(found: StoredStudy) -> dict[tuple[tuple[int, ...], str], Record]:
    """The record of each value that :meth:`StoredStudy.values` has; a later measurement replaces one."""
    targets = {goal.name: goal.target for goal in found.goals}
    return {
        (r.arch, r.objective): r
        for r in sorted(found.records, key=lambda r: r.purpose == "verify")
        if r.purpose in ("search", "verify")  # and not of another seed
        if r.objective in targets and r.status == "ok" and r.fidelity in (None, targets[r.objective])
    }


def _values(
    found: StoredStudy,
    records: Mapping[tuple[tuple[int, ...], str], Record],
    goals: Sequence[Goal],
    arch: tuple[int, ...],
) -> dict[str, Value]:
    shown = {}
    for goal in goals:
        value, record = found.values(arch).get(goal.name), records.get((arch, goal.name))
        if value is not None:
            ends = (None, None) if record is None else interval(value, record.std) or (None, None)
            shown[goal.name] = Value(value, goal.kind if record is None else record.kind, *ends)
    return shown


def _table(
    found: StoredStudy,
    goals: Sequence[Goal],
    archs: Sequence[tuple[int, ...]],
    points: Mapping[tuple[int, ...], Point],
    records: Mapping[tuple[tuple[int, ...], str], Record],
) -> pd.DataFrame:
    import pandas as pd

    identity = found.facts.identity
    columns: dict[str, list[Any]] = {"arch": [points[arch].arch for arch in archs]}
    for goal in goals:
        values = [points[arch].shown[goal.name] for arch in archs]
        columns |= {
            goal.name: [v.value for v in values],
            f"{goal.name}_std": [r.std if (r := records.get((arch, goal.name))) else None for arch in archs],
            f"{goal.name}_source": [SOURCES.get(v.kind, v.kind) for v in values],
            f"{goal.name}_kind": [v.kind for v in values],
            f"{goal.name}_low": [v.low for v in values],
            f"{goal.name}_high": [v.high for v in values],
            f"{goal.name}_unit": [goal.unit] * len(values),
        }
    space, choices = space_of(identity), choices_of_identity(identity)
    taken = {"arch", "index", "violation"}
    taken |= {f"{goal.name}{end}" for goal in found.goals for end in ("", "_std", "_source", *ADDED)}
    if space is not None:
        options = options_of(space, np.array(archs, dtype=np.int64).reshape(-1, space.d))
    else:  # the code of a user's own space is not run: which of its choices matter is not known
        options = [[labels[1 + v] for labels, v in zip(choices, arch, strict=True)] for arch in archs if choices]
    for j, heading in enumerate(headings([labels[0] for labels in choices], taken)):
        columns[heading] = [row[j] for row in options]
    return pd.DataFrame(columns)
