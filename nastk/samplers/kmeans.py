"""kmeans: the architectures nearest to the centres of clusters of an encoding (Akhauri & Abdelfattah, MLSys 2024)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, LatencySource, encoding
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace


class KMeans(Sampler):
    """As many clusters as measurements, and from each the architecture nearest to its centre.

    Args:
        encoding: of the architectures, standardised, for the distance.
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
        from sklearn.cluster import KMeans as Clusters
        from sklearn.exceptions import ConvergenceWarning

        features = encoding(self.encoding).fit(space, context, archs).transform(archs)
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct features than clusters
            clusters = Clusters(n, n_init=4, random_state=int(rng.integers(2**31))).fit(features)
        chosen: list[int] = []
        for centre in clusters.cluster_centers_:
            distance = ((features - centre) ** 2).sum(axis=1)
            distance[chosen] = np.inf
            chosen.append(int(np.argmin(distance)))
        return np.array(chosen, dtype=np.int64)
