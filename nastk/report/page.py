"""A page of sections with tables, commands and pictures, as one HTML file that opens offline and as Markdown."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from nastk.files import write_text
from nastk.report.curves import Curves
from nastk.report.rows import columns, compact, numeric
from nastk.report.tables import cell
from nastk.report.text import printable

Rows = Sequence[Mapping[str, Any]]


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
        charts: curves that the HTML draws, so that values can be read and one method's interval be chosen; Markdown has
            their captions alone.
    """

    title: str
    level: int = 2
    lines: Sequence[str] = ()
    commands: Sequence[str] = ()
    tables: Sequence[tuple[str, Rows]] = ()
    pictures: Sequence[tuple[Path, str]] = ()
    charts: Sequence[Curves] = ()

    @property
    def anchor(self) -> str:
        """The title as part of an address."""
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower()))


def write_html(title: str, notes: Sequence[str], sections: Sequence[Section], path: str | os.PathLike[str]) -> None:
    """Write the page of :func:`render`; whole or not at all."""
    write_text(path, render(title, notes, sections))


def render(
    title: str, notes: Sequence[str], sections: Sequence[Section], addresses: Mapping[str, str] | None = None
) -> str:
    """The page as HTML, in the design of :mod:`nastk.report.html`; it loads nothing from elsewhere.

    In the tables of the first section, a value of the first column that is the title of another one leads there, and
    one of `addresses` to its address.
    """
    links = {section.title: f"#{section.anchor}" for section in sections} | dict(addresses or {})
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_plain(title)}</title>",
        f"<style>{part('style.css')}</style>",
        f"</head><body><main><h1>{_plain(title)}</h1>",
    ]
    if notes:
        parts += ['<ul class="notes">', *(f"<li>{_plain(note)}</li>" for note in notes), "</ul>"]
    for k, section in enumerate(sections):
        heading = f"h{section.level}"
        parts.append(f'<{heading} id="{section.anchor}">{_plain(section.title)}</{heading}>')
        parts.append(f'<section class="card wide" tabindex="0" aria-labelledby="{section.anchor}">')
        parts += [f"<p>{_plain(line)}</p>" for line in section.lines]
        parts += [f"<pre><code>{_plain(command)}</code></pre>" for command in section.commands]
        parts += [_html_picture(picture, said) for picture, said in section.pictures]
        parts += [_html_chart(chart) for chart in section.charts]
        for name, rows in section.tables:
            if name:
                parts.append(f"<p><b>{_plain(name)}</b></p>")
            parts.append(_html_table(rows, links if k == 0 else {}))
        parts.append("</section>")
    return "\n".join([*parts, f"</main><script>{part('common.js')}{part('page.js')}</script></body></html>"]) + "\n"


def part(name: str) -> str:
    """A file that pages are made of: style or program."""
    return files("nastk.report").joinpath(name).read_text(encoding="utf-8")


def _html_picture(picture: Path, said: str) -> str:
    kind = "svg+xml" if picture.with_suffix(".svg").exists() else "png"
    source = picture.with_suffix(".svg") if kind == "svg+xml" else picture
    data = base64.b64encode(source.read_bytes()).decode("ascii")
    caption = f'<figcaption class="hint">{_plain(said)}</figcaption>'
    return f'<figure><img alt="{_plain(said)}" src="data:image/{kind};base64,{data}">{caption}</figure>'


def _html_chart(chart: Curves) -> str:
    panels = [{**asdict(panel), "lonely": panel.lonely} for panel in chart.panels]
    facts = {
        "x": chart.x,
        "y": chart.y,
        "log": chart.log,
        "log_y": chart.log_y,
        "top": chart.top,
        "chosen": chart.chosen,
        "panels": panels,
    }
    # "<" as an escape, so that no text in the data can end the script element
    data = json.dumps(compact(facts), allow_nan=False).replace("<", "\\u003c")
    caption = f'<figcaption class="hint">{_plain(chart.caption)}</figcaption>'
    return f'<figure class="curves"><script type="application/json">{data}</script>{caption}</figure>'


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
        for chart in section.charts:
            parts += [_marked(chart.caption), ""]
    write_text(path, "\n".join(parts))


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
                text = f'<a href="{html.escape(links[str(value)])}">{text}</a>'
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
