"""NAS-Bench-101: 423,624 cells of at most seven vertices and nine edges (Ying et al., ICML 2019)."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from functools import lru_cache
from math import factorial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces._nasbench101_shapes import vertex_channels
from nastk.spaces.base import Archs, Choice, Graphs, SearchSpace, Seed

if TYPE_CHECKING:
    import networkx as nx
    import torch

VERTICES = 7
"""Most vertices of a cell (the paper, Section 2.1)."""
MAX_EDGES = 9
"""Most edges of a cell (the paper, Section 2.1)."""
INNER = VERTICES - 2
"""Most vertices with an operation."""
NONE = "none"
"""Operation of a vertex that a cell does not have."""
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""In the order of the benchmark's configuration."""
SIZE = 423_624
"""Unique cells (the paper, Section 2.1)."""
PAIRS = tuple((a, b) for a in range(VERTICES) for b in range(a + 1, VERTICES))
"""Source and target vertex of each of the 21 edge choices: the upper triangle, row by row."""
DATASETS = {"cifar10": {"num_classes": 10, "input_size": 32}}
"""Build options of the benchmark's data set."""

_EDGES = len(PAIRS)
"""Number of edge choices, which come first in a row."""
_TUPLE_CODES = {2: "maxpool3x3", 3: "conv1x1-bn-relu", 4: "conv3x3-bn-relu"}
"""NASLib's operation codes; 0 is the input, 1 the output."""
# Column of a row by source and target vertex, -1 where there is no edge choice.
_COLUMN = np.full((VERTICES, VERTICES), -1)
for _place, (_a, _b) in enumerate(PAIRS):
    _COLUMN[_a, _b] = _place

Bits = NDArray[np.bool_]
Integers = NDArray[np.int64]


def _bit(a: int, b: int) -> int:
    """Bit of the edge from `a` to `b` in the benchmark's number of a graph."""
    return a + b * (b - 1) // 2


class _Cells(NamedTuple):
    """All cells of one number of inner vertices, up to isomorphism.

    Args:
        structure: for each number of a graph, the index of its canonical structure, or -1, ``(2 ** edges,)``.
        order: for each number, which permutation of the inner vertices makes it canonical.
        permutations: ``(k!, k)``: the new position of each inner vertex.
        codes: numbers of the canonical structures, ascending, ``(s,)``.
        labelling: for each structure and operations (a number in base 3), the least isomorphic ones, ``(s, 3 ** k)``.
    """

    structure: NDArray[np.int32]
    order: NDArray[np.int16]
    permutations: Integers
    codes: Integers
    labelling: NDArray[np.int16]


@lru_cache(maxsize=8)
def _cells(k: int) -> _Cells:
    """Canonical forms of the cells with `k` inner vertices, all of which lie on a path from input to output.

    The benchmark keeps, of isomorphic cells, the first by number of the graph, then by operations. That is the least
    number over all permutations of the inner vertices, then the least operations over the automorphisms: the
    permutations that keep this number.
    """
    v = k + 2
    pairs = [(a, b) for b in range(v) for a in range(b)]  # in the order of their bits
    every = np.arange(2 ** len(pairs), dtype=np.int64)
    bits = ((every[:, None] >> np.arange(len(pairs))) & 1).astype(bool)
    few = bits.sum(axis=1) <= MAX_EDGES
    every, bits = every[few], bits[few]
    edge = {pair: bits[:, i] for i, pair in enumerate(pairs)}
    # Every vertex needs a predecessor and a successor; else it is on no path, and the cell belongs to a smaller k.
    full = np.ones(len(every), dtype=bool)
    for vertex in range(v):
        if vertex > 0:
            full &= np.logical_or.reduce([edge[a, vertex] for a in range(vertex)])
        if vertex < v - 1:
            full &= np.logical_or.reduce([edge[vertex, b] for b in range(vertex + 1, v)])
    every, bits = every[full], bits[full].astype(np.int64)
    permutations = np.array(list(itertools.permutations(range(1, k + 1))), dtype=np.int64).reshape(factorial(k), k)
    best, order = every.copy(), np.zeros(len(every), dtype=np.int16)
    automorphic = []
    for number, permutation in enumerate(permutations):
        new = np.array([0, *permutation, v - 1])
        moved = np.zeros(len(every), dtype=np.int64)
        allowed = np.ones(len(every), dtype=bool)
        for i, (a, b) in enumerate(pairs):
            if new[a] < new[b]:
                moved += bits[:, i] << _bit(int(new[a]), int(new[b]))
            else:  # the edge would point backwards: not an upper triangular matrix
                allowed &= bits[:, i] == 0
        automorphic.append(allowed & (moved == every))
        better = allowed & (moved < best)
        best[better], order[better] = moved[better], number
    codes = np.unique(best)
    structure = np.full(2 ** len(pairs), -1, dtype=np.int32)
    structure[every] = np.searchsorted(codes, best)
    orders = np.zeros(2 ** len(pairs), dtype=np.int16)
    orders[every] = order
    canonical = np.searchsorted(every, codes)
    digits = _digits(np.arange(3**k), k)
    # Automorphisms of the canonical structures relabel operations without changing the graph: keep the least labelling.
    labelling = np.tile(np.arange(3**k, dtype=np.int16), (len(codes), 1))
    for permutation, same in zip(permutations, automorphic, strict=True):
        relabelled = _number(_permute(digits, np.tile(permutation, (len(digits), 1)))).astype(np.int16)
        rows = same[canonical]
        labelling[rows] = np.minimum(labelling[rows], relabelled)
    return _Cells(structure, orders, permutations, codes, labelling)


def _digits(numbers: Integers, k: int) -> Integers:
    """Operations 0 to 2 of the `k` inner vertices, the first the most significant, ``(n, k)``."""
    return (numbers[:, None] // 3 ** np.arange(k - 1, -1, -1)) % 3


def _number(digits: Integers) -> Integers:
    k = digits.shape[1]
    return np.asarray(digits @ (3 ** np.arange(k - 1, -1, -1)), dtype=np.int64)


def _permute(operations: Integers, permutations: Integers) -> Integers:
    """Operations ``(n, k)`` after each vertex moved to its new position (1 to k)."""
    moved = np.empty_like(operations)
    np.put_along_axis(moved, permutations - 1, operations, axis=1)
    return moved


def _matrices(archs: Archs) -> Bits:
    """Adjacency matrices ``(n, 7, 7)`` of rows."""
    archs = np.asarray(archs)
    matrix = np.zeros((len(archs), VERTICES, VERTICES), dtype=bool)
    for place, (a, b) in enumerate(PAIRS):
        matrix[:, a, b] = archs[:, place] == 1
    return matrix


def _on_path(matrix: Bits) -> Bits:
    """Mask of the vertices on a path from the first to the last, ``(n, 7)``."""
    forward, backward = np.zeros((2, len(matrix), VERTICES), dtype=bool)
    forward[:, 0] = backward[:, -1] = True
    for vertex in range(1, VERTICES):
        forward[:, vertex] = (forward[:, :vertex] & matrix[:, :vertex, vertex]).any(axis=1)
    for vertex in range(VERTICES - 2, -1, -1):
        backward[:, vertex] = (backward[:, vertex + 1 :] & matrix[:, vertex, vertex + 1 :]).any(axis=1)
    return forward & backward


def canonicalise(archs: Archs) -> tuple[Archs, Bits]:
    """The members that cells are isomorphic to, and whether each is a cell of the benchmark, ``(n, 26)`` and ``(n,)``.

    Vertices on no path from input to output are dropped first, as the benchmark does. A used vertex must have an
    operation. Rows that are not cells are returned unchanged.
    """
    archs = np.array(archs, dtype=np.int64)
    matrix = _matrices(archs)
    used = _on_path(matrix)
    matrix &= used[:, :, None] & used[:, None, :]
    operations = archs[:, _EDGES:] - 1
    inner = used[:, 1:-1]
    good = used[:, 0] & used[:, -1] & (matrix.sum(axis=(1, 2)) <= MAX_EDGES)
    good &= ((operations >= 0) | ~inner).all(axis=1)
    count = inner.sum(axis=1)
    for k in range(INNER + 1):  # cells of one size share the tables of _cells
        rows = np.flatnonzero(good & (count == k))
        if not len(rows):
            continue
        cells = _cells(k)
        places = np.argsort(~inner[rows], axis=1, kind="stable")[:, :k]
        kept = np.concatenate(
            [np.zeros((len(rows), 1), np.int64), places + 1, np.full((len(rows), 1), VERTICES - 1)], axis=1
        )
        small = matrix[rows[:, None, None], kept[:, :, None], kept[:, None, :]]
        number = np.zeros(len(rows), dtype=np.int64)
        for b in range(k + 2):
            for a in range(b):
                number += small[:, a, b].astype(np.int64) << _bit(a, b)
        structure = cells.structure[number]
        moved = _permute(np.take_along_axis(operations[rows], places, axis=1), cells.permutations[cells.order[number]])
        archs[rows] = _rows(k, cells.codes[structure], cells.labelling[structure, _number(moved)].astype(np.int64))
    return archs, good


def _rows(k: int, codes: Integers, labels: Integers) -> Archs:
    """Rows of cells with `k` inner vertices from the numbers of their graphs and operations."""
    rows = np.zeros((len(codes), _EDGES + INNER), dtype=np.int64)
    for b in range(1, k + 2):
        for a in range(b):
            target = VERTICES - 1 if b == k + 1 else b
            rows[:, _COLUMN[a, target]] = (codes >> _bit(a, b)) & 1
    if k:
        rows[:, _EDGES : _EDGES + k] = _digits(labels, k) + 1
    return rows


@lru_cache(maxsize=1)
def members() -> Archs:
    """Every cell once, ``(423624, 26)``: by vertices, then by the benchmark's number of the graph, then operations."""
    parts = []
    for k in range(INNER + 1):
        cells = _cells(k)
        structure, label = np.nonzero(cells.labelling == np.arange(3**k))
        parts.append(_rows(k, cells.codes[structure], label))
    everything = np.concatenate(parts)
    everything.setflags(write=False)
    return everything


def _keys(archs: Archs) -> Integers:
    """A number for each row, its edges before its operations."""
    archs = np.asarray(archs, dtype=np.int64)
    edges, operations = archs[:, :_EDGES] @ (1 << np.arange(_EDGES)), archs[:, _EDGES:] @ 4 ** np.arange(INNER)
    return np.asarray(edges * 4**INNER + operations)


@lru_cache(maxsize=1)
def _sorted_keys() -> tuple[Integers, Integers]:
    keys = _keys(members())
    order = np.argsort(keys)
    return keys[order], order


class NASBench101(SearchSpace):
    """A directed acyclic graph from an input to an output vertex over at most five inner ones, each an operation.

    Members are the 423,624 unique cells: of isomorphic cells, the one that the benchmark keeps. Every method that takes
    architectures also takes isomorphic encodings, larger ones with unconnected vertices included, and returns members.
    A row holds the upper triangle of the adjacency matrix and the operations; a
    cell of fewer vertices leaves the last inner ones without edges and with the operation "none".

    The skeleton of :meth:`build` is the benchmark's: a 3x3 convolution, three stacks of three cells with pooling and
    doubled channels between them, global average pooling and a linear classifier.
    """

    name = "nasbench101"
    choices = (
        *(Choice(f"edge {a}-{b}", ("0", "1"), "edges") for a, b in PAIRS),
        *(Choice(f"vertex {i}", (NONE, *OPERATIONS), "vertices") for i in range(1, INNER + 1)),
    )
    datasets = DATASETS
    size = SIZE

    # ---- members

    def as_archs(self, archs: Any) -> Archs:
        """Members from texts, indices or rows; isomorphic encodings are made canonical.

        Raises:
            InvalidArchitecture: not a cell of the benchmark.
        """
        if isinstance(archs, (str, int, np.integer)) or (
            isinstance(archs, Sequence) and archs and all(isinstance(a, str) for a in archs)
        ):
            return super().as_archs(archs)
        array = np.asarray(archs)
        if array.ndim == 1:
            array = array[None]
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and np.array_equal(array, np.round(array)))
        inside = array.ndim == 2 and array.shape[1] == self.d and whole and array.size > 0
        if inside and ((array >= 0) & (array < self.sizes)).all():
            array, good = canonicalise(array.astype(np.int64))
            if not good.all():
                row = array[int(np.argmin(good))].tolist()
                raise InvalidArchitecture(
                    f"{self.name}: {row} is not a cell: input and output must be connected, by at most {MAX_EDGES} "
                    "edges, and each vertex between them needs an operation"
                )
        return super().as_archs(array)

    def is_valid(self, archs: Archs) -> Bits:
        archs = np.asarray(archs, dtype=np.int64)
        if not len(archs):
            return np.zeros(0, dtype=bool)
        canonical, good = canonicalise(archs)
        return np.asarray(good & (canonical == archs).all(axis=1))

    def enumerate(self) -> Archs:
        return members()

    def index(self, archs: Archs) -> Integers:
        """Position in :meth:`enumerate`, ``(n,)``."""
        keys, order = _sorted_keys()
        wanted = _keys(archs)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        if (keys[places] != wanted).any():
            raise InvalidArchitecture(f"a row is not a member of {self.name}")
        return order[places]

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        return members()[rng.integers(0, SIZE, n)]

    # ---- moves

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """Members one change away, ``(n, 26)``: see :meth:`neighbours`; the kind of change is drawn first."""
        rng = np.random.default_rng(seed)
        children = np.array(archs, dtype=np.int64)
        for _ in range(n_changes):
            before, todo = children.copy(), np.arange(len(children))
            while len(todo):
                changed, good = canonicalise(_random_change(before[todo], rng))
                good &= (changed != before[todo]).any(axis=1)
                good &= (changed != np.asarray(archs)[todo]).any(axis=1)
                children[todo[good]] = changed[good]
                todo = todo[~good]
        return children

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        """Uniform crossover of paired rows, canonical; where the child is not a cell, the first parent."""
        rng = np.random.default_rng(seed)
        mixed, good = canonicalise(np.where(rng.random(np.shape(a)) < 0.5, a, b))
        return np.where(good[:, None], mixed, a)

    def neighbours(self, arch: Archs) -> Archs:
        """Members one change away, each once: an edge added or removed, another operation, or a vertex added on a path.

        Removing an edge drops the vertices that are then on no path. A new vertex, with any operation, goes between two
        vertices whose order allows it.
        """
        arch = self.as_archs(arch)[0]
        inner = int((arch[_EDGES:] > 0).sum())
        flipped = np.repeat(arch[None], _EDGES, axis=0)
        flipped[np.arange(_EDGES), np.arange(_EDGES)] ^= 1
        found = [flipped]
        for place in range(_EDGES, _EDGES + inner):
            for option in range(1, len(OPERATIONS) + 1):
                other = arch.copy()
                other[place] = option
                found.append(other[None])
        if inner < INNER:
            ends = [(a, b) for a in range(inner + 1) for b in [*range(a + 1, inner + 1), VERTICES - 1]]
            for option in range(1, len(OPERATIONS) + 1):
                found += [_with_vertex(arch[None], np.array([[a, b]]), np.array([option])) for a, b in ends]
        around, good = canonicalise(np.concatenate(found))
        around = np.unique(around[good], axis=0)
        return around[(around != arch).any(axis=1)]

    # ---- text and graph

    def matrix(self, arch: Any) -> tuple[NDArray[np.int64], list[str]]:
        """Adjacency matrix ``(v, v)`` and the labels of the `v` vertices: what the benchmark's ``ModelSpec`` takes."""
        row = self.as_archs(arch)[0]
        inner = int((row[_EDGES:] > 0).sum())
        kept = [*range(inner + 1), VERTICES - 1]
        labels = ["input", *(OPERATIONS[v - 1] for v in row[_EDGES : _EDGES + inner]), "output"]
        return _matrices(row[None])[0][np.ix_(kept, kept)].astype(np.int64), labels

    def from_matrix(self, matrix: Any, operations: Sequence[str]) -> Archs:
        """The member ``(26,)`` that a matrix ``(v, v)`` and the labels of its vertices describe.

        Raises:
            InvalidArchitecture: not upper triangular, more than seven vertices, an unknown label, or not a cell.
        """
        adjacency = np.asarray(matrix)
        v = len(operations)
        if adjacency.shape != (v, v) or not 2 <= v <= VERTICES or not np.isin(adjacency, (0, 1)).all():
            raise InvalidArchitecture(
                f"{self.name}: expected a matrix of 0 and 1 with 2 to {VERTICES} vertices and as many operations; got "
                f"shape {adjacency.shape} and {v} operations"
            )
        if np.tril(adjacency).any():
            raise InvalidArchitecture(f"{self.name}: the matrix must be upper triangular")
        if operations[0] != "input" or operations[-1] != "output" or any(o not in OPERATIONS for o in operations[1:-1]):
            known = ", ".join(OPERATIONS)
            raise InvalidArchitecture(f"{self.name}: operations are input, some of {known}, output; got {operations}")
        row = np.zeros(self.d, dtype=np.int64)
        place = [*range(v - 1), VERTICES - 1]
        for a, b in zip(*np.nonzero(adjacency), strict=True):
            row[_COLUMN[place[a], place[b]]] = 1
        row[_EDGES : _EDGES + v - 2] = [OPERATIONS.index(o) + 1 for o in operations[1:-1]]
        return self.as_archs(row)[0]

    def format(self, arch: Archs) -> str:
        """Operations, and the upper triangle of their matrix row by row: ``input,conv3x3-bn-relu,output:11-1``."""
        matrix, labels = self.matrix(arch)
        rows = ("".join(str(int(e)) for e in line[i + 1 :]) for i, line in enumerate(matrix[:-1]))
        return ",".join(labels) + ":" + "-".join(rows)

    def parse(self, text: str) -> Archs:
        """The member that a text names: as :meth:`format` writes it, 26 integers, or NASLib's tuple of 56."""
        row = self._parse_integers(text)
        if row is not None:
            return self.as_archs(row)[0]
        if text.strip().startswith("("):
            return self._parse_tuple(text)
        labels, colon, triangle = text.strip().partition(":")
        names, lines = labels.split(","), triangle.split("-")
        v = len(names)
        shaped = [len(line) for line in lines] == list(range(v - 1, 0, -1))
        if not colon or not shaped or not set(triangle) <= set("01-"):
            raise InvalidArchitecture(
                f"{text!r} is not a NAS-Bench-101 cell; write its operations and the upper triangle of its matrix, as "
                "in input,conv3x3-bn-relu,output:11-1"
            )
        matrix = np.zeros((v, v), dtype=np.int64)
        for a, line in enumerate(lines):
            matrix[a, a + 1 :] = [int(c) for c in line]
        return self.from_matrix(matrix, names)

    def _parse_tuple(self, text: str) -> Archs:
        try:
            codes = ast.literal_eval(text.strip())
            values = np.array(codes)
            if values.shape != (VERTICES**2 + VERTICES,) or values.dtype.kind != "i":
                raise ValueError(f"{values.size} items")
            labels = ["input", *(_TUPLE_CODES[int(c)] for c in values[VERTICES**2 + 1 : -1]), "output"]
        except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
            raise InvalidArchitecture(f"{text[:80]!r} is not NASLib's tuple of a NAS-Bench-101 cell: {error}") from None
        return self.from_matrix(values[: VERTICES**2].reshape(VERTICES, VERTICES), labels)

    def graph(self, arch: Archs) -> nx.DiGraph:
        """The cell: input, the used inner vertices with their operations, output."""
        import networkx as nx

        matrix, labels = self.matrix(arch)
        graph = nx.DiGraph()
        for i, label in enumerate(labels):
            graph.add_node(i, op=label)
        graph.add_edges_from((int(a), int(b)) for a, b in zip(*np.nonzero(matrix), strict=True))
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """Seven nodes; unused vertices are labelled "none"."""
        archs = np.asarray(archs)
        labels = ("input", "output", NONE, *OPERATIONS)
        operations = np.zeros((len(archs), VERTICES), dtype=np.int64)
        operations[:, -1] = 1
        operations[:, 1:-1] = archs[:, _EDGES:] + 2
        return Graphs(labels, operations, _matrices(archs))

    # ---- counts

    def statics(
        self,
        archs: Archs,
        num_classes: int = 10,
        input_size: int = 32,
        channels: int = 128,
        cells_per_stack: int = 3,
        in_channels: int = 3,
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters (the benchmark's), multiply-adds, and the cell's shape, each ``(n,)``.

        Multiply-adds are those of convolutions and of the classifier with its bias. `depth` is the most vertices on one
        path from input to output, `edges` and `vertices` are those of the cell.
        """
        archs = np.asarray(archs)
        matrix, operations = _matrices(archs), archs[:, _EDGES:]
        params = np.full(len(archs), 9.0 * in_channels * channels + 2 * channels)
        flops = np.full(len(archs), 9.0 * in_channels * channels * input_size**2)
        width, side = channels, input_size
        for stack in range(3):
            if stack:
                side //= 2
            for _ in range(cells_per_stack):
                c_out = channels * 2**stack
                p, f = _cell_counts(matrix, operations, width, c_out)
                params += p
                flops += f * side**2
                width = c_out
        params += (width + 1) * num_classes
        flops += (width + 1) * num_classes
        longest = np.zeros(matrix.shape[:2])
        for vertex in range(1, VERTICES):
            longest[:, vertex] = np.where(matrix[:, :vertex, vertex], longest[:, :vertex] + 1, 0).max(axis=1)
        return {
            "params": params,
            "flops": flops,
            "depth": longest[:, -1],
            "edges": matrix.sum(axis=(1, 2)).astype(np.float64),
            "vertices": (operations > 0).sum(axis=1) + 2.0,
        }

    # ---- network

    def input_shape(self, input_size: int = 32, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        return (in_channels, input_size, input_size)

    def build(
        self,
        arch: Archs,
        num_classes: int = 10,
        input_size: int = 32,
        channels: int = 128,
        cells_per_stack: int = 3,
        in_channels: int = 3,
    ) -> torch.nn.Module:
        """The benchmark's network: ``(batch, in_channels, input_size, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._nasbench101_network import Network

        matrix, labels = self.matrix(arch)
        return Network(matrix.astype(bool), labels, num_classes, channels, cells_per_stack, in_channels)


def _cell_counts(matrix: Bits, operations: Archs, c_in: int, c_out: int) -> tuple[NDArray[np.float64], ...]:
    """Parameters, and multiply-adds per pixel, of one cell, each ``(n,)``."""
    channels = vertex_channels(matrix, c_out)[:, 1:-1].astype(np.float64)
    projected = matrix[:, 0, 1:-1] * channels
    output = matrix[:, 0, -1] * float(c_out)
    area = np.select([operations == 1, operations == 2], [9.0, 1.0], 0.0)
    weights = c_in * projected.sum(axis=1) + c_in * output + (area * channels**2).sum(axis=1)
    normalised = projected.sum(axis=1) + output + ((area > 0) * channels).sum(axis=1)
    return weights + 2 * normalised, weights


def _random_change(archs: Archs, rng: np.random.Generator) -> Archs:
    """One random change of each row, canonical or not: an edge, an operation, or an added vertex."""
    archs = archs.copy()
    rows = np.arange(len(archs))
    inner = (archs[:, _EDGES:] > 0).sum(axis=1)
    kind = rng.integers(0, 3, len(archs))
    grow = (kind == 2) & (inner < INNER)
    label = (kind == 1) & (inner > 0)
    flip = ~grow & ~label
    place = _EDGES + rng.integers(0, np.maximum(inner, 1))
    shifted = (archs[rows, place] - 1 + rng.integers(1, len(OPERATIONS), len(archs))) % len(OPERATIONS) + 1
    edge = rng.integers(0, _EDGES, len(archs))
    first = rng.integers(0, inner + 1)
    second = first + 1 + rng.integers(0, inner + 1 - first)
    ends = np.stack([first, np.where(second > inner, VERTICES - 1, second)], axis=1)
    option = rng.integers(1, len(OPERATIONS) + 1, len(archs))
    archs[rows[flip], edge[flip]] ^= 1
    archs[rows[label], place[label]] = shifted[label]
    if grow.any():
        archs[grow] = _with_vertex(archs[grow], ends[grow], option[grow])
    return archs


def _with_vertex(archs: Archs, ends: Integers, options: Integers) -> Archs:
    """Cells with one more inner vertex between the two vertices `ends` ``(n, 2)`` (in topological order)."""
    n = len(archs)
    matrix, operations = _matrices(archs), archs[:, _EDGES:]
    old = np.arange(VERTICES)
    first = ends[:, :1]
    shift = (old > first) & (old < VERTICES - 1)  # inner vertices after the first end make room
    place = np.minimum(old + shift, VERTICES - 1)
    larger = np.zeros((n, VERTICES, VERTICES), dtype=bool)
    row, a, b = np.nonzero(matrix)
    larger[row, place[row, a], place[row, b]] = True
    new = ends[:, 0] + 1
    second = np.take_along_axis(place, ends[:, 1:], axis=1)[:, 0]
    larger[np.arange(n), ends[:, 0], new] = True
    larger[np.arange(n), new, second] = True
    grown = np.zeros((n, _EDGES + INNER), dtype=np.int64)
    for column, (source, target) in enumerate(PAIRS):
        grown[:, column] = larger[:, source, target]
    labels = np.zeros((n, VERTICES), dtype=np.int64)
    np.put_along_axis(labels, place[:, 1:-1], operations, axis=1)
    labels[np.arange(n), new] = options
    grown[:, _EDGES:] = labels[:, 1:-1]
    return grown
