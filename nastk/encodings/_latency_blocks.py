"""Feature blocks of latency, for few-shot-gp's kernels and the optimal designs (A-optimal, D-optimal).

Where a runtime would execute something else than what is written, there is a version of every block for each reading:
the architecture as written, without the operations whose results are not used (a compiling runtime), with equal
operations on the same input done once, and both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, LatencySource
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

COMPILED = " compiled"
"""Suffix of the names of blocks of architectures as compiled."""
MERGED = " merged"
"""Suffix of the names of blocks of architectures whose equal work is done once."""
READINGS = ("", COMPILED, MERGED, COMPILED + MERGED)
"""Suffixes of all readings of an architecture."""


@dataclass(frozen=True)
class Blocks:
    """Feature blocks of architectures, each ``(n, f)`` and scaled to a mean squared norm of one."""

    names: tuple[str, ...]
    blocks: tuple[Array, ...]

    @property
    def compiled(self) -> NDArray[np.bool_]:
        """Mask of the blocks of architectures as compiled, ``(blocks,)``."""
        return np.array([COMPILED in name for name in self.names], dtype=bool)

    def gram(self, other: Blocks) -> Array:
        """Inner products of each block, ``(blocks, n, m)``."""
        return np.stack([a @ b.T for a, b in zip(self.blocks, other.blocks, strict=True)])

    def rows(self, index: Any) -> Blocks:
        return Blocks(self.names, tuple(b[index] for b in self.blocks))

    def weighted(self, weights: Mapping[str, float]) -> Array:
        """All blocks concatenated, each scaled by the square root of its weight."""
        return np.concatenate(
            [np.sqrt(weights.get(n, 0.0)) * b for n, b in zip(self.names, self.blocks, strict=True)], axis=1
        )


class LatencyBlocks:
    """Computes :class:`Blocks`: logarithms of source latencies and their mean, the same of the latencies themselves
    ("raw"), option counts, groups' counts, statics and choices.

    Centres and scales come from a fixed random sample of the space, so that features do not depend on the query.

    Args:
        space: of the architectures.
        sources: latencies of source devices; without them, the first two blocks are missing.
        context: for the build options of the network whose statics are counted.
        trust: how much each source weighs, ``(sources,)``; by default all the same.
    """

    def __init__(
        self,
        space: SearchSpace,
        sources: LatencySource | None = None,
        context: Context | None = None,
        trust: Array | None = None,
    ):
        self.space = space.whole
        self.sources, self.options = sources, context.build_options if context else {}
        counts, groups = self.space.count_matrix()[0], self.space.count_matrix(grouped=True)[0]
        self._matrices = {"counts": counts, **({"groups": groups} if groups.shape[1] else {})}
        self._scales: dict[str, tuple[Array, Array]] = {}
        self._remembered: dict[bytes, Blocks] = {}
        reference = self.space.as_networks(self.space.sample(min(1000, self.space.size), seed=0, unique=True))
        parts = {COMPILED: self.space.compiled, MERGED: self.space.merged}
        same = [part for part, execute in parts.items() if np.array_equal(execute(reference), reference)]
        self._readings = [reading for reading in READINGS if not any(part in reading for part in same)]
        for name, raw in self._raw(reference):
            centre, spread = raw.mean(axis=0), raw.std(axis=0)
            useful = spread > 1e-9 * np.maximum(1.0, np.abs(raw).max(axis=0))
            share: Array = useful.astype(np.float64)
            if trust is not None and name.removeprefix("raw ").startswith("sources"):
                share *= trust
            factor = share / np.where(useful, spread, 1.0) / max(float(np.sqrt((share**2).sum())), 1e-9)
            self._scales[name] = centre, factor

    def __call__(self, archs: Archs) -> Blocks:
        """The blocks of architectures ``(n, d)``; the last few large populations are cached."""
        archs = self.space.as_networks(archs)  # a choice that another one switches off must not tell networks apart
        key = archs.tobytes() if len(archs) > 256 else b""
        if key in self._remembered:
            return self._remembered[key]
        scaled = {n: (raw - self._scales[n][0]) * self._scales[n][1] for n, raw in self._raw(archs)}
        result = Blocks(tuple(scaled), tuple(scaled.values()))
        if key:
            while len(self._remembered) >= 4:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[key] = result
        return result

    def _raw(self, archs: Archs) -> Iterable[tuple[str, Array]]:
        for reading in self._readings:
            executed = self.space.compiled(archs) if COMPILED in reading else archs
            executed = self.space.merged(executed) if MERGED in reading else executed
            for name, raw in self._read(executed, reading):
                yield name + reading, raw

    def _read(self, archs: Archs, reading: str) -> Iterable[tuple[str, Array]]:
        if self.sources is not None:
            latencies = self.sources(archs)
            for scale, values in (("", np.log(latencies)), ("raw ", latencies)):
                yield scale + "sources", values
                centre, factor = self._scales[scale + "sources" + reading]  # set: the caller has consumed the sources
                yield scale + "mean", ((values - centre) * factor).mean(axis=1, keepdims=True)
        hot = self.space.one_hot(archs)
        for name, matrix in self._matrices.items():
            yield name, hot @ matrix
        statics = self.space.statics(archs, **self.options)
        if statics:
            raw = np.stack(list(statics.values()), axis=1)
            yield "statics", np.concatenate([raw, np.log1p(raw)], axis=1)
        yield "choices", hot
