"""A table of your own as Parquet: one column of architectures, any columns of values, named with --column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nastk.data import parquet_file
from nastk.data.official import Measurements, one_file
from nastk.data.official._columns import Known, Metrics, measurements
from nastk.data.parquet_file import ParquetFile

SPACE = None
"""The user names the space."""


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
    """The named columns of a Parquet file; a missing entry is an unknown value.

    Args:
        paths: the file.
        space, columns, dataset, device, fidelity, arch, known, metrics: see
            :func:`nastk.data.official._columns.measurements`; architectures may also be lists of integers.

    Raises:
        InvalidValue, UnknownName: an option is missing or wrong.
        MissingExtra: pyarrow is not installed, or too old.
        DataError: not Parquet, an architecture or a value cannot be read.
    """
    path = one_file(paths, "a Parquet file")
    parquet_file.check_reader()
    return [measurements(ParquetFile(path), space, columns, dataset, device, fidelity, arch, known, metrics)]
