"""HW-GPT-Bench's language models: parameters exact, layers that are not there, the table."""

from __future__ import annotations

import gzip
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import nastk
from nastk.data import gpt as importer
from nastk.data import readers
from nastk.errors import DataError, InvalidArchitecture
from nastk.oracles.counts import count_network
from nastk.oracles.table import benchmark
from nastk.testing import check_space

SPACE = nastk.space("gpt")


def test_it_keeps_the_contract() -> None:
    check_space(SPACE, vocabulary=97, length=8)


def test_its_size() -> None:
    assert SPACE.size == 3 * 3 * 2 * 9**12


def test_layers_that_do_not_exist_do_not_matter() -> None:
    archs = SPACE.sample(100, seed=0)
    other = archs.copy()
    absent = ~SPACE.settings(archs).active
    other[:, 3:15][absent] = 2
    other[:, 15:][absent] = 1
    assert (other != archs).any()
    assert np.array_equal(SPACE.canonical(other), archs)
    statics = SPACE.statics(archs), SPACE.statics(other)
    assert all(np.array_equal(statics[0][k], statics[1][k]) for k in statics[0])
    children = SPACE.mutate(archs, 1)
    assert (SPACE.canonical(children) != SPACE.canonical(archs)).any(axis=1).all()


def test_text_round_trips_and_says_what_is_wrong() -> None:
    text = "l10-e384-bTrue-m" + ",".join("2" * 10) + "-h" + ",".join(["12"] * 10)
    arch = SPACE.parse(text)
    assert SPACE.statics(arch[None])["depth"][0] == 10
    wrong = {text.replace("e384", "e100"): "width is 100", f"{text},4": "11 values", "l10": "write l10"}
    for bad, message in wrong.items():
        with pytest.raises(InvalidArchitecture, match=message):
            SPACE.parse(bad)


def test_statics_are_those_of_built_networks() -> None:
    for arch in SPACE.sample(10, seed=2):
        with torch.device("meta"):
            network = SPACE.build(arch, vocabulary=101)
            counted = count_network(network, torch.zeros((1, 16), dtype=torch.long, device="meta"))
        statics = SPACE.statics(arch[None], vocabulary=101, length=16)
        assert (statics["params"][0], statics["flops"][0]) == (counted["params"], counted["flops"])


def test_a_token_sees_only_those_before_it() -> None:
    network = SPACE.build(SPACE.sample(1, seed=3)[0], vocabulary=50).eval()
    tokens = torch.randint(0, 50, (1, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 8] = (changed[0, 8] + 1) % 50
    with torch.inference_mode():
        one, two = network(tokens), network(changed)
    assert one.shape == (1, 12, 50)
    assert torch.allclose(one[0, :8], two[0, :8], atol=1e-5)
    assert not torch.allclose(one[0, 8:], two[0, 8:], atol=1e-3)
    with pytest.raises(ValueError, match="at most 1024"):
        network(torch.zeros((1, 1025)))


def test_graphs_as_arrays_are_the_graphs() -> None:
    archs = SPACE.sample(20, seed=4)
    graphs = SPACE.graphs(archs)
    for i, arch in enumerate(archs):
        one = SPACE.graph(arch)
        labels = [graphs.labels[o] for o in graphs.operations[i]]
        used = [k for k, label in enumerate(labels) if label != "none"]
        assert [labels[k] for k in used] == [op for _, op in one.nodes(data="op")]
        other = nx.DiGraph(graphs.adjacency[i][np.ix_(used, used)])
        assert set(other.edges) == {(k, k + 1) for k in range(len(used) - 1)}
        assert graphs.adjacency[i].sum() == len(used) - 1


@pytest.mark.data
def test_parameters_and_operations_are_the_tables_for_every_network(extra_home: object) -> None:
    table = benchmark("gpt", dataset="openwebtext")
    archs = table.space.enumerate()
    assert len(archs) == 10_000
    assert np.array_equal(SPACE.statics(archs)["params"], table.values("params"))
    s = SPACE.settings(archs)
    ratio, heads = (s.ratio * s.active).sum(axis=1), (s.heads * s.active).sum(axis=1)
    linear = s.width * 50254 + 4 * heads * 64 * s.width + 3 * ratio * s.width**2
    others = 5 * s.width * (2 * s.layers + 1) + ratio * s.width
    assert np.array_equal(8 * 1024 * (2 * linear + others), table.values("flops")), "what the column's note says"


@pytest.mark.data
def test_built_networks_have_the_tables_parameters(extra_home: object) -> None:
    table = benchmark("gpt")
    rows = np.random.default_rng(0).choice(10_000, 50, replace=False)
    for row, expected in zip(table.space.enumerate()[rows], table.values("params")[rows], strict=True):
        with torch.device("meta"):
            assert sum(p.numel() for p in SPACE.build(row).parameters()) == expected


@pytest.mark.data
def test_the_table(extra_home: object) -> None:
    table = benchmark("gpt", dataset="openwebtext")
    assert table.devices() == list(importer.DEVICES)
    assert table.oracle("perplexity").direction == "min"
    assert table.values("perplexity").min() == pytest.approx(22.159, abs=1e-3)
    assert table.oracle("memory").unit == "MB"
    assert set(table.table.source_devices) | set(table.table.target_devices) == set(importer.DEVICES)


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.csv.gz"
    for content in (b"", b"plain", gzip.compress(b"a,b\n1,2\n"), gzip.compress(b"x" * 100)[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError):
            importer.draft(lambda name: path)
    path.write_bytes(gzip.compress(bytes(3 * 2**20)))
    with pytest.raises(DataError, match="unpacks to more"):
        readers.read_gzip(path, limit=2**20)
