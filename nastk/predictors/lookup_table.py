"""lookup-table: a cost for each option of each choice, added up (Cai et al., ProxylessNAS, ICLR 2019)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.predictors.base import Prediction, Predictor, Task

Array = NDArray[np.float64]


class LookupTable(Predictor):
    """Latency as a constant plus the costs of the choices, learned from whole-network measurements only.

    Bayesian linear regression. An option costs about the same in every choice, with deviations between choices; the
    size of the deviations and the noise maximise the marginal likelihood.

    Args:
        deviations: candidate prior variances of the deviations, relative to the options' own.
        noises: candidate noise variances, relative to the signal's.
    """

    def __init__(
        self,
        deviations: tuple[float, ...] = (0.0, 0.1, 1.0, 10.0),
        noises: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 0.5),
    ):
        self.deviations, self.noises = deviations, noises

    def fit(self, task: Task) -> LookupTable:
        if not len(task):
            raise InvalidValue("a lookup table needs at least one architecture")
        self.task_ = task
        y, n = task.values, len(task)
        self.centre_, self.spread_ = float(y.mean()), float(y.std()) or 1.0
        z = (y - self.centre_) / self.spread_
        best = -np.inf
        for deviation, noise in itertools.product(self.deviations, self.noises):
            x = self._features(task.archs, deviation)
            scale = float((x**2).sum(axis=1).mean()) or 1.0
            kernel = x @ x.T / scale
            inverse = np.linalg.inv(kernel + noise * np.eye(n) + 10.0)  # broad prior of the constant
            alpha = inverse @ z
            variance = max(float(z @ alpha) / n, 1e-9)
            evidence = -0.5 * (n * np.log(variance) - np.linalg.slogdet(inverse)[1])
            if evidence > best:
                best = evidence
                self.deviation_, self.noise_, self.scale_ = deviation, noise, scale
                self.alpha_, self.inverse_, self.variance_ = alpha, inverse, variance
        return self

    def _features(self, archs: NDArray[np.int64], deviation: float) -> Array:
        """Option counts and scaled one-hot choices, centred over the space so that costs are differences."""
        space = self.task_.space
        hot = space.one_hot(archs) - np.repeat(1.0 / space.sizes, space.sizes)
        return np.concatenate([hot @ space.count_matrix()[0], np.sqrt(deviation) * hot], axis=1)

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        x = self._features(archs, self.deviation_)
        cross = x @ self._features(self.task_.archs, self.deviation_).T / self.scale_ + 10.0
        mean = (cross @ self.alpha_) * self.spread_ + self.centre_
        prior = (x**2).sum(axis=1) / self.scale_ + 10.0 + self.noise_
        left = np.maximum(prior - ((cross @ self.inverse_) * cross).sum(axis=1), 0.0)
        return Prediction(mean, np.sqrt(self.variance_ * left) * self.spread_)
