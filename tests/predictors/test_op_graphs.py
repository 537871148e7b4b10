"""Graph networks where edges depend on the architecture: one matrix a graph, padding that nobody hears."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from graph_toys import Line, Wires, WiresByGraph

import nastk
from nastk.errors import Unsupported
from nastk.metrics import spearman
from nastk.predictors._graph_layers import encode_graphs
from nastk.predictors._multi_predict_network import Layout, initial
from nastk.predictors._op_graphs import GraphTensors, OpGraphs
from nastk.predictors._stacked_gcn import StackedGcn, flows, seeded
from nastk.predictors.base import FewShotPredictor
from nastk.predictors.brp_nas import _Network as Relation
from nastk.predictors.flan import Flan
from nastk.predictors.flan import _Network as FlanNetwork
from nastk.predictors.nasflat import Nasflat
from nastk.predictors.nasflat import _Network as NasflatNetwork
from nastk.spaces.base import Archs, Graphs, SearchSpace
from nastk.testing import example_task

CELLS = nastk.space("nasbench201")


def _flan(graphs: OpGraphs) -> Any:
    network = FlanNetwork(Flan(width=8), graphs, 0).eval()
    return lambda batch: network(batch, None)


def _nasflat(graphs: OpGraphs) -> Any:
    few = Nasflat(width=8)
    few.chain_ = False
    network = NasflatNetwork(few, graphs, 1, 0).eval()
    return lambda batch: network(batch, network.devices.expand(len(batch.numbers), -1), None)


def _stacked(graphs: OpGraphs) -> Any:
    with seeded(0, "cpu"):
        network = StackedGcn(3, len(graphs.operations), 8, 3, 8, 1, 0.0).eval()
    return lambda batch: network(flows(batch).rows(torch.arange(len(batch.numbers))[None]))


@pytest.mark.parametrize("make", [_flan, _nasflat, _stacked])
def test_one_matrix_a_graph_and_one_for_all_give_the_same(make: Any) -> None:
    graphs = OpGraphs(CELLS)
    batch = graphs(CELLS.sample(20, 0))
    assert batch.used is None
    assert batch.edges.shape == (8, 8)
    apart = GraphTensors(batch.numbers, batch.edges.expand(20, 8, 8), torch.ones(20, 8, dtype=torch.bool))
    network = make(graphs)
    with torch.no_grad():
        assert torch.allclose(network(batch), network(apart), atol=1e-6)


@pytest.mark.parametrize("make", [_flan, _nasflat, _stacked])
def test_padding_is_not_read_and_edges_are(make: Any) -> None:
    graphs = OpGraphs(Wires())
    batch = graphs(Wires().sample(50, 0))
    assert batch.used is not None
    assert 0.1 < (~batch.used).double().mean() < 0.9
    network = make(graphs)
    other = torch.where(batch.used, batch.numbers, graphs.operations.index("conv"))
    without = batch._replace(edges=torch.zeros_like(batch.edges))
    with torch.no_grad():
        assert torch.equal(network(batch), network(batch._replace(numbers=other)))
        assert not torch.isclose(network(batch), network(without)).any()


def test_gcns_of_few_shot_methods_agree_on_shared_and_own_matrices() -> None:
    graphs = OpGraphs(CELLS)
    x = graphs.convolved(CELLS.sample(20, 0))
    receivers = graphs.receivers
    assert receivers is not None
    packed = torch.cat([x, receivers.expand(20, 9, 9)], dim=2)
    for layers in (1, 2, 4):
        layout = Layout("gcn", len(graphs.operations), (8,), layers, 16, 8, 0, 0, (1,))
        weights = initial(layout, 2, torch.Generator().manual_seed(0))
        both = [encode_graphs(weights, layout, h.expand(2, *h.shape), receivers) for h in (x, packed)]
        assert both[0].shape == (2, 20, 8)
        assert torch.allclose(*both, atol=1e-6)
        assert encode_graphs(weights, layout, packed[:0].expand(2, 0, 9, -1), None).shape == (2, 0, 8)
    relation = Relation(graphs, 16, 4, 0.0).eval()
    assert torch.allclose(relation(x), relation(packed), atol=1e-6)


class Padded(Wires):
    """The same graphs with three more unused nodes."""

    def graphs(self, archs: Archs) -> Graphs:
        labels, operations, adjacency = super().graphs(archs)
        more = np.insert(operations, [2, 4, 4], labels.index("none"), axis=1)
        for axis in (1, 2):
            adjacency = np.insert(adjacency, [2, 4, 4], False, axis=axis)
        return Graphs(labels, more, adjacency)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gcn", {"epochs": 3, "width": 8}),
        ("npnas", {"epochs": 3, "width": 8, "threshold": 9.0}),
        ("brp-nas", {"epochs": 3, "width": 8, "dropout": 0.0}),
        ("brp-nas", {"epochs": 3, "width": 8, "dropout": 0.0, "relation": True}),
        ("help", {"episodes": 3, "width": 8, "references": 4}),
        ("multi-predict", {"epochs": 3, "graph_width": 8}),
    ],
)
def test_more_padding_changes_nothing(name: str, options: dict[str, Any]) -> None:
    answers = []
    for space in (Wires(), Padded()):
        predictor = nastk.predictor(name, **options)
        archs = space.sample(30, 0)
        task = example_task(space, archs=archs, device="mine")
        if isinstance(predictor, FewShotPredictor):
            predictor.pretrain([example_task(space, archs=archs, device=f"d{i}", tilt=i) for i in range(3)])
            fitted = predictor.adapt(example_task(space, archs=predictor.choose(12, 0), device="mine"))
        else:
            fitted = predictor.fit(task)
        answers.append(fitted.predict(space.sample(40, 1)).mean)
    assert np.allclose(*answers, rtol=1e-4)
    assert np.ptp(answers[0]) > 0


def _longest(archs: Archs) -> np.ndarray:
    """Most operations on one way from input to output, a skip counting little, and a little for each edge."""
    matrix = Wires().live(archs)[0]
    weight = np.array([1.0, 0.8, 0.2])[archs[:, :3]]
    longest = np.full((len(archs), 5), -np.inf)
    longest[:, 0] = 0.0
    for node in range(1, 5):
        before = np.where(matrix[:, :node, node], longest[:, :node], -np.inf).max(axis=1)
        longest[:, node] = before + (weight[:, node - 1] if node < 4 else 0.0)
    return 60.0 + 10.0 * longest[:, 4] + 0.1 * matrix.sum(axis=(1, 2))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gcn", {"epochs": 60, "width": 32}),
        ("flan", {"epochs": 30, "width": 32}),
        ("npnas", {"epochs": 60, "width": 32}),
        ("brp-nas", {"epochs": 40, "width": 48}),
    ],
)
@pytest.mark.parametrize("space", [Wires, WiresByGraph])
def test_what_lies_in_the_edges_is_learned(name: str, options: dict[str, Any], space: type[SearchSpace]) -> None:
    archs = space().sample(100, 0, unique=True)
    task = nastk.Task(space(), archs, _longest(archs), "test_accuracy", "%", "max")
    others = space().sample(400, 1)
    mean = nastk.predictor(name, **options).fit(task).predict(others).mean
    assert spearman(mean, _longest(others)) > 0.95


@pytest.mark.parametrize("name", ["gcn", "flan", "npnas", "brp-nas"])
def test_relaxed_architectures_are_refused_in_one_line(name: str) -> None:
    model = nastk.predictor(name, epochs=1).fit(example_task(Wires()))
    assert not model.relaxable
    with pytest.raises(Unsupported, match="takes no relaxed architectures"):
        model.predict_relaxed(torch.tensor(Wires().one_hot(Wires().sample(2, 0))))


def test_chains_are_told_from_cells_also_where_their_length_varies() -> None:
    assert OpGraphs(Line()).chain
    assert OpGraphs(nastk.space("fbnet")).chain
    assert not OpGraphs(Wires()).chain
    assert not OpGraphs(CELLS).chain
    sources = [example_task(Line(), device=f"d{i}", tilt=i) for i in range(3)]
    few = nastk.predictor("nasflat", epochs=1).pretrain(sources)
    batch = few._inputs(Line().sample(6, 0))  # type: ignore[attr-defined]
    assert batch.numbers.shape == batch.used.shape == (6, 9)
    assert torch.equal(batch.edges, torch.eye(9).expand(6, 9, 9))


def test_a_graph_with_other_edges_than_all_sampled_ones_keeps_its_own() -> None:
    class Mostly(Wires):
        """One architecture in 22,707 has another edge."""

        def graphs(self, archs: Archs) -> Graphs:
            graphs = super().graphs(np.repeat([[0, 0, 0, *[1] * 10]], len(archs), axis=0))
            graphs.adjacency[(archs == 1).all(axis=1), 1, 4] = False
            return graphs

    graphs = OpGraphs(Mostly())
    assert graphs.adjacency is not None
    batch = graphs(np.ones((1, 13), dtype=np.int64))
    assert batch.edges.shape == (1, 5, 5)
    assert batch.edges.sum() == 9
