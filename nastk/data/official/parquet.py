"""A table of your own as Parquet: one column of architectures, any columns of values, named with --column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nastk.data.official import Measurements, one_file
from nastk.data.official._columns import measurements
from nastk.errors import DataError, MissingExtra

SPACE = None
"""The user names the space."""
LIMIT = 1 << 30
"""Most bytes of a file, so that a wrong file cannot exhaust the memory."""
SAFE = 15
"""First version of pyarrow that never executes code from a file (CVE-2023-47248)."""


def read(
    paths: Sequence[Path],
    space: str | None = None,
    columns: Sequence[str] = (),
    dataset: str | None = None,
    device: str | None = None,
    fidelity: float | None = None,
    arch: str | None = None,
) -> list[Measurements]:
    """The named columns of a Parquet file; a missing entry is an unknown value.

    Args:
        paths: the file.
        space, columns, dataset, device, fidelity, arch: see :func:`nastk.data.official._columns.measurements`;
            architectures may also be lists of integers.

    Raises:
        InvalidValue, UnknownName: an option is missing or wrong.
        MissingExtra: pyarrow is not installed, or too old.
        DataError: not Parquet, an architecture or a value cannot be read.
    """
    path = one_file(paths, "a Parquet file")
    try:
        import pyarrow  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtra(
            f"reading Parquet needs pyarrow, which is not installed; install it with: pip install 'pyarrow>={SAFE}'"
        ) from error
    if int(pyarrow.__version__.partition(".")[0]) < SAFE:
        raise MissingExtra(
            f"pyarrow {pyarrow.__version__} is not safe for files of others; run: pip install 'pyarrow>={SAFE}'"
        )
    import pandas

    if path.stat().st_size > LIMIT:
        raise DataError(f"{path} is larger than the {LIMIT >> 30} GiB that are expected at most")
    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
    except Exception as error:  # pyarrow raises many types of errors for malformed files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} is truncated, or not a Parquet file: {reason}") from error
    cells = {str(name): frame[name].tolist() for name in frame.columns}
    return [measurements(cells, str(path), space, columns, dataset, device, fidelity, arch)]
