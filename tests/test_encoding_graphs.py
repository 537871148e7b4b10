"""Encodings of the operation graph: paths, arrows and operations, an unsupervised code."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

import nastk
from nastk.encodings.adjacency import Adjacency
from nastk.encodings.arch2vec import Arch2vec
from nastk.spaces.base import Archs


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


def test_arrows_that_vary_are_seen_by_every_encoding() -> None:
    space = Wiring()
    archs = np.array([[0, 1, 0], [0, 1, 1]])
    adjacency = nastk.encoding("adjacency").fit(space)
    assert set(adjacency.names_) == {"arrow 0-2", "arrow 1-2", *(f"node {i} {o}" for i in (1, 2) for o in "ab")}
    bits = dict(zip(adjacency.names_, adjacency.transform(archs).T, strict=True))
    assert bits["arrow 0-2"].tolist() == [1, 0]
    assert bits["arrow 1-2"].tolist() == [0, 1]
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
    assert ((first.decode(codes) > 0.5) == (bits > 0.5)).mean() > 0.98, "guessing the commoner value gives .80"
