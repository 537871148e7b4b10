"""``nastk report``: show a saved result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT.json", help="Result written by nastk search, or the folder that holds it.")
    ],
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the page (FILE.html).")
    ] = None,
    png_file: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the picture (FILE.png).")] = None,
) -> None:
    """Show a saved result; with --html or --png, also draw it."""
    from nastk.errors import DataError
    from nastk.report import write_html, write_png
    from nastk.report.chart import Chart
    from nastk.report.summary import show_chart
    from nastk.result import check_schema, read_content

    _check_ending("--html", html_file, "an HTML page", (".html", ".htm"))
    _check_ending("--png", png_file, "a PNG picture", (".png",))
    result, content = read_content(result)
    check_schema(content, result)
    if "chart" not in content:
        raise DataError(f"{result} is not a result of nastk search; give the path of result.json, or of its folder")
    try:
        chart = Chart.from_dict(content["chart"])
    except DataError as error:
        raise DataError(f"{result}: {error}") from error
    if html_file is not None:
        write_html(chart, html_file)
    if png_file is not None:
        write_png(chart, png_file)
    show_chart(chart, typer.echo)


def _check_ending(option: str, path: Path | None, what: str, endings: tuple[str, ...]) -> None:
    """Refuse a name that promises another format than what is written; one without an ending promises nothing."""
    from nastk.errors import InvalidValue

    if path is not None and path.suffix and path.suffix.lower() not in endings:
        raise InvalidValue(f"{option} {path}: it is {what}, so let its name end in {endings[0]}")
