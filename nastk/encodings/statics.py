"""statics: parameters, multiply-adds and the space's other closed-form counts, raw and logarithmic."""

from __future__ import annotations

import numpy as np

from nastk.encodings.base import Context, Encoding, Features
from nastk.errors import Unsupported
from nastk.spaces.base import Archs, SearchSpace


class Statics(Encoding):
    """Each of `SearchSpace.statics` and its ``log(1 + x)``; free, exact, no measurement.

    They are what lets a latency predictor transfer between GPUs and phones (Multi-Predict's adversarial FBNet task).
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Statics:
        self.space_ = space
        self.options_ = dict(context.build_options) if context else {}
        kinds = list(space.statics(space.sample(1, seed=0), **self.options_))
        if not kinds:
            raise Unsupported(f"{space.whole.name} has no closed-form parameter or FLOP counts; leave 'statics' out")
        self.names_ = [*kinds, *(f"log {k}" for k in kinds)]
        return self

    def transform(self, archs: Archs) -> Features:
        values = np.stack(list(self.space_.statics(archs, **self.options_).values()), axis=1)
        return np.concatenate([values, np.log1p(values)], axis=1)
