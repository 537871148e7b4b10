"""canonical:vec and so on: another encoding of the canonical form, so that isomorphic encodings have equal features."""

from __future__ import annotations

from nastk.encodings.base import Context, Encoding, Features, encoding
from nastk.spaces.base import Archs, SearchSpace

FAMILY = "canonical:<encoding>"
"""Name of these encodings in listings."""


class Canonical(Encoding):
    """Encodes `SearchSpace.canonical` instead of the architecture as written.

    Isomorphic encodings compute the same function, hence have the same accuracy, but not the same latency: benchmarks
    measured the architectures as written.
    """

    def __init__(self, name: str | Encoding):
        self.inner = encoding(name)

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Canonical:
        self.space_ = space
        self.inner.fit(space, context, None if archs is None else space.canonical(archs))
        self.names_ = [f"canonical {name}" for name in self.inner.names_]
        return self

    def transform(self, archs: Archs) -> Features:
        return self.inner.transform(self.space_.canonical(archs))
