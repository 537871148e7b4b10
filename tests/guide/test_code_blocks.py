"""Every block of code in README.md and docs/ runs as it is written there, those of one page one after another.

What stands in a comment before a block, which no reader sees, says how:

- ``<!-- file: my_file.py -->``: the block is this file, which later ones import or name (and runs, if it is Python);
- ``<!-- run -->``: the command lines of a console block are run; those of all others are taken apart, and not run;
- ``<!-- needs: nasbench201 onnxruntime -->``: public tables and modules without which the block is left out;
- ``<!-- long -->``: more than some seconds, so that it runs with the tests that are marked so;
- ``<!-- elsewhere -->``: for a cluster or a device that no test has: it is compiled, and not run.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_lines import lines_of, take

from nastk.cli import run
from nastk.data.catalogue import shipped

pytest.importorskip("sybil", reason="sybil reads the blocks of a page")
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = ("python", "sh", "toml", "csv")
NOTE = re.compile(r"<!-- (file|run|needs|long|elsewhere)(?:: ([^\n]*?))? -->\s*\Z")
FENCE = re.compile(r"^ *```(.*)\n((?:.*\n)*?) *```$", re.MULTILINE)
INLINE = re.compile(r"`nastk ([^`]*)`")
COMMAND = re.compile(r"^(\$ )?(nastk|python3?|pip|\.venv\S*|[A-Z_]+=\S+ nastk) ", re.MULTILINE)


# ---- command lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_is_taken(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in INLINE.findall(FENCE.sub("", text)):
        words = line.split()
        if "..." not in line and "--" in line and not words[-1].startswith("--"):  # no mere name of an option
            take(shlex.split(re.sub(r"\bN\b", "10", line)))
    for language, block in FENCE.findall(text):
        if language == "sh":
            for words in lines_of(block):
                for command in _commands(words):
                    if Path(command[0]).name == "nastk":
                        take(command[1:])
        elif language not in LANGUAGES:  # output of a program, or its form
            assert not COMMAND.search(block), f"a command in a block that is not called sh:\n{block}"


def _commands(words: list[str]) -> Iterator[list[str]]:
    """Those of a line, which ``&&`` joins."""
    while "&&" in words:
        end = words.index("&&")
        yield words[:end]
        words = words[end + 1 :]
    yield words


# ---- running


class Page:
    """The blocks of a page that run, in order."""

    def __init__(self, path: Path):
        parsers = [CodeBlockParser(language, self.evaluate) for language in LANGUAGES]
        self.document = Document.parse(str(path), *parsers)
        self.document.namespace["__name__"] = "__main__"
        self.python = PythonEvaluator()
        found = [(block, self._notes(block)) for block in self.document.examples()]
        self.blocks = [(b, notes) for b, notes in found if _language(b) == "python" or notes.keys() & {"file", "run"}]

    def _notes(self, block: Example) -> dict[str, str]:
        """The comments right before a block."""
        before, found = self.document.text[: block.region.start], {}
        while note := NOTE.search(before, max(0, len(before) - 200)):
            found[note[1]] = note[2] or ""
            before = before[: note.start()]
        return found

    def write_files(self) -> None:
        """Those that blocks are, also of blocks that stand below what names them."""
        for block, notes in self.blocks:
            if name := notes.get("file"):
                Path(name).write_text(block.parsed, encoding="utf-8")

    def evaluate(self, block: Example) -> None:
        if "elsewhere" in self._notes(block):
            compile(block.parsed, self.document.path, "exec")
        elif _language(block) == "python":
            self.python(block)
        elif _language(block) == "sh":
            for words in lines_of(block.parsed):
                assert words[0] == "nastk", f"only commands of nastk are run: {shlex.join(words)}"
                assert run(words[1:]) == 0, shlex.join(words)


def _language(block: Example) -> str:
    return str(block.region.lexemes["arguments"])


LONG = {page: ["long" in notes for _, notes in Page(page).blocks] for page in PAGES}


@pytest.mark.parametrize("page", [page for page in PAGES if not all(LONG[page])], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, here: Callable[[str], str]) -> None:
    _run(Page(page), here, long=False)


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in PAGES if any(LONG[page])], ids=lambda page: page.name)
def test_the_long_code_of_a_page_runs(page: Path, here: Callable[[str], str]) -> None:
    _run(Page(page), here, long=True)


def _run(page: Page, missing: Callable[[str], str], long: bool) -> None:
    """Run the blocks; in the end skip the test if some were left out for what is not here."""
    left_out = ""
    page.write_files()
    for block, notes in page.blocks:
        reason = next(filter(None, map(missing, notes.get("needs", "").split())), "")
        if reason:
            left_out = reason
        elif long or "long" not in notes:
            block.evaluate()
    if left_out:
        pytest.skip(f"some blocks were left out: {left_out}")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: Callable[..., Path]) -> Callable[[str], str]:
    """An empty folder with the examples, as the current one; tells why a table or module is not there, or nothing."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    sys.path.insert(0, str(tmp_path))  # taken off again after each test

    def missing(need: str) -> str:
        if need in shipped().collections:
            try:
                monkeypatch.setenv("NASTK_HOME", str(fetched(need)))
            except pytest.skip.Exception as error:
                return str(error)
            return ""
        return "" if importlib.util.find_spec(need) else f"{need} is not installed"

    return missing
