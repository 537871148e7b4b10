"""counts: how often each option occurs, overall and in each group of choices (stage, cell)."""

from __future__ import annotations

import numpy as np

from nastk.encodings._linear import Linear
from nastk.encodings.base import Context
from nastk.spaces.base import Archs, SearchSpace


class Counts(Linear):
    """Option counts, a linear function of the one-hot choices; see `SearchSpace.count_matrix`."""

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Counts:
        self.space_ = space
        total, names = space.count_matrix()
        grouped, group_names = space.count_matrix(grouped=True)
        self.matrix_ = np.concatenate([total, grouped], axis=1)
        self.names_ = names + group_names
        return self
