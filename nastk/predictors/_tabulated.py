"""Features of a listed space, computed once: a search asks for most of them at every evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Features
from nastk.spaces.base import Archs, SearchSpace

TABULATED = 50_000
"""Spaces up to this size have the features of their architectures kept."""


class Tabulated(ABC):
    """Arrays by architecture; in a small space each is computed when it is first asked for, and kept.

    Nothing else changes after construction, so that deep copies share the object; pickles leave out what was kept.
    """

    def __init__(self, space: SearchSpace):
        self.space = space
        self._kept: tuple[NDArray[np.bool_], list[Features]] | None = None

    @abstractmethod
    def _compute(self, archs: Archs) -> list[Features]:
        """Arrays of architectures ``(n, d)``, with ``n`` rows each, that depend on nothing else."""

    def _find(self, archs: Archs) -> list[Features]:
        """The same, looked up where they are kept."""
        if not len(archs) or not self.space.enumerable or self.space.size > TABULATED:
            return self._compute(archs)
        rows = self.space.index(archs)
        known = np.zeros(self.space.size, dtype=bool) if self._kept is None else self._kept[0]
        wanted = np.unique(rows[~known[rows]])
        if len(wanted):
            found = self._compute(self.space.enumerate()[wanted])
            if self._kept is None:
                self._kept = known, [np.empty((len(known), *features.shape[1:])) for features in found]
            for table, features in zip(self._kept[1], found, strict=True):
                table[wanted] = features
            self._kept[0][wanted] = True  # last: other threads may be reading
        assert self._kept is not None
        return [table[rows] for table in self._kept[1]]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Tabulated:
        return self
