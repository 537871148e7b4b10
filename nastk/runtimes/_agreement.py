"""How far the outputs of a runtime agree with PyTorch's in eager mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
"""Greatest difference of float32 outputs, as a share of the greatest output: room for the order of sums."""

LEAST_COSINE = 0.99
"""Cosine between outputs of a lower precision and those of float32, below which a measurement warns."""


@dataclass(frozen=True)
class Agreement:
    """Outputs of one network beside PyTorch's own, in eager mode and float32, on the same inputs.

    Args:
        difference: the greatest, as a share of the greatest output; infinite where one is not a number.
        cosine: the least over all examples.
        first_class: share of examples whose greatest output is the same one.
        examples: that were compared: inputs, or the tokens of all inputs.
    """

    difference: float
    cosine: float
    first_class: float
    examples: int

    def describe(self) -> str:
        """In words, for tables and messages."""
        return (
            f"greatest difference {self.difference:.1e}, least cosine {self.cosine:.4f}, "
            f"same first class in {self.first_class:.0%} of {self.examples}"
        )

    def check(self, precision: str, label: str) -> None:
        """Refuse float32 outputs that are another network's; lower precisions are expected to differ.

        Raises:
            RuntimeError: they differ by more than :data:`TOLERANCE`.
        """
        if precision == "fp32" and not self.difference <= TOLERANCE:
            raise RuntimeError(
                f"{label} answers other outputs than PyTorch: {self.describe()}; allowed is {TOLERANCE:g}"
            )


def agreement(expected: torch.Tensor, found: torch.Tensor) -> Agreement:
    """Compare outputs ``(..., classes)`` with the expected ones.

    Raises:
        RuntimeError: the shapes differ.
    """
    import torch

    if found.shape != expected.shape:
        raise RuntimeError(f"the output has shape {tuple(found.shape)}, and PyTorch's {tuple(expected.shape)}")
    width = expected.shape[-1] if expected.dim() > 1 else 1
    a, b = expected.detach().double().reshape(-1, width).cpu(), found.detach().double().reshape(-1, width).cpu()
    if not torch.isfinite(b).all() and torch.isfinite(a).all():
        return Agreement(float("inf"), -1.0, 0.0, len(a))
    scale = float(a.abs().max())
    difference = float((a - b).abs().max())
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)
    cosine[(a == 0).all(-1) & (b == 0).all(-1)] = 1.0  # equal, and without a direction
    same = (a.argmax(-1) == b.argmax(-1)).double()
    return Agreement(difference / scale if scale else difference, float(cosine.min()), float(same.mean()), len(a))
