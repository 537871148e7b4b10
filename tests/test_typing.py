"""What ships with ``py.typed`` holds for a user: mypy --strict passes on a program that uses every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nastk

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "typed_user.py"


def test_the_typed_program_uses_every_public_name() -> None:
    used = set(re.findall(r"\bnastk\.(\w+)", PROGRAM.read_text(encoding="utf-8")))
    assert set(nastk.__all__) <= used, sorted(set(nastk.__all__) - used)


def _mypy(folder: Path, *programs: Path) -> subprocess.CompletedProcess[str]:
    """mypy as a user runs it: in a folder without settings, with nastk's own code taken as it is."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "--cache-dir", str(folder / "c")]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    return subprocess.run(
        [*command, *map(str, programs)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.long  # .ci/run checks the program too, by what it has checked already
def test_strict_type_checking_passes_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import nastk\n\nnastk.serch\nnastk.search(3)\nnastk.predictor('gp').prdict(0)\n", encoding="utf-8"
    )
    done = _mypy(tmp_path, PROGRAM, wrong)
    refused = re.findall(r"^\S*?(\w+\.py):(\d+): error", done.stdout, re.MULTILINE)
    assert set(refused) == {("wrong.py", line) for line in "345"}, done.stdout + done.stderr
