"""Methods that spaces inherit, and broken spaces that the conformance kit must find."""

import pickle

import numpy as np
import pytest
import torch
from graph_toys import Line, LineByGraph, Wires, WiresByGraph

import nastk
from nastk.bench import proxy_cost
from nastk.errors import InvalidArchitecture, InvalidValue, Unsupported
from nastk.oracles.counts import Params
from nastk.oracles.latency import Latency
from nastk.oracles.training import Training
from nastk.oracles.zerocost import ZeroCost
from nastk.registry import SPACES
from nastk.testing import check_space


class Small(nastk.SearchSpace):
    """Two to four layers of one of three widths, whose second half must not be wider; no network."""

    name = "small"
    choices = (
        nastk.Choice("depth", ("2", "3", "4")),
        nastk.Choice("first", ("8", "16", "32")),
        nastk.Choice("second", ("8", "16", "32")),
    )

    @property
    def size(self):
        return 18

    def is_valid(self, archs):
        return archs[:, 2] <= archs[:, 1]

    def index(self, archs):
        places = {row.tobytes(): i for i, row in enumerate(self.enumerate())}
        return np.array([places[row.tobytes()] for row in np.ascontiguousarray(archs)])

    def build(self, arch, **options):
        raise Unsupported("small has no networks")


SMALL = {
    "edgetpu": {"input_size": 32, "num_classes": 10},
    "hat": {"vocabulary": 50, "length": 3, "shrink": 16},
}
"""Options of spaces whose networks take seconds to count."""


@pytest.mark.parametrize("name", [n for n, e in SPACES.entries.items() if not e.family])
def test_every_registered_space_keeps_the_contract(name: str):
    check_space(nastk.space(name), n=24, **SMALL.get(name, {}))


def test_a_space_with_invalid_rows_keeps_the_contract():
    check_space(Small())


@pytest.mark.parametrize("space", [Wires, Line, WiresByGraph, LineByGraph])
def test_spaces_whose_edges_vary_keep_the_contract(space: type[nastk.SearchSpace]):
    check_space(space())


class Bare(nastk.SearchSpace):
    """Without networks: it has no `build`."""

    name = "bare"
    choices = (nastk.Choice("width", ("8", "16")), nastk.Choice("depth", ("1", "2", "3")))


def test_a_space_needs_no_networks():
    check_space(Bare())
    assert not Bare().has_networks
    assert not nastk.Pool(Bare(), [[0, 1]]).has_networks
    assert Small().has_networks
    with pytest.raises(Unsupported, match="the space bare builds no networks"):
        Bare().build(Bare().sample(1, 0)[0])


@pytest.mark.parametrize(
    "use",
    [
        lambda space: Latency(space),
        lambda space: Params(space),
        lambda space: ZeroCost(space, ["snip"], "random"),
        lambda space: Training(space, *[(torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.long))] * 3),
        lambda space: proxy_cost.run(space),
        lambda space: proxy_cost.memory(space),
    ],
)
@pytest.mark.parametrize("make", [Bare, lambda: nastk.Pool(Bare(), [[0, 1], [1, 1]])])
def test_what_needs_networks_refuses_a_space_without_them_before_any_work(use, make):
    with pytest.raises(Unsupported, match=r"needs networks, and the space bare(-pool)? builds none: define build"):
        use(make())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("name = 'x'", "needs choices"),
        ("choices = (nastk.Choice('a', ('1', '2')),)", "needs a name"),
        ("name = 'x'; choices = ('a', 'b')", "needs choices"),
        ("name = 'x'; choices = (nastk.Choice('a', ()),)", "needs choices"),
        ("name = ''; choices = (nastk.Choice('a', ('1', '2')),)", "needs a name"),
        ("__init__ = lambda self: 1 / 0", "cannot be created: ZeroDivisionError: division by zero"),
        ("__init__ = lambda self, size: None", "missing a required argument: 'size'"),
    ],
)
def test_a_space_of_ones_own_that_lacks_something_is_one_line(tmp_path, body, message):
    (tmp_path / "lacks.py").write_text(f"import nastk\nclass Space(nastk.SearchSpace):\n    {body}\n")
    with pytest.raises(InvalidValue, match=message):
        nastk.space(f"{tmp_path}/lacks.py:Space")


@pytest.mark.parametrize("text", ["²_²_²", "9" * 5000, "0_0_" + "9" * 30, "٣_٣_٣٣"])
def test_digits_that_are_no_numbers_of_the_space_are_refused(text):
    with pytest.raises(InvalidArchitecture):
        Small().parse(text)


def test_a_pool_of_one_keeps_the_contract():
    check_space(nastk.Pool(Small(), [[0, 1, 1]]), n=4)


def test_options_named_by_digits_are_read_as_they_are_written():
    assert Small().parse("2_16_8").tolist() == [0, 1, 0]
    assert Small().parse("2,1,1").tolist() == [2, 1, 1]
    assert Small().parse("2_1_1").tolist() == [2, 1, 1]


def test_drawing_is_uniform_over_the_valid_rows():
    counts = np.bincount(Small().index(Small().sample(18_000, 0)), minlength=18)
    assert abs(counts - 1000).max() < 150


@pytest.mark.parametrize("digits", ["²", "٣", "9" * 30, "1" * 5000])
def test_digits_that_are_no_index_are_refused(digits):
    with pytest.raises(InvalidArchitecture):
        Small().parse(",".join([digits] * Small().d))


def test_a_row_that_is_not_valid_is_refused_by_its_text():
    with pytest.raises(InvalidArchitecture, match="4_8_32"):
        Small().as_archs([2, 0, 2])


def test_a_pool_refuses_what_it_does_not_hold():
    pool = nastk.Pool(Small(), Small().sample(5, 0))
    assert pool.size == len(np.unique(Small().sample(5, 0), axis=0))
    outside = next(a for a in Small().enumerate() if not pool.is_valid(a[None])[0])
    with pytest.raises(InvalidArchitecture):
        pool.as_archs(outside)


def test_a_pool_knows_the_space_that_its_members_belong_to():
    space = Small()
    pool = nastk.Pool(space, space.sample(5, 0))
    assert space.whole is space
    assert pool.whole is nastk.Pool(pool, pool.members[:2]).whole is space


def test_an_empty_pool_is_refused():
    with pytest.raises(InvalidValue, match="at least one"):
        nastk.Pool(Small(), [])


# ---- graphs as arrays


@pytest.mark.parametrize("name", ["nasbench201", "fbnet"])
def test_graphs_with_fixed_edges_are_made_without_loops(name: str, monkeypatch: pytest.MonkeyPatch):
    space = nastk.space(name)
    archs = space.sample(300, 1)
    one_by_one = [space.graph(arch) for arch in archs]
    space.graphs(archs[:1])
    monkeypatch.setattr(type(space), "graph", None)
    graphs = space.graphs(archs)
    assert graphs.adjacency.strides[0] == 0, "the edges of all graphs are one matrix"
    for row, edges, graph in zip(graphs.operations, graphs.adjacency, one_by_one, strict=True):
        nodes = list(graph)
        assert [graphs.labels[op] for op in row] == [op for _, op in graph.nodes(data="op")]
        assert {(nodes[a], nodes[b]) for a, b in np.argwhere(edges)} == set(graph.edges)
    assert space.graphs(archs[0]).operations.shape == (1, graphs.operations.shape[1]), "one row is one graph"


class Renamed(Line):
    """Three layers whose labels are not the options' texts, so that no choice tells a node's operation."""

    graphs = nastk.SearchSpace.graphs

    def graph(self, arch):
        graph = super().graph([1, *arch[1:]])
        for _, node in graph.nodes(data=True):
            node["op"] = node["op"].replace("conv", "convolution")
        return graph


def test_labels_that_no_choice_has_are_read_graph_by_graph():
    graphs = Renamed().graphs(Renamed().sample(50, 0))
    assert graphs.labels == ("input", "output", "none", "convolution", "pool", "skip")
    assert graphs.operations.shape == (50, 5)
    assert graphs.used.all()


class Doubtful(nastk.SearchSpace):
    """Two choices with the same options; the graph's node is named after the second."""

    name = "doubtful"
    choices = tuple(nastk.Choice(n, ("x", "y")) for n in ("first", "second"))
    build = Small.build

    def is_valid(self, archs):
        return (archs == archs[:, :1]).all(axis=1)

    def graph(self, arch):
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_node("out", op="output")
        graph.add_node("the second", op="xy"[arch[1]])
        graph.add_node("in", op="input")
        graph.add_edges_from([("in", "the second"), ("the second", "out")])
        return graph


def test_a_node_follows_the_choice_of_its_name_and_nodes_are_sorted_topologically():
    graphs = Doubtful().graphs(np.array([[0, 1], [1, 0]]))
    assert [graphs.labels[op] for op in graphs.operations[0]] == ["input", "y", "output"]
    assert [graphs.labels[op] for op in graphs.operations[1]] == ["input", "x", "output"]
    assert np.argwhere(graphs.adjacency[0]).tolist() == [[0, 1], [1, 2]]


class Optional(nastk.SearchSpace):
    """Twenty layers, each there or not: no sampled graph has all."""

    name = "optional"
    choices = tuple(nastk.Choice(f"layer {i}", ("here", "off")) for i in range(20))
    build = Small.build

    def graph(self, arch):
        graph = super().graph(arch)
        for node in [n for n, op in graph.nodes(data="op") if op == "off"]:
            graph.add_edges_from((a, b) for a in graph.predecessors(node) for b in graph.successors(node))
            graph.remove_node(node)
        return graph


def test_the_largest_graph_is_found_though_no_sample_has_it():
    graphs = Optional().graphs(np.array([[0] * 20, [1] * 20, [0, 1] * 10]))
    assert graphs.used.sum(axis=1).tolist() == [22, 2, 12]
    assert graphs.adjacency[:, 0, -1].tolist() == [False, True, False]
    assert (graphs.adjacency.sum(axis=(1, 2)) == graphs.used.sum(axis=1) - 1).all()


class Rare(Line):
    """One architecture of a million has another operation, or more nodes than others."""

    graphs = nastk.SearchSpace.graphs

    def graph(self, arch):
        graph = super().graph(arch)
        if (arch[1:] == 2).all():
            for i in range(20 if arch[0] == 7 else 0):
                graph.add_node(f"more {i}", op="conv")
            graph.nodes[1]["op"] = "strange" if arch[0] != 7 else "conv"
        return graph


def test_what_no_sampled_graph_has_is_refused_in_one_line():
    for depth, message in ((0, "operation 'strange'"), (7, "31 nodes")):
        said = f"^line: the graph of {depth + 2}_skip.* has .*{message}.*Rare.graphs$"
        with pytest.raises(InvalidArchitecture, match=said):
            Rare().graphs(np.array([[depth, *[2] * 9]]))


# ---- the kit on broken spaces


class MutantsLeave(Small):
    def mutate(self, archs, seed=None, n_changes=1):
        children = super().mutate(archs, seed, n_changes)
        children[:, 1:] = [0, 2]
        return children


class MutantsStay(Small):
    def mutate(self, archs, seed=None, n_changes=1):
        return archs.copy()


class ParentsChange(Small):
    def mutate(self, archs, seed=None, n_changes=1):
        archs[:] = super().mutate(archs, seed, n_changes)
        return archs


class CanonicalWanders(Small):
    def canonical(self, archs):
        return np.stack([(archs[:, 0] + 1) % 3, archs[:, 1], archs[:, 2]], axis=1)


class CanonicalLooksAround(Small):
    def canonical(self, archs):
        return np.repeat(archs[:1], len(archs), axis=0)


class KeysForget(Small):
    def keys(self, archs):
        return [0] * len(archs)


class TextLoses(Small):
    def format(self, arch):
        return "_".join(["2", *super().format(arch).split("_")[1:]])


class ParsesAnything(Small):
    def parse(self, text):
        try:
            return super().parse(text)
        except InvalidArchitecture:
            return np.zeros(3, dtype=np.int64)


class ErrorsRamble(Small):
    def parse(self, text):
        try:
            return super().parse(text)
        except InvalidArchitecture as error:
            raise InvalidArchitecture(f"{error}\nand more") from None


class IsItsOwnNeighbour(Small):
    def neighbours(self, arch):
        return np.concatenate([super().neighbours(arch), np.asarray(arch)[None]])


class NeighboursTwice(Small):
    def neighbours(self, arch):
        return np.tile(super().neighbours(arch), (2, 1))


class DrawsAtWill(Small):
    def _sample(self, n, rng):
        return super()._sample(n, np.random.default_rng())


class DrawsTheSame(nastk.SearchSpace):
    name = "same"
    choices = tuple(nastk.Choice(f"c{i}", ("a", "b", "c", "d")) for i in range(5))
    build = Small.build

    def sample(self, n, seed=None, unique=False):
        return super().sample(n, 0, unique)


class DrawsInvalid(Small):
    def _sample(self, n, rng):
        return rng.integers(0, 3, (n, 3))


class Miscounts(Small):
    @property
    def size(self):
        return 27


class IndexIsOff(Small):
    def index(self, archs):
        return super().index(archs)[::-1]


class SizeIsFloat(Small):
    @property
    def size(self):
        return 18.0


class StaticsLookAround(Small):
    def statics(self, archs, **options):
        return {"params": np.arange(len(archs), dtype=float)}


class WrongCounts(Small):
    def statics(self, archs, **options):
        return {"params": np.full(len(archs), 7.0)}

    def build(self, arch, **options):
        import torch

        return torch.nn.Linear(3, 3)

    def input_shape(self, **options):
        return (3,)


class GraphTurns(Small):
    def graph(self, arch):
        graph = super().graph(arch)
        graph.add_edge("output", "input")
        return graph


class GraphWithoutLabels(Small):
    def graph(self, arch):
        graph = super().graph(arch)
        graph.add_node("bare")
        return graph


class GraphsLoseAnEdge(Wires):
    def graphs(self, archs):
        graphs = super().graphs(archs)
        graphs.adjacency[:, 1, 4] = False
        return graphs


class GraphsSwapEdges(Wires):
    """As many edges, but others: the first operation feeds the output, where it fed the second."""

    def graphs(self, archs):
        graphs = super().graphs(archs)
        swapped = graphs.adjacency[:, 1, 2] & ~graphs.adjacency[:, 1, 4]
        graphs.adjacency[swapped, 1, 2] = False
        graphs.adjacency[swapped, 1, 4] = True
        return graphs


class GraphsTwist(Small):
    """As many edges between convolutions as there should be, but between others."""

    def graph(self, arch):
        import networkx as nx

        graph = nx.DiGraph([(0, 1), (1, 2), (2, 4), (0, 3), (3, 4)])
        for node, op in enumerate(["input", "conv", "conv", "conv", "output"]):
            graph.add_node(node, op=op)
        return graph

    def graphs(self, archs):
        graphs = super().graphs(archs)
        adjacency = np.zeros(graphs.adjacency.shape, dtype=bool)
        for a, b in ((0, 1), (0, 2), (1, 2), (1, 4), (2, 4)):
            adjacency[:, a, b] = True
        return graphs._replace(adjacency=adjacency)


class GraphsMisread(Wires):
    def graphs(self, archs):
        graphs = super().graphs(archs)
        return graphs._replace(operations=np.where(graphs.operations == 3, 4, graphs.operations))


class GraphsShrink(Wires):
    """Without the vertices that no given architecture uses."""

    def graphs(self, archs):
        graphs = super().graphs(archs)
        kept = np.flatnonzero(graphs.used.any(axis=0))
        return graphs._replace(operations=graphs.operations[:, kept], adjacency=graphs.adjacency[:, kept][:, :, kept])


class GraphsBackwards(Wires):
    def graphs(self, archs):
        graphs = super().graphs(archs)
        return graphs._replace(adjacency=graphs.adjacency.transpose(0, 2, 1))


class GraphsEndEarly(Wires):
    def graphs(self, archs):
        graphs = super().graphs(archs)
        graphs.operations[:, -1] = 3
        return graphs


class GraphsLookAround(Line):
    def graphs(self, archs):
        graphs = super().graphs(archs)
        return graphs._replace(operations=np.where(graphs.used, graphs.operations[:1], 2))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (MutantsLeave, "mutate left the space"),
        (MutantsStay, "unchanged"),
        (ParentsChange, "mutate changes its argument"),
        (CanonicalWanders, "not idempotent"),
        (CanonicalLooksAround, "depends on the other rows"),
        (KeysForget, "keys must be equal exactly"),
        (TextLoses, "round-trip"),
        (ParsesAnything, "must raise InvalidArchitecture"),
        (ErrorsRamble, "several lines"),
        (IsItsOwnNeighbour, "include the architecture itself"),
        (NeighboursTwice, "neighbours repeat"),
        (DrawsAtWill, "sample is not deterministic"),
        (DrawsTheSame, "does not advance the generator"),
        (DrawsInvalid, "sample left the space"),
        (Miscounts, "size is 27, but enumerate lists 18"),
        (IndexIsOff, "index is not the inverse"),
        (SizeIsFloat, "Python integer"),
        (StaticsLookAround, "statics 'params' of a row depends"),
        (WrongCounts, "statics says 7 params, the built network has 12"),
        (GraphTurns, "cycle"),
        (GraphWithoutLabels, "no op label"),
        (GraphsLoseAnEdge, "different edges"),
        (GraphsSwapEdges, "different edges"),
        (GraphsTwist, "different edges"),
        (GraphsMisread, "different operations"),
        (GraphsShrink, "number of nodes of graphs depends"),
        (GraphsBackwards, "topological order"),
        (GraphsEndEarly, "last node of graphs must be the output"),
        (GraphsLookAround, "depend on the other rows"),
    ],
)
def test_the_kit_finds_what_is_broken(broken: type[nastk.SearchSpace], message: str):
    with pytest.raises(AssertionError, match=message):
        check_space(broken())


@pytest.mark.parametrize("name", ["nasbench201", "transbench101-micro", "transbench101-macro", "fbnet"])
def test_what_a_space_computed_is_not_pickled(name):
    space = nastk.space(name)
    archs = space.sample(5, 0)
    keys = space.keys(archs)
    space.graphs(archs)
    assert len(pickle.dumps(space)) < 1000
    assert pickle.loads(pickle.dumps(space)).keys(archs) == keys
