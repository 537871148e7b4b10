"""What an encoding looks up counts: a source of looked-up values that remembers what it was asked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import LatencySource, ProxySource
from nastk.spaces.base import Archs


class Lookups:
    """Forwards to a source of proxies or latencies.

    Attributes:
        names: of its columns.
        further: the source's own, of proxies (`ProxySource`).
    """

    def __init__(self, source: ProxySource | LatencySource):
        self._source, self.names = source, tuple(source.names)
        self.further: ProxySource | None = getattr(source, "further", None)
        self._asked: dict[bytes, tuple[Archs, NDArray[np.bool_]]] = {}

    def __call__(self, archs: Archs) -> NDArray[np.float64]:
        """Values ``(n, k)``, NaN where unknown."""
        values = np.asarray(self._source(archs), dtype=np.float64)
        for arch, known in zip(np.ascontiguousarray(archs), np.isfinite(values), strict=True):
            self._asked.setdefault(arch.tobytes(), (arch, known))
        return values

    @property
    def count(self) -> int:
        """Number of different architectures that were looked up and have a value."""
        return sum(bool(known.any()) for _, known in self._asked.values())

    def asked(self) -> tuple[Archs, NDArray[np.bool_]]:
        """The different architectures that were looked up, ``(n, d)``, and which values are known, ``(n, k)``."""
        archs = [arch for arch, _ in self._asked.values()]
        known = [k for _, k in self._asked.values()]
        return np.array(archs, dtype=np.int64), np.array(known, dtype=bool).reshape(len(known), len(self.names))


def lookups(source: Any) -> Lookups | None:
    """A source that counts, or None where there is none."""
    return None if source is None else Lookups(source)
