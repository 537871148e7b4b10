"""Decoding: from logits to architectures that belong to the space, and which of them to keep."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import Unsupported
from nastk.metrics import orthant_directions, orthant_volume, reach
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

LISTED = 50_000
"""Spaces that are no product of their choices are searched whole up to this size."""
TRIES = 4096
"""Draws among which a member is looked for where the likeliest combination of options is none."""


def log_softmax(logits: Array, sizes: NDArray[np.int64]) -> Array:
    """Log probabilities of every option, ``(n, S)``."""
    out, start = np.array(logits, dtype=np.float64), 0
    for size in sizes:
        part = out[:, start : start + size]
        part -= part.max(axis=1, keepdims=True)
        part -= np.log(np.exp(part).sum(axis=1, keepdims=True))
        start += size
    return out


class Decoder:
    """From logits to members of one space.

    Args:
        space: the members'. One that is no product of its choices is searched whole up to :data:`LISTED` members; what
            that takes is computed once, and left out of pickles.
    """

    def __init__(self, space: SearchSpace):
        self.space = space

    def __getstate__(self) -> dict[str, Any]:
        return {"space": self.space}

    def likeliest(self, logits: Array, distinct: bool = False, seed: int = 0) -> Archs:
        """The most probable member for each row of logits ``(n, S)``, ``(n, d)``.

        Args:
            distinct: a member that an earlier row has taken is left to it: the row takes its next best, as far as the
                space and one changed choice go.
            seed: of draws where the likeliest combination is no member.

        Raises:
            Unsupported: of :data:`TRIES` draws none is a member.
        """
        space = self.space
        log_p = log_softmax(logits, space.sizes)
        if self._listed:
            members = space.enumerate()
            ranked = ([members[i] for i in _best(row, len(logits))] for row in self._scores(log_p))
        else:
            rng = np.random.default_rng(seed)
            ranked = (_ranked(space, row, distinct, rng) for row in log_p)
        taken: set[bytes] = set()
        chosen = []
        for candidates in ranked:
            fresh = (a for a in candidates if not distinct or a.tobytes() not in taken)
            arch = next(fresh, candidates[0])
            taken.add(arch.tobytes())
            chosen.append(arch)
        return np.array(chosen, dtype=np.int64).reshape(-1, space.d)

    def sample(self, logits: Array, k: int, seed: int = 0, temperature: float = 1.0) -> Archs:
        """Distinct members among `k` draws for each row of logits, with the likeliest ones, ``(m, d)``.

        Args:
            temperature: divides the logits before sampling; higher is more diverse.
        """
        space = self.space
        log_p = log_softmax(logits / temperature, space.sizes)
        rng = np.random.default_rng(seed)
        if self._listed:
            scores = self._scores(log_p)
            scores += rng.gumbel(size=scores.shape)  # the k largest are draws without replacement
            drawn = space.enumerate()[np.unique([_best(row, k) for row in scores])]
        else:
            drawn = _draws(space, log_p, k, rng)
            drawn = drawn[space.is_valid(drawn)]
        return np.unique(np.concatenate([self.likeliest(logits, seed=seed), drawn]), axis=0)

    @property
    def _listed(self) -> bool:
        """Whether the space is no product of its choices, but small enough to look at every member."""
        space = self.space
        return space.enumerable and space.size <= LISTED and space.size < prod(int(s) for s in space.sizes)

    def _scores(self, log_p: Array) -> Array:
        """Log probability of every member, ``(n, members)``."""
        return np.asarray(log_p @ self._weighted_one_hots.T)

    @cached_property
    def _weighted_one_hots(self) -> Array:
        """One-hots of every member, ``(members, S)``, whose choices that make no difference have no weight.

        Those are taken to be as likely as the member's others are in the mean; or, where the members are a sample of a
        large space and none is what was meant, those with few choices would always be nearest.
        """
        space = self.space
        matters = _matters(space)
        share = space.d / np.maximum(matters.sum(axis=1, keepdims=True), 1)
        return space.one_hot(space.enumerate()) * np.repeat(matters * share, space.sizes, axis=1)


def _matters(space: SearchSpace) -> NDArray[np.bool_]:
    """Which choices change the network, for every member, ``(members, d)``."""
    whole = space.whole
    archs = whole.canonical(space.enumerate())
    found = np.zeros(archs.shape, dtype=bool)
    for j, size in enumerate(space.sizes):
        for step in range(1, int(size)):
            other = archs.copy()
            other[:, j] = (other[:, j] + step) % size
            found[:, j] |= (whole.canonical(other) != archs).any(axis=1)
    return found


def _best(scores: Array, n: int) -> NDArray[np.int64]:
    n = min(n, len(scores))
    top = np.argpartition(-scores, n - 1)[:n]
    return top[np.argsort(-scores[top], kind="stable")]


def _ranked(space: SearchSpace, log_p: Array, more: bool, rng: np.random.Generator) -> list[Archs]:
    """Members by probability, the best first: the likeliest combination and those with one other option."""
    places = np.concatenate([[0], np.cumsum(space.sizes)])
    best = np.array([int(np.argmax(log_p[a:b])) for a, b in pairwise(places)])
    archs = best[None]
    if more or not space.is_valid(archs)[0]:
        choice = np.repeat(np.arange(space.d), space.sizes)
        option = np.arange(len(log_p)) - places[choice]
        loss = (log_p[places[:-1] + best])[choice] - log_p
        order = np.argsort(loss, kind="stable")
        order = order[option[order] != best[choice[order]]]
        others = np.repeat(archs, len(order), axis=0)
        others[np.arange(len(order)), choice[order]] = option[order]
        archs = np.concatenate([archs, others])
    archs = archs[space.is_valid(archs)]
    if not len(archs):
        drawn = _draws(space, log_p[None], TRIES, rng)
        drawn = drawn[space.is_valid(drawn)]
        if not len(drawn):
            raise Unsupported(f"of {TRIES} draws of the generator none belongs to {space.whole.name}")
        score = (log_p * space.one_hot(drawn)).sum(axis=1)
        archs = drawn[np.argsort(-score, kind="stable")]
    return list(np.ascontiguousarray(archs, dtype=np.int64))


def _draws(space: SearchSpace, log_p: Array, k: int, rng: np.random.Generator) -> Archs:
    """`k` draws for each row, ``(n * k, d)``, members or not."""
    out = np.empty((len(log_p) * k, space.d), dtype=np.int64)
    start = 0
    for j, size in enumerate(space.sizes):
        cumulative = np.exp(log_p[:, start : start + size]).cumsum(axis=1)
        uniform = rng.random((len(log_p), k, 1)) * cumulative[:, None, -1:]
        out[:, j] = np.minimum((cumulative[:, None] < uniform).sum(axis=2), size - 1).ravel()
        start += size
    return out


def directions(n: int, objectives: int, seed: int = 0) -> Array:
    """Unit vectors of the positive orthant, spread evenly, ``(n, objectives)``."""
    if objectives == 1:
        return np.ones((1, 1))
    if objectives == 2:
        angles = (np.arange(n) + 0.5) / n * np.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return orthant_directions(n, objectives, seed)


def greedy(costs: Array, n: int, count: int = 64, taken: Array | None = None) -> NDArray[np.int64]:
    """Which `n` of the architectures are together expected to have the largest hypervolume to (1, ..., 1).

    One after another, what adds most in the mean over draws; nothing more where nothing adds.

    Args:
        costs: ``(draws, archs, m)``, scaled to [0, 1].
        n: how many, at most.
        count: directions of the hypervolume.
        taken: costs of what is there already, ``(k, m)``.
    """
    m = costs.shape[2]
    towards, volume = directions(count, m), orthant_volume(m)
    far = reach(costs, towards) ** m * volume
    held = np.zeros((len(costs), len(towards)))
    if taken is not None and len(taken):
        held = np.maximum(held, (reach(taken, towards) ** m * volume).max(axis=0))
    chosen: list[int] = []
    for _ in range(min(n, costs.shape[1])):
        gain = np.maximum(far - held[:, None], 0.0).mean(axis=(0, 2))
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(best)
        held = np.maximum(held, far[:, best])
    return np.array(chosen, dtype=np.int64)
