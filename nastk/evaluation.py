"""One evaluation: its record, its kind of value, and how one objective of one architecture is evaluated.

Imported by histories, studies, results and reports, and imports none of them.
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
"""Why a value was evaluated: within the budget of a search, or to verify its front."""

Kind = Literal["measured", "table", "estimate", "computed"]
"""Kind of a value: a measurement or training on this machine, of a table, a predictor's estimate, or computed
exactly."""

ISOMORPHIC = "an equal network"
"""Source of a record whose value is that of an isomorphic architecture, instead of an evaluation. Databases hold this
text, so it has to stay."""


@dataclass(frozen=True)
class Record:
    """One evaluation of one objective on one architecture.

    Args:
        arch: the architecture, a row of integers.
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
        kind: of the value, see :data:`Kind`.
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
        """Identity of the evaluation, of which there is one record at most."""
        return self.arch, self.objective, self.fidelity, self.purpose


def evaluate(objective: Objective, arch: Archs, fidelity: float | None, purpose: Purpose = "search") -> Record:
    """Evaluate one objective of one architecture ``(d,)``; the function that worker processes run.

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
    except (Exception, SystemExit) as error:
        # Any exception of a user's function or network is that architecture's failure, never the end of the run.
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
    """The record of an architecture whose value is that of an isomorphic one, at no cost."""
    return Record(
        tuple(int(v) for v in arch), record.objective, record.value, record.std, 0.0, record.fidelity, ISOMORPHIC,
        kind=record.kind,
    )  # fmt: skip
