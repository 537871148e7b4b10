"""Compiled tables: exact, rebuilt when they should be, never half-written; and golden values of the real ones."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from nastk.data import _pickles, computed_proxies, csv_file, fbnet, readers, tables
from nastk.data.catalogue import Catalogue
from nastk.data.fetch import Store
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, UnknownName

ARCHS = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], dtype=np.int8)


def table_of(*columns, archs=ARCHS) -> tables.ColumnTable:
    draft = Draft(archs)
    for column, values, *rows in columns:
        draft.add("toy/a.csv", column, np.asarray(values, dtype=np.float64), *rows)
    return draft.finish("toy", Store("unused", "", toy_catalogue(b"")))


def toy_catalogue(content: bytes) -> Catalogue:
    rows = [["toy/a.csv", len(content), hashlib.sha256(content).hexdigest()]]
    return Catalogue.parse(
        f"""
        [collection.toys]
        description = "toys"
        files = ["toy/*"]
        tables = ["toy"]
        [source.toy]
        repo = "o/r"
        commit = "0123"
        licence = "MIT"
        cite = "k"
        citation = "A. Author. Title. 2024."
        prefix = "toy/"
        base = "up/"
        files = {json.dumps(rows)}
        """
    )


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An importer of one file, its cache with that file fetched, and a count of how often it ran."""

    def draft(path):
        importer.runs += 1
        values = readers.numbers(csv_file.read(path("toy/a.csv"), ["x"], 4)["x"], "toy/a.csv")
        table = Draft(ARCHS)
        table.add("toy/a.csv", Column("latency", "latency", "ms", "min", device="d"), values, low=0)
        return table

    importer = types.ModuleType("nastk.data.toy")
    importer.FILES, importer.VERSION, importer.draft, importer.runs = ("toy/a.csv",), 1, draft, 0
    monkeypatch.setitem(sys.modules, "nastk.data.toy", importer)
    monkeypatch.setattr(tables, "names", lambda: ["toy"])

    def store(content: bytes) -> Store:
        (tmp_path / "raw/toy").mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw/toy/a.csv").write_bytes(content)
        return Store(tmp_path, "", toy_catalogue(content))

    return importer, store


def test_a_table_is_compiled_once_and_then_loaded(toy):
    importer, store_of = toy
    store = store_of(b"x\n1\n2\n3\n0.1\n")
    first, second = tables.load("toy", store), tables.load("toy", store)
    assert importer.runs == 1
    assert tables.is_current("toy", store)
    for table in (first, second):
        np.testing.assert_array_equal(table.archs, ARCHS)
        np.testing.assert_allclose(table.values(0), [1, 2, 3, 0.1], rtol=1e-7)
        assert table.columns[0].source == "o/r@0123 up/a.csv"
        assert table.columns[0].sha256 == store.catalogue.file("toy/a.csv").sha256
    assert first.columns == second.columns


def test_a_new_importer_or_new_files_rebuild_the_table(toy):
    importer, store_of = toy
    tables.load("toy", store_of(b"x\n1\n2\n3\n4\n"))
    importer.VERSION = 2
    tables.load("toy", store_of(b"x\n1\n2\n3\n4\n"))
    assert importer.runs == 2
    assert tables.load("toy", store_of(b"x\n5\n6\n7\n8\n")).values(0).tolist() == [5, 6, 7, 8]
    assert importer.runs == 3


def test_a_damaged_table_is_made_anew_from_the_files(toy):
    importer, store_of = toy
    store = store_of(b"x\n1\n2\n3\n4\n")
    tables.load("toy", store)
    path = tables.table_path("toy", store)
    whole = path.read_bytes()
    for damaged in (
        whole[:200],
        b"",
        b"nonsense",
        whole[:-600] + b"?" * 8 + whole[-592:],
        whole.replace(b"toy", b"tox"),
    ):
        path.write_bytes(damaged)
        assert tables.load("toy", store).values(0).tolist() == [1, 2, 3, 4]
    assert importer.runs > 4
    path.write_bytes(whole[:200])
    store.where(store.catalogue.file("toy/a.csv")).unlink()
    with pytest.raises(DataError, match=r"toy\.npz is damaged .*run: nastk data fetch toys"):
        tables.load("toy", store)


def test_the_table_serves_without_the_files_it_was_made_from(toy):
    _, store_of = toy
    store = store_of(b"x\n1\n2\n3\n4\n")
    tables.load("toy", store)
    store.where(store.catalogue.file("toy/a.csv")).unlink()
    assert tables.load("toy", store).values(0).tolist() == [1, 2, 3, 4]


def test_a_table_that_was_not_fetched_has_the_command(tmp_path):
    with pytest.raises(DataError, match=r"the table nasbench201 is not fetched; run: nastk data fetch nasbench201"):
        tables.load("nasbench201", Store(tmp_path))
    with pytest.raises(UnknownName, match="did you mean 'nasbench201'"):
        tables.load("nasbench2o1", Store(tmp_path))


@pytest.mark.parametrize(
    "content",
    [b"x\n1\n2\n3\n", b"x\n1\n2\n3\nfour\n", b"x\n1\n2\n3\n-4\n", b"x\n1\n2\n3\nnan\n", b"x\n1\n2\n3\ninf\n", b""],
)
def test_a_file_of_another_shape_or_range_gives_no_table(toy, content):
    _, store_of = toy
    store = store_of(content)
    with pytest.raises(DataError, match=r"a\.csv"):
        tables.load("toy", store)
    assert not (store.home / "tables").exists()


def test_an_altered_file_is_not_imported(toy):
    _, store_of = toy
    store = store_of(b"x\n1\n2\n3\n4\n")
    store.where(store.catalogue.file("toy/a.csv")).write_bytes(b"x\n1\n2\n3\n5\n")
    with pytest.raises(DataError, match=r"truncated or altered .* nastk data fetch toys"):
        tables.load("toy", store)
    assert not (store.home / "tables").exists()


def test_a_full_disk_costs_the_file_but_not_the_values(toy, monkeypatch):
    _, store_of = toy
    store = store_of(b"x\n1\n2\n3\n4\n")

    def full(file, **members):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert tables.load("toy", store).values(0).tolist() == [1, 2, 3, 4]
    assert list((store.home / "tables").iterdir()) == []


def test_values_keep_their_order_and_their_ties():
    close = np.array([1.0, 1.0 + 1e-12, 1.0, 2.0])
    table = table_of((Column("a", "proxy"), close), (Column("b", "proxy"), [0.1, 0.2, 0.1, 3e38]))
    assert {b.values.dtype.name for b in table.blocks} == {"float32", "float64"}
    np.testing.assert_array_equal(table.values(0), close)
    b = table.values(1)
    assert b[0] == b[2]
    np.testing.assert_allclose(b, [0.1, 0.2, 0.1, 3e38], rtol=1e-7)


def test_columns_of_some_architectures_are_nan_elsewhere():
    table = table_of((Column("a", "proxy"), [5.0, 3.0], np.array([2, 0])))
    np.testing.assert_array_equal(table.values(0), [3.0, np.nan, 5.0, np.nan])


def test_a_draft_refuses_what_cannot_be_right():
    draft = Draft(ARCHS)
    for values, rows in (([1.0], None), ([1.0, 2.0], np.array([1, 1])), ([1.0, 2.0], np.array([0, 4]))):
        with pytest.raises(DataError):
            draft.add("f", Column("a", "proxy"), np.array(values), rows)
    draft.add("f", Column("a", "proxy"), np.array([-1.0, 2.0, 3.0, 4.0]), low=0, failed=-1.0)
    assert np.isnan(draft.columns[0][1][0])


def test_the_fbnet_importer_checks_its_files(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(fbnet, "N", 3)
    rows = np.random.default_rng(0).integers(0, 9, (3, 22)).tolist()
    good = {
        fbnet.ARCHS: rows,
        fbnet.META: {"arch": [{"op_idx_list": r, "arch_str": [fbnet.OPERATIONS[i] for i in r]} for r in rows]},
        **{fbnet.LATENCY.format(d): [1.0, 2.0, 3.0] for d in fbnet.DEVICES},
    }
    scores = {"_".join(map(str, r)): {p: float(i) for p in fbnet.PROXIES} for i, r in enumerate(rows)}

    def draft(**changes) -> Draft:
        content = {**good, **changes}
        for name, value in content.items():
            (tmp_path / name.replace("/", "-")).parent.mkdir(exist_ok=True)
            torch.save(value, tmp_path / name.replace("/", "-"))
        (tmp_path / fbnet.PROXY_FILE.replace("/", "-")).write_text(json.dumps(scores))
        return fbnet.draft(lambda name: tmp_path / name.replace("/", "-"))

    assert len(draft().columns) == 27 + 13
    eyeriss = fbnet.LATENCY.format("eyeriss")
    for changes in (
        {eyeriss: [1.0, 2.0]},
        {eyeriss: [1.0, 2.0, -3.0]},
        {eyeriss: {"a": 1}},
        {fbnet.ARCHS: rows[:2]},
        {fbnet.ARCHS: [rows[0], rows[0], rows[1]]},
        {fbnet.ARCHS: [[9] * 22, *rows[1:]]},
        {fbnet.META: {"arch": good[fbnet.META]["arch"][::-1]}},
        {fbnet.META: []},
    ):
        with pytest.raises(DataError):
            draft(**changes)
    del scores["_".join(map(str, rows[1]))]
    with pytest.raises(DataError, match="has no entry"):
        draft()


def test_naslibs_tuples_name_the_official_cells():
    from nastk.data.nasbench201 import OPERATIONS, Rows

    cells = itertools.product(OPERATIONS, repeat=6)
    rows = Rows([f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in cells])
    pairs = {  # from the one file that writes both forms
        "(4, 0, 3, 1, 4, 3)": "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|",
        "(2, 4, 0, 0, 3, 2)": "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+"
        "|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    }
    assert [rows.strings[i] for i in rows.of_tuples(pairs, "f")] == list(pairs.values())
    for wrong in (
        "(4, 0, 3)",
        "(5, 0, 0, 0, 0, 0)",
        "(-1, 0, 0, 0, 0, 0)",
        "__import__('os')",
        "(0.5, 0, 0, 0, 0, 0)",
        "",
    ):
        with pytest.raises(DataError, match="not an architecture"):
            rows.of_tuples([wrong], "f")
    with pytest.raises(DataError, match="every NAS-Bench-201 cell once"):
        Rows(rows.strings[:-1])


# ---- the real tables


@pytest.fixture(scope="module")
def nasbench201(fetched) -> tables.ColumnTable:
    return tables.load("nasbench201", Store(fetched("nasbench201")))


@pytest.mark.data
@pytest.mark.parametrize("name", ["nasbench201", "fbnet"])
def test_the_real_tables_are_small_and_compiled_once(nastk_home, name, monkeypatch):
    store = Store(nastk_home)
    tables.load(name, store)
    monkeypatch.setattr(tables, "compile_table", lambda *_: pytest.fail("compiled again"))
    table = tables.load(name, store)
    assert tables.table_path(name, store).stat().st_size < 10e6
    assert sum(b.values.nbytes for b in table.blocks) + table.archs.nbytes < 10e6


@pytest.mark.data
def test_rows_follow_the_official_index(nasbench201, raw):
    from nastk.data.nasbench201 import OPERATIONS

    assert nasbench201.archs.shape == (15625, 6)
    assert len(np.unique(nasbench201.archs, axis=0)) == 15625
    ops = [OPERATIONS[i] for i in nasbench201.archs[1]]
    assert ops == ["nor_conv_3x3", "nor_conv_3x3", "avg_pool_3x3", "skip_connect", "nor_conv_3x3", "skip_connect"]


@pytest.mark.data
def test_fbnet_follows_help(nastk_home):
    table = tables.load("fbnet", Store(nastk_home))
    assert table.archs.shape == (5000, 22)
    assert table.archs[0].tolist() == [7, 8, 1, 8, 4, 8, 8, 8, 7, 4, 1, 4, 7, 3, 2, 7, 3, 2, 4, 2, 4, 5]


@pytest.mark.data
def test_the_compact_table_equals_its_sources(nasbench201, raw):
    column = {c.label: nasbench201.values(i) for i, c in enumerate(nasbench201.columns)}
    landscape = csv_file.read(raw / "nats-bench-landscape/nats_bench.csv", ["ImageNetTestAccuracy200Epochs"])
    source = readers.numbers(landscape["ImageNetTestAccuracy200Epochs"], "x")
    np.testing.assert_allclose(column["test_accuracy ImageNet16-120 200 epochs"], source, rtol=1e-7)
    for device in ("pixel2", "eyeriss", "raspi4", "gold_6226"):
        source = np.array(_pickles.load_torch(raw / f"help/nasbench201/latency/{device}.pt", 1 << 20), dtype=np.float64)
        ours = column[f"latency {device}"]
        np.testing.assert_allclose(ours, source, rtol=1e-7)
        np.testing.assert_array_equal(np.argsort(ours, kind="stable"), np.argsort(source, kind="stable"))
        assert len(np.unique(ours)) == len(np.unique(source))


@pytest.mark.data
def test_no_data_file_lies_in_the_package_but_what_nastk_computed():
    package = Path(tables.__file__).parents[1]
    found = [p for p in package.rglob("*") if p.suffix in {".npz", ".csv", ".pt", ".pd", ".zip"}]
    assert found == [computed_proxies.FILE]
