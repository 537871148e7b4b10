"""A page of sections with tables, commands and pictures, as one HTML file that opens offline and as Markdown."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from nastk.files import write_text
from nastk.report.rows import columns, numeric
from nastk.report.tables import cell
from nastk.report.text import printable

Rows = Sequence[Mapping[str, Any]]

SORTING = """
for (const table of document.querySelectorAll("table.front")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) continue;
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button"; button.className = "sort"; button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = row => {
        const text = row.cells[k].textContent, value = parseFloat(text.replaceAll(",", ""));
        return Number.isNaN(value) ? text : value;
      };
      const numbers = (a, b) => typeof a === "number" && typeof b === "number";
      const order = (a, b) => numbers(a, b) ? a - b : String(a).localeCompare(String(b));
      body.append(...[...body.rows].sort((a, b) => (falling ? -1 : 1) * order(key(a), key(b))));
    });
  });
}
"""
"""A click on a heading sorts its table."""


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Args:
        title: above it; also its anchor.
        level: of the heading, 2 or 3.
        lines: paragraphs.
        commands: each shown as what can be typed.
        tables: titles ("" for none) and rows.
        pictures: files, with what they show. In HTML they are in the page, in Markdown beside it.
    """

    title: str
    level: int = 2
    lines: Sequence[str] = ()
    commands: Sequence[str] = ()
    tables: Sequence[tuple[str, Rows]] = ()
    pictures: Sequence[tuple[Path, str]] = ()

    @property
    def anchor(self) -> str:
        """The title as part of an address."""
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower()))


def write_html(title: str, notes: Sequence[str], sections: Sequence[Section], path: str | os.PathLike[str]) -> None:
    """Write the page in the design of :mod:`nastk.report.html`; whole or not at all.

    In the tables of the first section, a value of the first column that is the title of another one leads there.
    """
    links = {section.title: section.anchor for section in sections}
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{_plain(title)}</title>",
        f"<style>{_style()}figure{{margin:14px 0}}img{{max-width:100%;background:#fff;border-radius:6px}}"
        "button.sort{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;text-align:inherit}"
        "th[aria-sort=ascending] button::after{content:' ↑'}th[aria-sort=descending] button::after{content:' ↓'}"
        "pre{margin:6px 0;white-space:pre-wrap}h2,h3{margin:22px 0 8px}td{white-space:pre-line}</style>",
        f"</head><body><main><h1>{_plain(title)}</h1>",
        '<ul class="notes">',
        *(f"<li>{_plain(note)}</li>" for note in notes),
        "</ul>",
    ]
    for k, section in enumerate(sections):
        parts.append(f'<h{section.level} id="{section.anchor}">{_plain(section.title)}</h{section.level}>')
        parts.append('<section class="card wide" tabindex="0">')
        parts += [f"<p>{_plain(line)}</p>" for line in section.lines]
        parts += [f"<pre><code>{_plain(command)}</code></pre>" for command in section.commands]
        for name, rows in section.tables:
            if name:
                parts.append(f"<p><b>{_plain(name)}</b></p>")
            parts.append(_html_table(rows, links if k == 0 else {}))
        for picture, said in section.pictures:
            data = base64.b64encode(picture.read_bytes()).decode("ascii")
            parts.append(
                f'<figure><img alt="{_plain(said)}" src="data:image/png;base64,{data}">'
                f'<figcaption class="hint">{_plain(said)}</figcaption></figure>'
            )
        parts.append("</section>")
    write_text(path, "\n".join([*parts, f"</main><script>{SORTING}</script></body></html>"]) + "\n")


def write_markdown(title: str, notes: Sequence[str], sections: Sequence[Section], path: str | os.PathLike[str]) -> None:
    """Write the page as Markdown, whole or not at all; pictures are links relative to its folder."""
    folder = Path(path).parent
    parts = [f"# {_marked(title)}", "", *(f"- {_marked(note)}" for note in notes), ""]
    for section in sections:
        parts += [f"{'#' * section.level} {_marked(section.title)}", ""]
        for line in section.lines:
            parts += [_marked(line), ""]
        if section.commands:
            parts += ["```", *map(printable, section.commands), "```", ""]
        for name, rows in section.tables:
            if name:
                parts += [f"**{_marked(name)}**", ""]
            parts += [*_markdown_table(rows), ""]
        for picture, said in section.pictures:
            parts += [f"![{_marked(said)}]({Path(os.path.relpath(picture, folder)).as_posix()})", ""]
    write_text(path, "\n".join(parts))


def _style() -> str:
    page = files("nastk.report").joinpath("front.html").read_text(encoding="utf-8")
    return page.partition("<style>")[2].partition("</style>")[0]


def _plain(text: str) -> str:
    return html.escape(printable(text))


def _marked(text: str) -> str:
    """The text without what Markdown reads as markup, or as the end of a table's cell."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", printable(text))


def _html_table(rows: Rows, links: Mapping[str, str]) -> str:
    headings = columns(rows)
    kinds = {heading: ' class="n"' if numeric(rows, heading) else "" for heading in headings}
    head = "".join(f"<th{kinds[heading]}>{_plain(heading)}</th>" for heading in headings)
    lines = []
    for row in rows:
        cells = []
        for k, heading in enumerate(headings):
            value = row.get(heading)
            text = _plain(cell(value))
            if k == 0 and value in links:
                text = f'<a href="#{links[str(value)]}">{text}</a>'
            name = f' data-name="{_plain(heading)}"' if k else ""  # what a phone shows beside the value
            cells.append(f"<td{kinds[heading]}{name}>{text}</td>")
        lines.append("".join(cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table class="front"><thead><tr class="head">{head}</tr></thead><tbody>{body}</tbody></table>'


def _markdown_table(rows: Rows) -> list[str]:
    headings = columns(rows)
    lines = [
        "| " + " | ".join(map(_marked, headings)) + " |",
        "|" + "|".join("--:" if numeric(rows, heading) else "---" for heading in headings) + "|",
    ]
    return lines + ["| " + " | ".join(_marked(cell(row.get(h))) for h in headings) + " |" for row in rows]
