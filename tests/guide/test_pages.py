"""What pages say of the program is what the program has: texts of errors, extras, licences, places in the menu."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nastk.data.catalogue import shipped

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


# ---- troubleshooting

QUOTED = re.findall(r"^### `(.*)`$", page("troubleshooting.md"), re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """All texts of the source, with ``…`` where values are put in."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "nastk").rglob("*.py"))]
    return [text for tree in trees for text in _texts(tree)]


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda text: text[:40])
def test_errors_are_quoted_as_they_are(quoted: str, texts: list[str]) -> None:
    assert any(quoted in text for text in texts), "no message of the program says so"


def test_many_errors_are_explained() -> None:
    assert len(QUOTED) == len(set(QUOTED)) >= 40


# ---- extras


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    section = page("installation.md").partition("## Extras")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    assert [name for name, _ in rows] == list(extras)
    for name, brings in rows:
        wanted = {re.split(r"[>\[]", line)[0] for line in extras[name]}
        if name == "test":  # those of other extras by the extras' names
            wanted -= {
                re.split(r"[>\[]", line)[0] for other in re.findall(r"`(\w+)`", brings) for line in extras[other]
            }
        said = set(re.findall(r"[\w-]+", re.sub(r"`\w+`", "", brings)))
        assert wanted <= said, f"{name}: {wanted - said} not named"
        unknown = said - {re.split(r"[>\[]", line)[0] for lines in extras.values() for line in lines}
        assert unknown <= {"and", "those", "of"}, f"{name}: brings no {unknown}"


# ---- licences


def test_every_collection_has_its_licences_and_citations() -> None:
    text = page("licences.md")
    for collection in shipped().collections.values():
        (row,) = re.findall(rf"^\| `{collection.name}` \|.*$", text, re.MULTILINE)
        sources = {file.source for file in collection.files}
        licences = row.split("|")[2]
        assert {licence.strip() for licence in licences.split(",")} == {source.licence for source in sources}
        assert set(re.findall(r"\[(\w+)\]", row)) == {source.cite for source in sources}
    for source in {file.source for file in shipped().files.values()}:
        assert f"**{source.cite}**: {source.citation}" in text


# ---- the menu


def test_every_page_has_one_place_in_the_menu() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"([\w/-]+\.md)$", text, re.MULTILINE)
    assert len(named) == len(set(named))
    generated = {"commands.md", "examples/index.md"}
    examples = {name for name in named if name.startswith("examples/")}
    assert set(named) - examples - generated == {file.name for file in DOCS.glob("*.md")}
    assert {f"examples/{e.name.removesuffix('.py')}.md" for e in _examples()} == examples - generated
    assert 4 <= len(re.findall(r"^  - ", text, re.MULTILINE)) <= 7, "entries at the top"


def _examples() -> Iterator[Path]:
    yield from (ROOT / "examples").glob("*.py")
    for folder in (ROOT / "examples").iterdir():
        if folder.is_dir() and folder.name != "__pycache__" and not folder.with_suffix(".py").exists():
            yield folder
