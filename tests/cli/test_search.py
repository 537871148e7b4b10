"""``nastk search`` from start to end: what it pays for, writes and says; Ctrl-C, resuming, full disks."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from effort import HANGS
from toy import TINY_SPACE

from nastk.cli import run

TINY = '''
"""A space of 27 networks and an accuracy that keeps a log of what it was asked."""
import os, time
'''
TINY += TINY_SPACE
TINY += """
def accuracy(arch):
    before = len(open(os.environ["TINY_LOG"]).readlines()) if os.path.exists(os.environ["TINY_LOG"]) else 0
    if before >= int(os.environ.get("TINY_STOPS_AFTER", "1000")):
        time.sleep(1000)  # until it is interrupted
    with open(os.environ["TINY_LOG"], "a") as log:
        log.write(",".join(map(str, arch)) + "\\n")
    return 50.0 + 3.0 * float(arch.sum())

def train(arch, epochs):
    with open(os.environ["TINY_LOG"], "a") as log:
        log.write(f"{','.join(map(str, arch))}@{epochs!r}\\n")
    return 50.0 + 3.0 * float(arch.sum()) - 10.0 / epochs
"""
FILES = ["front.csv", "front.html", "front.png", "history.db", "result.json"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny.py, made the current one."""
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINY_LOG", str(tmp_path / "log.txt"))
    monkeypatch.delitem(sys.modules, "tiny", raising=False)
    return tmp_path


ARGUMENTS = ["search", "--space", "tiny.py:Tiny", "--accuracy", "tiny.py:accuracy", "--objective", "accuracy"]
ARGUMENTS += ["--objective", "params", "--searcher", "random", "--budget", "8"]


def asked(folder: Path) -> list[str]:
    log = folder / "log.txt"
    return log.read_text().split() if log.exists() else []


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# ---- short trainings


TRAIN = ["search", "--space", "tiny.py:Tiny", "--accuracy", "tiny.py:train", "--objective", "accuracy"]


def test_own_short_trainings_cost_their_share_of_the_budget(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TRAIN, "--searcher", "multi-fidelity", "--epochs", "2,20", "--budget", "5"]) == 0
    epochs = [int(line.partition("@")[2]) for line in asked(tiny)]
    assert set(epochs) == {2, 20}
    assert 4.0 < sum(epochs) / 20 <= 5.0
    said = f"Evaluations: {len(epochs)} of accuracy ({epochs.count(2)} at 2, {epochs.count(20)} at 20)."
    assert said in capsys.readouterr().out
    assert pd.read_csv(tiny / "nastk-out" / "front.csv")["accuracy"].max() == 50.0 + 3.0 * 6 - 0.5


def test_a_searcher_without_short_trainings_pays_for_full_ones(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TRAIN, "--searcher", "random", "--epochs", "2,20", "--budget", "4"]) == 0
    assert [line.partition("@")[2] for line in asked(tiny)] == ["20"] * 4
    assert "Evaluations: 4 of accuracy." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (TRAIN, "tiny.py:train takes `epochs`: say for how many, such as --epochs 5,50"),
        ([*TRAIN, "--epochs", "2,x"], "--epochs '2,x': write positive integers"),
        ([*TRAIN, "--epochs", "20", "--searcher", "multi-fidelity"], "accuracy has 20"),
        ([*ARGUMENTS, "--epochs", "2,20"], "tiny.py:accuracy does not take `epochs`"),
        (["search", "--epochs", "2,20"], "--epochs are of trainings"),
    ],
)
def test_epochs_that_do_not_fit_are_one_line(
    tiny: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tiny / "nastk-out").exists()


# ---- files


def test_a_search_pays_its_budget_and_writes_four_files(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ARGUMENTS, "--json", "rows.json"]) == 0
    assert len(asked(tiny)) == len(set(asked(tiny))) == 8
    assert names(tiny / "nastk-out") == FILES
    front = pd.read_csv(tiny / "nastk-out" / "front.csv")
    assert set(front["accuracy_source"]) == {"measured"}
    assert set(front["params_source"]) == {"computed"}
    assert (front["accuracy"].diff().dropna() * front["params"].diff().dropna() > 0).all()
    said = capsys.readouterr()
    assert said.err == ""
    assert "params computed exactly" in said.out
    rows = json.loads((tiny / "rows.json").read_text())
    assert rows[0]["experiment"] == "search"
    assert (rows[0]["method"], rows[0]["samples"], rows[0]["measurements"]) == ("random", 8, 0)


def test_the_same_seed_gives_the_same_front(tiny: Path) -> None:
    assert run([*ARGUMENTS, "--out", "a", "--seed", "5"]) == 0
    assert run([*ARGUMENTS, "--out", "b", "--seed", "5"]) == 0
    assert (tiny / "a" / "front.csv").read_text() == (tiny / "b" / "front.csv").read_text()


def test_a_second_run_replaces_the_files_and_leaves_no_others(tiny: Path) -> None:
    assert run([*ARGUMENTS, "--seed", "1"]) == 0
    before = (tiny / "nastk-out" / "result.json").read_text()
    assert run([*ARGUMENTS, "--seed", "2"]) == 0
    assert (tiny / "nastk-out" / "result.json").read_text() != before
    assert names(tiny / "nastk-out") == sorted([*FILES, "history-1.db"])


def test_a_full_disk_is_one_line_and_nothing_half_written(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nastk.files.os.fsync", full)
    assert run(ARGUMENTS) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "No space left on device" in error[0]
    assert names(tiny / "nastk-out") == ["history.db"]


def test_the_saved_result_draws_again(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ARGUMENTS) == 0
    assert run(["report", "nastk-out/result.json", "--html", "again.html", "--png", "again.png"]) == 0
    assert (tiny / "again.html").read_text() == (tiny / "nastk-out" / "front.html").read_text()
    assert (tiny / "again.png").read_bytes() == (tiny / "nastk-out" / "front.png").read_bytes()
    first, again = capsys.readouterr().out.split("Took")
    assert again.split("\n", 1)[1].strip() == first.strip()
    assert run(["report", "nastk-out", "--png", "AGAIN.PNG"]) == 0
    assert (tiny / "AGAIN.PNG").read_bytes() == (tiny / "nastk-out" / "front.png").read_bytes()


# ---- constraints, configuration


def test_a_constraint_holds_on_the_front(tiny: Path) -> None:
    assert run([*ARGUMENTS, "--constraint", "params<=80"]) == 0
    assert (pd.read_csv(tiny / "nastk-out" / "front.csv")["params"] <= 80).all()


def test_a_constraint_that_nothing_keeps_is_said(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ARGUMENTS, "--constraint", "params<=1"]) == 0
    assert "Nothing that keeps params<=1 was found" in capsys.readouterr().out


def test_a_configuration_file_gives_the_same_run(tiny: Path) -> None:
    (tiny / "run.toml").write_text(
        'space = "tiny.py:Tiny"\naccuracy = "tiny.py:accuracy"\nobjective = ["accuracy", "params"]\n'
        'searcher = "random"\nbudget = 8\nout = "c"\n'
    )
    assert run(ARGUMENTS) == 0
    assert run(["search", "--config", "run.toml"]) == 0
    assert (tiny / "c" / "front.csv").read_text() == (tiny / "nastk-out" / "front.csv").read_text()


def test_a_function_that_always_fails_stops_with_its_reason(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "broken.py").write_text("def accuracy(arch):\n    raise RuntimeError('no GPU')\n")
    arguments = ["broken.py:accuracy" if a == "tiny.py:accuracy" else a for a in ARGUMENTS]
    assert run(arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "RuntimeError: no GPU" in error[0]


# ---- storage and Ctrl-C


def test_a_stored_search_resumes_and_repeats_nothing(tiny: Path) -> None:
    storage = ["--storage", "sqlite:///run.db"]
    assert run([*ARGUMENTS[:-1], "3", *storage]) == 0
    assert run([*ARGUMENTS, *storage]) == 0
    assert len(asked(tiny)) == len(set(asked(tiny))) == 8
    assert run([*ARGUMENTS, *storage]) == 0
    assert len(asked(tiny)) == 8


def test_a_named_study_refuses_another_question(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = ["--storage", "sqlite:///run.db", "--study", "mine"]
    assert run([*ARGUMENTS, *storage]) == 0
    capsys.readouterr()
    assert run([*ARGUMENTS, *storage, "--seed", "9"]) == 2
    assert "seed was 0, now 9" in capsys.readouterr().err


def interrupted(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Start a search that stops after three evaluations, press Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nastk", *ARGUMENTS, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TINY_STOPS_AFTER": "3"},
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
    )
    deadline = time.monotonic() + HANGS
    while len(asked(folder)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANGS)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_ctrl_c_saves_what_was_paid_for_and_says_how_to_go_on(tiny: Path) -> None:
    done = interrupted(tiny)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "to go on: nastk search" in done.stderr
    assert names(tiny / "nastk-out") == ["history.db"]
    paid = len(asked(tiny))
    assert 3 <= paid < 8
    command = done.stderr.split("to go on: nastk ")[1].split()
    assert run(command) == 0
    assert len(set(asked(tiny))) == 8
    assert len(asked(tiny)) <= 8 + 1  # the one under way when Ctrl-C came is asked again
    assert set(FILES) <= set(names(tiny / "nastk-out"))


def test_a_second_run_keeps_the_history_of_the_first(tiny: Path) -> None:
    interrupted(tiny)
    first = (tiny / "nastk-out" / "history.db").read_bytes()
    assert run([*ARGUMENTS, "--seed", "5"]) == 0
    assert (tiny / "nastk-out" / "history-1.db").read_bytes() == first


def test_a_folder_of_any_name_holds_what_was_interrupted(tiny: Path) -> None:
    done = interrupted(tiny, "--out", "what 3?x")
    assert names(tiny / "what 3?x") == ["history.db"]
    assert run(shlex.split(done.stderr.split("to go on: nastk ")[1])) == 0
    assert len(set(asked(tiny))) == 8


def test_what_was_evaluated_before_an_error_is_saved(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "late.py").write_text(
        "import os\nfrom nastk.errors import NastkError\nfrom tiny import Tiny\n\nclass Late(Tiny):\n"
        "    def statics(self, archs, **options):\n        if os.path.exists(os.environ['TINY_LOG']):\n"
        "            raise NastkError('the licence server is gone')\n"
        "        return super().statics(archs, **options)\n"
    )
    arguments = [*ARGUMENTS[:2], "late.py:Late", *ARGUMENTS[3:]]
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert "the licence server is gone; 1 evaluation is kept in sqlite:///" in error
    assert "nastk-out/history.db; to go on: nastk" in error


def test_ctrl_c_with_storage_leaves_everything_there(tiny: Path) -> None:
    done = interrupted(tiny, "--storage", "sqlite:///run.db")
    assert done.returncode == 130
    assert len(done.stderr.splitlines()) == 1
    assert "kept in sqlite:///" in done.stderr
    assert "--resume" not in done.stderr
    assert run([*ARGUMENTS, "--storage", "sqlite:///run.db"]) == 0
    assert len(set(asked(tiny))) == 8


# ---- tables


@pytest.mark.data
def test_on_a_table_every_value_is_evaluated_and_scored(
    nastk_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "--dataset", "cifar10", "--device", "fpga", "--budget", "12", "--measurements", "6"]
    assert run([*arguments, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "rows.json")]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    spent = {
        o: sum(r["objective"] == o and r["purpose"] == "search" for r in result["history"])
        for o in ("test_accuracy", "latency")
    }
    assert spent == {"test_accuracy": 12, "latency": 6}
    assert result["hypervolume"]["true_front"] == pytest.approx(0.9742, abs=1e-4)  # MODNAS protocol, fpga
    assert 0.5 < result["hypervolume"]["hypervolume"] <= result["hypervolume"]["true_front"]
    rows = {r["metric"]: r for r in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["hypervolume"]["reference"] == pytest.approx(0.9742, abs=1e-4)
    assert {r["test_accuracy_source"] for r in result["front"]} == {"table"}
    said = capsys.readouterr().out
    assert "table value" in said
    assert "Hypervolume by the MODNAS protocol" in said


@pytest.mark.data
def test_the_target_device_is_taken_out_of_the_shipped_sources(nastk_home: Path) -> None:
    from nastk.search.defaults import latency_predictor
    from nastk.spaces.factory import space

    few = latency_predictor(space("nasbench201"), "titan_rtx_256")
    assert "titan_rtx_256" not in few.devices
    assert "2080ti_256" not in few.devices


def test_a_truncated_table_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "nasbench201.npz").write_bytes(b"PK\x03\x04 cut off")
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    assert run(["search", "--device", "pixel3", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "nastk data fetch nasbench201" in error[0]


@pytest.mark.data
def test_a_damaged_download_behind_a_table_is_one_line(
    nastk_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(nastk_home / "raw", tmp_path / "raw")
    largest = max((tmp_path / "raw").rglob("*.csv"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:1000])
    monkeypatch.setenv("NASTK_HOME", str(tmp_path))
    assert run(["search", "--dataset", "cifar10", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "truncated or altered" in error[0]
    assert not (tmp_path / "tables").exists() or not list((tmp_path / "tables").iterdir())


# ---- this machine


@pytest.mark.alone
@pytest.mark.slow
def test_the_main_job_finds_a_front_for_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "--measurements", "6", "--verify", "4", "--out", str(tmp_path)]) == 0
    assert names(tmp_path) == FILES
    result = json.loads((tmp_path / "result.json").read_text())
    measured = [r for r in result["history"] if r["objective"] == "latency"]
    assert sum(r["purpose"] == "search" for r in measured) == 6
    assert 1 <= sum(r["purpose"] == "verify" for r in measured) <= 4
    assert all(r["status"] == "ok" and r["value"] > 0 and "measured on" in r["source"] for r in measured)
    front = pd.read_csv(tmp_path / "front.csv")
    assert set(front["accuracy_source"]) == {"predicted"}
    assert set(front["latency_source"]) == {"measured"}
    assert front["accuracy"].max() > 92  # which four of the front are kept depends on the machine's load
    assert 4900 < len(result["chart"]["cloud"]["archs"]) <= 5000  # less those that were evaluated
    assert "estimate of the shipped predictor" in capsys.readouterr().out


@pytest.mark.parametrize("searcher", ["random", "predictor", "pymoo:nsga2"])
def test_where_every_objective_is_free_the_budget_counts_architectures(tiny: Path, searcher: str) -> None:
    arguments = ["search", "--space", "tiny.py:Tiny", "--objective", "params", "--objective", "flops"]
    assert run([*arguments, "--searcher", searcher, "--budget", "12"]) == 0
    front = pd.read_csv(tiny / "nastk-out" / "front.csv")
    assert len(front) >= 1
    assert set(front["params_source"]) == {"computed"}
