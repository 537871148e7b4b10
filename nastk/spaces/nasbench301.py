"""NAS-Bench-301: the cells of DARTS, about 10^18 (Zela et al., ICLR 2022; Liu et al., DARTS, ICLR 2019)."""

from __future__ import annotations

import ast
from functools import lru_cache
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._nasbench301_shapes import Stage
from nastk.spaces.base import Archs, Choice, Graphs, SearchSpace

if TYPE_CHECKING:
    import networkx as nx
    import torch

OPERATIONS = (
    *("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
)
"""In the order of the codes of NASLib's compact tuples."""
SKIP = OPERATIONS.index("skip_connect")
"""Index of the only operation that is the same in both cells' graphs."""
CELLS = ("normal", "reduce")
"""The two cells, in the order of a row."""
NODES = 4
"""Intermediate nodes of a cell; they are numbered 2 to 5, after the cell's two inputs."""
PAIRS = tuple(np.array(list(combinations(range(node), 2))) for node in range(2, 2 + NODES))
"""The pairs of different inputs of each intermediate node, ``(1, 3, 6, 10)`` of them, ascending."""
CONCAT = list(range(2, 2 + NODES))
"""Nodes that a cell concatenates: all intermediate ones."""
DATASETS: dict[str, dict[str, Any]] = {
    "cifar10": {"num_classes": 10, "input_size": 32, "in_channels": 3},
    "svhn": {"num_classes": 10, "input_size": 32, "in_channels": 3},
    "ninapro": {"num_classes": 18, "input_size": (16, 52), "in_channels": 1},
    "scifar100": {"num_classes": 100, "input_size": 60, "in_channels": 3},
}
"""Build options of the data sets; those of the NAS-Bench-360 tasks follow from the published parameters and FLOPs."""

_STATES = tuple(len(pairs) * len(OPERATIONS) ** 2 for pairs in PAIRS)
"""Number of settings of each intermediate node: pairs times operations on both inputs."""
_RADIX = np.array([int(np.prod(_STATES[k + 1 :], dtype=np.int64)) for k in range(NODES)])
"""Weight of each node's setting in the number of a cell."""
_LATER = 2**40
"""Added to a cell's number for a node that would read a later one; larger than any cell's number."""


def skeleton(channels: int = 32, layers: int = 8, input_size: int | tuple[int, int] = 32) -> list[Stage]:
    """The cells after the stem of ``3 * channels`` channels; those at 1/3 and 2/3 of the depth are reductions.

    Raises:
        InvalidValue: fewer than three layers, an odd number of channels, or sides that cannot be halved twice.
    """
    height, width = _sides(input_size)
    if layers < 3:
        raise InvalidValue(f"nasbench301: a network needs at least 3 layers; got {layers}")
    if channels < 2 or channels % 2:
        raise InvalidValue(f"nasbench301: channels must be an even number; got {channels}")
    if height < 4 or width < 4 or height % 4 or width % 4:
        raise InvalidValue(f"nasbench301: the sides of the input must be multiples of 4; got {height} x {width}")
    stages: list[Stage] = []
    before = previous = 3 * channels
    after_reduction = False
    for layer in range(layers):
        reduction = layer in (layers // 3, 2 * layers // 3)
        channels *= 2 if reduction else 1
        stages.append(Stage(before, previous, channels, reduction, after_reduction, height, width))
        if reduction:
            height, width = height // 2, width // 2
        before, previous, after_reduction = previous, NODES * channels, reduction
    return stages


def _sides(input_size: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(input_size, int):
        return input_size, input_size
    height, width = input_size
    return height, width


def _choices() -> tuple[Choice, ...]:
    choices = []
    for cell in CELLS:
        for node, pairs in enumerate(PAIRS, 2):
            if len(pairs) > 1:
                options = tuple(f"{a}+{b}" for a, b in pairs.tolist())
                choices.append(Choice(f"{cell} node {node} inputs", options, cell))
            for which in ("first", "second"):
                choices.append(Choice(f"{cell} node {node} {which} operation", OPERATIONS, cell))
    return tuple(choices)


class NASBench301(SearchSpace):
    """A normal and a reduction cell, each of four nodes that add two operations on two different earlier nodes.

    The first two nodes of a cell are the outputs of the two previous cells; its output is the concatenation of the four
    others. A row has eleven integers per cell: for each node the pair of its inputs (the first node has no choice), the
    operation on the lower-numbered one, the operation on the other. Every row is a member, and no two rows name the
    same pair of cells, so there are (1 x 3 x 6 x 10 x 7^8)^2 = 1,076,746,950,455,072,400 of them.
    """

    name = "nasbench301"
    datasets = DATASETS
    choices = _choices()

    # ---- rows and settings

    def inputs_and_operations(self, archs: Archs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Node numbers and operation numbers of each cell's nodes, each ``(n, 2 cells, 4 nodes, 2 inputs)``."""
        settings = self._settings(archs)
        inputs = np.stack([PAIRS[k][settings[:, :, k, 0]] for k in range(NODES)], axis=2)
        return inputs, settings[..., 1:]

    @staticmethod
    def _settings(archs: Archs) -> NDArray[np.int64]:
        """Pair number and two operations of every node, ``(n, 2, 4, 3)``."""
        archs = np.asarray(archs, dtype=np.int64)
        cells = archs.reshape(len(archs), len(CELLS), 3 * NODES - 1)
        only_pair = np.zeros((*cells.shape[:2], 1), dtype=np.int64)
        return np.concatenate([only_pair, cells], axis=2).reshape(len(archs), len(CELLS), NODES, 3)

    @staticmethod
    def _rows(settings: NDArray[np.int64]) -> Archs:
        """The inverse of :meth:`_settings`."""
        rows = settings.reshape(len(settings), len(CELLS), 3 * NODES)[:, :, 1:]
        return rows.reshape(len(settings), len(CELLS) * (3 * NODES - 1))

    def canonical(self, archs: Archs) -> Archs:
        """The least row, in numerical order of the cells, over all valid numberings of the intermediate nodes.

        Two architectures are isomorphic if renumbering the intermediate nodes of their cells, in topological order,
        turns one into the other. That only permutes the output channels of a cell, and each consumer reads them through
        a full convolution or linear layer. Nothing else counts as isomorphic: the two inputs of a cell are not
        exchanged, and a pooling or a skip is never merged with another.
        """
        settings = self._settings(archs)
        states = (settings[..., 0] * len(OPERATIONS) + settings[..., 1]) * len(OPERATIONS) + settings[..., 2]
        states = states.reshape(-1, NODES)
        lowest = np.full(len(states), _LATER)
        for contribution in _renumberings():
            code = contribution[0][states[:, 0]]
            for k in range(1, NODES):
                code += contribution[k][states[:, k]]
            np.minimum(lowest, code, out=lowest)
        states = lowest[:, None] // _RADIX % _STATES
        both, second = np.divmod(states, len(OPERATIONS))
        pair, first = np.divmod(both, len(OPERATIONS))
        return self._rows(np.stack([pair, first, second], axis=-1).reshape(settings.shape))

    # ---- text

    def format(self, arch: Archs) -> str:
        """The genotype as DARTS writes it, inputs ascending.

        ``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=[...])``
        """
        inputs, operations = self.inputs_and_operations(np.asarray(arch).reshape(1, -1))
        parts = []
        for c, cell in enumerate(CELLS):
            edges = zip(operations[0, c].ravel().tolist(), inputs[0, c].ravel().tolist(), strict=True)
            parts += [f"{cell}={[(OPERATIONS[o], i) for o, i in edges]}", f"{cell}_concat={CONCAT}"]
        return f"Genotype({', '.join(parts)})"

    def parse(self, text: str) -> Archs:
        """The row of a genotype, of 22 integers, or of NASLib's compact form.

        The compact form is ``(((input, operation), ... 8), (... 8))`` in round or square brackets, normal cell first,
        with operations as indices into :data:`OPERATIONS`. A node's two inputs may come in either order. The
        concatenations of a genotype may be left out or written as ``range(2, 6)``, but must be of nodes 2 to 5.
        """
        row = self._parse_integers(text)
        if row is None:
            row = np.concatenate([self._parse_cell(c, edges) for c, edges in enumerate(_read_cells(text))])
        return self.as_archs(row)[0]

    @staticmethod
    def _parse_cell(cell: int, edges: Any) -> NDArray[np.int64]:
        """Eleven integers of a cell given as eight pairs (input, operation name or code)."""
        name, row = f"nasbench301: the {CELLS[cell]} cell", []
        if not isinstance(edges, (list, tuple)) or len(edges) != 2 * NODES:
            raise InvalidArchitecture(f"{name} must have {2 * NODES} pairs of operation and input")
        numbered = [_edge(name, edge) for edge in edges]
        for k, pairs in enumerate(PAIRS):
            (a, first), (b, second) = sorted(numbered[2 * k : 2 * k + 2])
            if a == b or a < 0 or b > k + 1:
                raise InvalidArchitecture(
                    f"{name}: node {k + 2} has inputs {a} and {b}, must be two different ones of 0 to {k + 1}"
                )
            row += [int(np.flatnonzero((pairs == (a, b)).all(axis=1))[0]), first, second]
        return np.array(row[1:], dtype=np.int64)

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """Both cells side by side between one input and one output, 30 nodes.

        A cell has a node for each of its inputs, which stands for the 1x1 convolution that the cell applies to it; one
        for each of its eight operations; and one, labelled ``identity``, for each sum of two. Every sum feeds the
        output. Labels of inputs and operations name the cell, since the cells have different shapes
        (``normal sep_conv_3x3``); only ``skip_connect`` is the same in both.
        """
        import networkx as nx

        graphs = self.graphs(np.asarray(arch).reshape(1, -1))
        names = _graph_names()
        graph = nx.DiGraph()
        for name, operation in zip(names, graphs.operations[0].tolist(), strict=True):
            graph.add_node(name, op=graphs.labels[operation])
        graph.add_edges_from((names[a], names[b]) for a, b in np.argwhere(graphs.adjacency[0]).tolist())
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The graphs of :meth:`graph`; nodes in one order for all architectures."""
        inputs, operations = self.inputs_and_operations(np.atleast_2d(archs))
        names = _graph_names()
        place = {name: i for i, name in enumerate(names)}
        labels = tuple(dict.fromkeys(("input", "output", "identity", *(x for c in CELLS for x in _graph_labels(c)))))
        nodes = np.empty((len(inputs), len(names)), dtype=np.int64)
        adjacency = np.zeros((len(inputs), len(names), len(names)), dtype=bool)
        nodes[:, 0], nodes[:, -1] = labels.index("input"), labels.index("output")
        rows = np.arange(len(inputs))
        for c, cell in enumerate(CELLS):
            number = np.array([labels.index(label) for label in _graph_labels(cell)])
            values = np.array([place[f"{cell} {i}"] for i in range(2)] + [place[f"{cell} {k} sum"] for k in CONCAT])
            nodes[:, values] = [*number[:2], *[labels.index("identity")] * NODES]
            adjacency[:, 0, values[:2]] = True
            adjacency[:, values[2:], -1] = True
            for k in range(NODES):
                for i, which in enumerate("ab"):
                    edge = place[f"{cell} {k + 2} {which}"]
                    nodes[:, edge] = number[2 + operations[:, c, k, i]]
                    adjacency[rows, values[inputs[:, c, k, i]], edge] = True
                    adjacency[:, edge, values[k + 2]] = True
        return Graphs(labels, nodes, adjacency)

    # ---- counts

    def statics(
        self,
        archs: Archs,
        num_classes: int = 10,
        input_size: int | tuple[int, int] = 32,
        channels: int = 32,
        layers: int = 8,
        in_channels: int = 3,
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters, and multiply-adds of convolutions and classifier (with its bias) for one image, each ``(n,)``.

        The table's `flops` also count normalisation, ReLU and pooling.
        """
        inputs, operations = self.inputs_and_operations(archs)
        height, width = _sides(input_size)
        stages = skeleton(channels, layers, input_size)
        weights = 9 * in_channels * 3 * channels
        classifier = (NODES * stages[-1].channels + 1) * num_classes
        params = np.full(len(inputs), weights + 2 * 3 * channels + classifier, dtype=np.float64)
        flops = np.full(len(inputs), weights * height * width + classifier, dtype=np.float64)
        for stage in stages:
            c = stage.channels
            before = (stage.c_before + stage.c_previous) * c
            params += before + 4 * c
            flops += before * stage.height * stage.width
            place = CELLS.index("reduce" if stage.reduction else "normal")
            each = np.array([0, 0, 0, *(n * (k * k * c + c * c) for n, k in ((2, 3), (2, 5), (1, 3), (1, 5)))])
            weights_of = each[operations[:, place]].sum(axis=(1, 2))
            if stage.reduction:
                halving = (operations[:, place] == SKIP) & (inputs[:, place] < 2)
                weights_of = weights_of + c * c * halving.sum(axis=(1, 2))
            params += weights_of
            flops += weights_of * stage.pixels
        return {"params": params, "flops": flops}

    # ---- network

    def input_shape(
        self, input_size: int | tuple[int, int] = 32, in_channels: int = 3, **options: Any
    ) -> tuple[int, ...]:
        return (in_channels, *_sides(input_size))

    def build(
        self,
        arch: Archs,
        num_classes: int = 10,
        input_size: int | tuple[int, int] = 32,
        channels: int = 32,
        layers: int = 8,
        in_channels: int = 3,
    ) -> torch.nn.Module:
        """The network: ``(batch, in_channels, height, width)`` to ``(batch, num_classes)``.

        It is DARTS' network for CIFAR-10 as NASLib builds it for the benchmark: `layers` cells after a stem of
        ``3 * channels``, no auxiliary head, no weights in the normalisation after operations. `input_size` is the side
        of the image, or its height and width.
        """
        from nastk.spaces._nasbench301_network import Network

        inputs, operations = self.inputs_and_operations(self.as_archs(arch)[:1])
        cells = [
            [
                (OPERATIONS[o], i)
                for o, i in zip(operations[0, c].ravel().tolist(), inputs[0, c].ravel().tolist(), strict=True)
            ]
            for c in range(len(CELLS))
        ]
        return Network(cells[0], cells[1], skeleton(channels, layers, input_size), num_classes, in_channels)


@lru_cache(maxsize=1)
def _renumberings() -> NDArray[np.int64]:
    """What each node's setting adds to a cell's number when nodes are renumbered, ``(24 orders, 4 nodes, 490)``.

    A cell's number under an order is then a sum of four table entries, so that :meth:`NASBench301.canonical` is a
    minimum over 24 sums.
    """
    orders = np.array(list(permutations(range(NODES))))
    found = np.full((len(orders), NODES, max(_STATES)), _LATER)
    width = len(OPERATIONS)
    for renumbered, order in zip(found, orders, strict=True):
        number = np.concatenate([[0, 1], 2 + order])
        for k, pairs in enumerate(PAIRS):
            target = [tuple(pair) for pair in PAIRS[order[k]].tolist()]
            for p, pair in enumerate(number[pairs].tolist()):
                if max(pair) > order[k] + 1:
                    continue  # an input would come after its reader: stays at _LATER
                operations = np.arange(width**2).reshape(width, width)
                if pair[0] > pair[1]:  # inputs are ascending, so their operations swap with them
                    operations = operations.T
                state = target.index((min(pair), max(pair))) * width**2 + operations.ravel()
                renumbered[k, p * width**2 : (p + 1) * width**2] = state * _RADIX[order[k]]
    found.setflags(write=False)
    return found


@lru_cache(maxsize=1)
def _graph_names() -> tuple[str, ...]:
    """Nodes of :meth:`NASBench301.graph`; their topological order is also that of their names."""
    names = ["input"]
    for cell in CELLS:
        names += [f"{cell} {i}" for i in range(2)]
        names += [f"{cell} {node} {part}" for node in CONCAT for part in ("a", "b", "sum")]
    return (*names, "output")


def _graph_labels(cell: str) -> list[str]:
    """Labels of the two inputs and of the operations of a cell."""
    inputs = [f"{cell} c_{{k-2}}", f"{cell} c_{{k-1}}"]
    return inputs + [op if op == OPERATIONS[SKIP] else f"{cell} {op}" for op in OPERATIONS]


# ---- reading genotypes


def _read_cells(text: str) -> tuple[Any, Any]:
    """The two cells of a text, each a sequence of (input, operation), unchecked."""
    wrong = InvalidArchitecture(
        f"{text[:60]!r} is not a NAS-Bench-301 genotype; write Genotype(normal=[(operation, input), ... 8], "
        "normal_concat=[2, 3, 4, 5], reduce=[... 8], reduce_concat=[2, 3, 4, 5])"
    )
    if len(text) > 4000:
        raise wrong
    try:
        body = ast.parse(text.strip(), mode="eval").body
        if not isinstance(body, ast.Call):
            cells = ast.literal_eval(body)
            if not isinstance(cells, (list, tuple)) or len(cells) != len(CELLS):
                raise wrong
            return cells[0], cells[1]
        given = {k.arg: k.value for k in body.keywords}
        if getattr(body.func, "id", None) != "Genotype" or body.args or len(given) != len(body.keywords):
            raise wrong
        for cell in CELLS:
            concat = given.pop(f"{cell}_concat", None)
            if concat is not None and ast.unparse(concat) not in (str(CONCAT), str(tuple(CONCAT)), "range(2, 6)"):
                raise InvalidArchitecture(
                    f"nasbench301: the {cell} cell must concatenate nodes {CONCAT}; got {ast.unparse(concat)[:60]}"
                )
        if set(given) != set(CELLS):
            raise wrong
        normal, reduce = ([_swap(edge) for edge in ast.literal_eval(given[cell])] for cell in CELLS)
        return normal, reduce
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, InvalidArchitecture):
            raise
        raise wrong from error


def _swap(edge: Any) -> Any:
    """A genotype's (operation, input) as (input, operation)."""
    return tuple(reversed(edge)) if isinstance(edge, (list, tuple)) else edge


def _edge(cell: str, edge: Any) -> tuple[int, int]:
    """Input and operation number of a pair (input, operation name or code)."""
    if not isinstance(edge, (list, tuple)) or len(edge) != 2 or type(edge[0]) is not int:
        raise InvalidArchitecture(f"{cell}: {str(edge)[:60]!r} is not a pair of operation and input")
    source, operation = edge
    if type(operation) is int and 0 <= operation < len(OPERATIONS):
        return source, operation
    if operation not in OPERATIONS:
        raise InvalidArchitecture(f"{cell} has the operation {operation!r}, must be one of {', '.join(OPERATIONS)}")
    return source, OPERATIONS.index(operation)
