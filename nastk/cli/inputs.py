"""Architectures and measurements as a user gives them: texts, integers, CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nastk.errors import InvalidValue
from nastk.spaces.base import Archs, SearchSpace


def read_archs(space: SearchSpace, texts: Sequence[str]) -> Archs:
    """Architectures from arguments: text forms, official indices, or integers with commas.

    Raises:
        InvalidArchitecture: the first that cannot be read.
    """
    import numpy as np

    rows = [space.as_archs(int(t) if _is_index(t) and space.d > 1 else t) for t in texts]
    return np.concatenate([np.empty((0, space.d), dtype=np.int64), *rows])


def _is_index(text: str) -> bool:
    """Whether a text is a number that fits in 64 bits; a longer one is no index of any space."""
    return text.strip().isdecimal() and len(text.strip()) < 19


def read_measurements(space: SearchSpace, path: Path) -> tuple[Archs, Any]:
    """Architectures ``(n, d)`` and milliseconds ``(n,)`` from a CSV file with columns ``arch`` and ``ms``.

    Raises:
        InvalidValue: unreadable, columns missing, or a value that is no positive number; the message has the line.
    """
    import csv
    import math

    import numpy as np

    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"arch", "ms"} <= set(reader.fieldnames or ()):
                raise InvalidValue(f"{path} needs the columns arch and ms; it has {', '.join(reader.fieldnames or ())}")
            rows = [(reader.line_num, row["arch"], row["ms"]) for row in reader]
    except OSError as error:
        raise InvalidValue(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidValue(f"{path} is not a CSV file: {error}") from error
    values = []
    for line, arch, text in rows:
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not arch or not (math.isfinite(value) and value > 0):
            raise InvalidValue(f"{path}, line {line}: needs an architecture and positive milliseconds; got {text!r}")
        values.append(value)
    return read_archs(space, [arch for _, arch, _ in rows]), np.array(values)
