"""Preferences among objectives: points of the simplex."""

from __future__ import annotations

from functools import lru_cache
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import InvalidValue

Array = NDArray[np.float64]


def rays(n: int, objectives: int = 2) -> Array:
    """Preferences to propose for, ``(n, objectives)``, spread evenly, rows that sum to 1.

    For two objectives equal angles on the quarter circle, as in the evaluation of MODNAS, scaled to the simplex that it
    is trained on; for more, a low-discrepancy sequence, with every single objective first.

    Raises:
        InvalidValue: fewer than one requested.
    """
    if n < 1 or objectives < 1:
        raise InvalidValue(f"needs at least one ray and one objective; got {n} and {objectives}")
    if objectives == 1:
        return np.ones((n, 1))
    if objectives == 2:
        angles = np.linspace(1e-6, np.pi / 2 - 1e-6, n)
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return points / points.sum(axis=1, keepdims=True)
    from scipy.stats import qmc

    corners = np.eye(objectives)[:n]
    inner = -np.log1p(-qmc.Halton(objectives, scramble=False).random(n - len(corners) + 1)[1:])
    return np.concatenate([corners, inner / inner.sum(axis=1, keepdims=True)])


def dirichlet(n: int, objectives: int, generator: torch.Generator | None = None, concentration: float = 1.0) -> Tensor:
    """Draws ``(n, objectives)`` from the symmetric Dirichlet distribution; 1 is uniform on the simplex."""
    if concentration == 1.0:
        drawn = -torch.rand(n, objectives, generator=generator).clamp_min(1e-12).log()
    else:
        with torch.random.fork_rng(devices=[]):  # its gamma sampler takes no generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            drawn = torch._standard_gamma(torch.full((n, objectives), concentration))
            drawn = drawn.clamp_min(1e-12)
    return drawn / drawn.sum(1, keepdim=True)


class SimplexGrid:
    """Anchors on the simplex, and any preference as a weighted mean of the nearest anchors.

    Kuhn's triangulation of the cumulative sums divides the simplex; weights are barycentric within each cell. With two
    objectives: bins of the first preference, linear interpolation between neighbours.

    Args:
        objectives: dimension of the preferences.
        divisions: number of divisions of every edge of the simplex.
    """

    def __init__(self, objectives: int, divisions: int):
        if divisions < 1:
            raise InvalidValue(f"a grid needs at least one division; got {divisions}")
        self.objectives, self.divisions = objectives, divisions
        corners = (
            np.indices((divisions + 1,) * (objectives - 1))
            .reshape(objectives - 1, (divisions + 1) ** (objectives - 1))
            .T
        )
        kept = (np.diff(corners, axis=1) >= 0).all(axis=1)
        index = np.zeros(len(corners), dtype=np.int64)
        index[kept] = np.arange(kept.sum())
        self._index = torch.as_tensor(index)
        edges = np.concatenate([np.zeros((kept.sum(), 1)), corners[kept], np.full((kept.sum(), 1), divisions)], axis=1)
        self.anchors: Array = np.diff(edges, axis=1) / divisions
        """Coordinates, ``(anchors, objectives)``."""

    def __len__(self) -> int:
        return len(self.anchors)

    def __call__(self, preferences: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the anchors, ``(n, m)``, and their weights, ``(n, m)``, rows that sum to 1."""
        n, m = preferences.shape
        if m == 1:
            return torch.zeros(n, 1, dtype=torch.long, device=preferences.device), torch.ones_like(preferences)
        shares = preferences / preferences.sum(1, keepdim=True)
        sums = (shares[:, :-1].cumsum(1).clamp(0, 1) * self.divisions).flip(1)  # descending: ties move later sums first
        base = sums.floor()
        part, order = (sums - base).sort(dim=1, descending=True, stable=True)
        # Kuhn: the order of the fractional parts selects the simplex; its vertices add one axis at a time in that
        # order.
        steps = torch.nn.functional.one_hot(order, m - 1).cumsum(1)
        vertices = torch.cat([base[:, None], base[:, None] + steps], 1).flip(2).clamp_max(self.divisions).long()
        edges = torch.cat([torch.ones_like(part[:, :1]), part, torch.zeros_like(part[:, :1])], 1)
        powers = (self.divisions + 1) ** torch.arange(m - 2, -1, -1, device=vertices.device)
        return self._index.to(vertices.device)[(vertices * powers).sum(2)], edges[:, :-1] - edges[:, 1:]


@lru_cache(maxsize=32)
def simplex_grid(objectives: int, anchors: int) -> SimplexGrid:
    """The finest grid of at most `anchors` anchors (101 for two objectives are the bins of MODNAS)."""
    divisions = 1
    while objectives > 1 and divisions < 1000 and comb(divisions + objectives, objectives - 1) <= anchors:
        divisions += 1
    return SimplexGrid(objectives, divisions)
