"""Columns of a user's own table as measurements: the column of architectures, and descriptions of the others."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nastk.data import plausible, units
from nastk.data.arch_columns import Cells, architectures
from nastk.data.official import Measurements
from nastk.data.proxies import PROXIES, proxy_column
from nastk.data.repeats import Repeats, contradictions, same_rows
from nastk.data.tables import Column, Kind, spread_of
from nastk.errors import DataError, DataWarning, InvalidValue, UnknownName
from nastk.spaces.factory import space as space_named

Known = Callable[[str, Column], NDArray[np.float64]]
"""Typical values of the other columns of a space's table that are like this one, ``(m,)``."""
Metrics = Callable[[str], Sequence[str]]
"""Names of the metrics of accuracy, latency and energy that a space's table has."""
DIRECTIONS: dict[Kind, str] = {
    "accuracy": "max",
    "latency": "min",
    "energy": "min",
    "count": "min",
    "seconds": "min",
}
"""Default directions."""
STARTS: dict[Kind, tuple[str, ...]] = {"accuracy": ("acc", "top"), "latency": ("lat",), "energy": ("energ",)}
"""How words begin by which people call a metric."""
UNITS: dict[Kind, frozenset[str]] = {
    kind: frozenset(unit for unit in units.FACTORS[kind] if len(unit) > 1) for kind in ("latency", "energy")
}
"""Units that tell of which kind a metric is; of one letter, they are too often something else."""


def measurements(
    table: Cells,
    space: str | None,
    columns: Sequence[str],
    dataset: str | None = None,
    device: str | None = None,
    fidelity: float | None = None,
    arch: str | None = None,
    known: Known | None = None,
    metrics: Metrics | None = None,
) -> Measurements:
    """The measurements in a table.

    Rows of the same architecture are repeats: their mean is its value, and their standard deviation is a column of its
    own (:func:`nastk.data.tables.spread_of`). Values in another unit that the heading names (``lat_us``) are converted
    to the usual one. Both are said in a warning, as is what is probably wrong: values far from `known`, fractions taken
    for percentages, repeats that contradict each other.

    Args:
        table: with one row a measurement.
        space: of its architectures.
        columns: ``NAME_IN_FILE[:metric[:unit[:direction]]]`` each; by default the metric is the name in the file, and
            unit and direction are the defaults of the metric.
        dataset: of all columns.
        device: of latencies and energies, which need one.
        fidelity: training epochs of accuracies and of metrics of unknown kind.
        arch: the column of architectures; see :func:`nastk.data.arch_columns.architectures`.
        known: what other devices of the space's table answer.
        metrics: what the space's table has, to propose.

    Raises:
        InvalidValue, UnknownName: an option is missing or wrong.
        DataError: an architecture or a value cannot be read, or a value is impossible.
    """
    if space is None:
        raise InvalidValue(f"{table.path}: say whose architectures it holds with --space (nastk list spaces)")
    if not columns:
        names = ", ".join(map(repr, table.columns[:12])) or "none"
        raise InvalidValue(f"{table.path}: say what to import with --column NAME:metric; its columns are {names}")
    whole = space_named(space)
    propose = partial(_proposal, lambda: [] if metrics is None else metrics(space))
    wanted = [_column(text, table, dataset, device, fidelity, propose) for text in columns]
    labels = [column.label for _, column, _ in wanted]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise InvalidValue(f"two columns are {twice}; give one of them another metric, --column NAME:metric")
    if device is not None and all(column.device is None for _, column, _ in wanted):
        raise InvalidValue(f"--device {device} is of a latency or energy, and no --column is one")
    archs, named = architectures(table, whole, arch, {source for source, _, _ in wanted})
    repeats = same_rows(archs)
    found = []
    for source, column, scale in wanted:
        values = scale * table.numbers(source, percent=column.kind == "accuracy")

        def where(row: int, source: str = source) -> str:
            return table.where(row, source)

        if np.isnan(values).all():
            raise DataError(f"{table.path}, column {source!r} holds no value at all")
        plausible.check_possible(column, values, where)
        for doubt in plausible.doubts(column, values, where, None if known is None else known(space, column)):
            warnings.warn(doubt, DataWarning, stacklevel=2)
        found += _merged(column, values, repeats, where)
    if repeats:
        count = len(archs) - len(repeats.first)
        rows = "row repeats an architecture" if count == 1 else "rows repeat architectures"
        warnings.warn(
            f"{table.path}, column {named!r}: {count} {rows} of other rows; each architecture counts once, with the "
            "mean and the standard deviation of its values",
            DataWarning,
            stacklevel=2,
        )
    return Measurements(whole.name, archs[repeats.first], found)


def _merged(
    column: Column, values: NDArray[np.float64], repeats: Repeats, where: Callable[[int], str]
) -> list[tuple[Column, NDArray[np.float64]]]:
    """The column with one value an architecture and, where some are repeated, that of their standard deviations."""
    if not repeats:
        return [(column, values)]
    for contradiction in contradictions(column, values, repeats, where):
        warnings.warn(contradiction, DataWarning, stacklevel=3)
    mean, std, _ = repeats.merge(values)
    spread = [] if np.isnan(std).all() else [(spread_of(column), std)]
    return [(column, mean), *spread]


def _column(
    text: str,
    table: Cells,
    dataset: str | None,
    device: str | None,
    fidelity: float | None,
    propose: Callable[[str], str | None],
) -> tuple[str, Column, float]:
    """The column in the file that an option names, its description, and what its values are multiplied by."""
    source, *rest = [text] if text in table.columns else text.split(":")
    if source not in table.columns:
        raise UnknownName("column of the file", source, table.columns)
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
        meant = None if direction else propose(metric)
        known = f"{source}:{meant}, if that is what it is; else " if meant else ""
        raise InvalidValue(f"--column {text}: {what}; write {known}{source}:{metric}:{unit}:min or max")
    measured = kind in ("latency", "energy")
    if measured and device is None:
        raise InvalidValue(f"--column {text}: say on which device it was measured with --device")
    unit, scale = _unit(kind, source, unit, table.path)
    return (
        source,
        Column(
            metric,
            kind,
            unit,
            "min" if direction == "min" else "max",
            dataset=dataset,
            device=device if measured else None,
            fidelity=fidelity if kind in ("accuracy", "other") else None,
        ),
        scale,
    )


def _unit(kind: Kind, heading: str, given: str, path: str) -> tuple[str, float]:
    """The unit of a column and what its values are multiplied by; a heading that names another is converted or said."""
    usual, said = units.USUAL.get(kind, ""), units.heading_unit(kind, heading)
    if given:
        scale = units.factor(kind, given)
        if said is not None and scale is not None and units.factor(kind, said) != scale:
            warnings.warn(
                f"{path}, column {heading!r}: the heading says {said} and --column says {given}; taken as {given}",
                DataWarning,
                stacklevel=2,
            )
        if kind == "accuracy" and scale is not None:
            return usual, scale  # fractions are no unit of their own: accuracies of all sources are compared in %
        return given, 1.0
    if said is None or (scale := units.factor(kind, said)) in (None, 1.0):
        return usual, 1.0
    warnings.warn(f"{path}, column {heading!r}: converted from {said} to {usual}", DataWarning, stacklevel=2)
    return usual, scale


def _proposal(there: Callable[[], Sequence[str]], name: str) -> str | None:
    """The known metric that an unknown name resembles, as the space's table calls it; None without resemblance."""
    words = set(re.split(r"[\W_]+", name.lower()))
    like = next((kind for kind, starts in STARTS.items() if any(w.startswith(starts) for w in words)), None)
    like = like or next((kind for kind in ("latency", "energy") if words & UNITS[kind]), None)
    if like is None:
        return None
    usual = ("test_accuracy", "accuracy")
    candidates = [metric for metric in there() if _kind(metric) == like]
    return max(candidates, key=lambda m: (len(words & set(m.split("_"))), m in usual), default=like)


def _kind(metric: str) -> Kind:
    """The kind of a metric, from its name."""
    if metric in ("latency", "energy"):
        return "latency" if metric == "latency" else "energy"
    if "accuracy" in metric:
        return "accuracy"
    if metric in ("params", "flops", "macs"):
        return "count"
    return "seconds" if metric.endswith("seconds") else "other"
