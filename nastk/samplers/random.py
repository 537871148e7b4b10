"""random: uniform, the baseline of every comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, LatencySource
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace


class Random(Sampler):
    """Uniform without replacement."""

    def _pick(
        self,
        n: int,
        space: SearchSpace,
        archs: Archs,
        rng: np.random.Generator,
        sources: LatencySource | None,
        context: Context | None,
    ) -> NDArray[np.int64]:
        return rng.choice(len(archs), n, replace=False)
