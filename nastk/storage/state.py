"""The state of a study in the database: one value a name, lists that grow in several rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from nastk.database import STATES, STUDIES


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
