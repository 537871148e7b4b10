"""Latencies that a user measured elsewhere and brings as a file."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from nastk.data.measured import Measured
from nastk.errors import InvalidValue
from nastk.oracles.base import Evaluation, Oracle
from nastk.spaces.base import Archs, SearchSpace


class Brought(Oracle):
    """Latencies (ms) of a file; those of other networks are unknown, and cannot be measured here.

    A search adapts a few-shot predictor to them, and measures nothing.

    Args:
        space: of their architectures.
        measured: as :func:`nastk.data.measured.read` reads them.
        file: its path, which records name as their source.
        device: that they are of. One that a few-shot predictor knows under this name is left out of its sources.
    """

    name = "latency"
    unit = "ms"
    few_shot = True
    closed = True

    def __init__(self, space: SearchSpace, measured: Measured, file: str, device: str | None = None):
        self.space, self.measured, self.file, self.device, self.source = space, measured, file, device, file
        self._rows = {row.tobytes(): i for i, row in enumerate(np.asarray(measured.archs, dtype=np.int64))}

    @property
    def known(self) -> Archs:
        return self.measured.archs

    def describe(self) -> dict[str, Any]:
        return {"oracle": "brought", "file": self.file, "device": self.device}

    def identity(self) -> dict[str, Any]:
        content = hashlib.sha256(np.ascontiguousarray(self.measured.archs, dtype=np.int64).tobytes())
        content.update(np.ascontiguousarray(self.measured.values).tobytes())
        return {"oracle": "brought", "metric": self.name, "device": self.device, "digest": content.hexdigest()}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue("latency has no fidelities")
        rows = np.array([self._rows.get(arch.tobytes(), -1) for arch in archs], dtype=np.int64)
        value, std = np.full(len(archs), np.nan), np.full(len(archs), np.nan)
        value[rows >= 0] = self.measured.values[rows[rows >= 0]]
        std[rows >= 0] = self.measured.std[rows[rows >= 0]]
        return Evaluation(value, std, np.full(len(archs), np.nan))
