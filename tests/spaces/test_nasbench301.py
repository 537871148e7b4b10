"""NAS-Bench-301: genotypes, classes, counts and network against the public tables."""

import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from effort import calls

import nastk
from nastk.encodings.path_counts import PathCounts
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces._nasbench301_network import Cell
from nastk.spaces.base import SearchSpace
from nastk.spaces.nasbench301 import DATASETS, OPERATIONS, NASBench301, skeleton
from nastk.testing import check_space

SPACE = NASBench301()
MAX, AVG, SKIP, SEP3, SEP5, DIL3, DIL5 = range(7)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
"""The cells that the DARTS paper found (Figures 4 and 5)."""

Published = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def published(raw: Path) -> Published:
    """Architectures, params and flops by data set, as NASLib counted them."""
    files = [raw / "naslib" / name for name in ("zc_nasbench301.json", "9x_all.zip")]
    if not all(file.exists() for file in files):
        pytest.skip("the table is not here; run: nastk data fetch nasbench301")
    entries = list(json.loads(files[0].read_text())["cifar10"].values())
    found = {"cifar10": {"params": entries, "flops": entries}}
    with zipfile.ZipFile(files[1]) as archive:
        for task in ("svhn", "ninapro", "scifar100"):
            names = ("params", "flops")
            found[task] = {n: json.loads(archive.read(f"{n}/benchmark--nasbench301--{task}--0.json")) for n in names}
    return {
        dataset: (
            SPACE.as_archs([e["arch"] for e in lists["params"]]),
            *(np.round([e[name]["score"] * 1e6 for e in lists[name]]) for name in ("params", "flops")),
        )
        for dataset, lists in found.items()
    }


def renumbered(arch: np.ndarray) -> list[np.ndarray]:
    """Rows of every numbering of the intermediate nodes of both cells, by the definition: text in, text out."""
    inputs, operations = SPACE.inputs_and_operations(arch[None])
    cells = []
    for c in range(2):
        nodes = [list(zip(inputs[0, c, k].tolist(), operations[0, c, k].tolist(), strict=True)) for k in range(4)]
        variants = []
        for order in itertools.permutations(range(4)):  # the new number of each node
            number = [0, 1, *(2 + new for new in order)]
            turned = [[(number[i], op) for i, op in nodes[order.index(new)]] for new in range(4)]
            if all(i < new + 2 for new, edges in enumerate(turned) for i, _ in edges):
                variants.append([edge for edges in turned for edge in edges])
        cells.append(variants)
    return [SPACE.parse(str([normal, reduce])) for normal, reduce in itertools.product(*cells)]


def test_keeps_the_contract_of_spaces():
    check_space(SPACE)


def test_a_pool_of_it_keeps_the_contract_of_spaces():
    check_space(nastk.Pool(SPACE, SPACE.sample(30, 1)), channels=4, layers=3)


def test_has_the_dag_count_of_the_darts_paper():
    assert SPACE.size == (1 * 3 * 6 * 10 * 7**8) ** 2 == 1_076_746_950_455_072_400
    assert SPACE.d == 22
    assert {c.group for c in SPACE.choices} == {"normal", "reduce"}


def test_samples_every_option_of_every_choice_equally_often():
    archs = SPACE.sample(70_000, 0)
    for column, size in zip(archs.T, SPACE.sizes, strict=True):
        shares = np.bincount(column, minlength=size) / len(column)
        assert np.abs(shares - 1 / size).max() < 0.01


# ---- text


def test_the_darts_cells_are_read_as_published_and_written_with_ascending_inputs():
    arch = SPACE.parse(DARTS_V2)
    inputs, operations = SPACE.inputs_and_operations(arch[None])
    assert inputs[0].tolist() == [[[0, 1], [0, 1], [0, 1], [0, 2]], [[0, 1], [1, 2], [0, 2], [1, 2]]]
    assert operations[0, 0].tolist() == [[SEP3, SEP3], [SEP3, SEP3], [SKIP, SEP3], [SKIP, DIL3]]
    assert operations[0, 1].tolist() == [[MAX, MAX], [MAX, SKIP], [MAX, SKIP], [MAX, SKIP]]
    text = SPACE.format(arch)
    assert text.startswith("Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ")
    assert "('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_conc" in text
    assert np.array_equal(SPACE.parse(text), arch)


def test_compact_tuples_name_the_same_cells_in_either_bracket_and_either_order_of_inputs():
    normal = [(0, 3), (1, 3), (0, 3), (1, 3), (1, 3), (0, 2), (0, 2), (2, 5)]
    reduce = [(0, 0), (1, 0), (2, 2), (1, 0), (0, 0), (2, 2), (2, 2), (1, 0)]
    arch = SPACE.parse(DARTS_V2)
    assert np.array_equal(SPACE.parse(str([normal, reduce])), arch)
    assert np.array_equal(SPACE.parse(str((tuple(normal), tuple(reduce)))), arch)
    swapped = [edge for k in range(0, 8, 2) for edge in (reduce[k + 1], reduce[k])]
    assert np.array_equal(SPACE.parse(str([normal, swapped])), arch)


@pytest.mark.parametrize("concat", ["range(2, 6)", "(2, 3, 4, 5)", None])
def test_concatenations_may_be_written_otherwise_or_left_out(concat: str | None):
    text = DARTS_V2.replace("[2, 3, 4, 5]", concat or "[2, 3, 4, 5]")
    if concat is None:
        text = text.replace("normal_concat=[2, 3, 4, 5], ", "").replace(", reduce_concat=[2, 3, 4, 5]", "")
    assert np.array_equal(SPACE.parse(text), SPACE.parse(DARTS_V2))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), "inputs 0 and 0"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"), "must be two different ones of 0 to 4"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', -1)"), "inputs -1 and 0"),
        (DARTS_V2.replace("dil_conv_3x3", "none"), "'none', must be one of max_pool_3x3"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 2.0)"), "not a pair"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "'dil_conv_3x3'"), "not a pair"),
        (DARTS_V2.replace("('dil_conv_3x3', 2)", "(['dil_conv_3x3'], 2)"), "must be one of max_pool_3x3"),
        (DARTS_V2.replace(", ('dil_conv_3x3', 2)", ""), "must have 8 pairs"),
        (DARTS_V2.replace("normal=[(", "normal=5, x=[("), "is not a NAS-Bench-301 genotype"),
        (DARTS_V2.replace("reduce_concat=[2, 3, 4, 5]", "reduce_concat=[3, 4, 5]"), r"must concatenate nodes \[2, 3"),
        (DARTS_V2.replace("Genotype", "Genome"), "is not a NAS-Bench-301 genotype"),
        ("__import__('os').getcwd()", "is not a NAS-Bench-301 genotype"),
        ("Genotype(normal=print(1), reduce=[])", "is not a NAS-Bench-301 genotype"),
        ("Genotype(normal=3, reduce=4)", "is not a NAS-Bench-301 genotype"),
        ("(" * 3000, "is not a NAS-Bench-301 genotype"),
        ("[" * 5000, "is not a NAS-Bench-301 genotype"),
        ("[[], []]", "must have 8 pairs"),
        ("[[(0, 7)] * 8, []]", "is not a NAS-Bench-301 genotype"),
        (str([[(0, 7), (1, 0)] * 4] * 2), "must be one of max_pool_3x3"),
        ("0,0,0,0", "is not a NAS-Bench-301 genotype"),
    ],
)
def test_a_text_that_is_no_member_is_refused_in_one_line(text: str, what: str):
    with pytest.raises(InvalidArchitecture, match=what) as refused:
        SPACE.parse(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


# ---- classes


def test_every_numbering_of_the_nodes_has_one_canonical_row_among_them():
    several = 0
    for arch in SPACE.sample(60, 5):
        variants = np.unique(renumbered(arch), axis=0)
        several += len(variants) > 1
        canonical = SPACE.canonical(variants)
        assert (canonical == canonical[0]).all()
        assert (variants == canonical[0]).all(axis=1).any()
    assert several > 30


def test_rows_that_no_numbering_makes_equal_keep_different_canonical_rows():
    archs = SPACE.sample(2000, 6)
    canonical = SPACE.canonical(archs)
    assert all(
        (np.array(renumbered(a)) == c).all(axis=1).any() for a, c in zip(archs[:50], canonical[:50], strict=True)
    )
    children = SPACE.mutate(archs, 7)
    same = (SPACE.canonical(children) == canonical).all(axis=1)
    for arch, child in zip(archs[same], children[same], strict=True):
        assert (np.array(renumbered(arch)) == child).all(axis=1).any()
    assert same.mean() < 0.02


def test_renumbering_the_nodes_permutes_the_channels_of_a_cell():
    normal = [(0, MAX), (1, SKIP), (0, AVG), (1, MAX), (0, SKIP), (3, AVG), (1, AVG), (2, MAX)]
    swapped = [(0, AVG), (1, MAX), (0, MAX), (1, SKIP), (0, SKIP), (2, AVG), (1, AVG), (3, MAX)]  # nodes 2 and 3
    stage = skeleton(channels=4, layers=3, input_size=8)[0]
    x = torch.randn(2, 12, 8, 8)
    outputs = []
    for edges in (normal, swapped):
        torch.manual_seed(0)
        cell = Cell([(OPERATIONS[op], i) for i, op in edges], stage).eval()
        with torch.inference_mode():
            outputs.append(cell(x, x).chunk(4, dim=1))
    for a, b in ((0, 1), (1, 0), (2, 2), (3, 3)):
        assert torch.equal(outputs[0][a], outputs[1][b])
    first, second = (SPACE.parse(str([edges, normal])) for edges in (normal, swapped))
    assert SPACE.keys(np.stack([first, second]))[0] == SPACE.keys(second[None])[0]


def test_exchanging_the_cells_inputs_is_another_network():
    edges = [(0, SEP3), (1, SKIP), (0, SKIP), (1, SKIP), (0, SKIP), (1, SKIP), (0, SKIP), (1, SKIP)]
    turned = [(1 - i, op) for i, op in edges]
    both = np.stack([SPACE.parse(str([e, edges])) for e in (edges, turned)])
    assert len(set(SPACE.keys(both))) == 2


def test_large_populations_are_vectorised():
    SPACE.canonical(SPACE.sample(100, 0))
    archs = SPACE.sample(10_000, 0)
    for method in (lambda: SPACE.sample(10_000, 1), lambda: SPACE.mutate(archs, 1), lambda: SPACE.one_hot(archs)):
        assert calls(method) < 1000
    assert calls(lambda: SPACE.canonical(archs)) < 1000


# ---- graph


def test_graphs_as_arrays_are_the_graphs():
    archs = SPACE.sample(40, 2)
    ours, one_by_one = SPACE.graphs(archs), SearchSpace.graphs(SPACE, archs)
    assert ours.labels[:2] == ("input", "output")
    assert np.array_equal(ours.adjacency, one_by_one.adjacency)
    names = [[g.labels[op] for op in row] for g in (ours, one_by_one) for row in g.operations]
    assert names[:40] == names[40:]
    assert not np.tril(ours.adjacency).any()


def test_every_node_of_the_graph_lies_on_a_path_from_input_to_output():
    graphs = SPACE.graphs(SPACE.sample(100, 3))
    reached = np.linalg.matrix_power(np.eye(30) + graphs.adjacency, 30) > 0
    assert reached[:, 0].all()
    assert reached[:, :, -1].all()


def test_the_graph_of_the_darts_cells_has_their_operations_and_sums():
    graph = SPACE.graph(SPACE.parse(DARTS_V2))
    assert len(graph) == 30
    ops = [op for _, op in graph.nodes(data="op")]
    assert (ops.count("normal sep_conv_3x3"), ops.count("reduce max_pool_3x3")) == (5, 5)
    assert (ops.count("skip_connect"), ops.count("identity")) == (5, 8)
    assert set(graph.predecessors("normal 4 sum")) == {"normal 4 a", "normal 4 b"}
    assert list(graph.predecessors("normal 5 b")) == ["normal 2 sum"]
    assert set(graph.predecessors("output")) == {f"{c} {k} sum" for c in ("normal", "reduce") for k in (2, 3, 4, 5)}


def test_isomorphic_networks_have_isomorphic_graphs_and_equal_path_counts():
    import networkx as nx

    encoding = PathCounts().fit(SPACE)
    for arch in SPACE.sample(5, 8):
        variants = np.unique(renumbered(arch), axis=0)
        features = encoding.transform(variants)
        assert np.array_equal(features, features[:1].repeat(len(features), axis=0))
        graphs = [SPACE.graph(v) for v in variants[[0, -1]]]
        assert nx.is_isomorphic(*graphs, node_match=lambda a, b: a["op"] == b["op"])


# ---- counts and network


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "count"), [("cifar10", 725), ("svhn", 199), ("ninapro", 199), ("scifar100", 199)])
def test_parameters_are_exactly_the_tables_for_every_architecture(published: Published, dataset: str, count: int):
    archs, params, _ = published[dataset]
    assert len(archs) == count
    assert np.array_equal(SPACE.statics(archs, **DATASETS[dataset])["params"], params)


@pytest.mark.data
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_tables_flops_are_ours_plus_normalisation_relu_and_pooling(published: Published, dataset: str):
    archs, _, flops = published[dataset]
    options = DATASETS[dataset]
    height, width = SPACE.input_shape(**options)[1:]
    inputs, operations = SPACE.inputs_and_operations(archs)
    # one an element of a ReLU's input and of a normalisation, two of one with weights, nine of a pooling
    extra = np.full(len(archs), 2 * 96 * height * width)
    for stage in skeleton(input_size=options["input_size"]):
        pixels = stage.height * stage.width
        before = stage.c_before * (4 if stage.after_reduction else 1)
        extra += (before + stage.c_previous + 4 * stage.channels) * pixels
        kind = int(stage.reduction)
        op, out = operations[:, kind], stage.channels * stage.pixels
        into = np.where(inputs[:, kind] < 2, 4, 1) * out if stage.reduction else np.full(op.shape, out)
        halving = (op == SKIP) & (into > out)
        each = (
            (op <= AVG) * 10 * out + (halving | (op >= SEP3)) * (into + out) + ((op == SEP3) | (op == SEP5)) * 2 * out
        )
        extra += each.sum(axis=(1, 2))
    # the table's global pooling has a pixel too many each way; the classifier's bias is ours
    extra += 512 * (height // 4 + 1) * (width // 4 + 1) - options["num_classes"]
    assert np.array_equal(SPACE.statics(archs, **options)["flops"] + extra, flops)


@pytest.mark.parametrize(
    "options", [*DATASETS.values(), {"channels": 6, "layers": 5, "input_size": 16}, {"layers": 3}, {"layers": 20}]
)
def test_closed_form_counts_are_those_of_the_built_networks(options: dict):
    archs = SPACE.sample(3, 3)
    statics = SPACE.statics(archs, **options)
    for i, arch in enumerate(archs):
        with torch.device("meta"):
            network = SPACE.build(arch, **options)
        counted = count_network(network, SPACE.input_shape(**options))
        assert counted == {"params": statics["params"][i], "flops": statics["flops"][i]}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_operation_runs_and_learns_in_both_cells(dataset: str):
    options = {**DATASETS[dataset], "channels": 4, "layers": 4}
    for op in range(len(OPERATIONS)):
        cell = [(i, op) for k in range(4) for i in (k, k + 1)]
        network = SPACE.build(SPACE.parse(str([cell, cell])), **options)
        network(torch.randn(2, *SPACE.input_shape(**options))).square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_the_network_reduces_at_a_third_and_two_thirds_of_its_depth():
    stages = skeleton()
    assert [stage.reduction for stage in stages] == [i in (2, 5) for i in range(8)]
    assert [stage.channels for stage in stages] == [32, 32, 64, 64, 64, 128, 128, 128]
    network = SPACE.build(SPACE.sample(1, 0))
    before = x = network.stem(torch.randn(2, 3, 32, 32))
    shapes = []
    for cell in network.cells:
        before, x = x, cell(before, x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes[1::3] == [(128, 32, 32), (256, 16, 16), (512, 8, 8)]


@pytest.mark.parametrize("options", [{"layers": 2}, {"channels": 5}, {"input_size": 30}, {"input_size": (32, 2)}])
def test_a_network_that_cannot_be_built_is_refused_in_one_line(options: dict):
    for method in (
        lambda: SPACE.build(SPACE.sample(1, 0), **options),
        lambda: SPACE.statics(SPACE.sample(1), **options),
    ):
        with pytest.raises(InvalidValue, match="nasbench301"):
            method()
