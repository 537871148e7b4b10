"""Databases of studies: their tables, connections, and transactions that wait out a short outage."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from nastk.errors import StorageError
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
    r"locked|busy|disk is full|disk full|disk I/O|unable to open|connect|timeout|terminat|recovery|closed"
)
"""What a database says of troubles that may pass."""

UNSAVED = ".unsaved.jsonl"
"""End of the name of the file for records that a database could not take."""

PATIENT = {"postgresql": {"connect_timeout": 10}}
"""Arguments of a connection by kind of database: one that does not answer is reported within seconds."""

Answer = TypeVar("Answer")

SCHEMA = sa.MetaData()
"""The tables below, which a new database is created with."""

STUDIES = sa.Table(
    "nastk_studies",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("state", sa.Text),
)
"""One row per study: its identity (`config`) and the latest state of its searcher, both JSON."""

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
    sa.UniqueConstraint(*KEY),
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

    Raises:
        StorageError: no URL, a database in memory, or one whose driver is not installed.
    """

    def __init__(self, storage: str | os.PathLike[str]):
        text = os.fspath(storage)
        if isinstance(storage, os.PathLike) or ("://" not in text and Path(text).is_file()):
            text = sqlite_url(text)
        try:
            url = sa.make_url(text)
            self.shown = without_password(url.render_as_string(hide_password=True))
            if url.get_backend_name() == "sqlite":
                url = self._on_disk(url)
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

        def make(connection: sa.Connection) -> None:
            for table in SCHEMA.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            have = {column["name"] for column in sa.inspect(connection).get_columns(RECORDS.name)}
            for column in RECORDS.columns:
                if column.name not in have:
                    made = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                    connection.execute(sa.text(f"ALTER TABLE {RECORDS.name} ADD COLUMN {made}"))

        self.within(make, races=RACES)

    def within(self, work: Callable[[sa.Connection], Answer], outage: float | None = None, races: int = 0) -> Answer:
        """Do some work in one transaction, all or nothing.

        Args:
            races: do it anew, this often, where another process created the same at the same moment.
            outage: go on trying for this many seconds where the database is locked, full or out of reach. By default
                only a lock is waited for, and no longer than another process needs to open the database.

        Raises:
            StorageError: the database cannot be used; the message says why.
            IntegrityError: a row is there already.
        """
        begun, wait, told = time.monotonic(), 0.05, False
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except IntegrityError:
                if not races:
                    raise
                races -= 1
                continue
            except (SQLAlchemyError, ImportError) as error:
                failure = self._translated(error)
                passing = bool(PASSING.search(str(failure))) if outage is not None else "locked" in str(failure)
                left = (OPENING if outage is None else outage) - (time.monotonic() - begun)
                if not passing or left <= 0 or Uninterrupted.is_asked_to_end():
                    raise failure from error
            if outage is not None and not told:
                told = True
                warnings.warn(f"{failure}; trying again for {outage:.0f} s", stacklevel=2)
            until = time.monotonic() + min(wait, left)
            while time.monotonic() < until and not Uninterrupted.is_asked_to_end():
                time.sleep(min(STEP, wait))
            wait = min(2 * wait, 10.0)

    def _translated(self, error: Exception) -> StorageError:
        if isinstance(error, ImportError):
            return StorageError(f"{self.shown} needs a driver that is not installed: {error.name}")
        if isinstance(error, DatabaseError):
            reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
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
        cursor.execute("PRAGMA synchronous=FULL")
    finally:
        cursor.close()


def _begin_at_once(connection: sa.Connection) -> None:
    """Take the write lock at the beginning: two that read first and write then would be refused, not made to wait."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def sqlite_url(path: str | os.PathLike[str]) -> str:
    """The URL of a SQLite file, whatever characters are in its path."""
    return sa.URL.create("sqlite", database=os.fspath(path)).render_as_string()


def without_password(text: str) -> str:
    """A text with every password of a URL in it replaced by ``***``, also of one that cannot be read as a URL."""
    text = re.sub(r"(?i)((?:password|passwd|pwd|passphrase|token|secret|key)=)[^&\s]*", r"\1***", text)
    return re.sub(r"([^:/@\s]*:)(?!//)\S*@", r"\1***@", text)
