"""traced: what each network executes by kind of operator, from a trace of its graph (this package)."""

from __future__ import annotations

import numpy as np

from nastk.encodings.base import Context, Encoding, Features
from nastk.spaces.base import Archs, SearchSpace

KEPT = 10_000
"""Networks whose counts are kept: a trace takes milliseconds, and searches ask for the same networks again."""


class Traced(Encoding):
    """Kernels, multiply-adds and bytes moved of each kind of operator and of all, as ``log(1 + x)``.

    For any space that builds networks, a user's own included: no closed form is needed, and nothing is measured. Each
    new network is built and traced on PyTorch's meta device, which takes about as many milliseconds as it has layers.
    """

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Traced:
        from nastk.oracles.operators import KINDS, QUANTITIES  # torch

        space.need_networks("the encoding traced")
        self.space_ = space
        self.options_ = dict(context.build_options) if context else {}
        self.names_ = [f"{quantity} of {kind}" for kind in (*KINDS, "all") for quantity in QUANTITIES]
        self._known: dict[bytes, Features] = {}
        return self

    def transform(self, archs: Archs) -> Features:
        """Features, shape ``(n, k)``.

        Raises:
            Exception: whatever a network raises.
        """
        rows = np.ascontiguousarray(self.space_.as_networks(archs), dtype=np.int64)
        return np.stack([self._features(row) for row in rows]) if len(rows) else np.empty((0, len(self.names_)))

    def _features(self, row: Archs) -> Features:
        from nastk.oracles.operators import operators

        key = row.tobytes()
        if key not in self._known:
            counts = operators(self.space_, row, **self.options_)
            while len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = np.log1p(np.concatenate([counts, counts.sum(axis=0, keepdims=True)]).ravel())
        return self._known[key]
