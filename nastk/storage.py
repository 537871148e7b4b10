"""Histories in a database, through SQLAlchemy: SQLite for one machine, PostgreSQL for a group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from nastk.errors import InvalidValue, StorageError
from nastk.evaluation import Kind, Record
from nastk.history import History

BUSY = 5.0
"""Seconds to wait for another process that is writing to a SQLite file. Longer hides a process that holds it for
good."""

_SCHEMA = sa.MetaData()
"""The tables below, which a new database is created with."""

_STUDIES = sa.Table(
    "nastk_studies",
    _SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("state", sa.Text),
)
"""One row per study: what it is (`config`) and the latest state of its searcher, both JSON."""

_RECORDS = sa.Table(
    "nastk_records",
    _SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.ForeignKey(_STUDIES.c.id), nullable=False),
    sa.Column("arch", sa.String(2000), nullable=False),
    sa.Column("objective", sa.String(200), nullable=False),
    sa.Column("fidelity", sa.String(40), nullable=False),  # "" for the highest: NULLs would not be unique
    sa.Column("purpose", sa.String(10), nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("std", sa.Float),
    sa.Column("cost", sa.Float),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False, server_default=""),  # "" in databases older than the column
    sa.UniqueConstraint("study", "arch", "objective", "fidelity", "purpose"),
)
"""One row per :class:`Record`. The unique constraint makes the second of two concurrent runs of one study fail."""


class DurableHistory(History):
    """A history whose records are committed to a database before `add` returns.

    See :func:`open_history` for arguments and errors.
    """

    def __init__(self, storage: str, study: str, config: dict[str, Any]):
        super().__init__()
        self.study = study
        try:
            url = sa.make_url(storage)
            self.storage = url.render_as_string(hide_password=True)
            self._engine = sa.create_engine(url)
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise StorageError(
                f"storage {storage!r} is not a database URL; write sqlite:///run.db or postgresql://user@host/name"
            ) from None
        except ImportError as error:
            raise StorageError(f"storage {self.storage} needs a driver that is not installed: {error.name}") from error
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        with self._translate_errors():
            _SCHEMA.create_all(self._engine)
            self._add_missing_columns()
        self._id = self._open(config)
        self._load()

    def _open(self, config: dict[str, Any]) -> int:
        text = json.dumps(config, sort_keys=True)
        with self._translate_errors(), self._engine.begin() as connection:
            found = connection.execute(sa.select(_STUDIES).where(_STUDIES.c.name == self.study)).one_or_none()
            if found is None:
                inserted = connection.execute(sa.insert(_STUDIES).values(name=self.study, config=text))
                key = inserted.inserted_primary_key
                assert key is not None
                return int(key[0])
        stored = json.loads(found.config)
        if stored != config:
            keys = sorted(k for k in {*stored, *config} if stored.get(k) != config.get(k))
            shown = "; ".join(f"{k} was {stored.get(k)!r}, now {config.get(k)!r}" for k in keys)
            raise InvalidValue(
                f"study {self.study!r} in {self.storage} was begun with other settings ({shown}); "
                "use those, or another study name"
            )
        return int(found.id)

    def _add_missing_columns(self) -> None:
        """Bring a database of an earlier version up to date."""
        have = {column["name"] for column in sa.inspect(self._engine).get_columns(_RECORDS.name)}
        if "kind" not in have:
            with self._engine.begin() as connection:
                connection.execute(
                    sa.text(f"ALTER TABLE {_RECORDS.name} ADD COLUMN kind VARCHAR(10) NOT NULL DEFAULT ''")
                )

    def _load(self) -> None:
        with self._translate_errors(), self._engine.connect() as connection:
            state = connection.execute(sa.select(_STUDIES.c.state).where(_STUDIES.c.id == self._id)).scalar_one()
            rows = connection.execute(sa.select(_RECORDS).where(_RECORDS.c.study == self._id).order_by(_RECORDS.c.id))
            records = [
                Record(
                    tuple(int(v) for v in row.arch.split(",")), row.objective, _number(row.value), _number(row.std),
                    _number(row.cost), float(row.fidelity) if row.fidelity else None, row.source, row.status,
                    row.reason, row.purpose, row.time, _kind(row),
                )
                for row in rows
            ]  # fmt: skip
        self._state = json.loads(state) if state else None
        self._keep(records)

    def _store(self, records: Sequence[Record], state: dict[str, Any] | None) -> None:
        with self._translate_errors(), self._engine.begin() as connection:
            for record in records:
                connection.execute(
                    sa.insert(_RECORDS).values(
                        study=self._id,
                        arch=",".join(str(v) for v in record.arch),
                        objective=record.objective,
                        fidelity="" if record.fidelity is None else repr(float(record.fidelity)),
                        purpose=record.purpose,
                        value=_null(record.value),
                        std=_null(record.std),
                        cost=_null(record.cost),
                        source=record.source,
                        status=record.status,
                        reason=record.reason,
                        time=record.time,
                        kind=record.kind,
                    )
                )
            if state is not None:
                connection.execute(sa.update(_STUDIES).where(_STUDIES.c.id == self._id).values(state=json.dumps(state)))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn SQLAlchemy's errors into a StorageError that says what to do."""
        try:
            yield
        except IntegrityError as error:
            raise StorageError(
                f"another run is writing to study {self.study!r} in {self.storage}; wait for it or use another name"
            ) from error
        except DatabaseError as error:
            reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
            cure = "; another process holds it" if "locked" in reason else ""
            raise StorageError(f"cannot use {self.storage}: {reason}{cure}") from error
        except SQLAlchemyError as error:
            raise StorageError(f"cannot use {self.storage}: {str(error).splitlines()[0]}") from error
        except ImportError as error:
            raise StorageError(f"{self.storage} needs a driver that is not installed: {error.name}") from error


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Write-ahead log, flushed at every commit: a killed process loses nothing that was recorded."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={int(1000 * BUSY)}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
    finally:
        cursor.close()


def _kind(row: Any) -> Kind:
    """The kind as recorded; in databases older than the column, by the source."""
    return row.kind or ("table" if row.source.startswith("table") else "measured")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _null(value: float) -> float | None:
    return None if value != value else float(value)


def open_history(storage: str | None = None, study: str = "nastk", config: dict[str, Any] | None = None) -> History:
    """A history in memory (no `storage`), or durable in a database.

    Args:
        storage: SQLAlchemy URL, such as ``sqlite:///run.db``.
        study: one database holds many studies by name.
        config: identity of the study (space, objectives, searcher, seed ...); an existing study is opened only with
            the same one. The budget is no part of it.

    Raises:
        InvalidValue: the study exists with another configuration, or the configuration is no JSON.
        StorageError: the database cannot be opened, read or written.
    """
    if storage is None:
        return History()
    try:
        plain = json.loads(json.dumps(config or {}, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"the configuration of a study must be JSON: {error}") from None
    return DurableHistory(storage, study, plain)
