"""A table of your own as CSV: one column of architectures, any columns of values, named with --column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nastk.data.csv_file import CSVFile
from nastk.data.official import Measurements, one_file
from nastk.data.official._columns import Known, Metrics, measurements

SPACE = None
"""The user names the space."""
LIMIT = 1 << 30
"""Most bytes of a file, so that a wrong file cannot exhaust the memory."""


def read(
    paths: Sequence[Path],
    space: str | None = None,
    columns: Sequence[str] = (),
    dataset: str | None = None,
    device: str | None = None,
    fidelity: float | None = None,
    arch: str | None = None,
    known: Known | None = None,
    metrics: Metrics | None = None,
) -> list[Measurements]:
    """The named columns of a CSV file with a heading; an empty cell or ``N/A`` is an unknown value.

    Args:
        paths: the file.
        space, columns, dataset, device, fidelity, arch, known, metrics: see
            :func:`nastk.data.official._columns.measurements`.

    Raises:
        InvalidValue, UnknownName: an option is missing or wrong.
        DataError: not CSV, an architecture or a value cannot be read.
    """
    path = one_file(paths, "a CSV file")
    return [measurements(CSVFile(path, LIMIT), space, columns, dataset, device, fidelity, arch, known, metrics)]
