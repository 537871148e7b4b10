"""Monotone warp of a metric to standard normal quantiles, for metrics with a far from normal distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from nastk.errors import InvalidValue
from nastk.oracles.base import Direction, Values

if TYPE_CHECKING:
    from torch import Tensor

    from nastk.predictors.base import Task


@dataclass(frozen=True)
class Scale:
    """A strictly increasing, piecewise linear map of a metric to scores of mean about 0 and deviation about 1.

    Args:
        values: knots in the metric's unit, ascending, ``(k,)``.
        scores: values at the knots, ascending, ``(k,)``.
        low, high: slopes (metric per score) below the first and above the last knot, positive.
    """

    values: Values
    scores: Values
    low: float
    high: float

    @classmethod
    def fit(cls, kind: str, values: Values, direction: Direction) -> Scale:
        """The map of these values.

        Args:
            kind: "normal" (van der Waerden scores, ties share their mean rank), "identity" (standardised), or "auto":
                "normal" if higher is better, since accuracies concentrate near the best, else "identity".
            values: ``(n,)``, at least one.

        Raises:
            InvalidValue: unknown kind.
        """
        if kind not in ("auto", "normal", "identity"):
            raise InvalidValue(f"unknown warp {kind!r}; known: auto, normal, identity")
        centre, spread = float(values.mean()), float(values.std())
        spread = spread if spread > 1e-12 * max(1.0, abs(centre)) else 1.0
        knots = np.unique(values)
        if kind == "identity" or (kind == "auto" and direction == "min") or len(knots) < 4:
            return cls(np.array([centre]), np.zeros(1), spread, spread)
        ranks = np.unique(rankdata(values))
        scores = ndtri((ranks - 0.375) / (len(values) + 0.25))
        outer = max(2, len(knots) // 4)

        def slope(rows: slice) -> float:
            """Slope of the metric over the scores between the first and last of some knots."""
            return float(np.ptp(knots[rows]) / np.ptp(scores[rows]))

        return cls(knots, scores, slope(slice(0, outer)), slope(slice(-outer, None)))

    def forward(self, values: Values) -> Values:
        """Scores of values."""
        below, above = np.minimum(values - self.values[0], 0.0), np.maximum(values - self.values[-1], 0.0)
        return np.interp(values, self.values, self.scores) + below / self.low + above / self.high

    def backward(self, scores: Values) -> Values:
        """The inverse of :meth:`forward`."""
        below, above = np.minimum(scores - self.scores[0], 0.0), np.maximum(scores - self.scores[-1], 0.0)
        return np.interp(scores, self.scores, self.values) + below * self.low + above * self.high

    def backward_relaxed(self, scores: Tensor) -> Tensor:
        """:meth:`backward` of a tensor, through which gradients flow."""
        import torch

        knots = torch.as_tensor(self.scores, dtype=scores.dtype, device=scores.device)
        values = torch.as_tensor(self.values, dtype=scores.dtype, device=scores.device)
        outer = (scores - knots[0]).clamp(max=0.0) * self.low + (scores - knots[-1]).clamp(min=0.0) * self.high
        if len(knots) == 1:
            return values[0] + outer
        inside = scores.clamp(knots[0], knots[-1])
        right = torch.searchsorted(knots, inside.detach().contiguous()).clamp(1, len(knots) - 1)
        share = (inside - knots[right - 1]) / (knots[right] - knots[right - 1])
        return values[right - 1] + share * (values[right] - values[right - 1]) + outer


def line(scores: Values, wanted: Values, direction: Direction = "max") -> tuple[float, float]:
    """Offset and slope of an order-preserving least-squares line from scores to values, ``(n,)`` each.

    Args:
        direction: "max" for a positive slope, "min" for a negative one; a fit of the other sign is replaced by a nearly
            flat line.
    """
    sign = 1.0 if direction == "max" else -1.0
    spread = float(scores.var())
    slope = float(((scores - scores.mean()) * (wanted - wanted.mean())).mean()) / spread if spread else 0.0
    slope = sign * max(sign * slope, 1e-6)
    return float(wanted.mean() - slope * scores.mean()), slope


def normal_scores(task: Task) -> Values:
    """Scores ``(n,)`` of a task's values by their ranks, higher is better: comparable between metrics and tasks."""
    return np.asarray(ndtri(rank_places(task)))


def rank_places(task: Task) -> Values:
    """Quantile of each of a task's values, near 1 for the best, ``(n,)``."""
    sign = 1.0 if task.direction == "max" else -1.0
    return np.asarray((rankdata(sign * task.values) - 0.5) / len(task))
