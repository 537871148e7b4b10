"""Command lines as the guide and the help of commands write them, taken apart by the real commands and not run."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer

from nastk.cli import app


def _leaves(command: Any, name: str = "") -> dict[str, Any]:
    parts = getattr(command, "commands", None)
    if parts is None:
        return {name: command}
    return {k: v for part, child in parts.items() for k, v in _leaves(child, f"{name} {part}".strip()).items()}


COMMANDS = _leaves(typer.main.get_command(app))
"""By their whole names, without ``nastk``."""

ASSIGNED = re.compile(r"([A-Z_]+)=(\S*)")


def take(words: list[str]) -> str:
    """The name of the command that these words, behind ``nastk``, call.

    Raises:
        click.UsageError: the command has no such option or argument, or none of this value.
        LookupError: there is no such command.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            COMMANDS[name].make_context(name, words[length:], resilient_parsing=False)
            return name
    raise LookupError(f"no such command: nastk {' '.join(words)}")


def lines_of(block: str) -> list[list[str]]:
    """The words of each command line of a console block, as a shell passes them on: no comments, variables put in."""
    variables: dict[str, str] = {}
    lines = []
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and (found := ASSIGNED.fullmatch(words[0])):
            variables[found[1]] = found[2]
            del words[0]
        for name, value in variables.items():
            words = [word.replace(f"${name}", value) for word in words]
        if words:
            lines.append(words)
    return lines
