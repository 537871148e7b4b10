"""A history that lives in a database, and is one process's alone until it is closed."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from nastk import database
from nastk.database import BEGUN, COMPUTED, KEY, RECORDS, STUDIES, Database
from nastk.errors import InvalidValue, StorageError
from nastk.evaluation import Identity, Key, Record
from nastk.files import is_mine, write_text
from nastk.history import History
from nastk.lease import OLD, Holder, Lease
from nastk.storage.differences import differences
from nastk.storage.rows import (
    arch_of,
    arch_text,
    fidelity_text,
    key_of_row,
    keys_of,
    null,
    number_or_none,
    read_spilled,
    records_of,
    row_key,
    row_of,
)
from nastk.storage.state import StoredValue, move_state, stored_state, write_state

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
                f"({differences(json.loads(found.config), config)}); use those, or another study name"
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
                f"{differences(json.loads(last.config), config)}."
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
            at = sa.case((RECORDS.c.fidelity == "", fidelity_text(identity.target)), else_=RECORDS.c.fidelity)
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
                    have = {row_key(r) for r in connection.execute(keys_of(self._id))}
                values = {c.name: getattr(row, c.name) for c in RECORDS.columns if c.name != "id"}
                values |= {"study": self._id, "objective": name, "fidelity": fidelity_text(identity.recorded(at))}
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
            at = fidelity_text(identity.resolved(record.fidelity))
            return (identity.digest, arch_text(record.arch), at) not in free

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
        self._deaths = {key_of_row(row._mapping): row.deaths for row in begun}
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
        unnamed = Identity("")
        rows = [row_of(record, self._id, self._identities.get(record.objective, unnamed)) for record in records]
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
                if rows and connection.execute(keys_of(self._id, rows[0])).first() is not None:
                    return
                mine = COMPUTED.c.study == self._id
                for row in computed:
                    connection.execute(sa.delete(COMPUTED).where(mine, COMPUTED.c.arch == row["arch"]))
            if rows:
                connection.execute(sa.insert(RECORDS), rows)
            ended = [row for row in rows if (key := key_of_row(row)) in self._begun or key in self._deaths]
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
            {"study": self._id, "arch": arch_text(arch), "objective": name, "value": null(float(value))}
            for name, values in columns.items()
            for arch, value in zip(archs, values, strict=True)
            if math.isfinite(value)
        ]

    def _columns(self, key: Key) -> dict[str, Any]:
        arch, objective, fidelity, purpose = key
        what = {"arch": arch_text(arch), "objective": objective, "fidelity": fidelity_text(fidelity)}
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
            rows = read_spilled(path)
            of_mine = [row["study"] == self.study and self._could_be_mine(row) for row in rows]
            others = [row for row, is_mine in zip(rows, of_mine, strict=True) if not is_mine]
            mine = [{**row, "study": self._id} for row, is_mine in zip(rows, of_mine, strict=True) if is_mine]
            if not mine:
                continue

            def insert(connection: sa.Connection, mine: list[dict[str, Any]] = mine) -> int:
                self._lease.check(connection)
                keys = {row_key(row) for row in connection.execute(keys_of(self._id))}
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


def _same(row: Any, config: dict[str, Any], earlier: dict[str, Any] | None) -> bool:
    stored = json.loads(row.config)
    return bool(stored == config or (earlier is not None and stored == earlier))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    names = [name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))]
    return next(n for n in names if n not in taken)
