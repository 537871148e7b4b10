"""Histories in a database: SQLite for one machine, PostgreSQL for a group.

A database holds many studies. A study has a name and an identity (space, objectives, constraints, searcher, random
seed ...), and the records of its evaluations. An evaluation has an identity too: what another study of the same
database evaluated on the same space with the same oracle is taken over, and counts against no budget.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from nastk import database
from nastk.database import BEGUN, KEY, RECORDS, STUDIES, Database
from nastk.errors import InvalidValue, StorageError, UnknownName
from nastk.evaluation import Identity, Key, Kind, Record
from nastk.files import is_mine, is_running, write_text
from nastk.history import History

STUDY = "nastk"
"""Name of a study that is given none; a further one is called ``nastk-2``, and so on."""

HOST = socket.gethostname()
"""This machine, on which one can see whether a process is still there."""

DEATHS = 2
"""An evaluation during which its process ended this often is failed: once may be a machine that went down."""


class DurableHistory(History):
    """A history whose records are committed to a database before `add` returns.

    See :func:`open_history` for arguments and errors.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str],
        study: str | None,
        config: dict[str, Any],
        identities: Mapping[str, Identity],
        earlier: dict[str, Any] | None,
    ):
        super().__init__()
        self._database = Database(storage)
        self.storage = self.place = self._database.shown
        self.networks = self._database.networks
        self._identities = dict(identities)
        self._run = uuid4().hex
        self._database.create()
        self._id, self.study = self._database.within(
            lambda c: self._open(c, study, config, earlier), races=database.RACES
        )
        self._deaths: dict[Key, int] = {}
        self._take_in()
        self._database.within(self._take_over)
        self._load()
        self._bury()

    # ---- opening

    def _open(
        self, connection: sa.Connection, study: str | None, config: dict[str, Any], earlier: dict[str, Any] | None
    ) -> tuple[int, str]:
        """Row and name of the study: the named one, or that with this identity; created where there is none."""
        studies = {row.name: row for row in connection.execute(sa.select(STUDIES).order_by(STUDIES.c.id))}
        if study is None:
            names = [n for n in studies if re.fullmatch(rf"{STUDY}(-\d+)?", n)]
            name = next((n for n in names if _same(studies[n], config, earlier)), None) or _free(STUDY, studies)
        else:
            name = study
        found = studies.get(name)
        if found is not None and not _same(found, config, earlier):
            raise InvalidValue(
                f"study {name!r} in {self.storage} was begun with other settings "
                f"({_differences(json.loads(found.config), config)}); use those, or another study name"
            )
        if found is not None:
            if json.loads(found.config) != config:
                self._adopt(connection, found, config)
            return int(found.id), name
        made = connection.execute(sa.insert(STUDIES).values(name=name, config=json.dumps(config, sort_keys=True)))
        key = made.inserted_primary_key
        assert key is not None
        last = next(iter(reversed(studies.values())), None)
        if last is not None:
            self.notes.append(
                f"Began study {name!r} in {self.storage}: different from {last.name!r} there: "
                f"{_differences(json.loads(last.config), config)}."
            )
        return int(key[0]), name

    def _adopt(self, connection: sa.Connection, found: Any, config: dict[str, Any]) -> None:
        """Bring a study of an earlier version, which did not store the choices of its space, up to date."""
        sizes = next((identity.sizes for identity in self._identities.values()), ())
        for arch in connection.execute(sa.select(RECORDS.c.arch).where(RECORDS.c.study == found.id)).scalars():
            row = [int(v) for v in arch.split(",")]
            if sizes and (len(row) != len(sizes) or any(v >= size for v, size in zip(row, sizes, strict=True))):
                raise InvalidValue(
                    f"study {found.name!r} in {self.storage} is of another space: it holds the architecture {arch}; "
                    "give another study name, or storage"
                )
        update = sa.update(STUDIES).where(STUDIES.c.id == found.id)
        connection.execute(update.values(config=json.dumps(config, sort_keys=True)))
        for name, identity in self._identities.items():
            mine = (RECORDS.c.study == found.id) & (RECORDS.c.objective == name)
            at = sa.case((RECORDS.c.fidelity == "", _fidelity_text(identity.target)), else_=RECORDS.c.fidelity)
            connection.execute(sa.update(RECORDS).where(mine).values(evaluation=identity.digest, resolved=at))
        self.notes.append(
            f"Study {found.name!r} was begun by a version of nastk that did not store the options of its choices: make "
            "sure that they, and their order, are as they were."
        )

    def _take_over(self, connection: sa.Connection) -> None:
        """Copy what other studies of this database evaluated and this one could have; it is charged to nobody.

        Failures are left out: here they may succeed.
        """
        have = {_row_key(row) for row in connection.execute(sa.select(RECORDS).where(RECORDS.c.study == self._id))}
        taken: Counter[tuple[str, str]] = Counter()
        edited: Counter[tuple[str, str]] = Counter()
        for name, identity in self._identities.items():
            others = (
                sa.select(RECORDS, STUDIES.c.name.label("evaluated_by"))
                .join(STUDIES, STUDIES.c.id == RECORDS.c.study)
                .where(RECORDS.c.evaluation == identity.digest, RECORDS.c.study != self._id)
                .where(RECORDS.c.origin == "", RECORDS.c.status == "ok")
                .order_by(RECORDS.c.id)
            )
            for row in connection.execute(others).all():
                at = _number_or_none(row.resolved)
                if not identity.has(at):
                    continue
                values = {c.name: getattr(row, c.name) for c in RECORDS.columns if c.name != "id"}
                values |= {"study": self._id, "objective": name, "fidelity": _fidelity_text(identity.recorded(at))}
                values |= {"purpose": "search", "charged": 0, "origin": row.evaluated_by}
                key = values["arch"], name, values["fidelity"], "search"
                if key not in have:
                    have.add(key)
                    connection.execute(sa.insert(RECORDS).values(**values))
        rows = connection.execute(sa.select(RECORDS).where(RECORDS.c.study == self._id)).all()
        mended = 0
        for row in rows:
            of = self._identities.get(row.objective)
            changes = of.edited_since(row.version) if of is not None else []
            if changes and row.status == "failed":  # perhaps it was edited to mend this
                connection.execute(sa.delete(RECORDS).where(RECORDS.c.id == row.id))
                mended += 1
                continue
            taken[row.objective, row.origin] += bool(row.origin)
            edited.update((row.objective, said) for said in changes)
        if mended:
            self.notes.append(
                f"{mended} evaluation{'s' * (mended > 1)} that failed before the code was edited no longer count."
            )
        for (name, origin), count in (+taken).items():
            self.notes.append(
                f"{count} evaluation{'s' * (count > 1)} of {name} known from study {origin!r} in {self.storage}, "
                "beyond the budget."
            )
        for (name, code), count in edited.items():
            self.notes.append(
                f"The code that evaluates {name} was edited: {code}. {count} of its evaluations were made before, and "
                "are used all the same; for a fresh start use another storage."
            )

    def _load(self) -> None:
        def read(connection: sa.Connection) -> tuple[str | None, Sequence[Any], Sequence[Any]]:
            state = connection.execute(sa.select(STUDIES.c.state).where(STUDIES.c.id == self._id)).scalar_one()
            rows = connection.execute(sa.select(RECORDS).where(RECORDS.c.study == self._id).order_by(RECORDS.c.id))
            found = rows.all()
            begun = connection.execute(sa.select(BEGUN).where(BEGUN.c.study == self._id)).all()
            # What was begun by a process that is no more ended it, or was ended with it.
            # A container gives every process the same number, and one process may open a study again.
            dead = [
                row.id
                for row in begun
                if row.running
                and not (row.host == HOST and row.process != os.getpid() and is_running(row.process))
                and row.run != self._run
            ]
            if dead:
                died = sa.update(BEGUN).where(BEGUN.c.id.in_(dead))
                connection.execute(died.values(running=0, deaths=BEGUN.c.deaths + 1))
            return state, found, connection.execute(sa.select(BEGUN).where(BEGUN.c.study == self._id)).all()

        state, rows, begun = self._database.within(read)
        self._state = json.loads(state) if state else None
        self._keep(_record(row) for row in rows)
        self._deaths = {_key(row): row.deaths for row in begun}

    def _bury(self) -> None:
        """Fail what ended its process again and again; its record has no value, and the reason."""
        for key, deaths in self._deaths.items():
            if deaths < DEATHS or key in self._records:
                continue
            arch, objective, fidelity, purpose = key
            self.add([Record(
                arch, objective, float("nan"), fidelity=fidelity, status="failed", purpose=purpose,  # type: ignore[arg-type]
                attempts=deaths, charged=False,
                reason=f"the process ended {deaths} times during this evaluation (out of memory? killed?)",
            )])  # fmt: skip

    # ---- writing

    def begin(self, evaluations: Sequence[Key]) -> None:
        by = {"running": 1, "host": HOST, "process": os.getpid(), "run": self._run}

        def note(connection: sa.Connection) -> None:
            for key in evaluations:
                known = connection.execute(sa.update(BEGUN).where(*self._is_begun(key)).values(**by))
                if not known.rowcount:
                    connection.execute(sa.insert(BEGUN).values(**self._columns(key), **by, deaths=0))

        self._database.within(note, outage=database.OUTAGE)

    def abandon(self) -> None:
        mine = (BEGUN.c.study == self._id) & (BEGUN.c.running == 1)

        def give_up(connection: sa.Connection) -> None:
            connection.execute(sa.delete(BEGUN).where(mine, BEGUN.c.deaths == 0))
            connection.execute(sa.update(BEGUN).where(mine).values(running=0))

        with suppress(StorageError):  # the run is ending; at worst one death too many is counted
            self._database.within(give_up)

    def is_suspect(self, evaluation: Key) -> bool:
        return self._deaths.get(evaluation, 0) > 0

    def _store(self, records: Sequence[Record], state: dict[str, Any] | None) -> None:
        rows = [self._row(record) for record in records]

        def write(connection: sa.Connection) -> None:
            for record, row in zip(records, rows, strict=True):
                connection.execute(sa.insert(RECORDS).values(study=self._id, **row))
                connection.execute(sa.delete(BEGUN).where(*self._is_begun(record.key)))
            if state is not None:
                connection.execute(sa.update(STUDIES).where(STUDIES.c.id == self._id).values(state=json.dumps(state)))

        try:
            self._database.within(write, outage=database.OUTAGE)
        except IntegrityError as error:
            raise StorageError(
                f"another run is writing to study {self.study!r} in {self.storage}; wait for it or use another name"
            ) from error
        except StorageError as error:
            where = self._spill(rows)
            raise StorageError(
                f"{error}; {len(rows)} finished evaluation{'s' * (len(rows) > 1)} kept in {where}, which the next "
                "start takes in"
            ) from error

    def _row(self, record: Record) -> dict[str, Any]:
        identity = self._identities.get(record.objective, Identity(""))
        return {
            "arch": _arch_text(record.arch),
            "objective": record.objective,
            "fidelity": _fidelity_text(record.fidelity),
            "purpose": record.purpose,
            "value": _null(record.value),
            "std": _null(record.std),
            "cost": _null(record.cost),
            "source": record.source,
            "status": record.status,
            "reason": record.reason,
            "time": record.time,
            "kind": record.kind,
            "attempts": record.attempts,
            "charged": int(record.charged),
            "origin": record.study,
            "evaluation": identity.digest,
            "resolved": _fidelity_text(identity.resolved(record.fidelity)),
            "version": identity.version,
        }

    def _columns(self, key: Key) -> dict[str, Any]:
        arch, objective, fidelity, purpose = key
        what = {"arch": _arch_text(arch), "objective": objective, "fidelity": _fidelity_text(fidelity)}
        return {"study": self._id, **what, "purpose": purpose}

    def _is_begun(self, key: Key) -> list[sa.ColumnElement[bool]]:
        return [BEGUN.c[name] == value for name, value in self._columns(key).items()]

    # ---- what the database could not take

    def _spill(self, rows: Sequence[dict[str, Any]]) -> Path:
        """Keep rows in a file beside the database, or in the folder for temporary files where that is full too."""
        lines = "".join(json.dumps({"study": self.study, **row}) + "\n" for row in rows)
        for path in self._database.spill_files:
            try:
                before = path.read_text(encoding="utf-8") if path.exists() else ""
                write_text(path, before + lines)
                return path
            except (OSError, StorageError):
                continue
        raise StorageError(
            f"cannot write to {self.storage}, nor to {' or '.join(map(str, self._database.spill_files))}"
        )

    def _take_in(self) -> None:
        """Add the records that an earlier run could not write, and remove their file."""
        for path in self._database.spill_files:
            if not path.exists() or not is_mine(path):
                continue
            rows = _read_spilled(path)
            of_mine = [row["study"] == self.study and self._could_be_mine(row) for row in rows]
            others = [row for row, is_mine in zip(rows, of_mine, strict=True) if not is_mine]
            mine = [{**row, "study": self._id} for row, is_mine in zip(rows, of_mine, strict=True) if is_mine]
            if not mine:
                continue

            def insert(connection: sa.Connection, mine: list[dict[str, Any]] = mine) -> int:
                have = connection.execute(sa.select(RECORDS).where(RECORDS.c.study == self._id)).all()
                keys = {_row_key(row) for row in have}
                fresh = [r for r in mine if (r["arch"], r["objective"], r["fidelity"], r["purpose"]) not in keys]
                for row in fresh:
                    connection.execute(sa.insert(RECORDS).values(**row))
                    connection.execute(sa.delete(BEGUN).where(*(BEGUN.c[name] == row[name] for name in KEY)))
                return len(fresh)

            count = self._database.within(insert)
            if others:
                write_text(path, "".join(json.dumps(row) + "\n" for row in others))
            else:
                path.unlink()
            self.notes.append(f"Took in {count} evaluation{'s' * (count != 1)} from {path}.")

    def _could_be_mine(self, row: dict[str, Any]) -> bool:
        """Whether a row is of an evaluation that this study has: another study may have had the same name."""
        identity = self._identities.get(row["objective"])
        return row["evaluation"] == ("" if identity is None else identity.digest)

    def close(self) -> None:
        self._database.close()


# ---- the studies of a database


class StudyFacts(NamedTuple):
    """One study of a database.

    Args:
        name: of the study.
        identity: see `nastk.identity`.
        evaluations: by objective, its own, failures included.
        failures: by objective and reason.
    """

    name: str
    identity: dict[str, Any]
    evaluations: dict[str, int]
    failures: dict[tuple[str, str], int]


def studies(storage: str | os.PathLike[str]) -> list[StudyFacts]:
    """The studies of a database, in the order in which they were begun.

    Raises:
        StorageError: no such database, or it cannot be read.
    """
    found = _existing(storage)

    def read(connection: sa.Connection) -> list[StudyFacts]:
        facts = []
        for row in connection.execute(sa.select(STUDIES).order_by(STUDIES.c.id)).all():
            mine = (RECORDS.c.study == row.id) & (RECORDS.c.origin == "")
            records = connection.execute(sa.select(RECORDS).where(mine)).all()
            failures = Counter((r.objective, r.reason) for r in records if r.status == "failed")
            counts = Counter(r.objective for r in records if r.purpose == "search")
            facts.append(StudyFacts(row.name, json.loads(row.config), dict(counts), dict(failures)))
        return facts

    try:
        return found.within(read)
    finally:
        found.close()


def find_study(storage: str | os.PathLike[str], study: str) -> StudyFacts:
    """One study of a database; errors as of :func:`studies`.

    Raises:
        UnknownName: no such study.
    """
    found = {facts.name: facts for facts in studies(storage)}
    if study not in found:
        raise UnknownName("study", study, found)
    return found[study]


def retry(storage: str | os.PathLike[str], study: str) -> int:
    """Forget the failed evaluations of a study, and propose them again at its next run.

    Returns:
        How many there were.

    Raises:
        UnknownName: no such study.
        StorageError: no such database, or it cannot be used.
    """
    found = _existing(storage)

    def forget(connection: sa.Connection) -> int:
        names = {row.name: row for row in connection.execute(sa.select(STUDIES)).all()}
        if study not in names:
            raise UnknownName("study", study, names)
        row = names[study]
        failed = (RECORDS.c.study == row.id) & (RECORDS.c.status == "failed")
        records = connection.execute(sa.select(RECORDS).where(failed).order_by(RECORDS.c.id)).all()
        state = json.loads(row.state) if row.state else {}
        skipped = {tuple(arch): names for arch, names in state.pop("skipped", [])}
        again = []
        for r in records:
            if r.purpose == "search":
                arch = [int(v) for v in r.arch.split(",")]
                again.append([arch, [r.objective, *skipped.get(tuple(arch), ())], _number_or_none(r.fidelity)])
        state["retry"] = again + state.get("retry", [])
        connection.execute(sa.delete(RECORDS).where(failed))
        connection.execute(sa.delete(BEGUN).where(BEGUN.c.study == row.id))
        connection.execute(sa.update(STUDIES).where(STUDIES.c.id == row.id).values(state=json.dumps(state)))
        return len(records)

    try:
        return found.within(forget)
    finally:
        found.close()


def _existing(storage: str | os.PathLike[str]) -> Database:
    found = Database(storage)
    if found.file is not None and not found.file.is_file():
        raise StorageError(f"no database {found.shown}")
    found.create()
    return found


# ---- texts and rows


def _same(row: Any, config: dict[str, Any], earlier: dict[str, Any] | None) -> bool:
    stored = json.loads(row.config)
    return bool(stored == config or (earlier is not None and stored == earlier))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    names = [name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))]
    return next(n for n in names if n not in taken)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two identities, as a person would say it."""
    said = []
    for key in sorted({*before, *now}):
        a, b = before.get(key), now.get(key)
        if a == b:
            continue
        if key == "choices" and isinstance(a, list) and isinstance(b, list):
            said.append(_different_choices(a, b))
            continue
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            pairs = [_only_differing(x, y) for x, y in zip(a, b, strict=True) if x != y]
            a, b = [x for x, _ in pairs], [y for _, y in pairs]
        said.append(f"{key} was {_short(a)}, now {_short(b)}")
    return "; ".join(said) or "nothing"


def _different_choices(before: list[list[str]], now: list[list[str]]) -> str:
    old, new = {name: options for name, *options in before}, {name: options for name, *options in now}
    said = [
        f"the options of {name} were {', '.join(old[name])} and are {', '.join(new[name])}"
        for name in new
        if name in old and old[name] != new[name]
    ]
    if list(old) != list(new):
        said.append(f"the choices were {', '.join(old)} and are {', '.join(new)}")
    return _short_text("; ".join(said))


def _only_differing(a: Any, b: Any) -> tuple[Any, Any]:
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return a, b
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return {key: a.get(key) for key in keys}, {key: b.get(key) for key in keys}


def _short(value: Any) -> str:
    return _short_text(repr(value))


def _short_text(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read_spilled(path: Path) -> list[dict[str, Any]]:
    names = {"study", *(c.name for c in RECORDS.columns)} - {"id"}
    rows = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            row = json.loads(line)
            if not isinstance(row, dict) or set(row) != names:
                raise ValueError(f"line {number} is no record")
            rows.append(row)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot take in {path}: {error}; mend it, or remove it") from error
    return rows


def _record(row: Any) -> Record:
    return Record(
        tuple(int(v) for v in row.arch.split(",")), row.objective, _number(row.value), _number(row.std),
        _number(row.cost), _number_or_none(row.fidelity), row.source, row.status, row.reason, row.purpose, row.time,
        _kind(row), row.attempts, bool(row.charged), row.origin,
    )  # fmt: skip


def _key(row: Any) -> Key:
    return tuple(int(v) for v in row.arch.split(",")), row.objective, _number_or_none(row.fidelity), row.purpose


def _row_key(row: Any) -> tuple[str, str, str, str]:
    return row.arch, row.objective, row.fidelity, row.purpose


def _arch_text(arch: Sequence[int]) -> str:
    return ",".join(str(v) for v in arch)


def _fidelity_text(fidelity: float | None) -> str:
    return "" if fidelity is None else repr(float(fidelity))


def _number_or_none(text: str) -> float | None:
    return float(text) if text else None


def _kind(row: Any) -> Kind:
    """The kind as recorded; in databases older than the column, by the source."""
    return row.kind or ("table" if row.source.startswith("table") else "measured")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _null(value: float) -> float | None:
    return None if value != value else float(value)


def open_history(
    storage: str | os.PathLike[str] | None = None,
    study: str | None = None,
    config: dict[str, Any] | None = None,
    identities: Mapping[str, Identity] | None = None,
    earlier: dict[str, Any] | None = None,
) -> History:
    """A history in memory (no `storage`), or durable in a database.

    Args:
        storage: SQLAlchemy URL, such as ``sqlite:///run.db``, or the path of a SQLite file.
        study: one database holds many studies by name. Without one, the study with this `config`.
        config: identity of the study (space, objectives, searcher, seed ...); an existing study is opened only with
            the same one. The budget is no part of it.
        identities: of the evaluations of each objective; what other studies evaluated with an equal one is taken over.
        earlier: the identity by which a study is known that an earlier version of nastk began.

    Raises:
        InvalidValue: the named study exists with another configuration, or the configuration is no JSON.
        StorageError: the database cannot be opened, read or written.
    """
    if storage is None:
        return History()
    try:
        plain = json.loads(json.dumps(config or {}, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"the configuration of a study must be JSON: {error}") from None
    before = None if earlier is None else json.loads(json.dumps(earlier))
    return DurableHistory(storage, study, plain, identities or {}, before)
