"""Pictures and tables of a search: the front as HTML and PNG, rows as CSV and JSON, tables for the terminal."""

from __future__ import annotations

import os
from typing import Any


def write_html(result: Any, path: str | os.PathLike[str]) -> None:
    """Write an interactive page of a result that opens offline.

    Args:
        result: a :class:`nastk.Result`, or its chart.
        path: of the HTML file, written whole or not at all; its folder is created where it is missing.

    Raises:
        StorageError: the file cannot be written.
    """
    from nastk.report.html import write_html as write

    write(_chart(result), path)


def write_png(result: Any, path: str | os.PathLike[str]) -> None:
    """Draw the front of a result as PNG.

    Args:
        result: a :class:`nastk.Result`, or its chart.
        path: of the PNG file, written whole or not at all; its folder is created where it is missing.

    Raises:
        StorageError: the file cannot be written.
    """
    from nastk.report.plots import write_png as write

    write(_chart(result), path)


def write_choices(effects: Any, path: str | os.PathLike[str]) -> None:
    """Draw what each choice does to the objectives as PNG.

    Args:
        effects: of :meth:`nastk.Result.choice_effects`.
        path: of the PNG file, written whole or not at all; its folder is created where it is missing.

    Raises:
        StorageError: the file cannot be written.
    """
    from nastk.report.choices import write_png as write

    write(effects, path)


def _chart(result: Any) -> Any:
    from nastk.report.chart import Chart

    if isinstance(result, Chart):
        return result
    return result.chart()
