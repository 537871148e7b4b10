"""A history in memory, or durable in a database."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from nastk.errors import InvalidValue
from nastk.evaluation import Identity
from nastk.history import History
from nastk.storage.durable import Computed, DurableHistory


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
