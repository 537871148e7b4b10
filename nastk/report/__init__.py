"""Pictures and tables of a search: the front as HTML and PNG, rows as CSV and JSON, tables for the terminal."""

from __future__ import annotations

import os
from typing import Any


def write_html(result: Any, path: str | os.PathLike[str]) -> None:
    """Write an interactive page of a result (or of its chart) that opens offline, whole or not at all."""
    from nastk.report.html import write_html as write

    write(_chart(result), path)


def write_png(result: Any, path: str | os.PathLike[str]) -> None:
    """Draw the front of a result (or of its chart) as PNG, whole or not at all."""
    from nastk.report.plots import write_png as write

    write(_chart(result), path)


def _chart(result: Any) -> Any:
    from nastk.report.chart import Chart

    if isinstance(result, Chart):
        return result
    return result.chart()
