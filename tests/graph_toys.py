"""Toy spaces whose edges depend on the architecture: a small cell with optional edges, a chain of variable length."""

from __future__ import annotations

from functools import cached_property
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np

from nastk.errors import Unsupported
from nastk.spaces.base import Archs, Choice, Graphs, SearchSpace

OPERATIONS = ("conv", "pool", "skip")
PAIRS = tuple(combinations(range(5), 2))
LABELS = ("input", "output", "none", *OPERATIONS)


class Wires(SearchSpace):
    """Five vertices: input, three operations, output; each of the ten edges is there or not.

    Vertices on no path from input to output are not in the graph.
    """

    name = "wires"
    choices = (
        *(Choice(f"vertex {i}", OPERATIONS) for i in (1, 2, 3)),
        *(Choice(f"edge {a}-{b}", ("off", "on")) for a, b in PAIRS),
    )

    @cached_property
    def size(self) -> int:  # type: ignore[override]
        return int(self.is_valid(np.indices(tuple(self.sizes)).reshape(self.d, -1).T).sum())

    def live(self, archs: Archs) -> tuple[np.ndarray, np.ndarray]:
        """Matrices ``(n, 5, 5)`` of the edges on a path from input to output, and which vertices are on one."""
        matrix = np.zeros((len(archs), 5, 5), dtype=bool)
        for column, (a, b) in enumerate(PAIRS, 3):
            matrix[:, a, b] = archs[:, column] == 1
        from_input, to_output = np.zeros((2, len(archs), 5), dtype=bool)
        from_input[:, 0] = to_output[:, 4] = True
        for a, b in sorted(PAIRS, key=lambda pair: pair[1]):
            from_input[:, b] |= from_input[:, a] & matrix[:, a, b]
        for a, b in sorted(PAIRS, key=lambda pair: -pair[0]):
            to_output[:, a] |= to_output[:, b] & matrix[:, a, b]
        on = from_input & to_output
        return matrix & on[:, :, None] & on[:, None, :], on

    def is_valid(self, archs: Archs) -> np.ndarray:
        return self.live(np.asarray(archs))[1][:, 0]

    def graph(self, arch: Archs) -> nx.DiGraph:
        row = np.asarray(arch).reshape(1, -1)
        (matrix,), (on,) = self.live(row)
        ops = ["input", *(OPERATIONS[v] for v in row[0, :3]), "output"]
        graph = nx.DiGraph()
        graph.add_nodes_from((i, {"op": ops[i]}) for i in range(5) if on[i])
        graph.add_edges_from(np.argwhere(matrix).tolist())
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        archs = np.atleast_2d(archs)
        matrix, on = self.live(archs)
        operations = np.ones((len(archs), 5), dtype=np.int64)
        operations[:, 0] = 0
        operations[:, 1:-1] = np.where(on[:, 1:-1], 3 + archs[:, :3], 2)
        return Graphs(LABELS, operations, matrix)

    def build(self, arch: Archs, **options: Any) -> Any:
        raise Unsupported("wires has no networks")


class Line(SearchSpace):
    """A chain of two to nine layers, each one of three operations."""

    name = "line"
    choices = (
        Choice("depth", tuple(str(i) for i in range(2, 10))),
        *(Choice(f"layer {i}", OPERATIONS) for i in range(9)),
    )

    def graph(self, arch: Archs) -> nx.DiGraph:
        depth, *layers = np.asarray(arch).ravel().tolist()
        ops = ["input", *(OPERATIONS[v] for v in layers[: depth + 2]), "output"]
        graph = nx.DiGraph()
        graph.add_nodes_from((i, {"op": op}) for i, op in enumerate(ops))
        nx.add_path(graph, range(len(ops)))
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        archs = np.atleast_2d(archs)
        depth, rows = archs[:, 0] + 2, np.arange(len(archs))
        there = np.arange(9) < depth[:, None]
        operations = np.ones((len(archs), 11), dtype=np.int64)
        operations[:, 0] = 0
        operations[:, 1:-1] = np.where(there, 3 + archs[:, 1:], 2)
        adjacency = np.zeros((len(archs), 11, 11), dtype=bool)
        adjacency[:, range(9), range(1, 10)] = there
        adjacency[rows, depth, -1] = True
        return Graphs(LABELS, operations, adjacency)

    def build(self, arch: Archs, **options: Any) -> Any:
        raise Unsupported("line has no networks")


class WiresByGraph(Wires):
    """Read graph by graph."""

    graphs = SearchSpace.graphs


class LineByGraph(Line):
    """Read graph by graph."""

    graphs = SearchSpace.graphs
