"""Monotone transforms that make a metric more Gaussian, selected by evidence.

Latencies are often additive, sometimes multiplicative (log); accuracies concentrate near the best one, where
differences matter (log of the distance from the best).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.oracles.base import Direction, Values
from nastk.predictors.base import Task

COMPARED = ("identity", "distance")
"""Warps that "auto" compares in :func:`applicable`: the metric as it is, or the log of its distance from the best,
under which differences near the best count."""


@dataclass(frozen=True)
class Warp:
    """An invertible monotone map of values to standardised ones.

    Args:
        kind: "identity", "log", or "distance": minus the log of the distance from slightly beyond the best value.
        sign: +1 if lower is better, -1 if higher is better (for "distance").
        anchor: the value beyond the best (for "distance").
        centre, scale: of the mapped training values.
    """

    kind: str
    sign: float
    anchor: float
    centre: float
    scale: float

    KINDS = ("identity", "log", "distance")

    @classmethod
    def fit(cls, kind: str, values: Values, direction: Direction) -> Warp | None:
        """The warp of these values, or None if the kind does not apply (a logarithm of negative values)."""
        if kind not in cls.KINDS:
            raise InvalidValue(f"unknown warp {kind!r}; known: auto, {', '.join(cls.KINDS)}")
        sign = 1.0 if direction == "min" else -1.0
        anchor = 0.0
        if kind == "log" and values.min() <= 0:
            return None
        if kind == "distance":
            costs = sign * values
            spread = float(np.median(costs) - costs.min()) or float(costs.mean() - costs.min())
            if spread <= 0:
                return None
            # A margin beyond the best value keeps its logarithm finite and lets predictions improve on it.
            anchor = float(costs.min() - 0.1 * spread)
        raw = cls(kind, sign, anchor, 0.0, 1.0)._map(values)
        scale = float(raw.std())
        return cls(kind, sign, anchor, float(raw.mean()), scale if scale > 1e-12 * max(1.0, abs(raw.mean())) else 1.0)

    def _map(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "log":
            return np.log(values)
        if self.kind == "distance":
            return self.sign * np.log(self.sign * values - self.anchor)
        return np.asarray(values, dtype=np.float64)

    def forward(self, values: Values) -> Values:
        """Standardised, warped values."""
        return (self._map(values) - self.centre) / self.scale

    def backward(self, warped: Values) -> Values:
        """The inverse of :meth:`forward`."""
        raw = np.asarray(warped) * self.scale + self.centre
        if self.kind == "log":
            return np.exp(np.minimum(raw, 700.0))
        if self.kind == "distance":
            return self.sign * (np.exp(np.minimum(self.sign * raw, 700.0)) + self.anchor)
        return raw

    def log_jacobian(self, values: Values) -> float:
        """Sum of ``log d forward / d value``, which makes evidences of different warps comparable."""
        total = -len(values) * np.log(self.scale)
        if self.kind == "log":
            total -= np.log(values).sum()
        elif self.kind == "distance":
            total -= np.log(self.sign * values - self.anchor).sum()
        return float(total)

    def moments(self, mean: Values, std: Values) -> tuple[Values, Values]:
        """Median and half-width of the central 68 % in the metric's units, from a warped mean and deviation."""
        low, high = self.backward(mean - std), self.backward(mean + std)
        return self.backward(mean), np.abs(high - low) / 2


def applicable(task: Task, kind: str) -> list[Warp]:
    """Transforms of a task's metric that can be applied to its values; the identity if all values are the same.

    Raises:
        InvalidValue: none can.
    """
    fitted = [Warp.fit(k, task.values, task.direction) for k in (COMPARED if kind == "auto" else (kind,))]
    known = [warp for warp in fitted if warp is not None]
    if not known and np.ptp(task.values) == 0:
        known = [Warp("identity", 1.0 if task.direction == "min" else -1.0, 0.0, float(task.values[0]), 1.0)]
    if not known:
        raise InvalidValue(f"the warp {kind!r} cannot be applied to these values of {task.metric}")
    return known
