"""The front's pictures: every value says what it is, the HTML opens offline, files are whole or not there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from effort import HANGS

from nastk.errors import DataError, StorageError
from nastk.report.chart import Axis, Chart, Cloud, Point, Value
from nastk.report.html import render, write_html
from nastk.report.plots import write_png
from nastk.report.rows import write_csv, write_json
from nastk.report.tables import number, show


@pytest.fixture
def chart() -> Chart:
    front = [
        Point(
            f"a{i}",
            {"accuracy": Value(90 + i, "estimate", 89.0 + i, 91.0 + i), "latency": Value(5.0 + i, "measured")},
            {"latency": Value(5.3 + i, "estimate", 4.5 + i, 6.0 + i)},
        )
        for i in range(3)
    ]
    evaluated = [Point("p", {"accuracy": Value(70, "estimate"), "latency": Value(9.0, "measured")})]
    cloud = Cloud(["c1", "c2"], {"accuracy": [80.0, 60.0], "latency": [7.0, 8.0]})
    axes = [Axis("accuracy", "%", "max"), Axis("latency", "ms", "min")]
    return Chart("a title", axes, front, evaluated, cloud, {}, ["accuracy is estimated", "latency is measured"])


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_chart_survives_json(chart: Chart) -> None:
    assert Chart.from_dict(json.loads(json.dumps(chart.to_dict()))) == chart


def test_something_else_is_not_taken_for_a_chart() -> None:
    with pytest.raises(DataError, match="not a chart"):
        Chart.from_dict({"title": "x"})


def test_what_is_minimised_goes_across_and_what_is_maximised_upwards(chart: Chart) -> None:
    assert [a.name for a in chart.xy] == ["latency", "accuracy"]


def test_two_minimised_objectives_use_different_axes() -> None:
    chart = Chart("t", [Axis("params"), Axis("latency")], [])
    assert [a.name for a in chart.xy] == ["params", "latency"]


def test_page_loads_nothing_from_elsewhere(chart: Chart) -> None:
    page = render(chart).replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page
    assert "@import" not in page


def test_page_holds_every_architecture_and_says_what_each_value_is(chart: Chart) -> None:
    data = data_of(render(chart))
    assert data["cloud"]["archs"] == ["c1", "c2"]
    assert [p["arch"] for p in data["front"]] == ["a0", "a1", "a2"]
    assert data["front"][0]["shown"]["latency"]["kind"] == "measured"
    assert data["front"][0]["predicted"]["latency"]["kind"] == "estimate"
    assert set(data["kinds"]) == {"measured", "table", "estimate", "computed"}


def test_page_cannot_be_broken_by_an_architecture_text() -> None:
    text = "</script><script>alert(1)</script>"
    point = Point(text, {"x": Value(1.0, "computed"), "y": Value(2.0, "exact")})
    page = render(Chart(text, [Axis("x"), Axis("y")], [point], notes=[text]))
    assert "alert(1)</script>" not in page
    assert data_of(page)["front"][0]["arch"] == text


def test_unknown_numbers_become_null_in_the_page() -> None:
    point = Point("a", {"x": Value(float("nan"), "estimate"), "y": Value(2.0, "computed")})
    assert data_of(render(Chart("t", [Axis("x"), Axis("y")], [point])))["front"][0]["shown"]["x"]["value"] is None


def test_png_is_drawn_whole(chart: Chart, tmp_path: Path) -> None:
    from PIL import Image

    write_png(chart, tmp_path / "front.png", dpi=80)
    with Image.open(tmp_path / "front.png") as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 400
    assert (pixels < 128).mean() > 0.005
    assert [p.name for p in tmp_path.iterdir()] == ["front.png"]


@pytest.mark.parametrize("front", [0, 1])
def test_png_of_an_almost_empty_chart_is_drawn(chart: Chart, tmp_path: Path, front: int) -> None:
    write_png(Chart("t", chart.axes, chart.front[:front]), tmp_path / "front.png", dpi=50)
    assert (tmp_path / "front.png").stat().st_size > 1000


@pytest.mark.parametrize("write", [write_html, write_png])
def test_unwritable_place_leaves_nothing(chart: Chart, tmp_path: Path, write) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        write(chart, tmp_path / "file" / "front")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_rows_are_written_with_nulls_for_the_unknown(tmp_path: Path) -> None:
    rows = [{"a": np.float64(1.5), "b": float("nan")}, {"a": 2.0, "b": None}]
    write_json(tmp_path / "r.json", rows)
    write_csv(tmp_path / "r.csv", rows)
    assert json.loads((tmp_path / "r.json").read_text()) == [{"a": 1.5, "b": None}, {"a": 2.0, "b": None}]
    assert (tmp_path / "r.csv").read_text() == "a,b\n1.5,\n2.0,\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.23456, "1.235"), (15625.0, "15,625"), (1234567.0, "1,234,567"), (0.00012345, "0.0001234")],
)
def test_numbers_have_four_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_table_in_a_pipe_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"arch": "x" * 300, "ms": 1.0}, {"arch": "y", "ms": float("nan")}])
    lines = capsys.readouterr().out.splitlines()
    assert "x" * 300 in lines[2]
    assert lines[3].split() == ["y", "-"]


BROWSER = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_browser_draws_the_page_and_finds_no_error(chart: Chart, tmp_path: Path) -> None:
    write_html(chart, tmp_path / "front.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--enable-logging=stderr"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "front.html").as_uri()]
    done = subprocess.run([str(BROWSER), *options], capture_output=True, text=True, timeout=HANGS, check=True)
    drawn = done.stdout[: done.stdout.index('id="data"')]
    assert drawn.count("<tr") == 1 + 3, "a line of names and one for each architecture of the front"
    for text in ("a0", "a1", "a2", "accuracy", "latency"):
        assert text in drawn
    assert ":CONSOLE" not in done.stderr, "what the page's script complains of"
