"""Costs that a generator minimises (predictors, oracles, tables, functions), and the devices they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue, Unsupported
from nastk.oracles.base import Direction, Oracle
from nastk.predictors.base import Predictor
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
CostLike = Any
"""A fitted `Predictor`, an `Oracle`, an array with a value for each architecture of a space that can be enumerated (in
the order of ``enumerate``), a function from ``(n, d)`` integers to ``(n,)`` values, or a `Cost`."""


class Cost:
    """A function to minimise; metrics to maximise are negated.

    Args:
        space: of the architectures.
        source: see :data:`CostLike`.
        direction: "min" or "max"; by default the predictor's or oracle's own, "min" for arrays and functions.

    Raises:
        InvalidValue: none of these, or an array whose length is not the size of the space.
    """

    def __init__(self, space: SearchSpace, source: CostLike, direction: Direction | None = None):
        self.space, self.source = space, source
        self._values: Callable[[Archs], Any]
        if isinstance(source, Predictor):
            if not hasattr(source, "task_"):
                raise InvalidValue(f"{type(source).__name__} is not fitted; call fit(task) first")
            if source.task_.space.choices != space.choices:
                raise InvalidValue(f"a predictor of {source.task_.space.name} does not predict {space.name}")
            direction = direction or source.task_.direction
            self._values = lambda archs: source.predict(archs).mean
        elif isinstance(source, Oracle):
            direction = direction or source.direction
            self._values = source
        elif callable(source):
            self._values = source
        elif np.ndim(source) == 1:
            table = np.asarray(source, dtype=np.float64)
            if len(table) != space.size:
                raise InvalidValue(f"{len(table)} values for the {space.size} architectures of {space.name}")
            self._values = lambda archs: table[_places(space, archs)]
        else:
            raise InvalidValue(
                f"a cost must be a predictor, an oracle, an array or a function; got {type(source).__name__}"
            )
        self.sign = -1.0 if direction == "max" else 1.0

    @classmethod
    def of(cls, space: SearchSpace, source: CostLike) -> Cost:
        """`source` as a cost."""
        return source if isinstance(source, Cost) else cls(space, source)

    def __call__(self, archs: Archs) -> Array:
        """Costs ``(n,)`` of architectures ``(n, d)``; NaN where unknown."""
        values = np.asarray(self._values(archs), dtype=np.float64)
        if values.shape != (len(archs),):
            raise InvalidValue(f"a cost returned shape {values.shape} for {len(archs)} architectures")
        return self.sign * values

    def draws(self, archs: Archs, n: int, seed: int) -> Array:
        """Posterior draws of the costs, ``(n, archs)``; without a predictor, the costs themselves."""
        if isinstance(self.source, Predictor):
            return self.sign * self.source.sample(archs, n, seed)
        return np.broadcast_to(self(archs), (n, len(archs)))

    @property
    def relaxable(self) -> bool:
        """Whether :meth:`relaxed` is supported."""
        return isinstance(self.source, Predictor) and self.source.relaxable

    def relaxed(self, one_hot: Tensor) -> Tensor:
        """Costs ``(n,)`` of relaxed architectures ``(n, S)``, differentiable."""
        if not self.relaxable:
            raise Unsupported(f"{type(self.source).__name__} takes no relaxed architectures")
        found: Tensor = self.sign * self.source.predict_relaxed(one_hot)
        return found


def _places(space: SearchSpace, archs: Archs) -> NDArray[np.int64]:
    """Indices of architectures in ``enumerate``."""
    try:
        return space.index(archs)
    except Unsupported:
        place = {row.tobytes(): i for i, row in enumerate(space.enumerate())}
        return np.array([place[row.tobytes()] for row in np.ascontiguousarray(archs, dtype=np.int64)], dtype=np.int64)


@dataclass(frozen=True)
class Device:
    """A device as a generator sees it.

    Args:
        name: of the device.
        costs: of each objective that depends on the device, by name (see :data:`CostLike`). Training on a device needs
            all of them, proposing for it none.
        references: measured values of the generator's reference architectures by objective, each ``(k,)``, NaN where
            the measurement failed; by default computed from `costs`.
    """

    name: str
    costs: Mapping[str, CostLike] = field(default_factory=dict)
    references: Mapping[str, Any] = field(default_factory=dict)


def scaled(values: Any, count: int, what: str) -> Array:
    """Min-max scaled values of the reference architectures; a failed one counts as the largest.

    Raises:
        InvalidValue: a wrong number of values, fewer than two of them known, or all equal.
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if len(array) != count:
        raise InvalidValue(f"{what}: {len(array)} values for {count} reference architectures")
    known = array[np.isfinite(array)]
    if len(known) < 2 or np.ptp(known) == 0:
        raise InvalidValue(f"{what}: the reference architectures need at least two different values")
    return np.where(np.isfinite(array), (array - known.min()) / np.ptp(known), 1.0)
