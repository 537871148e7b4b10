"""The front of a stored study under other limits, or in other objectives, with predictions where they are wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nastk.errors import InvalidValue, NastkError
from nastk.report.asked import Question, StudyFront, known_front, question
from nastk.report.front import chart_of
from nastk.report.front_table import front_table
from nastk.run.reopening import description_of, reopen


def front(
    storage: str | os.PathLike[str],
    study: str | None = None,
    constraints: Sequence[str] | str | None = None,
    objectives: Sequence[str] | str = (),
    predict: bool = False,
    space: str | None = None,
) -> StudyFront:
    """The front of a stored study, from what its search and others whose evaluations it took over know.

    No searcher runs, nothing is trained or measured: an answer takes a moment.

    Args:
        storage: URL of the database, or path of a SQLite file.
        study: its name there; may be left out where there is one alone.
        constraints: such as ``latency<=5``, on any objective of the study, instead of those of its search.
        objectives: names of those that the front is of; by default all.
        predict: also by the predictors of its searcher, which learn again from the history: architectures of which
            something expensive is unknown are then in the front by estimates, and called so.
        space: with `predict`, where the space is now, if its file has moved: ``file.py:Class``.

    Raises:
        StorageError: no such database.
        UnknownName: no such study or objective.
        InvalidValue: a constraint that cannot be read; several studies and none named; with `predict`, a search of
            objects that cannot be made again from their description.

    Example::

        >>> nastk.front("sqlite:///runs.db", constraints="latency<=5").table
    """
    asked = question(storage, study, constraints, objectives)
    if predict:
        return _predicted(asked, space)
    if space is not None:
        raise InvalidValue("the space is made for predictions alone; leave it out, or ask for them")
    return known_front(asked)


def _predicted(asked: Question, space: str | None) -> StudyFront:
    found, limits = asked.found, asked.limits
    names = [goal.name for goal in asked.goals]
    if unasked := next((limit for limit in limits if limit.objective not in names), None):
        raise InvalidValue(f"predictions are made of the objectives that are asked for: add {unasked.objective}")
    description = description_of(found.about, found.facts.name)
    budget = description.budget
    description = replace(
        description,
        space=space or description.space,
        objectives=tuple(e for name in names for e in description.objectives if e["name"] == name),
        predictors={name: model for name, model in description.predictors.items() if name in names},
        budget={n: count for n, count in budget.items() if n in names} if isinstance(budget, Mapping) else budget,
    )
    records = [r for r in found.records if r.objective in names]
    try:
        result = reopen(description, records, constraints=[str(limit) for limit in limits])
    except NastkError as error:
        raise InvalidValue(f"study {found.facts.name!r} cannot be predicted: {error}") from error
    bounds = ", ".join(str(limit) for limit in limits)
    notes = [f"Nothing that keeps {bounds} is known or predicted; showing the least-violating architecture."]
    chart = chart_of(result, notes=notes if limits and not result.feasible else [])
    return StudyFront(found.facts.name, chart, front_table(result), chart.feasible)
