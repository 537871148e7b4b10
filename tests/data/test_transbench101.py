"""TransNAS-Bench-101's tables against their files, what their importers refuse, and the official file."""

from __future__ import annotations

import json
import zipfile
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.bench.suite_zero import tasks
from nastk.data import _transbench101 as shared
from nastk.data import imported, readers
from nastk.data import transbench101_macro as macro_importer
from nastk.data.fetch import Store
from nastk.data.official import transbench101_pth
from nastk.data.proxies import FAILED
from nastk.data.tables import Draft
from nastk.errors import DataError, InvalidValue
from nastk.oracles.table import Table, benchmark
from nastk.spaces._transbench101_heads import SEVEN

MICRO, MACRO = nastk.space("transbench101-micro"), nastk.space("transbench101-macro")
ZIPS = {"transbench101-micro": "naslib/all_benchmarks_zen.zip", "transbench101-macro": "naslib/tnb101_macro_zen.zip"}
BEST = {
    ("transbench101-micro", "class_scene"): 54.94,
    ("transbench101-micro", "jigsaw"): 95.37,
    ("transbench101-macro", "class_scene"): 57.41,
    ("transbench101-macro", "class_object"): 47.42,
    ("transbench101-macro", "jigsaw"): 97.02,
}


# ---- tables


@pytest.mark.data
@pytest.mark.parametrize(("name", "task"), BEST)
def test_the_best_scores_are_the_benchmarks(suite_home: object, name: str, task: str) -> None:
    table = benchmark(name, dataset=task)
    assert table.space.size == {"transbench101-micro": 4096, "transbench101-macro": 3256}[name]
    assert np.array_equal(table.space.enumerate(), nastk.space(name).enumerate())
    values = table.values("val_accuracy")
    assert np.isfinite(values).all()
    assert values.max() == pytest.approx(BEST[name, task], abs=5e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", ZIPS)
def test_scores_and_zen_are_the_files_for_every_architecture(suite_home: object, raw: Path, name: str) -> None:
    for task in ("class_scene", "autoencoder"):
        members = readers.read_zip(raw / ZIPS[name], f"*--{task}--*.json")
        expected = {literal_eval(e["arch"]): e for part in members.values() for e in json.loads(part)}
        table = benchmark(name, dataset=task)
        tuples = [tuple(v for v in row if v or name.endswith("micro")) for row in table.space.enumerate().tolist()]
        assert len(expected) == len(tuples)
        accuracy = [expected[t]["val_accuracy"] for t in tuples]
        np.testing.assert_allclose(table.values("val_accuracy"), accuracy, rtol=1e-6)
        zen = np.array([expected[t]["zen"]["score"] for t in tuples])
        np.testing.assert_allclose(table.values("zen"), np.where(zen == FAILED, np.nan, zen), rtol=1e-6)


def _rows(space: nastk.SearchSpace, task: nastk.Task) -> np.ndarray:
    labels = [task.space.format(row).split("_") for row in task.archs]
    return space.index(np.array([[int(label.replace("-", "0")) for label in row] for row in labels]))


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["transbench101-micro/jigsaw", "transbench101-micro/room_layout", "transbench101-macro/class_object"]
)
def test_proxies_and_scores_are_those_of_the_suites_tasks(suite_home: object, name: str) -> None:
    task = tasks([name])[name]
    space, _, dataset = name.partition("/")
    table = benchmark(space, dataset=dataset)
    rows = _rows(table.space, task)
    # the tasks' scores of macro networks of fewer than six modules are the smaller file's
    same = np.ones(len(rows), dtype=bool) if space == MICRO.name else table.space.enumerate()[rows, -1] > 0
    assert same.sum() > 250
    np.testing.assert_allclose(table.values("val_accuracy")[rows][same], task.values[same], rtol=1e-6)
    mine, theirs = table.proxies(), task.context.proxies
    assert theirs is not None
    assert set(theirs.names) <= set(mine.names)
    values = theirs(task.archs)
    for j, proxy in enumerate(theirs.names):
        ours = mine.values[rows, mine.names.index(proxy)]
        np.testing.assert_allclose(ours, values[:, j], rtol=1e-5, err_msg=proxy)


@pytest.mark.data
def test_the_variant_of_class_scene_has_the_smaller_files_proxies(suite_home: object) -> None:
    table = benchmark("transbench101-micro", dataset="class_scene")
    task = tasks(["transbench101-micro/class_scene"])["transbench101-micro/class_scene"]
    rows = _rows(table.space, task)
    assert np.isfinite(table.values("snip")).sum() == 2128
    theirs = task.context.proxies
    assert theirs is not None
    for name in ("snip", "nwot", "jacov"):
        ours = table.values(name, variant="naslib")
        assert np.isfinite(ours).sum() <= 711
        values = theirs(task.archs)[:, theirs.names.index(name)]
        np.testing.assert_allclose(ours[rows], values, rtol=1e-5, err_msg=name)


@pytest.mark.data
@pytest.mark.parametrize("name", ZIPS)
def test_scores_have_the_unit_and_the_sign_of_their_metric(suite_home: object, name: str) -> None:
    expected = {"room_layout": "negative loss", "segmentsemantic": "accuracy of pixels", "normal": "structural"}
    for task, metric in expected.items():
        table = benchmark(name, dataset=task)
        column = table.table.find("val_accuracy", dataset=task)[1]
        assert metric in column.note
        assert column.direction == "max"
        assert column.unit == ("%" if task == "segmentsemantic" else "")
        values = table.values("val_accuracy")
        low, high = {"room_layout": (-3, 0), "segmentsemantic": (90, 100), "normal": (0, 1)}[task]
        assert low < values.min() < values.max() < high


# ---- what the importers refuse


@pytest.fixture
def macro_zip(tmp_path: Path) -> Callable[..., Path]:
    """A file of the form of NASLib's zip with scores of all macro networks, in two parts a task."""
    tuples = [tuple(v for v in row if v) for row in MACRO.enumerate().tolist()]

    def write(task: str = "", change: Callable[[list[dict[str, Any]]], None] = lambda entries: None) -> Path:
        path = tmp_path / "zen.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in SEVEN:
                score = -0.5 if name == "room_layout" else 0.5
                entries = [{"arch": str(t), "val_accuracy": score, "zen": {"score": 1.0, "time": 2.0}} for t in tuples]
                if name == task:
                    change(entries)
                for part, some in enumerate((entries[:2000], entries[2000:])):
                    archive.writestr(f"zen/benchmark--transbench101_macro--{name}--{part}.json", json.dumps(some))
        return path

    return write


def _read(path: Path) -> Draft:
    table = Draft(MACRO.enumerate().astype(np.int8))
    shared.add_scores(table, MACRO, "f.zip", path)
    return table


def test_networks_of_four_to_six_modules_are_joined_by_their_tuples(macro_zip: Callable[..., Path]) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        entries[0]["val_accuracy"] = 77.0
        entries.reverse()

    scores = next(v for c, v, _ in _read(macro_zip("jigsaw", change)).columns if c.dataset == "jigsaw")
    assert scores[0] == 77.0
    assert (scores[1:] == 0.5).all()


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("jigsaw", lambda e: e[0].update(val_accuracy=100.5), "not in 0 to 100"),
        ("room_layout", lambda e: e[0].update(val_accuracy=0.5), "not in -inf to 0"),
        ("normal", lambda e: e[0].update(val_accuracy=1.5), "not in -1 to 1"),
        ("normal", lambda e: e[0].update(val_accuracy="x"), "not a number"),
        ("normal", lambda e: e.pop(), "3255 architectures of normal, expected 3256"),
        ("normal", lambda e: e[0].update(arch=e[1]["arch"]), "an architecture twice"),
        ("normal", lambda e: e[0].update(arch="(1, 2, 3)"), "not an architecture"),
        ("normal", lambda e: e[0].update(arch="(1, 2, 3, 4, 1, 1, 1)"), "not an architecture"),
        ("normal", lambda e: e[0].pop("zen"), "another layout"),
    ],
)
def test_scores_of_another_form_or_range_are_refused(
    macro_zip: Callable[..., Path], task: str, change: Callable[[list[dict[str, Any]]], None], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _read(macro_zip(task, change))
    assert "\n" not in str(caught.value)


def test_tuples_of_micro_cells_are_not_filled_up() -> None:
    assert shared.rows_of(MICRO, ["(1, 0, 2, 3, 3, 3)"], "f").tolist() == MICRO.index(MICRO.parse("1_02_333")[None])
    for wrong in (["(1, 0, 2, 3, 3)"], ["(1, 0, 2, 3, 3, 4)"], ["(1, 0, 2, 3, 3, -1)"], ["1"], ["f()"]):
        with pytest.raises(DataError, match="not an architecture"):
            shared.rows_of(MICRO, wrong, "f")


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(DataError) as caught:
        macro_importer.draft(lambda name: path)
    assert "\n" not in str(caught.value)


# ---- the official file


def _record(**metrics: list[float]) -> dict[str, Any]:
    """What the official file holds of a task of a network."""
    info = {"inference_time": 0.1, "encoder_params": 1.0, "model_params": 2.0, "model_FLOPs": 3.0, "encoder_FLOPs": 4.0}
    epochs = len(next(iter(metrics.values()), []))
    return {"model_info": info, "total_epochs": epochs, "metrics": {**metrics, "time_elapsed": [60.0] * epochs}}


@pytest.fixture
def official_file(tmp_path: Path) -> Path:
    path = tmp_path / "transnas-bench_v10141024.pth"
    micro = {
        "64-41414-1_02_333": {
            "class_scene": _record(valid_top1=[1.0, 50.0], test_top1=[2.0, 49.0], valid_loss=[5.0, 3.0]),
            "segmentsemantic": _record(valid_acc=[90.0, 94.0], valid_mIoU=[20.0, 25.0]),
        },
        "64-41414-0_00_300": {
            "class_scene": _record(valid_top1=[60.0, 40.0]),
            "normal": _record(valid_ssim=[0.4, 0.5]),
        },
    }
    macro = {"64-1234-basic": {"room_layout": _record(valid_neg_loss=[-0.9, -0.7])}}
    about = {"metrics_dict": {}, "info_names": [], "task_list": list(SEVEN)}
    torch.save({**about, "data": {"macro": macro, "micro": micro}}, path)
    return path


def test_the_official_file_gives_the_scores_after_the_last_epoch(official_file: Path) -> None:
    small, large = transbench101_pth.read([official_file])
    assert (small.space, large.space) == ("transbench101-micro", "transbench101-macro")
    assert MICRO.format_all(small.archs) == ["64-41414-1_02_333", "64-41414-0_00_300"]
    values = {(c.metric, c.dataset): v for c, v in small.columns}
    assert values["val_accuracy", "class_scene"].tolist() == [50.0, 40.0]
    np.testing.assert_array_equal(values["test_accuracy", "class_scene"], [49.0, np.nan])
    np.testing.assert_array_equal(values["val_accuracy", "segmentsemantic"], [94.0, np.nan])
    np.testing.assert_array_equal(values["val_miou", "segmentsemantic"], [25.0, np.nan])
    np.testing.assert_array_equal(values["val_accuracy", "normal"], [np.nan, 0.5])
    assert len(values) == 5
    assert [(c.metric, c.dataset, c.unit, v.tolist()) for c, v in large.columns] == [
        ("val_accuracy", "room_layout", "", [-0.7])
    ]


def test_the_official_file_becomes_two_tables(official_file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("NASTK_MIRROR", raising=False)
    brought = imported.bring("transbench101-pth", [official_file], store=Store(tmp_path / "home"))
    assert sorted(b.space for b in brought) == ["transbench101-macro", "transbench101-micro"]
    table = Table.load("transbench101-macro", tmp_path / "home")
    assert table.values("val_accuracy", dataset="room_layout").tolist() == [-0.7]


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"data": {}},
        {"data": {"micro": {"x": {}}}},
        {"data": {"micro": {"64-41414-1_02_333": {}}}},
        {"data": {"micro": {"64-41414-1_02_333": {"class_scene": {"valid_top1": [1.0]}}}}},
        {"data": {"micro": {"64-41414-1_02_333": {"class_scene": {"metrics": {"valid_top1": ["x"]}}}}}},
        {"data": {"macro": {"64-11111-basic": {"jigsaw": _record(valid_top1=[1.0])}}}},
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "f.pth"
    torch.save(content, path)
    with pytest.raises(DataError, match="layout") as caught:
        transbench101_pth.read([path])
    assert "\n" not in str(caught.value)


def test_what_is_no_torch_file_or_not_one_file_is_refused(official_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="alone; got 2"):
        transbench101_pth.read([official_file, official_file])
    with pytest.raises(InvalidValue, match="no such file"):
        transbench101_pth.read([tmp_path / "none.pth"])
    path = tmp_path / "f.pth"
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="not a torch file"):
        transbench101_pth.read([path])
