"""A metric from what is known of it at a lower fidelity, for predictors that cannot use that themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nastk.oracles.base import Values
from nastk.predictors.base import Prediction, Predictor, Task


class Autoregressive(Predictor):
    """``slope * lower(x) + difference(x)`` (Kennedy & O'Hagan, Biometrika 2000; Le Gratiet & Garnier 2014).

    The slope is the least squares one, drawn towards one as if by one more observation at a standard deviation of what
    is known at the lower fidelity; what it leaves is learned by the given predictor. Variances add up.

    Args:
        predictor: learns the difference; stays as it is.
    """

    def __init__(self, predictor: Predictor):
        self.predictor = predictor

    def fit(self, task: Task) -> Autoregressive:
        assert task.lower is not None
        self.task_ = task
        lower = task.lower.predict(task.archs).mean
        spread = float(np.var(task.lower.task_.values)) or 1.0
        centred = lower - lower.mean()
        self.slope_ = float((centred @ task.values + spread) / (centred @ centred + spread))
        self.difference_ = self.predictor.adapt(replace(task, values=task.values - self.slope_ * lower, lower=None))
        return self

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        assert self.task_.lower is not None
        lower, difference = self.task_.lower.predict(archs), self.difference_.predict(archs)
        std: Values = np.hypot(self.slope_ * lower.std, difference.std)
        return Prediction(self.slope_ * lower.mean + difference.mean, std)


def adapted(predictor: Predictor, task: Task) -> Predictor:
    """The predictor fitted to a task, and to what the task knows of a lower fidelity."""
    if task.lower is None or predictor.uses_lower:
        return predictor.adapt(task)
    return Autoregressive(predictor).fit(task)
