"""The package as installed: quick to import, quick to answer, nothing heavy loaded before it is needed."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def _public() -> Iterator[tuple[str, Any]]:
    """Every public class and function: of the package, and of its public modules where they are public there."""
    for name in nastk.__all__:
        value = getattr(nastk, name)
        if not inspect.ismodule(value):
            yield name, value
            continue
        own = [n for n, v in vars(value).items() if getattr(v, "__module__", "") == value.__name__ and n[0] != "_"]
        for inner in getattr(value, "__all__", own):
            yield f"{name}.{inner}", getattr(value, inner)


def test_every_public_thing_describes_itself_and_each_of_its_arguments() -> None:
    for module in (getattr(nastk, name) for name in nastk.__all__):
        assert not inspect.ismodule(module) or module.__doc__, module.__name__
    for name, value in _public():
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        described = (
            inspect.cleandoc(vars(value).get("__doc__") or "") if inspect.isclass(value) else value.__doc__ or ""
        )
        assert described, f"{name} has no docstring"
        if inspect.isclass(value) and issubclass(value, BaseException):
            continue
        missing = [p for p in inspect.signature(value).parameters if not re.search(rf"\b{p}\b", described)]
        assert not missing, f"{name} does not describe {', '.join(missing)}"


def test_every_public_method_describes_itself() -> None:
    for name, value in _public():
        for method, function in inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else ():
            if not method.startswith("_") and function.__module__.startswith("nastk."):
                assert inspect.getdoc(getattr(value, method)), f"{name}.{method} has no docstring"


def test_version_agrees_with_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert nastk.__version__ == project["version"]


MODULES = {"configspace": ("ConfigSpace",), "mnn": ("MNN", "_tools"), "scikit-learn": ("sklearn",)}
"""Modules of packages whose names differ from them."""
ELSEWHERE = {"naslib"}
"""Imported where the user has installed it; the error that names it says how."""


def test_every_import_is_of_a_declared_dependency() -> None:
    """Else a package comes with another one only, and does not with each version of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = [line for name, lines in extras.items() if name not in ("test", "docs") for line in lines]
    names = {re.split(r"\[|>", line)[0].lower() for line in [*project["dependencies"], *own]}
    declared = {module for name in names for module in MODULES.get(name, (name.replace("-", "_"),))}
    for path in sorted((ROOT / "nastk").rglob("*.py")):
        unknown = _imported(path) - declared - ELSEWHERE - {"nastk"} - set(sys.stdlib_module_names)
        assert not unknown, f"{path} imports {unknown}, which pyproject.toml does not declare"


def _imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


def test_every_dependency_has_a_lower_bound() -> None:
    """One, which .ci/lowest installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]:
        assert re.fullmatch(r"[\w.-]+(\[[\w,]+\])?>=[\d.]+(dev\d+)?", line), line


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
