"""What the site has beyond the pages of this folder: a page for each command and for each file of examples/, and the
page of a result for the front page.

A hook of MkDocs (mkdocs.yml names it). Links to ``../examples/...``, which lead to the files where the pages are read
in the repository, lead to their pages on the site.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from nastk.cli import app
from nastk.cli.examples import EXAMPLES
from nastk.report.chart import Chart
from nastk.report.html import render
from nastk.result import read_content

ROOT = Path(__file__).parent.parent
SHOWN = {".py": "python", ".sh": "sh", ".toml": "toml"}
"""Kinds of example files that get a page, and the language that they are highlighted in."""

FOLDER = "examples"
LINK = re.compile(r"\]\(\.\./examples/([^)#]+?)/?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "commands.md", content=_commands()))
    for folder, members in _examples().items():
        content = "\n".join([f"# {folder}", *(_listing(file) for file in members)])
        files.append(File.generated(config, f"{FOLDER}/{folder}.md", content=content))
    files.append(File.generated(config, f"{FOLDER}/index.md", content=_index()))
    _, content = read_content(ROOT / "docs" / "images" / "own-network.json")
    files.append(File.generated(config, "images/front.html", content=render(Chart.from_dict(content["chart"]))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to example files to their pages."""
    return LINK.sub(lambda found: f"]({FOLDER}/{Path(found[1]).parts[0].removesuffix('.py')}.md)", markdown)


# ---- examples


def _examples() -> dict[str, list[Path]]:
    """The files of each page: of one file, or of a folder and the program of the same name."""
    found: dict[str, list[Path]] = {}
    for file in sorted((ROOT / FOLDER).rglob("*")):
        if file.suffix in SHOWN and "__pycache__" not in file.parts:
            found.setdefault(file.relative_to(ROOT / FOLDER).parts[0].removesuffix(".py"), []).append(file)
    return found


def _index() -> str:
    """All examples with the first line of what each says of itself."""
    lines = [
        "# Examples",
        "",
        "The first lines of each say how to run it and what to expect; the tests run all of them.",
        "",
    ]
    for name, members in _examples().items():
        programs = [file for file in members if file.suffix == ".py"]
        tree = ast.parse(min(programs, key=lambda file: len(file.parts)).read_text(encoding="utf-8"))
        said = (ast.get_docstring(tree) or "").partition("\n\n")[0]
        lines.append(f"- [{name}]({name}.md): {' '.join(said.split())}")
    return "\n".join(lines)


def _listing(file: Path) -> str:
    """A file under its name."""
    text = file.read_text(encoding="utf-8").rstrip()
    return f"\n**`{file.relative_to(ROOT)}`**\n\n```{SHOWN[file.suffix]}\n{text}\n```"


# ---- commands


def _commands() -> str:
    """Every command with its options, as ``--help`` tells them."""
    lines = ["# Commands", "", "Each command says the same with `--help`.", ""]
    for name, command in _walk(typer.main.get_command(app), "nastk"):
        lines += [f"## {name}", "", (command.help or "").strip(), ""]
        lines += ["```", *EXAMPLES[name.removeprefix("nastk ")], "```", ""]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        if arguments:
            lines += ["Takes " + " ".join(f"`{p.metavar or p.name.upper()}`" for p in arguments) + ".", ""]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        if options:
            lines += ["| option | |", "|---|---|"]
            lines += [f"| {_cell(_spelled(p))} | {_cell(p.help or '').replace('[', '&#91;')} |" for p in options]
            lines.append("")
    return "\n".join(lines)


def _walk(command: Any, name: str) -> list[tuple[str, Any]]:
    """All commands below one that do something, by their whole names."""
    parts = getattr(command, "commands", None)
    if parts is None:
        return [(name, command)]
    return [found for part, child in parts.items() for found in _walk(child, f"{name} {part}")]


def _spelled(option: Any) -> str:
    """How an option is written, with its value."""
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(f"`{spelled}{value}`" for spelled in (*option.opts, *option.secondary_opts))


def _cell(text: str) -> str:
    """Text within a table."""
    return " ".join(text.split()).replace("|", "\\|")
