"""One evaluation: its record, what sort of value it is, and how one objective of one architecture is evaluated.

Below histories, studies, results and reports, which all speak of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nastk.errors import NastkError

if TYPE_CHECKING:
    from nastk.search.base import Objective
    from nastk.spaces.base import Archs

Purpose = Literal["search", "verify"]

Kind = Literal["measured", "table", "estimate", "computed"]
"""What sort of value: a measurement or training here, a table's, a predictor's estimate, or computed exactly."""

EQUAL = "an equal network"
"""Source of a record that took its value from an isomorphic architecture's instead of an evaluation."""


@dataclass(frozen=True)
class Record:
    """One evaluation of one objective on one architecture.

    Args:
        arch: the row of integers.
        objective: name of the objective.
        value: in the objective's unit; NaN if it failed.
        std: its standard deviation, NaN where unknown.
        cost: seconds it took, NaN where unknown.
        fidelity: at which it was evaluated (training epochs); None where the objective was evaluated as it stands.
        source: where the value comes from ("measured on ...", "table ...").
        status: "ok" or "failed".
        reason: why it failed.
        purpose: "search", or "verify" for evaluations that check a front and are not part of the budget.
        time: when it was recorded, seconds since 1970.
        kind: what sort of value it is.
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
    kind: Kind = "measured"

    @property
    def key(self) -> tuple[tuple[int, ...], str, float | None, str]:
        """What can be recorded only once."""
        return self.arch, self.objective, self.fidelity, self.purpose


def evaluate(objective: Objective, arch: Archs, fidelity: float | None, purpose: Purpose = "search") -> Record:
    """Evaluate one objective of one architecture ``(d,)``; what workers are sent.

    A failure of the oracle is a record with its reason; an error that nastk raises on purpose ends the run.
    """
    return evaluate_together(objective, np.asarray(arch)[None], fidelity, purpose)[0]


def evaluate_together(
    objective: Objective, archs: Archs, fidelity: float | None, purpose: Purpose = "search"
) -> list[Record]:
    """Evaluate one objective of several architectures ``(n, d)`` in one call of its oracle; see :func:`evaluate`."""
    oracle = objective.oracle
    reasons: dict[str, str] = {}
    try:
        answer = oracle.evaluate(archs, fidelity)
    except NastkError:
        raise
    except Exception as error:
        # Whatever a user's function or network raises is that architecture's failure, never the end of the run.
        if len(archs) > 1:  # one of them is to blame: evaluate each alone
            return [evaluate(objective, arch, fidelity, purpose) for arch in archs]
        text = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {text}"
        return [_record(objective, archs[0], fidelity, purpose, np.nan, np.nan, np.nan, reason)]
    reasons = getattr(oracle, "reasons", reasons)
    return [
        _record(
            objective, arch, fidelity, purpose, answer.value[i], answer.std[i], answer.cost[i],
            reasons.get(oracle.space.format(arch), "no value"),
        )
        for i, arch in enumerate(archs)
    ]  # fmt: skip


def _record(
    objective: Objective,
    arch: Any,
    fidelity: float | None,
    purpose: Purpose,
    value: float,
    std: float,
    cost: float,
    reason: str,
) -> Record:
    ok = bool(np.isfinite(value))
    return Record(
        tuple(int(v) for v in arch),
        objective.name,
        float(value) if ok else float("nan"),
        float(std),
        float(cost),
        fidelity,
        objective.oracle.source,
        "ok" if ok else "failed",
        "" if ok else reason,
        purpose,
        kind=objective.oracle.kind,
    )


def of_isomorphic(record: Record, arch: Sequence[int]) -> Record:
    """The record that an architecture takes over from an isomorphic one, at no cost."""
    return Record(
        tuple(int(v) for v in arch), record.objective, record.value, record.std, 0.0, record.fidelity, EQUAL,
        kind=record.kind,
    )  # fmt: skip
