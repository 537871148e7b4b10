"""flops: latency as a straight line over FLOPs, the proxy that every latency predictor must beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.predictors.base import Prediction, Predictor, Task


class Flops(Predictor):
    """``a + b FLOPs`` with ``b >= 0``, by least squares.

    The multiply-adds are those of `SearchSpace.statics`; where a space has no such closed form, they are counted in
    each built network, which takes milliseconds.
    """

    def fit(self, task: Task) -> Flops:
        if not len(task):
            raise InvalidValue("flops needs at least one architecture")
        self.task_ = task
        x, y = self._flops(task.archs), task.values
        spread = float(x.var())
        self.slope_ = max(float(((x - x.mean()) * (y - y.mean())).mean()) / spread, 0.0) if spread else 0.0
        self.offset_ = float(y.mean() - self.slope_ * x.mean())
        left = y - self.offset_ - self.slope_ * x
        self.std_ = float(np.sqrt((left**2).sum() / max(len(y) - 2, 1)))
        return self

    def _flops(self, archs: NDArray[np.int64]) -> NDArray[np.float64]:
        from nastk.oracles.counts import Flops as Count  # torch

        count = Count(self.task_.space, **self.task_.context.build_options)
        found = count.evaluate(archs).value
        if not np.isfinite(found).all():
            arch, reason = next(iter(count.reasons.items()))
            raise InvalidValue(f"the FLOPs of {arch} cannot be counted: {reason}")
        return found

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        mean = self.offset_ + self.slope_ * self._flops(archs)
        return Prediction(mean, np.full(len(mean), self.std_))
