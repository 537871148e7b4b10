"""Scalarisations: from several costs and a preference to one cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nastk.errors import UnknownName

Scalarisation = Callable[[Tensor, Tensor], Tensor]
"""From costs and preferences, both ``(..., m)``, to ``(...)``."""


def linear(costs: Tensor, preferences: Tensor) -> Tensor:
    """Weighted sum, as in MODNAS; it only finds the convex part of the front."""
    return (costs * preferences).sum(-1)


def tchebycheff(costs: Tensor, preferences: Tensor, share: float = 0.05) -> Tensor:
    """Largest weighted cost over an ideal of 0, plus `share` of the weighted sum (augmented, Steuer & Choo 1983)."""
    return (costs * preferences).amax(-1) + share * linear(costs, preferences)


def smooth_tchebycheff(costs: Tensor, preferences: Tensor, smoothness: float = 0.1, share: float = 0.05) -> Tensor:
    """Tchebycheff with a soft maximum, differentiable everywhere (Lin et al., ICML 2024).

    Args:
        costs, preferences: ``(..., m)``.
        smoothness: smaller values are closer to the maximum.
        share: weight of the weighted sum.
    """
    soft = smoothness * torch.logsumexp(costs * preferences / smoothness, -1)
    return soft + share * linear(costs, preferences)


SCALARISATIONS: dict[str, Scalarisation] = {
    "linear": linear,
    "smooth-tchebycheff": smooth_tchebycheff,
    "tchebycheff": tchebycheff,
}
"""Scalarisations by name."""


def scalarisation(name: str | Scalarisation, **options: float) -> Scalarisation:
    """The scalarisation called `name`; `options` are its named arguments.

    Raises:
        UnknownName: no such scalarisation.
    """
    if callable(name):
        return name
    if name not in SCALARISATIONS:
        raise UnknownName("scalarisation", name, SCALARISATIONS)
    return partial(SCALARISATIONS[name], **options) if options else SCALARISATIONS[name]
