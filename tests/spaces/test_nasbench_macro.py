"""NAS-Bench-Macro: sizes, counts and best network as published, isomorphic networks, the importer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nastk
from nastk.data import nasbench_macro as importer
from nastk.errors import DataError, InvalidArchitecture
from nastk.oracles.counts import count_network
from nastk.oracles.table import benchmark
from nastk.testing import check_space

SPACE = nastk.space("nasbench-macro")


def test_it_keeps_the_contract() -> None:
    check_space(SPACE, input_size=16)


def test_its_size_is_the_papers() -> None:
    assert SPACE.size == 6561
    assert len(np.unique(SPACE.canonical(SPACE.enumerate()), axis=0)) == 9 * 21 * 21


def test_isomorphic_encodings_are_the_same_network() -> None:
    archs = SPACE.sample(200, seed=0)
    canonical = SPACE.canonical(archs)
    moved = (archs != canonical).any(axis=1)
    assert moved.sum() > 20
    for arch, other in zip(archs[moved][:10], canonical[moved][:10], strict=True):
        shapes = [[tuple(p.shape) for p in SPACE.build(a).parameters()] for a in (arch, other)]
        assert shapes[0] == shapes[1]
        torch.manual_seed(0)
        one = SPACE.build(arch).eval()
        two = SPACE.build(other).eval()
        two.load_state_dict(dict(zip(two.state_dict(), one.state_dict().values(), strict=True)))
        x = torch.randn(2, 3, 32, 32)
        assert torch.equal(one(x), two(x))


def test_text_is_eight_digits() -> None:
    assert SPACE.format(SPACE.parse("22212220")) == "22212220"
    with pytest.raises(InvalidArchitecture, match="eight digits"):
        SPACE.parse("2221222")
    with pytest.raises(InvalidArchitecture, match="eight digits"):
        SPACE.parse("22212223")


@pytest.mark.data
def test_counts_are_the_tables_for_every_network(extra_home: object) -> None:
    table = benchmark("nasbench-macro")
    everything = table.space.enumerate()
    statics = SPACE.statics(everything)
    assert np.array_equal(statics["params"], table.values("params"))
    assert np.array_equal(statics["flops"] - 10, table.values("flops")), "the bias of ten classes"


@pytest.mark.data
def test_built_networks_have_the_tables_parameters(extra_home: object) -> None:
    table = benchmark("nasbench-macro")
    archs = SPACE.sample(15, seed=1)
    params = table.values("params")[SPACE.index(archs)]
    flops = table.values("flops")[SPACE.index(archs)]
    for arch, expected, operations in zip(archs, params, flops, strict=True):
        with torch.device("meta"):
            counted = count_network(SPACE.build(arch), (3, 32, 32))
        assert counted["params"] == expected
        assert counted["flops"] == operations + 10


@pytest.mark.data
def test_the_table_holds_the_whole_space_and_its_best(extra_home: object) -> None:
    table = benchmark("nasbench-macro", dataset="cifar10")
    assert isinstance(table.space, type(SPACE))
    accuracy = table.values("test_accuracy")
    best = SPACE.canonical(SPACE.from_index(int(accuracy.argmax())))
    assert SPACE.format(best[0]) == "22212220"
    equal = SPACE.index(SPACE.canonical(SPACE.enumerate()))
    assert np.array_equal(accuracy[equal], accuracy), "the benchmark gives isomorphic networks equal accuracies"
    assert accuracy.max() == pytest.approx(93.127, abs=5e-4)
    runs = np.stack([table.values("test_accuracy", variant=f"run {i}") for i in (1, 2, 3)])
    assert np.allclose(runs.mean(axis=0), accuracy, atol=1e-4)


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    for content in ({"2": {}}, {"22212220": {"test_acc": [1, 2, 3], "params": 1, "flops": 2}}, [], {"22212220": 3}):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match="nas-bench-macro") as caught:
            importer.draft(lambda name: path)
        assert "\n" not in str(caught.value)
