"""What the optimal designs share: features of latency, and the greedy choice of measurements by a Gaussian process."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._latency_blocks import COMPILED, LatencyBlocks
from nastk.encodings.base import Context, LatencySource
from nastk.gaussian import greedy_design
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

WEIGHTS = {"sources": 1.0, "mean": 1.0, "counts": 0.3, "groups": 0.15, "statics": 0.3, "choices": 0.02}
"""Kernel weights of the feature blocks before anything is known of the device."""
COMPILES = 0.2
"""Share of these weights that the blocks of architectures as compiled have, where they differ."""
OFFSET = 4.0
"""Prior variance of the constant."""


class Design(Sampler):
    """Greedy design in few-shot-gp's kernel: each pick is the best by :meth:`gain`, given those before.

    Args:
        noise: noise variance of a measurement, relative to the mean prior variance.
        weights: of the feature blocks, by name.
        blocks: ready-made features; by default made from the sources and the context.
    """

    def __init__(
        self, noise: float = 0.1, weights: Mapping[str, float] | None = None, blocks: LatencyBlocks | None = None
    ):
        self.noise, self.weights, self.blocks = noise, weights or WEIGHTS, blocks

    def gain(self, covariance: Array, floor: float) -> Array:
        """What measuring each candidate would bring, from the posterior covariance of all, ``(m,)``."""
        raise NotImplementedError

    def _pick(
        self,
        n: int,
        space: SearchSpace,
        archs: Archs,
        rng: np.random.Generator,
        sources: LatencySource | None,
        context: Context | None,
    ) -> NDArray[np.int64]:
        blocks = (self.blocks or LatencyBlocks(space, sources, context))(archs)
        share = COMPILES if blocks.compiled.any() else 0.0
        weights = {n: w * (1.0 - share) for n, w in self.weights.items()}
        weights |= {n + COMPILED: w * share for n, w in self.weights.items()}
        features = blocks.weighted(weights)
        features = np.concatenate([features, np.full((len(archs), 1), np.sqrt(OFFSET))], axis=1)
        floor = self.noise * float((features**2).sum(axis=1).mean())
        useless = ~space.connected(archs)  # nobody wants their latency; a compiler may leave nothing to measure
        return greedy_design(n, features @ features.T, floor, self.gain, useless)
