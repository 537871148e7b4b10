"""The package as installed: quick to import, quick to answer, nothing heavy loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nastk

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "pandas", "optuna", "pymoo", "sklearn", "scipy", "matplotlib", "sqlalchemy")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import nastk",
        "from nastk.cli import run; run(['--help'])",
        "from nastk.cli import run; run(['list'])",
        "from nastk.cli import run; run(['--version'])",
        "from nastk.cli import run; run(['search', '--help'])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    assert loaded_after(statement).isdisjoint(HEAVY)


def test_every_public_name_resolves() -> None:
    for name in nastk.__all__:
        assert getattr(nastk, name) is not None, name


def test_version_agrees_with_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert nastk.__version__ == project["version"]


def test_constraints_pin_every_core_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    needed = {d.split(">")[0].split("[")[0].strip().lower() for d in project["dependencies"]}
    assert needed <= pinned


def test_readme_gives_both_commands_and_names_no_package_index() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    install = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e "
    assert install + ". && .venv/bin/nastk search\n" in text
    assert install + '".[test]" && .venv/bin/pytest\n' in text
    assert "index-url" not in text
