"""cosine: architectures whose encodings point in different directions (Akhauri & Abdelfattah, MLSys 2024)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, LatencySource, encoding
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace


class Cosine(Sampler):
    """A random architecture, then repeatedly the one with the smallest maximum cosine to those chosen.

    Args:
        encoding: of the architectures, centred, for the cosine.
    """

    def __init__(self, encoding: str = "vec"):
        self.encoding = encoding

    def _pick(
        self,
        n: int,
        space: SearchSpace,
        archs: Archs,
        rng: np.random.Generator,
        sources: LatencySource | None,
        context: Context | None,
    ) -> NDArray[np.int64]:
        features = encoding(self.encoding).fit(space, context, archs).transform(archs)
        features = features - features.mean(axis=0)
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        chosen = [int(rng.integers(len(archs)))]
        nearest = features @ features[chosen[0]]
        while len(chosen) < n:
            nearest[chosen] = np.inf
            chosen.append(int(np.argmin(nearest)))
            nearest = np.maximum(nearest, features @ features[chosen[-1]])
        return np.array(chosen, dtype=np.int64)
