"""What a user's command answers, and why a call of it failed: shared by devices and trainings behind commands."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nastk.errors import NastkError
from nastk.evaluation import LONGEST_REASON
from nastk.oracles._child import KEPT, Ended, run_child
from nastk.spaces.base import Archs, SearchSpace

NUMBER = re.compile(
    r"(?<![\w.,])([-+]?(?:\d+(?:,\d+)*\.?\d*|\.\d+)(?:e[-+]?\d+)?(?!\.?\d)|[-+]?(?:nan|inf(?:inity)?)\b)", re.IGNORECASE
)
"""A number as programs print it; not the 8 of ``int8``, nor part of ``1.2.3``."""
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Control sequences of a terminal, which hold numbers."""

START_FAILED = (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
"""Why a program cannot be started that never could: no evaluation would go better. Else the system may be busy."""


@dataclass(frozen=True)
class Reply:
    """What a call of a command told.

    Args:
        text: the answer, without colours; None where the call failed.
        why: it failed, in words.
        output, errors: last line of what it printed there.
        status: the program's exit status; None where it was ended, or could not be started.
    """

    text: str | None
    why: str = ""
    output: str = ""
    errors: str = ""
    status: int | None = None


def call(
    arguments: Sequence[str],
    folder: str,
    timeout: float,
    out: Path | None,
    watch: Callable[[bytes], bool] | None = None,
    environment: Mapping[str, str] | None = None,
    guarded: bool = False,
) -> Reply:
    """Call a command once.

    Args:
        arguments: the program's path, and its arguments.
        folder: where it runs.
        timeout: seconds.
        out: the file that it writes its answer to; None where it prints it.
        watch, environment, guarded: see :func:`run_child`; a command that the first ended is no failure.

    Raises:
        NastkError: there is no such program, or it cannot be executed.
    """
    if out is not None:
        out.unlink(missing_ok=True)  # an earlier call's answer would be taken for this one's
    try:
        ended = run_child(arguments, folder, timeout, watch, environment, guarded)
    except OSError as error:
        if error.errno in START_FAILED:
            raise NastkError(
                f"{arguments[0]} cannot be started: {error.strerror}{_cure(error, arguments[0])}"
            ) from error
        return Reply(None, f"the command could not be started: {error.strerror or error}")
    output, errors = last_line(ended.output), last_line(ended.errors)
    if ended.status != 0 and not ended.stopped:
        return Reply(None, _how(ended, timeout), output, errors, ended.status)
    text = _COLOURS.sub("", ended.output) if out is None else _read_end(out)
    why = "" if text is not None else "the command wrote nothing to {out}"
    return Reply(text, why, output, errors, ended.status)


def arch_facts(space: SearchSpace, arch: Archs) -> dict[str, Any]:
    """What ``{arch_json}`` says of an architecture ``(d,)``."""
    chosen = {c.name: str(c.options[int(v)]) for c, v in zip(space.choices, arch, strict=True)}
    row = [int(v) for v in arch]
    return {"space": space.name, "arch": space.format(arch), "row": row, "choices": chosen}


def write_arch_json(space: SearchSpace, arch: Archs, folder: Path) -> str:
    """Write these facts to a file of a folder; its path."""
    file = folder / "arch.json"
    file.write_text(json.dumps(arch_facts(space, arch)) + "\n", encoding="utf-8")
    return str(file)


# ---- what a command answers


def last_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text ends with, whatever was printed before it on other lines."""
    lines = text.rstrip().splitlines()
    if not lines or not lines[-1].endswith("}"):
        return None
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].lstrip().startswith("{"):
            try:
                found = json.loads("\n".join(lines[start:]))
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return None


def last_number(text: str) -> re.Match[str]:
    """The last number in a text.

    Raises:
        ValueError: there is none.
    """
    found = list(NUMBER.finditer(text))
    if not found:
        raise ValueError("the command printed no number")
    return found[-1]


def to_float(match: re.Match[str]) -> float:
    """A number in a text as a float.

    Raises:
        ValueError: it may be read in two ways.
    """
    if "," in match[1]:
        raise ValueError(f"the command printed {match[1]}, whose comma may be of thousands or of decimals")
    return float(match[1])


def _read_end(file: Path) -> str | None:
    """The end of a file that the command may have written."""
    try:
        with open(file, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - KEPT, 0))
            return stream.read(KEPT).decode("utf-8", errors="replace") if size else None
    except OSError:
        return None


# ---- why a call failed


def _how(ended: Ended, timeout: float) -> str:
    if ended.status is None:
        return f"the command gave no answer within {timeout:g} s"
    if ended.status < 0:
        try:
            name = signal.Signals(-ended.status).name
        except ValueError:
            name = f"signal {-ended.status}"
        return f"the command was ended by {name}"
    return f"the command failed with exit status {ended.status}"


def _cure(error: OSError, program: str) -> str:
    if error.errno == errno.ENOEXEC:
        return "; has it a first line such as #!/bin/sh?"
    if error.errno == errno.ENOENT and os.path.exists(program):
        return "; is the interpreter that its first line names installed?"
    return ""


def last_line(text: str) -> str:
    """The last line that is not blank, without control characters."""
    line = next((line for line in reversed(_COLOURS.sub("", text).splitlines()) if line.strip()), "")
    return " ".join("".join(c if c.isprintable() else " " for c in line).split())


def reason(why: str, said: str) -> str:
    """Why a call failed and the command's last line, at most :data:`LONGEST_REASON` characters."""
    text = f"{why}: {said}" if said else f"{why}; it printed nothing"
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
