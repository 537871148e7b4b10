"""Architectures and measurements as a user gives them: texts, integers, CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from nastk.data.measured import Measured


def read_archs(space: SearchSpace, texts: Sequence[str]) -> Archs:
    """Architectures from arguments: text forms, official indices, or integers with commas.

    Raises:
        InvalidArchitecture: the first that cannot be read.
    """
    import numpy as np

    rows = [space.as_archs(int(t) if _is_index(t.strip()) and space.d > 1 else t) for t in texts]
    return np.concatenate([np.empty((0, space.d), dtype=np.int64), *rows])


def _is_index(text: str) -> bool:
    """Whether a text is a number that fits in 64 bits; a longer one is no index of any space."""
    return text.isascii() and text.isdigit() and len(text) < 19


def read_measured(space: SearchSpace, path: Path) -> Measured:
    """Measurements of one device from a CSV file; see :func:`nastk.data.measured.read`.

    Values far from those of all devices that the shipped predictor knows are named in a warning.

    Raises:
        DataError: unreadable, a column is missing or an entry is wrong; the message has file, line and column.
    """
    import numpy as np

    from nastk.data import measured
    from nastk.search.defaults import latency_predictor

    sources = getattr(latency_predictor(space), "sources_", None)

    def known(archs: Archs) -> Any:
        return np.empty(0) if sources is None else np.median(sources(archs), axis=0)

    return measured.read(path, space, known)
