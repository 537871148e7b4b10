"""A space of the user's own on the command line: its own measurements imported, searched, compared and predicted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from nastk.cli import run

OWN = """
import nastk
from torch import nn

class Rows(nastk.SearchSpace):
    name = "rows"
    choices = (nastk.Choice("width", ("16", "32", "64")), nastk.Choice("depth", ("1", "2", "3")))

class Net(nn.Module):
    input_shape = (8,)

    def __init__(self):
        super().__init__()
        width, depth = nastk.choice("width", [16, 32, 64]), nastk.choice("depth", [1, 2, 3])
        self.layers = nn.Sequential(nn.Linear(8, width), *(nn.Linear(width, width) for _ in range(depth)))

    def forward(self, x):
        return self.layers(x)
"""
MEASURED = """arch,top1,ms
16_1,50,1.0
32_1,54,1.5
64_1,60,2.5
16_2,51,1.6
32_2,58,2.0
64_3,66,4.0
"""
FRONT_WITHIN_2 = {"16_1": (50, 1.0), "32_1": (54, 1.5), "32_2": (58, 2.0)}
"""Nothing is better in one and not worse in the other, of at most 2 ms; 16_2 is dominated by 32_1."""
SPACES = ["own.py:Rows", "own.py:Net"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "own.py").write_text(OWN, encoding="utf-8")
    (here / "mine.csv").write_text(MEASURED, encoding="utf-8")
    return here


def bring(space: str) -> None:
    columns = ["--column", "top1:accuracy", "--column", "ms:latency"]
    assert run(["data", "import", "mine.csv", "--space", space, *columns, "--device", "pi5"]) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    "asked",
    [
        ["--objective", "accuracy", "--objective", "latency:pi5", "--constraint", "latency:pi5<=2"],
        ["--objective", "accuracy", "--objective", "latency", "--device", "pi5", "--constraint", "latency<=2"],
    ],
)
def test_imported_measurements_are_searched_with_constraints(own: Path, space: str, asked: list[str]) -> None:
    bring(space)
    assert run(["search", "--space", space, *asked, "--searcher", "random", "--budget", "6", "--out", "out"]) == 0
    front = pd.read_csv("out/front.csv")
    assert (
        dict(zip(front["arch"], zip(front["accuracy"], front["latency"], strict=True), strict=True)) == FRONT_WITHIN_2
    )
    assert set(front["accuracy_source"]) == set(front["latency_source"]) == {"table"}


@pytest.mark.parametrize("space", SPACES)
def test_the_default_searcher_searches_a_table_smaller_than_its_measurements(own: Path, space: str) -> None:
    bring(space)
    assert run(["search", "--space", space, "--device", "pi5", "--constraint", "latency<=2", "--out", "out"]) == 0
    assert set(pd.read_csv("out/front.csv")["arch"]) == set(FRONT_WITHIN_2)


@pytest.mark.parametrize("space", SPACES)
def test_architectures_are_integers_with_commas_too(own: Path, capsys: pytest.CaptureFixture[str], space: str) -> None:
    (own / "ms.csv").write_text("arch,ms\n16_1,1\n32_2,2\n64_3,4\n", encoding="utf-8")
    asked = ["predict", "--measured", "ms.csv", "--space", space]
    assert run([*asked, "2,1"]) == 0
    assert "64_2" in capsys.readouterr().out
    assert "'2,1,0' holds 3 integers; an architecture has 2, one for each choice" in refused(capsys, *asked, "2,1,0")
    assert "expected 2 options joined by '_', or 2 integers with commas; got 'x'" in refused(capsys, *asked, "x")
    assert "width is 3, must be 0 to 2" in refused(capsys, *asked, "3,1")


def test_searchers_are_compared_on_imported_measurements(own: Path) -> None:
    bring("own.py:Net")
    words = ["bench", "search", "--space", "own.py:Net", "--searchers", "random", "--budgets", "6", "--seeds", "2"]
    goals = ["--objective", "accuracy", "--objective", "latency:pi5"]
    assert run([*words, *goals, "--workers", "1", "--json", "rows.json"]) == 0
    rows = [row for row in json.loads(Path("rows.json").read_text()) if row["metric"] == "hypervolume"]
    assert [row["mean"] for row in rows] == [pytest.approx(row["reference"]) for row in rows], "all six were evaluated"


def test_finished_runs_on_other_measurements_are_not_taken_for_these(own: Path) -> None:
    words = ["bench", "search", "--space", "own.py:Rows", "--searchers", "random", "--budgets", "6", "--seeds", "1"]
    words += ["--objective", "accuracy", "--workers", "1", "--out", "out"]
    runs = []
    for text in (MEASURED, MEASURED, MEASURED.replace("16_1,50", "16_1,70")):
        Path("mine.csv").write_text(text, encoding="utf-8")
        bring("own.py:Rows")
        assert run(words) == 0
        runs.append(len(Path("out/runs.jsonl").read_text().splitlines()))
    assert runs == [1, 1, 2], "the second is the first, the third is not"


@pytest.mark.parametrize("space", SPACES)
def test_latencies_of_a_space_of_ones_own_are_predicted(own: Path, space: str) -> None:
    pd.read_csv("mine.csv")[["arch", "ms"]].to_csv("ms.csv", index=False)
    assert run(["predict", "--measured", "ms.csv", "--space", space, "--csv", "all.csv"]) == 0
    predicted = pd.read_csv("all.csv")
    assert len(predicted) == 9
    known = predicted.merge(pd.read_csv("mine.csv"), on="arch")
    assert known["ms_x"].corr(known["ms_y"], method="spearman") > 0.9


def test_a_space_without_networks_is_searched_and_refuses_to_be_measured(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring("own.py:Rows")
    for words in (
        ["measure", "16_1"],
        ["zcp", "16_1"],
        ["bench", "zcp"],
        ["search", "--objective", "latency", "--objective", "accuracy", "--out", "out"],
        ["search", "--objective", "params", "--out", "out"],
    ):
        said = refused(capsys, *words, "--space", "own.py:Rows")
        assert "the space rows builds none: define build(self, arch)" in said.replace("rows-pool", "rows")
    assert not Path("out").exists()


def test_a_space_that_changed_is_refused_by_every_command_that_reads_its_table(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring("own.py:Net")
    before = Path("own.py").stat().st_mtime_ns
    Path("own.py").write_text(OWN.replace("[16, 32, 64]", "[64, 32, 16]"), encoding="utf-8")
    os.utime("own.py", ns=(before + 10**9, before + 10**9))
    for words in (["search"], ["search", "--device", "pi5"], ["search", "--objective", "nope"], ["bench", "search"]):
        said = refused(capsys, *words, "--space", "own.py:Net")
        assert "the space Net has changed since mine was imported: width was chosen among 16, 32, 64, and now" in said
    bring("own.py:Net")
    words = ["--objective", "accuracy", "--searcher", "random", "--budget", "6", "--out", "out"]
    assert run(["search", "--space", "own.py:Net", *words]) == 0
    assert pd.read_csv("out/front.csv")[["arch", "accuracy"]].to_numpy().tolist() == [["64_3", 66.0]]


@pytest.mark.parametrize(
    ("space", "cure"),
    [
        ("own.py:Rows", "nothing was imported into the space rows; run: nastk data import"),
        ("own.py:Missing", "has no 'Missing'"),
        ("other.py:Rows", "no such file"),
    ],
)
def test_a_space_without_imports_says_how_to_import(
    own: Path, capsys: pytest.CaptureFixture[str], space: str, cure: str
) -> None:
    assert cure in refused(capsys, "search", "--space", space, "--device", "pi5", "--objective", "latency")
    assert cure in refused(capsys, "bench", "search", "--space", space)
