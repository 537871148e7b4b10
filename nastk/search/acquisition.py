"""Acquisition functions: hypervolume by directions, expected improvement, feasibility. Arrays in, arrays out.

Costs are to be minimised throughout. Shapes: ``n`` candidates, ``m`` objectives, ``k`` directions, ``s`` draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from nastk.metrics import orthant_directions, orthant_volume, reach
from nastk.search.base import Constraint

Array = NDArray[np.float64]


class DirectionalHypervolume:
    """Hypervolume to (1, ..., 1) as a mean over directions (Deng & Zhang 2019; Zhang & Golovin, ICML 2020).

    The volume that a front dominates is proportional to the mean, over directions of the positive orthant, of the
    m-th power of how far the front reaches along each. So the improvement by a candidate needs one comparison a
    direction, in any number of objectives, where exact hypervolume needs a partition into boxes.

    Args:
        objectives: ``m``.
        directions: ``k``.
        seed: of the directions.
    """

    def __init__(self, objectives: int, directions: int, seed: int):
        self._m = objectives
        self._directions, self._volume = orthant_directions(directions, objectives, seed), orthant_volume(objectives)

    def reach(self, costs: Array) -> Array:
        """How far each point ``(n, m)`` of costs scaled to [0, 1] pushes along each direction, ``(n, k)``."""
        return reach(costs, self._directions)

    def front(self, costs: Array) -> Array:
        """The reach of a front ``(n, m)``, ``(k,)``: zeros where it is empty."""
        reached: Array = self.reach(costs).max(axis=0, initial=0.0)
        return reached

    def gain(self, reached: Array, front: Array) -> Array:
        """Hypervolume ``(n,)`` that points add, by their reach ``(n, k)``, to a front of reach ``(k,)``."""
        m = self._m
        gain: Array = self._volume * np.maximum(reached**m - front**m, 0.0).mean(axis=1)
        return gain

    def subset(self, costs: Array, n: int) -> list[int]:
        """At most `n` of the points ``(p, m)`` with the greatest hypervolume together, chosen greedily.

        Greedy choice has at least 1 - 1/e of the best subset's hypervolume, which is submodular. The reference point
        is a tenth of each range beyond the worst point, so that the ends of the front count too.
        """
        low, high = costs.min(axis=0), costs.max(axis=0)
        reached = self.reach((costs - low) / np.where(high > low, high - low, 1.0) / 1.1)
        chosen: list[int] = []
        front = np.zeros(reached.shape[1])
        for _ in range(n):
            gain = self.gain(reached, front)
            gain[chosen] = -1.0
            chosen.append(int(np.argmax(gain)))
            front = np.maximum(front, reached[chosen[-1]])
        return chosen


def quasi_normal(n: int, dimensions: int, seed: int) -> Array:
    """`n` quasi-random standard normal vectors ``(n, dimensions)``, within about three standard deviations.

    Few draws stand for the whole distribution: a Sobol sequence covers it more evenly than independent draws, and a
    single extreme draw must not decide.
    """
    uniform = qmc.Sobol(max(dimensions, 1), seed=seed).random(n)
    # A Sobol point may lie on the border of the cube, where the normal quantile is infinite.
    return np.asarray(norm.ppf(uniform.clip(1e-3, 1 - 1e-3)))


def expected_improvement_batch(
    volume: DirectionalHypervolume,
    mean: Array,
    costs: Sequence[Array],
    noise: Sequence[Array],
    fronts: Sequence[Array],
    feasible: Array,
    networks: NDArray[np.int64],
    repeated: NDArray[np.bool_],
    n: int,
) -> list[int]:
    """A batch by expected hypervolume improvement (Daulton et al., NeurIPS 2020), greedily.

    After each choice the fronts are extended by its drawn costs without noise: the next choice must improve on what
    this one is expected to be, and not on a lucky draw of it.

    Args:
        volume: in which improvements are measured.
        mean: scaled costs as predicted, ``(n, m)``, which decide where nothing is expected to improve.
        costs: for each of the ``s`` draws the scaled costs of the candidates, ``(n, m)``.
        noise: for each draw what is added to them, which varies candidate by candidate, ``(n, m)``.
        fronts: for each draw the reach of the known front, ``(k,)``.
        feasible: probability that a candidate keeps the constraints, ``(n,)``; weighs its improvement.
        networks: number of each candidate's network, ``(n,)``, equal for isomorphic candidates, of which a batch
            holds at most one.
        repeated: candidates of networks that were evaluated before in another encoding, ``(n,)``; a batch may take
            hold several of one network, since only its latency is still unknown.
        n: size of the batch.

    Returns:
        Candidates in the order chosen; fewer than `n` where no more are left.
    """
    reached = [volume.reach(c + z) for c, z in zip(costs, noise, strict=True)]
    fronts, left = list(fronts), np.ones(len(networks), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < n and left.any():
        # Constrained improvement: expected improvement times the probability of feasibility (Gardner et al. 2014).
        gain = np.mean([volume.gain(r, f) for r, f in zip(reached, fronts, strict=True)], axis=0) * feasible
        if gain[left].max() <= 0:  # nothing is expected to improve: what is most likely feasible, then cheapest
            gain = feasible - 1e-3 * mean.sum(axis=1)
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(best)
        left &= np.arange(len(left)) != best if repeated[best] else networks != networks[best]
        fronts = [np.maximum(f, volume.reach(c[[best]])[0]) for c, f in zip(costs, fronts, strict=True)]
    return chosen


def feasibility(mean: Array, std: Array, constraints: Sequence[tuple[int, Constraint]]) -> Array:
    """Probability ``(n,)`` that all constraints are kept, by independent normal distributions (Gardner et al. 2014).

    Args:
        mean, std: of the objectives' values, ``(n, m)``; where the deviation is 0 the probability is 0 or 1.
        constraints: each with the column of its objective.
    """
    probability = np.ones(len(mean))
    for j, c in constraints:
        margin = (c.bound - mean[:, j]) * (1.0 if c.relation == "<=" else -1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(std[:, j] > 0, margin / std[:, j], np.where(margin >= 0, np.inf, -np.inf))
        probability *= norm.cdf(z)
    return probability
