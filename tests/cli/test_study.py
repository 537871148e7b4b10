"""``nastk study``, and what ``nastk search`` says and keeps when evaluations fail or it is asked to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from effort import HANGS
from toy import TINY_SPACE

from nastk.cli import run
from nastk.files import write_text

MINE = "import os\n"
MINE += TINY_SPACE
MINE += """
def accuracy(arch):
    if arch[0] == 2 and not os.path.exists("mended"):
        raise RuntimeError("CUDA out of memory")
    return 50.0 + 3.0 * float(arch.sum())

def leaves(arch):
    import sys
    sys.exit(0)

def kills(arch):
    if tuple(arch) == (2, 0, 1):
        os._exit(137)
    return accuracy(arch)
"""
SEARCH = ["search", "--space", "mine_study.py:Tiny", "--objective", "accuracy", "--objective", "params"]
SEARCH += ["--searcher", "random", "--accuracy"]
ACCURACY, KILLS = "mine_study.py:accuracy", "mine_study.py:kills"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine_study.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_study", raising=False)
    return tmp_path


def test_failures_are_counted_on_the_screen_in_the_page_and_in_the_file(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SEARCH, ACCURACY, "--budget", "7"]) == 0
    said = capsys.readouterr().out
    result = json.loads((mine / "nastk-out" / "result.json").read_text())
    (row,) = result["failures"]
    assert (row["objective"], row["reason"]) == ("accuracy", "RuntimeError: CUDA out of memory")
    assert row["of"] - row["count"] == 7
    sentence = f"Failed: {row['count']} of {row['of']} of accuracy: {row['count']} x RuntimeError: CUDA out of memory."
    assert sentence in said
    assert f"{row['count']} evaluations failed. Written to nastk-out" in said.splitlines()[-1]
    assert sentence in (mine / "nastk-out" / "front.html").read_text()


def test_failed_evaluations_are_tried_again_when_asked_for(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = ["--storage", "sqlite:///run.db"]
    assert run([*SEARCH, ACCURACY, *storage, "--budget", "7"]) == 0
    assert run(["study", "list", *storage, "--json", "studies.json"]) == 0
    (row,) = json.loads((mine / "studies.json").read_text())
    failed = row["failed"]
    assert failed > 0
    capsys.readouterr()
    assert run(["study", "show", *storage]) == 0
    assert "RuntimeError: CUDA out of memory" in capsys.readouterr().out
    assert run(["study", "retry", *storage]) == 0
    assert capsys.readouterr().out.startswith(f"{failed} failed evaluation")
    (mine / "mended").touch()
    assert run([*SEARCH, ACCURACY, *storage, "--budget", "7"]) == 0
    assert "Failed" not in capsys.readouterr().out
    assert run(["study", "retry", *storage]) == 0
    assert capsys.readouterr().out == "No evaluation of nastk failed.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "list", "--storage", "sqlite:///none.db"], "no database sqlite:///none.db"),
        (["study", "show", "--storage", "sqlite:///run.db", "--study", "nastq"], "did you mean 'nastk'?"),
        (["study", "retry", "--storage", "none.db"], "write sqlite:///run.db"),
        ([*SEARCH, ACCURACY, "--retries", "-1"], "--retries must be at least 0"),
        ([*SEARCH, ACCURACY, "--storage", "sqlite://"], "in memory and would keep nothing"),
        ([*SEARCH, ACCURACY, "--predictor", "ridg"], "learns nothing"),
        ([*SEARCH[:-3], "--accuracy", ACCURACY, "--predictor", "ridg"], "did you mean 'ridge'"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_evaluated(
    mine: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run([*SEARCH, ACCURACY, "--budget", "3", "--storage", "sqlite:///run.db", "--out", "first"])
    capsys.readouterr()
    assert run(arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert message in error[0]
    assert not (mine / "nastk-out").exists()


@pytest.mark.parametrize("name", ["front.html", "result.json", "rows.json"])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_evaluated(
    mine: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = mine / name if name == "rows.json" else mine / "nastk-out" / name
    place.mkdir(parents=True)
    assert run([*SEARCH, ACCURACY, "--budget", "3", "--json", "rows.json"]) == 2
    assert f"{name}: it is a folder" in capsys.readouterr().err
    assert not (mine / "nastk-out" / "history.db").exists()


def test_a_second_run_starts_anew_and_resume_goes_on(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def evaluated(name: str) -> int:
        assert run(["study", "list", "--storage", f"sqlite:///nastk-out/{name}", "--json", "rows.json"]) == 0
        return int(json.loads((mine / "rows.json").read_text())[0]["evaluations"].split()[0])

    (mine / "mended").touch()
    assert run([*SEARCH, ACCURACY, "--budget", "3", "--resume"]) == 0
    assert "nothing to resume in nastk-out; beginning anew" in capsys.readouterr().err
    assert run([*SEARCH, ACCURACY, "--budget", "5", "--resume"]) == 0
    assert evaluated("history.db") == 5
    assert run([*SEARCH, ACCURACY, "--budget", "4"]) == 0
    assert (evaluated("history.db"), evaluated("history-1.db")) == (4, 5)
    capsys.readouterr()
    assert run([*SEARCH, ACCURACY, "--budget", "2"]) == 0
    assert "the earlier history is now nastk-out/history-2.db; --storage nastk-out/history-2.db goes on with it" in (
        capsys.readouterr().err
    )
    assert [evaluated(f"history{n}.db") for n in ("", "-1", "-2")] == [2, 5, 4]


def test_a_run_that_is_refused_or_interrupted_at_once_leaves_an_earlier_history(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine / "mended").touch()
    assert run([*SEARCH, ACCURACY, "--budget", "3"]) == 0
    before = (mine / "nastk-out" / "history.db").read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nastk.study.Study.run", interrupted)
    assert run([*SEARCH, ACCURACY, "--budget", "5", "--resume", "--seed", "3"]) == 130
    assert (mine / "nastk-out" / "history.db").exists()
    assert run([*SEARCH, ACCURACY, "--budget", "5"]) == 130
    assert not (mine / "nastk-out" / "history.db").exists(), "nothing was evaluated"
    assert (mine / "nastk-out" / "history-1.db").exists()
    assert before


def test_two_runs_do_not_write_to_one_folder(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nastk.files import locked_folder

    with locked_folder("nastk-out"):
        assert run([*SEARCH, ACCURACY, "--budget", "3"]) == 2
    assert "another run is writing to nastk-out" in capsys.readouterr().err
    assert not (mine / "nastk-out").exists()


def test_sys_exit_is_a_failure_and_never_success(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SEARCH, "mine_study.py:leaves", "--budget", "3"]) == 2
    assert "all 5 evaluations of accuracy failed; last: SystemExit: 0" in capsys.readouterr().err
    (mine / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    for arguments in (
        [*SEARCH, "leaving.py:f"],
        ["measure", "--space", "leaving.py:S"],
        ["zcp", "--space", "leaving.py:S"],
    ):
        assert run(arguments) == 2, arguments
        assert "SystemExit" in capsys.readouterr().err or "sys.exit" in capsys.readouterr().err


def nastk(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nastk", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def test_an_architecture_that_kills_its_process_does_not_block_the_study(mine: Path) -> None:
    (mine / "mended").touch()
    statuses = []
    for _ in range(10):
        process = nastk(mine, *SEARCH, KILLS, "--budget", "27", "--resume")
        out, _ = process.communicate(timeout=HANGS)
        statuses.append(process.returncode)
        if process.returncode == 0:
            break
    assert statuses == [137, 137, 0], "an architecture may kill two processes"
    assert "1 x the process ended 2 times during this evaluation" in out
    assert "Evaluations: 27 of accuracy." in out


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, host = int(gone.stdout), socket.gethostname()
    left = tmp_path / f".front.png.{host}-{dead}.abc.png"
    mine = tmp_path / f".front.png.{host}-{os.getpid()}.abc.png"
    other = tmp_path / f".front.png.elsewhere-{dead}.abc.png"
    for file in (left, mine, other):
        file.write_text("x")
    write_text(tmp_path / "front.png", "whole")
    assert not left.exists()
    assert mine.exists()
    assert other.exists()
    assert (tmp_path / "front.png").read_text() == "whole"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["measure", "zcp", "search"])
def test_every_command_ends_in_one_line_when_asked_to(tmp_path: Path, command: str, number: signal.Signals) -> None:
    (tmp_path / "slow_space.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(1000)\n")
    process = nastk(tmp_path, command, "--space", "slow_space.py:S")
    deadline = time.monotonic() + HANGS
    while not (tmp_path / "begun").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + number
    assert error == f"nastk: ended by {number.name}\n"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "__pycache__") == ["begun", "slow_space.py"]
