"""Predictors in a space that also chooses the precision: one for each, or one for all where it makes no difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.oracles.base import Values
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed
from nastk.spaces.precisions import WithPrecision


def _networks(task: Task, rows: Any) -> Task:
    """Some rows of a task as one of the networks' own space."""
    space = task.space
    assert isinstance(space, WithPrecision)
    part = task.subset(rows)
    return replace(part, space=space.networks, archs=space.network_of(part.archs))


class PerPrecision(FewShotPredictor):
    """A few-shot latency predictor for each precision, adapted to the measurements of that precision.

    int8 turns rankings round: a network that is faster in float32 may be slower in int8, so that nothing is shared but
    the choice of what to measure, which is the same networks in each.

    Args:
        few: of the networks' own space; it learns each precision as a device of its own.
        parts: how many precisions there are: so many times the measurements of one device are needed.
    """

    def __init__(self, few: Predictor, parts: int = 2):
        self.few, self.parts = few, parts

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(getattr(self.few, "devices", ()))

    def pretrain(self, tasks: Sequence[Task]) -> PerPrecision:
        self.few.pretrain(tasks)
        return self

    def without(self, devices: Iterable[str], duplicates: float | None = None) -> PerPrecision:
        return PerPrecision(self.few.without(devices, duplicates), self.parts)

    def choose(
        self,
        n: int,
        space: SearchSpace | None = None,
        *,
        candidates: Archs | None = None,
        seed: Seed = 0,
        context: Context | None = None,
    ) -> Archs:
        """The networks that the few-shot predictor wants, each in every precision, ``(n, d)``."""
        if not isinstance(space, WithPrecision):
            raise InvalidValue("give the space of networks and precisions")
        pool = None if candidates is None else space.network_of(candidates)
        count = -(-n // len(space.precisions))
        networks = self.few.choose(count, space.networks, candidates=pool, seed=seed, context=context)
        return space.in_each(networks)[:n]

    def adapt(self, task: Task) -> Predictor:
        """A predictor of every precision.

        Raises:
            InvalidValue: a precision has fewer than two measurements.
        """
        return _Adapted(self, task)


class _Adapted(Predictor):
    """What `PerPrecision.adapt` returns."""

    def __init__(self, few: PerPrecision, task: Task):
        self.few = few
        self.fit(task)

    def fit(self, task: Task) -> _Adapted:
        space = task.space
        assert isinstance(space, WithPrecision)
        self.task_, self.space_ = task, space
        self.parts_ = []
        for number, precision in enumerate(space.precisions):
            rows = np.flatnonzero(task.archs[:, -1] == number)
            if len(rows) < 2:
                raise InvalidValue(
                    f"{task.metric} in {precision} was measured of {len(rows)} networks; at least 2 are needed in each "
                    "precision: raise the measurements"
                )
            self.parts_.append(self.few.few.adapt(_networks(task, rows)))
        return self

    @property
    def template(self) -> Predictor:
        return self.few

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        mean, std = np.empty(len(archs)), np.empty(len(archs))
        for mine, part in self._split(archs):
            answer = part.predict(self.space_.network_of(archs[mine]))
            mean[mine], std[mine] = answer.mean, answer.std
        return Prediction(mean, std)

    @property
    def has_intervals(self) -> bool:
        return all(part.has_intervals for part in self.parts_)

    def interval(self, archs: Any, level: float = 0.95) -> tuple[Values, Values]:
        archs = self._checked(archs)
        low, high = np.empty(len(archs)), np.empty(len(archs))
        for mine, part in self._split(archs):
            low[mine], high[mine] = part.interval(self.space_.network_of(archs[mine]), level)
        return low, high

    def quantile(self, archs: Any, z: float) -> Values:
        archs = self._checked(archs)
        found = np.empty(len(archs))
        for mine, part in self._split(archs):
            found[mine] = part.quantile(self.space_.network_of(archs[mine]), z)
        return found

    def sample(self, archs: Any, n: int, seed: Seed = None) -> NDArray[np.float64]:
        """Joint draws within each precision, independent between them."""
        archs, rng = self._checked(archs), np.random.default_rng(seed)
        found = np.empty((n, len(archs)))
        for mine, part in self._split(archs):
            found[:, mine] = part.sample(self.space_.network_of(archs[mine]), n, rng)
        return found

    def _split(self, archs: Archs) -> list[tuple[NDArray[np.int64], Predictor]]:
        rows = [np.flatnonzero(archs[:, -1] == number) for number in range(len(self.parts_))]
        return [(mine, part) for mine, part in zip(rows, self.parts_, strict=True) if len(mine)]


class OfNetworks(Predictor):
    """A predictor of what does not depend on the precision, such as an accuracy in float32.

    Args:
        predictor: of the networks' own space.
    """

    fitted_: Predictor

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.scale, self.uses_lower = predictor.scale, predictor.uses_lower

    def fit(self, task: Task) -> OfNetworks:
        space = task.space
        assert isinstance(space, WithPrecision)
        # one row for each network, whatever its precisions
        _, first = np.unique(space.network_of(task.archs), axis=0, return_index=True)
        self.task_, self.space_ = task, space
        lower = task.lower.fitted_ if isinstance(task.lower, OfNetworks) else None
        self.fitted_ = self.predictor.adapt(replace(_networks(task, np.sort(first)), lower=lower))
        return self

    def predict(self, archs: Any) -> Prediction:
        return self.fitted_.predict(self.space_.network_of(self._checked(archs)))

    @property
    def has_intervals(self) -> bool:
        return self.fitted_.has_intervals

    def interval(self, archs: Any, level: float = 0.95) -> tuple[Values, Values]:
        return self.fitted_.interval(self.space_.network_of(self._checked(archs)), level)

    def quantile(self, archs: Any, z: float) -> Values:
        return self.fitted_.quantile(self.space_.network_of(self._checked(archs)), z)

    def sample(self, archs: Any, n: int, seed: Seed = None) -> NDArray[np.float64]:
        return self.fitted_.sample(self.space_.network_of(self._checked(archs)), n, seed)

    def prior_score(self, space: SearchSpace, archs: Archs, context: Context) -> Values | None:
        assert isinstance(space, WithPrecision)
        return self.predictor.prior_score(space.networks, space.network_of(archs), context)
