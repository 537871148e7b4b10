"""The accuracies of once-for-all sub-networks of width 1.0: each is its source's, repeats are one value."""

from __future__ import annotations

import ast
import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nastk
from nastk.data import mobilenetv3_w10 as importer
from nastk.data import tables
from nastk.data.fetch import Store
from nastk.data.tables import Draft
from nastk.errors import DataError, UnknownName
from nastk.spaces.mobilenetv3 import MobileNetV3, active_layers, layer
from nastk.spaces.mobilenetv3_w10 import MobileNetV3W10

SPACE = MobileNetV3W10()


def test_its_rows_are_those_of_mobilenetv3_and_its_networks_are_narrower() -> None:
    wide, archs = MobileNetV3(), SPACE.sample(5, 0)
    assert np.array_equal(SPACE.as_archs(wide.format_all(archs)), archs)
    assert SPACE.identity() != wide.identity()
    for name in ("params", "flops"):
        assert np.array_equal(SPACE.statics(archs)[name], wide.statics(archs, width=1.0)[name])
        assert (SPACE.statics(archs)[name] < wide.statics(archs)[name]).all()
    small = {"input_size": 32, "num_classes": 10}
    counted = sum(p.numel() for p in SPACE.build(archs[0], **small).parameters())
    assert counted == SPACE.statics(archs[:1], **small)["params"][0]


def text(arch: np.ndarray, **changes: object) -> str:
    subnet = {"wid": None, **SPACE.to_ofa(arch)}
    return str({**subnet, "r": [224], **changes})


@pytest.fixture
def draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Draft]:
    monkeypatch.setattr(importer, "SEARCHES", {"a": 2, "b": 2})
    monkeypatch.setattr(importer, "FILES", ("dynas/a.csv", "dynas/b.csv"))
    monkeypatch.setattr(importer, "N", 3)

    def made(*rows: tuple[str, str, str, str]) -> Draft:
        for name, part in (("a", rows[:2]), ("b", rows[2:])):
            with (tmp_path / f"{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["Sub-network", "Date", "Model Parameters", "Latency (ms)", "MACs", "Top-1 Acc (%)"])
                writer.writerows([arch, "2022-11-01", params, "0", macs, top1] for arch, params, macs, top1 in part)
        return importer.draft(lambda name: tmp_path / Path(name).name)

    return made


def test_evaluations_of_one_sub_network_are_one_value_with_a_spread(draft) -> None:
    a, b, c = SPACE.sample(3, 0)
    a[-1] = b[-1] = c[-1] = SPACE.sizes[-1] - 1
    written = a.copy()
    absent = ~active_layers(a[None])[0]
    written[5:25][absent] = 2  # kernels of layers that do not exist
    rows = [(text(a), "9", "7", "75.0"), (text(b), "8", "6", "74"), (text(c), "8", "6", "73")]
    made = draft(*rows, (text(written), "9", "7", "75.2"))
    assert np.array_equal(made.archs, [a, b, c])
    (accuracy, mean, _), (_, std, repeated), (_, params, _), (_, macs, _) = made.columns
    np.testing.assert_allclose(mean, [75.1, 74, 73])
    assert "biased upwards" in accuracy.note
    np.testing.assert_allclose(std, [np.std([75.0, 75.2], ddof=1)])
    assert (repeated.tolist(), params.tolist(), macs.tolist()) == ([0], [9, 8, 8], [7, 6, 6])
    for wrong in (
        (text(a, r=[192]), "9", "7", "75"),
        (text(a, wid=1.2), "9", "7", "75"),
        (text(a, ks=[9] * 20), "9", "7", "75"),
        (text(a), "10", "7", "75"),
        (text(a), "9", "7", "175"),
        (text(a), "9", "7", ""),
        (text(a), "many", "7", "75"),
        (text(SPACE.sample(9, 3)[8]), "9", "7", "75"),
        ("__import__('os').abort()", "9", "7", "75"),
        ("7", "9", "7", "75"),
        ("[" * 5000, "9", "7", "75"),
    ):
        with pytest.raises(DataError) as refused:
            draft(*rows, wrong)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="expected 2"):
        draft(*rows)


@pytest.mark.data
def test_every_value_is_its_sources(fetched: Callable[..., Path], raw: Path) -> None:
    table = tables.load("mobilenetv3-w10", Store(fetched("mobilenetv3-w10")))
    assert table.archs.shape == (2162, 46)
    archs = SPACE.as_archs(table.archs)
    assert np.array_equal(SPACE.canonical(archs), archs)
    row = {arch.tobytes(): i for i, arch in enumerate(archs)}
    found = defaultdict(list)
    for file in sorted((raw / "dynas").glob("*.csv")):
        for entry in csv.DictReader(file.open()):
            found[row[SPACE.from_ofa(ast.literal_eval(entry["Sub-network"])).tobytes()]].append(entry)
    assert (len(found), sum(map(len, found.values()))) == (2162, 2373)
    column = {c.metric: table.values(i) for i, c in enumerate(table.columns)}
    for name, source in (("val_accuracy", "Top-1 Acc (%)"), ("params", "Model Parameters"), ("macs", "MACs")):
        means = [np.mean([float(entry[source]) for entry in found[i]]) for i in range(2162)]
        np.testing.assert_allclose(column[name], means, rtol=1e-7)
    spreads = [np.std([float(e["Top-1 Acc (%)"]) for e in found[i]], ddof=1) for i in range(2162) if len(found[i]) > 1]
    np.testing.assert_allclose(column["val_accuracy_std"][np.isfinite(column["val_accuracy_std"])], spreads, atol=1e-7)
    assert len(spreads) == 153
    assert {c.source.partition(" and ")[2] for c in table.columns} == {"4 more"}


@pytest.mark.data
def test_counts_are_the_sources(fetched: Callable[..., Path]) -> None:
    table = nastk.benchmark("mobilenetv3-w10", home=fetched("mobilenetv3-w10"))
    archs = table.space.enumerate()
    statics = SPACE.statics(archs)
    assert np.array_equal(statics["params"], table.values("params"))
    assert np.abs(statics["flops"] / table.values("macs") - 1).max() < 4e-5
    _, kernels, expansions, _ = SPACE.settings(archs)
    biases = np.full(len(archs), 1000)
    for i, j in np.argwhere(active_layers(archs)):
        made = layer(j // 4, j % 4, int(kernels[i, j]), int(expansions[i, j]), width=1.0)
        biases[i] += made.c_squeezed + made.c_inside if made.c_squeezed else 0
    np.testing.assert_allclose(statics["flops"] - biases, table.values("macs"), rtol=1e-7)


@pytest.mark.data
def test_no_row_has_an_accuracy_of_one_width_and_a_latency_of_another(fetched: Callable[..., Path]) -> None:
    home = fetched("mobilenetv3", "mobilenetv3-w10")
    narrow, wide = nastk.benchmark("mobilenetv3-w10", "ImageNet", home), nastk.benchmark("mobilenetv3", home=home)
    assert wide.table.datasets() == []
    with pytest.raises(UnknownName):
        narrow.oracle("latency", device="titan_rtx_64")
    with pytest.raises(UnknownName):
        wide.oracle("val_accuracy")
    assert "mobilenetv3-w10" in narrow.oracle("val_accuracy").source
    assert all("width 1.2" in c.note for c in wide.table.columns)
    assert all("width 1.0" in c.note for c in narrow.table.columns if c.metric == "val_accuracy")
