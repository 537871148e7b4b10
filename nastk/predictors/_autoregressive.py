"""Multi-fidelity prediction for predictors that cannot use a lower fidelity themselves."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from nastk.oracles.base import Values
from nastk.predictors.base import Prediction, Predictor, Task


class Autoregressive(Predictor):
    """``slope * lower(x) + difference(x)`` (Kennedy & O'Hagan, Biometrika 2000; Le Gratiet & Garnier 2014).

    The slope is fitted by least squares, shrunk towards one by one pseudo-observation at one standard deviation of the
    lower-fidelity values. The given predictor learns the residual. Variances add up.

    Args:
        predictor: learns the difference; not modified.
    """

    def __init__(self, predictor: Predictor):
        self.predictor = predictor

    def fit(self, task: Task) -> Autoregressive:
        self.difference_ = self.predictor.adapt(self._rest(task))
        return self

    def conditioned(self, task: Task) -> Autoregressive | None:
        other = copy(self)
        difference = self.difference_.conditioned(other._rest(task))
        if difference is None:
            return None
        other.difference_ = difference
        return other

    def _rest(self, task: Task) -> Task:
        """What the lower fidelity leaves to learn, once the slope is fitted."""
        assert task.lower is not None
        self.task_ = task
        lower = task.lower.predict(task.archs).mean
        spread = float(np.var(task.lower.task_.values)) or 1.0
        centred = lower - lower.mean()
        self.slope_ = float((centred @ task.values + spread) / (centred @ centred + spread))
        return replace(task, values=task.values - self.slope_ * lower, lower=None)

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        assert self.task_.lower is not None
        lower, difference = self.task_.lower.predict(archs), self.difference_.predict(archs)
        std: Values = np.hypot(self.slope_ * lower.std, difference.std)
        return Prediction(self.slope_ * lower.mean + difference.mean, std)


def adapted(predictor: Predictor, task: Task) -> Predictor:
    """The predictor fitted to a task, and to the task's lower fidelity if it has one."""
    if task.lower is None or predictor.uses_lower:
        return predictor.adapt(task)
    return Autoregressive(predictor).fit(task)
