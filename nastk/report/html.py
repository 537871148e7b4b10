"""The front as one HTML file that opens offline: style, data and drawing code inside, nothing loaded from elsewhere."""

from __future__ import annotations

import html
import json
import os
import re
from importlib.resources import files
from typing import Any

from nastk.files import write_text
from nastk.report.chart import INTERVALS, KINDS, Chart
from nastk.report.text import printable


def write_html(chart: Chart, path: str | os.PathLike[str]) -> None:
    """Write the interactive scatter; the file is written whole or not at all."""
    write_text(path, render(chart))


def render(chart: Chart) -> str:
    """The page as text."""
    page = files("nastk.report").joinpath("front.html").read_text(encoding="utf-8")
    words = {"kinds": KINDS, "intervals": INTERVALS, "front_name": chart.front_name}
    data = json.dumps(_compact({**chart.to_dict(), **words, "xy": [a.name for a in chart.xy]}), allow_nan=False)
    notes = "\n".join(f"<li>{html.escape(printable(note))}</li>" for note in chart.notes)
    # "<" as an escape, so that no text in the data can end the script element
    parts = {"TITLE": html.escape(printable(chart.title)), "NOTES": notes, "DATA": data.replace("<", "\\u003c")}
    # in one pass, so that a mark in a text stays a text
    return re.sub("@(TITLE|NOTES|DATA)@", lambda mark: parts[mark[1]], page)


def _compact(value: Any) -> Any:
    """Floats to five significant digits, NaN to null; texts as they may be shown."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return None if value != value or abs(value) == float("inf") else float(f"{value:.5g}")
    if isinstance(value, dict):
        return {printable(k): _compact(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_compact(v) for v in value]
    return value
