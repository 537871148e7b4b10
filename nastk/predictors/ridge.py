"""ridge: linear regression, L2 penalty by leave-one-out error (Hoerl & Kennard, Technometrics 1970)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nastk.encodings.base import encoding
from nastk.errors import InvalidValue
from nastk.predictors.base import Prediction, Predictor, Task


class Ridge(Predictor):
    """Ridge regression on an encoding; over one-hot choices this is the additive lookup-table model of latency.

    Args:
        encoding: terms joined by ``+``.
        strengths: candidates for the regularisation, relative to the mean squared feature norm; the one with the
            smallest leave-one-out error (closed form) is used.
    """

    def __init__(self, encoding: str = "vec", strengths: tuple[float, ...] = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)):
        self.encoding, self.strengths = encoding, strengths

    def fit(self, task: Task) -> Ridge:
        if len(task) < 1:
            raise InvalidValue("ridge needs at least one architecture")
        self.task_ = task
        self.encoding_ = encoding(self.encoding).fit(task.space, task.context)
        x = self.encoding_.transform(task.archs)
        self.centre_, spread = x.mean(axis=0), x.std(axis=0)
        self.scale_ = np.where(spread > 1e-9, 1.0 / np.where(spread > 1e-9, spread, 1.0), 0.0)
        x = (x - self.centre_) * self.scale_
        self.mean_ = float(task.values.mean())
        y = task.values - self.mean_
        left, singular, right = np.linalg.svd(x, full_matrices=False)
        projected = left.T @ y
        best = np.inf
        for strength in self.strengths:
            penalty = strength * max(float((singular**2).mean()), 1e-12)
            shrink = singular**2 / (singular**2 + penalty)
            leverage = (left**2) @ shrink + 1.0 / len(y)
            residual = (y - left @ (shrink * projected)) / np.maximum(1.0 - leverage, 1e-6)
            error = float((residual**2).mean())
            if error < best:
                best = error
                self.coef_ = right.T @ (singular / (singular**2 + penalty) * projected)
                self.penalty_ = penalty
        self.axes_, self.precision_ = right, singular**2 + self.penalty_
        self.noise_ = float(np.sqrt(max(best, 0.0)))
        return self

    def predict(self, archs: Any) -> Prediction:
        """Mean, and the standard deviation of the Bayesian linear model with the leave-one-out error as noise."""
        archs = self._checked(archs)
        x = (self.encoding_.transform(archs) - self.centre_) * self.scale_
        along = (x @ self.axes_.T) ** 2
        variance = (along / self.precision_).sum(axis=1)
        variance += np.maximum((x**2).sum(axis=1) - along.sum(axis=1), 0.0) / self.penalty_
        return Prediction(self.mean_ + x @ self.coef_, self.noise_ * np.sqrt(1.0 + variance))

    @property
    def relaxable(self) -> bool:  # type: ignore[override]
        """Whether the encoding has a relaxed form."""
        return encoding(self.encoding).relaxable

    def predict_relaxed(self, one_hot: Any) -> Any:
        import torch

        if not self.relaxable:
            return super().predict_relaxed(one_hot)
        self._checked(np.empty((0, self.task_.space.d), dtype=np.int64))
        features = self.encoding_.transform_relaxed(one_hot.double())
        slope = torch.as_tensor(self.coef_ * self.scale_, dtype=features.dtype, device=features.device)
        return features @ slope + float(self.mean_ - self.centre_ @ (self.coef_ * self.scale_))
