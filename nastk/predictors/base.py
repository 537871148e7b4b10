"""Predictors: learn a metric from a few architectures, answer mean and standard deviation for any.

A predictor's constructor only stores its arguments; ``fit(task)`` learns and returns the predictor; what is learned
ends in an underscore. A few-shot predictor is first ``pretrain``-ed on other tasks, then ``adapt``-ed to the new one,
which gives another predictor and leaves the pretrained one as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, Unsupported
from nastk.oracles.base import Direction, Oracle, Values
from nastk.spaces.base import Archs, SearchSpace, Seed


@dataclass(frozen=True)
class Task:
    """Architectures of a space with their values of one metric.

    Args:
        space: the space.
        archs: ``(n, d)``.
        values: ``(n,)``, finite.
        metric: name of the metric ("latency", "test_accuracy").
        unit, direction: of the metric.
        dataset, device: what the values were obtained on, where that applies.
        std: known noise of the values, ``(n,)``, or None.
        context: where looked-up features come from.
    """

    space: SearchSpace
    archs: Archs
    values: Values
    metric: str = "value"
    unit: str = ""
    direction: Direction = "min"
    dataset: str | None = None
    device: str | None = None
    std: Values | None = None
    context: Context = field(default_factory=Context)

    def __post_init__(self) -> None:
        archs = self.space.as_archs(self.archs)
        values = np.asarray(self.values, dtype=np.float64).ravel()
        if len(archs) != len(values):
            raise InvalidValue(f"{len(archs)} architectures but {len(values)} values of {self.metric}")
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise InvalidValue(
                f"{self.metric} of {self.space.format(archs[bad])} is {values[bad]}; leave failed architectures out"
            )
        object.__setattr__(self, "archs", archs)
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def measure(cls, oracle: Oracle, archs: Any, device: str | None = None, **options: Any) -> Task:
        """Ask an oracle; architectures that failed are left out."""
        archs = oracle.space.as_archs(archs)
        answer = oracle.evaluate(archs)
        known = np.isfinite(answer.value)
        values = answer.value[known]
        return cls(
            oracle.space, archs[known], values, oracle.name, oracle.unit, oracle.direction, device=device, **options
        )

    def subset(self, rows: Any) -> Task:
        """The same task with some of its architectures."""
        std = None if self.std is None else self.std[rows]
        return replace(self, archs=self.archs[rows], values=self.values[rows], std=std)


@dataclass(frozen=True)
class Prediction:
    """Mean and standard deviation for ``n`` architectures, each ``(n,)``; std is NaN where a method has none."""

    mean: Values
    std: Values


class Predictor(ABC):
    """Learns one metric of one space.

    Attributes:
        scale: "metric" if predictions are in the metric's unit, "rank" if they only order.
        relaxable: whether :meth:`predict_relaxed` answers.
    """

    scale: Literal["metric", "rank"] = "metric"
    relaxable: bool = False
    task_: Task

    @abstractmethod
    def fit(self, task: Task) -> Predictor:
        """Learn from a task; returns itself.

        Raises:
            InvalidValue: too few architectures for the method.
        """

    @abstractmethod
    def predict(self, archs: Any) -> Prediction:
        """Mean and standard deviation for architectures (text, index, row or ``(n, d)`` array)."""

    def sample(self, archs: Any, n: int, seed: Seed = None) -> NDArray[np.float64]:
        """Draws from the predictive distribution, ``(n, n_archs)``; independent unless the method knows better."""
        prediction = self.predict(archs)
        rng = np.random.default_rng(seed)
        std = np.nan_to_num(prediction.std, nan=0.0)
        return prediction.mean + std * rng.standard_normal((n, len(prediction.mean)))

    def predict_relaxed(self, one_hot: Any) -> Any:
        """Mean for relaxed architectures, a tensor ``(n, sum(sizes))`` through which gradients flow."""
        raise Unsupported(f"the predictor {type(self).__name__} takes no relaxed architectures")

    def save(self, path: Any, notes: dict[str, Any] | None = None) -> None:
        """Write ``<path>.safetensors`` and ``<path>.json``; `nastk.predictors.load` reads them."""
        from nastk.predictors._storage import save

        save(self, path, notes)

    @property
    def template(self) -> Predictor:
        """The predictor whose constructor makes this one; an adapted predictor names the few-shot one it came from."""
        return self

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """What was learned, as JSON-able facts and arrays; None if it is to be stored as its data and fitted again."""
        return None

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        """The inverse of :meth:`learned`; returns the predictor that was saved."""
        raise Unsupported(f"{type(self).__name__} cannot be restored")

    def _checked(self, archs: Any) -> Archs:
        if not hasattr(self, "task_"):
            raise InvalidValue(f"{type(self).__name__} is not fitted; call fit(task) first")
        return self.task_.space.as_archs(archs)


class FewShotPredictor(Predictor):
    """A predictor that learns from other tasks first.

    ``pretrain(tasks)`` once, then ``adapt(task)`` for each new device or data set.
    """

    @abstractmethod
    def pretrain(self, tasks: Sequence[Task]) -> FewShotPredictor:
        """Learn from source tasks (other devices, other data sets); returns itself.

        Raises:
            InvalidValue: no tasks, or tasks of different spaces where the method needs one.
        """

    @abstractmethod
    def adapt(self, task: Task) -> Predictor:
        """A predictor for a new task of the same space.

        Raises:
            InvalidValue: the target is one of the source tasks (it would leak), or has too few architectures.
        """

    def fit(self, task: Task) -> Predictor:
        """Adapt; here for the contract of :class:`Predictor`."""
        return self.adapt(task)
