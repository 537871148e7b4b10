"""Predictors: learn a metric from a few architectures, predict its mean and standard deviation for any.

A predictor's constructor only stores its arguments; ``fit(task)`` learns and returns the predictor; names of learned
attributes end in an underscore. A few-shot predictor is first ``pretrain``-ed on other tasks, then ``adapt``-ed to the
new one, which gives another predictor and leaves the pretrained one as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, Unsupported
from nastk.oracles.base import Direction, Oracle, Values
from nastk.predictors._intervals import FOLDS, LEAST, Spread, folds
from nastk.spaces.base import Archs, SearchSpace, Seed


@dataclass(frozen=True)
class Task:
    """Architectures of a space with their values of one metric.

    Args:
        space: the space.
        archs: ``(n, d)``; kept as :meth:`SearchSpace.as_networks` has them, so that equal networks are equal rows.
        values: ``(n,)``, finite.
        metric: name of the metric ("latency", "test_accuracy").
        unit, direction: of the metric.
        dataset, device: of the values, where that applies.
        std: known noise of the values, ``(n,)``, or None.
        context: where looked-up features come from; its latencies never hold `device`.
        descriptor: numbers that describe the device, ``(m,)`` (its hardware counters, as in MAPLE), or None.
        lower: a predictor fitted to the same metric at a lower fidelity (accuracy after fewer epochs), or None. Only
            predictors with `uses_lower` use it.

    Raises:
        InvalidArchitecture: architectures that are no members of the space.
        InvalidValue: values of another number or not finite, or a context with latencies of the task's own device.
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
    descriptor: Values | None = None
    lower: Predictor | None = None

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
        latencies = self.context.latencies
        if latencies is not None and self.device is not None and self.device in latencies.names:
            raise InvalidValue(f"the context holds latencies of {self.device}, the task's own device: they would leak")
        if self.descriptor is not None:
            described = np.asarray(self.descriptor, dtype=np.float64).ravel()
            if not np.isfinite(described).all():
                raise InvalidValue(f"the descriptor of {self.device or 'a device'} holds a value that is not finite")
            object.__setattr__(self, "descriptor", described)
        object.__setattr__(self, "archs", self.space.as_networks(archs))
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def measure(cls, oracle: Oracle, archs: Any, device: str | None = None, **options: Any) -> Task:
        """Evaluate an oracle, as a task; architectures that failed are left out.

        Args:
            oracle: of the metric; name, unit and direction are the oracle's.
            archs: texts, indices, rows or an ``(n, d)`` array.
            device: name of the device of the values.
            options: further arguments of :class:`Task`.
        """
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
    """A prediction for ``n`` architectures.

    Args:
        mean: ``(n,)``, in the unit of the task's metric; of a ranker (`Predictor.scale`) unitless.
        std: standard deviation in the same unit, ``(n,)``; NaN where a method has none.
    """

    mean: Values
    std: Values


class Predictor(ABC):
    """Learns one metric of one space.

    Attributes:
        scale: "metric" if predictions are in the metric's unit, "rank" if they only order.
        relaxable: whether :meth:`predict_relaxed` answers.
        uses_lower: whether it learns from :attr:`Task.lower`.
        conditions: whether :meth:`conditioned` answers, and saves time.
        first_in_search: evaluations of a single objective before a search first fits it, where it has no prior; None
            for as many as the search takes anyway.
        most_in_search: observations that a search gives it, at most, where more would cost too much; None for all.
        calibrated: whether its own deviations already tell how far values lie from predictions, so that
            :meth:`interval` takes them as they are.
    """

    scale: Literal["metric", "rank"] = "metric"
    relaxable: bool = False
    uses_lower: bool = False
    conditions: bool = False
    first_in_search: int | None = None
    most_in_search: int | None = None
    calibrated: bool = False
    task_: Task

    @abstractmethod
    def fit(self, task: Task) -> Predictor:
        """Learn from a task; returns itself.

        Raises:
            InvalidValue: too few architectures for the method.
        """

    def pretrain(self, tasks: Sequence[Task]) -> Predictor:
        """Learn from source tasks; a predictor that is no :class:`FewShotPredictor` starts from scratch all the same.

        So that both kinds can be compared through one contract: ``pretrain(tasks)``, then ``adapt(task)``.
        """
        return self

    def adapt(self, task: Task) -> Predictor:
        """A copy of this predictor fitted to a task; this one stays as it is."""
        return deepcopy(self).fit(task)

    def conditioned(self, task: Task) -> Predictor | None:
        """A copy that learned its hyper-parameters from this one's task, and everything else from another.

        Much faster than :meth:`adapt`, for a few more values of the same metric. None where the method has no
        hyper-parameters that are learned apart, or they do not suit the task.
        """
        return None

    def without(self, devices: Iterable[str], duplicates: float | None = None) -> Predictor:
        """This predictor as if these source devices had never been seen, so that they can be targets.

        Args:
            devices: names; one that is no source is ignored.
            duplicates: leave out as well every source whose latencies rank the architectures like one of them
                (Spearman correlation above this).

        Raises:
            Unsupported: the method learned its source devices jointly and cannot remove one.
        """
        if self.template is not self:
            raise Unsupported(f"{type(self).__name__} has been adapted; leave source devices out before that")
        return self

    def choose(
        self,
        n: int,
        space: SearchSpace | None = None,
        *,
        candidates: Archs | None = None,
        seed: Seed = 0,
        context: Context | None = None,
    ) -> Archs:
        """Architectures to measure before :meth:`adapt`, ``(n, d)``: random, unless the method has a design.

        Args:
            n: how many.
            space: where to choose.
            candidates: choose among these instead of the whole space, ``(m, d)``.
            seed: random seed of the draw.
            context: where looked-up features come from.

        Raises:
            InvalidValue: neither a space nor candidates, or fewer candidates than `n`.
        """
        rng = np.random.default_rng(seed)
        if candidates is not None:
            if space is not None:
                candidates = candidates[space.distinct(candidates)]
            if n > len(candidates):
                raise InvalidValue(f"{n} architectures asked for, only {len(candidates)} to choose from")
            return candidates[rng.choice(len(candidates), n, replace=False)]
        if space is None:
            raise InvalidValue("give the space to choose from")
        return space.sample_networks(n, rng)

    @abstractmethod
    def predict(self, archs: Any) -> Prediction:
        """Mean and standard deviation for architectures (text, index, row or ``(n, d)`` array)."""

    def quantile(self, archs: Any, z: float) -> Values:
        """The value `z` standard deviations from the median, ``(n,)``, in the unit of the metric."""
        prediction = self.predict(archs)
        return prediction.mean + z * np.nan_to_num(prediction.std, nan=0.0)

    def interval(self, archs: Any, level: float = 0.95) -> tuple[Values, Values]:
        """Both ends, ``(n,)`` each, of intervals that hold a new value with probability `level`.

        What :meth:`predict` states is the method's own deviation, which compares architectures, as searches do; it may
        leave the noise out, and that of an ensemble is too small. These intervals learn from how far the values of
        the task lie from what fits without them predict (:mod:`nastk.predictors._intervals`): in closed form where a
        method has one, else by as many more fits as there are folds, once for each fit and when first asked for.

        Args:
            archs: text, index, row or ``(n, d)`` array.
            level: between 0 and 1.

        Raises:
            InvalidValue: another level, or values of fewer than five networks.
            Unsupported: a predictor that only ranks.
        """
        if not 0.0 < level < 1.0:
            raise InvalidValue(f"the level of an interval must be between 0 and 1, such as 0.95; got {level}")
        if self.scale == "rank":
            raise Unsupported(f"{type(self).__name__} only ranks: its predictions have no unit, and no intervals")
        prediction = self.predict(archs)
        if self.calibrated:
            half = NormalDist().inv_cdf(0.5 + level / 2.0) * prediction.std
            return prediction.mean - half, prediction.mean + half
        return self._spread().interval(prediction, level)

    @property
    def has_intervals(self) -> bool:
        """Whether a fitted predictor can state intervals: it predicts in the metric's unit, and has the values of as
        many networks as :meth:`interval` learns from, or is :attr:`calibrated`."""
        return self.scale == "metric" and (self.calibrated or self._networks() >= LEAST)

    def _networks(self) -> int:
        """How many different networks the task has."""
        return len(set(self.task_.space.keys(self.task_.archs)))

    def _spread(self) -> Spread:
        """How far values lie from predictions, learned once for each task that was fitted."""
        task = self.task_
        kept: tuple[Task, Spread] | None = self.__dict__.get("_spread_of")
        if kept is None or kept[0] is not task:
            if self._networks() < LEAST:
                raise InvalidValue(
                    f"intervals are learned from the {task.metric} of at least {LEAST} networks; "
                    f"{self._networks()} were given"
                )
            kept = task, Spread.fit(task.values, self._left_out(), task.direction, self._of_space())
            self._spread_of = kept
        return kept[1]

    def _left_out(self) -> Prediction:
        """What is predicted for each architecture of the task by a fit that has not seen its value, ``(n,)``."""
        task = self.task_
        fold = folds(task.archs, FOLDS)
        mean, std = np.full(len(task), np.nan), np.full(len(task), np.nan)
        for k in np.unique(fold):
            out = fold == k
            answer = self.template.adapt(task.subset(~out)).predict(task.archs[out])
            mean[out], std[out] = answer.mean, answer.std
        return Prediction(mean, std)

    def _of_space(self) -> Prediction | None:
        """What is predicted of random architectures of the space, where means and deviations together tell how far
        values of the space spread (as a posterior's do); None where they do not."""
        return None

    def prior_score(self, space: SearchSpace, archs: Archs, context: Context) -> Values | None:
        """Unitless prior scores ``(n,)`` of architectures before any evaluation, higher is better.

        None for predictors that have no prior.
        """
        return None

    def sample(self, archs: Any, n: int, seed: Seed = None) -> NDArray[np.float64]:
        """Draws from the predictive distribution, ``(n, n_archs)``; independent unless the method has a joint one."""
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
        """The learned state, as JSON-able facts and arrays; None if the training data are stored and fitted again."""
        return None

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        """The inverse of :meth:`learned`; returns the predictor that was saved."""
        raise Unsupported(f"{type(self).__name__} cannot be restored")

    def _checked(self, archs: Any) -> Archs:
        """Architectures in the form in which the task has them; what every :meth:`predict` begins with.

        Raises:
            InvalidArchitecture: not members of the space.
            InvalidValue: nothing was fitted.
        """
        if not hasattr(self, "task_"):
            raise InvalidValue(f"{type(self).__name__} is not fitted; call fit(task) first")
        space = self.task_.space
        return space.as_networks(space.as_archs(archs))


class FewShotPredictor(Predictor):
    """A predictor that learns from other tasks first.

    ``pretrain(tasks)`` once, then ``adapt(task)`` for each new device or data set. :attr:`devices` are the sources, in
    the space :attr:`source_space`.
    """

    needs_pretraining: bool = False
    """Whether :meth:`adapt` needs :meth:`pretrain` first."""
    source_space: SearchSpace | None = None
    """Space of the source tasks, known after :meth:`pretrain`."""
    references_: Archs = np.empty((0, 0), dtype=np.int64)
    """Architectures that every target must be measured on, where a method describes devices by their latencies."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the source devices, known after :meth:`pretrain`."""
        return getattr(self, "devices_", ())

    @abstractmethod
    def pretrain(self, tasks: Sequence[Task]) -> FewShotPredictor:
        """Learn from source tasks (other devices, other data sets); returns itself.

        Raises:
            InvalidValue: no tasks, or tasks of different spaces where the method needs one.
        """

    @abstractmethod
    def adapt(self, task: Task) -> Predictor:
        """A predictor for a new task; the pretrained one stays as it is.

        Raises:
            InvalidValue: the target is one of the source tasks (it would leak), or has too few architectures.
        """

    def fit(self, task: Task) -> Predictor:
        """Adapt; here for the contract of :class:`Predictor`."""
        return self.adapt(task)

    def without(self, devices: Iterable[str], duplicates: float | None = None) -> Predictor:
        """See :meth:`Predictor.without`; few-shot-gp, whose sources are separate models, can remove some."""
        left_out = sorted(set(devices) & set(self.devices))
        if left_out or (duplicates is not None and self.devices):
            raise Unsupported(
                f"{type(self).__name__} learns its source devices together; pretrain another without "
                + (", ".join(left_out) or "the duplicates")
            )
        return self

    def predict(self, archs: Any) -> Prediction:
        """Refused; ask the predictor that :meth:`adapt` returns.

        Raises:
            InvalidValue: always.
        """
        raise InvalidValue("a few-shot predictor is not a device's; call adapt(task) and predict with what it returns")

    def choose(
        self,
        n: int,
        space: SearchSpace | None = None,
        *,
        candidates: Archs | None = None,
        seed: Seed = 0,
        context: Context | None = None,
    ) -> Archs:
        """Architectures to measure before :meth:`adapt`, ``(n, d)``: references, where there are any, then random ones.

        Args:
            n, candidates, seed, context: see :meth:`Predictor.choose`.
            space: where to choose, the sources' by default.

        Raises:
            InvalidValue: nothing was pretrained and the method needs it, or there are fewer than `n`.
        """
        self._check_pretrained()
        space = space or self.source_space
        if not len(self.references_):
            return super().choose(n, space, candidates=candidates, seed=seed, context=context)
        known = {row.tobytes() for row in self.references_}
        if candidates is not None:
            candidates = candidates[np.array([row.tobytes() not in known for row in candidates], dtype=bool)]
        more = n if candidates is None else max(n - len(self.references_), 0)  # random ones may be references
        others = super().choose(more, space, candidates=candidates, seed=seed, context=context)
        fresh = others[np.array([row.tobytes() not in known for row in others], dtype=bool)]
        return np.concatenate([self.references_, fresh])[:n]

    def _check_pretrained(self) -> None:
        if self.needs_pretraining and self.source_space is None:
            raise InvalidValue(f"{type(self).__name__} learns from source devices first; call pretrain(tasks)")

    def _check_sources(self, tasks: Sequence[Task], least: int = 3) -> None:
        """Refuse source tasks that cannot be learned from; remember their space and devices."""
        if not tasks:
            raise InvalidValue("pretraining needs at least one source task")
        names = [task.device for task in tasks]
        if any(name is None for name in names) or len(set(names)) < len(names):
            raise InvalidValue("every source task needs a device name of its own")
        space = tasks[0].space
        for task in tasks:
            if task.space.choices != space.choices:
                raise InvalidValue(f"source tasks are of different spaces: {space.name} and {task.space.name}")
            if len(task) < least or task.values.min() <= 0:
                raise InvalidValue(f"source device {task.device} needs at least {least} values, all positive")
        self.devices_ = tuple(str(name) for name in names)
        self.source_space = space

    def _check_target(self, task: Task, another_space: bool = False) -> None:
        """Refuse a task that cannot be adapted to.

        Args:
            another_space: whether the method moves between spaces; there the same device is no leak.
        """
        self._check_pretrained()
        same = self.source_space is None or task.space.choices == self.source_space.choices
        if not same and not another_space:
            assert self.source_space is not None
            raise InvalidValue(f"pretrained on {self.source_space.name}, cannot adapt to {task.space.name}")
        if same and task.device is not None and task.device in self.devices:
            raise InvalidValue(
                f"{task.device} is one of the source devices and would leak its values; leave it out of the sources, "
                f"as few-shot-gp's .without([{task.device!r}]) does"
            )
        if len(task) < 2:
            raise InvalidValue(f"adapting to a device needs at least 2 measurements; got {len(task)}")
        if len(set(task.space.keys(task.archs))) < 2:
            network = task.space.format(task.archs[0])
            raise InvalidValue(
                f"all {len(task)} measurements are of one network, {network}: measure at least 2 different"
            )
        if task.values.min() <= 0:
            raise InvalidValue(f"{task.metric} must be positive; got {task.values.min():g}")
        if np.ptp(task.values) == 0:
            raise InvalidValue(f"all {len(task)} values of {task.metric} are {task.values[0]:g}: nothing to learn")
