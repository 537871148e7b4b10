"""Spaces whose rows have the options of as many layers as there can be, of which an architecture has the first ones."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nastk.spaces.base import Archs, SearchSpace, Seed


class Layered(SearchSpace):
    """Layers that an architecture does not have are, in canonical form, of the first options.

    Attributes:
        by_layer: columns of a row, one slice for each thing that is chosen by layer, all of one length.
    """

    by_layer: ClassVar[tuple[slice, ...]]

    @abstractmethod
    def _existing(self, archs: Archs) -> NDArray[np.bool_]:
        """Which layers each row has, ``(n, layers)``."""

    def canonical(self, archs: Archs) -> Archs:
        archs = np.array(archs, dtype=np.int64)
        existing = self._existing(archs)
        for part in self.by_layer:
            archs[:, part] *= existing
        return archs

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        return self.canonical(super()._sample(n, rng))

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """Change `n_changes` random choices so that the network changes; added layers are random; canonical."""
        rng = np.random.default_rng(seed)
        parents = self.canonical(archs)
        children, todo = parents.copy(), np.arange(len(parents))
        while len(todo):
            written = parents[todo]
            absent = ~self._existing(written)
            for part in self.by_layer:
                drawn = rng.integers(0, self.sizes[part], absent.shape)
                written[:, part] = np.where(absent, drawn, written[:, part])
            fresh = self.canonical(super().mutate(written, rng, n_changes))
            changed = (fresh != parents[todo]).any(axis=1)
            children[todo[changed]] = fresh[changed]
            todo = todo[~changed]
        return children

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        """Uniform crossover of paired rows, canonical; a layer that one parent alone has comes from that parent."""
        a, b = np.array(a), np.array(b)
        in_a, in_b = self._existing(a), self._existing(b)
        whole_a, whole_b = a.copy(), b.copy()
        for part in self.by_layer:
            whole_a[:, part] = np.where(in_b & ~in_a, b[:, part], a[:, part])
            whole_b[:, part] = np.where(in_a & ~in_b, a[:, part], b[:, part])
        return self.canonical(super().crossover(whole_a, whole_b, seed))

    def neighbours(self, arch: Archs) -> Archs:
        """The other networks whose rows differ in exactly one choice, canonical, ``(m, d)``."""
        around = self.canonical(super().neighbours(arch))
        return around[(around != self.canonical(np.reshape(arch, (1, -1)))).any(axis=1)]
