"""path-counts: the paths from input to output: how many, how long, how often each operation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._graphs import CUT, FREE, Graphs
from nastk.encodings.base import Context, Encoding, Features, some_archs
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
Weighted = list[tuple[int, int, Array | None]]
"""Edges ``(from, to, a number for each architecture)``; None where it is there in all."""


class PathCounts(Encoding):
    """Counts over all paths of the operation graph, by dynamic programming along its edges.

    For each operation, and for all non-identity operations together: occurrences over all paths, most and fewest
    occurrences on one path, number of paths with it, number of paths with it and otherwise only identities, and number
    of nodes on a path. Also the number of paths, and of identity paths. Operations on no path do not count. Features
    that are constant or duplicates over the space are left out. On a chain they are the option counts.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> PathCounts:
        self.graphs_ = Graphs(space)
        labels = [label for label in self.graphs_.labels if label not in (*CUT, *FREE)]
        names = ["paths", "identity paths"]
        for label in [*labels, "any"]:
            names += [f"{label} {what}" for what in ("in all", "at most", "at least", "paths", "paths alone", "nodes")]
        self.labels_ = labels
        some = some_archs(space)
        if len(some) > 2000:
            some = some[np.random.default_rng(0).choice(len(some), 2000, replace=False)]
        _, first = np.unique(self._all(some), axis=1, return_index=True)
        values = self._all(some)
        self.columns_ = np.array([i for i in np.sort(first) if np.ptp(values[:, i]) > 0], dtype=np.int64)
        self.names_ = [names[i] for i in self.columns_]
        return self

    def transform(self, archs: Archs) -> Features:
        parts = [np.empty((0, len(self.columns_)))]
        parts += [self._all(archs[i : i + 4096])[:, self.columns_] for i in range(0, len(archs), 4096)]
        return np.concatenate(parts)

    def _all(self, archs: Archs) -> Features:
        """Every feature, ``(n, 2 + 6 (labels + 1))``."""
        operations, present = self.graphs_(np.asarray(archs))
        operations = np.ascontiguousarray(operations.T)  # below everything is by node first, ``(nodes, n)``
        edges: Weighted = [(a, b, None if where is None else where.astype(np.float64)) for a, b, where in present]
        closed = {  # what an edge that is not there adds to a path, so that it is never the longest or shortest
            none: [(a, b, None if where is None else np.where(where > 0, 0.0, none)) for a, b, where in edges]
            for none in (-np.inf, np.inf)
        }
        labels = self.graphs_.labels
        cut, free = (np.isin(operations, [i for i, x in enumerate(labels) if x in kind]) for kind in (CUT, FREE))
        through = ~cut
        # Paths through a node = paths from the input to it times paths from it to the output.
        ahead, behind = _sums(through, edges), _sums(through[::-1], _reverse(edges, len(operations)))[::-1]
        paths, used, both = ahead[-1], (ahead > 0) & (behind > 0), ahead * behind
        identities = _sums(free, edges)[-1]
        columns = [paths, identities]
        for counted in [*(operations == labels.index(label) for label in self.labels_), through & ~free]:
            alone = _sums(counted | free, edges)[-1] - identities
            without = _sums(through & ~counted, edges)[-1]
            columns += [
                (counted * both).sum(axis=0),
                _extreme(counted, through, closed[-np.inf], np.maximum, -np.inf),
                _extreme(counted, through, closed[np.inf], np.minimum, np.inf),
                paths - without,
                alone,
                (counted & used).sum(axis=0),
            ]
        return np.stack(columns, axis=1).astype(np.float64)


def _reverse(edges: Weighted, nodes: int) -> Weighted:
    last = nodes - 1
    return sorted(((last - b, last - a, where) for a, b, where in edges), key=lambda edge: edge[:2])


def _incoming(edges: Weighted, nodes: int) -> Sequence[list[tuple[int, Array | None]]]:
    found: list[list[tuple[int, Array | None]]] = [[] for _ in range(nodes)]
    for a, b, where in edges:
        found[b].append((a, where))
    return found


def _sums(allowed: NDArray[np.bool_], edges: Weighted) -> Array:
    """Number of paths from the first node to each along allowed nodes, ``(nodes, n)``; edges are 1, or 0."""
    found = np.zeros(allowed.shape)
    for node, sources in enumerate(_incoming(edges, len(allowed))):
        if node == 0:
            found[0] = 1.0
        for source, where in sources:
            found[node] += found[source] if where is None else found[source] * where
        found[node] *= allowed[node]
    return found


def _extreme(
    counted: NDArray[np.bool_], allowed: NDArray[np.bool_], edges: Weighted, pick: np.ufunc, no_path: float
) -> Array:
    """Most or fewest counted nodes on one allowed path from the first node to the last, zero without one, ``(n,)``.

    Edges are 0, or `no_path`, which is infinite and never picked.
    """
    found = np.full(allowed.shape, no_path)
    steps = np.where(allowed, counted, no_path)
    for node, sources in enumerate(_incoming(edges, len(allowed))):
        if node == 0:
            found[0] = 0.0
        for source, where in sources:
            pick(found[node], found[source] if where is None else found[source] + where, out=found[node])
        found[node] += steps[node]
    return np.where(np.isfinite(found[-1]), found[-1], 0.0)
