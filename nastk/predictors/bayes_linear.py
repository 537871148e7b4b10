"""bayes-linear: Bayesian linear regression, in closed form (Bishop, Pattern Recognition and Machine Learning, 3.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nastk.encodings.base import encoding
from nastk.errors import InvalidValue
from nastk.predictors._normal_scores import Scale
from nastk.predictors.base import Prediction, Predictor, Task

PRECISIONS = tuple(10.0**k for k in np.arange(-2, 3.01, 0.5))
"""Candidate precisions of the weights, a log grid around 1 for standardised data; finer grids fit slower."""
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Candidate noise variances, relative to the variance of the standardised metric."""


class BayesLinear(Predictor):
    """Weights with a Gaussian prior; their precision and the noise maximise the evidence.

    Args:
        encoding: terms joined by ``+``.
        warp: "normal" (scores), "identity", or "auto": normal scores if higher is better.
    """

    def __init__(self, encoding: str = "vec+counts", warp: str = "auto"):
        self.encoding, self.warp = encoding, warp

    def fit(self, task: Task) -> BayesLinear:
        if not len(task):
            raise InvalidValue("bayes-linear needs at least one architecture")
        self.task_ = task
        self.encoding_ = encoding(self.encoding).fit(task.space, task.context)
        features = self.encoding_.transform(task.archs)
        spread = features.std(axis=0)
        self.centre_, self.spread_ = features.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        x = (features - self.centre_) / self.spread_ / np.sqrt(max(features.shape[1], 1))
        self.scale_ = Scale.fit(self.warp, task.values, task.direction)
        y = self.scale_.forward(task.values)
        self.offset_ = float(y.mean())
        # In the eigenbasis of the Gram matrix each evidence of the grid costs O(n).
        values, vectors = np.linalg.eigh(x @ x.T)
        target = vectors.T @ (y - self.offset_)
        best = -np.inf
        for precision in PRECISIONS:
            for noise in NOISES:
                variance = np.maximum(values, 0.0) / precision + noise
                evidence = -0.5 * float((target**2 / variance + np.log(variance)).sum())
                if evidence > best:
                    best, self.noise_, chosen = evidence, noise, precision
        self.covariance_ = np.linalg.inv(x.T @ x / self.noise_ + chosen * np.eye(x.shape[1]))
        self.weights_ = self.covariance_ @ x.T @ (y - self.offset_) / self.noise_
        return self

    def predict(self, archs: Any) -> Prediction:
        """Median and half-width of the central 68 % of the latent metric."""
        archs = self._checked(archs)
        features = self.encoding_.transform(archs)
        x = (features - self.centre_) / self.spread_ / np.sqrt(max(features.shape[1], 1))
        mean = self.offset_ + x @ self.weights_
        std = np.sqrt(np.maximum(((x @ self.covariance_) * x).sum(axis=1), 1e-12))
        low, high = self.scale_.backward(mean - std), self.scale_.backward(mean + std)
        return Prediction(self.scale_.backward(mean), (high - low) / 2.0)
