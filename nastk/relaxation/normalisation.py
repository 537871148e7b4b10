"""Normalisation: maps costs of different units to [0, 1], so that a preference means the same on every device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import InvalidValue, UnknownName

Array = NDArray[np.float64]

NORMALISATIONS = ("cdf", "min-max")
"""Names for :meth:`Normalisation.fit`."""


class Normalisation:
    """Increasing piecewise-linear functions, one per row, differentiable in the costs.

    A function is linear between its knots. Outside, it continues with the slope of the line through both ends, so that
    no gradient vanishes.

    Args:
        knots: ``(rows, k)``, non-decreasing.
        levels: ``(rows, k)``, values at the knots.
    """

    def __init__(self, knots: Tensor, levels: Tensor):
        self.knots, self.levels = knots.contiguous(), levels.contiguous()

    @classmethod
    def fit(cls, costs: Array, how: str = "cdf", knots: int = 64) -> Normalisation:
        """Learn from costs of random architectures.

        Args:
            costs: ``(rows, n)``, a row for each device and objective.
            how: "cdf", the fraction of architectures that cost less, or "min-max".
            knots: number of knots of a cdf.

        Raises:
            InvalidValue: costs that are not finite.
            UnknownName: no such normalisation.
        """
        if how not in NORMALISATIONS:
            raise UnknownName("normalisation", how, NORMALISATIONS)
        costs = np.atleast_2d(np.asarray(costs, dtype=np.float64))
        if not np.isfinite(costs).all():
            raise InvalidValue("costs must be finite to be normalised")
        levels = np.linspace(0.0, 1.0, knots if how == "cdf" else 2)
        found = np.quantile(costs, levels, axis=1).T
        # Ties would be a jump: move the knots apart slightly, so that this stays a function.
        width = np.maximum(np.ptp(costs, axis=1, keepdims=True), 1e-12 * np.maximum(np.abs(costs).max(), 1.0))
        found = np.maximum.accumulate(found + width * 1e-5 * np.arange(len(levels)), axis=1)
        return cls(
            torch.as_tensor(found, dtype=torch.float32),
            torch.as_tensor(np.broadcast_to(levels, found.shape).copy(), dtype=torch.float32),
        )

    def __call__(self, costs: Tensor) -> Tensor:
        """Costs ``(rows, n)`` normalised; gradients flow."""
        at = torch.searchsorted(self.knots, costs.detach().contiguous()).clamp(1, self.knots.shape[1] - 1)
        left, right = self.knots.gather(1, at - 1), self.knots.gather(1, at)
        low, high = self.levels.gather(1, at - 1), self.levels.gather(1, at)
        inside = low + (costs - left) / (right - left) * (high - low)
        first, last = self.knots[:, :1], self.knots[:, -1:]
        slope = (self.levels[:, -1:] - self.levels[:, :1]) / (last - first)
        inside = torch.where(costs < first, self.levels[:, :1] + (costs - first) * slope, inside)
        return torch.where(costs > last, self.levels[:, -1:] + (costs - last) * slope, inside)

    def rows(self, rows: Tensor) -> Normalisation:
        """A subset of the functions."""
        return Normalisation(self.knots[rows], self.levels[rows])
