"""Operation graphs of many architectures at once, for encodings: nodes in topological order, arrows between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.spaces.base import Archs, SearchSpace

CUT = ("none", "zero", "zeroize")
"""Operations that let nothing through."""
FREE = ("input", "output", "skip_connect", "skip", "identity")
"""Operations that change nothing; they count for no path's length."""

Arrows = list[tuple[int, int, "NDArray[np.bool_] | None"]]
"""From node, to node (later in topological order), and in which architectures; None if in all."""


class Graphs:
    """Operation numbers ``(n, nodes)`` of architectures, nodes in topological order, and the arrows between them.

    Attributes:
        labels: of the operations, by number.
    """

    def __init__(self, space: SearchSpace):
        from nastk.predictors._op_graphs import OpGraphs

        self.space = space
        try:
            fixed = OpGraphs(space)
        except NotImplementedError:
            self._fixed, self._order = None, None
            self.labels = sorted({g.nodes[n]["op"] for g in map(space.graph, space.sample(200, seed=0)) for n in g})
            self.labels.append("another")
            return
        self._fixed, self.labels = fixed, fixed.operations
        self._order = _topological(fixed.adjacency)

    def __call__(self, archs: Archs) -> tuple[NDArray[np.int64], Arrows]:
        if self._fixed is None or self._order is None:
            return self._read(archs)
        place = np.argsort(self._order)
        arrows: Arrows = [
            (int(place[a]), int(place[b]), None) for a, b in zip(*np.nonzero(self._fixed.adjacency), strict=True)
        ]
        return self._fixed(archs)[:, self._order], sorted(arrows, key=lambda arrow: arrow[:2])

    def _read(self, archs: Archs) -> tuple[NDArray[np.int64], Arrows]:
        """Graph by graph; shorter ones are filled with identities between the last node and the output."""
        import networkx as nx

        graphs = [self.space.graph(arch) for arch in archs]
        orders = [list(nx.lexicographical_topological_sort(g, key=str)) for g in graphs]
        size = max(map(len, orders), default=0)
        free = self.labels.index("output") if "output" in self.labels else len(self.labels) - 1
        operations = np.full((len(archs), size), free)
        there: dict[tuple[int, int], NDArray[np.bool_]] = {}
        for i, (graph, order) in enumerate(zip(graphs, orders, strict=True)):
            place = {node: k for k, node in enumerate(order)}
            for node, k in place.items():
                label = graph.nodes[node]["op"]
                operations[i, k] = self.labels.index(label if label in self.labels else "another")
            arrows = [(place[a], place[b]) for a, b in graph.edges]
            arrows += [(k - 1, k) for k in range(len(order), size)]
            for arrow in arrows:
                there.setdefault(arrow, np.zeros(len(archs), dtype=bool))[i] = True
        return operations, [(a, b, there[a, b]) for a, b in sorted(there)]


def _topological(adjacency: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of the nodes in which arrows go forward."""
    import networkx as nx

    graph = nx.from_numpy_array(adjacency, create_using=nx.DiGraph)
    return np.array(list(nx.lexicographical_topological_sort(graph)), dtype=np.int64)
