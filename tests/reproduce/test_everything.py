"""The page of all tables and figures: cells, kept items, failures. Experiments are replaced by made-up rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nastk.bench import latency
from nastk.bench.latency import measures_sources
from nastk.bench.latency_tasks import PUBLISHED, TASKS
from nastk.cli import run as command
from nastk.errors import NastkError, UnknownName
from nastk.reproduce import everything, latency_items, lists, of_multi_predict
from nastk.reproduce.items import Cell, Item, Outcome, Setting
from nastk.reproduce.latency_items import LatencyRun

Row = dict[str, Any]


def made_up(run: LatencyRun, setting: Setting) -> list[Row]:
    """Rows as `nastk reproduce latency` gives them: every correlation .9."""
    tasks = {task: TASKS.get(task, TASKS["FD"]) for task in run.tasks} or {"R1": TASKS["FD"], "R2": TASKS["FD"]}
    if run.most is not None:
        tasks = {f"{t}<{run.most:g}/{d}": devices for t, devices in tasks.items() for d in devices.targets}
    rows = []
    for task, devices in tasks.items():
        targets = [task.partition("/")[2]] if "/" in task else list(devices.targets)
        targets = targets[:1] if task == "NA" else targets
        for method in run.methods:
            for size in run.source_samples or (devices.source_samples,):
                for k in run.samples:
                    learned = size * measures_sources(method)
                    for device in [*targets, "*"]:
                        rows.append(
                            {
                                "task": task, "method": method, "samples": k, "source_samples": size, "device": device,
                                "devices": len(targets) if device == "*" else 1, "metric": "spearman", "mean": 0.9,
                                "ci95": 0.02, "seeds": 4, "measurements": k + learned, "source_measurements": learned,
                                "looked_up": 0, "training_measurements": k + learned, "reference": None,
                            }
                        )  # fmt: skip
    return rows


LATENCY = ["table-1", "table-2", "table-3", "table-4", "table-12", "figure-4", "figure-7"]


@pytest.mark.data
@pytest.mark.parametrize("size", ["quick", "full"])
def test_every_published_cell_of_latency_is_there(
    nastk_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Any
) -> None:
    monkeypatch.setattr(LatencyRun, "rows", made_up)
    monkeypatch.setattr(LatencyRun, "jobs", lambda run: [])
    monkeypatch.setattr("nastk.bench.latency.missing", lambda devices: (False, []))
    drawn = LATENCY[5:] if size == "quick" else []  # pictures take time
    items = everything.find([f"multi-predict-{name}" for name in [*LATENCY[:5], *drawn]])
    done = {one.item.name: one for one in everything.run(tmp_path, size, items) if one.item in items}
    assert not [one.failure for one in done.values() if one.failure]
    for table in ("Table 1", "Table 2", "Table 3", "Table 4"):
        outcome = done[table].outcome
        assert outcome is not None
        wanted = [f.value for f in PUBLISHED if f.table == f"Multi-Predict, {table}"]
        assert [cell.published for cell in outcome.cells] == wanted
        if size == "full":
            assert all(cell.ours == 0.9 for cell in outcome.cells)
            partial = [cell for cell in outcome.cells if cell.reason.startswith("partial: 1 of 3")]
            assert len(partial) == (4 if table == "Table 2" else 0), "NA runs on one of its three targets"
    whole = done["Table 12"].outcome
    assert whole is not None
    assert len(whole.cells) == 16
    for name in drawn:
        outcome = done[name.replace("-", " ").title()].outcome
        assert outcome is not None
        assert outcome.pictures
        assert all((tmp_path / size / "figures" / file).stat().st_size > 5_000 for file, _ in outcome.pictures)


@pytest.mark.data
def test_a_smaller_experiment_is_shown_beside_the_published_one_without_a_verdict(nastk_home: Path) -> None:
    def row(method: str, samples: int, sources: int, mean: float) -> Row:
        known = {"task": "ND", "metric": "spearman", "device": "*", "devices": 6, "ci95": 0.01, "seeds": 4}
        return {**known, "method": method, "samples": samples, "source_samples": sources, "mean": mean}

    rows = [
        row("multi-predict", 10, 900, 0.94),
        row("multi-predict-index", 10, 50, 0.7),
        row("multi-predict-index", 10, 300, 0.8),
        row("help-short", 20, 900, 0.9),
        row("brp-nas-short", 100, 900, 0.6),
    ]
    found = {c.what: c for c in latency_items.cells("Multi-Predict, Table 1", rows, "quick") if c.what.endswith("mean")}
    whole = found["ND: TL, table (ET) @10, mean"]
    assert (whole.ours, whole.verdict, whole.reason) == (0.94, "inside", "")
    fewer = found["ND: TL, index @10, mean"]
    assert (fewer.ours, fewer.verdict, fewer.reason) == (0.8, "", "300 of 900 source samples")
    assert found["ND: HELP @20, mean"].reason == latency.METHODS["help-short"].short
    both = found["ND: BRP-NAS @900, mean"]
    assert both.ours == 0.6
    assert both.reason.startswith("100 of 900 measurements; 100 epochs")
    assert found["ND: TL, sample @20, mean"].reason == "only in --full"


def test_verdicts() -> None:
    assert Cell("inside", 0.94, 0.93, 0.006).verdict == "inside"
    assert Cell("below", 0.94, 0.92, 0.006).verdict == "below"
    assert Cell("above", 0.94, 0.97, 0.006).verdict == "above"
    assert Cell("one seed", 0.94, 0.94, float("nan"), 1).verdict == ""
    assert Cell("not run", 0.94, None, reason="only in --full").verdict == ""
    assert Cell("partial", 0.94, 0.94, 0.01, reason="partial: 1 of 3").verdict == ""
    assert Cell("bound", 0.85, 0.95, at_least=True).verdict == "inside"
    assert Cell("bound", 0.85, 0.8, at_least=True).verdict == "below"


@pytest.fixture
def three_items(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two items that run, one of which fails, and one that cannot; the names of those that ran."""
    ran: list[str] = []

    def good(setting: Setting) -> Outcome:
        ran.append("good")
        return Outcome([Cell("a | b", 0.5, 0.5, float("nan"), 1), Cell("c", 0.5, 0.504)], notes=["<said>"])

    def bad(setting: Setting) -> Outcome:
        ran.append("bad")
        raise NastkError("the table fbnet is not fetched")

    paper = of_multi_predict.PAPER
    items = (
        Item(paper, "Table 98", "good", good, {"quick": "nastk a\nnastk b", "full": "nastk c"}),
        Item(paper, "Table 99", "bad", bad),
        Item(paper, "Figure 99", "a drawing", reason="without data"),
    )
    monkeypatch.setattr(everything, "ITEMS", items)
    return ran


def test_a_failure_is_a_line_and_what_is_finished_is_kept(
    three_items: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["reproduce", "all", "--quick", "--out", str(tmp_path), "--json", str(tmp_path / "rows.json")]
    assert command(line) == 0
    said = capsys.readouterr().out
    assert "failed: the table fbnet is not fetched" in said
    assert "not possible: without data" in said
    assert "1 of 1 inside; 1 not comparable" in said
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "&lt;said&gt;" in page
    assert "<said>" not in page
    assert "nastk b" in page
    assert "nastk c" not in page
    text = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert r"a \| b" in text
    assert "It failed: the table fbnet is not fetched" in text
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["verdict"] for row in rows if "verdict" in row] == ["", "inside"]
    assert command(line) == 0
    assert three_items == ["good", "bad", "bad"], "the finished one is not repeated, the failed one is"
    assert command(["reproduce", "all", "--full", "--out", str(tmp_path)]) == 0
    assert three_items[3:] == ["good", "bad"], "the other size is another run"


def test_an_interrupted_run_goes_on(
    three_items: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(setting: Setting) -> Outcome:
        raise KeyboardInterrupt

    def let(run: Callable[[Setting], Outcome]) -> None:
        good, bad, other = everything.ITEMS
        monkeypatch.setattr(everything, "ITEMS", (good, replace(bad, run=run), other))

    seconds = iter([0.0, 1.0, 1.0, 8.0, 8.0, 10.0])
    monkeypatch.setattr(everything, "_seconds", lambda: next(seconds))
    let(interrupted)
    assert command(["reproduce", "all", "--out", str(tmp_path)]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert (tmp_path / "index.html").exists()
    folder = tmp_path / "quick" / "items"
    assert (folder / "multi-predict-table-98.json").exists()
    let(lambda setting: Outcome())
    assert command(["reproduce", "all", "--out", str(tmp_path)]) == 0
    kept = json.loads((folder / "multi-predict-table-99.json").read_text(encoding="utf-8"))
    assert kept["seconds"] == 9, "seven of the interrupted attempt, and two"
    assert not list(folder.glob("*.unfinished"))


def test_items_have_names_of_their_own_and_figures_4_to_21_a_picture_or_a_reason() -> None:
    keys = [item.key for item in everything.ITEMS]
    assert len(set(keys)) == len(keys)
    names = {item.name for item in of_multi_predict.ITEMS}
    assert {f"Figure {n}" for n in range(1, 22)} | {f"Table {n}" for n in range(1, 16)} == names
    assert all(item.run is not None or item.reason for item in everything.ITEMS)
    assert everything.find(["multi-predict-table-1"])[0].name == "Table 1"
    assert len(everything.find(["modnas"])) == 7
    with pytest.raises(UnknownName, match="table or figure"):
        everything.find(["table-0"])


def test_commands_are_ones_that_can_be_typed() -> None:
    import typer.main

    from nastk.cli import app

    known = typer.main.get_command(app)
    for item in everything.ITEMS:
        for text in item.command.values():
            for line in text.splitlines():
                _parse(known, line.split()[1:])


def _parse(known: Any, words: Sequence[str]) -> None:
    """Parse a command line without running it; an error of the command line is raised."""
    while hasattr(known, "commands") and words:
        known, words = known.commands[words[0]], words[1:]
    known.make_context("nastk", list(words), resilient_parsing=False)


@pytest.mark.data
def test_lists_say_what_is_here(nastk_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert command(["reproduce", "lists", "devices", "--json", str(file)]) == 0
    rows = {row["device"]: row for row in json.loads(file.read_text(encoding="utf-8"))}
    assert rows["1080ti_256"]["nasbench201"] == "here"
    assert rows["1080ti_256"]["fbnet"] == "-"
    assert rows["embedded_tpu_edge_tpu_int8"]["note"].startswith("files downloaded by hand")
    assert len(rows) == 20 + 12 + 13
    sets = {row["set"]: row for row in lists.sets()}
    assert len(sets["FA"]["train"].split(", ")) == 15
    assert sets["FA"]["test"] == "gold_6226, essential_ph_1, samsung_s7, pixel2"
    assert (sets["FA"]["runs"], sets["FA"]["lacking"]) == ("whole", "")


def test_a_wrong_list_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["reproduce", "lists", "device"]) == 2
    assert "did you mean 'devices'" in capsys.readouterr().err
