"""TransNAS-Bench-101, micro and macro: sizes, texts, moves, and parameters exact on every task."""

from __future__ import annotations

import itertools
from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest
import torch

import nastk
from nastk.data import readers
from nastk.errors import InvalidArchitecture, UnknownName
from nastk.oracles.counts import count_network
from nastk.oracles.table import benchmark
from nastk.spaces._transbench101_heads import SEVEN, TASKS, THREE
from nastk.spaces.base import Archs
from nastk.testing import check_space

MICRO, MACRO = nastk.space("transbench101-micro"), nastk.space("transbench101-macro")


@pytest.mark.parametrize("space", [MICRO, MACRO], ids=lambda s: s.name)
def test_they_keep_the_contract(space: nastk.SearchSpace) -> None:
    check_space(space, n=32, task="jigsaw")


def test_sizes_are_the_papers() -> None:
    assert (MICRO.size, MACRO.size) == (4096, 3256)
    assert len(np.unique(MACRO.enumerate(), axis=0)) == 3256


def test_texts_are_the_official_ones() -> None:
    assert MICRO.format(MICRO.parse("64-41414-1_02_333")) == "64-41414-1_02_333"
    assert MACRO.format(MACRO.parse("64-1234-basic")) == "64-1234-basic"
    for space, text in ((MICRO, "64-41414-1_02_334"), (MACRO, "64-11111-basic"), (MACRO, "64-123-basic")):
        with pytest.raises(InvalidArchitecture):
            space.parse(text)
    with pytest.raises(UnknownName, match="did you mean 'jigsaw'"):
        MICRO.build(MICRO.sample(1, 0)[0], task="jigsw")


@pytest.mark.parametrize("space", [MICRO, MACRO], ids=lambda s: s.name)
@pytest.mark.parametrize("n_changes", [1, 2, 3, 6])
def test_a_mutant_differs_in_as_many_choices_as_asked(space: nastk.SearchSpace, n_changes: int) -> None:
    parents = space.sample(500, 0)
    children = space.mutate(parents, 1, n_changes)
    assert ((children != parents).sum(axis=1) == n_changes).all()


def test_single_mutations_append_and_drop_modules() -> None:
    parents = MACRO.parse("64-1234-basic")[None].repeat(500, axis=0)
    lengths = (MACRO.mutate(parents, 0) > 0).sum(axis=1)
    assert set(lengths) == {4, 5}
    longer = MACRO.parse("64-12341-basic")[None].repeat(500, axis=0)
    assert set((MACRO.mutate(longer, 0) > 0).sum(axis=1)) == {4, 5, 6}


def test_isomorphic_cells_compute_the_same_and_a_skip_from_the_input_is_an_operation() -> None:
    detour, direct = MICRO.parse("3_01_001"), MICRO.parse("0_00_300")  # a convolution and two skips; a convolution
    before = MICRO.parse("1_00_030")  # a skip from the input, then the convolution
    keys = MICRO.keys(np.stack([detour, direct, before]))
    assert keys[0] == keys[1] != keys[2]
    torch.manual_seed(0)
    one, two = (MICRO.build(arch, task="svhn").eval() for arch in (detour, direct))
    assert [p.shape for p in one.parameters()] == [p.shape for p in two.parameters()]
    two.load_state_dict(dict(zip(two.state_dict(), one.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(one(x), two(x), atol=1e-5)
    assert len(np.unique(MICRO.canonical(MICRO.enumerate()), axis=0)) == 1343


@pytest.mark.parametrize("task", TASKS)
def test_outputs_of_every_task(task: str) -> None:
    outputs = {
        "class_scene": (63,), "class_object": (100,), "room_layout": (9,), "jigsaw": (1000,), "svhn": (10,),
        "segmentsemantic": (17, 256, 256), "normal": (3, 256, 256), "autoencoder": (3, 256, 256), "ninapro": (18,),
        "scifar100": (100,),
    }  # fmt: skip
    for space in (MICRO, MACRO) if task in SEVEN else (MICRO,):
        for arch in space.sample(3, seed=1):
            with torch.device("meta"):
                network = space.build(arch, task=task)
                x = torch.zeros((2, *space.input_shape(task=task)))
            assert network.eval()(x).shape == (2, *outputs[task])
            counted = count_network(network, space.input_shape(task=task))
            statics = space.statics(arch[None], task=task)
            assert (statics["params"][0], statics["flops"][0]) == (counted["params"], counted["flops"])


@pytest.mark.parametrize("text", ["64-1123-basic", "64-313132-basic", "64-413331-basic"])
def test_decoders_never_lower_the_resolution(text: str) -> None:
    """As in the benchmark's released code; in Taskonomy's generator the second layer halves it."""
    for task in ("normal", "autoencoder", "segmentsemantic"):
        sides = _sides(MACRO.parse(text), task)
        assert {after / before for before, after in itertools.pairwise(sides)} == {1, 2}
        assert sides[-1] == 256


def _sides(arch: Archs, task: str) -> list[int]:
    """Of the features, then of the output of each convolution of the decoder."""
    sides: list[int] = []
    with torch.device("meta"):
        network = MACRO.build(arch, task=task).eval()
        sides.append(network.features(torch.zeros(1, 3, 256, 256)).shape[-1])
        for layer in network.head.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
                layer.register_forward_hook(lambda _, __, y: sides.append(y.shape[-1]))
        network(torch.zeros(1, 3, 256, 256))
    return sides


@pytest.mark.data
@pytest.mark.parametrize("space", [MICRO, MACRO], ids=lambda s: s.name)
def test_flops_go_with_naslibs_on_every_task(raw: Path, space: nastk.SearchSpace) -> None:
    """NASLib's count other things too; a decoder at another resolution gives .96 on the macro space."""
    content = readers.read_json(raw / f"naslib/zc_{space.name.replace('-', '_')}.json")
    for task in SEVEN:
        archs = np.array([literal_eval(text) for text in content[task]])
        published = [e["flops"]["score"] for e in content[task].values()]
        assert np.corrcoef(space.statics(archs, task=task)["flops"], published)[0, 1] > 0.9999, task


@pytest.mark.data
@pytest.mark.parametrize("space", [MICRO, MACRO], ids=lambda s: s.name)
def test_parameters_are_the_tables_on_every_task(suite_home: object, space: nastk.SearchSpace) -> None:
    tasks = (*SEVEN, *THREE) if space is MICRO else SEVEN
    for task in tasks:
        table = benchmark(space.name, dataset=task)
        params = table.values("params")
        known = np.flatnonzero(np.isfinite(params))
        assert len(known) > 150
        statics = space.statics(table.space.enumerate()[known], task=task)
        assert np.allclose(statics["params"] / 1e6, params[known], rtol=1e-7, atol=0), task


@pytest.mark.data
@pytest.mark.parametrize("space", [MICRO, MACRO], ids=lambda s: s.name)
def test_built_networks_have_the_tables_parameters(suite_home: object, space: nastk.SearchSpace) -> None:
    table = benchmark(space.name, dataset="class_scene")
    params = table.values("params")
    rows = np.random.default_rng(0).choice(np.flatnonzero(np.isfinite(params)), 50, replace=False)
    for row in rows:
        with torch.device("meta"):
            network = space.build(space.from_index(int(row))[0])
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(params[row], rel=1e-7)


@pytest.mark.data
@pytest.mark.parametrize("space", [MICRO, MACRO], ids=lambda s: s.name)
def test_parameters_are_naslibs_to_the_last(raw: Path, space: nastk.SearchSpace) -> None:
    content = readers.read_json(raw / f"naslib/zc_{space.name.replace('-', '_')}.json")
    for task in SEVEN:
        archs = np.array([literal_eval(text) for text in content[task]])
        expected = [round(1e6 * e["params"]["score"]) for e in content[task].values()]
        assert space.statics(archs, task=task)["params"].tolist() == expected
