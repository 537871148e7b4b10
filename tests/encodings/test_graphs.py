"""Encodings of the operation graph: paths, edges and operations, an unsupervised code."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
from effort import calls
from graph_toys import Line, LineByGraph, Wires, WiresByGraph

import nastk
from nastk.encodings.adjacency import Adjacency
from nastk.encodings.arch2vec import Arch2vec
from nastk.errors import Unsupported
from nastk.spaces.base import Archs
from nastk.testing import check_encoding


@pytest.fixture
def cells() -> nastk.SearchSpace:
    return nastk.space("nasbench201")


def test_paths_of_known_cells(cells: nastk.SearchSpace) -> None:
    encoding = nastk.encoding("path").fit(cells)
    assert len(encoding.names_) == 4 + 16 + 64, "paths of one, two and three operations that let something through"

    def paths(text: str) -> set[str]:
        row = encoding.transform(cells.parse(text)[None])[0]
        return {name for name, there in zip(encoding.names_, row, strict=True) if there}

    assert paths("|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|skip_connect~2|") == {
        "nor_conv_3x3 > avg_pool_3x3",
        "skip_connect > skip_connect",
        "nor_conv_3x3 > nor_conv_3x3 > skip_connect",
    }
    assert paths("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|") == set()


def test_a_chain_is_read_as_operations_and_neighbours() -> None:
    space = nastk.space("fbnet")
    encoding = nastk.encoding("path").fit(space)
    arch = np.zeros(22, dtype=np.int64)
    arch[11:] = 1
    first, second = space.choices[0].options[:2]
    row = encoding.transform(arch[None])[0]
    there = {name for name, value in zip(encoding.names_, row, strict=True) if value}
    assert there == {first, second, f"{first} > {first}", f"{first} > {second}", f"{second} > {second}"}


class Wiring(nastk.SearchSpace):
    """Two operations, the second fed by the input or by the first."""

    name = "wiring"
    choices = (
        nastk.Choice("first", ("a", "b")),
        nastk.Choice("second", ("a", "b")),
        nastk.Choice("from", ("in", "first")),
    )

    def graph(self, arch: Archs) -> nx.DiGraph:
        graph = nx.DiGraph()
        graph.add_node("0 input", op="input")
        graph.add_node("1 first", op=self.choices[0].options[int(arch[0])])
        graph.add_node("2 second", op=self.choices[1].options[int(arch[1])])
        graph.add_node("3 output", op="output")
        graph.add_edges_from([("0 input", "1 first"), ("2 second", "3 output"), ("1 first", "3 output")])
        graph.add_edge("0 input" if arch[2] == 0 else "1 first", "2 second")
        return graph

    def build(self, arch, **options):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_edges_that_vary_are_seen_by_every_encoding() -> None:
    space = Wiring()
    archs = np.array([[0, 1, 0], [0, 1, 1]])
    adjacency = nastk.encoding("adjacency").fit(space)
    assert set(adjacency.names_) == {"edge 0-2", "edge 1-2", *(f"node {i} {o}" for i in (1, 2) for o in "ab")}
    bits = dict(zip(adjacency.names_, adjacency.transform(archs).T, strict=True))
    assert bits["edge 0-2"].tolist() == [1, 0]
    assert bits["edge 1-2"].tolist() == [0, 1]
    path = nastk.encoding("path").fit(space)
    found = [{n for n, v in zip(path.names_, row, strict=True) if v} for row in path.transform(archs)]
    assert found == [{"a", "b"}, {"a", "a > b"}]
    counts = nastk.encoding("path-counts").fit(space)
    longest = counts.transform(archs)[:, counts.names_.index("any at most")]
    assert longest.tolist() == [1, 2]


def test_arch2vec_is_deterministic_and_decodes_what_it_encodes(cells: nastk.SearchSpace) -> None:
    archs = cells.sample(300, 3)
    first = Arch2vec(epochs=30).fit(cells)
    codes = first.transform(archs)
    assert codes.shape == (300, 32)
    Arch2vec._trained.clear()
    assert np.allclose(Arch2vec(epochs=30).fit(cells).transform(archs), codes)
    bits = Adjacency().fit(cells).transform(archs)
    assert ((first.decode(codes) > 0.5) == (bits > 0.5)).mean() > 0.98, "the commoner value everywhere gives .80"


# ---- edges that vary


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *((name, space) for name in ("path-counts", "path", "adjacency", "arch2vec") for space in (Wires, Line)),
        *(("path-counts", space) for space in (WiresByGraph, LineByGraph)),
    ],
)
def test_encodings_keep_the_contract_where_edges_vary(name: str, space: type[nastk.SearchSpace]) -> None:
    check_encoding(lambda: Arch2vec(epochs=10) if name == "arch2vec" else nastk.encoding(name), space())


def _paths(graph: nx.DiGraph) -> list[list[str]]:
    """Operations on every path from input to output, both left out."""
    ends = [next(n for n, op in graph.nodes(data="op") if op == end) for end in ("input", "output")]
    return [[graph.nodes[n]["op"] for n in path[1:-1]] for path in nx.all_simple_paths(graph, *ends)]


@pytest.mark.parametrize("space", [Wires(), Line(), nastk.space("nasbench101"), nastk.space("nasbench201")])
def test_path_counts_are_those_of_a_list_of_all_paths(space: nastk.SearchSpace) -> None:
    archs = space.sample(60, 7)
    encoding = nastk.encoding("path-counts").fit(space)
    found = [dict(zip(encoding.names_, row, strict=True)) for row in encoding.transform(archs)]
    for arch, features in zip(archs, found, strict=True):
        paths = [path for path in _paths(space.graph(arch)) if "none" not in path]
        free = [[op for op in path if op not in ("skip", "skip_connect")] for path in paths]
        expected: dict[str, Any] = {"paths": len(paths), "identity paths": sum(not path for path in free)}
        for label in {"any", *(name.rpartition(" in all")[0] for name in encoding.names_)} - {""}:
            counts = [len(path) if label == "any" else path.count(label) for path in free]
            alone = [count > 0 and count == len(path) for count, path in zip(counts, free, strict=True)]
            expected |= {
                f"{label} in all": sum(counts),
                f"{label} at most": max(counts, default=0),
                f"{label} at least": min(counts, default=0),
                f"{label} paths": sum(c > 0 for c in counts),
                f"{label} paths alone": sum(alone),
            }
        for name, value in features.items():
            assert value == expected.get(name, value), f"{name} of {space.format(arch)}"


@pytest.mark.parametrize("space", [Wires(), WiresByGraph(), nastk.space("nasbench101")])
def test_path_reads_every_path_where_edges_vary(space: nastk.SearchSpace) -> None:
    encoding = nastk.encoding("path").fit(space)
    archs = space.sample(60, 7)
    for arch, row in zip(archs, encoding.transform(archs), strict=True):
        there = {name for name, value in zip(encoding.names_, row, strict=True) if value}
        expected = {" > ".join(path) or "nothing between" for path in _paths(space.graph(arch))}
        assert there == expected & set(encoding.names_)
        assert len(there) >= 0.8 * len(expected), "the fit has seen most sequences"


@pytest.mark.parametrize("space", [Line(), LineByGraph()])
def test_path_reads_chains_of_variable_length_as_operations_and_neighbours(space: nastk.SearchSpace) -> None:
    encoding = nastk.encoding("path").fit(space)
    assert len(encoding.names_) == 3 + 9
    archs = space.sample(60, 7)
    for arch, row in zip(archs, encoding.transform(archs), strict=True):
        (layers,) = _paths(space.graph(arch))
        there = {name for name, value in zip(encoding.names_, row, strict=True) if value}
        assert there == {*layers, *(f"{a} > {b}" for a, b in pairwise(layers))}


def test_adjacency_tells_all_graphs_apart() -> None:
    space = Wires()
    encoding = nastk.encoding("adjacency").fit(space)
    archs = space.enumerate()[::7]
    live, on = space.live(archs)
    rows = np.concatenate([live.reshape(len(archs), -1), on[:, 1:4] * (1 + archs[:, :3])], axis=1)
    assert len(np.unique(encoding.transform(archs), axis=0)) == len(np.unique(rows, axis=0))


def test_path_counts_where_edges_differ_equal_those_of_fixed_graphs(cells: nastk.SearchSpace) -> None:
    class Loose(type(cells)):  # type: ignore[misc]
        """Does not know that all its graphs have the same edges."""

        _fixed_graph = None

    archs = cells.sample(300, 1)
    fixed, loose = (nastk.encoding("path-counts").fit(space) for space in (cells, Loose()))
    assert set(loose.names_) == set(fixed.names_)
    order = [loose.names_.index(name) for name in fixed.names_]
    assert np.array_equal(loose.transform(archs)[:, order], fixed.transform(archs))


def test_path_refuses_paths_that_are_too_long_to_list() -> None:
    class Ladder(nastk.SearchSpace):
        """A chain of thirty layers, and one edge past them all."""

        name = "ladder"
        choices = tuple(nastk.Choice(f"layer {i}", ("a", "b", "c", "d")) for i in range(30))
        build = Wiring.build

        def graph(self, arch: Archs) -> nx.DiGraph:
            graph = super().graph(arch)
            graph.add_edge("input", "output")
            return graph

    with pytest.raises(Unsupported, match="path has 30 operations"):
        nastk.encoding("path").fit(Ladder())


@pytest.mark.parametrize("name", ["path-counts", "path", "adjacency"])
def test_five_thousand_cells_of_seven_nodes_are_encoded_together(name: str) -> None:
    space = nastk.space("nasbench101")
    encoding = nastk.encoding(name).fit(space)
    archs = space.sample(5000, 0)
    assert calls(lambda: encoding.transform(archs)) < 5000
