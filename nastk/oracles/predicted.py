"""A fitted predictor as a free oracle: estimates that cost a search nothing."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from nastk.errors import InvalidValue
from nastk.oracles.base import Direction, Evaluation, Oracle, Values
from nastk.spaces.base import Archs, SearchSpace


class _Prediction(Protocol):
    @property
    def mean(self) -> Values: ...
    @property
    def std(self) -> Values: ...


class _Fitted(Protocol):
    def predict(self, archs: Any) -> Any: ...


class Predicted(Oracle):
    """The mean of a fitted predictor, with its standard deviation.

    Args:
        predictor: fitted; its ``predict(archs)`` returns ``mean`` and ``std``, each ``(n,)``.
        space: the space of its architectures.
        name, unit, direction: see :class:`Oracle`.
        source: description of the data that the predictor was fitted on.
        weights: name of the shipped weights, if the predictor is one of them.
    """

    expensive = False
    kind = "estimate"

    def __init__(
        self,
        predictor: _Fitted,
        space: SearchSpace,
        name: str,
        unit: str = "",
        direction: Direction = "min",
        source: str = "predicted",
        weights: str | None = None,
    ):
        self.predictor, self.space, self.weights = predictor, space, weights
        self.name, self.unit, self.direction, self.source = name, unit, direction, source

    def describe(self) -> dict[str, Any]:
        return super().describe() if self.weights is None else {"oracle": "shipped", "weights": self.weights}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} is predicted; it has no fidelities")
        answer: _Prediction = self.predictor.predict(archs)
        return Evaluation(answer.mean, answer.std, np.zeros(len(archs)))
