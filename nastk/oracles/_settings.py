"""Latencies of the same networks in several settings of this machine: runtime, precision, threads and batch."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nastk.errors import DataWarning, InvalidValue, NastkError
from nastk.oracles.base import Values
from nastk.oracles.latency import Latency
from nastk.runtimes._onnx_export import quick_exports, sharing_exports
from nastk.runtimes.base import make_runtime, runtime_class
from nastk.spaces.base import Archs, SearchSpace

SHORT: dict[str, Any] = {"rounds": 3, "builds": 1, "warmup": 0.002, "min_repeats": 6, "max_seconds": 0.05}
"""How long a network is measured for: a twentieth of what `Latency` takes by default. What is learned from hundreds of
networks tolerates the noise of each."""

_TEXT = re.compile(
    r"(?P<runtime>\S+)(?: (?P<precision>fp32|fp16|bf16|int8))?"
    r"(?: (?P<threads>\d{1,4}) threads)?(?: batch (?P<batch>\d{1,6}))?"
)


@dataclass(frozen=True)
class Setting:
    """How networks are run on this machine.

    Args:
        runtime: as of `Latency`.
        precision: one that the runtime has.
        threads: CPU threads.
        batch: inputs a run.
    """

    runtime: str = "torch"
    precision: str = "fp32"
    threads: int = 1
    batch: int = 1

    def __str__(self) -> str:
        """In words, what is as by default left out: "onnx int8", "torch 2 threads batch 8"."""
        parts = [self.runtime]
        parts += [self.precision] if self.precision != "fp32" else []
        parts += [f"{self.threads} threads"] if self.threads != 1 else []
        parts += [f"batch {self.batch}"] if self.batch != 1 else []
        return " ".join(parts)

    @classmethod
    def parse(cls, text: str) -> Setting:
        """The inverse of `str`.

        Raises:
            InvalidValue: it is written otherwise.
        """
        found = _TEXT.fullmatch(" ".join(text.split()))
        if found is None:
            raise InvalidValue(f"a setting is written like 'onnx int8' or 'torch 2 threads batch 8'; got {text!r}")
        return cls(found["runtime"], found["precision"] or "fp32", int(found["threads"] or 1), int(found["batch"] or 1))

    @property
    def family(self) -> tuple[str, int]:
        """Settings of one family run the same exported network; those that export none are each their own."""
        return (self.runtime, self.batch) if self.prepares else (str(self), 0)

    @property
    def prepares(self) -> bool:
        """Whether its runtime exports a network first, which takes seconds."""
        return bool(runtime_class(self.runtime).suffix)


def available(settings: Sequence[Setting], required: bool) -> tuple[list[Setting], dict[Setting, str]]:
    """Those of some settings that can be had here, each once, and why the others cannot.

    Args:
        required: whether one that cannot be had is an error: the user named it.

    Raises:
        NastkError: it is.
    """
    found, lacking = [], {}
    for setting in dict.fromkeys(settings):
        try:
            make_runtime(runtime_class(setting.runtime), "this", setting.threads, setting.precision)
        except NastkError as error:
            if required:
                raise
            lacking[setting] = str(error)
            continue
        found.append(setting)
    return found, lacking


class _Latency(Latency):
    """A `Latency` that shares what it exports with those of other settings: a network is known by its identity."""

    def __init__(self, space: SearchSpace, setting: Setting, built: dict[tuple[int, bytes], Any], **options: Any):
        self._built = built if setting.prepares else None
        super().__init__(
            space, runtime=setting.runtime, precision=setting.precision, threads=setting.threads, batch=setting.batch,
            **options,
        )  # fmt: skip

    def _network(self, arch: Archs, compared: bool = False) -> tuple[Any, Any]:
        if self._built is None:
            return super()._network(arch, compared)
        key = self.batch, arch.tobytes()
        if key not in self._built:
            self._built[key] = super()._network(arch, compared=True)
        return self._built[key]


class InSettings:
    """Measures networks in several settings, each network exported once for all of them.

    Args:
        space: whose networks.
        settings: of this machine.
        quick: export networks in a tenth of the time, to files that may differ a little from those of other oracles.
        options: further arguments of `Latency` (:data:`SHORT`), build options among them.

    Attributes:
        oracles: by setting.

    Raises:
        NastkError: a setting that cannot be had here; see `Latency`.
    """

    def __init__(self, space: SearchSpace, settings: Sequence[Setting], quick: bool = False, **options: Any):
        self.space, self.quick = space, quick
        self._built: dict[tuple[int, bytes], Any] = {}
        self.oracles = {setting: _Latency(space, setting, self._built, **options) for setting in settings}

    def measure(self, archs: Archs) -> dict[Setting, Values]:
        """Latencies (ms) of networks ``(n, d)`` by setting, each ``(n,)``; NaN where one failed.

        The networks of one call are measured together; why one failed is in the oracle's `reasons`.
        """
        found: dict[Setting, Values] = {}
        try:
            how = quick_exports() if self.quick else contextlib.nullcontext()
            with how, sharing_exports(), warnings.catch_warnings():
                # outputs in int8 far from float32's matter to who runs the network in int8, and not here
                warnings.simplefilter("ignore", DataWarning)
                for setting, oracle in self.oracles.items():
                    oracle.together = max(len(archs), 1)
                    found[setting] = np.asarray(oracle.evaluate(archs).value)
        finally:
            self._built.clear()
        return found
