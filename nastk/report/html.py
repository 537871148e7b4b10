"""The front as one HTML file that opens offline: style, data and drawing code inside, nothing loaded from elsewhere."""

from __future__ import annotations

import html
import json
import os
import re

from nastk.files import write_text
from nastk.report.chart import INTERVALS, KINDS, Chart
from nastk.report.page import part
from nastk.report.rows import compact
from nastk.report.text import printable


def write_html(chart: Chart, path: str | os.PathLike[str]) -> None:
    """Write the interactive scatter; the file is written whole or not at all."""
    write_text(path, render(chart))


def render(chart: Chart) -> str:
    """The page as text."""
    words = {"kinds": KINDS, "intervals": INTERVALS, "front_name": chart.front_name}
    facts = compact({**chart.to_dict(), **words, "xy": [a.name for a in chart.xy]})
    # "<" as an escape, so that no text in the data can end the script element
    data = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    notes = "\n".join(f"<li>{html.escape(printable(note))}</li>" for note in chart.notes)
    parts = {"TITLE": html.escape(printable(chart.title)), "NOTES": notes, "DATA": data}
    parts |= {"STYLE": part("style.css"), "COMMON": part("common.js")}
    parts |= {"SCRIPT": part("front.js"), "DETAILS": part("details.js")}
    # in one pass, so that a mark in a text stays a text
    return re.sub(f"@({'|'.join(parts)})@", lambda mark: parts[mark[1]], part("front.html"))
