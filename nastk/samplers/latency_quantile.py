"""latency-quantile: one architecture in each part of a source device's latency range (Multi-Predict, AutoML 2023)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nastk.encodings.base import Context, LatencySource
from nastk.errors import UnknownName
from nastk.samplers._quantiles import one_of_each_part
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace


class LatencyQuantile(Sampler):
    """Random architectures, one from each of `n` equally full ranges of a source device's latency.

    Args:
        device: the source device; by default the mean rank over all.
    """

    needs_sources = True

    def __init__(self, device: str | None = None):
        self.device = device

    def _pick(
        self,
        n: int,
        space: SearchSpace,
        archs: Archs,
        rng: np.random.Generator,
        sources: LatencySource | None,
        context: Context | None,
    ) -> NDArray[np.int64]:
        assert sources is not None
        names = list(sources.names)
        if self.device is not None and self.device not in names:
            raise UnknownName("source device", self.device, names)
        ranks = np.apply_along_axis(rankdata, 0, sources(archs))
        scores = ranks.mean(axis=1) if self.device is None else ranks[:, names.index(self.device)]
        return one_of_each_part(scores, n, rng)
