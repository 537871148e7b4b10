"""Histories in a database: SQLite for one machine, PostgreSQL for a group.

A database holds many studies. A study has a name and an identity (space, objectives, constraints, searcher, random
seed ...), and the records of its evaluations. An evaluation has an identity too: what another study of the same
database evaluated on the same space with the same oracle is taken over, and counts against no budget.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import sys
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from nastk import database
from nastk.database import BEGUN, COMPUTED, KEY, RECORDS, STATES, STUDIES, Database
from nastk.errors import InvalidValue, StorageError
from nastk.evaluation import Identity, Key, Record
from nastk.files import is_mine, write_text
from nastk.history import History
from nastk.lease import OLD, Holder, Lease

STUDY = "nastk"
"""Name of a study that is given none; a further one is called ``nastk-2``, and so on."""

DEATHS = 2
"""An evaluation during which its process ended this often is failed: once may be a machine that went down."""

SOON = 0.5
"""Seconds within which values that were looked up or computed are written; those of one such time, in one step."""

MOST_WAITING = 1000
"""Most records that wait to be written."""

EXPENSIVE = 1.0
"""Seconds of an evaluation whose record must survive even a power cut. Waiting for the disk takes milliseconds, longer
than many a cheap evaluation."""

Computed = Callable[[NDArray[np.int64]], Mapping[str, Sequence[float]]]
"""Values of objectives that have no records, by name, of architectures ``(n, d)`` that were told; NaN where unknown."""


END = sa.delete(BEGUN).where(*(BEGUN.c[name] == sa.bindparam(f"of_{name}") for name in KEY))
"""What has begun is recorded. (Statements are made once: making one takes longer than SQLite takes to run it.)"""


class DurableHistory(History):
    """A history whose records are committed to a database, of which this process runs one study.

    What was measured or trained is committed before `add` returns; values that cost nothing (looked up in a table,
    computed) wait for others for up to :data:`SOON` seconds. See :func:`open_history` for arguments and errors.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str],
        study: str | None,
        config: dict[str, Any],
        identities: Mapping[str, Identity],
        earlier: dict[str, Any] | None,
        about: dict[str, Any] | None = None,
        computed: Computed | None = None,
        reuse: bool = False,
    ):
        super().__init__()
        self._reuse = reuse
        self._database = Database(storage)
        self.storage = self.place = self._database.shown
        self.networks = self._database.networks
        self._identities, self._computed = dict(identities), computed
        self._deaths: dict[Key, int] = {}
        self._begun: dict[Key, float] = {}
        self._lock = threading.Lock()  # of what waits to be written, which the lease's thread writes too
        self._waiting: list[dict[str, Any]] = []
        self._waiting_since = 0.0
        self._state_texts: dict[str, str] | None = None
        self._stored_state: dict[str, StoredValue] = {}
        self._told: dict[tuple[int, ...], None] = {}  # architectures whose computed values are not stored
        self._untold: dict[tuple[int, ...], None] = {}  # the same, of the latest records, which nobody has seen yet
        self._valued: set[tuple[int, ...]] = set()  # those whose computed values are stored
        self._database.create()
        self._id, self.study = self._database.within(
            lambda c: self._open(c, study, config, earlier), races=database.RACES
        )
        self._closed = False
        before = self._take_lease()
        try:
            self._begin_run(before, config, about)
        except BaseException:
            self._lease.release()
            raise
        self._lease.keep(_weakly(self))

    def _take_lease(self) -> Holder | None:
        """Run the study from now on; the process that did before and is gone."""
        self._lease = Lease(self._database, self._id, f"study {self.study!r} in {self.storage}")
        before = self._lease.take()
        self._forget = weakref.finalize(self, self._lease.forget)
        return before

    def _reopen(self) -> None:
        """Run the study once more, after `close`, as for a result that is verified later."""
        if self._closed and self._lease.ended:
            self._take_lease()
            self._lease.keep(_weakly(self))

    def _begin_run(self, before: Holder | None, config: dict[str, Any], about: dict[str, Any] | None) -> None:
        """Read what there is, and bring it up to date; the lease is held."""
        if before is not None and before.age > OLD:
            self.notes.append(f"Took over study {self.study!r} from {before}.")
        self._database.within(lambda c: self._bring_up_to_date(c, config, about))
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

    def _bring_up_to_date(
        self, connection: sa.Connection, config: dict[str, Any], about: dict[str, Any] | None
    ) -> None:
        self._lease.check(connection)
        found = connection.execute(sa.select(STUDIES).where(STUDIES.c.id == self._id)).one()
        if json.loads(found.config) != config:
            self._adopt(connection, found, config)
        text = None if about is None else json.dumps(about)
        if text is not None and text != found.about:
            connection.execute(sa.update(STUDIES).where(STUDIES.c.id == self._id).values(about=text))
        move_state(connection, found)

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
        self._lease.check(connection)
        have: set[tuple[str, str, str, str]] | None = None
        new = []
        for name, identity in self._identities.items():
            others = (
                sa.select(RECORDS, STUDIES.c.name.label("evaluated_by"))
                .join(STUDIES, STUDIES.c.id == RECORDS.c.study)
                .where(RECORDS.c.evaluation == identity.digest, RECORDS.c.study != self._id)
                .where(RECORDS.c.origin == "", RECORDS.c.status == "ok", RECORDS.c.purpose.in_(("search", "verify")))
                .order_by(RECORDS.c.id)
            )
            for row in connection.execute(others).all():
                at = number_or_none(row.resolved)
                if not identity.has(at):
                    continue
                if have is None:
                    have = {_row_key(r) for r in connection.execute(_keys_of(self._id))}
                values = {c.name: getattr(row, c.name) for c in RECORDS.columns if c.name != "id"}
                values |= {"study": self._id, "objective": name, "fidelity": _fidelity_text(identity.recorded(at))}
                values |= {"purpose": "search", "charged": 0, "origin": row.evaluated_by}
                key = values["arch"], name, values["fidelity"], "search"
                if key not in have:
                    have.add(key)
                    new.append(values)
        if new:
            connection.execute(sa.insert(RECORDS), new)
        taken: Counter[tuple[str, str]] = Counter()
        edited: Counter[tuple[str, str]] = Counter()
        kinds = (RECORDS.c.objective, RECORDS.c.version, RECORDS.c.origin, RECORDS.c.status)
        mine = (RECORDS.c.study == self._id) & ((RECORDS.c.origin != "") | (RECORDS.c.version != ""))
        counted = sa.select(*kinds, sa.func.count()).where(mine).group_by(*kinds).order_by(sa.func.min(RECORDS.c.id))
        mended = 0
        for name, version, origin, status, count in connection.execute(counted).all():
            of = self._identities.get(name)
            changes = of.edited_since(version) if of is not None else []
            if changes and status == "failed":  # perhaps it was edited to mend this
                such = (RECORDS.c.objective == name) & (RECORDS.c.version == version) & (RECORDS.c.status == status)
                connection.execute(sa.delete(RECORDS).where(mine & such & (RECORDS.c.origin == origin)))
                mended += count
                continue
            taken[name, origin] += count if origin else 0
            for said in changes:
                edited[name, said] += count
        if mended:
            self.notes.append(
                f"{mended} evaluation{'s' * (mended > 1)} that failed before the code was edited no longer count."
            )
        self._note_taken(+taken)
        for (name, code), count in edited.items():
            self.notes.append(
                f"The code that evaluates {name} was edited: {code}. {count} of its evaluations were made before, and "
                "are used all the same; for a fresh start use another storage."
            )

    def _note_taken(self, taken: Mapping[tuple[str, str], int]) -> None:
        """Say what is known from other studies, by objective and study, and whether it counts against the budget."""
        if not self._reuse:
            self.notes += [
                f"{count} evaluation{'s' * (count > 1)} of {name} known from study {origin!r} in {self.storage}, "
                "beyond the budget (--reuse counts them against it; reuse=True in Python)."
                for (name, origin), count in taken.items()
            ]
            return
        by_study: dict[str, list[str]] = {}
        for (name, origin), count in taken.items():
            by_study.setdefault(origin, []).append(f"{count} of {name}")
        said = "; ".join(f"{' and '.join(counts)} from study {origin!r}" for origin, counts in by_study.items())
        where = f"in {self.storage}"
        self.notes.append(
            f"Reused evaluations {where}, which count against the budget: {said}."
            if said
            else f"No evaluation of another study {where} is one that this search needs: nothing is reused."
        )

    def _as_own(self, connection: sa.Connection, records: list[Record]) -> list[Record]:
        """Records of which those that other studies paid for count against this study's budget, too.

        What its own study was not charged for, such as a lower fidelity that a training passed, is not charged here.
        """
        digests = [identity.digest for identity in self._identities.values()]
        what = (RECORDS.c.evaluation, RECORDS.c.arch, RECORDS.c.resolved)
        of_others = (RECORDS.c.evaluation.in_(digests), RECORDS.c.origin == "", RECORDS.c.study != self._id)
        most = sa.select(*what, sa.func.max(RECORDS.c.charged)).where(*of_others).group_by(*what)
        free = {(e, arch, at) for e, arch, at, charged in connection.execute(most).all() if not charged}

        def paid(record: Record) -> bool:
            identity = self._identities.get(record.objective)
            if identity is None or not record.study:
                return record.charged
            at = _fidelity_text(identity.resolved(record.fidelity))
            return (identity.digest, _arch_text(record.arch), at) not in free

        return [replace(record, charged=paid(record)) if record.study else record for record in records]

    def _load(self) -> None:
        def read(connection: sa.Connection) -> tuple[list[Record], Sequence[Any], list[str]]:
            self._lease.check(connection)
            self._stored_state = stored_state(connection, self._id)
            # What a process began that does not run the study any more ended it, or was ended with it.
            dead = (BEGUN.c.study == self._id) & (BEGUN.c.running == 1) & (BEGUN.c.run != self._lease.run)
            connection.execute(sa.update(BEGUN).where(dead).values(running=0, deaths=BEGUN.c.deaths + 1))
            begun = connection.execute(sa.select(BEGUN).where(BEGUN.c.study == self._id)).all()
            known = sa.select(COMPUTED.c.arch).where(COMPUTED.c.study == self._id).distinct()
            records = records_of(connection, self._id)
            records = self._as_own(connection, records) if self._reuse else records
            return records, begun, list(connection.execute(known).scalars())

        records, begun, computed = self._database.within(read)
        self._state = {name: value.content for name, value in self._stored_state.items()} or None
        self._keep(records)
        self._deaths = {_key(row): row.deaths for row in begun}
        if self._computed is not None:
            self._valued = {arch_of(text) for text in computed}
            self._see_computed(records)

    def _bury(self) -> None:
        """Fail what ended its process again and again; its record has no value, and the reason."""
        for key, deaths in self._deaths.items():
            if deaths < DEATHS or key in self._records:
                continue
            arch, objective, fidelity, purpose = key
            self.add([Record(
                arch, objective, float("nan"), fidelity=fidelity, status="failed", purpose=purpose,
                attempts=deaths, charged=False,
                reason=f"the process ended {deaths} times during this evaluation (out of memory? killed?)",
            )])  # fmt: skip

    # ---- writing

    def begin(self, evaluations: Sequence[Key]) -> None:
        self._reopen()
        by = {"running": 1, "host": socket.gethostname(), "process": os.getpid(), "run": self._lease.run}
        tries = 0

        def note(connection: sa.Connection) -> None:
            nonlocal tries
            tries += 1
            self._lease.check(connection)
            for key in evaluations:
                fresh = key not in self._begun and key not in self._deaths and tries == 1
                if not fresh:
                    known = connection.execute(sa.update(BEGUN).where(*self._is_begun(key)).values(**by))
                    fresh = not known.rowcount
                if fresh:
                    connection.execute(sa.insert(BEGUN), [{**self._columns(key), **by, "deaths": 0}])

        # A power cut may take this note along: no evaluation is to blame for that.
        self._database.within(note, outage=database.OUTAGE, flushed=False)
        self._begun |= dict.fromkeys(evaluations, time.monotonic())

    def abandon(self) -> None:
        mine = (BEGUN.c.study == self._id) & (BEGUN.c.running == 1) & (BEGUN.c.run == self._lease.run)

        def give_up(connection: sa.Connection) -> None:
            connection.execute(sa.delete(BEGUN).where(mine, BEGUN.c.deaths == 0))
            connection.execute(sa.update(BEGUN).where(mine).values(running=0))

        try:
            self.flush()
        except StorageError as error:  # the run is ending with an error of its own
            warnings.warn(str(error), stacklevel=2)
        with suppress(StorageError):  # at worst one death too many is counted
            self._database.within(give_up)
        self._begun.clear()
        self._close_again()

    def is_suspect(self, evaluation: Key) -> bool:
        return self._deaths.get(evaluation, 0) > 0

    def running(self) -> dict[Key, float]:
        """Evaluations that this process began and has not recorded, and for how many seconds they have been going on.

        Of values that are measured or trained; what is looked up or computed is not noted.
        """
        now = time.monotonic()
        return {key: now - since for key, since in list(self._begun.items())}

    def _store(self, records: Sequence[Record], state: dict[str, Any] | None) -> None:
        self._reopen()
        # As a text: what a searcher hands over it may change before it is written.
        texts = None if state is None else {name: json.dumps(value) for name, value in state.items()}
        rows = [self._row(record) for record in records]
        now = time.monotonic()
        with self._lock:
            self._see_computed(records)
            self._waiting_since = self._waiting_since if self._waiting else now
            self._waiting += rows
            self._state_texts = self._state_texts if texts is None else texts
            cheap = all(record.kind != "measured" for record in records)
            if cheap and len(self._waiting) < MOST_WAITING and now - self._waiting_since < SOON:
                self._lease.wake()
            else:
                took = [now - self._begun.get(record.key, -math.inf) for record in records]
                self._write(database.OUTAGE, flushed=not cheap and max(took, default=0.0) > EXPENSIVE)
        for record in records:
            self._begun.pop(record.key, None)
        self._close_again()

    def _close_again(self) -> None:
        if self._closed and not self._begun:
            self.close()

    def flush(self) -> None:
        with self._lock:
            self._see_computed(())
            self._write(database.OUTAGE)

    def _flush_soon(self) -> float | None:
        """Of the lease's thread: write what has waited long enough; seconds until the rest will have."""
        with self._lock:
            if not self._waiting:
                return None
            left = self._waiting_since + SOON - time.monotonic()
            if left > 0:
                return left
            with suppress(StorageError):  # the next record, or the end, meets the same and says it
                self._write(None, flushed=False)
            return SOON if self._waiting else None

    def _write(self, outage: float | None, flushed: bool = True) -> None:
        """Write what waits, all or none.

        Args:
            outage, flushed: as of :meth:`Database.within`; without an outage to wait for, what cannot be written waits
                on, else it is kept in a file.
        """
        rows, texts = list(self._waiting), self._state_texts
        if not rows and texts is None and not self._told:
            return
        computed = self._computed_rows() if outage is not None else []
        stored: dict[str, StoredValue] = {}
        tries = 0

        def write(connection: sa.Connection) -> None:
            nonlocal stored, tries
            tries += 1
            self._lease.check(connection)
            stored = self._stored_state
            if tries > 1:  # a connection was lost, perhaps with no more than the answer that all is done
                stored = stored_state(connection, self._id)
                if rows and connection.execute(_keys_of(self._id, rows[0])).first() is not None:
                    return
                mine = COMPUTED.c.study == self._id
                for row in computed:
                    connection.execute(sa.delete(COMPUTED).where(mine, COMPUTED.c.arch == row["arch"]))
            if rows:
                connection.execute(sa.insert(RECORDS), rows)
            ended = [row for row in rows if (key := _key_of(row)) in self._begun or key in self._deaths]
            if ended:
                connection.execute(END, [{f"of_{name}": row[name] for name in KEY} for row in ended])
            if texts is not None:
                stored = write_state(connection, self._id, stored, texts)
            if computed:
                connection.execute(sa.insert(COMPUTED), computed)

        try:
            self._database.within(write, outage=outage, flushed=flushed)
        except IntegrityError as error:
            raise StorageError(
                f"another program is writing to study {self.study!r} in {self.storage}; stop it, or use another name"
            ) from error
        except StorageError as error:
            if outage is None:
                raise
            self._waiting, self._state_texts = [], None
            if not rows:
                raise
            where = self._spill(rows)
            raise type(error)(
                f"{error}; {len(rows)} finished evaluation{'s' * (len(rows) > 1)} kept in {where}, which the next "
                "start takes in"
            ) from error
        self._waiting, self._state_texts, self._stored_state = [], None, stored
        if outage is not None:
            self._valued |= {arch_of(row["arch"]) for row in computed}
            self._told = {}

    def _see_computed(self, records: Sequence[Record]) -> None:
        """Architectures of earlier records are known to the searcher by now, and their computed values with them."""
        if self._computed is not None:
            # An architecture whose objectives come one after another may have been written meanwhile.
            self._told |= {arch: None for arch in self._untold if arch not in self._valued}
            self._untold = {record.arch: None for record in records if record.arch not in self._valued}

    def _computed_rows(self) -> list[dict[str, Any]]:
        if self._computed is None or not self._told:
            return []
        archs = list(self._told)
        columns = self._computed(np.array(archs, dtype=np.int64))
        return [
            {"study": self._id, "arch": _arch_text(arch), "objective": name, "value": _null(float(value))}
            for name, values in columns.items()
            for arch, value in zip(archs, values, strict=True)
            if math.isfinite(value)
        ]

    def _row(self, record: Record) -> dict[str, Any]:
        identity = self._identities.get(record.objective, Identity(""))
        return {
            "study": self._id,
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
            "details": json.dumps(dict(record.details)) if record.details else "",
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
        lines = "".join(json.dumps({**row, "study": self.study}) + "\n" for row in rows)
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
                self._lease.check(connection)
                keys = {_row_key(row) for row in connection.execute(_keys_of(self._id))}
                fresh = [r for r in mine if (r["arch"], r["objective"], r["fidelity"], r["purpose"]) not in keys]
                for row in fresh:
                    connection.execute(sa.insert(RECORDS), [row])
                    connection.execute(END, [{f"of_{name}": row[name] for name in KEY}])
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
        if os.getpid() != self._lease.process:  # a process that a user's function forked off: all this is its parent's
            return
        self._closed = True
        if self._lease.ended:
            return
        try:
            self.flush()
        finally:
            self._lease.release()
            self._database.close()


def _weakly(history: DurableHistory) -> Callable[[], float | None]:
    """Its `_flush_soon` for the lease's thread, which is not to keep it from being collected."""
    found = weakref.ref(history)

    def soon() -> float | None:
        history = found()
        return None if history is None else history._flush_soon()

    return soon


# ---- the state of a study


class StoredValue(NamedTuple):
    """One value of a study's state as the database has it.

    Args:
        parts: rows that it takes; more than one where it is a list that grew.
        text: the whole, JSON.
    """

    parts: int
    text: str

    @property
    def content(self) -> Any:
        return json.loads(self.text)


OF_STATE = (STATES.c.study == sa.bindparam("of_study"), STATES.c.name == sa.bindparam("of_name"))
REPLACE = sa.update(STATES).where(*OF_STATE).values(value=sa.bindparam("value"))


def stored_state(connection: sa.Connection, study: int) -> dict[str, StoredValue]:
    """The state of a study by name, as it was last written."""
    query = sa.select(STATES).where(STATES.c.study == study).order_by(STATES.c.name, STATES.c.part)
    parts: dict[str, list[str]] = {}
    for row in connection.execute(query).all():
        parts.setdefault(row.name, []).append(row.value)
    return {
        name: StoredValue(len(texts), texts[0] if len(texts) == 1 else f"[{', '.join(t[1:-1] for t in texts)}]")
        for name, texts in parts.items()
    }


def write_state(
    connection: sa.Connection, study: int, stored: Mapping[str, StoredValue], texts: Mapping[str, str]
) -> dict[str, StoredValue]:
    """Write what differs from what is stored; of a list that grew, only what is new.

    Args:
        texts: the state, JSON by name.

    Returns:
        What is stored now.
    """
    now = {}
    for name, text in texts.items():
        before = stored.get(name)
        of = {"of_study": study, "of_name": name}
        row = {"study": study, "name": name}
        if before is None:
            connection.execute(sa.insert(STATES), [{**row, "part": 0, "value": text}])
            now[name] = StoredValue(1, text)
        elif before.text == text:
            now[name] = before
        elif before.text.startswith("[") and before.text != "[]" and text.startswith(f"{before.text[:-1]}, "):
            fresh = f"[{text[len(before.text) + 1 :]}"
            connection.execute(sa.insert(STATES), [{**row, "part": before.parts, "value": fresh}])
            now[name] = StoredValue(before.parts + 1, text)
        else:
            if before.parts > 1:
                connection.execute(sa.delete(STATES).where(*OF_STATE, STATES.c.part > 0), of)
            connection.execute(REPLACE, [{**of, "value": text}])
            now[name] = StoredValue(1, text)
    for name in stored.keys() - texts.keys():
        connection.execute(sa.delete(STATES).where(*OF_STATE), {"of_study": study, "of_name": name})
    return now


def move_state(connection: sa.Connection, found: Any) -> None:
    """Bring the state of a study (its row) that an earlier version wrote to where it is now."""
    if found.state:
        texts = {name: json.dumps(value) for name, value in json.loads(found.state).items()}
        write_state(connection, found.id, stored_state(connection, found.id), texts)
        connection.execute(sa.update(STUDIES).where(STUDIES.c.id == found.id).values(state=None))


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
            if isinstance(row, dict):
                row.setdefault("details", "")  # of an earlier version
            if not isinstance(row, dict) or set(row) != names:
                raise ValueError(f"line {number} is no record")
            rows.append(row)
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot take in {path}: {error}; mend it, or remove it") from error
    return rows


FIELDS = (
    "arch", "objective", "value", "std", "cost", "fidelity", "source", "status", "reason", "purpose", "time", "kind",
    "attempts", "charged", "origin", "details",
)  # fmt: skip
"""Columns of a record, in the order of :class:`Record`'s fields."""


def records_of(connection: sa.Connection, study: int) -> list[Record]:
    """The records of a study, oldest first."""
    query = sa.select(*(RECORDS.c[name] for name in FIELDS)).where(RECORDS.c.study == study).order_by(RECORDS.c.id)
    return [_record(row) for row in connection.execute(query)]


def _record(row: Any) -> Record:
    """A record from the columns :data:`FIELDS`; equal texts are one object, of which a long history has many."""
    (
        arch, objective, value, std, cost, fidelity, source, status, reason, purpose, when, kind, attempts, charged, by,
        details,
    ) = row  # fmt: skip
    # The kind as recorded; in databases older than the column, by the source.
    kind = kind or ("table" if source.startswith("table") else "measured")
    one: Callable[[Any], Any] = sys.intern
    return Record(
        arch_of(arch), one(objective), _number(value), _number(std), _number(cost), number_or_none(fidelity),
        one(source), one(status), one(reason), one(purpose), when, one(kind), attempts, bool(charged), one(by),
        json.loads(details) if details else {},
    )  # fmt: skip


def arch_of(text: str) -> tuple[int, ...]:
    """An architecture as the database has it."""
    return tuple(map(int, text.split(",")))


def _key(row: Any) -> Key:
    return arch_of(row.arch), row.objective, number_or_none(row.fidelity), row.purpose


def _key_of(row: Mapping[str, Any]) -> Key:
    """The key of a row that is going to be inserted."""
    return arch_of(row["arch"]), row["objective"], number_or_none(row["fidelity"]), row["purpose"]


def _keys_of(study: int, row: Mapping[str, Any] | None = None) -> sa.Select[Any]:
    """Keys of the records of a study, or the one of this row."""
    found = sa.select(*(RECORDS.c[name] for name in KEY[1:])).where(RECORDS.c.study == study)
    return found if row is None else found.where(*(RECORDS.c[name] == row[name] for name in KEY[1:]))


def _row_key(row: Any) -> tuple[str, str, str, str]:
    return row.arch, row.objective, row.fidelity, row.purpose


def _arch_text(arch: Sequence[int]) -> str:
    return ",".join(map(str, arch))


def _fidelity_text(fidelity: float | None) -> str:
    return "" if fidelity is None else repr(float(fidelity))


def number_or_none(text: str) -> float | None:
    """A fidelity as the database has it."""
    return float(text) if text else None


def _number(value: float | None) -> float:
    return NAN if value is None else value


NAN = float("nan")
"""One object for all values that are unknown."""


def _null(value: float) -> float | None:
    return None if value != value else float(value)


def open_history(
    storage: str | os.PathLike[str] | None = None,
    study: str | None = None,
    config: dict[str, Any] | None = None,
    identities: Mapping[str, Identity] | None = None,
    earlier: dict[str, Any] | None = None,
    about: dict[str, Any] | None = None,
    computed: Computed | None = None,
    reuse: bool = False,
) -> History:
    """A history in memory (no `storage`), or durable in a database, where this process alone runs the study from now on
    until the history is closed.

    Args:
        storage: SQLAlchemy URL, such as ``sqlite:///run.db``, or the path of a SQLite file.
        study: one database holds many studies by name. Without one, the study with this `config`.
        config: identity of the study (space, objectives, searcher, seed ...); an existing study is opened only with
            the same one. The budget is no part of it.
        identities: of the evaluations of each objective; what other studies evaluated with an equal one is taken over.
        earlier: the identity by which a study is known that an earlier version of nastk began.
        about: what those that look at the study should know of it, JSON-able: its objectives (`nastk.studies.Goal`) as
            "goals", and its "budget".
        computed: values of the objectives that have no records, which are kept for those that look at the study.
        reuse: whether what other studies evaluated counts against the budget of this one, as its own evaluations do.

    Raises:
        InvalidValue: the named study exists with another configuration, or the configuration is no JSON.
        StudyHeld: another process runs the study.
        StorageError: the database cannot be opened, read or written.
    """
    if storage is None:
        return History()
    if study is not None and not study.isprintable():
        raise InvalidValue(f"a study cannot be called {study!r}: the name has characters that are not printed")
    try:
        plain = json.loads(json.dumps(config or {}, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"the configuration of a study must be JSON: {error}") from None
    before = None if earlier is None else json.loads(json.dumps(earlier))
    return DurableHistory(storage, study, plain, identities or {}, before, about, computed, reuse)
