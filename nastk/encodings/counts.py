"""counts: how often each option occurs, overall and in each group of choices (stage, cell)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nastk.encodings.base import Context, Encoding, Features
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch


class Counts(Encoding):
    """Option counts, a linear function of the one-hot choices; see `SearchSpace.count_matrix`."""

    relaxable = True

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Counts:
        self.space_ = space
        total, names = space.count_matrix()
        grouped, group_names = space.count_matrix(grouped=True)
        self.matrix_ = np.concatenate([total, grouped], axis=1)
        self.names_ = names + group_names
        return self

    def transform(self, archs: Archs) -> Features:
        return self.space_.one_hot(archs) @ self.matrix_

    def transform_relaxed(self, one_hot: torch.Tensor) -> torch.Tensor:
        import torch

        return one_hot @ torch.as_tensor(self.matrix_, dtype=one_hot.dtype, device=one_hot.device)
