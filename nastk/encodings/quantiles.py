"""quantiles:zcp and so on: another encoding's features as quantiles over the space's architectures, in [-1, 1]."""

from __future__ import annotations

import numpy as np

from nastk.encodings.base import Context, Encoding, Features, encoding, some_archs
from nastk.spaces.base import Archs, SearchSpace

FAMILY = "quantiles:<encoding>"
"""Name of these encodings in listings."""
MOST = 4000
"""Most architectures for the quantiles: resolution against memory and the time of a transform."""


class Quantiles(Encoding):
    """Replaces each feature by twice its quantile minus one, so that scales and heavy tails do not matter.

    Ties get their mean rank. A predictor on quantiles transfers to other spaces, where the same proxies have other
    ranges.
    """

    def __init__(self, name: str | Encoding):
        self.inner = encoding(name)

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Quantiles:
        self.inner.fit(space, context, archs)
        some = some_archs(space) if archs is None else archs
        if len(some) > MOST:
            some = some[np.random.default_rng(0).choice(len(some), MOST, replace=False)]
        features = self.inner.transform(some)
        useful = np.ptp(features, axis=0) > 0 if len(some) else np.zeros(len(self.inner.names_), dtype=bool)
        self.columns_ = np.flatnonzero(useful)
        self.sorted_ = np.sort(features[:, self.columns_], axis=0)
        self.names_ = [f"quantile of {self.inner.names_[i]}" for i in self.columns_]
        return self

    def transform(self, archs: Archs) -> Features:
        features = self.inner.transform(archs)[:, self.columns_]
        places = np.empty(features.shape)
        for j, known in enumerate(self.sorted_.T):
            low, high = (np.searchsorted(known, features[:, j], side) for side in ("left", "right"))
            places[:, j] = (low + high) / len(known) - 1.0
        return places
