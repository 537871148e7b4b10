"""The history: append-only records of what was paid for. In memory, or durable in a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import Literal


@dataclass(frozen=True)
class Record:
    """One evaluation of one objective on one architecture.

    Args:
        arch: the row of integers.
        objective: name of the objective.
        value: in the objective's unit; NaN if it failed.
        std: its standard deviation, NaN where unknown.
        cost: seconds it took, NaN where unknown.
        fidelity: what was paid for, None for the highest.
        source: where the value comes from ("measured on ...", "table ...").
        status: "ok" or "failed".
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
    purpose: Literal["search", "verify"] = "search"
    time: float = field(default_factory=time)
