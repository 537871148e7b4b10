"""Standard output and error that are closed, left by their reader or of a small encoding: none of it ends a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nastk.cli import run
from nastk.registry import PREDICTORS

NASTK = f"{sys.executable} -m nastk"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, shell=True, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def left_by_its_reader(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose standard output is a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    try:
        return subprocess.run(
            [sys.executable, "-m", "nastk", *arguments],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)


def test_a_reader_that_leaves_ends_no_command_and_changes_no_status(tmp_path: Path) -> None:
    done = left_by_its_reader("list", "--json", str(tmp_path / "list.json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads((tmp_path / "list.json").read_text())) > len(PREDICTORS.names()), "it is written after all"
    done = left_by_its_reader("data", "forget", "nope")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_output_goes_nowhere(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "list.json"
    done = shell(f"{NASTK} list predictors --json {file} {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["name"] for row in json.loads(file.read_text())] == PREDICTORS.names(), "nothing else is in the file"
    assert shell(f"{NASTK} list nope {closed}").returncode == 2


def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    done = shell(f"{NASTK} list predictors", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in PREDICTORS.names())


def test_an_error_sends_no_control_characters_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "\x1b[31mred\udcff\r.json"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(r"nastk: error: cannot read \x1b[31mred\udcff .json: ")
    assert said.count("\n") == 1
