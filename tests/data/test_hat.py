"""The table of HAT's latencies: each is its source's, rows are representatives of ten features."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nastk
from nastk.bench.problems import Scores, problems
from nastk.data import hat as importer
from nastk.data import tables
from nastk.data.fetch import Store
from nastk.data.tables import Draft
from nastk.errors import DataError
from nastk.spaces.hat import FEATURES, HAT

SPACE = HAT()
HEADING = [*FEATURES, *(f"latency_{what}_{part}" for what in ("mean", "std") for part in ("encoder", "decoder"))]


@pytest.fixture
def draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Draft]:
    monkeypatch.setattr(importer, "ROWS", 3)
    monkeypatch.setattr(importer, "MEASURED", {"wmt14ende": ("xeon", "titanxp")})
    monkeypatch.setattr(importer, "FILES", ("hat/x.csv", "hat/t.csv"))

    def made(xeon: np.ndarray, titan: np.ndarray, heading: list[str] = HEADING) -> Draft:
        for name, table in (("x", xeon), ("t", titan)):
            with (tmp_path / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([heading, *table.tolist()])
        return importer.draft(lambda name: tmp_path / Path(name).name)

    return made


def good() -> tuple[np.ndarray, np.ndarray]:
    features = SPACE.features(SPACE.sample(4, 0))
    latencies = np.array([[10.0, 100, 1, 3], [20, 200, 1, 4], [12, 104, 2, 5]])
    xeon = np.hstack([features[[0, 1, 0]], latencies])
    return xeon, np.hstack([features[1:], latencies])


def test_measurements_of_equal_features_are_one_value_with_a_spread(draft) -> None:
    made = draft(*good())
    np.testing.assert_allclose(SPACE.features(made.archs.astype(np.int64)), SPACE.features(SPACE.sample(4, 0)))
    column = {c.label: (values.tolist(), rows.tolist()) for c, values, rows in made.columns}
    assert column["latency wmt14ende xeon"] == ([113, 220], [0, 1])
    assert column["encoder_latency wmt14ende xeon"] == ([11, 20], [0, 1])
    # the mean variance of the runs, and the variance of the two means
    assert column["encoder_latency_std wmt14ende xeon"][0] == pytest.approx([np.sqrt(2.5 + 1), 1])
    assert column["decoder_latency_std wmt14ende xeon"][0] == pytest.approx([np.sqrt(17 + 4), 4])
    assert column["latency wmt14ende titanxp"] == ([110, 220, 116], [1, 2, 3])


@pytest.mark.parametrize(("column", "value"), [(0, 500), (2, 700), (5, 9), (9, 3.2), (10, -1), (11, "nan"), (13, 0)])
def test_the_importer_checks_its_files(draft, column: int, value: object) -> None:
    xeon, titan = good()
    altered = titan.astype(object)
    altered[1, column] = value
    with pytest.raises(DataError, match="hat/") as refused:
        draft(xeon, altered)
    assert "\n" not in str(refused.value)


def test_files_of_another_form_are_refused(draft) -> None:
    xeon, titan = good()
    with pytest.raises(DataError, match="has 2 rows; needs 3"):
        draft(xeon, titan[:2])
    with pytest.raises(DataError, match="is no table of numbers"):
        draft(xeon, np.where(titan == titan[0, 0], "many", titan.astype(object)))
    with pytest.raises(DataError, match="has other columns than encoder_embed_dim"):
        draft(xeon, titan, [name if name != "decoder_layer_num" else "layers" for name in HEADING])


@pytest.mark.data
def test_every_value_is_its_sources(fetched: Callable[..., Path], raw: Path) -> None:
    table = tables.load("hat", Store(fetched("hat")))
    archs = SPACE.as_archs(table.archs)
    assert archs.shape == (15945, 39)
    assert np.array_equal(SPACE.canonical(archs), archs)
    features = SPACE.features(archs)
    row = {tuple(np.round(numbers, 6)): i for i, numbers in enumerate(features)}
    assert len(row) == 15945
    column = {c.label: table.values(i) for i, c in enumerate(table.columns)}
    repeated = 0
    for task, devices in importer.MEASURED.items():
        for device in devices:
            found = defaultdict(list)
            source = np.loadtxt(raw / f"hat/{task}_{importer.DEVICES[device]}_all.csv", delimiter=",", skiprows=1)
            for numbers in source:
                found[row[tuple(np.round(numbers[:10], 6))]].append(numbers[10:])
            rows = np.array(list(found))
            means = np.array([np.mean(v, axis=0) for v in found.values()])
            once = np.array([len(v) == 1 for v in found.values()])
            repeated += (~once).sum()
            for i, part in enumerate(("encoder", "decoder")):
                label = f"{task} {device}"
                np.testing.assert_allclose(column[f"{part}_latency {label}"][rows], means[:, i], rtol=1e-7)
                spread = column[f"{part}_latency_std {label}"][rows]
                np.testing.assert_allclose(spread[once], means[once, 2 + i], rtol=1e-6)
                assert np.isfinite(column[f"{part}_latency {label}"]).sum() == len(rows)
            np.testing.assert_allclose(column[f"latency {label}"][rows], means[:, 0] + means[:, 1], rtol=1e-7)
    assert repeated == 7


@pytest.mark.data
def test_a_network_is_looked_up_by_its_features(fetched: Callable[..., Path]) -> None:
    bench = nastk.benchmark("hat", dataset="wmt14ende", home=fetched("hat"))
    assert bench.devices() == ["raspberrypi", "xeon", "titanxp"]
    latency = bench.values("latency", device="xeon")
    arch = bench.space.enumerate()[np.flatnonzero(np.isfinite(latency))[:1]]
    other = arch.copy()
    other[:, 3:9] = arch[:, 3:9][:, ::-1]  # the encoder's perceptrons in another order
    assert np.array_equal(SPACE.with_features(SPACE.features(other)), arch)
    assert 90 < bench.oracle("latency", device="xeon")(arch)[0] < 500


@pytest.mark.data
def test_a_benchmark_searches_what_a_device_was_measured_with(
    fetched: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASTK_HOME", str(fetched("hat")))
    (problem,) = problems("hat", "wmt14ende", devices=["xeon"])
    scored = Scores(problem)
    assert problem.searched == "max:params, latency:xeon"
    assert (len(scored.table.table), scored.kept.all()) == (2000, True)
