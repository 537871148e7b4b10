"""Samplers: choose the architectures to measure before anything is known about the device.

All have the same interface, so each works with every predictor: ``choose(n, space, candidates=..., seed=...)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, LatencySource
from nastk.errors import InvalidValue
from nastk.registry import SAMPLERS
from nastk.spaces.base import Archs, SearchSpace, Seed


class Sampler(ABC):
    """A rule that chooses informative measurements before any is known.

    Attributes:
        needs_sources: whether latencies of source devices are needed.
    """

    needs_sources: bool = False

    def choose(
        self,
        n: int,
        space: SearchSpace,
        *,
        candidates: Archs | None = None,
        seed: Seed = 0,
        sources: LatencySource | None = None,
        context: Context | None = None,
        pool: int = 600,
    ) -> Archs:
        """`n` architectures of different networks (:meth:`SearchSpace.as_networks`), ``(n, d)``.

        Args:
            n: number of architectures.
            space: their space.
            candidates: choose among these instead of the whole space, ``(m, d)``.
            seed: random seed.
            sources: latencies of source devices (measured or predicted), for rules that need them.
            context: sources of looked-up features.
            pool: number of random candidates that the rule considers.

        Raises:
            InvalidValue: fewer candidates than `n`, or the rule needs sources and there are none.
        """
        if n < 1:
            raise InvalidValue(f"choose at least one architecture; got n={n}")
        if self.needs_sources and sources is None:
            raise InvalidValue(f"the sampler {type(self).__name__} needs latencies of source devices")
        rng = np.random.default_rng(seed)
        drawn = self._draw(max(pool, n), space, candidates, rng)
        drawn = drawn[space.distinct(drawn)]  # a second measurement of one network would be wasted
        if n > len(drawn):
            raise InvalidValue(f"{n} architectures requested, only {len(drawn)} to choose from")
        return drawn[self._pick(n, space, drawn, rng, sources, context)]

    @staticmethod
    def _draw(pool: int, space: SearchSpace, candidates: Archs | None, rng: np.random.Generator) -> Archs:
        if candidates is not None:
            distinct = np.unique(candidates, axis=0)
            return distinct[rng.permutation(len(distinct))[:pool]]
        return space.sample(min(pool, space.size), rng, unique=True)

    @abstractmethod
    def _pick(
        self,
        n: int,
        space: SearchSpace,
        archs: Archs,
        rng: np.random.Generator,
        sources: LatencySource | None,
        context: Context | None,
    ) -> NDArray[np.int64]:
        """Rows of `archs` to measure, ``(n,)``, all different."""


def sampler(name: str | Sampler) -> Sampler:
    """The sampler called `name` ("random", "a-optimal" ...).

    Raises:
        UnknownName: no such sampler.
    """
    return name if isinstance(name, Sampler) else SAMPLERS.create(name)
