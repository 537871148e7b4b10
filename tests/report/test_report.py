"""The front's pictures: every value says what it is, the HTML opens offline, files are whole or not there."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import numpy as np
import pytest
from effort import HANGS
from toy import Toy, accuracy, latency, oracle

import nastk
from nastk.cli import run
from nastk.cli.progress import follow
from nastk.errors import DataError, InvalidArchitecture, StorageError
from nastk.metrics import nondominated
from nastk.oracles.base import FunctionOracle
from nastk.report.chart import Axis, Chart, Cloud, Point, Value, staircase
from nastk.report.front import agreement_note
from nastk.report.html import render, write_html
from nastk.report.plots import _draw, left_out, view, write_png
from nastk.report.rows import without_nan, write_csv, write_json
from nastk.report.summary import Summary, show_chart
from nastk.report.tables import number, show
from nastk.report.text import printable
from nastk.spaces._pool import Pool


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


# ---- what is an estimate, what is in the front, and what a front attains


@pytest.fixture
def mixed() -> Chart:
    """A front with values of every kind, of which one lies far below the others, and points that are dominated."""

    def point(arch: str, latency: tuple[float, str], accuracy: tuple[float, str]) -> Point:
        return Point(arch, {"latency": Value(*latency), "accuracy": Value(*accuracy)})  # type: ignore[arg-type]

    front = [
        point("useless", (0.5, "measured"), (10.0, "table")),
        point("small", (2.0, "measured"), (85.0, "table")),
        point("guess", (3.0, "estimate"), (88.0, "table")),
        point("other", (5.0, "measured"), (90.0, "estimate")),
        point("blind", (6.0, "estimate"), (91.0, "estimate")),
        point("large", (9.0, "measured"), (93.0, "table")),
    ]
    evaluated = [
        point("worse", (7.0, "measured"), (86.0, "table")),
        point("hoped", (1.5, "estimate"), (84.0, "table")),
        point("dead", (4.0, "measured"), (11.0, "table")),
    ]
    cloud = Cloud([f"c{i}" for i in range(40)], {"latency": [1.0 + i / 4 for i in range(40)]})
    cloud.values["accuracy"] = [70.0 + i / 2 for i in range(40)]
    axes = [Axis("accuracy", "%", "max"), Axis("latency", "ms", "min")]
    true = {"accuracy": [86.0, 92.0, 94.0], "latency": [1.8, 4.0, 8.0]}
    return Chart("mixed", axes, front, evaluated, cloud, true)


STEPS = [(0.5, 10), (2, 10), (2, 85), (3, 85), (3, 88), (5, 88), (5, 90), (6, 90), (6, 91), (9, 91), (9, 93)]
"""Corners of what the mixed front attains: for a latency of 4 ms there are 88 %, not the 89 of a straight line."""

FILLED = {"useless": True, "small": True, "large": True, "guess": False, "other": False, "blind": False}
FILLED |= {"worse": True, "dead": True, "hoped": False}
"""Which points of the mixed chart are known in both values."""


def drawn(chart: Chart):  # type: ignore[no-untyped-def]  # matplotlib's axes
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    _draw(axes, chart, *chart.xy)
    return axes


def labels_of(axes) -> dict[str, list[tuple[float, float]]]:  # type: ignore[no-untyped-def]
    """Places of the markers by the text of the legend."""
    return {
        str(line.get_label()): [(float(a), float(b)) for a, b in line.get_xydata()]
        for line in axes.get_lines()
        if line.get_linestyle() == "None" and not str(line.get_label()).startswith("_")
    }


def test_a_picture_tells_estimates_from_what_is_known(mixed: Chart) -> None:
    axes = drawn(mixed)
    assert labels_of(axes) == {
        "evaluated: latency measured, accuracy table value": [(7.0, 86.0), (4.0, 11.0)],
        "evaluated: latency estimate, accuracy table value": [(1.5, 84.0)],
        "front: latency measured, accuracy table value": [(0.5, 10.0), (2.0, 85.0), (9.0, 93.0)],
        "front: latency measured, accuracy estimate": [(5.0, 90.0)],
        "front: latency estimate, accuracy table value": [(3.0, 88.0)],
        "front: estimate": [(6.0, 91.0)],
    }
    for line in axes.get_lines():
        label = str(line.get_label())
        if label.startswith(("front:", "evaluated:")):
            assert (line.get_markerfacecolor() == "white") == ("estimate" in label), label
    hoped = Point("hoped", {n: Value(v, "estimate") for n, v in (("latency", 1.0), ("accuracy", 80.0))})
    assert "proposed: estimate" in labels_of(drawn(replace(mixed, evaluated=[hoped]))), "nothing of it was evaluated"
    shapes = {line.get_marker() for line in axes.get_lines() if "estimate" in str(line.get_label())}
    assert len(shapes) == 3, "a shape for each of the values that may be an estimate"


def test_the_legend_of_a_picture_hides_nothing(mixed: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    boxes = []
    save = Figure.savefig

    def saved(figure, *arguments, **options) -> None:  # type: ignore[no-untyped-def]
        save(figure, *arguments, **options)
        boxes.append((figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()))

    monkeypatch.setattr(Figure, "savefig", saved)
    write_png(mixed, tmp_path / "front.png", dpi=50)
    ((legend, picture),) = boxes
    assert legend.height > 0
    assert not legend.overlaps(picture)


def test_a_picture_joins_the_front_by_the_steps_of_what_it_attains(mixed: Chart) -> None:
    axes = drawn(mixed)
    lines = [[(float(a), float(b)) for a, b in line.get_xydata()] for line in axes.get_lines()]
    assert STEPS in lines
    assert [(1.8, 86), (4, 86), (4, 92), (8, 92), (8, 94)] in lines, "the table's true front has steps as well"


@pytest.mark.parametrize(
    ("across", "upward", "points", "corners"),
    [
        ("min", "max", [(1, 1), (3, 2)], [(1, 1), (3, 1), (3, 2)]),
        ("min", "min", [(3, 1), (1, 2)], [(1, 2), (3, 2), (3, 1)]),
        ("max", "max", [(1, 2), (3, 1)], [(1, 2), (1, 1), (3, 1)]),
        ("max", "min", [(1, 1), (3, 2)], [(1, 1), (1, 2), (3, 2)]),
        ("min", "max", [(1, 2), (2, 1)], [(1, 2)]),
        ("min", "max", [], []),
    ],
)
def test_steps_never_promise_more_than_a_point_holds(across, upward, points, corners) -> None:  # type: ignore[no-untyped-def]
    assert staircase(points, Axis("x", "", across), Axis("y", "", upward)) == corners


def test_a_member_of_the_front_outside_of_the_picture_has_an_arrow_with_its_value(mixed: Chart) -> None:
    axes = drawn(mixed)
    assert view(mixed, "accuracy")[0] > 50.0, "the member that has learned nothing does not flatten the others"
    assert [text.get_text() for text in axes.texts] == ["front: accuracy 10.00"]
    (arrow,) = [line for line in axes.get_lines() if line.get_marker() == "v"]
    low, high = axes.get_ylim()
    assert low < arrow.get_ydata()[0] < low + 0.05 * (high - low)
    assert arrow.get_xdata()[0] == pytest.approx(0.5)
    assert left_out(mixed, axes.get_xlim(), axes.get_ylim()) == ["1 evaluated architecture outside of the picture."]


def test_a_front_of_bad_networks_is_not_an_outlier(mixed: Chart) -> None:
    bad = [
        Point(f"b{i}", {"latency": Value(float(i), "measured"), "accuracy": Value(9.0 + i, "table")}) for i in (1, 2)
    ]
    low, high = view(replace(mixed, front=bad, evaluated=[]), "accuracy")
    assert low < 10.5 < 11.0 < high


def test_two_predicted_objectives_have_each_a_column_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"a": Value(1.0, "measured"), "b": Value(2.0, "measured")}
    before = {"a": Value(1.5, "estimate"), "b": Value(2.5, "estimate")}
    show_chart(Chart("t", [Axis("a", "ms"), Axis("b", "MB")], [Point("x", shown, before)]), print)
    line = capsys.readouterr().out.splitlines()[3].split()
    assert line == ["x", "1.000", "1.500", "2.000", "2.500"]


def test_what_was_computed_is_not_called_an_estimate() -> None:
    goals = [oracle("accuracy"), oracle("latency", expensive=False)]
    chart = nastk.search(Toy(), goals, budget=12).chart()
    assert chart.cloud.kinds == {"accuracy": "estimate", "latency": "computed"}
    assert not set(chart.cloud.archs) & {p.arch for p in (*chart.front, *chart.evaluated)}


# ---- intervals: of predictions, of measurements, and where the picture ends


@pytest.fixture
def spread() -> Chart:
    """One member measured with a spread after a prediction, one estimated, one whose interval is far too wide."""
    table = Value(85.0, "table", 84.0, 86.0)
    front = [
        Point(
            "a",
            {"latency": Value(2.0, "measured", 1.6, 2.4), "accuracy": table},
            {"latency": Value(2.6, "estimate", 2.1, 3.1)},
        ),
        Point("b", {"latency": Value(4.0, "estimate", 3.0, 5.0), "accuracy": Value(88.0, "table")}),
        Point("c", {"latency": Value(6.0, "estimate", 5.5, 60.0), "accuracy": Value(90.0, "table")}),
    ]
    return Chart("spread", [Axis("accuracy", "%", "max"), Axis("latency", "ms", "min")], front)


def lines_of(axes) -> dict[str, list[list[tuple[float, float]]]]:  # type: ignore[no-untyped-def]
    """Segments of the bars and whiskers by the text of the legend."""
    from matplotlib.collections import LineCollection

    found: dict[str, list[list[tuple[float, float]]]] = {}
    for lines in axes.collections:
        if isinstance(lines, LineCollection):
            wide = "prediction" if lines.get_linewidth()[0] > 1 else "measurement"
            found.setdefault(wide, []).extend([tuple(map(float, end)) for end in s] for s in lines.get_segments())
    return found


def test_only_a_prediction_has_a_bar_and_a_measurement_a_whisker(spread: Chart) -> None:
    axes = drawn(spread)
    assert lines_of(axes) == {
        "prediction": [[(2.1, 85.0), (3.1, 85.0)], [(3.0, 88.0), (5.0, 88.0)], [(5.5, 90.0), (60.0, 90.0)]],
        "measurement": [[(1.6, 85.0), (2.4, 85.0)], [(2.0, 84.0), (2.0, 86.0)]],
    }
    labels = axes.get_legend_handles_labels()[1]
    assert labels.count("95 % interval of the prediction") == 1
    assert labels.count("spread of the measurement (± 1.96 s.d.)") == 1
    known = [replace(p, predicted={}) for p in spread.front[:1]]
    labels = drawn(replace(spread, front=known)).get_legend_handles_labels()[1]
    assert not any("predict" in label for label in labels), "nothing was predicted"


def test_an_interval_is_in_the_picture_or_its_cut_is_marked(spread: Chart) -> None:
    low, high = view(spread, "latency")
    assert low < 1.6
    assert 6.0 < high < 8.0, "an interval of ten times the range does not flatten the rest"
    axes = drawn(spread)
    (cut,) = [c for c in axes.collections if c.get_label() == "interval goes on outside"]
    ((x, y),) = cut.get_offsets()
    assert high - 0.05 * (high - low) < x < high
    assert y == 90.0
    labels = drawn(replace(spread, front=spread.front[:2])).get_legend_handles_labels()[1]
    assert "interval goes on outside" not in labels


def test_a_prediction_of_a_point_without_a_value_is_not_drawn(spread: Chart, tmp_path: Path) -> None:
    del spread.front[0].shown["latency"]
    write_png(spread, tmp_path / "front.png", dpi=50)
    assert "predicted" not in drawn(spread).get_legend_handles_labels()[1]


def test_the_text_beside_an_arrow_hides_no_axis(mixed: Chart) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    far = Point("far", {"latency": Value(9.5, "measured"), "accuracy": Value(11.0, "table")})
    axes = drawn(replace(mixed, front=[*mixed.front, far]))
    canvas = FigureCanvasAgg(axes.figure)
    assert len(axes.texts) == 2
    for text in axes.texts:
        assert text.get_bbox_patch() is None
        box, picture = text.get_window_extent(canvas.get_renderer()), axes.get_window_extent()
        assert picture.x0 < box.x0 < box.x1 < picture.x1
        assert picture.y0 < box.y0 < box.y1 < picture.y1


# ---- constraints, and few predictions to compare


class OfTable(FunctionOracle):
    """A function of the toy as if a table held it."""

    kind = "table"


def bounded(*constraints: str) -> Summary:
    """A search of a table of the toy's values: 20 of its 81 architectures."""
    goals = [OfTable(Toy(), accuracy, "accuracy", "%", "max"), OfTable(Toy(), latency, "latency", "ms", "min")]
    goals = [*goals, oracle("size", lambda archs: archs.sum(axis=1), "min", expensive=False)]
    return Summary(nastk.search(Toy(), goals, constraints=constraints, searcher="random", budget=20))


def rows_of(fronts: dict[str, list[float]]) -> set[tuple[float, float]]:
    return {(round(a, 6), round(b, 6)) for a, b in zip(fronts["accuracy"], fronts["latency"], strict=True)}


@pytest.mark.parametrize(
    ("constraint", "keeps"), [("latency<=9", lambda a: latency(a) <= 9), ("size<=3", lambda a: a.sum(axis=1) <= 3)]
)
def test_with_constraints_the_true_front_is_of_the_feasible(constraint: str, keeps) -> None:  # type: ignore[no-untyped-def]
    summary = bounded(constraint)
    archs = Toy().enumerate()
    archs = archs[keeps(archs)]
    values = np.column_stack([accuracy(archs), latency(archs)])
    best = values[nondominated(values * [-1.0, 1.0])]
    assert rows_of(summary.chart.true_front) == rows_of({"accuracy": list(best[:, 0]), "latency": list(best[:, 1])})
    free = bounded()
    protocol, _, _ = free._protocol
    rows = Toy().index(archs)
    assert summary.hypervolume["true_front"] == pytest.approx(protocol.hypervolume(rows))
    assert summary.hypervolume["true_front"] < free.hypervolume["true_front"] == protocol.front_hypervolume()
    assert 0 < summary.hypervolume["hypervolume"] <= summary.hypervolume["true_front"]
    assert "Hypervolume of what is feasible by the MODNAS protocol" in " ".join(summary.chart.notes)
    assert summary.chart.feasible


def test_an_infeasible_front_is_neither_scored_nor_called_a_front() -> None:
    summary = bounded("latency<=0.5")
    chart = summary.chart
    assert chart.true_front == summary.hypervolume == {}
    assert "No architecture of the table keeps latency<=0.5: there is no true front and no hypervolume." in chart.notes
    assert not chart.feasible
    assert Chart.from_dict(json.loads(json.dumps(chart.to_dict()))) == chart
    labels = drawn(chart).get_legend_handles_labels()[1]
    assert any(label.startswith("least violating: ") for label in labels)
    assert not any("front" in label for label in labels)
    assert "hypervolume" not in {row["metric"] for row in summary.rows()}


class Guessed(FunctionOracle):
    """A function of the toy as if a predictor gave it."""

    kind = "estimate"


@pytest.mark.parametrize(
    "memory", [oracle("memory", latency), Guessed(Toy(), latency, "memory", "MB", "min", expensive=False)]
)
def test_a_bound_on_what_no_table_holds_has_no_true_front(memory: FunctionOracle) -> None:
    goals = [OfTable(Toy(), accuracy, "accuracy", "%", "max"), OfTable(Toy(), latency, "latency", "ms", "min"), memory]
    summary = Summary(nastk.search(Toy(), goals, constraints=["memory<=9"], searcher="random", budget=20))
    assert summary.chart.true_front == summary.hypervolume == {}
    said = "No true front and no hypervolume: which of the table's architectures keep memory<=9 is not known."
    assert said in summary.chart.notes


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (1, "on 1 proposed architecture: error 6.0 %; inside its 95 % interval."),
        (2, "on 2 proposed architectures: median error 5.5 %; 100 % of them in their 95 % interval."),
        (3, "on 3 proposed architectures: Spearman 1.000, median error 5.0 %; 100 % of them in their 95 % interval."),
    ],
)
def test_the_error_of_one_prediction_is_said(chart: Chart, n: int, said: str) -> None:
    assert agreement_note(replace(chart, front=chart.front[:n], evaluated=[]), "latency").endswith(said)
    assert agreement_note(replace(chart, front=[], evaluated=[]), "latency") == ""


def test_a_pool_goes_by_the_name_of_its_space() -> None:
    pool = Pool(Toy(), Toy().enumerate()[:30])
    goals = [
        FunctionOracle(pool, f, n, "", d) for f, n, d in ((accuracy, "accuracy", "max"), (latency, "latency", "min"))
    ]
    assert nastk.search(pool, goals, searcher="random", budget=5).chart().title == "toy: accuracy against latency"
    with pytest.raises(InvalidArchitecture, match="not a member of the pool of toy: "):
        pool.as_archs(Toy().enumerate()[40:41])


# ---- a file of somebody else

HOSTILE = "\x1b]0;owned\x07\x1b[31m<img src=x onerror=alert(1)>$\\frac{$@DATA@\u202e\n[bold]x"
"""A title that would change a terminal's, start a script, be a formula, fill in a template, and turn the writing."""


def hostile() -> Chart:
    values = {HOSTILE: Value(1.0, "measured"), "y": Value(2.0, "table")}
    axes = [Axis(HOSTILE, HOSTILE, "min", HOSTILE), Axis("y", "", "max")]
    cloud = Cloud([HOSTILE], {HOSTILE: [1.5], "y": [1.5]})
    return Chart(HOSTILE, axes, [Point(HOSTILE, values)], [], cloud, {}, [HOSTILE])


def test_texts_are_printed_without_what_a_terminal_would_obey() -> None:
    assert printable("résumé 網絡 – 5 µs") == "résumé 網絡 – 5 µs"
    assert printable("a\x1b[2Jb\u202ec\nd\x9be\udcff") == "a\\x1b[2Jb\\u202ec\\nd\\x9be\\udcff"


def test_a_hostile_file_reaches_neither_terminal_nor_page_nor_picture_raw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"chart": hostile().to_dict()}), encoding="utf-8")
    files = ["--html", str(tmp_path / "front.html"), "--png", str(tmp_path / "front.png")]
    assert run(["report", str(tmp_path / "result.json"), *files]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    assert all(c.isprintable() or c == "\n" for c in printed.out)
    assert "[bold]x" in printed.out, "no markup is read in a heading"
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert page.count("<img") == 0
    assert "\x1b" not in page
    assert "\u202e" not in page
    data = data_of(page)
    assert data["title"] == printable(HOSTILE)
    assert data["front"][0]["shown"].keys() == {printable(HOSTILE), "y"}
    assert (tmp_path / "front.png").stat().st_size > 1000


def test_errors_and_tables_are_printed_without_what_a_terminal_would_obey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({"chart": {"\x1b[31m": 1}}), encoding="utf-8")
    for arguments in (["report", str(tmp_path / "bad.json")], ["search", "--space", "\x1b[31mx"]):
        assert run(arguments) == 2
        printed = capsys.readouterr()
        assert all(c.isprintable() or c == "\n" for c in printed.out + printed.err)
    show([{"a": "\x1b[31m"}], title="\x1b[2J")
    assert "\x1b" not in capsys.readouterr().out
    follow(bar := SimpleNamespace(set_postfix_str=lambda text, refresh: said.append(text)))(1, 2, "\x1b[31m")
    assert (bar.n, bar.total, said) == (1, 2, ["\\x1b[31m"])


said: list[str] = []


@pytest.mark.parametrize(
    ("where", "what", "message"),
    [
        (("front", 0, "shown", "latency", "value"), "5", "'5' is no number"),
        (("front", 0, "shown", "latency", "kind"), "guess", "of the kind 'guess'"),
        (("front", 0, "shown", "latency", "kind"), [], "of the kind"),
        (("front", 0, "arch"), 3, "an architecture that is no text"),
        (("axes", 0, "direction"), "up", "must be min or max"),
        (("axes", 0, "unit"), 7, "a part that is no text"),
        (("axes",), [], "axes of different names"),
        (("feasible",), "no", "feasible is 'no', must be true or false"),
        (("cloud", "values", "latency"), [1.0], "other numbers of architectures"),
        (("true_front",), {"latency": [1.0], "accuracy": []}, "other numbers of values"),
        (("front",), 3, "TypeError"),
        (("front", 0, "shown"), [], "AttributeError"),
    ],
)
def test_a_chart_that_cannot_be_drawn_is_one_line(
    chart: Chart,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    where,
    what,
    message,  # type: ignore[no-untyped-def]
) -> None:
    content = json.loads(json.dumps(chart.to_dict()))
    inner = content
    for part in where[:-1]:
        inner = inner[part]
    inner[where[-1]] = what
    (tmp_path / "result.json").write_text(json.dumps({"chart": content}), encoding="utf-8")
    assert run(["report", str(tmp_path / "result.json"), "--png", str(tmp_path / "front.png")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "front.png").exists()


def test_unknown_values_of_a_saved_chart_are_not_drawn(mixed: Chart, tmp_path: Path) -> None:
    mixed.front[1].shown["latency"] = Value(float("nan"), "measured")
    again = Chart.from_dict(json.loads(json.dumps(without_nan(mixed.to_dict()))))
    write_png(again, tmp_path / "front.png", dpi=50)
    axes = drawn(again)
    assert left_out(again, axes.get_xlim(), axes.get_ylim())[0] == "1 of the front not drawn: a value is unknown."


# ---- in a browser

BROWSER = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def browse(chart: Chart, folder: Path, script: str = "", width: int = 1100) -> str:
    """The page as a browser has it after its own script and another; nothing may be complained of."""
    page = render(chart).replace("</body>", f"<script>{{{script}}}</script></body>")
    (folder / "front.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--enable-logging=stderr"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1300"]
    options += ["--dump-dom", (folder / "front.html").as_uri()]
    done = subprocess.run([str(BROWSER), *options], capture_output=True, text=True, timeout=HANGS, check=True)
    assert ":CONSOLE" not in done.stderr, "what the page's script complains of"
    return done.stdout


def tags(page: str, name: str) -> list[dict[str, str]]:
    """Attributes of the elements whose class is `name`, or starts with it."""
    found = re.findall(r"<(?:circle|polygon|polyline|text)\b([^>]*)>", page)
    parsed = [dict(re.findall(r'([\w-]+)="([^"]*)"', attributes)) for attributes in found]
    return [a for a in parsed if a.get("class", "").split(" ")[-1] == name]


def place(tag: dict[str, str]) -> tuple[float, float]:
    x, y = re.findall(r"-?[\d.]+", tag["transform"].partition(")")[0])
    return float(x), float(y)


def corners(tag: dict[str, str]) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in tag["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_the_page_is_drawn_without_an_error(chart: Chart, tmp_path: Path) -> None:
    page = browse(chart, tmp_path)
    shown = page[: page.index('id="data"')]
    assert shown.count("<tr") == 1 + 3, "a line of names and one for each architecture of the front"
    for text in ("a0", "a1", "a2", "accuracy", "latency"):
        assert text in shown


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_points_say_what_is_an_estimate(mixed: Chart, tmp_path: Path) -> None:
    page = browse(mixed, tmp_path)
    points = [*tags(page, "front"), *tags(page, "evaluated")]
    points = [p for p in points if "data-arch" in p]
    assert {p["data-arch"]: p["data-filled"] == "yes" for p in points} == FILLED
    for p in points:
        estimated = "estimate" in (p["data-x-kind"], p["data-y-kind"])
        assert (p["fill"] == "var(--card)") == estimated, p["data-arch"]
    legend = page[page.index('id="bar"') : page.index('id="plot"')]
    for text in (
        "front: latency measured, accuracy table value",
        "front: latency estimate, accuracy table value",
        "front: latency measured, accuracy estimate",
        "front: estimate",
        "evaluated, not in the front: latency estimate, accuracy table value",
        "40 others: estimate",
    ):
        assert text in legend


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_the_front_is_joined_by_steps(mixed: Chart, tmp_path: Path) -> None:
    page = browse(mixed, tmp_path)
    (line,) = tags(page, "front-line")
    at = {p["data-arch"]: place(p) for p in tags(page, "front") if "data-arch" in p}
    known = {p.arch: (p.shown["latency"].value, p.shown["accuracy"].value) for p in mixed.front}
    across = np.polyfit([known[a][0] for a in at], [at[a][0] for a in at], 1)
    upward = np.polyfit([known[a][1] for a in at], [at[a][1] for a in at], 1)
    wanted = [(np.polyval(across, x), np.polyval(upward, y)) for x, y in STEPS]
    assert np.allclose(corners(line), wanted, atol=0.01)
    (true,) = tags(page, "true-line")
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners(true)))


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_all_of_the_front_is_in_the_picture(mixed: Chart, tmp_path: Path) -> None:
    page = browse(mixed, tmp_path)
    box = next(dict(re.findall(r'([\w-]+)="([^"]*)"', r)) for r in re.findall(r"<clipPath.*?<rect([^>]*)>", page))
    left, top, width, height = (float(box[k]) for k in ("x", "y", "width", "height"))

    def inside(x: float, y: float) -> bool:
        return left <= x <= left + width and top <= y <= top + height

    hidden = {p["data-arch"] for p in tags(page, "front") if "data-arch" in p and not inside(*place(p))}
    assert hidden == {"useless"}
    (arrow,) = [t for t in tags(page, "outside") if "data-arch" in t]
    assert arrow["data-arch"] == "useless"
    assert inside(*place(arrow))
    assert "front: accuracy 10<" in page
    assert "1 evaluated architecture outside of the picture; show outliers to see all." in page
    everything = browse(mixed, tmp_path, "document.querySelectorAll('#bar input')[1].click()")
    assert all(inside(*place(p)) for p in tags(everything, "front") if "data-arch" in p)
    assert not tags(everything, "outside")
    assert "outside of the picture" not in everything[everything.index('id="left-out"') :][:80]


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_the_page_tells_predictions_from_measurements(spread: Chart, tmp_path: Path) -> None:
    page = browse(spread, tmp_path)
    lines = re.findall(r'<line [^>]*class="(prediction|measurement)"', page)
    assert lines.count("prediction") == 3
    assert lines.count("measurement") == 2
    assert len(tags(page, "cut")) == 1
    assert "Open arrows at the edge: an interval goes on outside." in page
    legend = page[page.index('id="bar"') : page.index('id="plot"')]
    assert "95 % interval of the prediction" in legend
    assert "spread of the measurement (± 1.96 s.d.)" in legend
    below = page[page.index('id="brackets"') : page.index('id="tip"')]
    assert "[ – ] of an estimate: 95 % interval of the prediction" in below
    assert "[ – ] of other values: spread of the measurement (± 1.96 s.d.)" in below
    measured = [replace(p, predicted={}) for p in spread.front[:1]]
    page = browse(replace(spread, front=measured, feasible=False), tmp_path)
    seen = page[page.index('id="bar"') : page.index('id="tip"')]
    assert "predict" not in seen
    assert "least violating: " in seen
    assert "front:" not in seen


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_an_interval_down_to_zero_is_drawn_on_a_logarithmic_axis(spread: Chart, tmp_path: Path) -> None:
    spread.front[1].shown["latency"] = Value(4.0, "estimate", 0.0, 5.0)
    page = browse(spread, tmp_path, "document.querySelectorAll('#bar input')[0].click()")
    assert len(tags(page, "cut")) == 2
    assert "Infinity" not in page[page.index('id="plot"') : page.index('id="tip"')]
    assert "NaN" not in page[page.index('id="plot"') : page.index('id="tip"')]


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_point_tells_its_values_and_their_kinds(mixed: Chart, tmp_path: Path) -> None:
    script = """
        const dot = document.querySelector('[data-arch="guess"]').getBoundingClientRect();
        const at = { clientX: dot.x + dot.width / 2, clientY: dot.y + dot.height / 2 };
        document.getElementById("plot").dispatchEvent(new PointerEvent("pointermove", at));
    """
    page = browse(mixed, tmp_path, script)
    tip = page[page.index('id="tip"') : page.index('id="data"')]
    assert "<code>guess</code>" in tip
    assert "<td>latency (ms)</td><td>3</td><td>estimate</td>" in tip
    assert "<td>accuracy (%)</td><td>88</td><td>table value</td>" in tip


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_logarithmic_axis_hides_nothing_of_the_front(mixed: Chart, tmp_path: Path) -> None:
    click = "document.querySelectorAll('#bar input')[0].click()"
    page = browse(mixed, tmp_path, click)
    x = {p["data-arch"]: place(p)[0] for p in tags(page, "front") if "data-arch" in p}
    assert (x["large"] - x["guess"]) / (x["guess"] - x["small"]) == pytest.approx(np.log(3) / np.log(1.5), rel=1e-3)
    mixed.front[0].shown["latency"] = Value(0.0, "measured")
    page = browse(mixed, tmp_path, click)
    assert "latency is not drawn on a logarithmic axis" in page
    x = {p["data-arch"]: place(p)[0] for p in tags(page, "front") if "data-arch" in p}
    assert (x["large"] - x["guess"]) / (x["guess"] - x["small"]) == pytest.approx(6.0, rel=1e-3)


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_narrow_page_shows_the_whole_table_and_the_choices(mixed: Chart, tmp_path: Path) -> None:
    first, *rest = mixed.front
    front = [
        replace(first, choices={"width": "16", "depth": "2"}),
        *(replace(p, choices={"width": "32", "depth": "2"}) for p in rest),
    ]
    script = """
        const root = document.documentElement, body = document.getElementById("table").getBoundingClientRect();
        document.title = `${root.scrollWidth <= innerWidth} ${body.right <= innerWidth}`;
    """
    page = browse(replace(mixed, front=front), tmp_path, script, width=500)
    assert "<title>true true</title>" in page
    table = page[page.index('id="table"') : page.index('id="brackets"')]
    assert "width <b>16</b>" in table
    assert "depth" not in table, "what all of the front have in common is said once, below"
    assert "All have depth 2." in page
    assert table.count("copy</button>") == len(front)


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    page = browse(hostile(), tmp_path, "document.title = document.querySelectorAll('img').length + ' images'")
    assert "<title>0 images</title>" in page
