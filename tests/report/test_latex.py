"""Tables for papers from tidy rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nastk.cli import run
from nastk.errors import InvalidValue
from nastk.report.latex import latex
from nastk.report.of_rows import curves_of

ROWS = [
    {"method": m, "samples": n, "device": "d_1", "metric": metric, "mean": v, "ci95": half, "evaluations": 2 * n}
    for metric, values in {
        "hypervolume": {"a&b": (0.5, 0.9), "c": (0.7, 0.8), "d": (0.7, None)},
        "regret": {"a&b": (3.0, 1.0), "c": (2.0, 2.0), "d": (1.0, float("nan"))},
    }.items()
    for m, pair in values.items()
    for n, v, half in zip((10, 20), pair, (0.01, None), strict=True)
]


def test_the_best_is_bold_the_second_underlined_and_what_differs_is_a_column() -> None:
    lines = latex(ROWS).splitlines()
    assert lines[0] == "% hypervolume, mean and 95 % interval"
    assert r"samples & 10 & 20 \\" in lines, "the device is the same in all; evaluations follow from the samples"
    assert r"a\&b & $\underline{0.500} \pm 0.010$ & $\mathbf{0.900}$ \\" in lines
    assert r"c & $\mathbf{0.700} \pm 0.010$ & $\underline{0.800}$ \\" in lines
    assert r"d & $\mathbf{0.700} \pm 0.010$ & -- \\" in lines


def test_a_metric_that_falls_is_best_where_it_is_least_and_an_unknown_one_sets_nothing_off() -> None:
    lines = latex(ROWS, "regret").splitlines()
    assert r"d & $\mathbf{1.000} \pm 0.010$ & -- \\" in lines
    odd = latex([{**row, "metric": "odd"} for row in ROWS[:4]])
    assert "mathbf" not in odd
    assert "underline" not in odd


def test_what_cannot_be_a_table_is_refused() -> None:
    with pytest.raises(InvalidValue, match="there are hypervolume, regret"):
        latex(ROWS, "none")
    with pytest.raises(InvalidValue, match="method, metric and mean"):
        latex([{"x": 1}])
    with pytest.raises(InvalidValue, match="two values of hypervolume for c 10"):
        latex([*ROWS, ROWS[2]])


def test_the_command_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, tex, table = tmp_path / "rows.json", tmp_path / "t.tex", tmp_path / "t.csv"
    file.write_text(json.dumps([{**row, "mean": None if row["mean"] != row["mean"] else row["mean"]} for row in ROWS]))
    assert run(["report", str(file), "--metric", "regret", "--latex", str(tex), "--csv", str(table)]) == 0
    assert tex.read_text() == latex(ROWS, "regret")
    assert table.read_text().count("\n") == 1 + 6
    assert "hypervolume" not in capsys.readouterr().out
    assert run(["report", str(file), "--metric", "none"]) == 2
    assert run(["report", str(file), "--svg", str(tmp_path / "x.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_pictures_and_a_page_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    devices = [{**row, "device": device} for row in ROWS for device in ("d_1", "d_2", "*")]
    drawn = curves_of(devices, "regret")
    assert [panel.title for panel in drawn.panels] == ["d_1", "d_2", "mean"]
    first = drawn.panels[0].curves[0]
    assert (list(first.x), list(first.mean)) == ([10.0, 20.0], [3.0, 1.0])
    many = [{**row, "device": f"d{i}"} for row in ROWS for i in range(20)]
    assert len(curves_of([*many, *devices]).panels) == 1, "of too many devices, their mean"
    with pytest.raises(InvalidValue, match="20 settings of device; at most 16"):
        curves_of(many)
    Path("rows.json").write_text(json.dumps([r for r in devices if r["mean"] == r["mean"] and r["mean"] is not None]))
    assert run(["report", "rows.json", "--svg", "a.svg", "--pdf", "b.pdf", "--png", "c.png", "--html", "d.html"]) == 0
    starts = {"a.svg": b"<?xml", "b.pdf": b"%PDF", "c.png": b"\x89PNG", "d.html": b"<!doctype"}
    assert {name: Path(name).read_bytes()[: len(start)] for name, start in starts.items()} == starts
    assert Path("d.html").read_text().count('<figure class="curves">') == 2


def test_methods_with_one_value_stand_below_each_other(tmp_path: Path) -> None:
    one = curves_of([row for row in ROWS if row["samples"] == 10 and row["metric"] == "hypervolume"])
    assert one.panels[0].lonely == 10
    one.write(tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text()
    assert "<!-- a&amp;b -->" in text or "<!-- a&b -->" in text, "names on the axis"
    assert "<!-- hypervolume -->" in text
