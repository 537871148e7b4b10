"""Records as rows of the database, and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nastk.database import KEY, RECORDS
from nastk.errors import StorageError
from nastk.evaluation import Identity, Key, Record

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


def row_of(record: Record, study: int, identity: Identity) -> dict[str, Any]:
    """The row of a record of this study.

    Args:
        identity: of the objective's evaluations.
    """
    return {
        "study": study,
        "arch": arch_text(record.arch),
        "objective": record.objective,
        "fidelity": fidelity_text(record.fidelity),
        "purpose": record.purpose,
        "value": null(record.value),
        "std": null(record.std),
        "cost": null(record.cost),
        "source": record.source,
        "status": record.status,
        "reason": record.reason,
        "time": record.time,
        "kind": record.kind,
        "attempts": record.attempts,
        "charged": int(record.charged),
        "origin": record.study,
        "evaluation": identity.digest,
        "resolved": fidelity_text(identity.resolved(record.fidelity)),
        "version": identity.version,
        "details": json.dumps(dict(record.details)) if record.details else "",
    }


def arch_of(text: str) -> tuple[int, ...]:
    """An architecture as the database has it."""
    return tuple(map(int, text.split(",")))


def key_of_row(row: Mapping[str, Any]) -> Key:
    """The key of a row, by its columns."""
    return arch_of(row["arch"]), row["objective"], number_or_none(row["fidelity"]), row["purpose"]


def keys_of(study: int, row: Mapping[str, Any] | None = None) -> sa.Select[Any]:
    """Keys of the records of a study, or the one of this row."""
    found = sa.select(*(RECORDS.c[name] for name in KEY[1:])).where(RECORDS.c.study == study)
    return found if row is None else found.where(*(RECORDS.c[name] == row[name] for name in KEY[1:]))


def row_key(row: Any) -> tuple[str, str, str, str]:
    """The same as texts."""
    return row.arch, row.objective, row.fidelity, row.purpose


def arch_text(arch: Sequence[int]) -> str:
    return ",".join(map(str, arch))


def fidelity_text(fidelity: float | None) -> str:
    return "" if fidelity is None else repr(float(fidelity))


def number_or_none(text: str) -> float | None:
    """A fidelity as the database has it."""
    return float(text) if text else None


def _number(value: float | None) -> float:
    return NAN if value is None else value


NAN = float("nan")
"""One object for all values that are unknown."""


def null(value: float) -> float | None:
    return None if value != value else float(value)


def read_spilled(path: Path) -> list[dict[str, Any]]:
    """The rows that a run could not write to its database, from the file in which it kept them."""
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
