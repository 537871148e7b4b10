"""Every command explains itself, with two examples that it takes; the shell completes them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

from nastk.cli import app, run
from nastk.cli.examples import EXAMPLES


def commands(command: Any, name: str = "") -> dict[str, Any]:
    parts = getattr(command, "commands", None)
    if parts is None:
        return {name: command}
    return {k: v for part, child in parts.items() for k, v in commands(child, f"{name} {part}".strip()).items()}


COMMANDS = commands(typer.main.get_command(app))


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_are_command_lines_that_are_taken(name: str) -> None:
    command = COMMANDS[name]
    for line in EXAMPLES[name]:
        words = shlex.split(line)
        before = ["nastk", *name.split()]
        assert words[: len(before)] == before
        command.make_context(name, words[len(before) :], resilient_parsing=False)


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
