"""lightgbm: boosted trees on an encoding (Ke et al., NeurIPS 2017); needs the extra nastk[trees]."""

from __future__ import annotations

from typing import Any

import numpy as np

from nastk.encodings.base import encoding
from nastk.errors import InvalidValue, import_extra
from nastk.predictors._normal_scores import Scale
from nastk.predictors.base import Prediction, Predictor, Task


class LightGBM(Predictor):
    """A few boosters on bootstrap samples; predicts their mean and spread.

    Args:
        encoding: terms joined by ``+``.
        members: boosters, each on its own bootstrap sample.
        rounds, learning_rate, leaves: of each booster.
        seed: random seed of the bootstrap samples.

    Raises:
        MissingExtra: LightGBM is not installed.
    """

    def __init__(
        self,
        encoding: str = "vec+counts",
        members: int = 5,
        rounds: int = 150,
        learning_rate: float = 0.05,
        leaves: int = 15,
        seed: int = 0,
    ):
        self.encoding, self.members, self.rounds = encoding, members, rounds
        self.learning_rate, self.leaves, self.seed = learning_rate, leaves, seed

    def fit(self, task: Task) -> LightGBM:
        lightgbm = import_extra("lightgbm", "trees")
        if not len(task):
            raise InvalidValue("lightgbm needs at least one architecture")
        self.task_ = task
        self.encoding_ = encoding(self.encoding).fit(task.space, task.context)
        task = task.subset(np.lexsort((task.values, *task.archs.T)))  # bootstraps depend on the order of the samples
        self.scale_ = Scale.fit("auto", task.values, task.direction)
        x, y = self.encoding_.transform(task.archs), self.scale_.forward(task.values)
        options = {
            "objective": "l2", "learning_rate": self.learning_rate, "num_leaves": self.leaves, "verbosity": -1,
            "min_data_in_leaf": max(1, min(20, len(y) // 20)), "num_threads": 1, "deterministic": True,
            "seed": self.seed, "feature_pre_filter": False,
        }  # fmt: skip
        rng = np.random.default_rng(self.seed)
        self.boosters_ = []
        for _ in range(self.members):
            rows = rng.integers(0, len(y), len(y)) if self.members > 1 else np.arange(len(y))
            self.boosters_.append(lightgbm.train(options, lightgbm.Dataset(x[rows], y[rows]), self.rounds))
        return self

    def predict(self, archs: Any) -> Prediction:
        """Mean in the metric's unit and the boosters' spread (NaN from one)."""
        archs = self._checked(archs)
        if not len(archs):
            return Prediction(np.empty(0), np.empty(0))
        x = self.encoding_.transform(archs)
        found = np.stack([np.asarray(booster.predict(x, num_threads=1)) for booster in self.boosters_])
        mean = self.scale_.backward(found.mean(axis=0))
        if self.members == 1:
            return Prediction(mean, np.full(len(mean), np.nan))
        spread = found.std(axis=0, ddof=1)
        low, high = (self.scale_.backward(found.mean(axis=0) + s * spread) for s in (-1.0, 1.0))
        return Prediction(mean, (high - low) / 2.0)
