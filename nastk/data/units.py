"""Units of values that users bring: what a column's heading says, and how its values become the usual unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from nastk.data.tables import Kind as ColumnKind

Kind = ColumnKind | Literal["memory"]
"""What a unit is of: a kind of column, or peak memory, which only measurements have."""

USUAL: Mapping[Kind, str] = {"accuracy": "%", "latency": "ms", "energy": "mJ", "seconds": "s", "memory": "MB"}
"""Unit of the tables' columns, and of measurements."""
FACTORS: Mapping[Kind, Mapping[str, float]] = {
    "accuracy": {"%": 1, "percent": 1, "pct": 1, "fraction": 100, "frac": 100, "ratio": 100},
    "latency": {"ms": 1, "msec": 1, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "usec": 1e-3, "ns": 1e-6}
    | {"s": 1e3, "sec": 1e3, "secs": 1e3, "seconds": 1e3}
    | {"milliseconds": 1, "microseconds": 1e-3, "nanoseconds": 1e-6},
    "energy": {"mj": 1, "uj": 1e-3, "µj": 1e-3, "μj": 1e-3, "nj": 1e-6, "j": 1e3},
    "seconds": {"s": 1, "sec": 1, "secs": 1, "seconds": 1, "ms": 1e-3, "us": 1e-6, "minutes": 60, "hours": 3600},
    "memory": {"b": 1e-6, "bytes": 1e-6, "kb": 1e-3, "mb": 1, "gb": 1e3}
    | {"kib": 1024 / 1e6, "mib": 1024**2 / 1e6, "gib": 1024**3 / 1e6},
}
"""How many of the usual unit one of this is, by the unit in lower case."""


def heading_unit(kind: Kind, heading: str) -> str | None:
    """The unit that a heading such as ``lat_us``, ``latency (s)`` or ``energy [mJ]`` ends or begins in, as written.

    None if it names none. Units of one letter count only at the end: ``s7`` is a phone.
    """
    words = [word for word in re.split(r"[\s_\-./,:\[\](){}]+", heading) if word]
    known = FACTORS.get(kind, {})
    if words and words[-1].lower() in known:
        return words[-1]
    if words and len(words[0]) > 1 and words[0].lower() in known:
        return words[0]
    return None


def factor(kind: Kind, unit: str) -> float | None:
    """What values in this unit are multiplied by to be in the usual one; None for a unit of another sort."""
    return FACTORS.get(kind, {}).get(unit.lower())
