"""adjacency: edges and operations of the graph, one-hot (White et al., A study on encodings for NAS, NeurIPS 2020)."""

from __future__ import annotations

import numpy as np

from nastk.encodings._graphs import Graphs
from nastk.encodings.base import Context, Encoding, Features, some_archs
from nastk.spaces.base import Archs, SearchSpace

SAMPLE = 4000
"""Sampled architectures that decide the features: more miss fewer rare edges and operations, but fit slower."""


class Adjacency(Encoding):
    """A bit for each edge that not all architectures have, and a one-hot operation for each node where it varies.

    Nodes are in topological order. Edges and operations that a sample of the space does not show have no feature.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Adjacency:
        self.graphs_ = Graphs(space)
        some = some_archs(space)
        if len(some) > SAMPLE:
            some = some[np.random.default_rng(0).choice(len(some), SAMPLE, replace=False)]
        operations, edges = self.graphs_(some)
        self.edges_ = [(a, b) for a, b, where in edges if where is not None and not where.all()]
        self.operations_ = [
            (node, int(value))
            for node in range(operations.shape[1])
            for value in np.unique(operations[:, node])
            if np.ptp(operations[:, node]) > 0
        ]
        self.names_ = [f"edge {a}-{b}" for a, b in self.edges_]
        self.names_ += [f"node {node} {self.graphs_.labels[value]}" for node, value in self.operations_]
        return self

    def transform(self, archs: Archs) -> Features:
        if not len(archs):
            return np.empty((0, len(self.names_)))
        operations, edges = self.graphs_(archs)
        there = {(a, b): True if where is None else where for a, b, where in edges}
        found = np.empty((len(archs), len(self.names_)))
        for column, edge in enumerate(self.edges_):
            found[:, column] = there.get(edge, False)
        for column, (node, value) in enumerate(self.operations_, len(self.edges_)):
            found[:, column] = operations[:, node] == value
        return found
