"""NAS-Bench-301: the compiled table against its files, and the reader of a surrogate's predictions."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from effort import calls

from nastk.data import nasbench301, tables
from nastk.data.catalogue import shipped
from nastk.data.fetch import Store
from nastk.data.official import nasbench301_predictions
from nastk.data.proxies import PROXIES
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, UnknownName
from nastk.oracles.table import Benchmark, Table
from nastk.spaces.nasbench301 import DATASETS, NASBench301

SPACE = NASBench301()
NO_ZEN = tuple(p for p in PROXIES if p != "zen")


# ---- files of the real layout, made up


def compact(arch: np.ndarray, swapped: bool = False) -> str:
    """NASLib's text of an architecture; with `swapped`, every node's two inputs in descending order."""
    pairs = np.stack(SPACE.inputs_and_operations(arch[None]), axis=-1)[0]
    if swapped:
        pairs = pairs[:, :, ::-1]
    return str([[tuple(edge) for edge in cell] for cell in pairs.reshape(2, 8, 2).tolist()])


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Content of small files of the layout, which a test may change, and the function that imports them."""
    monkeypatch.setattr(nasbench301, "N", 3)
    monkeypatch.setattr(nasbench301, "N_360", 2)
    texts = [compact(a) for a in SPACE.sample(5, 0)]
    cifar10 = {
        text: {"arch": text, "val_accuracy": 90.0 + i} | {p: {"score": i + 0.5, "time": 0.1} for p in NO_ZEN}
        for i, text in enumerate(texts[:3])
    }
    members = {
        f"{p}/benchmark--nasbench301--{task}--0.json": [
            {"arch": text, "val_accuracy": 50.0 + i, p: {"score": float(i), "time": 1.0}}
            for i, text in enumerate(texts[3:])
        ]
        for task in nasbench301.TASKS_360
        for p in PROXIES
    }

    def draft() -> Draft:
        places = {nasbench301.CIFAR10: tmp_path / "a.json", nasbench301.NASLIB_360: tmp_path / "b.zip"}
        places[nasbench301.CIFAR10].write_text(json.dumps({"cifar10": cifar10}))
        with zipfile.ZipFile(places[nasbench301.NASLIB_360], "w") as archive:
            for name, content in members.items():
                archive.writestr(name, json.dumps(content))
        return nasbench301.draft(lambda name: places[name])

    return cifar10, members, draft


def test_files_of_the_layout_become_a_table(made):
    cifar10, _, draft = made
    table = draft()
    assert np.array_equal(table.archs, SPACE.sample(5, 0))
    assert len(table.columns) == 2 * 12 + 1 + 3 * (2 * 13 + 1)
    by_label = {column.label: (values, rows) for column, values, rows in table.columns}
    values, rows = by_label["val_accuracy cifar10"]
    assert (values.tolist(), rows.tolist()) == ([90, 91, 92], [0, 1, 2])
    values, rows = by_label["zen svhn"]
    assert (values.tolist(), rows.tolist()) == ([0, 1], [3, 4])
    assert "zen cifar10" not in by_label
    next(iter(cifar10.values()))["nwot"]["score"] = -1e8
    values = next(v for c, v, _ in draft().columns if c.label == "nwot cifar10")
    assert np.isnan(values[0])
    assert np.isfinite(values[1:]).all()


def _twice(cifar10: dict, members: dict) -> None:
    """The second architecture becomes the first, its inputs written in the other order."""
    _, second, _ = cifar10
    text = compact(SPACE.sample(5, 0)[0], swapped=True)
    assert text not in cifar10
    entry = cifar10.pop(second)
    cifar10[text] = entry | {"arch": text}


def _shared(cifar10: dict, members: dict) -> None:
    """An architecture of CIFAR-10 is among those of the tasks."""
    for entries in members.values():
        entries[0]["arch"] = next(iter(cifar10))


def _set(key: str, value: object) -> Callable[[dict, dict], None]:
    def change(cifar10: dict, members: dict) -> None:
        next(iter(cifar10.values()))[key] = value

    return change


def _set_in_task(key: str, value: object) -> Callable[[dict, dict], None]:
    def change(cifar10: dict, members: dict) -> None:
        members["zen/benchmark--nasbench301--ninapro--0.json"][1][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_twice, "an architecture twice"),
        (_shared, "an architecture twice"),
        (_set("arch", "another"), "another architecture than its key"),
        (_set("val_accuracy", 101.0), "not in 0 to 100"),
        (_set("val_accuracy", "high"), "not a number"),
        (_set("snip", {"score": float("inf"), "time": 1.0}), "not finite"),
        (_set("snip", {"score": 1.0, "time": -1.0}), "snip_seconds cifar10"),
        (_set("snip", 1.0), "another layout"),
        (lambda c, m: c.popitem(), "has 2 architectures, expected 3"),
        (lambda c, m: c.clear(), "expected 3"),
        (lambda c, m: m.pop("zen/benchmark--nasbench301--ninapro--0.json"), "has no member zen/"),
        (_set_in_task("arch", "another"), "zen of ninapro lists other architectures"),
        (_set_in_task("val_accuracy", 1.0), "zen of ninapro has other accuracies"),
        (lambda c, m: [e[1].update(arch="[[], []]") for e in m.values()], "not an architecture"),
    ],
)
def test_files_of_another_content_give_no_table(made, change: Callable[[dict, dict], None], message: str):
    cifar10, members, draft = made
    change(cifar10, members)
    with pytest.raises(DataError, match=message) as refused:
        draft()
    assert "\n" not in str(refused.value)


def test_the_catalogue_fetches_the_files_of_the_importer():
    collection = shipped().collections["nasbench301"]
    assert set(nasbench301.FILES) == {f.path for f in shipped().select(["nasbench301"])}
    assert "nasbench301" in collection.tables


# ---- the real table


@pytest.fixture(scope="module")
def table(fetched: Callable[..., Path]) -> Table:
    return Table(tables.load("nasbench301", Store(fetched("nasbench301"))), SPACE)


@pytest.mark.data
def test_the_table_has_924_architectures_each_once_and_no_two_are_the_same_network(table: Table):
    archs = table.content.archs.astype(np.int64)
    assert archs.shape == (924, 22)
    assert len(np.unique(SPACE.canonical(archs), axis=0)) == 924
    known = {d: np.flatnonzero(np.isfinite(table.values("val_accuracy", dataset=d))) for d in DATASETS}
    assert known["cifar10"].tolist() == list(range(725))
    for task in nasbench301.TASKS_360:
        assert known[task].tolist() == list(range(725, 924))


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "best"), [("cifar10", 94.489), ("svhn", 97.507), ("ninapro", 93.930)])
def test_the_best_accuracies_are_those_of_the_files(table: Table, dataset: str, best: float):
    assert np.nanmax(table.values("val_accuracy", dataset=dataset)) == pytest.approx(best, abs=5e-4)


@pytest.mark.data
def test_columns_equal_the_files_architecture_by_architecture(table: Table, suite_home: Path):
    store = Store(suite_home)
    entries = json.loads(store.path(nasbench301.CIFAR10).read_text())["cifar10"]
    rows = [int(np.flatnonzero((table.content.archs == SPACE.parse(text)).all(axis=1))[0]) for text in entries]
    for name in ("val_accuracy", "synflow", "nwot", "nwot_seconds"):
        metric = name.removesuffix("_seconds")
        part = "time" if name != metric else "score"
        source = [e[metric] if metric == "val_accuracy" else e[metric][part] for e in entries.values()]
        np.testing.assert_allclose(table.values(name, dataset="cifar10")[rows], source, rtol=1e-6)
    with zipfile.ZipFile(store.path(nasbench301.NASLIB_360)) as archive:
        zen = json.loads(archive.read("zen/benchmark--nasbench301--ninapro--0.json"))
    rows = [int(np.flatnonzero((table.content.archs == SPACE.parse(e["arch"])).all(axis=1))[0]) for e in zen]
    np.testing.assert_allclose(
        table.values("zen", dataset="ninapro")[rows], [e["zen"]["score"] for e in zen], rtol=1e-6
    )


@pytest.mark.data
@pytest.mark.parametrize("dataset", DATASETS)
def test_published_params_are_those_of_our_networks(table: Table, dataset: str):
    params = table.values("params", dataset=dataset)
    known = np.isfinite(params)
    ours = SPACE.statics(table.content.archs[known].astype(np.int64), **DATASETS[dataset])["params"]
    assert np.array_equal(np.round(params[known] * 1e6), ours)


@pytest.mark.data
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_benchmark_gives_the_proxies_of_its_data_set(table: Table, dataset: str):
    proxies = Benchmark(table, dataset).proxies()
    assert proxies.names == (NO_ZEN if dataset == "cifar10" else PROXIES)
    known = np.isfinite(table.values("val_accuracy", dataset=dataset))
    assert np.isfinite(proxies.values[known]).all()
    assert np.isnan(proxies.values[~known]).all()


@pytest.mark.data
def test_cifar10_has_no_zen(table: Table):
    with pytest.raises(UnknownName, match="zen"):
        table.values("zen", dataset="cifar10")


@pytest.mark.data
def test_the_table_is_compiled_once(suite_home: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(suite_home)
    tables.load("nasbench301", store)
    monkeypatch.setattr(tables, "compile_table", lambda *_: pytest.fail("compiled again"))
    tables.load("nasbench301", store)


# ---- predictions of a surrogate


@pytest.fixture
def read(tmp_path: Path):
    """The reader on files of these contents."""

    def read(*contents: str) -> tuple[np.ndarray, dict[str, tuple[Column, np.ndarray]]]:
        paths = []
        for i, content in enumerate(contents):
            paths.append(tmp_path / f"predictions{i}.txt")
            paths[-1].write_text(content)
        (measured,) = nasbench301_predictions.read(paths)
        assert measured.space == nasbench301_predictions.SPACE == "nasbench301"
        return measured.archs, {column.metric: (column, values) for column, values in measured.columns}

    return read


ARCHS = SPACE.sample(3, 4)
TEXTS = SPACE.format_all(ARCHS)
CSV = "note,runtime,genotype,val_accuracy\n" + "".join(
    f'"a, b",{1000 + i},"{text}",{90 + i}\n' for i, text in enumerate(TEXTS)
)
LINES = "".join(
    json.dumps({"genotype": t, "val_accuracy": 90 + i, "runtime": 1000 + i}) + "\n" for i, t in enumerate(TEXTS)
)


@pytest.mark.parametrize("content", [CSV, LINES, "\n".join(LINES.splitlines()) + "\n\n"])
def test_predictions_are_read_from_csv_and_json_lines(read, content: str):
    archs, columns = read(content)
    assert np.array_equal(archs, ARCHS)
    column, accuracy = columns["val_accuracy"]
    assert (column.kind, column.unit, column.direction, column.dataset) == ("accuracy", "%", "max", "cifar10")
    assert column.variant == "surrogate"  # the table's own column has no variant
    assert accuracy.tolist() == [90, 91, 92]
    column, runtime = columns["runtime"]
    assert (column.kind, column.unit, column.direction) == ("seconds", "s", "min")
    assert runtime.tolist() == [1000, 1001, 1002]


def test_runtimes_may_be_left_out_or_unknown(read):
    assert list(read(f'genotype,val_accuracy\n"{TEXTS[0]}",93.5\n')[1]) == ["val_accuracy"]
    _, columns = read(f'genotype,val_accuracy,runtime\n"{TEXTS[0]}",93.5,\n"{TEXTS[1]}",93,7\n')
    assert np.array_equal(columns["runtime"][1], [np.nan, 7], equal_nan=True)
    _, columns = read(json.dumps({"genotype": TEXTS[0], "val_accuracy": 93.5, "runtime": None}))
    assert list(columns) == ["val_accuracy"]


def test_several_files_are_joined_and_equal_predictions_kept_once(read):
    swapped = compact(ARCHS[0], swapped=True)
    archs, columns = read(CSV, json.dumps({"genotype": swapped, "val_accuracy": 90, "runtime": 1000}), LINES)
    assert np.array_equal(archs, ARCHS)
    assert columns["val_accuracy"][1].tolist() == [90, 91, 92]
    with pytest.raises(DataError, match="two different predictions for Genotype"):
        read(CSV, json.dumps({"genotype": swapped, "val_accuracy": 90.1, "runtime": 1000}))
    with pytest.raises(DataError, match="two different predictions"):
        read(CSV, json.dumps({"genotype": swapped, "val_accuracy": 90}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("genotype,val_accuracy\n", "no predictions"),
        ("genotype,accuracy\na,1\n", "no column 'val_accuracy'"),
        ('genotype,val_accuracy\n"Genotype(normal=[])",93\n', "line 2: .*is not a NAS-Bench-301 genotype"),
        (CSV.replace("sep_conv_3x3", "conv_9x9").replace("dil_conv_3x3", "conv_9x9"), "line 2: .*'conv_9x9'"),
        (CSV.replace(",90\n", ",high\n"), "line 2, column 'val_accuracy': 'high' is not a number"),
        (CSV.replace(",90\n", ",nan\n"), "must be in %"),
        (CSV.replace(",90\n", ",190\n"), "must be in %"),
        (f'genotype,val_accuracy\n"{TEXTS[0]}",0.935\n', "must be in %, 0 to 100; got 0.935"),
        (CSV.replace("1000", "-1"), "line 2: runtime is -?(1|inf), must be finite"),
        (CSV.replace("1000", "inf"), "line 2: runtime is -?(1|inf), must be finite"),
        (CSV.replace("1000", "1000,1"), "line 2 has 5 cells under 4"),
        ('{"genotype": "x"', "line 1 is not JSON"),
        ('{"genotype": "x"}', "line 1 has no 'val_accuracy'"),
        (LINES + "[1]\n", "line 4 is a list"),
        ('{"genotype": [1], "val_accuracy": 93}', "genotype is a list, must be a text"),
        ('{"genotype": "__import__(\'os\')", "val_accuracy": 93}', "is not a NAS-Bench-301 genotype"),
        ("\x80\x04\x95.", "no column 'genotype'"),
    ],
)
def test_what_is_no_file_of_predictions_is_refused_in_one_line(read, content: str, message: str):
    with pytest.raises(DataError, match=message) as refused:
        read(content)
    assert "\n" not in str(refused.value)


def test_no_file_at_all_and_a_missing_one_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no file: no predictions"):
        nasbench301_predictions.read([])
    with pytest.raises(DataError, match="cannot read"):
        nasbench301_predictions.read([tmp_path / "missing.csv"])


def test_predictions_are_read_in_linear_time(read):
    spent = {}
    for n in (100, 400):
        archs = SPACE.sample(n, 9, unique=True)
        text = "\n".join(json.dumps({"genotype": t, "val_accuracy": 93.0}) for t in SPACE.format_all(archs))
        assert np.array_equal(read(text)[0], archs)
        spent[n] = calls(lambda text=text: read(text))
    assert spent[400] < 5 * spent[100]
    assert spent[400] < 400 * 1000
