"""Impossible values are refused, improbable ones are named with the cure, and sound ones pass in silence."""

from __future__ import annotations

import numpy as np
import pytest

from nastk.data import plausible, tables, units
from nastk.data.fetch import Store
from nastk.data.tables import Column
from nastk.errors import DataError

ACCURACY = Column("test_accuracy", "accuracy", "%")
LATENCY = Column("latency", "latency", "ms", "min", device="toaster")
SOUND = np.linspace(5.0, 40.0, 20)


def where(row: int) -> str:
    return f"mine.csv, line {row + 2}, column 'x'"


@pytest.mark.parametrize(
    ("column", "value", "right"),
    [
        (ACCURACY, 120, "0 to 100 %"),
        (ACCURACY, -5, "0 to 100 %"),
        (ACCURACY, 12345, "0 to 100 %"),
        (ACCURACY, np.inf, "0 to 100 %"),
        (LATENCY, 0, "positive and finite"),
        (LATENCY, -1, "positive and finite"),
        (LATENCY, np.inf, "positive and finite"),
        (Column("energy", "energy", "mJ", "min"), 0, "positive and finite"),
        (Column("params", "count", "", "min"), -1, "finite, 0 or more"),
        (Column("train_seconds", "seconds", "s", "min"), -1, "finite, 0 or more"),
        (Column("perplexity", "other", "", "min"), -np.inf, "finite"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(column, value, right):
    values = np.array([np.nan, 10.0, value])
    with pytest.raises(DataError) as caught:
        plausible.check_possible(column, values, where)
    said = f"mine.csv, line 4, column 'x': {float(value):g} cannot be {column.metric} ({right})"
    assert str(caught.value) == said


def test_what_can_be_passes():
    plausible.check_possible(ACCURACY, np.array([0.0, np.nan, 100.0]), where)
    plausible.check_possible(Column("val_accuracy", "accuracy", "ssim"), np.array([-0.5]), where)
    plausible.check_possible(LATENCY, np.array([1e-9, 1e9]), where)


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e-6, 1e6])
def test_values_of_another_unit_are_named_beside_what_is_known(factor):
    known = np.array([1.0, 26.0])
    assert plausible.doubts(LATENCY, SOUND, where, known) == []
    (said,) = plausible.doubts(LATENCY, SOUND * factor, where, known)
    assert said.startswith("mine.csv, line 2, column 'x': the values")
    assert "all that is known of other devices (1 to 26 ms)" in said
    assert "lat_us or lat_s" in said
    if factor > 1e-6:
        assert plausible.doubts(LATENCY, SOUND * factor, where) == [], (
            "nothing is known, and the file agrees with itself"
        )


@pytest.mark.parametrize(("unit", "microsecond"), [("ms", 1e-3), ("us", 1.0), ("s", 1e-6)])
def test_latencies_that_no_network_reaches_are_named_even_where_nothing_is_known(unit, microsecond):
    column = Column("latency", "latency", unit, "min", device="toaster")
    short = np.array([np.nan, 0.2, 0.99]) * microsecond
    (said,) = plausible.doubts(column, short, where)
    assert said.startswith("mine.csv, line 3, column 'x': every latency is below 1 microsecond")
    assert said.endswith("name the column lat_s, and they are converted")
    assert plausible.doubts(column, np.append(short, microsecond), where) == []
    assert plausible.doubts(Column("energy", "energy", "mJ", "min", device="toaster"), short, where) == []


def test_rows_in_another_unit_than_the_rest_are_named():
    values = SOUND.copy()
    values[[3, 7]] /= 1000
    (said,) = plausible.doubts(LATENCY, values, where)
    assert said.startswith(
        f"mine.csv, line 5, column 'x' ({values[3]:g}); mine.csv, line 9, column 'x' ({values[7]:g}): "
    )
    assert "about 1,000 times below the rest of the file" in said.replace("2,000", "1,000")
    values = SOUND.copy()
    values[4] *= 1000
    (said,) = plausible.doubts(LATENCY, values, where)
    assert "times above the rest" in said


def test_fractions_taken_for_percentages_are_named():
    (said,) = plausible.doubts(ACCURACY, np.array([np.nan, 0.9312, 0.88]), where)
    assert said.startswith("mine.csv, line 3, column 'x': no value of test_accuracy is above 1")
    assert ":fraction" in said
    (said,) = plausible.doubts(ACCURACY, np.array([91.2, 0.9312, 88.0]), where)
    assert said.startswith("mine.csv, line 3, column 'x' (0.9312): percentages and perhaps fractions")


@pytest.mark.parametrize("values", [[10.0, 94.4], [1.0, 73.5, 60.0], [0.8333, 47.3, 30.0], [0.0, 50.0]])
def test_chance_level_is_no_fraction(values):
    assert plausible.doubts(ACCURACY, np.array(values), where) == []


@pytest.mark.parametrize(
    ("kind", "heading", "unit", "factor"),
    [
        ("latency", "lat_us", "us", 1e-3),
        ("latency", "lat_s", "s", 1e3),
        ("latency", "latency (s)", "s", 1e3),
        ("latency", "Latency [µs]", "µs", 1e-3),
        ("latency", "ns/inference", "ns", 1e-6),
        ("latency", "ms", "ms", 1),
        ("latency", "us_pixel3", "us", 1e-3),
        ("latency", "samsung_s7", None, None),
        ("latency", "latency", None, None),
        ("latency", "latency_min", None, None),
        ("energy", "energy_uJ", "uJ", 1e-3),
        ("energy", "energy (J)", "J", 1e3),
        ("accuracy", "acc_fraction", "fraction", 100),
        ("accuracy", "top1 (%)", "%", 1),
        ("accuracy", "acc_s", None, None),
        ("seconds", "train_hours", "hours", 3600),
        ("count", "params_s", None, None),
    ],
)
def test_headings_name_their_unit(kind, heading, unit, factor):
    assert units.heading_unit(kind, heading) == unit
    if unit is not None:
        assert units.factor(kind, unit) == factor


@pytest.mark.data
def test_the_public_tables_pass_in_silence(nastk_home):
    for name in ("nasbench201", "fbnet"):
        table = tables.load(name, Store(nastk_home))
        latencies = [i for i, c in enumerate(table.columns) if c.metric == "latency"]
        medians = np.array([np.nanmedian(table.values(i)) for i in latencies])
        for i, column in enumerate(table.columns):
            others = medians[[table.columns[j].device != column.device for j in latencies]]
            plausible.check_possible(column, table.values(i), where)
            known = others if column.metric == "latency" else None
            assert plausible.doubts(column, table.values(i), where, known) == [], column.label
