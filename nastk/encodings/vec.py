"""vec: the choices themselves, one-hot (adjacency-and-operation vector of White et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nastk.encodings.base import Context, Encoding, Features
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch


class Vec(Encoding):
    """Concatenated one-hot choices, ``(n, sum(sizes))``."""

    relaxable = True

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Vec:
        self.space_ = space
        self.names_ = [f"{c.name}={option}" for c in space.choices for option in c.options]
        return self

    def transform(self, archs: Archs) -> Features:
        return self.space_.one_hot(archs)

    def transform_relaxed(self, one_hot: torch.Tensor) -> torch.Tensor:
        return one_hot
