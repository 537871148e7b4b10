"""Tidy rows as CSV and JSON, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from nastk.files import write_text
from nastk.report.text import printable

Rows = Sequence[Mapping[str, Any]]


def columns(rows: Rows) -> list[str]:
    """The keys of all rows, in the order in which they first stand."""
    return list(dict.fromkeys(key for row in rows for key in row))


def numeric(rows: Rows, heading: str) -> bool:
    """Whether a column has numbers alone, with or without an interval, or nothing."""
    return all(
        isinstance(value, (int, float, type(None))) or " ± " in value for row in rows for value in [row.get(heading)]
    )


def write_json(path: str | os.PathLike[str], rows: Rows) -> None:
    """Write rows as a list of objects; NaN becomes null."""
    write_text(path, json.dumps([{k: _plain(v) for k, v in row.items()} for row in rows], indent=1) + "\n")


def write_csv(path: str | os.PathLike[str], rows: Rows) -> None:
    """Write rows as CSV, with the columns of all rows; NaN, None and what a row lacks become empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns(rows), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({k: "" if _plain(v) is None else v for k, v in row.items()} for row in rows)
    write_text(path, text.getvalue())


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compact(value: Any) -> Any:
    """A nested value for a page: floats to five significant digits, those that are not finite None, texts as they may
    be shown."""
    if isinstance(value, str):
        return printable(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {printable(k): compact(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [compact(v) for v in value]
    return value


def without_nan(value: Any) -> Any:
    """A nested value for JSON: numbers that are not finite are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(v) for v in value]
    return value
