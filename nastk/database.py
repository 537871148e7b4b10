"""Databases of studies: their tables, connections, and transactions that wait out a short outage."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from nastk.errors import StorageError, installing
from nastk.files import NETWORKS
from nastk.parallel import Uninterrupted

BUSY = 5.0
"""Seconds that SQLite itself waits for another process that is writing; then the waiting below begins, with a word."""

OUTAGE = 180.0
"""Seconds to go on trying where the database is locked, full or out of reach. An evaluation may have taken hours, and
most outages (a backup, a restart, a full disk that somebody clears) pass within minutes."""

OPENING = 30.0
"""Seconds to wait while other processes create or open the same database."""

STEP = 0.2
"""Seconds between looks at whether Ctrl-C was pressed, while waiting for a database."""

RACES = 5
"""How often to look again where other processes create the same tables or study at the same moment, and win."""

PASSING = re.compile(
    r"locked|busy|disk is full|disk full|disk I/O|unable to open|connect|timeout|terminat|recovery|closed|starting up",
    re.IGNORECASE,
)
"""What a database says of troubles that may pass."""

UNSAVED = ".unsaved.jsonl"
"""End of the name of the file for records that a database could not take."""

PATIENT = {
    "postgresql": {
        "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
}  # fmt: skip
"""Arguments of a connection by kind of database: one that does not answer is reported within seconds, and one to a
machine that vanished within a minute; by default the system would wait for a quarter of an hour."""

POSTGRES = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
"""Drivers that a plain URL ``postgresql://`` gets, by the package that must be there, in order of preference."""

CREATION = 5_063_277
"""PostgreSQL's number for the lock of those that create tables: ``IF NOT EXISTS`` does not keep two of them apart."""

Answer = TypeVar("Answer")

SCHEMA = sa.MetaData()
"""The tables below, which a new database is created with."""

STUDIES = sa.Table(
    "nastk_studies",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("state", sa.Text),  # of a database of an earlier version; now in STATES
    sa.Column("about", sa.Text),
)
"""One row per study: its identity (`config`), and what those that look at it should know (`about`), both JSON."""

STATES = sa.Table(
    "nastk_states",
    SCHEMA,
    sa.Column("study", sa.ForeignKey(STUDIES.c.id), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Text, nullable=False),
)
"""The latest state of a study and its searcher, one value (JSON) a name, so that only what changed is written.

A list that grows is several lists, to be joined, so that only what is new is written."""

LEASES = sa.Table(
    "nastk_leases",
    SCHEMA,
    sa.Column("study", sa.ForeignKey(STUDIES.c.id), primary_key=True, autoincrement=False),
    sa.Column("run", sa.String(40), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.Integer, nullable=False),
    sa.Column("machine", sa.String(400), nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("beat", sa.Double, nullable=False),
)
"""Which process runs a study; see `nastk.lease`. Times are seconds since 1970 by the clock of the database."""

COMPUTED = sa.Table(
    "nastk_computed",
    SCHEMA,
    sa.Column("study", sa.ForeignKey(STUDIES.c.id), primary_key=True),
    sa.Column("arch", sa.String(2000), primary_key=True),
    sa.Column("objective", sa.String(200), primary_key=True),
    sa.Column("value", sa.Float),
)
"""Values of objectives that are computed and so have no records, of the architectures that have some: for those that
look at a study without its space and oracles."""

KEY = ("study", "arch", "objective", "fidelity", "purpose")
"""The columns that identify an evaluation."""


def _key_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("study", sa.ForeignKey(STUDIES.c.id), nullable=False),
        sa.Column("arch", sa.String(2000), nullable=False),
        sa.Column("objective", sa.String(200), nullable=False),
        sa.Column("fidelity", sa.String(40), nullable=False),  # "" for the highest: NULLs would not be unique
        sa.Column("purpose", sa.String(10), nullable=False),
    ]


RECORDS = sa.Table(
    "nastk_records",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    *_key_columns(),
    sa.Column("value", sa.Float),
    sa.Column("std", sa.Float),
    sa.Column("cost", sa.Float),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
    # The defaults below are those of rows that are older than the column.
    sa.Column("kind", sa.String(10), nullable=False, server_default=""),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("charged", sa.Integer, nullable=False, server_default="1"),
    sa.Column("origin", sa.String(200), nullable=False, server_default=""),  # the study that evaluated it, if another
    sa.Column("evaluation", sa.String(64), nullable=False, server_default=""),  # Identity.digest
    sa.Column("resolved", sa.String(40), nullable=False, server_default=""),  # Identity.resolved
    sa.Column("version", sa.String(80), nullable=False, server_default=""),  # Identity.version
    sa.Column("details", sa.Text, nullable=False, server_default=""),  # JSON, empty for none
    sa.UniqueConstraint(*KEY),
    sa.Index("nastk_records_in_order", "study", "id"),
)
"""One row per :class:`Record`. The unique constraint makes the second of two concurrent runs of one study fail."""

BEGUN = sa.Table(
    "nastk_begun",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    *_key_columns(),
    sa.Column("running", sa.Integer, nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.Integer, nullable=False),
    sa.Column("run", sa.String(40), nullable=False),  # which opening of the study: process numbers come again
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.UniqueConstraint(*KEY),
)
"""Evaluations that are in progress, or during which a process ended; a row goes when its evaluation is recorded."""


class Database:
    """A database of studies: connections, transactions that wait out a short outage, messages.

    Args:
        storage: SQLAlchemy URL, or the path of a SQLite file.

    Attributes:
        shown: the URL without its password.
        url: with its password and its driver, as SQLAlchemy takes it.

    Raises:
        StorageError: no URL, a database in memory, or one whose driver is not installed.
    """

    def __init__(self, storage: str | os.PathLike[str]):
        text = os.fspath(storage)
        is_path = isinstance(storage, os.PathLike) or ("://" not in text and Path(text).is_file())
        try:
            url = sa.URL.create("sqlite", database=text) if is_path else sa.make_url(text)
            self.shown = without_password(url.render_as_string(hide_password=True))
            if url.get_backend_name() == "sqlite":
                url = self._on_disk(url)
            if "@" in (url.host or ""):
                raise StorageError(f"storage {self.shown}: write an @ in a user name or password as %40")
            if url.drivername == "postgresql":
                url = url.set(drivername=_postgres_driver(self.shown))
            self.url = url.render_as_string(hide_password=False)
            self._engine = sa.create_engine(url, connect_args=PATIENT.get(url.get_backend_name(), {}))
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise StorageError(
                f"storage {without_password(text)!r} is not a database URL; write sqlite:///run.db or "
                "postgresql://user@host/name"
            ) from None
        except ImportError as error:
            raise StorageError(f"storage {self.shown} needs a driver that is not installed: {error.name}") from error
        self.file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        if self.file is not None:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_at_once)

    def _on_disk(self, url: sa.URL) -> sa.URL:
        """The URL with an absolute path: a user's function may change the working directory."""
        database = url.database or ""
        if database in ("", ":memory:") or "mode=memory" in str(url) or ":memory:" in database:
            raise StorageError(f"storage {self.shown} is in memory and would keep nothing; write sqlite:///run.db")
        return url if database.startswith("file:") else url.set(database=str(Path(database).absolute()))

    @property
    def spill_files(self) -> list[Path]:
        """Files for records that the database cannot take, in the order in which they are tried."""
        here = str(self.file) if self.file is not None else self.shown
        temporary = Path(tempfile.gettempdir()) / f"nastk-{hashlib.sha256(here.encode()).hexdigest()[:16]}{UNSAVED}"
        if self.file is None or here.startswith("file:"):
            return [temporary]
        return [self.file.with_name(f"{self.file.name}{UNSAVED}"), temporary]

    @property
    def networks(self) -> Path | None:
        """Folder for files of its networks, beside a SQLite file; None where the database is no file."""
        if self.file is None or str(self.file).startswith("file:"):
            return None
        return self.file.with_name(f"{self.file.name}{NETWORKS}")

    def create(self) -> None:
        """Create what is missing: tables, and the columns of a database of an earlier version."""

        def is_complete(connection: sa.Connection) -> bool:
            found = sa.inspect(connection)
            there = set(found.get_table_names())
            return all(table.name in there and not _lacking(found, table) for table in SCHEMA.sorted_tables)

        def make(connection: sa.Connection) -> None:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CREATION)))
            for table in SCHEMA.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
            found = sa.inspect(connection)
            for table in SCHEMA.sorted_tables:
                for column in _lacking(found, table):
                    if not column.nullable and column.server_default is None:  # no version of nastk was without it
                        raise StorageError(f"cannot use {self.shown}: its table {table.name} has no {column.name}")
                    made = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                    connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {made}"))

        if not self.read(is_complete):
            self.within(make, races=RACES)

    def read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        """Read in one transaction, which makes no other process wait; errors as of :meth:`within`."""
        return self._do(work, None, 0, {"nastk_reads": True})

    def within(
        self,
        work: Callable[[sa.Connection], Answer],
        outage: float | None = None,
        races: int = 0,
        flushed: bool = True,
    ) -> Answer:
        """Do some work in one transaction, all or nothing.

        `work` is called anew where a connection was lost, and then has to see for itself whether it was done: what is
        lost may be the database's answer alone.

        Args:
            outage: go on trying for this many seconds where the database is locked, full or out of reach. By default
                only a lock is waited for, and no longer than another process needs to open the database.
            races: do it anew, this often, where another process created the same at the same moment.
            flushed: wait until the disk has it. Otherwise SQLite leaves that to the system, which takes a thousandth
                of the time: a process that is killed loses nothing, a machine that loses its power the last seconds.

        Raises:
            StorageError: the database cannot be used; the message says why.
            IntegrityError: a row is there already.
        """
        return self._do(work, outage, races, {"nastk_flushed": flushed})

    def _do(
        self, work: Callable[[sa.Connection], Answer], outage: float | None, races: int, options: dict[str, Any]
    ) -> Answer:
        begun, wait, told = time.monotonic(), 0.05, False
        while True:
            try:
                with self._engine.connect().execution_options(**options) as connection, connection.begin():
                    return work(connection)
            except IntegrityError:
                if not races:
                    raise
                races -= 1
                continue
            except (SQLAlchemyError, ImportError) as error:
                failure = self._translated(error)
                lost = getattr(error, "connection_invalidated", False)
                passing = bool(lost or PASSING.search(str(failure))) if outage is not None else "locked" in str(failure)
                left = (OPENING if outage is None else outage) - (time.monotonic() - begun)
                if not passing or left <= 0 or Uninterrupted.is_asked_to_end():
                    raise failure from error
            if outage is not None and not told:
                told = True
                warnings.warn(f"{failure}; trying again for {outage:.0f} s", stacklevel=3)
            until = time.monotonic() + min(wait, left)
            while time.monotonic() < until and not Uninterrupted.is_asked_to_end():
                time.sleep(min(STEP, wait))
            wait = min(2 * wait, 10.0)

    def _translated(self, error: Exception) -> StorageError:
        if isinstance(error, ImportError):
            return StorageError(f"{self.shown} needs a driver that is not installed: {error.name}")
        if isinstance(error, DatabaseError):
            reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
            if password := self._engine.url.password:
                reason = reason.replace(str(password), "***")
            return StorageError(
                f"cannot use {self.shown}: {reason}{'; another process holds it' if 'locked' in reason else ''}"
            )
        return StorageError(f"cannot use {self.shown}: {str(error).splitlines()[0]}")

    def close(self) -> None:
        self._engine.dispose()


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Write-ahead log, flushed at every commit: a killed process loses nothing that was recorded."""
    connection.isolation_level = None  # transactions begin where `_begin_at_once` says, tables' creation included
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={int(1000 * BUSY)}")
        cursor.execute("PRAGMA journal_mode=WAL")
    finally:
        cursor.close()


def _begin_at_once(connection: sa.Connection) -> None:
    """Take the write lock at the beginning: two that read first and write then would be refused, not made to wait."""
    options = connection.get_execution_options()
    if options.get("nastk_reads"):
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get('nastk_flushed', True) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lacking(found: sa.Inspector, table: sa.Table) -> list[sa.Column[Any]]:
    """Columns that a table does not have yet."""
    have = {column["name"] for column in found.get_columns(table.name)}
    return [column for column in table.columns if column.name not in have]


def _postgres_driver(shown: str) -> str:
    for package, name in POSTGRES.items():
        if find_spec(package) is not None:
            return name
    raise StorageError(f"storage {shown} needs the package psycopg: {installing('postgres')}")


def seconds_of(connection: sa.Connection) -> float:
    """The time by the clock of the database, seconds since 1970: that of the server, of SQLite this machine's.

    Two machines never compare their own clocks, which need not agree.
    """
    now: datetime = connection.execute(sa.select(sa.func.current_timestamp())).scalar_one()
    return (now.replace(tzinfo=UTC) if now.tzinfo is None else now).timestamp()


def without_password(text: str) -> str:
    """A text with every password of a URL in it replaced by ``***``, also of one that cannot be read as a URL."""
    text = re.sub(r"(?i)((?:password|passwd|pwd|passphrase|token|secret|key)=)[^&\s]*", r"\1***", text)
    return re.sub(r"([^:/@\s]*:)(?!//)\S*@", r"\1***@", text)
