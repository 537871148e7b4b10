"""``nastk report``: show a saved result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def report(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT.json", help="Result written by nastk search, or its folder; or rows written by --json."
        ),
    ],
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the page (FILE.html).")
    ] = None,
    png_file: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw the picture (FILE.png, .svg or .pdf).")
    ] = None,
    svg_file: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it as SVG.")] = None,
    pdf_file: Annotated[Path | None, typer.Option("--pdf", metavar="FILE", help="Draw it as PDF.")] = None,
    latex_file: Annotated[
        Path | None, typer.Option("--latex", metavar="FILE", help="Of rows: write a LaTeX table (FILE.tex).")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Of rows: write them as CSV.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="M", help="Of rows: which metric; by default the first.")
    ] = None,
) -> None:
    """Show a saved result, or a table of a comparison; with --html, --png, --latex and the like also write it."""
    from nastk.errors import DataError
    from nastk.report import write_html, write_png
    from nastk.report.chart import Chart
    from nastk.report.summary import show_chart
    from nastk.result import check_schema, read_content

    _check_ending("--html", html_file, "an HTML page", (".html", ".htm"))
    _check_ending("--png", png_file, "a picture", (".png", ".svg", ".pdf"))
    _check_ending("--svg", svg_file, "an SVG picture", (".svg",), needed=True)
    _check_ending("--pdf", pdf_file, "a PDF", (".pdf",), needed=True)
    pictures = [path for path in (png_file, svg_file, pdf_file) if path is not None]
    result, content = read_content(result)
    if isinstance(content, list):
        _report_rows(content, result, metric, latex_file, csv_file, html_file, pictures)
        return
    _refuse({"--latex": latex_file, "--csv": csv_file, "--metric": metric}, f"{result} is no list of rows (--json)")
    check_schema(content, result)
    if "chart" not in content:
        raise DataError(f"{result} is not a result of nastk search; give the path of result.json, or of its folder")
    try:
        chart = Chart.from_dict(content["chart"])
    except DataError as error:
        raise DataError(f"{result}: {error}") from error
    if html_file is not None:
        write_html(chart, html_file)
    for path in pictures:
        write_png(chart, path)
    show_chart(chart, typer.echo)


def _report_rows(
    rows: list[Any],
    path: Path,
    metric: str | None,
    latex_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    pictures: list[Path],
) -> None:
    """Show the rows of a comparison, and write them as asked."""
    from nastk.errors import DataError
    from nastk.report.latex import metrics_of, write_latex
    from nastk.report.of_rows import curves_of, write_rows_html
    from nastk.report.rows import write_csv
    from nastk.report.tables import show

    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} is neither a result nor a list of rows")
    if latex_file is not None:
        write_latex(rows, latex_file, metric)
    elif metric is not None and metric not in metrics_of(rows):
        raise DataError(f"no metric {metric!r} in {path}; there are {', '.join(metrics_of(rows)) or 'none'}")
    if pictures:
        drawn = curves_of(rows, metric)
        for picture in pictures:
            drawn.write(picture)
    if html_file is not None:
        write_rows_html(rows, html_file)
    mine = [row for row in rows if metric is None or str(row["metric"]) == metric]
    if csv_file is not None:
        write_csv(csv_file, mine)
    show(mine)


def _refuse(options: dict[str, Any], why: str) -> None:
    from nastk.errors import InvalidValue

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InvalidValue(f"{given[0]}: {why}")


def _check_ending(option: str, path: Path | None, what: str, endings: tuple[str, ...], needed: bool = False) -> None:
    """Refuse a name that promises another format than what is written; one without an ending promises nothing, unless
    the ending is `needed` to tell the format."""
    from nastk.errors import InvalidValue

    if path is not None and (path.suffix or needed) and path.suffix.lower() not in endings:
        raise InvalidValue(f"{option} {path}: it is {what}, so let its name end in {endings[0]}")
