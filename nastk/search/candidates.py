"""Candidates of a search: the whole space or an evolved pool, and isomorphic encodings of one network among them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.metrics import nondominated
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def whole_space(space: SearchSpace, most: int) -> Archs | None:
    """All architectures of a space that is enumerable and has at most `most`; else None."""
    return space.enumerate() if space.enumerable and space.size <= most else None


def evolve(
    space: SearchSpace,
    start: Archs,
    score: Callable[[Archs], tuple[Array, Array]],
    size: int,
    generations: int,
    rng: np.random.Generator,
) -> Archs:
    """A pool of about `size` candidates, evolved by crossover and mutation towards the front by `score`.

    Args:
        start: the first pool, ``(p, d)``.
        score: costs ``(n, m)`` scaled to [0, 1], to be minimised, of architectures ``(n, d)``, and how likely each
            violates a constraint, ``(n,)``.
    """
    pool = start
    for _ in range(generations):
        costs, broken = score(pool)
        order = np.lexsort((costs @ np.full(costs.shape[1], 1.0), broken > 0.5))
        front = np.flatnonzero(nondominated(np.column_stack([costs, broken])))
        # The front keeps its ends alive, the best sums keep its middle from thinning out.
        parents = pool[np.unique(np.concatenate([front[: size // 4], order[: size // 10]]))]
        pick = rng.integers(0, len(parents), (2, size // 2))
        children = space.mutate(space.crossover(parents[pick[0]], parents[pick[1]], rng), rng)
        mutants = space.mutate(parents[rng.integers(0, len(parents), size // 2)], rng)
        pool = np.unique(np.concatenate([parents, children, mutants]), axis=0)
    return pool


# ---- isomorphic encodings


def number_networks(keys: Sequence[Hashable]) -> Rows:
    """A number for each key, ``(n,)``, equal for equal keys."""
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)


def first_of_each_network(space: SearchSpace, archs: Archs) -> Rows:
    """Rows of `archs`, in their order: the first of each network."""
    _, first = np.unique(space.canonical(archs), axis=0, return_index=True)
    return np.sort(first)


def other_networks(space: SearchSpace, archs: Archs, known: Archs) -> Archs:
    """Those of `archs`, in their order, whose networks (:meth:`SearchSpace.as_networks`) are not among `known`."""
    there = {network.tobytes() for network in space.as_networks(known)}
    return archs[np.array([network.tobytes() not in there for network in space.as_networks(archs)], dtype=bool)]


def best_encodings(networks: Rows, gain: Array, most: int) -> Rows:
    """Rows by falling gain, at most `most` of each network."""
    order = np.argsort(-gain, kind="stable")
    which = networks[order]
    by_network = np.argsort(which, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[by_network] = np.arange(len(order)) - np.searchsorted(which[by_network], which[by_network])
    return np.asarray(order[place < most])


def take_turns(rankings: Sequence[Rows]) -> Rows:
    """The first of each ranking, the second of each, and so on, each row once; the rankings are of one length."""
    together = np.stack(rankings, axis=1).ravel()
    _, first = np.unique(together, return_index=True)
    return np.asarray(together[np.sort(first)])


def cheapest_encodings(space: SearchSpace, archs: Archs, cost: Callable[[Archs], Array | None], most: int) -> Archs:
    """For each architecture the isomorphic one of least cost; as they are where nothing is known or the space is large.

    Isomorphic encodings of one cell have the same accuracy and may differ several times in latency.

    Args:
        cost: of architectures ``(n, d)``, ``(n,)``; None where nothing is known.
        most: size of the largest space that is looked through.
    """
    everything = whole_space(space, most) if len(archs) else None
    if everything is None:
        return archs
    keys = space.keys(archs)
    wanted = set(keys)
    encodings: dict[Hashable, list[int]] = {}
    for i, key in enumerate(space.keys(everything)):
        if key in wanted:
            encodings.setdefault(key, []).append(i)
    members = everything[[i for rows in encodings.values() for i in rows]]
    total = cost(members)
    if total is None:
        return archs
    start, best = 0, {}
    for key, rows in encodings.items():
        best[key] = members[start + int(np.argmin(total[start : start + len(rows)]))]
        start += len(rows)
    return np.array([best[key] for key in keys])
