"""Every command explains itself, with two examples that it takes; the shell completes them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from command_lines import COMMANDS, take

from nastk.cli import run
from nastk.cli.examples import EXAMPLES


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_are_command_lines_that_are_taken(name: str) -> None:
    for line in EXAMPLES[name]:
        program, *words = shlex.split(line)
        assert program == "nastk"
        assert take(words) == name


def test_help_ends_with_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["help", "bench", "search"]) == 0
    said = capsys.readouterr().out
    assert all(line in said for line in EXAMPLES["bench search"])
    assert run(["help"]) == 0
    assert "bench" in capsys.readouterr().out
    assert run(["help", "serach"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_the_shell_completes_commands() -> None:
    asked = {"_NASTK_COMPLETE": "complete_bash", "COMP_WORDS": "nastk rep", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'nastk'; from nastk.cli import main; main()"],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["report", "reproduce"]
