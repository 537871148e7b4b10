"""Shared by the optimal designs: features of latency, and the greedy choice of measurements by a Gaussian process."""

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
"""Prior kernel weights of the feature blocks: a larger weight expects more of the latency to be linear in the block."""
COMPILES = 0.2
"""Fraction of these weights for the blocks of architectures as compiled, if they differ: how likely a compiler is."""
OFFSET = 4.0
"""Prior variance of the constant: large against the other weights, as the mean latency of a new device is unknown."""


class Design(Sampler):
    """Greedy design in few-shot-gp's kernel: each pick maximises :meth:`gain`, given the previous picks.

    Args:
        noise: noise variance of a measurement, relative to the mean prior variance.
        weights: of the feature blocks, by name.
        blocks: precomputed features; by default from the sources and the context.
    """

    def __init__(
        self, noise: float = 0.1, weights: Mapping[str, float] | None = None, blocks: LatencyBlocks | None = None
    ):
        self.noise, self.weights, self.blocks = noise, weights or WEIGHTS, blocks

    def gain(self, covariance: Array, floor: float) -> Array:
        """Gain of measuring each candidate, from the posterior covariance of all candidates, ``(m,)``."""
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
        useless = ~space.connected(archs)  # their latency is irrelevant; a compiler may leave nothing to measure
        return greedy_design(n, features @ features.T, floor, self.gain, useless)
