"""HW-NAS-Bench-360: what is read, what is refused, how it joins NAS-Bench-201's table, and that no weights know it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official_files import rows_360

import nastk
from nastk.bench.problems import problems
from nastk.cli import main
from nastk.data import Store, hw_nas_bench_360, imported, tables
from nastk.data.catalogue import Catalogue
from nastk.data.hw_nas_bench_360 import DATASETS, DEVICES, FILE, ROWS, WITH_ENERGY, N
from nastk.errors import DataError, DataWarning, installing
from nastk.oracles.table import Benchmark, Table
from nastk.predictors.factory import weights
from nastk.spaces.nasbench201 import NASBench201

SPACE = NASBench201()
MEASURED = 6466
"""Classes of isomorphic cells, of each of which one was measured."""
EMPTY = 10
"""A cell that is not connected, and the first of its class."""


@pytest.fixture
def draft(tmp_path: Path) -> Callable[[dict[str, Any]], tables.Draft]:
    """Reads columns from a file of them."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    parquet = pytest.importorskip("pyarrow.parquet")

    def read(columns: dict[str, Any]) -> tables.Draft:
        path = tmp_path / "a.parquet"
        parquet.write_table(pyarrow.table(columns), path)
        return hw_nas_bench_360.draft(lambda _: path)

    return read


def put(columns: dict[str, Any], name: str, row: int, value: Any) -> dict[str, Any]:
    """The columns with another value in a row."""
    column = columns[name].copy()
    column[row] = value
    return {**columns, name: column}


# ---- the file


def test_measured_cells_have_values_and_their_copies_none(draft):
    content = rows_360()
    order = np.random.default_rng(0).permutation(ROWS)  # any order of rows will do
    found = draft({name: column[order] for name, column in content.items()})
    labels = [column.label for column, _, _ in found.columns]
    assert len(set(labels)) == len(labels) == len(DATASETS) * (len(DEVICES) + 2 * len(WITH_ENERGY))
    np.testing.assert_array_equal(found.archs, SPACE.enumerate())
    first = hw_nas_bench_360._first_of_class()
    for column, values, archs in found.columns:
        assert column.device in DEVICES
        assert column.dataset in DATASETS
        np.testing.assert_array_equal(archs, np.unique(first))
        assert len(values) == MEASURED
        latency = 1 + archs / 100
        wanted = {"latency": latency, "latency_std": latency / 100, "energy": 2 * latency}[column.metric]
        np.testing.assert_allclose(values, wanted, rtol=1e-12)
    assert {c.unit for c, _, _ in found.columns if c.metric != "energy"} == {"ms"}
    assert {c.unit for c, _, _ in found.columns if c.metric == "energy"} == {"mJ"}


def test_what_is_measured_is_one_cell_of_each_class():
    first = hw_nas_bench_360._first_of_class()
    assert len(np.unique(first)) == MEASURED
    assert (first <= np.arange(N)).all()
    np.testing.assert_array_equal(first[first], first)
    np.testing.assert_array_equal(SPACE.canonical(SPACE.enumerate()), SPACE.canonical(SPACE.enumerate()[first]))


def test_a_file_of_another_layout_is_refused_in_one_line(draft):
    good = rows_360()
    whole = {name: column[:-1] for name, column in good.items()}
    for columns, said in (
        ({k: v for k, v in good.items() if k not in ("task", "energy_mj")}, "has no column task, energy_mj"),
        (whole, "has 187,499 rows, expected 187,500"),
        ({**good, "lat_ms_median": good["lat_ms_median"].astype(str)}, "lat_ms_median is of type (large_)?string, exp"),
        ({**good, "arch_idx": good["arch_idx"].astype(float)}, "arch_idx is of type double, expected int64"),
        ({**good, "device": np.arange(ROWS)}, "device is of type int64, expected string or large_string"),
        ({**good, "arch_idx": [None, *good["arch_idx"][1:].tolist()]}, "arch_idx has no entry in some rows"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            draft(columns)
        assert FILE in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_of_impossible_values_is_refused_in_one_line(draft):
    good = rows_360()
    copy = int(np.flatnonzero(good["arch_idx"] != good["rep_arch_idx"])[0])
    other = int(good["rep_arch_idx"][copy] == 0)
    for columns, said in (
        (put(good, "lat_ms_median", 0, np.nan), "latency cifar100 pi5-litert holds values that are not finite"),
        (put(good, "lat_ms_median", 0, -1.0), "latency cifar100 pi5-litert holds values that are not finite or not in"),
        (put(good, "lat_ms_median", 0, 0.0), "latency cifar100 pi5-litert"),
        (put(good, "lat_ms_median", 0, np.inf), "latency cifar100 pi5-litert"),
        (put(good, "lat_ms_var", 0, -1.0), "latency_std cifar100 pi5-litert"),
        (put(good, "energy_mj", 0, np.nan), "energy cifar100 pi5-litert"),
        (put(good, "device", 0, "pi6"), "does not hold every architecture once on pi5-litert, cifar100"),
        (put(good, "task", 0, None), "does not hold every architecture once on pi5-litert, cifar100"),
        (put(good, "arch_idx", 1, 0), "does not hold every architecture once"),
        (put(good, "arch_idx", 0, N), "does not hold every architecture once"),
        (put(good, "rep_arch_idx", copy, other), f"architecture {copy} as a copy of {other} on pi5-litert, cifar100"),
        (put(good, "rep_arch_idx", copy, copy), f"architecture {copy} as a copy of {copy}"),
        (put(good, "rep_arch_idx", copy, -1), f"architecture {copy} as a copy of -1"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            draft(columns)
        assert "\n" not in str(caught.value)


def test_what_is_no_parquet_file_or_cut_short_is_refused(draft, tmp_path):
    draft(rows_360())
    whole = (tmp_path / "a.parquet").read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-500]):
        (tmp_path / "b.parquet").write_bytes(content)
        with pytest.raises(DataError, match="not a Parquet file"):
            hw_nas_bench_360.draft(lambda _: tmp_path / "b.parquet")


# ---- without pyarrow


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)


def test_fetching_without_pyarrow_names_the_extra_before_anything_is_fetched(
    without_pyarrow, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Store, "fetch", lambda *_: pytest.fail("fetched"))
    for name in ("hw-nas-bench-360", FILE):
        with pytest.raises(SystemExit) as end:
            main(["data", "fetch", name])
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert installing("parquet") in said
        assert said.count("\n") == 1


@pytest.mark.data
def test_everything_is_fetched_without_pyarrow_and_told_what_is_not_compiled(
    without_pyarrow, tmp_path, monkeypatch, capsys, raw, fetched
):
    home = _home_with_nasbench201(tmp_path, fetched)
    monkeypatch.setenv("NASTK_HOME", str(home))
    store = Store()
    shutil.copytree(raw / "hw-nas-bench-360", store.where(store.catalogue.file(FILE)).parent)
    monkeypatch.setattr(Catalogue, "select", lambda self, names: [self.file(FILE)])  # nothing else of "all"
    with pytest.raises(SystemExit) as end:
        main(["data", "fetch", "all"])
    assert not end.value.code
    assert "warning: the table hw-nas-bench-360 is not compiled: this needs pyarrow" in capsys.readouterr().err
    with pytest.warns(
        DataWarning, match=f"hw-nas-bench-360 are left out of nasbench201: .*{re.escape(installing('parquet'))}"
    ):
        table = Table.load("nasbench201", home)
    assert not set(DEVICES) & set(table.devices())


# ---- in the table of NAS-Bench-201


def _home_with_nasbench201(folder: Path, fetched: Callable[..., Path]) -> Path:
    """A cache of its own with the compiled table of NAS-Bench-201: other tests must not see more columns."""
    home = folder / "home"
    (home / "tables").mkdir(parents=True)
    shutil.copy(fetched("nasbench201") / "tables" / "nasbench201.npz", home / "tables")
    return home


@pytest.fixture(scope="module")
def homes(fetched: Callable[..., Path], raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Caches with NAS-Bench-201 alone, and with HW-NAS-Bench-360."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    if not (raw / FILE).exists():
        pytest.skip("HW-NAS-Bench-360 is not here; run: nastk data fetch hw-nas-bench-360")
    alone, both = (_home_with_nasbench201(tmp_path_factory.mktemp(name), fetched) for name in ("alone", "both"))
    target = Store(both).where(Store(both).catalogue.file(FILE))
    target.parent.mkdir(parents=True)
    shutil.copy(raw / FILE, target)
    return alone, both


@pytest.mark.data
def test_the_real_file_holds_what_it_was_measured_to_hold(homes, raw):
    import pandas

    table = nastk.benchmark("nasbench201", home=homes[1])
    content = pandas.read_parquet(raw / FILE)
    first = hw_nas_bench_360._first_of_class()
    copies = first != np.arange(N)
    assert copies.sum() == N - MEASURED
    for (device, runtime, dataset), part in content.groupby(["device", "framework", "task"]):
        part = part.sort_values("arch_idx")
        where: dict[str, Any] = {"device": f"{device}-{runtime}", "dataset": dataset}
        values = table.values("latency", **where)
        assert np.isnan(values[copies]).all()
        np.testing.assert_allclose(values[~copies], part.lat_ms_median.to_numpy()[~copies], rtol=1e-6)
        if device == "pi5":
            spread = table.values("latency_std", **where)[~copies]
            np.testing.assert_allclose(spread**2, part.lat_ms_var.to_numpy()[~copies], rtol=1e-5)
            assert 0.001 < np.median(spread / values[~copies]) < 0.01  # of the variance in square ms
            energy = table.values("energy", **where)[~copies]
            np.testing.assert_allclose(energy, part.energy_mj.to_numpy()[~copies], rtol=1e-6)
    assert table.values("latency", device="pixel-litert", dataset="cifar100")[EMPTY] == pytest.approx(75.4e-6, rel=1e-3)


@pytest.mark.data
def test_its_devices_answer_beside_the_others_once_it_is_fetched(homes):
    bench = nastk.benchmark("nasbench201", dataset="cifar100", home=homes[1])
    assert bench.devices()[-4:] == list(DEVICES)
    assert bench.devices("energy")[-3:] == list(WITH_ENERGY)
    assert not set(DEVICES) & set(nastk.benchmark("nasbench201", dataset="cifar10", home=homes[1]).devices())
    oracle = bench.oracle("latency", device="pi5-onnx")
    value = oracle.evaluate(SPACE.enumerate()[:50])
    measured = hw_nas_bench_360._first_of_class()[:50] == np.arange(50)
    np.testing.assert_array_equal(np.isfinite(value.value), measured)
    np.testing.assert_array_equal(np.isfinite(value.std), measured)
    column = next(c for c in bench.table.columns if c.device == "pixel-litert")
    assert column.source.startswith("roldebijvank/HW-NAS-Bench-360@")
    assert "mean of 40 runs" in column.note


@pytest.mark.data
def test_nothing_that_the_table_answered_before_changes(homes):
    alone, both = (Table.load("nasbench201", home) for home in homes)
    n = len(alone.columns)
    assert both.columns[:n] == alone.columns
    for number in range(n):
        np.testing.assert_array_equal(both.content.values(number), alone.content.values(number))
    new = both.columns[n:]
    assert {c.source.partition("@")[0] for c in new} == {"roldebijvank/HW-NAS-Bench-360"}
    assert not {c.kind for c in new} & {"accuracy", "proxy", "count"}
    assert not {c.device for c in new} & {c.device for c in alone.columns}  # so no question has another answer
    assert both.datasets()[: len(alone.datasets())] == alone.datasets()
    for metric in alone.metrics():
        if metric not in ("latency", "energy"):
            assert both.datasets(metric) == alone.datasets(metric)


@pytest.mark.data
@pytest.mark.parametrize("dataset", [None, "cifar100"])
@pytest.mark.parametrize("objectives", [None, ["test_accuracy", "energy"], ["latency", "energy"]])
def test_a_benchmark_has_the_same_problems_as_before(homes, dataset, objectives, monkeypatch):
    found = []
    for home in homes:
        monkeypatch.setenv("NASTK_HOME", str(home))
        found.append([(p.dataset, p.goals, p.report) for p in problems("nasbench201", dataset, objectives)])
    assert found[0] == found[1]


@pytest.mark.data
def test_imports_stand_beside_it(homes, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(homes[1], home)
    monkeypatch.setenv("NASTK_HOME", str(home))
    (tmp_path / "mine.csv").write_text("arch,ms\n0,1.5\n1,2.5\n")
    imported.bring(
        "csv", [tmp_path / "mine.csv"], space="nasbench201", columns=["ms:latency"], arch="arch", device="pi5-litert"
    )
    table = Table.load("nasbench201")
    assert table.values("latency", device="pi5-litert", dataset="cifar100")[0] == pytest.approx(1.4876720, rel=1e-6)
    assert table.values("latency", device="pi5-litert", variant="mine")[:2].tolist() == [1.5, 2.5]


@pytest.mark.data
def test_it_is_compiled_once_and_read_without_pyarrow_then(homes, monkeypatch):
    store = Store(homes[1])
    tables.load("hw-nas-bench-360", store)
    assert tables.table_path("hw-nas-bench-360", store).stat().st_size < 2e6
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(tables, "compile_table", lambda *_: pytest.fail("compiled again"))
    assert set(DEVICES) <= set(Table.load("nasbench201", homes[1]).devices())


@pytest.mark.data
def test_alone_it_is_no_table(homes, tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    shutil.copytree(homes[1], home)
    (home / "tables" / "nasbench201.npz").unlink()
    with pytest.raises(DataError, match="nasbench201 is not fetched; run: nastk data fetch nasbench201"):
        nastk.benchmark("nasbench201", home=home)
    monkeypatch.setenv("NASTK_HOME", str(home))
    with pytest.raises(SystemExit) as end:
        main(["data", "fetch", "hw-nas-bench-360"])
    assert not end.value.code
    cure = "its columns join the table nasbench201, which is not fetched; run: nastk data fetch nasbench201\n"
    assert cure in capsys.readouterr().out


def test_a_table_joins_only_one_of_the_same_architectures():
    archs = np.zeros((2, 3), dtype=np.int8)
    first = tables.ColumnTable("a", archs, [], [], [])
    with pytest.raises(DataError, match="the table b does not have the architectures of a"):
        first.joined(tables.ColumnTable("b", archs + 1, [], [], []))


# ---- no weights know it


def test_no_shipped_weights_were_fitted_on_it():
    for name, notes in weights().items():
        assert not [source for source in notes["data"] if "360" in source or "roldebijvank" in source], name
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    assert not set(few.devices) & set(DEVICES)


@pytest.mark.data
def test_the_weights_are_rebuilt_without_it_where_it_is_fetched(homes, monkeypatch):
    from nastk.weights import build

    asked: list[str] = []
    values = Benchmark.values

    def recorded(self, metric: str, **where: Any):
        asked.append(where["device"])
        return values(self, metric, **where)

    class Enough(Exception):
        pass

    def stop(self, tasks):
        raise Enough([task.device for task in tasks])

    monkeypatch.setattr(Benchmark, "values", recorded)
    monkeypatch.setattr(build.FewShotGP, "pretrain", stop)
    monkeypatch.setenv("NASTK_HOME", str(homes[1]))
    with pytest.raises(Enough) as fitted:
        build.build_latency("nasbench201")
    assert len(fitted.value.args[0]) == 27
    assert not set(DEVICES) & {*fitted.value.args[0], *asked}
