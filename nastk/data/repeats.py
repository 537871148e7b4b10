"""Repeated measurements of one architecture: one value with a spread, and those that contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nastk.data.tables import Column
from nastk.spaces.base import Archs, SearchSpace

Values = NDArray[np.float64]

USUAL = 5.0
"""How many times the others' typical deviation repeats may deviate before they are called a contradiction."""
NAMED = 3
"""Most architectures that are named."""
SHARE = 0.1
"""Share of the networks' own standard deviation that repeats may deviate by in any case."""


@dataclass(frozen=True)
class Repeats:
    """Rows that are measurements of the same architecture.

    Args:
        group: number of each row's architecture, ``(n,)``; architectures are numbered in the order of the file.
        first: the first row of each, ``(m,)``.
    """

    group: NDArray[np.int64]
    first: NDArray[np.int64]

    def __bool__(self) -> bool:
        """Whether any architecture is repeated."""
        return len(self.first) < len(self.group)

    def merge(self, values: Values) -> tuple[Values, Values, NDArray[np.int64]]:
        """Mean and standard deviation of each architecture's values, and their number, each ``(m,)``.

        Unknown values (NaN) are left out; the deviation of a single value is NaN.
        """
        known = ~np.isnan(values)
        m = len(self.first)
        count = np.bincount(self.group[known], minlength=m)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(self.group[known], values[known], m) / count
            squares = np.bincount(self.group[known], (values[known] - mean[self.group[known]]) ** 2, m)
            std = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
        single = count == 1  # exactly the value itself
        mean[self.group[known & single[self.group]]] = values[known & single[self.group]]
        return mean, std, count

    def pooled(self, values: Values, spreads: Values) -> tuple[Values, Values]:
        """Mean of each architecture's values and the standard deviation of all that they are means of, each ``(m,)``.

        Args:
            values: means of runs, ``(n,)``.
            spreads: the standard deviations of these runs, ``(n,)``.
        """
        mean, between, count = self.merge(values)
        within, _, _ = self.merge(np.square(spreads))
        # the variance of all runs is that within the groups and that of the groups' means
        apart = np.where(count > 1, between**2 * (count - 1) / np.maximum(count, 1), 0.0)
        return mean, np.sqrt(within + apart)

    def apart(self, values: Values) -> NDArray[np.int64]:
        """Numbers of the architectures whose values lie farther apart than the repeats of others, and than a tenth of
        what the architectures differ by."""
        mean, _, count = self.merge(values)
        known = np.flatnonzero(~np.isnan(values))
        deviation = np.zeros(len(self.first))
        np.maximum.at(deviation, self.group[known], np.abs(values[known] - mean[self.group[known]]))
        differ = float(np.nanstd(mean)) if (count > 0).sum() > 1 else float(np.nanmean(np.abs(mean)))
        repeated = np.flatnonzero(count > 1)
        limit = np.maximum(SHARE * differ, USUAL * _median_of_others(deviation[repeated]))
        return repeated[deviation[repeated] > limit]


def _median_of_others(values: Values) -> Values:
    """For each value the median of all others, 0 where there is none."""
    n = len(values)
    if n < 2:
        return np.zeros(n)
    place = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    ordered = np.sort(values)
    low, high = (n - 2) // 2, (n - 1) // 2  # the middle of the n - 1 others
    return (ordered[low + (place <= low)] + ordered[high + (place <= high)]) / 2


def same_rows(archs: Archs) -> Repeats:
    """Rows with the same choices are the same architecture."""
    _, first, group = np.unique(archs, axis=0, return_index=True, return_inverse=True)
    return _in_order(first, group.ravel())


def same_networks(space: SearchSpace, archs: Archs) -> Repeats:
    """Isomorphic encodings are the same architecture."""
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(key, len(numbers)) for key in space.keys(archs)], dtype=np.int64)
    return Repeats(group, np.unique(group, return_index=True)[1])


def _in_order(first: NDArray[np.int64], group: NDArray[np.int64]) -> Repeats:
    """Architectures numbered by their first row."""
    order = np.argsort(first)
    number = np.empty(len(first), dtype=np.int64)
    number[order] = np.arange(len(first))
    return Repeats(number[group], first[order])


def contradictions(column: Column, values: Values, repeats: Repeats, where: Callable[[int], str]) -> list[str]:
    """Warnings about repeats of one architecture that are far apart, each with the places of the two extremes."""
    if not repeats:
        return []
    odd = repeats.apart(values)
    found = []
    for number in odd[:NAMED]:
        rows = np.flatnonzero((repeats.group == number) & ~np.isnan(values))
        low, high = int(rows[np.argmin(values[rows])]), int(rows[np.argmax(values[rows])])
        found.append(
            f"{where(low)} and {where(high)}: one architecture has {column.metric} {values[low]:g} and "
            f"{values[high]:g}, farther apart than other repeats; the mean of its {len(rows)} values is taken"
        )
    if len(odd) > NAMED:
        found.append(f"{where(0).partition(', ')[0]}: {len(odd) - NAMED} more architectures have values far apart")
    return found
