"""NAS-Bench-201: 15,625 cells of four nodes and five operations (Dong & Yang, ICLR 2020)."""

from __future__ import annotations

import itertools
import random
import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import networkx as nx
    import torch

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the choices' options."""
# Indices into OPERATIONS.
NONE = 0
SKIP = 1
CONV1 = 2
CONV3 = 3
POOL = 4
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target node of each choice, in the order of the arch string."""
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""The four paths from the cell's input to its output, as edges."""
DATASETS = {
    "cifar10": {"num_classes": 10, "input_size": 32},
    "cifar100": {"num_classes": 100, "input_size": 32},
    "ImageNet16-120": {"num_classes": 120, "input_size": 16},
}
"""Build options of the benchmark's data sets."""

_TEXT = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")
"""The benchmark's text form of a cell."""


@lru_cache(maxsize=1)
def official_order() -> Archs:
    """All cells in the order of the benchmark's index, ``(15625, 6)``: its authors shuffled them with seed 88."""
    cells = list(itertools.product(range(len(OPERATIONS)), repeat=len(EDGES)))
    random.Random(88).shuffle(cells)
    order = np.array(cells, dtype=np.int64)
    order.setflags(write=False)
    return order


def _code(archs: Archs) -> NDArray[np.int64]:
    return np.asarray(archs) @ (5 ** np.arange(5, -1, -1))


def live_edges(archs: Archs) -> NDArray[np.bool_]:
    """Edges on a path from input to output without a `none`, ``(n, 6)``; only they can influence the output."""
    on = np.asarray(archs) != NONE
    live = np.zeros(on.shape, dtype=bool)
    for path in PATHS:
        live[:, path] |= on[:, path].all(axis=1, keepdims=True)
    return live


def without_dead_edges(archs: Archs) -> Archs:
    """Cells without edges that do not reach the output, ``(n, 6)``: these become `none`; all edges do if the input does
    not reach the output."""
    archs = np.array(archs)
    used = np.zeros((len(archs), 4), dtype=bool)  # by node
    used[:, 3] = live_edges(archs).any(axis=1)
    for j in reversed(range(len(EDGES))):
        source, target = EDGES[j]
        archs[~used[:, target], j] = NONE
        used[:, source] |= archs[:, j] != NONE
    return archs


class NASBench201(SearchSpace):
    """A cell is a complete directed graph on four nodes; each of its six edges carries one of five operations.

    The macro skeleton of :meth:`build` is the benchmark's: stem, three stages of cells with residual reduction blocks
    between them, global average pooling and a linear classifier.
    """

    name = "nasbench201"
    datasets = DATASETS
    choices = tuple(Choice(f"edge {a}-{b}", OPERATIONS) for a, b in EDGES)
    forms_differ = True

    # ---- members

    def enumerate(self) -> Archs:
        return official_order()

    @cached_property
    def _index_of_code(self) -> NDArray[np.int64]:
        places = np.empty(5**6, dtype=np.int64)
        places[_code(official_order())] = np.arange(5**6)
        return places

    def index(self, archs: Archs) -> NDArray[np.int64]:
        """The benchmark's index of each cell, ``(n,)``."""
        return self._index_of_code[_code(archs)]

    @cached_property
    def _representative(self) -> NDArray[np.int64]:
        """For each code, the index of its class's canonical cell."""
        order = official_order()
        first: dict[str, int] = {}
        shape = expressions(order)
        clean = (order == NONE).sum(axis=1)
        for i in np.lexsort((np.arange(len(order)), -clean)):
            first.setdefault(shape[i], int(i))
        return np.array([first[s] for s in shape])[self._index_of_code]

    def canonical(self, archs: Archs) -> Archs:
        """The cell with the most `none` edges among those that the benchmark counts as isomorphic.

        Two cells are isomorphic if their output is the same expression of the input (the benchmark's paper, Section 2.1
        and its released code); there are 6,466 such classes.
        """
        return official_order()[self._representative[_code(archs)]]

    def compiled(self, archs: Archs) -> Archs:
        return without_dead_edges(archs)

    def merged(self, archs: Archs) -> Archs:
        archs = np.array(archs)
        for node in range(3):
            pools = archs == POOL
            pools[:, [source != node for source, _ in EDGES]] = False
            archs[pools & (pools.cumsum(axis=1) > 1)] = SKIP  # its result is there already: it is only added
        return archs

    def connected(self, archs: Archs) -> NDArray[np.bool_]:
        return np.asarray(live_edges(archs).any(axis=1))

    # ---- text and graph

    def format(self, arch: Archs) -> str:
        """The official string, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        a, b, c, d, e, f = (OPERATIONS[int(v)] for v in np.asarray(arch).ravel())
        return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"

    def parse(self, text: str) -> Archs:
        row = self._parse_integers(text)
        if row is None:
            match = _TEXT.fullmatch(text.strip())
            if not match:
                raise InvalidArchitecture(
                    f"{text!r} is not a NAS-Bench-201 cell; write |op~0|+|op~0|op~1|+|op~0|op~1|op~2| "
                    f"with operations {', '.join(OPERATIONS)}"
                )
            row = np.array([self._option(j, op) for j, op in enumerate(match.groups())], dtype=np.int64)
        return self.as_archs(row)[0]

    def graph(self, arch: Archs) -> nx.DiGraph:
        """Eight nodes: input, the six operations, output; an edge where one feeds the other."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        for (a, b), value in zip(EDGES, np.asarray(arch).ravel(), strict=True):
            graph.add_node(f"{a}-{b}", op=OPERATIONS[int(value)])
        graph.add_node("output", op="output")
        for a, b in EDGES:
            sources = [f"{p}-{q}" for p, q in EDGES if q == a] or ["input"]
            graph.add_edges_from((source, f"{a}-{b}") for source in sources)
            if b == 3:
                graph.add_edge(f"{a}-{b}", "output")
        return graph

    # ---- counts

    def statics(
        self,
        archs: Archs,
        num_classes: int = 10,
        input_size: int = 32,
        channels: int = 16,
        cells_per_stage: int = 5,
        in_channels: int = 3,
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters and multiply-adds of the network as written, and the shape of the live part of its cell.

        `params` and `flops` are the official counts (multiply-adds of convolutions and of the classifier with its bias;
        nothing else counts). `depth` is the most convolutions on a path from a cell's input to
        its output, `shallow` the fewest, `paths` the number of paths; all 0 if there is no path.
        """
        archs = np.asarray(archs)
        conv1, conv3 = (archs == CONV1).sum(axis=1), (archs == CONV3).sum(axis=1)
        c, n = channels, cells_per_stage
        params = np.full(len(archs), 9.0 * in_channels * c + 2 * c)
        flops = np.full(len(archs), 9.0 * in_channels * c * input_size**2)
        for stage in range(3):
            width, side = c * 2**stage, input_size // 2**stage
            if stage:
                reduction = 9 * (width // 2) * width + 9 * width**2 + (width // 2) * width
                params += reduction + 4 * width
                flops += reduction * side**2
            params += n * (conv1 * (width**2 + 2 * width) + conv3 * (9 * width**2 + 2 * width))
            flops += n * (conv1 + 9 * conv3) * width**2 * side**2
        params += 2 * width + (width + 1) * num_classes
        flops += (width + 1) * num_classes
        alive = np.stack([(archs[:, p] != NONE).all(axis=1) for p in PATHS], axis=1)
        convolutions = np.stack([np.isin(archs[:, p], (CONV1, CONV3)).sum(axis=1) for p in PATHS], axis=1)
        any_alive = alive.any(axis=1)
        return {
            "params": params,
            "flops": flops,
            "depth": np.where(alive, convolutions, 0).max(axis=1).astype(float),
            "shallow": np.where(any_alive, np.where(alive, convolutions, 9).min(axis=1), 0).astype(float),
            "paths": alive.sum(axis=1).astype(float),
        }

    # ---- network

    def input_shape(self, input_size: int = 32, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        return (in_channels, input_size, input_size)

    def build(
        self,
        arch: Archs,
        num_classes: int = 10,
        input_size: int = 32,
        channels: int = 16,
        cells_per_stage: int = 5,
        in_channels: int = 3,
    ) -> torch.nn.Module:
        """The benchmark's network: ``(batch, in_channels, input_size, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._nasbench201_network import Network

        cell = [OPERATIONS[int(v)] for v in self.as_archs(arch)[0]]
        return Network(cell, EDGES, num_classes, channels, cells_per_stage, in_channels)

    def supernet(
        self,
        num_classes: int = 10,
        input_size: int = 32,
        channels: int = 16,
        cells_per_stage: int = 5,
        in_channels: int = 3,
    ) -> torch.nn.Module:
        """The benchmark's skeleton with entangled cells: an edge's 1x1 convolution is the centre of its 3x3 one."""
        from nastk.spaces._nasbench201_supernet import Supernet

        return Supernet(EDGES, num_classes, channels, cells_per_stage, in_channels)


def expressions(archs: Archs, reducing: bool = False) -> list[str]:
    """The expression of each cell's output, by which the benchmark identifies isomorphic cells.

    Args:
        archs: ``(n, 6)``.
        reducing: some of the cells halve the resolution, so that a skip from the input is an operation. Then ``#``
            is also left out of sums, which the benchmark's own expressions keep.

    An input of a node is ``#`` (nothing) if its edge is `none` or its source is exactly ``#``, its source's
    expression if the edge is `skip_connect`, the operation on it otherwise; a node joins its sorted inputs by ``+``.
    """
    out = []
    for cell in archs.tolist():
        nodes = ["0"]
        for target in (1, 2, 3):
            inputs = []
            for (source, end), op in zip(EDGES, cell, strict=True):
                if end == target:
                    value = nodes[source]
                    inputs.append(
                        "#"
                        if op == NONE or value == "#"
                        else value
                        if op == SKIP and not (reducing and source == 0)
                        else f"({value})@{OPERATIONS[op]}"
                    )
            if reducing:
                inputs = [value for value in inputs if value != "#"] or ["#"]
            nodes.append("+".join(sorted(inputs)))
        out.append(nodes[3])
    return out
