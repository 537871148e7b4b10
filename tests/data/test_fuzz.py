"""Every importer reads or refuses truncated, altered and hostile files in one line, in bounded memory and time.

The first number is a small part of the second one, which ``.ci/long`` takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

SEED = 2026


def _check(count: int, megabytes: int, folder: Path, *names: str) -> list[dict[str, object]]:
    """What :mod:`fuzz` reports of importers, in a process that has nothing else in memory."""
    paths = os.pathsep.join([str(Path(fuzz.__file__).parent), *sys.path])
    words = [sys.executable, fuzz.__file__, str(count), str(megabytes), str(SEED), str(folder), *names]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(names or fuzz.IMPORTERS), done.stdout + done.stderr
    return found


@pytest.mark.slow
@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.long)])
def test_damaged_and_hostile_files_are_read_or_refused(tmp_path, count):
    for found in _check(count, 0, tmp_path):
        assert not found["problems"], found
        absent = found["importer"] in fuzz.PARQUET and fuzz.IMPORTERS["parquet"][2]() == []
        assert found.get("read", 0) + found.get("refused", 0) == (0 if absent else count), found


@pytest.mark.parametrize("megabytes", [pytest.param(4, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", fuzz.IMPORTERS)
def test_files_that_would_become_huge_are_refused_early(tmp_path, name, megabytes):
    (found,) = _check(0, megabytes, tmp_path, name)
    assert not found["problems"], found
