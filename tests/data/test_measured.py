"""A user's measurements: the forms that they come in, repeats, units, and what is refused with its place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.cli import run
from nastk.data import measured
from nastk.errors import DataError, DataWarning
from nastk.spaces.base import Choice, SearchSpace
from nastk.spaces.nasbench201 import NASBench201

SPACE = NASBench201()
CELLS = SPACE.enumerate()[[17, 4000, 9, 12000]]
TEXTS = SPACE.format_all(CELLS)
MS = [3.5, 8.25, 2.0, 9.0]


class Widths(SearchSpace):
    name = "widths"
    choices = (Choice("width", ("16", "32", "64")), Choice("kernel size", ("3", "5")))

    def build(self, arch: Any, **options: Any) -> Any:
        raise NotImplementedError


class Branches(Widths):
    """Two parallel branches, whose order is no matter."""

    name = "branches"
    choices = (Choice("left", ("conv", "pool")), Choice("right", ("conv", "pool")))

    def canonical(self, archs: Any) -> Any:
        return np.sort(archs, axis=1)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(heading: str, *columns: Any, name: str = "mine.csv") -> Path:
        path = tmp_path / name
        rows = [";".join(map(str, row)) for row in zip(*columns, strict=True)]
        path.write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8")
        return path

    return write


def said(path: Path, space: SearchSpace = SPACE, **options: Any) -> tuple[measured.Measured, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = measured.read(path, space, **options)
    assert all(issubclass(w.category, DataWarning) for w in caught)
    return found, [str(w.message) for w in caught]


def test_every_form_of_architectures_is_read(write):
    names = ";".join(choice.name for choice in SPACE.choices)
    labels = [[c.options[v] for v in column] for c, column in zip(SPACE.choices, CELLS.T, strict=True)]
    for path in (
        write("arch;ms", TEXTS, MS),
        write("arch;ms", [",".join(map(str, row)) for row in CELLS.tolist()], MS),
        write("arch;ms", SPACE.index(CELLS), MS),
        write("cell;ms", SPACE.index(CELLS), MS),
        write("number;my cell;ms", ["a", "b", "c", "d"], TEXTS, MS),
        write(f"{names};ms", *labels, MS),
        write(f"ms;{names.upper().replace('-', ' ')}", MS, *CELLS.T.tolist()),
        write("x0;x1;x2;x3;x4;x5;ms", *CELLS.T.tolist(), MS),
        write("op_1;op_2;op_3;op_4;op_5;op_6;ms", *labels, MS),
    ):
        found, warned = said(path)
        np.testing.assert_array_equal(found.archs, CELLS)
        assert found.values.tolist() == MS
        assert found.count.tolist() == [1] * 4
        assert np.isnan(found.std).all()
        assert not warned


def test_labels_of_options_come_before_their_numbers(write):
    found, _ = said(write("width;kernel size;ms", [16, 64], [3, 5], [1, 2]), Widths())
    assert found.archs.tolist() == [[0, 0], [2, 1]]
    found, _ = said(write("width;kernel size;ms", [0, 2], [0, 1], [1, 2]), Widths())
    assert found.archs.tolist() == [[0, 0], [2, 1]]
    with pytest.raises(
        DataError, match=r"line 3, column 'kernel size': '7' is no option of kernel size, which has 3, 5"
    ):
        measured.read(write("width;kernel size;ms", [16, 64], [3, 7], [1, 2]), Widths())
    with pytest.raises(DataError, match=r"line 2, column 'width': '0' is no option of width"):
        measured.read(write("width;kernel size;ms", [0, 1], [3, 5], [1, 2]), Widths())


@pytest.mark.parametrize(
    ("heading", "factor"), [("lat_us", 1e3), ("latency (s)", 1e-3), ("ns", 1e6), ("Latency [ms]", 1)]
)
def test_another_unit_that_the_heading_names_is_converted_and_said(write, heading, factor):
    found, warned = said(write(f"arch;{heading}", TEXTS, np.array(MS) * factor))
    np.testing.assert_allclose(found.values, MS)
    assert [f"column {heading!r}: converted from" in w for w in warned] == [True] * (factor != 1)


def test_seconds_without_a_word_are_named_beside_known_devices(write):
    path = write("arch;ms", TEXTS, np.array(MS) / 1000)
    _, warned = said(path, known=lambda archs: np.full(3, len(archs) * 5.0))
    assert len(warned) == 1
    assert "mine.csv, line 2, column 'ms': the values (0.005875 ms in the middle) are 3,000 times below" in warned[0]


def test_repeats_are_one_measurement_with_a_spread(write):
    path = write("arch;ms", [*TEXTS, TEXTS[0], TEXTS[1]], [*MS, 3.7, 8.25])
    found, warned = said(path)
    np.testing.assert_array_equal(found.archs, CELLS)
    np.testing.assert_allclose(found.values, [3.6, 8.25, 2.0, 9.0])
    np.testing.assert_allclose(found.std, [np.sqrt(0.02), 0, np.nan, np.nan])
    assert found.count.tolist() == [2, 2, 1, 1]
    assert len(warned) == 1
    assert "2 rows repeat a network of other rows; each network counts once, with its mean" in warned[0]
    _, warned = said(write("arch;ms", [*TEXTS, TEXTS[0], TEXTS[1]], [*MS, 3.6, 20]))
    assert "line 3, column 'ms' and" in warned[0]
    assert "line 7, column 'ms': one architecture has latency 8.25 and 20" in warned[0]


def test_equal_networks_are_one_unless_their_encodings_run_differently(write):
    texts = ["conv_pool", "conv_conv", "pool_conv"]
    found, _ = said(write("arch;ms", texts, [1, 5, 1.5]), Branches())
    assert found.values.tolist() == [1.25, 5]
    with pytest.raises(DataError, match="at least 2 measurements of different networks are needed, and it has 1"):
        measured.read(write("arch;ms", [texts[0], texts[2]], [1, 1.5]), Branches())
    # NAS-Bench-201 is built as it is written, so that equal networks differ in latency, and yet are no two networks
    keys = SPACE.keys(SPACE.enumerate())
    twins = [i for i, key in enumerate(keys) if key == keys[100]][:2]
    assert len(twins) == 2
    found, warned = said(write("arch;ms", [*twins, 5000], [1, 5, 2]))
    assert found.values.tolist() == [1, 5, 2]
    assert not warned
    with pytest.raises(DataError, match="it has 1"):
        measured.read(write("arch;ms", twins, [1, 5]), SPACE)


def test_rows_without_a_value_are_left_out_and_counted(write):
    found, warned = said(write("arch;ms", TEXTS, [3.5, "N/A", "", 9]))
    assert found.values.tolist() == [3.5, 9]
    assert "line 3, column 'ms': no value; 2 rows are left out" in warned[0]
    with pytest.raises(DataError, match=r"it has 1; .*mine\.csv, line 3, column 'ms' holds no value"):
        measured.read(write("arch;ms", TEXTS[:2], [3.5, "N/A"]), SPACE)


def test_the_reasons_of_rows_without_a_value_are_said_and_their_networks_have_failed(write):
    reasons = ["", "ValueError: groups", "ValueError: groups", "killed", "once"]
    path = write("arch;ms;reason", [*TEXTS[:4], TEXTS[0]], [3.5, "", "", "", ""], reasons)
    with pytest.raises(
        DataError, match=r"column 'ms' holds no value, because of ValueError: groups \(2 rows\); killed"
    ):
        measured.read(path, SPACE)
    other = SPACE.format(SPACE.enumerate()[77])
    found, warned = said(
        write("arch;ms;reason", [*TEXTS[:4], TEXTS[0], other], [3.5, "", "", "", "", 4], [*reasons, ""])
    )
    why = "because of ValueError: groups (2 rows); killed; once"
    assert [w.partition("line ")[2] for w in warned] == [f"3, column 'ms': no value, {why}; 4 rows are left out"]
    np.testing.assert_array_equal(found.failed, CELLS[1:4])
    assert found.have_failed(SPACE, CELLS).tolist() == [False, True, True, True]
    found, _ = said(write("arch;ms", TEXTS, [3.5, "N/A", "", 9]))
    assert not len(found.failed), "the file does not say that they failed"
    # equal networks fail alike
    texts = ["conv_pool", "conv_conv", "pool_pool"]
    found, _ = said(write("arch;ms;reason", texts, ["", 5, 6], ["killed", "", ""]), Branches())
    assert found.have_failed(Branches(), np.array([[1, 0], [0, 0]])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("heading", "columns", "what"),
    [
        ("arch;ms", [TEXTS[:2], [1, "9_0.5"]], "line 3, column 'ms': '9_0.5' is not a number"),
        ("arch;ms", [TEXTS[:2], [1, 0]], r"line 3, column 'ms': 0 cannot be latency \(positive"),
        ("arch;ms", [TEXTS[:2], [1, "True"]], "line 3, column 'ms': 'True' is not a number"),
        ("arch;ms", [[TEXTS[0], "x"], [1, 2]], "line 3, column 'arch': "),
        ("arch;ms", [[7, 15625], [1, 2]], "line 3, column 'arch': nasbench201 has indices 0 to 15624; got 15625"),
        ("arch;ms", [[7, -1], [1, 2]], "line 3, column 'arch'|line 2, column 'arch'"),
        ("arch;ms", [[7, "²"], [1, 2]], "line 2, column 'arch': "),
        ("cell;ms", [[TEXTS[0], "x"], [1, 2]], "line 3, column 'cell': "),
        ("cell;ms", [["y", "x"], [1, 2]], "no column whose every value is an architecture of nasbench201"),
        ("arch;latency", [TEXTS[:2], [1, 2]], "needs a column ms .*: of its columns arch, latency, none names a unit"),
        ("arch;lat_us;lat_s", [TEXTS[:2], [1, 2], [1, 2]], r"several are times \(lat_us, lat_s\)"),
        ("arch;ms", [[], []], "has no rows"),
    ],
)
def test_what_is_wrong_is_refused_with_file_line_and_column(write, heading, columns, what):
    path = write(heading, *columns)
    with pytest.raises(DataError, match=what) as caught:
        measured.read(path, SPACE)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_says_each_warning_on_one_line(write, capsys):
    path = write("arch;lat_us", [*TEXTS, TEXTS[0]], np.array([*MS, 3.6]) * 1000)
    assert run(["predict", "--measured", str(path), "--from-scratch", "12"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == f"nastk: warning: {path}, column 'lat_us': converted from us to ms"
    assert "1 row repeats a network of other rows" in lines[1]
