"""A stored study as a study of Optuna, which its dashboard and other tools open."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nastk.database import Database, without_password
from nastk.errors import InvalidValue, StorageError
from nastk.evaluation import Record
from nastk.report.stored import text_of
from nastk.search.base import Constraint
from nastk.studies import StoredStudy, read_study

if TYPE_CHECKING:
    import optuna

MARK = "nastk_study"
"""User attribute of a study that was made here, and may be replaced by a later export."""


def export(storage: str | os.PathLike[str], study: str, to: str, name: str | None = None) -> dict[str, int]:
    """Copy a study, finished or running, into an Optuna storage; an earlier copy of it there is replaced.

    One trial for each architecture, with one categorical parameter for each choice. It is complete where all objectives
    are known, failed where one failed, and pruned where there is something, but not all: values at lower fidelities,
    or some objectives only (those of a predictor are no evaluations, and are left out). Values at lower fidelities are
    intermediate values where one objective has them. User attributes have what else is known: the architecture as text,
    values of incomplete trials, reasons of failures, seconds that evaluations took.

    Args:
        storage, study: the study of nastk.
        to: SQLAlchemy URL of the Optuna storage, made where there is none.
        name: of the study there; by default the same.

    Returns:
        Number of trials by state.

    Raises:
        StorageError: a database that cannot be used.
        InvalidValue: there is a study of this name that is no export of this one, or this one has no objectives.
    """
    import optuna

    found = read_study(storage, study)
    if not found.goals:
        raise InvalidValue(f"study {study!r} has no objectives, and cannot be exported")
    target = Database(to)  # what it refuses is refused with a cure
    target.close()
    name = study if name is None else name
    trials = list(_trials(found))
    with _quiet():
        try:
            place = optuna.storages.RDBStorage(target.url)
            known = {s.study_name: s for s in optuna.get_all_study_summaries(place, include_best_trial=False)}
            if name in known:
                if known[name].user_attrs.get(MARK) != study:
                    raise InvalidValue(
                        f"{target.shown} has a study {name!r} that is no export of this one; give another --name"
                    )
                optuna.delete_study(study_name=name, storage=place)
            way = optuna.study.StudyDirection
            directions = [way.MINIMIZE if goal.direction == "min" else way.MAXIMIZE for goal in found.goals]
            made = optuna.create_study(storage=place, study_name=name, directions=directions)
            made.set_user_attr(MARK, study)
            made.set_user_attr("space", str(found.facts.identity.get("space")))
            made.set_user_attr("searcher", str(found.facts.identity.get("searcher")))
            made.set_metric_names([goal.name for goal in found.goals])
            made.add_trials(trials)
        except (optuna.exceptions.OptunaError, ImportError) as error:
            reason = without_password((str(error).splitlines() or [type(error).__name__])[0])
            raise StorageError(f"cannot write to the Optuna storage {target.shown}: {reason}") from error
    return dict(Counter(trial.state.name.lower() for trial in trials))


def _trials(found: StoredStudy) -> Iterator[optuna.trial.FrozenTrial]:
    from optuna.distributions import CategoricalDistribution

    choices = found.facts.identity.get("choices", [])
    text = text_of(found.facts.identity)
    constraints = [Constraint.parse(c) for c in found.constraints]
    by_arch: dict[tuple[int, ...], list[Record]] = {}
    for record in found.records:
        by_arch.setdefault(record.arch, []).append(record)
    for arch, records in by_arch.items():
        named = choices if len(choices) == len(arch) else [[f"choice {i}", *range(v + 1)] for i, v in enumerate(arch)]
        distributions = {str(choice): CategoricalDistribution(options) for choice, *options in named}
        params = {str(choice): options[value] for (choice, *options), value in zip(named, arch, strict=True)}
        yield _trial(found, records, found.values(arch), params, distributions, text(arch), constraints)


def _trial(
    found: StoredStudy,
    records: list[Record],
    values: dict[str, float],
    params: dict[str, Any],
    distributions: dict[str, Any],
    text: str,
    constraints: list[Constraint],
) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    names = [goal.name for goal in found.goals]
    targets = {goal.name: goal.target for goal in found.goals}
    failed = {r.objective: r.reason for r in records if r.status == "failed" and r.objective not in values}
    lower = [r for r in records if r.objective in names and r.fidelity not in (None, targets[r.objective])]
    at = {r.objective for r in found.records if r.fidelity not in (None, targets.get(r.objective))}
    complete = all(name in values for name in names)
    attributes: dict[str, Any] = {"arch": text}
    attributes |= {} if complete else values
    attributes |= {f"{name} failed": reason for name, reason in failed.items()}
    attributes |= {f"{r.objective} seconds": r.cost for r in records if math.isfinite(r.cost)}
    ok = [r for r in lower if r.status == "ok"]
    steps = {round(r.fidelity or 0): r.value for r in ok} if len(at) == 1 else {}
    attributes |= {} if steps else {f"{r.objective}@{r.fidelity:g}": r.value for r in ok}
    known = [c for c in constraints if c.objective in values]
    trial = create_trial(
        state=TrialState.COMPLETE if complete else TrialState.FAIL if failed else TrialState.PRUNED,
        values=[values[name] for name in names] if complete else None,
        params=params,
        distributions=distributions,
        user_attrs=attributes,
        intermediate_values=steps,
        constraints={str(c): (values[c.objective] - c.bound) * (1 if c.relation == "<=" else -1) for c in known},
    )
    ended = [datetime.fromtimestamp(r.time) for r in records]
    first = records[0].cost if math.isfinite(records[0].cost) and not records[0].study else 0.0
    trial.datetime_complete = max(ended)
    trial.datetime_start = min(datetime.fromtimestamp(records[0].time - first), trial.datetime_complete)
    return trial


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines on what it makes, and its word on what is experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
