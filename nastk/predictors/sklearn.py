"""Any scikit-learn regressor by name (Pedregosa et al., JMLR 2011)."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from nastk.encodings.base import encoding
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors.base import Prediction, Predictor, Task

FAMILY = "sklearn:<Regressor>"
"""Name of these predictors in listings."""


class SklearnRegressor(Predictor):
    """A scikit-learn regressor on an encoding.

    The standard deviation is the regressor's own if its ``predict`` has ``return_std``, the spread of the trees of a
    forest, NaN otherwise.

    Args:
        regressor: class name, such as ``RandomForestRegressor``.
        encoding: terms joined by ``+``.
        seed: passed as ``random_state`` if the regressor takes one.
        options: passed to the regressor.
    """

    def __init__(self, regressor: str, encoding: str = "vec+counts", seed: int = 0, **options: Any):
        self.regressor, self.encoding, self.seed, self.options = regressor, encoding, seed, options

    def fit(self, task: Task) -> SklearnRegressor:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.utils import all_estimators

        if len(task) < 1:
            raise InvalidValue(f"{self.regressor} needs at least one architecture")
        known = dict(all_estimators(type_filter="regressor"))
        if self.regressor not in known:
            raise UnknownName("scikit-learn regressor", self.regressor, known)
        options = dict(self.options)
        if "random_state" in inspect.signature(known[self.regressor]).parameters:
            options.setdefault("random_state", self.seed)
        self.task_ = task
        self.encoding_ = encoding(self.encoding).fit(task.space, task.context)
        order = np.lexsort((task.values, *task.archs.T))  # bootstraps depend on the order of the samples
        task = task.subset(order)
        try:
            self.pipeline_ = make_pipeline(StandardScaler(), known[self.regressor](**options))
            self.pipeline_.fit(self.encoding_.transform(task.archs), task.values)
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"sklearn:{self.regressor}: {str(error).splitlines()[0]}") from error
        return self

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        if not len(archs):
            return Prediction(np.empty(0), np.empty(0))
        x = self.pipeline_[0].transform(self.encoding_.transform(archs))
        model = self.pipeline_[-1]
        if "return_std" in inspect.signature(model.predict).parameters:
            mean, std = model.predict(x, return_std=True)
            return Prediction(np.asarray(mean, dtype=float).ravel(), np.asarray(std, dtype=float).ravel())
        mean = np.asarray(model.predict(x), dtype=float).ravel()
        trees = getattr(model, "estimators_", None)
        if hasattr(model, "bootstrap") and trees is not None:
            return Prediction(mean, np.std([t.predict(x) for t in trees], axis=0))
        return Prediction(mean, np.full(len(mean), np.nan))
