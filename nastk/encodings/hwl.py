"""hwl: latencies on other devices (Akhauri & Abdelfattah, Multi-Predict, AutoML 2023, Section 3)."""

from __future__ import annotations

import numpy as np

from nastk.encodings.base import Context, Encoding, Features, column_means, some_archs
from nastk.errors import InvalidValue
from nastk.spaces.base import Archs, SearchSpace


class Hwl(Encoding):
    """Logarithm of the latency on each device of the context's source; missing ones become the column's mean.

    The same devices give the same features in every space, so a predictor on ``hwl`` alone transfers between spaces.
    The target device is never among them: `nastk.Task` refuses such a context.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Hwl:
        if context is None or context.latencies is None:
            raise InvalidValue(
                "the hwl encoding needs latencies of other devices: "
                "Context(latencies=nastk.benchmark(...).latency_source(devices))"
            )
        self.source_ = context.latencies
        self.mean_ = column_means(self._scaled(some_archs(space) if archs is None else archs))
        self.names_ = [f"latency {name}" for name in self.source_.names]
        return self

    def _scaled(self, archs: Archs) -> Features:
        return np.log(np.maximum(np.asarray(self.source_(archs), dtype=np.float64), 1e-6))

    def transform(self, archs: Archs) -> Features:
        values = self._scaled(archs)
        return np.where(np.isnan(values), self.mean_, values)
