"""Search spaces: an architecture is a row of small integers, one per choice.

A population is an ``(n, d)`` int64 array. A space declares its choices and inherits sampling, mutation, crossover,
neighbours, one-hot and enumeration, all vectorised; it adds what only it knows: text form, validity, canonical form,
graph, counts and the network itself.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue, Unsupported

if TYPE_CHECKING:
    import networkx as nx
    import torch

Archs = NDArray[np.int64]
Seed = int | np.random.Generator | None

ENUMERABLE = 1_000_000
"""Spaces of at most this many architectures are enumerated, larger ones sampled: coverage against memory (8 bytes a
choice)."""

FRUITLESS_DRAWS = 20
"""Draws in turn without another network after which a space that is too large to enumerate is taken to have no more."""

LONGEST_INTEGER = 18
"""Digits of the largest integers that a text form is read as: those that always fit in 64 bits."""

_INTEGERS = re.compile(r"[(\[]?\s*[0-9]+(?:[,\s]+[0-9]+)+[,\s]*[)\]]?")
"""Several integers with commas or blanks, which no text form of options is."""

SAMPLED_GRAPHS = 200
"""Sampled graphs that decide what the graphs of a space have in common. More miss fewer rare operations and take
longer."""


@dataclass(frozen=True)
class Choice:
    """One decision of a search space.

    Args:
        name: what is decided ("edge 0-1", "layer 3").
        options: labels of its options, in the order of their indices.
        group: choices that share a group (a stage, a cell) are counted together by the ``counts`` encoding.
    """

    name: str
    options: tuple[str, ...]
    group: str = ""

    def __len__(self) -> int:
        return len(self.options)


class Graphs(NamedTuple):
    """Operation graphs of several architectures with nodes in topological order: the first is the input, the last the
    output.

    Args:
        labels: names of all operations that the space has, in a fixed order that starts with "input", "output".
        operations: ``(n, nodes)``, indices into `labels`.
        adjacency: ``(n, nodes, nodes)``, true where the row's node feeds the column's; upper triangular.
            Nodes that an architecture does not use are labelled "none" and have no edges.
    """

    labels: tuple[str, ...]
    operations: NDArray[np.int64]
    adjacency: NDArray[np.bool_]

    @property
    def used(self) -> NDArray[np.bool_]:
        """Mask of the nodes that are not padding, ``(n, nodes)``."""
        if "none" not in self.labels:
            return np.ones(self.operations.shape, dtype=bool)
        named = self.operations != self.labels.index("none")
        return np.asarray(named | self.adjacency.any(axis=1) | self.adjacency.any(axis=2))

    @property
    def branch(self) -> bool:
        """Whether any node of any graph has several successors or predecessors; otherwise the graphs are chains."""
        return any(bool((self.adjacency.sum(axis=axis) > 1).any()) for axis in (1, 2))


class _FixedGraph(NamedTuple):
    """Graphs that differ in operations only; `choices` and `numbers` have one entry per node.

    Args:
        labels: see :class:`Graphs`.
        choices: the choice that sets the node's operation, None if it is always the same.
        numbers: indices into `labels` of that choice's options, or of the one operation.
        adjacency: ``(nodes, nodes)``.
    """

    labels: tuple[str, ...]
    choices: list[int | None]
    numbers: list[NDArray[np.int64]]
    adjacency: NDArray[np.bool_]

    def of(self, archs: Archs) -> Graphs:
        operations = np.empty((len(archs), len(self.choices)), dtype=np.int64)
        for node, (choice, number) in enumerate(zip(self.choices, self.numbers, strict=True)):
            operations[:, node] = number[0] if choice is None else number[archs[:, choice]]
        return Graphs(self.labels, operations, np.broadcast_to(self.adjacency, (len(archs), *self.adjacency.shape)))


def _topological_order(graph: nx.DiGraph) -> list[Hashable]:
    """Nodes in the graph's order as far as its edges allow, with the input first and the output last."""
    place = {node: i for i, node in enumerate(graph)}
    order: list[Hashable] = list(place)
    if any(place[a] >= place[b] for a, b in graph.edges):
        import networkx as nx

        order = list(nx.lexicographical_topological_sort(graph, key=place.__getitem__))
    labels = graph.nodes(data="op")
    if labels[order[0]] == "input" and labels[order[-1]] == "output":
        return order
    inputs = [node for node in order if labels[node] == "input" and not graph.in_degree(node)]
    outputs = [node for node in order if labels[node] == "output" and not graph.out_degree(node)]
    ends = {*inputs, *outputs}
    return [*inputs, *(node for node in order if node not in ends), *outputs]


def _read_graph(graph: nx.DiGraph) -> tuple[list[str], list[int], list[int]]:
    """Labels of the nodes in topological order, and the source and target index of each edge (the last node is -1)."""
    order = _topological_order(graph)
    place = {node: i for i, node in enumerate(order)}
    place[order[-1]] = -1
    labels = graph.nodes(data="op")
    return [labels[node] for node in order], [place[a] for a, _ in graph.edges], [place[b] for _, b in graph.edges]


class SearchSpace:
    """A finite set of architectures.

    A subclass sets :attr:`name` and :attr:`choices`, and implements :meth:`build` where its networks are to be measured
    or trained; every other method has a default that holds for a plain product of choices.
    `nastk.testing.check_space` tests the contract.
    """

    name: str
    choices: tuple[Choice, ...]
    datasets: ClassVar[Mapping[str, dict[str, Any]]] = {}
    """Options of :meth:`build`, :meth:`input_shape` and :meth:`statics` by data set: classes, input size, head."""
    forms_differ: bool = False
    """Whether isomorphic encodings are built from different operations, so that their latencies differ."""

    @property
    def whole(self) -> SearchSpace:
        """The space itself; for a pool, the space that it restricts."""
        return self

    @property
    def _called(self) -> str:
        """The name for messages about its members: a pool's are not all of the space it is named after."""
        return self.name

    def identity(self) -> dict[str, Any]:
        """What tells this space from others, JSON-able: its name, and its choices with their options in order.

        With another identity, the integers of an architecture mean another network. Numbers and texts that a space
        keeps in public attributes, such as options of its constructor (classes, input size), are part of it; what else
        changes its networks a space adds itself.
        """
        options = {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, (bool, int, float, str, tuple))
            and name not in ("name", "choices")
            and not name.startswith("_")
            and not isinstance(getattr(type(self), name, None), cached_property)  # computed, and only when asked for
        }
        found = {"space": self.name, "choices": [[c.name, *c.options] for c in self.choices]}
        return {**found, "build": repr(options)} if options else found

    def source_code(self) -> Any:
        """The class or function whose source builds the networks."""
        return type(self)

    # ---- size and shape

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of options of each choice, shape ``(d,)``."""
        return np.array([len(c) for c in self.choices], dtype=np.int64)

    @property
    def d(self) -> int:
        """Number of choices."""
        return len(self.choices)

    @property
    def size(self) -> int:
        """Exact number of valid architectures."""
        return prod(len(c) for c in self.choices)

    @property
    def enumerable(self) -> bool:
        """Whether :meth:`enumerate` is supported."""
        return self.size <= ENUMERABLE

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    # ---- architectures in, architectures out

    def as_archs(self, archs: Any) -> Archs:
        """Architectures given as text, index or integers, as a checked ``(n, d)`` array.

        Args:
            archs: one text or a list of texts (:meth:`parse`), one integer (:meth:`from_index`), one row of ``d``
                integers or an ``(n, d)`` array.

        Raises:
            InvalidArchitecture: malformed, out of range, or not a member of the space.
        """
        if isinstance(archs, str):
            archs = self.parse(archs)
        elif isinstance(archs, (int, np.integer)):
            archs = self.from_index(archs)
        elif isinstance(archs, Sequence) and archs and all(isinstance(a, str) for a in archs):
            archs = np.stack([self.parse(a) for a in archs])
        array = np.asarray(archs)
        if array.size == 0:
            return np.empty((0, self.d), dtype=np.int64)
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != self.d:
            raise InvalidArchitecture(f"{self.whole.name} architectures have {self.d} choices; got shape {array.shape}")
        if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and np.array_equal(array, np.round(array))):
            raise InvalidArchitecture(f"{self.whole.name} architectures are integers; got {array.dtype}")
        array = array.astype(np.int64)
        outside = (array < 0) | (array >= self.sizes)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            choice = self.choices[column]
            raise InvalidArchitecture(
                f"{self.whole.name}: {choice.name} is {array[row, column]}, must be 0 to {len(choice) - 1}"
            )
        invalid = ~self.is_valid(array)
        if invalid.any():
            raise InvalidArchitecture(f"not a member of {self._called}: {self.format(array[np.argmax(invalid)])}")
        return array

    def is_valid(self, archs: Archs) -> NDArray[np.bool_]:
        """Whether rows that are within range are members, shape ``(n,)``."""
        return np.ones(len(archs), dtype=bool)

    def canonical(self, archs: Archs) -> Archs:
        """One row for all isomorphic encodings; idempotent, shape ``(n, d)``."""
        return archs

    def compiled(self, archs: Archs) -> Archs:
        """What a compiling runtime executes: architectures without the operations that do not reach the output."""
        return archs

    def merged(self, archs: Archs) -> Archs:
        """What a runtime executes that does equal work once: of equal operations without parameters on the same input,
        only the first; the others are the space's cheapest operation that passes its input on."""
        return archs

    def connected(self, archs: Archs) -> NDArray[np.bool_]:
        """Whether the network's output depends on its input, ``(n,)``."""
        return np.ones(len(archs), dtype=bool)

    def keys(self, archs: Archs) -> list[Hashable]:
        """One hashable per architecture, equal for isomorphic encodings."""
        return [row.tobytes() for row in np.ascontiguousarray(self.canonical(archs))]

    def as_networks(self, archs: Archs) -> Archs:
        """One row for each network, ``(n, d)``: the canonical form, or the architecture as written where isomorphic
        encodings are built from different operations (:attr:`forms_differ`).

        Predictors learn from these rows and predict them, so that equal networks get equal predictions.
        """
        return archs if self.forms_differ else self.canonical(archs)

    def active(self, archs: Archs) -> NDArray[np.bool_]:
        """Which choices of each architecture make a difference to its network, ``(n, d)``.

        A choice does not where its every other option has the same canonical form, as the kernel of a layer that the
        depth leaves out; such choices may all be set to their first option at once. Where isomorphic encodings are
        built from different operations (:attr:`forms_differ`) every choice counts.
        """
        archs = np.asarray(archs, dtype=np.int64).reshape(-1, self.d)
        active = np.ones(archs.shape, dtype=bool)
        if self.forms_differ or not len(archs):
            return active
        own = self.canonical(archs)
        for j, size in enumerate(self.sizes.tolist()):
            same, others = np.ones(len(archs), dtype=bool), np.zeros(len(archs), dtype=bool)
            for shift in range(1, size):
                changed = archs.copy()
                changed[:, j] = (archs[:, j] + shift) % size
                valid = self.is_valid(changed)
                others |= valid
                if (here := valid & same).any():
                    same[here] = (self.canonical(changed[here]) == own[here]).all(axis=1)
            active[:, j] = ~(same & others)
        first = np.where(active, archs, 0)
        alike = self.is_valid(first)
        alike[alike] = (self.canonical(first[alike]) == own[alike]).all(axis=1)
        active[~alike] = True
        return active

    def distinct(self, archs: Archs) -> NDArray[np.int64]:
        """Indices of the first architecture of each network (:meth:`as_networks`), ascending, ``(m,)``."""
        _, first = np.unique(self.as_networks(archs), axis=0, return_index=True)
        return np.sort(first)

    def format(self, arch: Archs) -> str:
        """Text form of one architecture: options joined by ``_`` unless the space has an official form."""
        return "_".join(self.choices[j].options[int(v)] for j, v in enumerate(np.asarray(arch).ravel()))

    def format_all(self, archs: Archs) -> list[str]:
        """Text forms of a population."""
        return [self.format(a) for a in np.atleast_2d(archs)]

    def parse(self, text: str) -> Archs:
        """The row ``(d,)`` that a text form names, the inverse of :meth:`format`.

        Also reads the integers themselves, separated by commas, blanks or underscores; ambiguous text (options
        named "1", "2", joined by underscores) is read as :meth:`format` writes it.

        Raises:
            InvalidArchitecture: the text does not name a member.
        """
        parts = text.strip().split("_")
        named = len(parts) == self.d and all(p in c.options for p, c in zip(parts, self.choices, strict=True))
        row = None if named else self._parse_integers(text)
        if row is None:
            if len(parts) != self.d:
                raise self._wrong_number(text, "_")
            row = np.array([self._option(j, part) for j, part in enumerate(parts)], dtype=np.int64)
        return self.as_archs(row)[0]

    def _wrong_number(self, text: str, separator: str) -> InvalidArchitecture:
        """The error of a text of another number of options, or of integers, than there are choices."""
        if _INTEGERS.fullmatch(text.strip()):
            count = len(re.findall("[0-9]+", text))
            needed = f"an architecture has {self.d}, one for each choice"
            return InvalidArchitecture(f"{self.name}: {text[:60]!r} holds {count} integers; {needed}")
        return InvalidArchitecture(
            f"{self.name}: expected {self.d} options joined by {separator!r}, or {self.d} integers with commas; got "
            f"{text!r}"
        )

    def _parse_integers(self, text: str) -> Archs | None:
        """The row of a text of as many integers as there are choices; None for another text."""
        parts = text.strip().strip("()[]").replace(",", " ").replace("_", " ").split()
        if len(parts) != self.d or not all(p.isascii() and p.isdigit() and len(p) <= LONGEST_INTEGER for p in parts):
            return None
        return np.array([int(p) for p in parts], dtype=np.int64)

    def _option(self, choice: int, label: str) -> int:
        options = self.choices[choice].options
        if label not in options:
            raise InvalidArchitecture(
                f"{self.name}: {self.choices[choice].name} is {label!r}, must be one of {', '.join(options)}"
            )
        return options.index(label)

    def index(self, archs: Archs) -> NDArray[np.int64]:
        """Official index of each architecture, shape ``(n,)``; by default its position in :meth:`enumerate`."""
        if not self.enumerable or self.size != prod(int(s) for s in self.sizes):
            raise Unsupported(f"{self.name} has no index")
        return np.ravel_multi_index(tuple(np.asarray(archs).T), tuple(self.sizes)).astype(np.int64)

    def from_index(self, index: Any) -> Archs:
        """Architectures of these official indices, the inverse of :meth:`index`."""
        index = np.atleast_1d(np.asarray(index))
        if index.size and (index.min() < 0 or index.max() >= self.size):
            bad = index[(index < 0) | (index >= self.size)][0]
            raise InvalidArchitecture(f"{self._called} has indices 0 to {self.size - 1}; got {bad}")
        return self.enumerate()[index]

    def enumerate(self) -> Archs:
        """Every valid architecture, shape ``(size, d)``, in the order of the official index where there is one.

        Raises:
            Unsupported: the space is too large.
        """
        if not self.enumerable:
            raise Unsupported(f"{self.name} has {self.size:.3g} architectures and cannot be enumerated; sample it")
        grid = np.indices(tuple(self.sizes)).reshape(self.d, -1).T.astype(np.int64)
        return grid[self.is_valid(grid)]

    # ---- moves

    def sample(self, n: int, seed: Seed = None, unique: bool = False) -> Archs:
        """Draw valid architectures uniformly, shape ``(n, d)``.

        Args:
            n: number of architectures.
            seed: an integer, a generator (which is advanced), or None.
            unique: draw without replacement (rows differ; canonical forms may still agree).

        Raises:
            InvalidValue: `unique` and the space has fewer than `n`.
        """
        rng = np.random.default_rng(seed)
        if unique and n > self.size:
            raise InvalidValue(f"{self._called} has only {self.size} architectures; {n} different ones were requested")
        if unique and self.enumerable:
            everything = self.enumerate()
            return everything[rng.choice(len(everything), n, replace=False)]
        drawn = self._sample(n, rng)
        while unique:
            _, first = np.unique(drawn, axis=0, return_index=True)
            if len(first) == n:
                break
            drawn = np.concatenate([drawn[np.sort(first)], self._sample(n - len(first), rng)])
        return drawn

    def sample_networks(self, n: int, seed: Seed = None) -> Archs:
        """Draw architectures of different networks (:meth:`as_networks`), ``(n, d)``; arguments as of :meth:`sample`.

        Raises:
            InvalidValue: the space has fewer networks, or none of :data:`FRUITLESS_DRAWS` draws in turn found another.
        """
        rng = np.random.default_rng(seed)
        drawn = self.sample(n, rng, unique=True)
        drawn = drawn[self.distinct(drawn)]
        fruitless = 0
        while len(drawn) < n and fruitless < FRUITLESS_DRAWS:
            before = len(drawn)
            more = rng.permutation(self.enumerate()) if self.enumerable else self.sample(n, rng)
            drawn = np.concatenate([drawn, more])
            drawn = drawn[self.distinct(drawn)][:n]
            fruitless = FRUITLESS_DRAWS if self.enumerable else 0 if len(drawn) > before else fruitless + 1
        if len(drawn) < n:
            raise InvalidValue(f"{n} different networks were requested; {self._called} has only {len(drawn)}")
        return drawn

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        kept = np.empty((0, self.d), dtype=np.int64)
        while len(kept) < n:
            drawn = rng.integers(0, self.sizes, size=(max(n - len(kept), 16), self.d))
            kept = np.concatenate([kept, drawn[self.is_valid(drawn)]])
        return kept[:n]

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """Change `n_changes` random choices of each row to another option, shape ``(n, d)``, rows valid."""
        rng = np.random.default_rng(seed)
        parents = np.asarray(archs)
        children = parents.copy()
        todo = np.arange(len(parents))
        free = np.flatnonzero(self.sizes > 1)
        n_changes = min(n_changes, len(free))
        while len(todo):
            order = rng.random((len(todo), len(free))).argsort(axis=1)[:, :n_changes]
            columns = free[order]
            rows = todo[:, None]
            shift = rng.integers(1, self.sizes[columns])
            fresh = parents[todo].copy()
            np.put_along_axis(fresh, columns, (parents[rows, columns] + shift) % self.sizes[columns], axis=1)
            valid = self.is_valid(fresh)
            children[todo[valid]] = fresh[valid]
            todo = todo[~valid]
        return children

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        """Uniform crossover of paired rows, shape ``(n, d)``; where the child is invalid, the first parent."""
        rng = np.random.default_rng(seed)
        child = np.where(rng.random(np.shape(a)) < 0.5, a, b)
        return np.where(self.is_valid(child)[:, None], child, a)

    def neighbours(self, arch: Archs) -> Archs:
        """All valid architectures that differ in exactly one choice, shape ``(m, d)``."""
        arch = np.asarray(arch).ravel()
        columns = np.repeat(np.arange(self.d), self.sizes - 1)
        shift = np.concatenate([np.arange(1, s) for s in self.sizes])
        rows = np.repeat(arch[None], len(columns), axis=0)
        rows[np.arange(len(columns)), columns] = (arch[columns] + shift) % self.sizes[columns]
        return rows[self.is_valid(rows)]

    # ---- features

    def one_hot(self, archs: Archs) -> NDArray[np.float64]:
        """Concatenated one-hot choices, shape ``(n, sum(sizes))``."""
        archs = np.asarray(archs)
        hot = np.zeros((len(archs), int(self.sizes.sum())))
        np.put_along_axis(hot, archs + self._offsets, 1.0, axis=1)
        return hot

    def count_matrix(self, grouped: bool = False) -> tuple[NDArray[np.float64], list[str]]:
        """A matrix ``(sum(sizes), k)`` that turns one-hots into option counts, and the names of the ``k`` counts.

        Choices that offer the same options are counted together: over the whole architecture, or with `grouped` within
        each group of choices (``k = 0`` if there is only one group).
        """
        kinds = list(dict.fromkeys(c.options for c in self.choices))
        groups = list(dict.fromkeys(c.group for c in self.choices))
        columns: list[NDArray[np.float64]] = []
        names: list[str] = []
        for k, options in enumerate(kinds):
            for group in (groups if len(groups) > 1 else []) if grouped else [None]:
                members = [j for j, c in enumerate(self.choices) if c.options == options and group in (None, c.group)]
                if not members:
                    continue
                for o, option in enumerate(options):
                    column = np.zeros(int(self.sizes.sum()))
                    column[self._offsets[members] + o] = 1.0
                    columns.append(column)
                    prefix = [f"choice{k}"] if len(kinds) > 1 else []
                    names.append(":".join([*prefix, *([group] if group else []), option]))
        return np.stack(columns, axis=1) if columns else np.empty((int(self.sizes.sum()), 0)), names

    # `*_: Any` beside `**options: Any` lets a space name its options: to a type checker any signature then fits.

    def statics(self, archs: Archs, *_: Any, **options: Any) -> dict[str, NDArray[np.float64]]:
        """Counts from closed forms: ``params`` (number), ``flops`` (multiply-adds of one input) and the like.

        The values are free and exact for the network that :meth:`build` makes with the same `options`. A space without
        a closed form returns ``{}``.
        """
        return {}

    def graph(self, arch: Archs) -> nx.DiGraph:
        """Directed acyclic graph with an ``op`` label per node, from one labelled "input" to one labelled "output".

        By default a chain of the choices.
        """
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        previous = "input"
        for choice, value in zip(self.choices, np.asarray(arch).ravel(), strict=True):
            graph.add_node(choice.name, op=choice.options[int(value)])
            graph.add_edge(previous, choice.name)
            previous = choice.name
        graph.add_node("output", op="output")
        graph.add_edge(previous, "output")
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The graphs of several architectures as arrays, with the same labels and number of nodes in every call.

        By default they come from :meth:`graph`. If 200 sampled graphs, and the neighbours of one of them, have the same
        edges, and each node's operation is fixed or set by one choice, no loop is needed (`adjacency` is then a
        read-only view that takes no memory). Otherwise each graph is built, at about 0.1 ms each; the number of nodes
        is the largest among the sampled architectures and those found by hill climbing over :meth:`neighbours`. Nodes
        are in the order of :meth:`graph` as far as the edges allow; unused ones come before the last.

        A space whose edges depend on the architecture overrides this with array operations.

        Raises:
            InvalidArchitecture: a graph has an operation that no sampled graph has, or more nodes.
        """
        archs = np.asarray(archs).reshape(-1, self.d)
        if self._fixed_graph is not None:
            return self._fixed_graph.of(archs)
        labels, nodes = self._graph_survey
        place = {label: i for i, label in enumerate(labels)}
        operations = np.full((len(archs), nodes), place["none"])
        adjacency = np.zeros((len(archs), nodes, nodes), dtype=bool)
        for i, arch in enumerate(archs):
            found, sources, targets = _read_graph(self.graph(arch))
            strange = next((label for label in found if label not in place), None)
            if strange is not None or len(found) > nodes:
                what = f"{len(found)} nodes" if strange is None else f"the operation {strange!r}"
                raise InvalidArchitecture(
                    f"{self.name}: the graph of {self.format(arch)} has {what}, which no sampled one has; "
                    f"override {type(self).__name__}.graphs"
                )
            numbers = [place[label] for label in found]
            operations[i, : len(found) - 1], operations[i, -1] = numbers[:-1], numbers[-1]
            adjacency[i, sources, targets] = True
        return Graphs(labels, operations, adjacency)

    @cached_property
    def _fixed_graph(self) -> _FixedGraph | None:
        """What sampled graphs share; None if their edges differ or no single choice sets a node's operation."""
        archs = self.sample(SAMPLED_GRAPHS, seed=0)
        archs = np.concatenate([archs, self.neighbours(archs[0])])  # every option of every choice
        first = self.graph(archs[0])
        nodes, edges = list(first.nodes), set(first.edges)
        labels: list[list[str]] = []
        for arch in archs:
            graph = self.graph(arch)
            if list(graph.nodes) != nodes or set(graph.edges) != edges:
                return None
            labels.append([op for _, op in graph.nodes(data="op")])
        columns = dict(zip(nodes, zip(*labels, strict=True), strict=True))
        place = {node: i for i, node in enumerate(_topological_order(first))}
        choices: list[int | None] = []
        options: list[tuple[str, ...]] = []
        for node in place:
            choice = None
            if len(set(columns[node])) > 1:
                choice = self._choice_of(archs, str(node), columns[node])
                if choice is None:
                    return None
            choices.append(choice)
            options.append(columns[node][:1] if choice is None else self.choices[choice].options)
        names = tuple(dict.fromkeys(["input", "output", *(label for some in options for label in some)]))
        adjacency = np.zeros((len(place), len(place)), dtype=bool)
        for a, b in edges:
            adjacency[place[a], place[b]] = True
        return _FixedGraph(names, choices, [np.array([names.index(x) for x in some]) for some in options], adjacency)

    def _choice_of(self, archs: Archs, node: str, labels: Sequence[str]) -> int | None:
        """The choice whose options are a node's labels in `archs`; among several, the one with the node's name."""
        matching = [
            j
            for j, choice in enumerate(self.choices)
            if all(choice.options[v] == label for v, label in zip(archs[:, j], labels, strict=True))
        ]
        named = [j for j in matching if self.choices[j].name.split()[-1] == node.split()[-1]]
        return next(iter([*named, *matching]), None)

    @cached_property
    def _graph_survey(self) -> tuple[tuple[str, ...], int]:
        """Labels and largest number of nodes of sampled graphs and of a hill climb from them to larger graphs."""
        seen: set[str] = set()
        around, most = self.sample(SAMPLED_GRAPHS, seed=0), 1
        while len(around):
            found = [_read_graph(self.graph(arch))[0] for arch in around]
            seen.update(*found)
            sizes = [len(labels) for labels in found]
            if max(sizes) <= most:
                break
            most = max(sizes)
            around = self.neighbours(around[sizes.index(most)])
        return tuple(dict.fromkeys(["input", "output", "none", *sorted(seen)])), max(most, 2)

    def build(self, arch: Archs, *_: Any, **options: Any) -> torch.nn.Module:
        """The network of one architecture, freshly initialised, mapping a batch of inputs to logits.

        A space that is only searched on a table or with the user's own functions can do without.

        Raises:
            Unsupported: it does.
        """
        raise Unsupported(f"the space {self.whole.name} builds no networks: it has no method build(self, arch)")

    @property
    def has_networks(self) -> bool:
        """Whether the space defines :meth:`build`."""
        return type(self).build is not SearchSpace.build

    def need_networks(self, what: str) -> None:
        """Refuse a space without :meth:`build` before any work.

        Args:
            what: needs networks, for the message ("latency").

        Raises:
            Unsupported: the space does not define `build`.
        """
        if not self.has_networks:
            raise Unsupported(
                f"{what} needs networks, and the space {self.whole.name} builds none: define build(self, arch) and "
                "input_shape(self) on it"
            )

    def supernet(self, *_: Any, **options: Any) -> torch.nn.Module:
        """One network that holds the weights of all architectures, freshly initialised; options as for :meth:`build`.

        Calling it with inputs and an architecture, integers ``(d,)`` or a float one-hot ``(sum(sizes),)`` through which
        gradients flow, returns logits. Its method `hand_over(network, arch)` copies the weights of an architecture
        into the network that :meth:`build` made of it.
        """
        raise Unsupported(f"the space {self.whole.name} has no supernet; nasbench201 has one")

    def input_shape(self, *_: Any, **options: Any) -> tuple[int, ...]:
        """Shape of one input of the network that :meth:`build` makes with these options, without the batch."""
        raise Unsupported(f"{self.whole.name} does not define the input shape of its networks")

    def vocabulary(self, *_: Any, **options: Any) -> int | None:
        """Vocabulary size if inputs are tokens ``(length,)``; None for images and the like."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """State for pickling and copying: without cached properties, which can be computed again."""
        cls = type(self)
        return {k: v for k, v in vars(self).items() if not isinstance(getattr(cls, k, None), cached_property)}

    def __repr__(self) -> str:
        return f"<space {self.name}: {self.d} choices, {self.size:.6g} architectures>"
