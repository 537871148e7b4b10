"""REINFORCE: a policy over the choices learns by its gradient, with TuNAS's absolute reward (Bender et al., 2020)"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.search.candidates import whole_space
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

MEMBERS = 20_000
"""Spaces of at most this many architectures are drawn from exactly: each by its probability, none twice."""

TRIES = 30
"""Draws from the policy, each from a flatter one, before what is missing is drawn at random."""


class Reinforce(Searcher):
    """A probability for each option of each choice, independent of the others, raised by the advantage of its networks.

    The gradient is that of REINFORCE (Williams, 1992), with a moving average of the rewards as baseline and a bonus on
    the entropy. The reward is TuNAS's absolute one (arXiv 2008.06120, Section 5): quality + `beta` |cost / target - 1|,
    where the targets are the bounds of constraints, so that networks far below the bound are no better than those as
    far above. Quality is the first objective, scaled to [0, 1] by the values known so far. Where others have no bound,
    it is by how much an architecture is beyond the best of the others on all of these (maximin fitness: Balling, EMO
    2003), negative where it is dominated. A bound on such an objective costs only where it is broken.

    As the scale changes with what is known, the policy is learned anew from all results, in their order. Choices that
    make no difference to a network learn nothing from it, and a failure has the worst reward of all. Networks that are
    known are not drawn again.

    Args:
        beta: weight of the relative distance from a target, in multiples of the range of the first objective.
        learning_rate: step in logits for an advantage of one standard deviation of the rewards.
        momentum: of the baseline; the mean of all rewards at 1.
        entropy: weight of the entropy's gradient beside an advantage of one standard deviation.

    Raises:
        InvalidValue: a positive `beta`, a learning rate that is not, a negative entropy, a momentum not in [0, 1].
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        beta: float = -0.5,
        learning_rate: float = 1.0,
        momentum: float = 0.95,
        entropy: float = 0.01,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if not (beta <= 0 and learning_rate > 0 and entropy >= 0 and 0 <= momentum <= 1):
            raise InvalidValue(
                f"reinforce needs beta <= 0, learning_rate > 0, entropy >= 0 and momentum from 0 to 1; got {beta}, "
                f"{learning_rate}, {entropy} and {momentum}"
            )
        self.beta, self.learning_rate, self.momentum, self.entropy = beta, learning_rate, momentum, entropy
        names = [o.name for o in self.objectives]
        bound = [names.index(c.objective) for c in self.constraints]
        self._quality = [j for j in range(len(names)) if j == 0 or j not in bound]
        self._options = np.arange(int(self.space.sizes.max()))[None] < self.space.sizes[:, None]
        self._active: dict[bytes, NDArray[np.bool_]] = {}

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        logits = self._learn()
        if self._members is not None:
            return self.propose(self._draw_members(n, logits, self._members, pending, rng))
        found = np.empty((0, self.space.d), dtype=np.int64)
        for attempt in range(TRIES):
            if len(found) >= n:
                break
            noise = rng.gumbel(size=(4 * n, *logits.shape))
            drawn = np.asarray((logits / (1 + attempt / 4) + noise).argmax(axis=2), dtype=np.int64)
            drawn = self.space.as_networks(drawn[self.space.is_valid(drawn)])
            found = np.concatenate([found, drawn[self.unseen(drawn, np.concatenate([pending, found]))]])
        return self.propose(self.filled(found, n, pending, rng))

    def _draw_members(self, n: int, logits: Array, members: Archs, pending: Archs, rng: np.random.Generator) -> Archs:
        """Up to `n` members of networks not seen before, each drawn by its probability."""
        known = self._seen.union(self.space.keys(pending))
        new = np.flatnonzero([key not in known for key in self._member_keys])
        chances = _log_probabilities(logits)[np.arange(self.space.d), members[new]]
        # the largest sums with Gumbel noise are a sample without replacement
        score = (chances * self._active_members[new]).sum(axis=1) + rng.gumbel(size=len(new))
        first = {self._member_keys[i]: i for i in new[np.argsort(score, kind="stable")].tolist()}  # the best comes last
        ordered = sorted(first.values(), key=dict(zip(new.tolist(), score.tolist(), strict=True)).__getitem__)
        return members[ordered[::-1][:n]]

    @cached_property
    def _members(self) -> Archs | None:
        """One architecture of each network of a small space; else None."""
        everything = whole_space(self.space, MEMBERS)
        return None if everything is None else everything[self.space.distinct(everything)]

    @cached_property
    def _member_keys(self) -> list[Hashable]:
        assert self._members is not None
        return self.space.keys(self._members)

    @cached_property
    def _active_members(self) -> NDArray[np.bool_]:
        assert self._members is not None
        return self.space.active(self._members)

    # ---- the policy

    @property
    def policy(self) -> list[Array]:
        """The probabilities of the options of each choice, as learned so far."""
        chances = np.exp(_log_probabilities(self._learn()))
        return [row[:size] for row, size in zip(chances, self.space.sizes, strict=True)]

    def _learn(self) -> Array:
        """Logits of the options ``(d, most options)`` after all results in their order; -inf where there is none."""
        logits = np.where(self._options, 0.0, -np.inf)
        rows, rewards = self._rewards()
        scale = float(rewards.std()) if len(rewards) else 0.0
        if not scale > 0:  # nothing is better than another
            return logits
        archs = self.archs_[rows]
        active = self._active_of(archs)
        choices, average, weight = np.arange(self.space.d), 0.0, 0.0
        for arch, mask, reward in zip(archs, active, rewards / scale, strict=True):
            average, weight = self.momentum * average + reward, self.momentum * weight + 1.0
            logs = _log_probabilities(logits)
            p = np.exp(logs)
            logs = np.where(self._options, logs, 0.0)
            step = -(reward - average / weight) * p
            step[choices, arch] += reward - average / weight
            step -= self.entropy * p * (logs - (p * logs).sum(axis=1, keepdims=True))
            logits = logits + self.learning_rate * step * mask[:, None]
        return logits

    def _rewards(self) -> tuple[NDArray[np.int64], Array]:
        """Rows of ``archs_`` that are known completely or failed, and the reward of each."""
        values = self.values_
        complete = np.isfinite(values).all(axis=1)
        failed = np.array([arch.tobytes() in self._failed for arch in self.archs_], dtype=bool) & ~complete
        rewards = np.full(len(values), np.nan)
        if complete.any():
            rewards[complete] = self._reward(values[complete])
            rewards[failed] = np.nanmin(rewards)
        rows = np.flatnonzero(np.isfinite(rewards))
        return rows, rewards[rows]

    def _reward(self, values: Array) -> Array:
        """Reward of values ``(n, m)`` among each other, ``(n,)``."""
        costs = values[:, self._quality] * self.signs[self._quality]
        costs = (costs - costs.min(axis=0)) / np.maximum(np.ptp(costs, axis=0), 1e-12)
        reward = -costs[:, 0] if len(self._quality) == 1 else _beyond_the_others(costs)
        for j, constraint in self._bounds:
            if j in self._quality:
                off = constraint.violation(values[:, j])
            else:
                off = np.abs(values[:, j] - constraint.bound)
            reward = reward + self.beta * off / max(abs(constraint.bound), 1e-12)
        return reward

    @property
    def _bounds(self) -> list[tuple[int, Constraint]]:
        names = [o.name for o in self.objectives]
        return [(names.index(c.objective), c) for c in self.constraints]

    def _active_of(self, archs: Archs) -> NDArray[np.bool_]:
        """Which choices make a difference to each network, ``(n, d)``; looked up once a network."""
        keys = [arch.tobytes() for arch in archs]
        new = [i for i, key in enumerate(keys) if key not in self._active]
        for i, mask in zip(new, self.space.active(archs[new]), strict=True):
            self._active[keys[i]] = mask
        return np.array([self._active[key] for key in keys], dtype=bool)


def _log_probabilities(logits: Array) -> Array:
    """Logarithms of the probabilities of each row's options."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _beyond_the_others(costs: Array) -> Array:
    """By how much each of several architectures, costs ``(n, m)``, is better than every other one in some cost,
    ``(n,)``; negative by how much it would have to be better not to be dominated."""
    if len(costs) == 1:
        return np.zeros(1)
    margin = (costs[None] - costs[:, None]).max(axis=2)
    np.fill_diagonal(margin, np.inf)
    return np.asarray(margin.min(axis=1))
