"""Files of pictures: PNG, SVG or PDF by the ending of their names, whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nastk.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
"""Formats of pictures; the first where a name has no such ending."""

UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""So that the same picture is the same file."""


def new_figure(width: float, height: float, layout: Any = None) -> Figure:
    """An empty figure of so many inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> None:
    """Write a figure.

    Args:
        path: of the file; its folder is created where it is missing.
        dpi: dots an inch of a PNG, and of what is drawn as dots in the others.

    Raises:
        StorageError: the file cannot be written.
    """
    form = format_of(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=form, dpi=dpi, metadata=UNDATED.get(form))


def save_all(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> None:
    """Write a figure as PNG, and beside it as SVG and PDF of the same name for papers; where its name ends in .svg or
    .pdf, as that alone. See :func:`save`."""
    if format_of(path) != FORMATS[0]:
        save(figure, path, dpi)
        return
    for form in FORMATS:
        save(figure, os.path.splitext(path)[0] + f".{form}", dpi)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a picture by the ending of its name."""
    ending = os.path.splitext(path)[1].lower().removeprefix(".")
    return ending if ending in FORMATS else FORMATS[0]
