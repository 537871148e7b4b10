"""TransNAS-Bench-101, micro and macro: sizes, parameters exact on every task, tables, the official file."""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest
import torch

import nastk
from nastk.data import readers, suite_zero
from nastk.data import transbench101_macro as macro_importer
from nastk.data.official import transbench101_pth
from nastk.errors import DataError, InvalidArchitecture, UnknownName
from nastk.oracles.counts import count_network
from nastk.oracles.table import benchmark
from nastk.spaces._transbench101_heads import SEVEN, TASKS, THREE
from nastk.testing import check_space

MICRO, MACRO = nastk.space("transbench101-micro"), nastk.space("transbench101-macro")
BEST = {
    ("transbench101-micro", "class_scene"): 54.94,
    ("transbench101-micro", "jigsaw"): 95.37,
    ("transbench101-macro", "class_scene"): 57.41,
    ("transbench101-macro", "class_object"): 47.42,
    ("transbench101-macro", "jigsaw"): 97.02,
}


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


def test_equal_cells_compute_the_same_and_a_skip_from_the_input_is_an_operation() -> None:
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


@pytest.mark.data
@pytest.mark.parametrize(("name", "task"), BEST)
def test_the_best_scores_are_the_benchmarks(suite_home: object, name: str, task: str) -> None:
    table = benchmark(name, dataset=task)
    assert table.space.size == {"transbench101-micro": 4096, "transbench101-macro": 3256}[name]
    values = table.values("val_accuracy")
    assert np.isfinite(values).all()
    assert values.max() == pytest.approx(BEST[name, task], abs=5e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", ["transbench101-micro/jigsaw", "transbench101-micro/room_layout"])
def test_tables_and_tasks_of_the_suite_agree(suite_home: object, name: str) -> None:
    task = suite_zero.read_tasks([name])[name]
    space, _, dataset = name.partition("/")
    table = benchmark(space, dataset=dataset)
    labels = [task.space.format(row).split("_") for row in task.archs]
    codes = np.array([[int(label.replace("-", "0")) for label in row] for row in labels])
    rows = table.space.index(codes)
    assert np.allclose(table.values("val_accuracy")[rows], task.values)
    mine, theirs = table.proxies(), task.context.proxies
    assert theirs is not None
    for j, proxy in enumerate(theirs.names):
        if proxy in mine.names and proxy != "zen":
            mine_ = mine.values[rows, mine.names.index(proxy)]
            assert np.allclose(mine_, theirs(task.archs)[:, j], rtol=1e-5, equal_nan=True), proxy


@pytest.mark.data
def test_the_variant_of_class_scene_is_kept_apart(suite_home: object) -> None:
    table = benchmark("transbench101-micro", dataset="class_scene")
    assert np.isfinite(table.values("snip")).sum() == 2128
    assert 600 < np.isfinite(table.values("snip", variant="naslib")).sum() < 800


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(DataError) as caught:
        macro_importer.draft(lambda name: path)
    assert "\n" not in str(caught.value)


# ---- the official file


def test_the_official_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "transnas-bench.pth"
    micro = {
        "64-41414-1_02_333": {"class_scene": {"valid_top1": [1.0, 50.0], "test_top1": [2.0, 49.0]}},
        "64-41414-0_00_300": {"class_scene": {"valid_top1": [40.0]}, "normal": {"valid_ssim": [0.5]}},
    }
    macro = {"64-1234-basic": {"room_layout": {"valid_neg_loss": [-0.7]}}}
    torch.save({"data": {"micro": micro, "macro": macro}}, path)
    small, large = transbench101_pth.read([path])
    assert (small.space, large.space) == ("transbench101-micro", "transbench101-macro")
    values = {(c.metric, c.dataset): v for c, v in small.columns}
    assert values["val_accuracy", "class_scene"].tolist() == [50.0, 40.0]
    assert np.isnan(values["test_accuracy", "class_scene"][1])
    assert values["val_accuracy", "normal"][1] == 0.5
    assert large.columns[0][1].tolist() == [-0.7]


def test_files_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.pth"
    for content in ([], {"data": {}}, {"data": {"micro": {"x": {}}}}, {"data": {"micro": {"64-41414-1_02_333": {}}}}):
        torch.save(content, path)
        with pytest.raises(DataError, match="layout") as caught:
            transbench101_pth.read([path])
        assert "\n" not in str(caught.value)
    path.write_bytes(b"x")
    with pytest.raises(DataError):
        transbench101_pth.read([path])
