"""Official files: small ones of the documented forms give the right columns, hostile ones have no effect."""

from __future__ import annotations

import bz2
import collections
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official_files import (
    CELLS,
    TEXTS,
    entry,
    hardware,
    hostile_pickles,
    naslib,
    new_torch,
    old_torch,
    trial,
    whole,
    write_pbz2,
    zipped,
)

import nastk
import nastk.oracles.table
from nastk.cli import run
from nastk.data import _pickles, csv_file, imported, official, tables
from nastk.data.fetch import Store
from nastk.data.nasbench201 import DATASETS, HW
from nastk.data.official import _nasbench201 as runs
from nastk.data.official import hw_nas_bench
from nastk.data.proxies import PROXIES
from nastk.errors import DataError, InvalidValue, NastkError
from nastk.registry import SPACES
from nastk.spaces.nasbench201 import NASBench201


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# ---- records of NAS-Bench-201


def check_columns(found: official.Measurements, archs: list[int]) -> None:
    assert found.space == "nasbench201"
    np.testing.assert_array_equal(found.archs, CELLS[archs])
    columns = {(c.metric, c.dataset, c.fidelity): (c, v) for c, v in found.columns}
    numbers = np.array(archs)
    assert len(columns) == len(found.columns) == 2 * 6 + 2 * 3 + 1
    for epochs, seeds in ((12, 0.777), (200, 0.8325)):
        for dataset, metric, split in (
            ("cifar10", "val_accuracy", 1),
            ("cifar10", "test_accuracy", 0),
            ("cifar100", "val_accuracy", 1),
            ("ImageNet16-120", "test_accuracy", 0),
        ):
            column, values = columns[metric, dataset, epochs]
            np.testing.assert_allclose(values, numbers + seeds + 10 * split)
            assert (column.kind, column.unit, column.direction) == ("accuracy", "%", "max")
        np.testing.assert_allclose(columns["train_seconds", "cifar100", epochs][1], 1.5 * epochs)
    assert "half" in columns["val_accuracy", "cifar10", 200][0].note
    column, values = columns["latency", "cifar10", None]
    assert (column.device, column.unit) == ("gpu_256", "ms")
    np.testing.assert_allclose(values, 20)


@pytest.mark.parametrize("wrap", [old_torch, new_torch])
def test_the_pth_gives_means_over_seeds_after_the_last_epoch(tmp_path, wrap):
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    path.write_bytes(wrap(whole([3, 17, 40])))
    (found,) = official.form("nasbench201-pth").read([path])
    check_columns(found, [3, 17, 40])


def test_the_pth_is_read_as_torch_itself_writes_it(tmp_path):
    import torch

    for as_zip in (False, True):
        torch.save(whole([3, 17]), tmp_path / "a.pth", _use_new_zipfile_serialization=as_zip)
        check_columns(official.form("nasbench201_pth").read([tmp_path / "a.pth"])[0], [3, 17])


def test_version_1_0_lacks_most_trainings_of_12_epochs(tmp_path):
    content = whole([3])
    results = content["arch2infos"][3]["less"]["all_results"]
    for key in [k for k in results if k[0] != "cifar10-valid"]:
        del results[key]
    (tmp_path / "a.pth").write_bytes(old_torch(content))
    (found,) = official.form("nasbench201-pth").read([tmp_path / "a.pth"])
    assert [(c.metric, c.dataset) for c, _ in found.columns if c.fidelity == 12] == [("val_accuracy", "cifar10")]


def test_a_long_pth_needs_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_pickles, "CHUNK", 1 << 14)
    path = tmp_path / "a.pth"
    path.write_bytes(old_torch({**whole(list(range(6))), "meta_archs": TEXTS[:6]}))  # else their texts would take most

    def peak(shrink: Any) -> int:
        tracemalloc.start()
        assert len(_pickles.load_torch(path, 1 << 30, shrink)["arch2infos"]) == 6
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    a, b = peak(runs.shrink), peak(None)
    assert a < b / 3


def test_shrinking_twice_is_shrinking_once():
    one = {k: dict(v) if isinstance(v, dict) else v for k, v in trial("cifar100", 777, 12, 5).items()}
    runs.shrink(one)
    again = dict(one, eval_acc1es=dict(one["eval_acc1es"]), train_times=dict(one["train_times"]))
    runs.shrink(again)
    assert one == again
    assert list(one["eval_acc1es"]) == ["x-test@11", "x-valid@11", "ori-test@11"]
    assert one["train_times"] == {"total": 18.0}
    assert set(one) == {"eval_acc1es", "train_times", "epochs", "latency"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nats_bench_as_folder_or_file(tmp_path, protocol):
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    content = whole([5, 12], "12", "200")
    write_pbz2(folder / "meta.pickle.pbz2", {k: content[k] for k in ("meta_archs", "total_archs")}, protocol)
    for arch in (12, 5):
        write_pbz2(folder / f"{arch:06d}.pickle.pbz2", content["arch2infos"][arch], protocol)
    file = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    write_pbz2(file, content, protocol)
    for path in (folder, file):
        check_columns(official.form("nats-bench").read([path])[0], [5, 12])


def test_nats_bench_is_imported_by_the_command(home, tmp_path, capsys):
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    content = whole([5, 12], "12", "200")
    write_pbz2(folder / "meta.pickle.pbz2", content)
    for arch in (5, 12):
        write_pbz2(folder / f"{arch:06d}.pickle.pbz2", content["arch2infos"][arch])
    assert run(["data", "import", "nats-bench", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("imported NATS-tss-v1_0-3ffb9-simple: ")
    assert "of 2 architectures, in the table nasbench201 now" in said
    oracle = nastk.benchmark("nasbench201", dataset="cifar100").oracle("val_accuracy")
    assert oracle.fidelities == [12, 200]
    np.testing.assert_allclose(oracle(CELLS[[12]]), 22.8325)
    assert oracle.column.source == "imported from NATS-tss-v1_0-3ffb9-simple"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c.pop("meta_archs"), "another layout"),
        (lambda c: c.update(arch2infos=[1]), "another layout"),
        (lambda c: c["arch2infos"].clear(), "no results"),
        (lambda c: c["arch2infos"][3]["full"].update(arch_str=TEXTS[4]), "architecture 3 is"),
        (lambda c: c["arch2infos"][3]["full"].pop("all_results"), "another layout"),
        (lambda c: c["arch2infos"].update({99999: c["arch2infos"][3]}), "another layout"),
        (lambda c: c["arch2infos"][3]["full"]["all_results"].update({("cifar10", 1): 7}), "another layout"),
        (lambda c: _trial(c)["eval_acc1es"].update({"ori-test@199": 101.0}), "not a number from 0 to 100"),
        (lambda c: _trial(c)["eval_acc1es"].update({"ori-test@199": "many"}), "not a number from 0 to 100"),
        (lambda c: _trial(c)["eval_acc1es"].update({"ori-test@199": float("nan")}), "not a number"),
        (lambda c: c.update(meta_archs=["1:2:3"] * 15625), "not of NAS-Bench-201's cells"),
    ],
)
def test_other_layouts_of_the_pth_are_refused(tmp_path, change, what):
    content = whole([3])
    change(content)
    (tmp_path / "a.pth").write_bytes(old_torch(content))
    with pytest.raises(DataError, match=what) as caught:
        official.form("nasbench201-pth").read([tmp_path / "a.pth"])
    assert "\n" not in str(caught.value)


def _trial(content: dict[str, Any]) -> dict[str, Any]:
    return content["arch2infos"][3]["full"]["all_results"]["cifar10", 777]


def test_folders_and_files_of_nats_bench_that_are_none(tmp_path):
    read = official.form("nats-bench").read
    with pytest.raises(InvalidValue, match="no such file"):
        read([tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"cannot read .*meta\.pickle\.pbz2"):
        read([tmp_path])
    write_pbz2(tmp_path / "meta.pickle.pbz2", {"meta_archs": TEXTS})
    with pytest.raises(InvalidValue, match="no file of an architecture"):
        read([tmp_path])
    (tmp_path / "000003.pickle.pbz2").write_bytes(b"not packed")
    with pytest.raises(DataError, match=r"000003\.pickle\.pbz2 is truncated"):
        read([tmp_path])
    write_pbz2(tmp_path / "000003.pickle.pbz2", [1, 2])
    with pytest.raises(DataError, match="another layout"):
        read([tmp_path])


# ---- HW-NAS-Bench


def test_hw_nas_bench_gives_latency_and_energy_of_every_device(home, tmp_path):
    content = hardware()
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(content))
    (found,) = imported.bring("hw-nas-bench", [path])
    assert (found.label, found.rows, len(found.columns)) == ("HW-NAS-Bench-v1_0", 15625, 30)
    benchmark = nastk.benchmark("nasbench201", dataset="cifar100")
    assert isinstance(benchmark.space, NASBench201)
    part = content["nasbench201"]["cifar100"]
    np.testing.assert_array_equal(benchmark.values("latency", device="pixel3"), part["pixel3_latency"])
    np.testing.assert_array_equal(benchmark.values("energy", device="fpga"), part["fpga_energy"])
    assert np.flatnonzero(np.isnan(benchmark.values("latency", device="edgetpu"))).tolist() == [4]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: p.pop("pixel3_latency"), "another layout"),
        (lambda p: p.update(pixel3_latency=[1.0] * 15), "15 values, expected 15625"),
        (lambda p: p.update(pixel3_latency=[0.0] * 15625), "must be positive"),
        (lambda p: p.update(pixel3_latency=["x"] * 15625), "not a number"),
        (lambda p: p["config"].reverse(), "official index"),
    ],
)
def test_other_layouts_of_hw_nas_bench_are_refused(tmp_path, change, what):
    content = hardware()
    change(content["nasbench201"]["cifar10"])
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=what):
        official.form("hw-nas-bench").read([tmp_path / "a.pickle"])


@pytest.mark.data
def test_hw_nas_bench_agrees_with_the_fetched_table(nastk_home, raw, tmp_path):
    content: dict[str, Any] = {"nasbench201": {}, "fbnet": {}}
    for dataset in DATASETS:
        cells = csv_file.read(raw / HW.format(dataset), hw_nas_bench.METRICS)
        content["nasbench201"][dataset] = {name: [float(v) for v in cells[name]] for name in hw_nas_bench.METRICS}
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(content))
    (found,) = official.form("hw-nas-bench").read([path])
    table = nastk.benchmark("nasbench201").table
    for column, values in found.columns:
        kept = table.values(column.metric, dataset=column.dataset, device=column.device)
        np.testing.assert_allclose(kept, values, rtol=1e-7)
        same = table.find(column.metric, dataset=column.dataset, device=column.device)[1]
        assert (same.unit, same.direction, same.kind) == (column.unit, column.direction, column.kind)


# ---- NASLib's pickles


@pytest.mark.parametrize("protocol", [2, 4])
def test_naslib_pickles_give_the_last_epoch(home, tmp_path, protocol):
    path = tmp_path / "nb201_cifar10_full_training.pickle"
    path.write_bytes(pickle.dumps(naslib([7, 3]), protocol))
    (found,) = imported.bring("naslib-pickle", [path])
    assert (found.label, found.rows) == ("nb201_cifar10_full_training", 2)
    table = nastk.benchmark("nasbench201").table
    rows = table.rows(CELLS[[3, 7]])
    np.testing.assert_allclose(table.values("eval_accuracy", dataset="cifar10-valid")[rows], [80.03, 80.07])
    np.testing.assert_allclose(table.values("train_accuracy", dataset="cifar100", fidelity=200)[rows], [90.03, 90.07])
    assert "never select" in table.find("eval_accuracy", dataset="cifar100")[1].note


def test_naslib_pickles_of_single_numbers(tmp_path):
    content = {TEXTS[2]: {"cifar10": {"train_acc1es": 99.0, "eval_acc1es": 91.5, "params": 1.0}}}
    (tmp_path / "nb201_all.pickle").write_bytes(pickle.dumps(content))
    (found,) = official.form("naslib-pickle").read([tmp_path / "nb201_all.pickle"])
    assert [(c.metric, c.fidelity, v.tolist()) for c, v in found.columns] == [
        ("train_accuracy", None, [99.0]),
        ("eval_accuracy", None, [91.5]),
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"Genotype(normal=...)": {}}, "not of NAS-Bench-201"),
        ({TEXTS[1]: {"cifar10": {"eval_acc1es": [], "train_acc1es": []}}}, "not an accuracy"),
        ({TEXTS[1]: {"cifar10": {"eval_acc1es": [101.0], "train_acc1es": [1.0]}}}, "not an accuracy"),
        ({TEXTS[1]: {"cifar10": {"eval_acc1es": [10.0]}}}, "another layout"),
        ({TEXTS[1]: 7}, "another layout"),
        ({}, "no results"),
        ([1], "another layout"),
        ({(1, 2): {}}, "another layout"),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, what):
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=what):
        official.form("naslib-pickle").read([tmp_path / "a.pickle"])


# ---- NAS-Bench-Suite-Zero


def test_suite_zero_reads_naslibs_tuples_of_nasbench201(home, tmp_path):
    file = tmp_path / "zc_nasbench201.json"
    file.write_text(
        json.dumps({"cifar10": {"(4, 3, 2, 1, 0, 0)": entry(2.0), "(0, 0, 0, 0, 0, 1)": entry(3.0)}}), encoding="utf-8"
    )
    (found,) = imported.bring("suite-zero", [file])
    assert found.label == "zc_nasbench201"
    table = nastk.benchmark("nasbench201", dataset="cifar10").table
    cell = "|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|"
    row = table.rows(cell)
    assert table.values("nwot")[row].tolist() == [2.0]
    assert table.values("naslib_accuracy")[row].tolist() == [20.0]
    assert table.values("nwot_seconds")[row].tolist() == [0.25]
    assert np.isnan(table.values("synflow")).all()
    assert np.isnan(table.values("snip")).all()
    assert (table.find("params")[1].kind, table.find("params")[1].unit) == ("count", "M")


def test_suite_zero_takes_bare_scores_under_the_name_of_the_space_and_means_of_repeats(tmp_path):
    file = tmp_path / "part.json"
    cells = "(1, 1), (0, 1), (1, 3), (0, 3), (1, 3), (3, 2)], [(1, 0), (0, 2), (1, 3), (0, 3), (3, 0), (0, 1), (2, 0)"
    text = f"[[(0, 0), (1, 5), {cells}, (3, 6)]]"
    again = text.replace("[[(0, 0), (1, 5)", "[[(1, 5), (0, 0)")
    file.write_text(json.dumps({"nasbench301": {"cifar10": {text: entry(2.0, False), again: entry(4.0, False)}}}))
    read = official.form("suite-zero").read
    with pytest.raises(InvalidValue, match="add --space"):
        read([file])
    (found,) = read([file], space="nasbench301")
    assert len(found.archs) == 1
    columns = {c.metric: v.tolist() for c, v in found.columns}
    assert columns["nwot"] == [3.0]
    assert columns["val_accuracy"] == [30.0]
    assert "nwot_seconds" not in columns


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "not JSON"),
        ("[]", "another layout"),
        ("{}", "no architecture"),
        ('{"cifar10": {}}', "no architecture"),
        ('{"cifar10": {"(9, 0, 0, 0, 0, 0)": {}}}', "not 0 to 4"),
        ('{"cifar10": {"__import__": {}}}', "not an architecture"),
        ('{"cifar10": {"(1, 0, 0, 0, 0, 0)": 7}}', "another layout"),
        ('{"cifar10": {"(1, 0, 0, 0, 0, 0)": {"nwot": "x"}}}', "not a number"),
        ('{"cifar10": 7}', "another layout"),
    ],
)
def test_other_json_is_refused(tmp_path, content, what):
    file = tmp_path / "zc_nasbench201.json"
    file.write_text(content)
    with pytest.raises(DataError, match=what):
        official.form("suite-zero").read([file])


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "nasbench201",
        "transbench101-micro",
        *(pytest.param(n, marks=pytest.mark.long) for n in ("nasbench101", "nasbench301", "transbench101-macro")),
    ],
)
def test_suite_zero_agrees_with_the_fetched_table(suite_home, raw, name):
    file = raw / f"naslib/zc_{name.replace('-', '_')}.json"
    if name not in SPACES.entries or not file.is_file():
        pytest.skip(f"{name} is not here; run: nastk data fetch {name.partition('-')[0]}")
    (found,) = official.form("suite-zero").read([file])
    assert found.space == name
    assert len(np.unique(found.archs, axis=0)) == len(found.archs)
    try:
        kept = nastk.oracles.table.Table(tables.load(name, Store()))
    except (DataError, ModuleNotFoundError) as error:
        pytest.skip(str(error))
    rows = kept.rows(found.archs)
    compared = 0
    for column, values in found.columns:
        theirs = [c for c in kept.columns if (c.metric, c.dataset) == (column.metric, column.dataset)]
        same = [c for c in theirs if c.source.endswith(file.name)]
        if same and (column.metric in (*PROXIES, "naslib_accuracy", "val_accuracy")):
            expected = kept.values(
                column.metric, dataset=column.dataset, fidelity=same[0].fidelity, variant=same[0].variant
            )
            np.testing.assert_allclose(values, expected[rows], rtol=1e-6, err_msg=column.label)
            assert (same[0].unit, same[0].direction) == (column.unit, column.direction)
            compared += 1
    assert compared >= 10


# ---- hostile files


READERS = {
    "nasbench201-pth": [old_torch, new_torch],
    "hw-nas-bench": [bytes],
    "naslib-pickle": [bytes],
    "nats-bench": [bz2.compress],
}


def _wrap(wrap: Any, content: bytes) -> bytes:
    """The hostile pickle in the place of the object."""
    if wrap in (old_torch, new_torch):
        return wrap("?").replace(pickle.dumps("?", 2), content) if wrap is old_torch else zipped(content)
    return wrap(content)


@pytest.mark.parametrize("hostile", hostile_pickles())
def test_hostile_files_are_refused_in_one_line_and_nothing_is_run(home, tmp_path, monkeypatch, capsys, hostile):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    for form, wraps in READERS.items():
        for wrap in wraps:
            path.write_bytes(_wrap(wrap, hostile_pickles()[hostile]))
            assert run(["data", "import", form, str(path)]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert str(path) in said
    assert not (tmp_path / "pwned").exists()
    assert not imported.saved()


def sound() -> dict[str, list[bytes]]:
    """Files that every form reads."""
    return {
        "nasbench201-pth": [old_torch(whole([3])), new_torch(whole([3]))],
        "hw-nas-bench": [pickle.dumps(hardware())],
        "naslib-pickle": [pickle.dumps(naslib([1, 2]))],
        "nats-bench": [bz2.compress(pickle.dumps(whole([3], "12", "200")))],
    }


@pytest.mark.parametrize("rounds", [5, pytest.param(300, marks=pytest.mark.long)])
def test_corrupted_files_are_read_or_refused_in_one_line(tmp_path, rounds):
    rng = np.random.default_rng(rounds)
    path = tmp_path / "file"
    for form, files in sound().items():
        for number, content in enumerate(files):
            for _ in range(rounds if len(content) < 1e6 else -(-rounds // 10)):
                damaged = np.frombuffer(content, np.uint8).copy()
                some = rng.integers(len(damaged), size=rng.integers(1, 9))
                damaged[some] = rng.integers(256, size=len(some))
                where = int(rng.integers(len(damaged)))
                kind = rng.choice(["bytes", "cut out", "twice"])
                parts = {"bytes": [damaged], "cut out": [damaged[:where], damaged[where + 9 :]]}
                parts["twice"] = [damaged[: where + 9], damaged[where:]]
                path.write_bytes(b"".join(part.tobytes() for part in parts[kind]))
                said = ""
                try:
                    official.form(form).read([path])
                except NastkError as error:
                    said = str(error)
                assert "\n" not in said, (form, number, kind, some, where)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, keep):
    for form, files in sound().items():
        for number, content in enumerate(files):
            path = tmp_path / f"{form}-{number}"
            path.write_bytes(content[: int(keep * len(content)) - 20])
            with pytest.raises(DataError, match=r"truncated|is not a torch file"):
                official.form(form).read([path])


def test_what_unpacks_to_too_much_is_refused(tmp_path):
    content = bz2.compress(pickle.dumps({"a": [1.5] * 100_000}))
    with bz2.open(io.BytesIO(content)) as stream, pytest.raises(DataError, match="more than is expected"):
        _pickles.Pickles(stream, "file", 500_000).load()
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps([1.5] * 1000))
    with pytest.raises(DataError, match="larger than"):
        _pickles.load(path, 1000)
    assert len(_pickles.load(path, 100_000)) == 1000


def test_a_torch_file_that_unpacks_to_a_thousand_times_its_size_is_refused_unopened(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"}" * (1 << 24))
    assert path.stat().st_size < 1 << 16
    for form in ("nasbench201-pth", "transbench101-pth"):
        with pytest.raises(DataError, match=r"is compressed, which torch\.save never does"):
            official.form(form).read([path])


def test_a_packed_file_unpacks_to_no_more_than_its_size_allows(tmp_path, monkeypatch):
    monkeypatch.setattr(_pickles, "UNPACKED", 1 << 20)
    path = tmp_path / "a.pickle.pbz2"
    path.write_bytes(bz2.compress(b"\x80\x02](" + b"N" * (3 << 20) + b"e."))
    with pytest.raises(DataError, match="holds more than is expected at most"):
        official.form("nats-bench").read([path])


def test_what_takes_more_memory_than_a_file_of_its_size_needs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_pickles, "CHUNK", 1 << 16)
    monkeypatch.setattr(_pickles, "FREE", 16 << 20)
    path = tmp_path / "a.pickle"
    path.write_bytes(b"\x80\x02](" + b"}" * (1 << 20) + b"e.")
    with pytest.raises(DataError, match="takes more memory than a sound file of its size needs"):
        _pickles.load(path, 1 << 30)


@pytest.mark.parametrize(
    ("prepared", "again", "what"),
    [
        (b"](" + b"K\x01" * 50_000 + b"eq\x00c__builtin__\nset\nq\x010", b"h\x01h\x00\x85R", "over and over"),
        (b"}(" + b"".join(b"\x8a\x0a" + (i << 64).to_bytes(10, "little") + b"N" for i in range(9)), b"", "64 bits"),
    ],
)
def test_short_calls_that_copy_much_and_keys_that_collide_are_refused(tmp_path, prepared, again, what):
    path = tmp_path / "a.pickle"
    path.write_bytes(b"\x80\x02" + prepared + b"](" + again * 20_000 + b"e.")
    with pytest.raises(DataError, match=what):
        _pickles.load(path, 1 << 30)


def test_plain_values_are_read_as_they_are(tmp_path):
    shared = ["a", "b"]
    content = {
        "numbers": [0, 255, 256, 65535, 65536, -1, 2**40, -(2**62), 1.5, float("inf"), True, None],
        "texts": ["", "é", "x" * 300, "\ud800"],
        "bytes": [b"a", b"abc", b"x" * 300],
        "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {1, 2}, set(), shared, shared],
        "ordered": collections.OrderedDict((i, i / 3) for i in range(2500)),
        "numpy": np.float32(1.5),
        "long": list(range(3000)),
    }
    for protocol in (2, 3, 4, 5):
        path = tmp_path / f"{protocol}"
        path.write_bytes(pickle.dumps(content, protocol))
        found = _pickles.load(path, 1 << 30)
        assert found == content
        assert found["containers"][-1] is found["containers"][-2]
        array = np.arange(6, dtype=np.int32).reshape(2, 3)
        path.write_bytes(pickle.dumps({"array": array, "flat": [np.arange(3.0)]}, protocol))
        found = _pickles.load(path, 1 << 30)
        np.testing.assert_array_equal(found["array"], array)
        np.testing.assert_array_equal(found["flat"][0], np.arange(3.0))


def test_tensors_are_passed_over(tmp_path):
    import torch

    for as_zip in (False, True):
        torch.save({"weights": torch.ones(3), "value": 2.5}, tmp_path / "a.pth", _use_new_zipfile_serialization=as_zip)
        assert _pickles.load_torch(tmp_path / "a.pth", 1 << 30) == {"weights": None, "value": 2.5}
