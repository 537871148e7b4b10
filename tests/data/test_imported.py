"""Imports: columns of a user's own join the fetched table, stand alone without one, replace nothing, and go again."""

from __future__ import annotations

import json
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from effort import calls, peak

import nastk
from nastk.cli import run
from nastk.data import imported, official, tables
from nastk.data.fetch import Store, sha256_of
from nastk.data.official import Measurements
from nastk.data.tables import Block, Column, ColumnTable
from nastk.errors import (
    DataError,
    DataWarning,
    InvalidArchitecture,
    InvalidValue,
    MissingExtra,
    UnknownName,
    installing,
)
from nastk.oracles.table import Table, has_table
from nastk.spaces._pool import Pool
from nastk.spaces.base import Choice
from nastk.spaces.fbnet import FBNet
from nastk.spaces.nasbench201 import NASBench201

SPACE = NASBench201()
CELLS = SPACE.enumerate()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, empty."""
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> ColumnTable:
    """A fetched table of NAS-Bench-201: its first 100 cells, accuracy and two latencies."""
    columns = [
        Column("test_accuracy", "accuracy", "%", dataset="cifar10", fidelity=200),
        Column("latency", "latency", "ms", "min", device="phone"),
    ]
    values = np.stack([np.linspace(50, 90, 100), np.linspace(1, 2, 100)])
    table = ColumnTable("nasbench201", CELLS[:100].astype(np.int8), columns, [Block(None, values)], [(0, 0), (0, 1)])
    monkeypatch.setattr(tables, "load", lambda name, store=None: table)
    monkeypatch.setattr(imported, "_fetched", lambda name, store: name == "nasbench201")
    return table


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    lines = [",".join(columns), *(",".join(f'"{c}"' for c in row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def own(tmp_path: Path, rows: np.ndarray, name: str = "mine.csv", **values: list[Any]) -> Path:
    return write_csv(tmp_path / name, {"cell": SPACE.format_all(CELLS[rows]), **values})


def _prepared(found: Measurements) -> Measurements:
    return imported._prepare(found, (Path(__file__),))


def refusal(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    assert run(["data", "import", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


# ---- joining


def test_columns_over_architectures_of_the_table_are_matched_by_architecture(fetched, tmp_path):
    rows = np.array([70, 3, 12])
    path = own(tmp_path, rows, ms=[7.5, 0.5, 1.5])
    (found,) = imported.bring("csv", [path], space="nasbench201", columns=["ms:latency"], device="toaster")
    assert (found.space, found.label, found.rows) == ("nasbench201", "mine", 3)
    table = Table.load("nasbench201")
    assert len(table) == 100
    values = table.values("latency", device="toaster")
    assert values[rows].tolist() == [7.5, 0.5, 1.5]
    assert np.isnan(values).sum() == 97
    np.testing.assert_array_equal(table.values("test_accuracy", dataset="cifar10"), fetched.values(0))
    column = table.find("latency", device="toaster")[1]
    assert (column.source, column.sha256) == ("imported from mine.csv", sha256_of(path))
    assert (column.kind, column.unit, column.direction, column.dataset) == ("latency", "ms", "min", None)


def test_architectures_that_the_table_lacks_become_new_rows(fetched, tmp_path):
    path = own(tmp_path, np.array([500, 5]), acc=[88.0, 77.0])
    imported.bring("csv", [path], space="nasbench201", columns=["acc:val_accuracy"], dataset="cifar10", fidelity=12)
    table = Table.load("nasbench201")
    assert len(table) == 101
    assert isinstance(table.space, Pool)
    assert table.rows(CELLS[[5, 500]]).tolist() == [5, 100]
    np.testing.assert_array_equal(table.values("val_accuracy")[[5, 100]], [77, 88])
    accuracy = table.values("test_accuracy", dataset="cifar10")
    assert np.isnan(accuracy[100])
    np.testing.assert_array_equal(accuracy[:100], fetched.values(0))
    part = table.subset(np.array([100, 5]))
    assert part.values("val_accuracy").tolist() == [88, 77]
    np.testing.assert_array_equal(part.values("test_accuracy"), [np.nan, fetched.values(0)[5]])
    oracle = nastk.benchmark("nasbench201").oracle("val_accuracy")
    assert oracle(CELLS[[500]]).tolist() == [88]
    assert oracle.fidelities == [12]


def test_a_column_that_the_table_has_is_not_replaced(fetched, tmp_path):
    path = own(tmp_path, np.arange(2), ms=[5.0, 6.0], acc=[1.0, 2.0])
    imported.bring("csv", [path], space="nasbench201", columns=["ms:latency"], device="phone")
    other = own(tmp_path, np.arange(2), name="other.csv", ms=[8.0, 9.0])
    imported.bring("csv", [other], space="nasbench201", columns=["ms:latency"], device="phone")
    table = Table.load("nasbench201")
    np.testing.assert_array_equal(table.values("latency", device="phone"), fetched.values(1))
    assert table.values("latency", device="phone", variant="mine")[:2].tolist() == [5, 6]
    assert table.values("latency", device="phone", variant="other")[:2].tolist() == [8, 9]


def test_an_import_at_more_epochs_never_moves_the_default(fetched, tmp_path):
    before = nastk.benchmark("nasbench201", "cifar10").oracle("test_accuracy")
    assert (before.fidelity, before.source) == (200, "table nasbench201 cifar10 at 200 epochs")
    path = own(tmp_path, np.arange(40), acc=list(np.linspace(91, 95, 40)))
    choice: dict[str, Any] = {"space": "nasbench201", "columns": ["acc:test_accuracy"], "dataset": "cifar10"}
    imported.bring("csv", [path], **choice, fidelity=600)
    imported.bring("csv", [path], "short", **choice, fidelity=50)
    imported.bring("csv", [path], "bare", **{**choice, "dataset": None}, fidelity=900)
    bench = nastk.benchmark("nasbench201", "cifar10")
    oracle = bench.oracle("test_accuracy")
    assert (oracle.fidelity, oracle.source, oracle.fidelities) == (200, before.source, [200])
    np.testing.assert_array_equal(oracle(CELLS[:100]), fetched.values(0))
    for wanted in (bench.oracle("test_accuracy", fidelity=600), bench.oracle("test_accuracy", variant="mine")):
        assert wanted.source == "table nasbench201 cifar10 at 600 epochs imported as mine"
        assert (wanted.fidelity, wanted.fidelities) == (600, [600])
        assert wanted.describe()["variant"] == "mine"
        assert wanted(CELLS[[0, 39]]).tolist() == [91, 95]
        assert np.isnan(wanted(CELLS[[40]]))
    imported.bring("csv", [path], "again", **choice, fidelity=600)
    with pytest.raises(InvalidValue, match=r"several imports have test_accuracy at 600 .*: mine, again"):
        nastk.benchmark("nasbench201", "cifar10").oracle("test_accuracy", fidelity=600)


def test_the_epochs_of_one_import_stay_together(fetched, tmp_path):
    values = np.linspace(91, 95, 40)
    columns = [
        (Column("test_accuracy", "accuracy", "%", dataset="cifar10", fidelity=f), values) for f in (12, 200, 600)
    ]
    imported._save(_prepared(Measurements("nasbench201", CELLS[:40], columns)), "official", Store())
    bench = nastk.benchmark("nasbench201", "cifar10")
    assert bench.oracle("test_accuracy").fidelities == [200]
    oracle = bench.oracle("test_accuracy", variant="official")
    assert (oracle.fidelity, oracle.fidelities) == (600, [12, 200, 600])
    assert oracle.source_at(12) == "table nasbench201 cifar10 at 12 epochs imported as official"
    assert oracle.evaluate(CELLS[:1], 12).value.tolist() == [91]


def test_an_import_of_one_data_set_never_hides_a_column_of_all(fetched, tmp_path):
    path = own(tmp_path, np.arange(2), ms=[5.0, 6.0])
    choice: dict[str, Any] = {"space": "nasbench201", "columns": ["ms:latency"], "dataset": "cifar10"}
    imported.bring("csv", [path], **choice, device="phone")
    imported.bring("csv", [path], "other", **choice, device="toaster")
    bench = nastk.benchmark("nasbench201", "cifar10")
    np.testing.assert_array_equal(bench.values("latency", device="phone"), fetched.values(1))
    assert bench.oracle("latency", device="phone").source == "table nasbench201 phone"
    assert bench.values("latency", device="phone", variant="mine")[:2].tolist() == [5, 6]
    # what nothing else answers needs no variant, and may be asked for by the import's name all the same
    for variant in (None, "other"):
        oracle = bench.oracle("latency", device="toaster", variant=variant)
        assert oracle.source == "table nasbench201 cifar10 toaster imported as other"
    with pytest.raises(UnknownName, match="variant of latency"):
        bench.oracle("latency", device="toaster", variant="mine")


def test_without_a_fetched_table_the_first_import_stays_the_default(home, tmp_path, monkeypatch):
    choice: dict[str, Any] = {"space": "nasbench201", "columns": ["acc:test_accuracy"], "dataset": "cifar10"}
    for label, epochs, accuracy, now in (
        ("zebra", 200, 90.0, 10.0),
        ("ant", 600, 95.0, 20.0),
        ("zebra", 200, 91.0, 30.0),
    ):
        monkeypatch.setattr(imported.time, "time", lambda now=now: now)
        path = own(tmp_path, np.arange(2), acc=[accuracy, accuracy])
        imported.bring("csv", [path], label, **choice, fidelity=epochs)
    oracle = nastk.benchmark("nasbench201", "cifar10").oracle("test_accuracy")
    assert oracle.source == "table nasbench201 cifar10 at 200 epochs imported as zebra"
    assert oracle(CELLS[:2]).tolist() == [91, 91]
    assert nastk.benchmark("nasbench201").oracle("test_accuracy", variant="ant").fidelity == 600


def test_repeats_are_one_value_and_a_spread(home, tmp_path):
    path = own(tmp_path, np.array([4, 8, 4, 9, 4]), ms=[1.0, 5.0, 1.2, 9.0, 1.4])
    with pytest.warns(DataWarning, match="2 rows repeat architectures of other rows; each architecture counts once"):
        (found,) = imported.bring("csv", [path], space="nasbench201", columns=["ms:latency"], device="toaster")
    assert found.rows == 3
    answer = nastk.benchmark("nasbench201").oracle("latency", device="toaster").evaluate(CELLS[[4, 8, 9]])
    np.testing.assert_allclose(answer.value, [1.2, 5.0, 9.0])
    np.testing.assert_allclose(answer.std, [0.2, np.nan, np.nan])


@pytest.mark.parametrize(
    ("values", "column", "what"),
    [
        ([120, 50], "v:test_accuracy", "line 2, column 'v': 120 cannot be test_accuracy"),
        ([50, -5], "v:test_accuracy", "line 3, column 'v': -5 cannot be test_accuracy"),
        ([50, "True"], "v:test_accuracy", "line 3, column 'v': 'True' is not a number"),
        ([50, "9_0.5"], "v:test_accuracy", "line 3, column 'v': '9_0.5' is not a number"),
        ([50, 0], "v:latency", "line 3, column 'v': 0 cannot be latency"),
        (["50 %", 1], "v:latency", "line 2, column 'v': '50 %' is a percentage"),
    ],
)
def test_impossible_values_are_refused_with_file_line_and_column(home, tmp_path, capsys, values, column, what):
    path = own(tmp_path, np.arange(2), v=values)
    device = ["--device", "d"] if "latency" in column else []
    assert f"{path}, {what}" in refusal(capsys, path, "--space", "nasbench201", "--column", column, *device)
    assert not imported.saved()


def test_units_are_converted_or_named(fetched, tmp_path, capsys):
    def bring(heading: str, values: list[Any], column: str, *more: str) -> str:
        path = own(tmp_path, np.arange(2), **{heading: values})
        assert run(["data", "import", str(path), "--space", "nasbench201", "--column", column, *more]) == 0
        return capsys.readouterr().err

    device = ("--device", "toaster")
    assert "converted from us to ms" in bring("lat_us", [1500, 1600], "lat_us:latency", *device)
    assert nastk.benchmark("nasbench201").values("latency", device="toaster")[:2].tolist() == [1.5, 1.6]
    assert "the heading says us and --column says ms" in bring("lat_us", [1.5, 1.6], "lat_us:latency:ms", *device)
    said = bring("lat", [0.0015, 0.0016], "lat:latency", *device)
    assert "line 2, column 'lat': the values (0.00155 ms in the middle) are 1,000 times below all that is known" in said
    assert said.count("\n") == 1
    assert bring("lat", [1.5, 1.6], "lat:latency", *device) == ""
    dataset = ("--dataset", "svhn")
    assert "no value of test_accuracy is above 1" in bring("acc", [0.93, 0.94], "acc:test_accuracy", *dataset)
    assert bring("acc", [0.93, 0.94], "acc:test_accuracy:fraction", *dataset) == ""
    assert nastk.benchmark("nasbench201").values("test_accuracy", dataset="svhn")[:2].tolist() == [93, 94]
    assert bring("acc", ["93 %", "94%"], "acc:test_accuracy", *dataset) == ""


def test_every_way_to_write_a_table_is_imported_alike(home, tmp_path):
    choices = SPACE.choices
    header = ";".join(choice.name for choice in choices)
    rows = [";".join(c.options[v] for c, v in zip(choices, cell, strict=True)) for cell in CELLS[:2]]
    path = tmp_path / "mine.csv"
    path.write_bytes(f"\ufeff {header} ; acc \r\n{rows[0]};91,5\r\n\r\n{rows[1]};N/A\r\n".encode())
    (found,) = imported.bring("csv", [path], space="nasbench201", columns=["acc:test_accuracy"])
    assert found.rows == 1
    table = Table.load("nasbench201")
    assert table.values("test_accuracy")[table.rows(CELLS[:1])].tolist() == [91.5]


def test_an_entry_that_is_no_architecture_is_named_with_its_line(home, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text(f"cell,acc\n{SPACE.format(CELLS[0])},1\n1 2 3 4 4 9,2\n")
    said = refusal(capsys, path, "--space", "nasbench201", "--column", "acc:test_accuracy")
    assert f"{path}, line 3, column 'cell': " in said


def test_the_same_name_replaces_and_another_name_adds(fetched, tmp_path):
    path = own(tmp_path, np.arange(2), ms=[5.0, 6.0])
    choice: dict[str, Any] = {"space": "nasbench201", "columns": ["ms:latency"], "device": "toaster"}
    imported.bring("csv", [path], **choice)
    own(tmp_path, np.arange(2), ms=[7.0, 6.0])
    imported.bring("csv", [path], **choice)
    assert Table.load("nasbench201").values("latency", device="toaster")[0] == 7
    imported.bring("csv", [path], "again", **choice)
    assert [p.stem for p in imported.saved("nasbench201")] == ["again", "mine"]
    assert sum(c.device == "toaster" for c in Table.load("nasbench201").columns) == 2


def test_without_a_fetched_table_imports_are_the_table(home, tmp_path):
    archs = FBNet().sample(20, seed=0, unique=True)
    path = write_csv(tmp_path / "a.csv", {"arch": FBNet().format_all(archs), "top1": list(range(20))})
    imported.bring("csv", [path], space="fbnet", columns=["top1:test_accuracy"], dataset="imagenet")
    more = write_csv(tmp_path / "b.csv", {"arch": FBNet().format_all(archs[5:15]), "ms": list(range(1, 11))})
    imported.bring("csv", [more], space="fbnet", columns=["ms:latency"], device="phone")
    benchmark = nastk.benchmark("fbnet", dataset="imagenet")
    assert len(benchmark.table) == 20
    np.testing.assert_array_equal(benchmark.oracle("test_accuracy")(archs), np.arange(20))
    expected = np.full(20, np.nan)
    expected[5:15] = np.arange(1, 11)
    np.testing.assert_array_equal(benchmark.values("latency", device="phone")[benchmark.table.rows(archs)], expected)
    with pytest.raises(DataError, match="not fetched; run: nastk data fetch nasbench201"):
        nastk.benchmark("nasbench201")


def test_all_members_in_any_order_are_the_whole_space_in_the_official_order(home, tmp_path):
    order = np.random.default_rng(0).permutation(len(CELLS))
    values = np.arange(len(CELLS)) / 200
    for label, places in (("first", order[:9000]), ("second", order[8000:])):
        column = Column("test_accuracy", "accuracy", "%", dataset=label)
        found = _prepared(Measurements("nasbench201", CELLS[places], [(column, values[places])]))
        imported._save(found, label, Store())
    table = Table.load("nasbench201")
    assert isinstance(table.space, NASBench201)
    first = table.values("test_accuracy", dataset="first")
    np.testing.assert_array_equal(first[order[:9000]], values[order[:9000]])
    assert np.isnan(first).sum() == len(CELLS) - 9000
    some = CELLS[[17, 3]]
    oracle = nastk.benchmark("nasbench201").oracle("test_accuracy", dataset="second")
    np.testing.assert_array_equal(oracle(some), np.where(np.isin([17, 3], order[8000:]), values[[17, 3]], np.nan))


def test_a_fetched_table_that_is_damaged_is_not_passed_over(home, tmp_path, monkeypatch):
    importer = types.ModuleType("nastk.data.fbnet")
    importer.FILES, importer.VERSION = ("nasflat_latency/zc_fbnet.json",), 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nastk.data.fbnet", importer)
    path = write_csv(tmp_path / "a.csv", {"arch": FBNet().format_all(FBNet().sample(2, seed=0)), "top1": [1, 2]})
    imported.bring("csv", [path], space="fbnet", columns=["top1:test_accuracy"])
    assert len(Table.load("fbnet")) == 2
    (home / "raw/nasflat_latency").mkdir(parents=True)
    (home / "raw/nasflat_latency/zc_fbnet.json").write_text("half")
    importer.draft = lambda path: path("nasflat_latency/zc_fbnet.json")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="truncated or altered"):
        Table.load("fbnet")


def test_only_architectures_with_a_value_are_kept(home, tmp_path):
    path = own(tmp_path, np.arange(4), ms=["", 2.5, "nan", 3.5], e=["", 1, "", ""])
    (found,) = imported.bring(
        "csv", [path], space="nasbench201", columns=["ms:latency", "e:energy:J"], device="toaster", dataset="cifar10"
    )
    assert found.rows == 2
    table = Table.load("nasbench201")
    np.testing.assert_array_equal(table.values("latency", dataset="cifar10", device="toaster"), [2.5, 3.5])
    assert table.find("energy", dataset="cifar10", device="toaster")[1].unit == "J"


# ---- files of the cache


@pytest.mark.parametrize("damage", ["short", "noise", "shape", "columns", "pickle"])
def test_a_damaged_import_has_the_command_that_removes_it(home, tmp_path, capsys, damage):
    path = own(tmp_path, np.arange(3), ms=[1, 2, 3])
    (found,) = imported.bring("csv", [path], space="nasbench201", columns=["ms:latency"], device="toaster")
    with np.load(found.path) as content:
        members = dict(content)
    if damage == "short":
        found.path.write_bytes(found.path.read_bytes()[:200])
    elif damage == "noise":
        found.path.write_bytes(b"noise")
    else:
        if damage == "shape":
            members["values"] = members["values"][:, :2]
        elif damage == "columns":
            members["about"] = np.frombuffer(b'{"format": 2, "rows": 3, "columns": [{"colour": 1}]}', dtype=np.uint8)
        else:
            members["values"] = np.array([[{}, {}, {}]], dtype=object)
        np.savez(found.path, **members)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="run: nastk data forget mine --space nasbench201, and import it again"):
        nastk.benchmark("nasbench201")
    assert run(["data", "status"]) == 0
    assert run(["data", "forget", "mine", "--space", "nasbench201"]) == 0
    assert not found.path.exists()


def test_an_import_of_an_earlier_version_says_to_import_again(home):
    path = home / "imported/nasbench201/old_device.npz"
    path.parent.mkdir(parents=True)
    about = json.dumps({"metric": "latency", "kind": "latency", "unit": "ms", "direction": "min", "device": "old"})
    np.savez(path, about=np.frombuffer(about.encode(), dtype=np.uint8), values=np.ones(15625))
    with pytest.raises(DataError, match="another version of nastk; run: nastk data forget old_device"):
        nastk.benchmark("nasbench201")


def test_status_names_imports_and_forget_removes_them(home, tmp_path, capsys):
    for name in ("a.csv", "b.csv"):
        path = own(tmp_path, np.arange(3), name=name, ms=[1, 2, 3])
        words = ["data", "import", str(path), "--space", "nasbench201", "--column", "ms:latency", "--device", name[0]]
        assert run(words) == 0
        said = capsys.readouterr().out
        assert f"imported {name[0]}: latency 1 to 3 ms of 3 architectures, in the table nasbench201 now" in said
    assert run(["data", "status"]) == 0
    assert "imported into nasbench201: b, 1 column of 3 architectures" in capsys.readouterr().out
    assert run(["data", "forget", "a", "c"]) == 2
    assert "unknown import 'c'" in capsys.readouterr().err
    assert run(["data", "forget", "a", "--space", "fbnet"]) == 2
    assert len(imported.saved()) == 2
    capsys.readouterr()
    assert run(["data", "forget", "a", "b"]) == 0
    assert "removed a from the table nasbench201" in capsys.readouterr().out
    assert not imported.saved()
    assert not (home / "imported").exists(), "no empty folder is left"


# ---- the choices of a table of one's own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:test_accuracy", ("accuracy", "%", "max")),
        ("x:val_accuracy::min", ("accuracy", "%", "min")),
        ("x:latency:us", ("latency", "us", "min")),
        ("x:energy", ("energy", "mJ", "min")),
        ("x:nwot", ("proxy", "", "max")),
        ("x:params:M", ("count", "M", "min")),
        ("x:train_seconds", ("seconds", "s", "min")),
        ("x:perplexity::min", ("other", "", "min")),
    ],
)
def test_what_a_column_is_follows_from_its_metric(home, tmp_path, text, expected):
    path = own(tmp_path, np.arange(2), x=[10, 20], ms=[1, 2])
    choice: dict[str, Any] = {"columns": [text, "ms:latency"], "device": "d"}
    if ":latency" in text:
        choice["columns"] = [text]
    (found,) = imported.bring("csv", [path], space="nasbench201", fidelity=7, **choice)
    column = found.columns[0]
    assert (column.kind, column.unit, column.direction) == expected
    assert column.device == ("d" if column.kind in ("latency", "energy") else None)
    assert column.fidelity == (7 if column.kind in ("accuracy", "other") else None)


def test_architectures_as_texts_integers_or_named_indices(home, tmp_path):
    rows = np.array([8, 2])
    texts = SPACE.format_all(CELLS[rows])
    integers = [",".join(map(str, c)) for c in CELLS[rows].tolist()]
    for name, cells, arch in (("t", texts, None), ("i", integers, None), ("o", rows.tolist(), "cell")):
        path = write_csv(tmp_path / f"{name}.csv", {"number": [0, 1], "cell": cells, "acc": [1, 2]})
        options: dict[str, Any] = {"space": "nasbench201", "columns": ["acc:test_accuracy"], "dataset": name}
        imported.bring("csv", [path], arch=arch, **options)
        table = Table.load("nasbench201")
        assert table.values("test_accuracy", dataset=name)[table.rows(CELLS[rows])].tolist() == [1, 2]


def test_a_column_of_numbers_is_never_taken_for_indices_unasked(home, tmp_path, capsys):
    path = write_csv(tmp_path / "a.csv", {"number": [0, 1], "acc": [1, 2]})
    said = refusal(capsys, path, "--space", "nasbench201", "--column", "acc:test_accuracy")
    assert "no column whose every value is an architecture of nasbench201; name it with --arch" in said
    assert not imported.saved()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--column", "acc:test_accuracy"], "say whose architectures it holds with --space"),
        (["--space", "nasbench202", "--column", "acc"], "did you mean 'nasbench201'"),
        (["--space", "nasbench201"], "its columns are 'cell', 'acc', 'ms', 'bad'"),
        (["--space", "nasbench201", "--column", "ac"], "did you mean 'acc'"),
        (["--space", "nasbench201", "--column", "ms:latency"], "with --device"),
        (["--space", "nasbench201", "--column", "acc:test_accuracy", "--device", "d"], "no --column is one"),
        (["--space", "nasbench201", "--column", "acc:score"], "write acc:score::min or max"),
        (["--space", "nasbench201", "--column", "acc"], "write acc:accuracy, if that is what it is; else acc:acc::min"),
        (["--space", "nasbench201", "--column", "acc:ms"], "write acc:latency, if that is what it is; else acc:ms::"),
        (["--space", "nasbench201", "--column", "acc:score::up"], "'up' is not a direction"),
        (["--space", "nasbench201", "--column", "acc:a:b:max:d"], "write NAME:metric:unit:direction"),
        (["--space", "nasbench201", "--column", "acc", "--column", "acc"], "acc has no default direction"),
        (["--space", "nasbench201", "--column", "acc:nwot", "--column", "ms:nwot"], "two columns are nwot"),
        (["--space", "nasbench201", "--column", "bad:nwot"], "line 2, column 'bad': 'fast' is not a number"),
        (["--space", "nasbench201", "--column", "acc:test_accuracy", "--arch", "cel"], "did you mean 'cell'"),
        (
            ["--space", "nasbench201", "--column", "acc:test_accuracy", "--arch", "ms"],
            "mine.csv, line 2, column 'ms': ",
        ),
        (["--space", "nasbench201", "--column", "acc:test_accuracy", "--name", "../x"], "--name ../x: use letters"),
        (
            ["--space", "nasbench201", "--column", "ms:test_accuracy"],
            "line 2, column 'ms': 500 cannot be test_accuracy",
        ),
        (["--space", "nasbench201", "--column", "acc:test_accuracy", "--fidelity", "-1"], "fidelity"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(home, tmp_path, capsys, words, what):
    path = own(tmp_path, np.arange(2), acc=[10, 20], ms=[500, 0.5], bad=["fast", "slow"])
    assert what in refusal(capsys, path, *words)
    assert not imported.saved()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("cell,acc\n", "no rows"),
        ("", "is empty"),
        ("cell,acc\n1 2 3 4 4 9,1\n", "no column whose every value"),
        ("cell,acc\n1 2 3 4 4 0,1,2\n", "line 2 has 3 cells under 2 headings"),
        ("cell,acc,acc\n1 2 3 4 4 0,1,2\n", "two columns 'acc'"),
        ("cell,acc\n1 2 3 4 4 0,\n", "no value at all"),
        ("cell,acc\n1 2 3 4 4 0,inf\n", "line 2, column 'acc': inf cannot be test_accuracy"),
        ("cell,acc\n1 2 3 4 4 0,\xff\n", "line 2 is no text in UTF-8"),
    ],
)
def test_files_that_cannot_be_read_are_refused(home, tmp_path, capsys, content, what):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode("latin1"))
    assert what in refusal(capsys, path, "--space", "nasbench201", "--column", "acc:test_accuracy", "--dataset", "d")
    assert not imported.saved()


def test_words_that_name_no_form_or_file(home, tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text("{}")
    assert f"say of which form {path} is" in refusal(capsys, path)
    assert "did you mean 'suite-zero'" in refusal(capsys, "suite_zer", path)
    assert "nastk data import eagle PATH" in refusal(capsys, "eagle")
    assert "no such file" in refusal(capsys, tmp_path / "b.csv", "--space", "nasbench201", "--column", "x")
    assert "imported alone; got 2" in refusal(capsys, "hw_nas_bench", path, path)
    assert "does not take --column" in refusal(capsys, "hw-nas-bench", path, "--column", "x")
    assert "is of nasbench201" in refusal(capsys, "hw-nas-bench", path, "--space", "fbnet")
    assert "is a folder" in refusal(capsys, "hw-nas-bench", tmp_path)


def test_forms_are_listed_and_described_without_being_imported(capsys):
    assert run(["data", "forms"]) == 0
    said = capsys.readouterr().out
    for name, entry in official.forms().items():
        assert name in said
        assert 20 < len(entry.description) < 121
        module = official.form(name)
        assert isinstance(module.SPACE, str | None)
        assert callable(module.read)


OWN = """
import nastk
from nastk.spaces.nasbench201 import NASBench201
from torch import nn

class Mine(nastk.SearchSpace):
    name = "mine/../mine"
    choices = (nastk.Choice("width", {width}), nastk.Choice("depth", ("1", "2")))

class Net(nn.Module):
    input_shape = (4,)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, int(nastk.choice("width", {width}))))
        if nastk.choice("deep", [False, True]):
            self.layers.append(nn.ReLU())

    def forward(self, x):
        return self.layers(x)

class Cells(NASBench201):
    name = "nasbench201"
    choices = NASBench201.choices[::-1]
"""
"""Spaces of a user's own: declared, of a network that makes choices, and under a name that is taken."""
OWN_FILES = [("my.py:Mine", "mine.csv"), ("my.py:Net", "net.csv")]


@pytest.fixture
def mine(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with my.py, made the current one, and accuracies of three architectures of each of its spaces."""
    (tmp_path / "my.py").write_text(OWN.format(width=("16", "32", "64")), encoding="utf-8")
    write_csv(tmp_path / "mine.csv", {"arch": ["16_1", "32_2", "64_1"], "acc": [54.0, 58.0, 66.0]})
    write_csv(tmp_path / "net.csv", {"arch": ["16_False", "32_True", "64_False"], "acc": [54.0, 58.0, 66.0]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "file"), OWN_FILES)
def test_imports_into_a_space_of_ones_own_are_its_table(mine: Path, home: Path, name: str, file: str) -> None:
    imported.bring("csv", [Path(file)], space=name, columns=["acc:test_accuracy"])
    assert [path.parent.parent for path in imported.saved()] == [home / "imported"]
    table = Table.load(name)
    assert table.values("test_accuracy").tolist() == [54.0, 58.0, 66.0]
    oracle = nastk.benchmark(name).oracle("test_accuracy")
    assert oracle(table.space.enumerate()[[2, 0]]).tolist() == [66.0, 54.0]
    again = nastk.benchmark(oracle.describe()["table"]).oracle("test_accuracy")
    by_object = nastk.benchmark(nastk.space(name)).oracle("test_accuracy")
    for same in (again, by_object, pickle.loads(pickle.dumps(oracle))):
        assert same(same.space.enumerate()).tolist() == [54.0, 58.0, 66.0]


@pytest.mark.parametrize(("name", "file"), OWN_FILES)
@pytest.mark.parametrize(
    ("width", "what"),
    [
        (("64", "32", "16"), "width was chosen among 16, 32, 64, and now among 64, 32, 16"),
        (("16", "32", "64", "128"), "width was chosen among 16, 32, 64, and now among 16, 32, 64, 128"),
    ],
)
def test_a_changed_space_refuses_its_old_imports(
    mine: Path, name: str, file: str, width: tuple[str, ...], what: str
) -> None:
    choice: dict[str, Any] = {"space": name, "columns": ["acc:test_accuracy"]}
    imported.bring("csv", [Path(file)], **choice)
    before = (mine / "my.py").stat().st_mtime_ns
    (mine / "my.py").write_text(OWN.format(width=width), encoding="utf-8")
    os.utime(mine / "my.py", ns=(before + 10**9, before + 10**9))
    with pytest.raises(DataError, match=f"has changed since .* was imported: {what}; import it again"):
        Table.load(name)
    assert has_table(name), "a search must come to the refusal, not go on without the table"
    imported.bring("csv", [Path(file)], **choice)
    table = Table.load(name)
    assert table.space.format_all(table.space.enumerate()) == list(pd.read_csv(file)["arch"])
    assert table.values("test_accuracy").tolist() == [54.0, 58.0, 66.0]


def test_spaces_of_one_name_keep_their_imports_apart(mine: Path) -> None:
    for width in (("16", "32", "64"), ("16", "32", "64", "128")):
        (mine / f"my{len(width)}.py").write_text(OWN.format(width=width), encoding="utf-8")
        write_csv(mine / "mine.csv", {"arch": ["16_1", "32_2"], "acc": [len(width), 58.0]})
        imported.bring("csv", [Path("mine.csv")], space=f"my{len(width)}.py:Mine", columns=["acc:test_accuracy"])
    assert Table.load("my3.py:Mine").values("test_accuracy").tolist() == [3.0, 58.0]
    assert Table.load("my4.py:Mine").values("test_accuracy").tolist() == [4.0, 58.0]
    assert imported.forget(["mine"], "my3.py:Mine")
    assert not imported.saved(imported.folder_of(nastk.space("my3.py:Mine")))
    (left,) = imported.saved()
    assert imported.shown_names() == {left.parent.name: "mine/../mine"}
    assert imported.forget(["mine"], left.parent.name) == [("mine/../mine", "mine")]


def test_a_space_of_ones_own_is_called_by_its_name_unless_two_have_it(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str, status: int = 0) -> str:
        assert run(["data", *words]) == status
        return "".join(capsys.readouterr())

    folders = []
    for width in (("16", "32", "64"), ("16", "32", "64", "128")):
        (mine / "my.py").write_text(OWN.format(width=width), encoding="utf-8")
        write_csv(mine / "mine.csv", {"arch": ["16_1", "32_2"], "acc": [len(width), 58.0]})
        said("import", "mine.csv", "--space", "my.py:Mine", "--column", "acc:test_accuracy")
        if len(width) == 3:
            assert "imported into mine/../mine: mine, 1 column of 2 architectures" in said("status")
        folders.append(imported.folder_of(nastk.space("my.py:Mine")))
    shown = said("status")
    assert all(f"imported into {folder}: mine" in shown for folder in folders)
    assert "imported into mine/../mine:" not in shown
    assert "unknown space 'mine/../mine'" in said("forget", "mine", "--space", "mine/../mine", status=2)
    assert f"removed mine from the table {folders[0]}" in said("forget", "mine", "--space", folders[0])
    assert "removed mine from the table mine/../mine" in said("forget", "mine", "--space", "mine/../mine")
    assert not imported.saved()


def test_a_metric_that_has_no_direction_is_proposed_as_the_table_calls_it(
    fetched: ColumnTable, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(mine / "mine.csv", {"arch": ["16_1", "32_2"], "top1": [54.0, 58.0]})
    column = ["--space", "my.py:Mine", "--column"]
    assert "write top1:accuracy, if" in refusal(capsys, mine / "mine.csv", *column, "top1")
    assert run(["data", "import", "mine.csv", *column, "top1:val_accuracy"]) == 0
    assert "write top1:val_accuracy, if" in refusal(capsys, mine / "mine.csv", *column, "top1")
    path = own(mine, np.arange(2), name="cells.csv", acc=[10, 20])
    said = refusal(capsys, path, "--space", "nasbench201", "--column", "acc")
    assert "acc has no default direction; write acc:test_accuracy, if that is what it is; else acc:acc::min or" in said


def test_the_range_of_each_column_is_confirmed_and_seconds_as_milliseconds_are_named(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(mine / "mine.csv", {"arch": ["16_1", "32_2"], "ms": [0.00008, 0.00035], "acc": [84, 96], "n": [7, 12345]})
    columns = ["--column", "ms:latency", "--column", "acc:accuracy", "--column", "n:params"]
    assert run(["data", "import", "mine.csv", "--space", "my.py:Mine", *columns, "--device", "pi5"]) == 0
    told, warned = capsys.readouterr()
    assert "mine: latency 0.00008 to 0.00035 ms, accuracy 84 to 96 %, params 7 to 12,345 of 2 architectures" in told
    assert "line 2, column 'ms': every latency is below 1 microsecond" in warned
    assert "name the column lat_s" in warned
    assert warned.count("\n") == 1
    write_csv(mine / "mine.csv", {"arch": ["16_1", "32_2"], "lat_s": [0.00008, 0.00035]})
    words = ["--space", "my.py:Mine", "--column", "lat_s:latency", "--device", "pi5"]
    assert run(["data", "import", "mine.csv", *words]) == 0
    told, warned = capsys.readouterr()
    assert "latency 0.08 to 0.35 ms of 2" in told
    assert "microsecond" not in warned


def test_status_names_the_tables_of_a_collection_of_several(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "status"]) == 0
    said = capsys.readouterr().out
    assert "transbench101-micro: not compiled; transbench101-macro: not compiled" in said


def test_a_space_without_imports_or_with_a_name_that_is_taken_says_so(mine: Path) -> None:
    with pytest.raises(DataError, match="nothing was imported into the space Net; run: nastk data import"):
        Table.load("my.py:Net")
    assert not has_table("my.py:Net")
    path = own(mine, np.arange(2), name="cells.csv", acc=[1, 2])
    with pytest.raises(InvalidValue, match="nasbench201 is the name of a registered space"):
        imported.bring("csv", [path], space="my.py:Cells", columns=["acc:test_accuracy"])
    with pytest.raises(UnknownName, match="unknown space 'nope'"):
        imported.forget(["mine"], "nope")
    assert not imported.saved()


def test_a_registered_space_that_changed_refuses_its_old_imports(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported.bring("csv", [own(tmp_path, np.arange(2), acc=[1, 2])], space="nasbench201", columns=["acc:val_accuracy"])
    assert len(Table.load("nasbench201")) == 2
    changed = (*SPACE.choices[:-1], Choice(SPACE.choices[-1].name, SPACE.choices[-1].options[::-1]))
    monkeypatch.setattr(NASBench201, "choices", changed)
    with pytest.raises(DataError, match=r"has changed since mine was imported: .*; run: nastk data forget mine"):
        Table.load("nasbench201")


def test_what_a_form_reads_is_checked_before_anything_is_kept(home, tmp_path, monkeypatch):
    path = own(tmp_path, np.arange(2), acc=[1, 2])
    column = Column("test_accuracy", "accuracy", "%")
    good = Measurements("nasbench201", CELLS[:2], [(column, np.array([1.0, 2.0]))])
    bad = [
        (Measurements("nasbench201", CELLS[[0, 0]], good.columns), DataError, "comes twice"),
        (Measurements("nasbench201", CELLS[:2] + 9, good.columns), InvalidArchitecture, "must be 0 to 4"),
        (Measurements("nasbench201", CELLS[:2], [(column, np.full(2, np.nan))]), DataError, "no values"),
        (
            Measurements("nasbench201", CELLS[:2], [(column, np.array([1, np.inf]))]),
            DataError,
            "inf cannot be test_accuracy",
        ),
        (Measurements("nasbench201", CELLS[:3], good.columns), DataError, "no values of arch"),
        (Measurements("nasbench201", CELLS[:2], good.columns * 2), DataError, "a column twice"),
        (Measurements("nowhere", CELLS[:2], good.columns), UnknownName, "unknown space"),
        (good, InvalidValue, "one by one"),
    ]
    for wrong, error, what in bad:
        module = types.SimpleNamespace(SPACE="nasbench201", read=lambda paths, wrong=wrong: [good, wrong])
        monkeypatch.setattr(official, "form", lambda name, module=module: module)
        with pytest.raises(error, match=what):
            imported.bring("anything", [path])
        assert not imported.saved()


# ---- Parquet


def test_parquet_without_its_reader_says_what_to_install(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    assert installing("parquet") in refusal(capsys, path, "--space", "nasbench201", "--column", "acc")
    old = types.ModuleType("pyarrow")
    old.__version__ = "14.0.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", old)
    with pytest.raises(MissingExtra, match="is not safe"):
        imported.bring("parquet", [path], space="nasbench201", columns=["acc"])


def test_parquet_is_read_like_csv_and_may_hold_lists(home, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pandas

    path = tmp_path / "mine.parquet"
    frame = pandas.DataFrame({"row": CELLS[:3].tolist(), "text": SPACE.format_all(CELLS[:3]), "acc": [1.5, None, 3.5]})
    frame.to_parquet(path)
    for arch in (None, "row", "text"):
        imported.bring("parquet", [path], space="nasbench201", columns=["acc:test_accuracy"], arch=arch)
        table = Table.load("nasbench201")
        assert table.values("test_accuracy")[table.rows(CELLS[[0, 2]])].tolist() == [1.5, 3.5]
    path.write_bytes(path.read_bytes()[:100])
    assert "not a Parquet file" in refusal(capsys, path, "--space", "nasbench201", "--column", "acc:test_accuracy")


def test_unknown_names_keep_their_kind(home):
    with pytest.raises(UnknownName, match="unknown import 'x'; known: none"):
        imported.forget(["x"])


# ---- large tables


def test_a_large_table_joins_by_one_look_up_a_row(home, tmp_path):
    space = FBNet()
    archs = space.sample(20_000, seed=0, unique=True)
    values = np.random.default_rng(0).random((2, len(archs)))
    for label, part in (("one", slice(0, 19_000)), ("two", slice(1_000, len(archs)))):
        column = Column("test_accuracy", "accuracy", "%", dataset=label)
        found = Measurements("fbnet", archs[part], [(column, values[0, part])])
        imported._save(found, label, Store())
    content = imported.load("fbnet")
    assert calls(lambda: imported.load("fbnet")) < 1.5 * len(archs)
    assert peak(lambda: imported.load("fbnet")) < 1000 * len(archs)
    assert len(content.archs) == len(archs)
    np.testing.assert_array_equal(content.archs, archs)
    np.testing.assert_array_equal(content.values(1)[1_000:], values[0, 1_000:])
