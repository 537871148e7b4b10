"""Shared by the samplers by quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def one_of_each_part(scores: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows ``(n,)``, one at random from each of `n` equally full ranges of the scores; ties are broken at random."""
    order = np.lexsort((rng.random(len(scores)), scores))
    return np.array([rng.choice(part) for part in np.array_split(order, n)], dtype=np.int64)
