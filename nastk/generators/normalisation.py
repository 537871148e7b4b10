"""Normalisation: costs of different units to [0, 1], so that preferences mean the same on every device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import InvalidValue, UnknownName

Array = NDArray[np.float64]

NORMALISATIONS = ("cdf", "min-max")


class Normalisation:
    """Increasing piecewise-linear functions, one a row, differentiable in the costs.

    Between its knots a function is linear; outside it goes on with the slope of a line through both ends, so that no
    gradient vanishes.

    Args:
        knots: ``(rows, k)``, non-decreasing.
        levels: ``(rows, k)``, what the knots are mapped to.
    """

    def __init__(self, knots: Tensor, levels: Tensor):
        self.knots, self.levels = knots.contiguous(), levels.contiguous()

    @classmethod
    def fit(cls, costs: Array, how: str = "cdf", knots: int = 64) -> Normalisation:
        """Learn from costs of random architectures.

        Args:
            costs: ``(rows, n)``, a row for each device and objective.
            how: "cdf", the share of architectures that cost less, or "min-max".
            knots: of a cdf.

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
        # ties make a jump: the knots are moved apart by a hair, so that the function stays one
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
        """Some of the functions."""
        return Normalisation(self.knots[rows], self.levels[rows])
