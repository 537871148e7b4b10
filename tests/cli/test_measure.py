"""``nastk measure``: networks that fail, an interruption, files that cannot be written, precisions, several runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nastk.cli import run
from nastk.oracles.latency import Latency

FILE = Path(__file__).parents[1] / "failing.py"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short measurements."""
    start = Latency.__init__

    def made(self: Latency, *arguments: object, **options: object) -> None:
        few = {"rounds": 2, "warmup": 0.0, "min_repeats": 2, "max_repeats": 4, "together": 2}
        start(self, *arguments, **{**few, **options})  # type: ignore[arg-type]

    monkeypatch.setattr(Latency, "__init__", made)


def test_networks_that_fail_have_reasons_and_the_others_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, rows = tmp_path / "new" / "ms.csv", tmp_path / "ms.json"
    texts = ["plain", "groups", "lazy", "exit"]
    assert run(["measure", "--space", f"{FILE}:Failing", *texts, "--csv", str(table), "--json", str(rows)]) == 0
    assert "groups: failed: ValueError: in_channels must be divisible by groups" in capsys.readouterr().err
    found = {row["arch"]: row for row in json.loads(rows.read_text())}
    assert list(found) == texts
    assert {text for text, row in found.items() if row["ms"] is None} == {"groups", "exit"}
    assert found["exit"]["reason"] == "SystemExit: bye"
    assert found["plain"]["reason"] == ""
    with table.open(encoding="utf-8", newline="") as file:
        assert [row["reason"] for row in csv.DictReader(file)] == [row["reason"] for row in found.values()]


def test_where_none_can_be_measured_the_reasons_are_written_and_the_command_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "ms.json"
    assert run(["measure", "--space", f"{FILE}:OnlyFailing", "2", "4", "--json", str(rows)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    reason = "ValueError: in_channels must be divisible by groups"
    assert last == f"nastk: error: none of the 2 networks could be measured; the first: {reason}"
    assert len(json.loads(rows.read_text())) == 2


def test_the_reason_of_a_single_network_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "ValueError: in_channels must be divisible by groups"
    for texts in (["2"], ["2", "2"]):
        assert run(["measure", "--space", f"{FILE}:OnlyFailing", *texts]) == 2
        assert capsys.readouterr().err == f"nastk: error: 2 could not be measured: {reason}\n"


def test_an_interruption_keeps_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = Latency.measure_many, []

    def interrupted(self: Latency, archs: object) -> object:
        calls.append(archs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, archs)

    monkeypatch.setattr(Latency, "measure_many", interrupted)
    rows = tmp_path / "ms.json"
    texts = ["plain", "lazy", "several", "plain"]
    assert run(["measure", "--space", f"{FILE}:Failing", *texts, "--json", str(rows)]) == 130
    assert [row["arch"] for row in json.loads(rows.read_text())] == texts[:2]
    assert f"interrupted: 2 of 4 measured, saved to {rows}" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Latency, "measure_many", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").touch()
    assert run(["measure", "--space", f"{FILE}:Failing", "plain", "--csv", str(tmp_path / "file" / "ms.csv")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_check_of_the_predictor_says_what_failed_and_how_few_are_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object, **__: object) -> object:
        raise ValueError("nothing can be built")

    monkeypatch.setattr("nastk.spaces.nasbench201.NASBench201.build", build)
    assert run(["measure", "--check-predictor", "--adapt", "3", "--test", "4", "--runs", "1"]) == 2
    said = capsys.readouterr().err
    assert "failed: ValueError: nothing can be built" in said
    assert "only 0 networks to adapt to and 0 to test on could be measured" in said


def test_two_precisions_are_measured_side_by_side_and_every_column_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "ms.csv"
    line = [
        "measure",
        "--space",
        f"{FILE}:Failing",
        "groups",
        "plain",
        "--precision",
        "bf16, fp32",
        "--csv",
        str(table),
    ]
    assert run(line) == 0
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["arch"] for row in rows] == ["groups@fp32", "groups@bf16", "plain@fp32", "plain@bf16"]
    assert [bool(row["ms"]) for row in rows] == [False, False, True, True]
    assert [bool(row["cosine"]) for row in rows] == [False, False, False, True]
    assert "cosine" in capsys.readouterr().out
    assert run(["measure", "--space", f"{FILE}:Failing", "plain@bf16", "--precision", "fp32,bf16"]) == 0
    said = capsys.readouterr().out
    assert "plain@bf16" in said
    assert "plain@fp32" not in said


def test_a_comparison_of_runs_that_is_interrupted_shows_those_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nastk.bench import repeatability

    def one(scale: float) -> repeatability.Repeat:
        values = {method: np.array([1.0, 2.0, 3.0]) * scale for method in repeatability.METHODS}
        bounds = [{method: v * f for method, v in values.items()} for f in (0.9, 1.1)]
        return repeatability.Repeat(values, bounds[0], bounds[1], ["steady: wall time"], {})

    def interrupted(*_: object) -> Iterator[repeatability.Repeat]:
        yield one(1.0)
        yield one(1.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(repeatability, "repeat", interrupted)
    rows = tmp_path / "rows.json"
    line = ["measure", "--space", f"{FILE}:Failing", "plain", "--repeatability", "9", "--json", str(rows)]
    assert run(line) == 130
    assert f"interrupted: 2 of 9 runs, saved to {rows}" in capsys.readouterr().err
    (nastk_row, _) = json.loads(rows.read_text())
    assert nastk_row["covered %"] == 100
    assert nastk_row["shift %"] == pytest.approx(5)


def test_comparing_runs_needs_three_networks_and_a_process_that_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["measure", "--space", f"{FILE}:Failing", "plain", "plain", "lazy", "--repeatability", "2"]
    assert run(line) == 2
    assert "at least 3 different networks; got 2" in capsys.readouterr().err
