"""``nastk report``: show a saved result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="Result written by nastk search.")],
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the page.")] = None,
    png_file: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the picture.")] = None,
) -> None:
    """Show a saved result; with --html or --png, also draw it."""
    from nastk.errors import DataError
    from nastk.report import write_html, write_png
    from nastk.report.chart import Chart
    from nastk.report.summary import show_chart

    try:
        content = json.loads(result.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {result}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{result} is damaged or not a result: {error}") from error
    if not isinstance(content, dict) or "chart" not in content:
        raise DataError(f"{result} is not a result of nastk search")
    try:
        chart = Chart.from_dict(content["chart"])
    except DataError as error:
        raise DataError(f"{result}: {error}") from error
    if html_file is not None:
        write_html(chart, html_file)
    if png_file is not None:
        write_png(chart, png_file)
    show_chart(chart, typer.echo)
