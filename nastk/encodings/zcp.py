"""zcp: zero-cost proxies, looked up (Akhauri & Abdelfattah, Multi-Predict, AutoML 2023)."""

from __future__ import annotations

import numpy as np

from nastk.encodings.base import Context, Encoding, Features, column_means, some_archs
from nastk.errors import InvalidValue
from nastk.spaces.base import Archs, SearchSpace


class Zcp(Encoding):
    """Zero-cost proxies from the context's source, symmetric-log scaled, and a flag for missing ones.

    Proxies range over many decades (synflow on FBNet reaches 2.9e38), hence ``sign(x) log(1 + |x|)``. An architecture
    without proxies gets those of its canonical form, if there are any, else the column means of the fit.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Zcp:
        if context is None or context.proxies is None:
            raise InvalidValue(
                "the zcp encoding needs a source of proxies: Context(proxies=nastk.benchmark(...).proxy_source())"
            )
        self.space_, self.source_ = space, context.proxies
        self.mean_ = column_means(self._scaled(some_archs(space) if archs is None else archs))
        self.names_ = [*self.source_.names, "no proxies"]
        return self

    def _scaled(self, archs: Archs) -> Features:
        raw = np.asarray(self.source_(archs), dtype=np.float64)
        gaps = np.asarray(np.isnan(raw).any(axis=1))
        if gaps.any():
            raw = np.where(gaps[:, None], self.source_(self.space_.canonical(archs)), raw)
        return np.sign(raw) * np.log1p(np.abs(raw))

    def transform(self, archs: Archs) -> Features:
        values = self._scaled(archs)
        missing = np.isnan(values)
        return np.concatenate(
            [np.where(missing, self.mean_, values), missing.any(axis=1, keepdims=True).astype(float)], axis=1
        )
