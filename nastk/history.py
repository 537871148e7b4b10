"""The history: append-only records of what was paid for. In memory, or durable in a database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import time
from typing import TYPE_CHECKING, Any, Literal

from nastk.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

    from nastk.spaces.base import SearchSpace

Purpose = Literal["search", "verify"]


@dataclass(frozen=True)
class Record:
    """One evaluation of one objective on one architecture.

    Args:
        arch: the row of integers.
        objective: name of the objective.
        value: in the objective's unit; NaN if it failed.
        std: its standard deviation, NaN where unknown.
        cost: seconds it took, NaN where unknown.
        fidelity: what was paid for (training epochs); None where the objective was evaluated as it stands.
        source: where the value comes from ("measured on ...", "table ...").
        status: "ok" or "failed".
        reason: why it failed.
        purpose: "search", or "verify" for measurements that check a front and are not part of the budget.
        time: when it was recorded, seconds since 1970.
    """

    arch: tuple[int, ...]
    objective: str
    value: float
    std: float = float("nan")
    cost: float = float("nan")
    fidelity: float | None = None
    source: str = ""
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""
    purpose: Purpose = "search"
    time: float = field(default_factory=time)

    @property
    def key(self) -> tuple[tuple[int, ...], str, float | None, str]:
        """What can be recorded only once."""
        return self.arch, self.objective, self.fidelity, self.purpose


class History:
    """Records in the order in which they were made, in memory.

    An architecture is recorded once an objective, fidelity and purpose; a second record of it is refused.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[Any, ...], Record] = {}
        self._counts: dict[str, dict[str, int]] = {}
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
        for record in records:
            self._records[record.key] = record
            counts = self._counts.setdefault(record.purpose, {})
            counts[record.objective] = counts.get(record.objective, 0) + 1

    def _store(self, records: Sequence[Record], state: dict[str, Any] | None) -> None:
        """For a durable history; in memory there is nothing to do."""

    def records(self, purpose: Purpose | None = None) -> list[Record]:
        """All records, or those of one purpose, oldest first."""
        return [r for r in self._records.values() if purpose in (None, r.purpose)]

    def find(
        self, arch: Iterable[int], objective: str, fidelity: float | None = None, purpose: Purpose = "search"
    ) -> Record | None:
        """The record of an evaluation, or None if it was not made."""
        return self._records.get((tuple(int(v) for v in arch), objective, fidelity, purpose))

    def counts(self, purpose: Purpose = "search") -> dict[str, int]:
        """Number of evaluations of each objective, failures included."""
        return dict(self._counts.get(purpose, {}))

    def cost(self, purpose: Purpose | None = None) -> float:
        """Seconds that the evaluations took, those of unknown cost left out."""
        return float(sum(r.cost for r in self.records(purpose) if r.cost == r.cost))

    def state(self) -> dict[str, Any] | None:
        """The state as last saved, or None."""
        return self._state

    def frame(self, space: SearchSpace) -> pd.DataFrame:
        """One row a record, architectures as text."""
        import pandas as pd

        rows = [{**asdict(r), "arch": space.format(r.arch)} for r in self._records.values()]  # type: ignore[arg-type]
        return pd.DataFrame(rows, columns=list(Record.__dataclass_fields__))

    def close(self) -> None:
        """Let go of the database; a history in memory stays as it is."""

    def __len__(self) -> int:
        return len(self._records)


def open_history(storage: str | None = None, study: str = "nastk", config: dict[str, Any] | None = None) -> History:
    """A history in memory (no `storage`), or durable in a database.

    Args:
        storage: SQLAlchemy URL, such as ``sqlite:///run.db``.
        study: one database holds many studies by name.
        config: what makes the study what it is (space, objectives, searcher, seed ...); a study that exists is opened
            only with the same one. The budget is no part of it.

    Raises:
        InvalidValue: the study exists with another configuration, or the configuration is no JSON.
        StorageError: the database cannot be opened, read or written.
    """
    if storage is None:
        return History()
    from nastk.storage import DurableHistory

    try:
        plain = json.loads(json.dumps(config or {}, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"the configuration of a study must be JSON: {error}") from None
    return DurableHistory(storage, study, plain)
