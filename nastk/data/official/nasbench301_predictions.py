"""Predictions of the NAS-Bench-301 surrogates (Zela et al., ICLR 2022), written to CSV or JSON lines by the user.

The surrogates are models that need their own package; users who have it write its predictions to a file, one entry per
architecture:

- ``genotype``: a text that the space reads, such as ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)``;
- ``val_accuracy``: predicted validation accuracy on CIFAR-10, in %;
- ``runtime``: predicted training time in seconds; optional, may be empty in some entries.

A CSV file names them in its heading, in any order and perhaps among others, with quotes around genotypes (they hold
commas). A file of JSON lines has an object with these keys on each line.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data import csv_file, readers
from nastk.data.official import Measurements
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench301 import NASBench301

SPACE = "nasbench301"
"""Space of the file's architectures."""

VARIANT = "surrogate"
"""Variant of the columns, apart from the fetched table's."""
MOST = np.finfo(np.float64).max
"""Most seconds of a training: any finite number."""
NOTE = "predicted by a surrogate that the user ran; the file does not say which"
"""Note of the columns."""


def read(paths: Sequence[str | Path]) -> list[Measurements]:
    """The predictions of all files together.

    Raises:
        DataError: a file is not of the form above, an architecture is predicted twice with different values, or
            accuracies are not percentages.
    """
    space = NASBench301()
    archs, accuracies, runtimes = [], [], []
    for path in paths:
        for where, genotype, accuracy, runtime in _entries(Path(path)):
            if not isinstance(genotype, str):
                raise DataError(f"{where}: genotype is a {type(genotype).__name__}, must be a text")
            try:
                archs.append(space.parse(genotype))
            except InvalidArchitecture as error:
                raise DataError(f"{where}: {error}") from error
            accuracies.append(_number(accuracy, 0, 100, f"{where}: val_accuracy", "in %, 0 to 100"))
            known = runtime is not None and runtime != ""
            runtimes.append(_number(runtime, 0, MOST, f"{where}: runtime", "finite seconds") if known else np.nan)
    if not archs:
        raise DataError(f"{', '.join(map(str, paths)) or 'no file'}: no predictions")
    values = np.array([accuracies, runtimes])
    accuracy, runtime = values
    if accuracy.max() <= 1:
        raise DataError(
            f"{paths[0]}: val_accuracy must be in %, 0 to 100; got {accuracy.min():g} to {accuracy.max():g}"
        )
    rows = np.stack(archs)
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    same = values[:, first[group.ravel()]]
    differs = ~((values == same) | (np.isnan(values) & np.isnan(same))).all(axis=0)
    if differs.any():
        raise DataError(f"two different predictions for {space.format(rows[np.argmax(differs)])}")
    kept = np.sort(first)
    columns = [(Column("val_accuracy", "accuracy", "%", dataset="cifar10", variant=VARIANT, note=NOTE), accuracy[kept])]
    if not np.isnan(runtime).all():
        column = Column("runtime", "seconds", "s", "min", dataset="cifar10", variant=VARIANT, note=NOTE)
        columns.append((column, runtime[kept]))
    return [Measurements(SPACE, rows[kept], columns)]


def _number(value: Any, low: float, high: float, what: str, right: str) -> float:
    try:
        number = readers.as_number(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what} is not a number: {error}") from error
    if not low <= number <= high:
        raise DataError(f"{what} is {number:g}, must be {right}")
    return number


def _entries(path: Path) -> Iterator[tuple[str, Any, Any, Any]]:
    """Place in the file, genotype, accuracy and runtime (None where there is none) of each entry."""
    content = readers.read_bytes(path)
    if content.lstrip().startswith(b"{"):
        for number, line in enumerate(io.BytesIO(content), 1):
            if line.strip():
                yield f"{path}, line {number}", *_of_object(line, f"{path}, line {number}")
        return
    table = csv_file.CSVFile(path)
    missing = [name for name in ("genotype", "val_accuracy") if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}")
    accuracies = table.numbers("val_accuracy", percent=True)
    runtimes = list(table.numbers("runtime")) if "runtime" in table.columns else [np.nan] * len(table)
    for (number, genotype), accuracy, runtime in zip(table.located("genotype"), accuracies, runtimes, strict=True):
        yield f"{path}, line {number}", genotype, accuracy, None if np.isnan(runtime) else runtime


def _of_object(line: bytes, name: str) -> tuple[Any, Any, Any]:
    entry = readers.parse_json(line, name)
    if not isinstance(entry, dict):
        raise DataError(f"{name} is a {type(entry).__name__}, must be an object")
    missing = [key for key in ("genotype", "val_accuracy") if key not in entry]
    if missing:
        raise DataError(f"{name} has no {missing[0]!r}")
    return entry["genotype"], entry["val_accuracy"], entry.get("runtime")
