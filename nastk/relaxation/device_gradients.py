"""Combining the gradients of several devices: their mean, or MGDA's common descent direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import InvalidValue, UnknownName

Array = NDArray[np.float64]

COMBINATIONS = ("mean", "mgda")
"""Names for :func:`combine`."""


def frank_wolfe(gram: Array, steps: int = 2000, tolerance: float = 1e-7) -> Array:
    """Weights on the simplex, ``(t,)``, of the shortest convex combination of ``t`` vectors.

    Minimises ``w' G w`` by Frank-Wolfe with away steps and exact line search (Jaggi, ICML 2013; Lacoste-Julien & Jaggi,
    NeurIPS 2015), from the shortest vector. It is the subproblem of MGDA (Sener & Koltun, NeurIPS 2018).

    Args:
        gram: inner products of the vectors, ``(t, t)``.
        steps: maximum number of steps.
        tolerance: stop at this duality gap, relative to the largest squared length.
    """
    gram = np.asarray(gram, dtype=np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not len(gram) or not np.isfinite(gram).all():
        raise InvalidValue(f"a Gram matrix must be square and finite; got shape {gram.shape}")
    size = max(float(gram.diagonal().max()), 1e-300)
    weights = np.zeros(len(gram))
    weights[int(np.argmin(gram.diagonal()))] = 1.0
    for _ in range(steps):
        slopes = gram @ weights
        level = float(weights @ slopes)
        towards, away = int(np.argmin(slopes)), int(np.argmax(np.where(weights > 0, slopes, -np.inf)))
        if level - slopes[towards] <= tolerance * size:
            break
        direction = -weights
        # Take the steeper of the Frank-Wolfe and the away direction; plain Frank-Wolfe zigzags on a face of the
        # simplex.
        if level - slopes[towards] >= slopes[away] - level or weights[away] >= 1.0:
            direction = direction.copy()
            direction[towards] += 1.0
            longest = 1.0
        else:
            direction = weights.copy()
            direction[away] -= 1.0
            longest = float(weights[away] / (1.0 - weights[away]))
        curvature = float(direction @ gram @ direction)
        slope = float(direction @ slopes)
        step = longest if curvature <= 0 else min(longest, -slope / curvature)
        weights = np.maximum(weights + step * direction, 0.0)
        weights /= weights.sum()
    return weights


def combine(gradients: Tensor, how: str = "mean") -> Tensor:
    """One direction, ``(p,)``, of the devices' gradients ``(t, p)``.

    Args:
        gradients: one per device.
        how: "mean"; or "mgda", the shortest convex combination of the normalised gradients, rescaled to their mean
            length (otherwise it shrinks where devices conflict, and training stalls).

    Raises:
        UnknownName: `how` is neither.
    """
    if how not in COMBINATIONS:
        raise UnknownName("combination of gradients", how, COMBINATIONS)
    if how == "mean" or len(gradients) == 1:
        return gradients.mean(0)
    lengths = gradients.norm(dim=1)
    if not bool((lengths > 0).all()):
        return gradients.mean(0)
    unit = gradients / lengths[:, None]
    weights = frank_wolfe((unit @ unit.T).double().cpu().numpy())
    direction = torch.as_tensor(weights, dtype=unit.dtype, device=unit.device) @ unit
    length = direction.norm()
    return direction * (lengths.mean() / length) if float(length) > 1e-6 else torch.zeros_like(direction)


def descend(parameters: Sequence[Tensor], gradients: Sequence[Sequence[Tensor]], how: str) -> None:
    """Set the parameters' gradients to the combination of the devices' gradients.

    Args:
        parameters: of a network.
        gradients: for each device, of each parameter.
        how: see :func:`combine`.
    """
    rows = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in gradients])
    direction = combine(rows, how)
    for parameter, part in zip(parameters, direction.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)
