"""Scores of architectures from tasks of the same space, or of a related one: the same edges, some of the operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

import nastk.spaces.factory as spaces
from nastk.errors import InvalidValue
from nastk.gaussian import Observations
from nastk.predictors._normal_scores import normal_scores
from nastk.predictors.base import Task
from nastk.registry import SPACES
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

NOTHING = "none"
"""Label of the operation that removes an edge."""
ROWS = 1500
"""Most architectures of the source space to fit, a random sample if there are more: the fit is cubic in them."""
ALIKE = 0.9
"""Spearman correlation from which on a task is left out with another one (:meth:`RelatedCells.without`): CIFAR-10,
CIFAR-100 and ImageNet16-120 rank NAS-Bench-201 alike to .93 and more, TransNAS-Bench-101's tasks to .87 at most."""
MIX = 1.0
"""Weight of interactions in the kernel, relative to the additive part."""
REACH = 2.0
"""Number of differing choices over which interactions decay by a factor of e."""
NOISE = 0.01
"""Noise variance of the mean over tasks, in normal scores: smoothing against fidelity to the source."""


@dataclass(frozen=True)
class RelatedCells:
    """A Gaussian process on canonical architectures of one space, on the mean of their normal scores in its tasks.

    ``k(m) = 1 + m / d + MIX exp(-(d - m) / REACH)`` for ``m`` equal choices of ``d``. Cells of another space are
    read as cells of this one; an operation that this space lacks counts as `none`, so that it contributes nothing.

    Args:
        space: of the tasks.
        archs: canonical architectures, ``(n, d)``.
        alpha: their kernel weights in each task, ``(n, tasks)``; the score is the mean over the tasks.
        tasks: names of the tasks (data sets), "" where they have none; of weights stored before, one for all.
    """

    space: SearchSpace
    archs: Archs
    alpha: Array
    tasks: tuple[str, ...]

    @classmethod
    def fit_each(cls, tasks: Sequence[Task]) -> list[RelatedCells]:
        """One for each space of the tasks.

        Raises:
            InvalidValue: a space that is not registered, by whose name it is stored.
        """
        by_space: dict[str, list[Task]] = {}
        for task in tasks:
            by_space.setdefault(task.space.whole.name, []).append(task)
        for name in by_space:
            if name not in SPACES.entries:
                raise InvalidValue(f"{name} cannot be a related space: register it")
        return [cls.fit(same) for same in by_space.values()]

    @classmethod
    def fit(cls, tasks: Sequence[Task]) -> RelatedCells:
        """Learn from tasks of one space, each from its own values alone, so that one can be left out."""
        space = tasks[0].space.whole
        archs = np.concatenate([space.canonical(task.archs) for task in tasks])
        cells, which = np.unique(archs, axis=0, return_inverse=True)
        count: NDArray[np.int64] = np.zeros((len(cells), len(tasks)), dtype=np.int64)
        scores: Array = np.zeros(count.shape)
        parts = np.split(which.ravel(), np.cumsum([len(task) for task in tasks])[:-1])
        for j, (task, rows) in enumerate(zip(tasks, parts, strict=True)):
            np.add.at(count[:, j], rows, 1)
            np.add.at(scores[:, j], rows, normal_scores(task))
        scores /= np.maximum(count, 1)
        if len(cells) > ROWS:
            drawn = np.random.default_rng(0).choice(len(cells), ROWS, replace=False)
            cells, scores, count = cells[drawn], scores[drawn], count[drawn]
        hot = space.one_hot(cells)
        gram = _kernel(hot, hot, space.d) + NOISE * np.eye(len(cells))
        alpha: Array = np.zeros(scores.shape)
        for known in np.unique(count > 0, axis=1).T:  # tasks of the same networks share a factorisation
            rows = np.flatnonzero(known)
            observations = Observations.of(gram[rows[:, None], rows])
            for place in np.flatnonzero(((count > 0) == known[:, None]).all(axis=0)):
                alpha[rows, place] = observations.weights(scores[rows, place] - scores[rows, place].mean())
        return cls(space, cells, alpha, tuple(str(task.dataset or "") for task in tasks))

    def without(self, task: str) -> RelatedCells | None:
        """The rest without a task and those that rank the architectures like it (:data:`ALIKE`); None if nothing is
        left. A task that was not learned changes nothing."""
        if task not in self.tasks:
            return self
        alike = self._correlation[self.tasks.index(task)] > ALIKE
        kept = [j for j, name in enumerate(self.tasks) if name != task and not alike[j]]
        if not kept:
            return None
        return replace(self, alpha=self.alpha[:, kept], tasks=tuple(self.tasks[j] for j in kept))

    @cached_property
    def _correlation(self) -> Array:
        """Spearman correlations of what is predicted in the tasks, ``(tasks, tasks)``."""
        ranks = np.apply_along_axis(rankdata, 0, self._each(self.archs))
        return np.atleast_2d(np.corrcoef(ranks.T))

    def own(self, space: SearchSpace) -> bool:
        """Whether that is the space of the tasks; another one of its name may write architectures otherwise."""
        return space.whole.name == self.space.name and _read(space) == _read(self.space)

    def relates(self, space: SearchSpace) -> bool:
        """Whether it is the same space, or another one with the same edges, each with a `none`."""
        if space.whole.name == self.space.name:
            return self.own(space)
        names, ours = ([choice.name for choice in s.choices] for s in (space, self.space))
        return names == ours and all(NOTHING in choice.options for s in (space, self.space) for choice in s.choices)

    def __call__(self, space: SearchSpace, archs: Archs) -> Array:
        """Scores ``(n,)`` of architectures of the space or a related one; higher is better."""
        read = np.array(archs)
        if not self.own(space):
            for j, (theirs, ours) in enumerate(zip(space.choices, self.space.choices, strict=True)):
                place = [ours.options.index(o if o in ours.options else NOTHING) for o in theirs.options]
                read[:, j] = np.array(place)[archs[:, j]]
        return np.asarray(self._each(read).mean(axis=1))

    def _each(self, archs: Archs) -> Array:
        """Scores of architectures of this space in each task, ``(n, tasks)``."""
        basis = self.space.one_hot(self.archs)
        found = np.empty((len(archs), self.alpha.shape[1]))
        for start in range(0, len(archs), 4096):
            hot = self.space.one_hot(self.space.canonical(archs[start : start + 4096]))
            found[start : start + 4096] = _kernel(hot, basis, self.space.d) @ self.alpha
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State for :meth:`of_arrays`; the names of the space and of the tasks are stored separately."""
        return {"archs": self.archs.astype(np.int16), "alpha": self.alpha}

    @classmethod
    def of_arrays(cls, space: str, tasks: Sequence[str] | None, arrays: dict[str, NDArray[Any]]) -> RelatedCells:
        """The inverse of :meth:`arrays`; `tasks` is None in weights stored before, of which the mean alone is known."""
        alpha = arrays["alpha"].astype(np.float64)
        if tasks is None:
            alpha, tasks = alpha[:, None], [""]
        return cls(spaces.space(space), arrays["archs"].astype(np.int64), alpha, tuple(tasks))


def _read(space: SearchSpace) -> list[tuple[str, tuple[str, ...]]]:
    return [(choice.name, tuple(choice.options)) for choice in space.choices]


def _kernel(a: Array, b: Array, d: int) -> Array:
    agree = a @ b.T
    return np.asarray(1.0 + agree / d + MIX * np.exp((agree - d) / REACH))
