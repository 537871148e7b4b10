"""This machine as several devices: latencies under different settings, and additive predictors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataError, InvalidValue, NastkError
from nastk.files import writable_folder, write_text
from nastk.oracles.latency import Latency
from nastk.predictors.base import Task
from nastk.predictors.ridge import Ridge
from nastk.registry import RUNTIMES
from nastk.runtimes.base import runtime_class
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]
REFERENCES = (11982, 431, 55, 9, 14451, 8636, 9881, 13479, 6196, 1462)
"""NAS-Bench-201 indices of the architectures whose latencies describe a device (MODNAS, released code)."""


@dataclass(frozen=True)
class Setting:
    """One runtime setting on this machine, written ``runtime:threads:batch`` or ``cuda:batch``."""

    device: str
    runtime: str
    threads: int
    batch: int

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Read ``torch:1:64``, ``onnx:1:1`` or ``cuda:256``.

        Raises:
            InvalidValue: not of that form.
        """
        parts = text.split(":")
        numbers = [int(p) for p in parts[1:] if p.isdigit() and int(p) > 0]
        if len(numbers) == len(parts) - 1:
            if parts[0] == "cuda" and len(numbers) == 1:
                return cls("cuda", "torch", 1, numbers[0])
            if parts[0] in RUNTIMES.entries and len(numbers) == 2:
                return cls("cpu", parts[0], *numbers)
        raise InvalidValue(
            f"setting {text!r}: write torch:<threads>:<batch>, the same with another runtime (nastk list runtimes), "
            "or cuda:<batch>"
        )

    def __str__(self) -> str:
        return f"cuda:{self.batch}" if self.device == "cuda" else f"{self.runtime}:{self.threads}:{self.batch}"


def settings() -> tuple[list[Setting], Setting]:
    """Training settings and the held-out one, depending on the hardware."""
    import torch

    training = ["torch:1:1", "torch:1:16"]
    if (os.cpu_count() or 1) > 1:
        training.append("torch:2:16")
    if torch.cuda.is_available():
        training += ["cuda:1", "cuda:256"]
    held_out = "onnx:1:16" if runtime_class("onnx").available() else "torch:1:8"
    return [Setting.parse(text) for text in training], Setting.parse(held_out)


def measure(
    space: SearchSpace,
    setting: Setting,
    archs: Archs,
    options: Mapping[str, Any],
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Latencies in ms, ``(n,)``; those cached in the folder, of the same machine and versions, are not measured again.

    Raises:
        NastkError: a network cannot be run.
    """
    oracle = Latency(
        space, setting.device, setting.runtime, setting.batch, setting.threads, max_seconds=0.3, **dict(options)
    )
    known: dict[str, float] = {}
    file = None
    if folder is not None:
        digest = hashlib.sha256(json.dumps([space.name, oracle.source, options], sort_keys=True).encode()).hexdigest()
        file = writable_folder(folder) / f"latency-{str(setting).replace(':', '-')}-{digest[:12]}.json"
        known = _read(file)
    keys = [space.format(arch) for arch in archs]
    lacking = [i for i, key in enumerate(keys) if key not in known]
    if lacking:
        oracle.progress = progress
        known |= dict(zip([keys[i] for i in lacking], oracle(archs[lacking]).tolist(), strict=True))
        if oracle.reasons:
            raise NastkError(f"{setting} cannot run every network: {next(iter(oracle.reasons.values()))}")
        if file is not None:
            write_text(file, json.dumps(known, indent=0) + "\n")
    return np.array([known[key] for key in keys])


def _read(file: Path) -> dict[str, float]:
    try:
        return {str(arch): float(ms) for arch, ms in json.loads(file.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file} does not hold latencies: {error}; remove it") from error


def additive(space: SearchSpace, archs: Archs, ms: Array) -> Ridge:
    """Latency as a sum over operations: a ridge regression on their counts, fitted to ms ``(n,)``."""
    return Ridge("counts").fit(Task(space, archs, ms, "latency", "ms"))


def embed(references: Array) -> Array:
    """A device's embedding: min-max scaled latencies of the reference architectures."""
    return (references - references.min()) / max(float(np.ptp(references)), 1e-12)


def blend(references: Array, others: Sequence[Array]) -> Array:
    """Non-negative weights of other devices' latencies and a constant that fit a new device's references.

    Args:
        references: measured on the new device, ``(k,)``.
        others: predictions of the same architectures for each other device, ``(k,)``.

    Returns:
        A weight for each other device, and the constant, ``(len(others) + 1,)``, that minimise relative errors.
    """
    from scipy.optimize import nnls

    columns = np.column_stack([*others, np.ones(len(references))])
    return np.asarray(nnls(columns / references[:, None], np.ones(len(references)))[0])
