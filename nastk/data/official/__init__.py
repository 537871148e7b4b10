"""Official files that users have already and that cannot be fetched by name: one module a form of file.

A module names its SPACE and has ``read(paths) -> list[Measurements]``; the first line of its docstring describes it.
``nastk data import <module> FILE...`` (underscores written as hyphens) adds what it reads to the space's table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nastk.data.tables import Column


@dataclass(frozen=True)
class Measurements:
    """Columns over some architectures of a space.

    Args:
        space: name of the space, which is the name of the table too.
        archs: ``(n, d)``, members of the space, each once.
        columns: what each column is, and its values ``(n,)``, NaN where unknown. Source and checksum of a column are
            filled in by the import.
    """

    space: str
    archs: NDArray[np.int64]
    columns: list[tuple[Column, NDArray[np.float64]]]
