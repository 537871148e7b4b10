"""Encodings that are a linear function of the one-hot choices, and so differentiable in relaxed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nastk.encodings.base import Encoding, Features
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch


class Linear(Encoding):
    """The one-hot choices times `matrix_`, ``(sum(sizes), k)``, which :meth:`fit` sets."""

    space_: SearchSpace
    matrix_: Features
    relaxable = True

    def transform(self, archs: Archs) -> Features:
        return self.space_.one_hot(archs) @ self.matrix_

    def transform_relaxed(self, one_hot: torch.Tensor) -> torch.Tensor:
        import torch

        return one_hot @ torch.as_tensor(self.matrix_, dtype=one_hot.dtype, device=one_hot.device)
