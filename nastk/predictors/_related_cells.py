"""What is known of a cell from tasks of a related space: the same edges, with some of the same operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nastk.spaces.factory as spaces
from nastk.errors import InvalidValue
from nastk.gaussian import Observations
from nastk.predictors._normal_scores import normal_scores
from nastk.predictors.base import Task
from nastk.registry import SPACES
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

NOTHING = "none"
"""Label of the operation that cuts an edge."""
ROWS = 1500
"""Architectures of the source space that are fitted, drawn if there are more."""
MIX = 1.0
"""Weight of interactions beside the additive part of weight one."""
REACH = 2.0
"""Unequal choices at which interactions have fallen to 1/e."""
NOISE = 0.01
"""Noise variance of a cell's mean score over the tasks."""


@dataclass(frozen=True)
class RelatedCells:
    """A Gaussian process on canonical cells of one space, on the mean of their normal scores in its tasks.

    ``k(m) = 1 + m / d + MIX exp(-(d - m) / REACH)`` for ``m`` of ``d`` choices in which two cells agree. Cells of
    another space are read as cells of this one; an operation that is not known here counts as `none`: nothing is
    expected of what was never seen.

    Args:
        space: of the tasks.
        archs: canonical cells, ``(n, d)``.
        alpha: their kernel weights, ``(n,)``.
    """

    space: SearchSpace
    archs: Archs
    alpha: Array

    @classmethod
    def fit_each(cls, tasks: Sequence[Task]) -> list[RelatedCells]:
        """One for each space of the tasks.

        Raises:
            InvalidValue: a space of which not every edge can be cut, or that is not one of the package's.
        """
        by_space: dict[str, list[Task]] = {}
        for task in tasks:
            by_space.setdefault(task.space.whole.name, []).append(task)
        for name, same in by_space.items():
            if name not in SPACES.entries or not cls.usable(same[0].space):
                raise InvalidValue(f"{name} is no related space: register it, and give all choices {NOTHING!r}")
        return [cls.fit(same) for same in by_space.values()]

    @classmethod
    def fit(cls, tasks: Sequence[Task]) -> RelatedCells:
        """Learn from tasks of one space; a cell's score is its mean over the tasks that have it."""
        space = tasks[0].space.whole
        archs = np.concatenate([space.canonical(task.archs) for task in tasks])
        scores = [normal_scores(task) for task in tasks]
        cells, which = np.unique(archs, axis=0, return_inverse=True)
        mean = np.bincount(which.ravel(), np.concatenate(scores)) / np.bincount(which.ravel())
        if len(cells) > ROWS:
            drawn = np.random.default_rng(0).choice(len(cells), ROWS, replace=False)
            cells, mean = cells[drawn], mean[drawn]
        hot = space.one_hot(cells)
        gram = _kernel(hot, hot, space.d) + NOISE * np.eye(len(cells))
        return cls(space, cells, Observations.of(gram).weights(mean - mean.mean()))

    @staticmethod
    def usable(space: SearchSpace) -> bool:
        """Whether cells of other spaces can be read as cells of this one: every edge can be cut."""
        return all(NOTHING in choice.options for choice in space.choices)

    def relates(self, space: SearchSpace) -> bool:
        """Whether a space, another one, has the same edges, and operations that are known."""
        names, ours = ([choice.name for choice in s.choices] for s in (space, self.space))
        return space.whole.name != self.space.name and names == ours and self.usable(space)

    def __call__(self, space: SearchSpace, archs: Archs) -> Array:
        """Scores ``(n,)`` of architectures of a space that is related; higher is better."""
        read = np.empty((len(archs), self.space.d), dtype=np.int64)
        for j, (theirs, ours) in enumerate(zip(space.choices, self.space.choices, strict=True)):
            place = [ours.options.index(o if o in ours.options else NOTHING) for o in theirs.options]
            read[:, j] = np.array(place)[archs[:, j]]
        basis = self.space.one_hot(self.archs)
        found = np.empty(len(archs))
        for start in range(0, len(archs), 4096):
            hot = self.space.one_hot(self.space.canonical(read[start : start + 4096]))
            found[start : start + 4096] = _kernel(hot, basis, self.space.d) @ self.alpha
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`of_arrays` reads back; the name of the space is kept apart."""
        return {"archs": self.archs.astype(np.int16), "alpha": self.alpha}

    @classmethod
    def of_arrays(cls, space: str, arrays: dict[str, NDArray[Any]]) -> RelatedCells:
        """The inverse of :meth:`arrays`."""
        return cls(spaces.space(space), arrays["archs"].astype(np.int64), arrays["alpha"].astype(np.float64))


def _kernel(a: Array, b: Array, d: int) -> Array:
    agree = a @ b.T
    return np.asarray(1.0 + agree / d + MIX * np.exp((agree - d) / REACH))
