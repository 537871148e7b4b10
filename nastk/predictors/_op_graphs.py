"""Architectures as operation graphs for graph networks: one adjacency matrix and one row of operation numbers each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.spaces.base import Archs, Pool, SearchSpace


class OpGraphs:
    """Turns the architectures of a space into graphs with an operation a node, from `SearchSpace.graph`.

    Nodes are in the order of the space's graph. Where a node's operation is one choice of the architecture and no arrow
    depends on it (cells of NAS-Bench-201, chains such as FBNet) graphs are made without loops.

    Args:
        space: the space.

    Attributes:
        operations: labels of all operations; a node's number is its place in this list.
        adjacency: ``(nodes, nodes)``, one where the row's node feeds the column's; without self loops. None if graphs
            differ in their arrows.
    """

    def __init__(self, space: SearchSpace):
        self.space = space.space if isinstance(space, Pool) else space
        draws = self.space.sample(32, seed=0)
        graphs = [self.space.graph(arch) for arch in draws]
        first = graphs[0]
        self._nodes = list(first.nodes)
        edges = set(first.edges)
        if any(list(g.nodes) != self._nodes or set(g.edges) != edges for g in graphs):
            raise NotImplementedError(f"graphs of {self.space.name} differ in their arrows")
        place = {node: i for i, node in enumerate(self._nodes)}
        self.adjacency: NDArray[np.float64] = np.zeros((len(place), len(place)))
        for a, b in edges:
            self.adjacency[place[a], place[b]] = 1.0
        labels = np.array([[g.nodes[n]["op"] for n in self._nodes] for g in graphs])
        self.operations: list[str] = []
        self._choice = np.full(len(place), -1)
        self._number: list[NDArray[np.int64]] = []
        for i, node in enumerate(self._nodes):
            options = [str(labels[0, i])]
            matching = [
                j
                for j, c in enumerate(self.space.choices)
                if all(c.options[v] == label for v, label in zip(draws[:, j], labels[:, i], strict=True))
            ]
            named = [j for j in matching if self.space.choices[j].name.split()[-1] == str(node).split()[-1]]
            if len(set(labels[:, i])) > 1:
                self._choice[i] = (named or matching)[0]
                options = list(self.space.choices[self._choice[i]].options)
            self.operations += [o for o in options if o not in self.operations]
            self._number.append(np.array([self.operations.index(o) for o in options]))

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self._nodes)

    def __call__(self, archs: Archs) -> NDArray[np.int64]:
        """Operation numbers of the nodes, ``(n, nodes)``."""
        archs = np.asarray(archs)
        columns = [
            number[archs[:, c]] if c >= 0 else np.full(len(archs), number[0])
            for c, number in zip(self._choice, self._number, strict=True)
        ]
        return np.stack(columns, axis=1)
