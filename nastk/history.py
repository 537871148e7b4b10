"""The history: append-only records of evaluations, in memory; `nastk.storage` keeps them in a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue
from nastk.evaluation import Key, Purpose, Record, key_of

if TYPE_CHECKING:
    import pandas as pd

    from nastk.spaces.base import SearchSpace


class History:
    """Records in the order in which they were made, in memory.

    There is one record for each architecture, objective, fidelity and purpose. A storage backend of your own is a
    subclass that fills itself by `_keep` when it is opened and overrides `_store` (and `begin` and `abandon`, where it
    is to notice evaluations that kill their process, and `flush`, where records wait to be written together); give an
    instance as ``storage`` to :func:`nastk.search`. One history is written to by one study: nothing here locks.

    Attributes:
        notes: what a user should know of the records, a sentence each: evaluations of other studies that are used,
            a function that changed since.
        place: where the records are, for messages; empty for memory.
        networks: folder for the files that trainings keep of their networks; None where it has none of its own.

    Raises:
        InvalidValue: :meth:`add` is given a record that is there already.
        StorageError: of a durable history: the database cannot be read or written.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.place = ""
        self.networks: Path | None = None
        self._records: dict[Key, Record] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._spent: dict[str, dict[str, int]] = {}
        self._state: dict[str, Any] | None = None

    def add(self, records: Sequence[Record], state: dict[str, Any] | None = None) -> None:
        """Append records, all or none.

        Args:
            state: of the study and its searcher, kept beside them in the same step.

        Raises:
            InvalidValue: one is there already.
            StorageError: the database could not take them.
        """
        keys = [r.key for r in records]
        if len(set(keys)) < len(keys) or any(k in self._records for k in keys):
            raise InvalidValue("an evaluation would be recorded twice")
        self._store(records, state)
        self._keep(records)
        if state is not None:
            self._state = state

    def _keep(self, records: Iterable[Record]) -> None:
        """Take records into memory, without storing them."""
        for record in records:
            self._records[record.key] = record
            for counts, counted in ((self._counts, not record.study), (self._spent, record.charged)):
                if counted:
                    of = counts.setdefault(record.purpose, {})
                    of[record.objective] = of.get(record.objective, 0) + 1

    def _store(self, records: Sequence[Record], state: dict[str, Any] | None) -> None:
        """Write records and state durably, all or none; nothing to do in memory."""

    def records(self, purpose: Purpose | None = None) -> list[Record]:
        """All records, or those of one purpose, oldest first."""
        return [r for r in self._records.values() if purpose in (None, r.purpose)]

    def find(
        self, arch: Iterable[int], objective: str, fidelity: float | None = None, purpose: Purpose = "search"
    ) -> Record | None:
        """The record of an evaluation, or None if there is none."""
        return self._records.get(key_of(arch, objective, fidelity, purpose))

    def counts(self, purpose: Purpose = "search") -> dict[str, int]:
        """Number of evaluations of each objective by this study, failures included."""
        return dict(self._counts.get(purpose, {}))

    def spent(self, purpose: Purpose = "search") -> dict[str, int]:
        """Number of evaluations of each objective that count against the budget."""
        return dict(self._spent.get(purpose, {}))

    def begin(self, evaluations: Sequence[Key]) -> None:
        """Note that these evaluations begin, so that one that kills this process is recognised; `add` ends them."""

    def abandon(self) -> None:
        """Note that evaluations in progress are given up without a fault of theirs, as after Ctrl-C."""

    def flush(self) -> None:
        """Write what waits to be written with others; nothing waits in memory.

        Raises:
            StorageError: the database could not take it.
        """

    def is_suspect(self, evaluation: Key) -> bool:
        """Whether a process ended during this evaluation before; it is evaluated alone then, to know what to blame."""
        return False

    def cost(self, purpose: Purpose | None = None) -> float:
        """Seconds that this study's evaluations took, those of unknown cost left out."""
        return float(sum(r.cost for r in self.records(purpose) if r.cost == r.cost and not r.study))

    def state(self) -> dict[str, Any] | None:
        """The state as last saved, or None."""
        return self._state

    def frame(self, space: SearchSpace) -> pd.DataFrame:
        """One row a record, architectures as text."""
        import pandas as pd

        rows = [{**asdict(r), "arch": space.format(r.arch)} for r in self._records.values()]  # type: ignore[arg-type]
        columns = [name for name in Record.__dataclass_fields__ if name != "details"]
        if any(r.details for r in self._records.values()):
            columns.append("details")
        return pd.DataFrame(rows, columns=columns)

    def close(self) -> None:
        """Write what waits, and let go of the database; a history in memory stays as it is."""

    def __len__(self) -> int:
        return len(self._records)
