"""The entropy of choices, which MTL-NAS (arXiv 2003.14058, Section 3.3) adds to the loss of a search."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def entropies(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """Of each choice, nats, ``(..., d)``, for logits ``(..., S)`` of all options of all choices."""
    rows = [row.log_softmax(-1) for row in logits.split(list(sizes), dim=-1)]
    return torch.stack([-(row.exp() * row).sum(-1) for row in rows], -1)
