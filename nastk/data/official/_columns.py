"""Columns of a user's own table as measurements: the column of architectures, and descriptions of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.data.official import Measurements
from nastk.data.proxies import PROXIES, proxy_column
from nastk.data.tables import Column, Kind
from nastk.errors import DataError, InvalidArchitecture, InvalidValue, UnknownName, Unsupported
from nastk.spaces.base import SearchSpace
from nastk.spaces.factory import space as space_named

UNITS: dict[Kind, str] = {"accuracy": "%", "latency": "ms", "energy": "mJ", "seconds": "s"}
"""Default units."""
DIRECTIONS: dict[Kind, str] = {
    "accuracy": "max",
    "latency": "min",
    "energy": "min",
    "count": "min",
    "seconds": "min",
}
"""Default directions."""


def measurements(
    cells: Mapping[str, Sequence[Any]],
    name: str,
    space: str | None,
    columns: Sequence[str],
    dataset: str | None = None,
    device: str | None = None,
    fidelity: float | None = None,
    arch: str | None = None,
) -> Measurements:
    """The measurements in a table.

    Args:
        cells: its columns by name, of equal length.
        name: of the file, for messages.
        space: of its architectures.
        columns: ``NAME_IN_FILE[:metric[:unit[:direction]]]`` each; by default the metric is the name in the file, and
            unit and direction are the defaults of the metric.
        dataset: of all columns.
        device: of latencies and energies, which need one.
        fidelity: training epochs of accuracies and of metrics of unknown kind.
        arch: the column of architectures: as texts, as integers, or (only if named here) as official indices. By
            default the first in which every value is a text or a row of integers of the space.

    Raises:
        InvalidValue, UnknownName: an option is missing or wrong.
        DataError: an architecture or a value cannot be read, or an architecture is duplicated.
    """
    if space is None:
        raise InvalidValue(f"{name}: say whose architectures it holds with --space (nastk list spaces)")
    if not columns:
        known = ", ".join(map(repr, list(cells)[:12])) or "none"
        raise InvalidValue(f"{name}: say what to import with --column NAME:metric; its columns are {known}")
    whole = space_named(space)
    wanted = [_column(text, cells, dataset, device, fidelity) for text in columns]
    labels = [column.label for _, column in wanted]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise InvalidValue(f"two columns are {twice}; give one of them another metric, --column NAME:metric")
    if device is not None and all(column.device is None for _, column in wanted):
        raise InvalidValue(f"--device {device} is of a latency or energy, and no --column is one")
    archs = _architectures(cells, name, whole, arch, {source for source, _ in wanted})
    found = []
    for source, column in wanted:
        values = readers.numbers([np.nan if v is None else v for v in cells[source]], f"{name}, {source}")
        _check(column, values, f"{name}, {source}")
        found.append((column, values))
    return Measurements(whole.name, archs, found)


def _column(
    text: str, cells: Mapping[str, Any], dataset: str | None, device: str | None, fidelity: float | None
) -> tuple[str, Column]:
    """The column in the file that an option names, and its description."""
    source, *rest = [text] if text in cells else text.split(":")
    if source not in cells:
        raise UnknownName("column of the file", source, cells)
    if len(rest) > 3:
        raise InvalidValue(f"--column {text}: write NAME:metric:unit:direction, the last two if they are not usual")
    metric, unit, direction = (*rest, *[""] * 3)[:3]
    metric = metric or source
    if metric in PROXIES:
        usual = proxy_column(metric)
        kind, default = usual.kind, str(usual.direction)
    else:
        kind = _kind(metric)
        default = DIRECTIONS.get(kind, "")
    direction = direction or default
    if direction not in ("min", "max"):
        what = f"{direction!r} is not a direction" if direction else f"{metric} has no default direction"
        raise InvalidValue(f"--column {text}: {what}; write {source}:{metric}:{unit}:min or max")
    measured = kind in ("latency", "energy")
    if measured and device is None:
        raise InvalidValue(f"--column {text}: say on which device it was measured with --device")
    return source, Column(
        metric,
        kind,
        unit or UNITS.get(kind, ""),
        "min" if direction == "min" else "max",
        dataset=dataset,
        device=device if measured else None,
        fidelity=fidelity if kind in ("accuracy", "other") else None,
    )


def _kind(metric: str) -> Kind:
    """The kind of a metric, from its name."""
    if metric in ("latency", "energy"):
        return "latency" if metric == "latency" else "energy"
    if "accuracy" in metric:
        return "accuracy"
    if metric in ("params", "flops", "macs"):
        return "count"
    return "seconds" if metric.endswith("seconds") else "other"


def _check(column: Column, values: NDArray[np.float64], name: str) -> None:
    known = values[~np.isnan(values)]
    if not len(known):
        raise DataError(f"{name} holds no value at all")
    low = 0.0 if column.kind in ("accuracy", "count", "seconds") else -np.inf
    high = 100.0 if column.kind == "accuracy" and column.unit == "%" else np.inf
    positive = column.kind in ("latency", "energy")
    wrong = ~np.isfinite(known) | (known < low) | (known > high) | (positive & (known <= 0))
    if wrong.any():
        right = "positive and finite" if positive else f"finite, {low:g} to {high:g}"
        raise DataError(f"{name}: {known[np.argmax(wrong)]:g} cannot be {column.metric} ({right})")


def _architectures(
    cells: Mapping[str, Sequence[Any]], name: str, space: SearchSpace, arch: str | None, values: set[str]
) -> NDArray[np.int64]:
    if arch is not None and arch not in cells:
        raise UnknownName("column of the file", arch, cells)
    for column in [c for c in cells if c not in values] if arch is None else [arch]:
        if not cells[column]:
            raise DataError(f"{name} has no rows")
        try:
            archs = _rows(cells[column], space, indices=arch is not None)
        except (InvalidArchitecture, Unsupported) as error:
            if arch is not None:
                raise DataError(f"{name}, {column}: {error}") from error
            continue
        _, first, counts = np.unique(archs, axis=0, return_index=True, return_counts=True)
        if (counts > 1).any():
            again = space.format(archs[first[np.argmax(counts > 1)]])
            raise DataError(f"{name}, {column}: the architecture {again} comes twice")
        return archs
    raise DataError(
        f"{name} has no column whose every value is an architecture of {space.name}; name it with --arch "
        "(texts, integers, or official indices)"
    )


def _rows(values: Sequence[Any], space: SearchSpace, indices: bool) -> NDArray[np.int64]:
    """Architectures of a column: texts, lists of integers or, if allowed, official indices."""
    if indices and all(_is_index(v) for v in values):
        try:
            space.parse(str(values[0]))
        except InvalidArchitecture:
            return space.from_index(np.array([int(v) for v in values]))
    if all(isinstance(v, (list, tuple, np.ndarray)) for v in values):
        if len({len(v) for v in values}) != 1:
            raise InvalidArchitecture("its rows have different lengths")
        return space.as_archs(np.array([list(v) for v in values]))
    return np.stack([space.parse(str(v)) for v in values])


def _is_index(value: Any) -> bool:
    return (type(value) is int and value >= 0) or (isinstance(value, str) and value.isascii() and value.isdigit())
