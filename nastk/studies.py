"""The studies of a database, for those that look at them from outside: listed, read, tried again, deleted.

All of it may be done while a process runs the study, but for what would take something from under its feet.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import sqlalchemy as sa

from nastk.database import BEGUN, COMPUTED, LEASES, RECORDS, STATES, STUDIES, Database
from nastk.errors import StorageError, UnknownName
from nastk.evaluation import Key, Kind, Record
from nastk.lease import Holder, holder_of, refuse_held
from nastk.storage.rows import arch_of, number_or_none, records_of
from nastk.storage.state import move_state, stored_state, write_state

Answer = TypeVar("Answer")


class StudyFacts(NamedTuple):
    """One study of a database.

    Args:
        name: of the study.
        identity: see `nastk.identity`.
        evaluations: by objective, its own, failures included.
        failures: by objective and reason.
        holder: the process that runs it, as far as one can see; None where none does.
        last: when its last evaluation was recorded, seconds since 1970; None before the first.
    """

    name: str
    identity: dict[str, Any]
    evaluations: dict[str, int]
    failures: dict[tuple[str, str], int]
    holder: Holder | None = None
    last: float | None = None


@dataclass(frozen=True)
class Goal:
    """One objective of a stored study.

    Args:
        name, unit, direction: of the objective.
        source: where its values come from, for the reader.
        expensive: whether its values are records; else they are computed.
        kind: of its values.
        target: the fidelity that counts; None where the objective has none.
    """

    name: str
    unit: str = ""
    direction: Literal["min", "max"] = "min"
    source: str = ""
    expensive: bool = True
    kind: Kind = "measured"
    target: float | None = None


@dataclass(frozen=True)
class StoredStudy:
    """All that a database has of one study, at one moment.

    Args:
        facts: of the study.
        goals: its objectives.
        constraints: as texts.
        budget: evaluations by objective; empty for a study of an earlier version.
        records: oldest first.
        computed: values by architecture and objective of those that have no records.
        running: evaluations that have begun and are not recorded.
        about: what else the search said of itself: "search" is its description (`nastk.run.SearchDescription`).
    """

    facts: StudyFacts
    goals: list[Goal]
    constraints: list[str]
    budget: dict[str, int]
    records: list[Record]
    computed: dict[tuple[int, ...], dict[str, float]]
    running: list[Key] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def values(self, arch: tuple[int, ...]) -> dict[str, float]:
        """Known values of an architecture at the objectives' targets, by name; a later measurement replaces one."""
        return self._values.get(arch, {}) | self.computed.get(arch, {})

    @property
    def archs(self) -> list[tuple[int, ...]]:
        """Architectures in the order of their first records."""
        return list(dict.fromkeys(r.arch for r in self.records))

    @property
    def _values(self) -> dict[tuple[int, ...], dict[str, float]]:
        if "_found" not in self.__dict__:
            targets = {goal.name: goal.target for goal in self.goals}
            found: dict[tuple[int, ...], dict[str, float]] = {}
            known = [r for r in self.records if r.purpose in ("search", "verify")]  # and not of another seed
            for r in sorted(known, key=lambda r: r.purpose == "verify"):
                if r.objective in targets and r.status == "ok" and r.fidelity in (None, targets[r.objective]):
                    found.setdefault(r.arch, {})[r.objective] = r.value
            self.__dict__["_found"] = found
        values: dict[tuple[int, ...], dict[str, float]] = self.__dict__["_found"]
        return values


def studies(storage: str | os.PathLike[str]) -> list[StudyFacts]:
    """The studies of a database, in the order in which they were begun.

    Raises:
        StorageError: no such database, or it cannot be read.
    """

    def read(connection: sa.Connection) -> list[StudyFacts]:
        found = connection.execute(sa.select(STUDIES).order_by(STUDIES.c.id)).all()
        return [_facts(connection, row) for row in found]

    return _reading(storage, read)


def _facts(connection: sa.Connection, row: Any) -> StudyFacts:
    groups = (RECORDS.c.objective, RECORDS.c.purpose, RECORDS.c.status, RECORDS.c.reason)
    mine = (RECORDS.c.study == row.id) & (RECORDS.c.origin == "")
    first, last = sa.func.min(RECORDS.c.id), sa.func.max(RECORDS.c.time)
    counted = sa.select(*groups, sa.func.count(), last).where(mine).group_by(*groups).order_by(first)
    evaluations: Counter[str] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    times = []
    for objective, purpose, status, reason, count, when in connection.execute(counted).all():
        times.append(when)
        evaluations[objective] += count if purpose == "search" else 0
        failures[objective, reason] += count if status == "failed" else 0
    holder = holder_of(connection, row.id)
    return StudyFacts(
        row.name, json.loads(row.config), dict(+evaluations), dict(+failures),
        None if holder is None or holder.is_gone else holder, max(times, default=None),
    )  # fmt: skip


def find_study(storage: str | os.PathLike[str], study: str) -> StudyFacts:
    """One study of a database; errors as of :func:`studies`.

    Raises:
        UnknownName: no such study.
    """
    return _reading(storage, lambda connection: _facts(connection, _row(connection, study)))


def read_study(storage: str | os.PathLike[str], study: str) -> StoredStudy:
    """All that a database has of one study; errors as of :func:`find_study`."""

    def read(connection: sa.Connection) -> StoredStudy:
        row = _row(connection, study)
        facts = _facts(connection, row)
        about = json.loads(row.about) if row.about else {}
        computed: dict[tuple[int, ...], dict[str, float]] = {}
        for of in connection.execute(sa.select(COMPUTED).where(COMPUTED.c.study == row.id)).all():
            computed.setdefault(arch_of(of.arch), {})[of.objective] = of.value
        begun = connection.execute(sa.select(BEGUN).where(BEGUN.c.study == row.id, BEGUN.c.running == 1)).all()
        run = None if facts.holder is None else facts.holder.run
        return StoredStudy(
            facts,
            [Goal(**goal) for goal in about["goals"]] if "goals" in about else _goals(facts.identity),
            list(facts.identity.get("constraints", [])),
            dict(about.get("budget", {})),
            records_of(connection, row.id),
            computed,
            [(arch_of(b.arch), b.objective, number_or_none(b.fidelity), b.purpose) for b in begun if b.run == run],
            about,
        )

    return _reading(storage, read)


def _goals(identity: dict[str, Any]) -> list[Goal]:
    """The objectives of a study of an earlier version, which did not keep their units."""
    goals = []
    for of in identity.get("objectives", []):
        if isinstance(of, dict):
            goals.append(Goal(of["name"], direction=of["direction"], target=of.get("fidelity")))
        else:
            goals.append(Goal(of[0], direction=of[1], target=of[2]))
    return goals


def retry(storage: str | os.PathLike[str], study: str) -> int:
    """Forget the failed evaluations of a study, and propose them again at its next run.

    Returns:
        How many there were.

    Raises:
        UnknownName: no such study.
        StudyHeld: a process runs it.
        StorageError: no such database, or it cannot be used.
    """

    def forget(connection: sa.Connection, row: Any) -> int:
        move_state(connection, row)
        failed = (RECORDS.c.study == row.id) & (RECORDS.c.status == "failed")
        records = connection.execute(sa.select(RECORDS).where(failed).order_by(RECORDS.c.id)).all()
        stored = stored_state(connection, row.id)
        texts = {name: value.text for name, value in stored.items()}
        skipped = {tuple(arch): names for arch, names in json.loads(texts.pop("skipped", "[]"))}
        again = []
        for r in records:
            if r.purpose == "search":
                arch = list(arch_of(r.arch))
                again.append([arch, [r.objective, *skipped.get(tuple(arch), ())], number_or_none(r.fidelity)])
        texts["retry"] = json.dumps(again + json.loads(texts.get("retry", "[]")))
        write_state(connection, row.id, stored, texts)
        connection.execute(sa.delete(RECORDS).where(failed))
        connection.execute(sa.delete(BEGUN).where(BEGUN.c.study == row.id))
        return len(records)

    return _changing(storage, study, "change", forget)


def delete(storage: str | os.PathLike[str], study: str) -> int:
    """Delete a study, its evaluations included. Other studies keep what they took over from it.

    Returns:
        How many evaluations it had.

    Raises:
        UnknownName: no such study.
        StudyHeld: a process runs it.
        StorageError: no such database, or it cannot be used.
    """

    def remove(connection: sa.Connection, row: Any) -> int:
        own = (RECORDS.c.study == row.id) & (RECORDS.c.origin == "")
        count = connection.execute(sa.select(sa.func.count()).select_from(RECORDS).where(own)).scalar_one()
        for table in (RECORDS, BEGUN, STATES, COMPUTED, LEASES):
            connection.execute(sa.delete(table).where(table.c.study == row.id))
        connection.execute(sa.delete(STUDIES).where(STUDIES.c.id == row.id))
        return int(count)

    return _changing(storage, study, "delete", remove)


def _row(connection: sa.Connection, study: str) -> Any:
    known = {name: row for row, name in connection.execute(sa.select(STUDIES.c.id, STUDIES.c.name)).all()}
    if study not in known:  # asked of the database, a name that it cannot encode would be an error of its driver
        raise UnknownName("study", study, known)
    return connection.execute(sa.select(STUDIES).where(STUDIES.c.id == known[study])).one()


def _reading(storage: str | os.PathLike[str], work: Callable[[sa.Connection], Answer]) -> Answer:
    with closing(_existing(storage)) as found:
        return found.read(work)


def _changing(
    storage: str | os.PathLike[str], study: str, what: str, work: Callable[[sa.Connection, Any], Answer]
) -> Answer:
    """Do something with the row of a study that no process runs."""

    def change(connection: sa.Connection) -> Answer:
        row = _row(connection, study)
        refuse_held(connection, row.id, study, what)
        return work(connection, row)

    with closing(_existing(storage)) as found:
        return found.within(change)


def _existing(storage: str | os.PathLike[str]) -> Database:
    found = Database(storage)
    if found.file is not None and not found.file.is_file():
        raise StorageError(f"no database {found.shown}")
    found.create()
    return found
