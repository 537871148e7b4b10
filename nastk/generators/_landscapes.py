"""Costs of relaxed architectures for training a generator: exact on small spaces, distilled on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.relaxation.discretisers import split
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

OUTSIDE = 1.5
"""Cost of rows that are not members, as a multiple of the worst member's: more pushes the generator harder towards
members, but dwarfs the differences among them."""


class Grid:
    """A value for every architecture of a small space, extended to relaxed ones by expectation (multilinearly).

    Nothing is learned or smoothed: at a one-hot, the derivative with respect to an option is the cost of the
    architecture that takes this option instead; at a mixture, it is an average weighted by probability.

    Args:
        space: with at most :attr:`LARGEST` combinations of its choices.
        values: ``(rows, n)``, in the order of ``enumerate``; a row for each device and objective.
    """

    LARGEST = 50_000
    """Most combinations of options. The grid takes memory and time in proportion, for each device and objective."""

    def __init__(self, space: SearchSpace, values: Array, device: str = "cpu"):
        self.sizes = tuple(int(s) for s in space.sizes)
        members = np.ravel_multi_index(tuple(space.enumerate().T), self.sizes)
        worst = np.maximum(values.max(axis=1, keepdims=True), 0.0) * OUTSIDE
        grid = np.broadcast_to(worst, (len(values), prod(self.sizes))).copy()
        grid[:, members] = values
        self.grid = torch.as_tensor(grid, dtype=torch.float32, device=device)
        self.members = torch.as_tensor(members, device=device)
        self.one_hots = torch.as_tensor(space.one_hot(space.enumerate()), dtype=torch.float32, device=device)
        strides = np.cumprod([1, *self.sizes[::-1]])[-2::-1]
        steps = np.concatenate([np.arange(size) * s for size, s in zip(self.sizes, strides, strict=True)])
        self._steps = torch.as_tensor(steps, dtype=torch.float32, device=device)
        self._choice = torch.as_tensor(np.repeat(np.arange(space.d), self.sizes), device=device)

    @classmethod
    def fits(cls, space: SearchSpace) -> bool:
        """Whether the space is small enough."""
        return space.enumerable and prod(int(s) for s in space.sizes) <= cls.LARGEST

    def hard(self, one_hot: Tensor, rows: Tensor) -> Tensor:
        """Costs ``(k, b, m)`` of one-hots ``(k, b, S)`` by functions ``(b, m)``; gradients flow to the one-hots."""
        with torch.no_grad():
            steps = split(one_hot * self._steps, self.sizes).sum(-1).round().long()  # (k, b, d) parts of the index
            place = steps.sum(-1, keepdim=True)
            # (k, b, S): index of the neighbour that takes each option instead
            around = place - steps[..., self._choice] + self._steps.long()
            values = self.grid[rows[None, :, :, None], around[:, :, None, :]]
            here = self.grid[rows[None], place]
        # Every choice contributes the present cost once; subtracting it d - 1 times makes the value exact.
        return (one_hot[:, :, None, :] * values).sum(-1) - (len(self.sizes) - 1) * here

    def mixed(self, relaxed: Tensor, rows: Tensor) -> Tensor:
        """Expected costs ``(k, b, m)`` of mixtures ``(k, b, S)`` with independent choices."""
        shares = split(relaxed, self.sizes)
        weights = relaxed.new_ones(*relaxed.shape[:2], 1)
        for j, size in enumerate(self.sizes):
            weights = (weights[..., :, None] * shares[..., None, j, :size]).flatten(-2)
        return torch.einsum("kbn,bmn->kbm", weights, self.grid[rows])

    def of_members(self, rows: Tensor) -> Tensor:
        """Costs ``(b, m, n)`` of all members."""
        return self.grid[:, self.members][rows]


class Distilled:
    """A perceptron trained on the costs of archs_to_label architectures; relaxable costs are used directly.

    Args:
        archs: one-hots of archs_to_label architectures ``(n, S)``.
        values: their normalised costs ``(rows, n)``; NaN rows are not learned.
        direct: rows that need no learning: functions of relaxed one-hots ``(n, S)``.
        width, steps, batch, learning_rate: of the perceptron and its training by AdamW.
        held_out: fraction of the architectures reserved for validation.

    Attributes:
        spearman: rank correlation on the held-out architectures, by row; NaN for direct ones.
    """

    def __init__(
        self,
        archs: Tensor,
        values: Tensor,
        direct: dict[int, Callable[[Tensor], Tensor]],
        generator: torch.Generator,
        width: int = 192,
        steps: int = 2000,
        batch: int = 256,
        learning_rate: float = 3e-3,
        held_out: float = 0.1,
    ):
        from nastk.metrics import spearman

        self.direct, self.rows = direct, len(values)
        self.learned = [r for r in range(self.rows) if r not in direct]
        self._column = torch.full((self.rows,), -1, dtype=torch.long)
        self._column[self.learned] = torch.arange(len(self.learned))
        self.spearman = np.full(self.rows, np.nan)
        if not self.learned:
            return
        y = values[self.learned].T
        test = max(int(held_out * len(archs)), 1)
        x, y, x_test, y_test = archs[test:], y[test:], archs[:test], y[:test]
        sizes = (archs.shape[1], width, width, len(self.learned))
        self.network = nn.Sequential(
            nn.Linear(sizes[0], sizes[1]), nn.SiLU(), nn.Linear(sizes[1], sizes[2]), nn.SiLU(), nn.Linear(*sizes[2:])
        ).to(archs.device)
        adam = torch.optim.AdamW(self.network.parameters(), lr=learning_rate, weight_decay=1e-3, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, learning_rate, total_steps=max(steps, 1))
        for _ in range(steps):
            rows = torch.randint(len(x), (min(batch, len(x)),), generator=generator).to(x.device)
            adam.zero_grad()
            (self.network(x[rows]) - y[rows]).square().mean().backward()
            adam.step()
            schedule.step()
        self.network.requires_grad_(False)
        with torch.no_grad():
            found = self.network(x_test).T.double().cpu().numpy()
        for row, a, b in zip(self.learned, found, y_test.T.double().cpu().numpy(), strict=True):
            self.spearman[row] = spearman(a, b)

    def hard(self, one_hot: Tensor, rows: Tensor) -> Tensor:
        """See :meth:`Grid.hard`."""
        k, b, _ = one_hot.shape
        flat = one_hot.flatten(0, 1)
        out = one_hot.new_zeros(k, b, rows.shape[1])
        if self.learned:
            columns = self._column.to(rows.device)[rows]
            answers = self.network(flat).unflatten(0, (k, b))
            picked = answers.gather(2, columns.clamp_min(0).expand(k, -1, -1))
            out = torch.where(columns >= 0, picked, out)
        for row, function in self.direct.items():
            where, which = (rows == row).nonzero(as_tuple=True)
            if len(where):
                values = function(one_hot[:, where].flatten(0, 1)).unflatten(0, (k, len(where)))
                out = out.index_put((torch.arange(k)[:, None], where[None], which[None]), values.to(out))
        return out

    mixed = hard


def archs_to_label(space: SearchSpace, n: int, seed: int) -> Archs:
    """Architectures whose costs are computed: all of a space whose grid fits, otherwise `n` distinct random ones."""
    if Grid.fits(space) or (space.enumerable and space.size <= n):
        return space.enumerate()
    return space.sample(n, seed, unique=True)


def isomorphic_encodings(space: SearchSpace, archs: Archs, seed: int, rounds: int = 40) -> Archs:
    """Random isomorphic encodings of architectures, ``(n, d)``.

    Draws of a generator are not canonical. A model that learns costs from canonical rows only would not see that some
    choices have no effect.
    """
    whole = space.whole
    rng = np.random.default_rng(seed)
    wanted, found = whole.canonical(archs), np.array(archs)
    if len(archs) == 0:
        return found
    for j in np.concatenate([rng.permutation(space.d) for _ in range(-(-rounds // space.d))]):
        other = found.copy()
        other[:, j] = rng.integers(0, space.sizes[j], len(found))
        same = whole.is_valid(other) & (whole.canonical(other) == wanted).all(axis=1)
        found[same] = other[same]
    return found


def one_hots(space: SearchSpace, archs: Archs | Sequence[Archs], device: str = "cpu") -> Tensor:
    """Architectures ``(n, d)`` as a tensor ``(n, S)``."""
    return torch.as_tensor(space.one_hot(np.asarray(archs)), dtype=torch.float32, device=device)
