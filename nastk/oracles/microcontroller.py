"""What a network takes on a microcontroller, without one: flash, tflite-micro's arena, Vela's estimates."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from nastk.errors import InvalidValue, MissingExtra, NastkError, UnknownName
from nastk.evaluation import Kind, reason_of
from nastk.oracles._native_programs import Arena, Compiled, arena_of, compile_with_vela
from nastk.oracles._on_runtime import example
from nastk.oracles.base import Evaluation, Oracle
from nastk.runtimes._calibration import read_calibration
from nastk.spaces.base import Archs, SearchSpace

ACCELERATORS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip
"""Accelerators that Vela compiles for."""

ACCELERATOR = "ethos-u55-128"

EXACT = ("flash", "arena")
"""Metrics that are computed exactly, and depend on no accelerator."""

BY_VELA = ("sram", "npu_cycles", "cpu_operators")
"""Metrics that are Vela's estimates for an accelerator."""

MICROCONTROLLER = (*EXACT, *BY_VELA)

UNITS = {"flash": "B", "arena": "B", "sram": "B", "npu_cycles": "cycles", "cpu_operators": ""}


class Microcontroller(Oracle):
    """One of the figures of a network's int8 .tflite file, an expensive oracle: converting takes seconds.

    - ``flash``: bytes of the file, which a program has in its flash; the interpreter and its operators come on top.
    - ``arena``: bytes that tflite-micro needs at run time, by its own recording allocator, and so that it starts in no
      arena 16 bytes smaller. Exact for this machine's 64-bit pointers and reference kernels: on a 32-bit processor the
      interpreter's structures are smaller, optimised kernels (CMSIS-NN) may want more scratch, and activations take
      the same.
    - ``sram``, ``npu_cycles``: bytes, and the accelerator's cycles, as Vela, Arm's compiler for Ethos-U, estimates
      them; nothing is measured. Unknown where an operator falls to the CPU, of which Vela knows neither.
    - ``cpu_operators``: how many operators fall to the CPU.

    A network that cannot be converted or run gets NaN, and :attr:`reasons` says why. All metrics of a space share the
    converted networks of this process. The ranges of activations are those of random inputs, unless `calibration` gives
    others; no metric depends on them but by rounding.

    Args:
        space: whose networks to convert, with a batch of one.
        metric: one of those.
        accelerator: that Vela compiles for, one of :data:`ACCELERATORS`, with its default system and memory mode.
        calibration: inputs ``(n, ...)`` for the ranges of activations, as an array or the path of a .npy file.
        build_options: of `SearchSpace.build` (classes, input size).

    Raises:
        UnknownName: no such metric or accelerator.
        InvalidValue: an accelerator of a metric that depends on none.
        MissingExtra: the extra `litert` or `mcu` is not installed.
        Unsupported: the space builds no networks.
    """

    def __init__(
        self,
        space: SearchSpace,
        metric: str,
        accelerator: str | None = None,
        calibration: Any = None,
        **build_options: Any,
    ):
        from nastk.runtimes.litert import Litert

        if metric not in MICROCONTROLLER:
            raise UnknownName("figure of a microcontroller", metric, MICROCONTROLLER)
        if metric in EXACT and accelerator is not None:
            raise InvalidValue(f"{metric} depends on no accelerator; leave out {accelerator}")
        if metric in BY_VELA:
            accelerator = accelerator or ACCELERATOR
            check_accelerator(accelerator)
        space.need_networks(metric)
        self.space, self.name, self.unit, self.accelerator = space, metric, UNITS[metric], accelerator
        self.device, self.build_options = accelerator, build_options
        self.calibration = str(calibration) if isinstance(calibration, (str, os.PathLike)) else calibration
        self._runtime = Litert(precision="int8", calibration=read_calibration(calibration))
        self.reasons: dict[str, str] = {}
        by = {"flash": "size of the .tflite file", "arena": "counted by tflite-micro on this machine"}
        estimate = f"Vela's estimate for {accelerator}, not measured"
        self.source = f"{by.get(metric, estimate)}; {self._runtime.label}"

    @property
    def kind(self) -> Kind:
        return kind_of(self.name)

    def describe(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"oracle": "microcontroller", "metric": self.name}
        if self.accelerator is not None:
            facts["accelerator"] = self.accelerator
        if self.calibration is not None:
            named = isinstance(self.calibration, str)
            facts["calibration"] = self.calibration if named else f"array of {len(self.calibration)}"
        return {**facts, **self.build_options}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        answers = np.array([self._timed(arch) for arch in archs], dtype=np.float64).reshape(-1, 2)
        value, cost = answers.T.copy()
        return Evaluation(value, np.where(np.isnan(value), np.nan, 0.0), cost)

    def _timed(self, arch: Archs) -> tuple[float, float]:
        """The value, NaN where there is none, and the seconds that it took."""
        started, value = time.perf_counter(), float("nan")
        try:
            value = self._value(self.tflite(arch))
        except NastkError:
            raise
        except (Exception, SystemExit) as error:
            self.reasons[self.space.format(arch)] = reason_of(error)
        return value, time.perf_counter() - started

    def _value(self, content: bytes) -> float:
        if self.name == "flash":
            return len(content)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.tflite"
            file.write_bytes(content)
            if self.name == "arena":
                return arena_of(file).needed
            assert self.accelerator is not None
            compiled = compile_with_vela(file, self.accelerator)
        if self.name == "cpu_operators":
            return compiled.cpu_operators
        sram, cycles = compiled.on_npu()
        if sram is None or cycles is None:
            raise RuntimeError(f"{on_cpu(compiled)}, of which Vela estimates nothing")
        return sram if self.name == "sram" else cycles

    def tflite(self, arch: Any) -> bytes:
        """The int8 .tflite file of an architecture (text, index or row); converted once for all metrics of the space.

        Raises:
            RuntimeError: it cannot be converted.
            Exception: whatever the network itself raises.
        """
        import torch

        arch = self.space.as_archs(arch)[0]
        known = _CONVERTED.setdefault(self.space, {})
        key = (tuple(int(v) for v in arch), repr(sorted(self.build_options.items())), repr(self.calibration))
        if key not in known:
            network, inputs = example(self.space, arch, 1, **self.build_options)
            with self._runtime.running(), torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "network.tflite"
                self._runtime.export(network, inputs, file)
                while len(known) >= KEPT:
                    known.pop(next(iter(known)))
                known[key] = file.read_bytes()
        return known[key]


KEPT = 64
"""Converted networks of a space that are kept, of some kilobytes to some megabytes each."""

_CONVERTED: WeakKeyDictionary[SearchSpace, dict[tuple[Any, ...], bytes]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Figures:
    """What a .tflite file takes on a microcontroller.

    Args:
        flash: bytes of the file.
        arena: tflite-micro's, or why it cannot run the network.
        compiled: Vela's, or why it cannot compile the network.
    """

    flash: int
    arena: Arena | str
    compiled: Compiled | str

    def tidy(self) -> list[dict[str, Any]]:
        """One dictionary a metric, with its unit and kind; ``mean`` is None where there is none, and ``reason`` why."""
        arena, compiled = self.arena, self.compiled
        why = {"arena": arena if isinstance(arena, str) else ""}
        values: dict[str, int | None] = {"flash": self.flash, "arena": None if isinstance(arena, str) else arena.needed}
        if isinstance(compiled, str):
            values |= dict.fromkeys(BY_VELA)
            why |= dict.fromkeys(BY_VELA, compiled)
        else:
            values |= {"cpu_operators": compiled.cpu_operators}
            values |= dict(zip(("sram", "npu_cycles"), compiled.on_npu(), strict=True))
            if compiled.cpu_operators:
                why |= dict.fromkeys(("sram", "npu_cycles"), on_cpu(compiled))
        return [
            {
                "metric": name,
                "mean": values[name],
                "unit": UNITS[name],
                "kind": kind_of(name),
                "reason": why.get(name, ""),
            }
            for name in MICROCONTROLLER
        ]

    def rows(self) -> list[tuple[str, str, str]]:
        """In words: what, how much, and what sort of value it is."""
        rows = [("flash", f"{self.flash:,} B", "exact: size of the file; the interpreter comes on top")]
        if isinstance(self.arena, Arena):
            rows += [
                ("arena", f"{self.arena.needed:,} B", "exact: by tflite-micro, with this machine's 64-bit pointers"),
                ("  of which activations", f"{self.arena.head:,} B", ""),
                ("  of which structures", f"{self.arena.tail:,} B", "fewer with 32-bit pointers"),
            ]
        else:
            rows.append(("arena", "none", self.arena))
        if isinstance(self.compiled, str):
            return [*rows, ("Vela", "none", self.compiled)]
        c, estimate = self.compiled, "Vela's estimate, not measured"
        if c.cpu_operators:
            estimate += "; without what runs on the CPU"
        rows += [
            ("accelerator", c.accelerator, f"with {c.system}, {c.memory}"),
            ("SRAM", f"{c.sram:,} B", estimate),
            ("flash after Vela", f"{c.flash:,} B", estimate),
            ("cycles", f"{c.cycles:,}", estimate),
            ("time", f"{c.milliseconds:.4g} ms", estimate),
            ("operators on the NPU", str(c.npu_operators), "after Vela's optimisation"),
            ("operators on the CPU", str(c.cpu_operators), ""),
        ]
        return rows + [("", operator, reason) for operator, reason in c.reasons]


def figures(file: str | os.PathLike[str], accelerator: str = ACCELERATOR) -> Figures:
    """All figures of one .tflite file, whatever made it.

    Raises:
        InvalidValue: not a .tflite file.
        UnknownName: no such accelerator.
        MissingExtra: the extra `mcu` is not installed.
    """
    check_accelerator(accelerator)
    path = Path(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidValue(f"{path}: {error.strerror or error}") from None
    if content[4:8] != b"TFL3":
        raise InvalidValue(f"{path} is no .tflite file: it does not begin like one")

    def answer(ask: Any, *options: str) -> Any:
        try:
            return ask(path, *options)
        except MissingExtra:
            raise
        except RuntimeError as error:
            return str(error)

    return Figures(len(content), answer(arena_of), answer(compile_with_vela, accelerator))


def kind_of(metric: str) -> Kind:
    """Kind of a metric's values."""
    return "computed" if metric in EXACT else "estimate"


def check_accelerator(name: str) -> None:
    """Refuse an accelerator that Vela does not know.

    Raises:
        UnknownName: it is none of :data:`ACCELERATORS`.
    """
    if name not in ACCELERATORS:
        raise UnknownName("accelerator", name, ACCELERATORS)


def on_cpu(compiled: Compiled) -> str:
    """The operators that fall to the CPU, in words: "3 operators fall to the CPU (2 SOFTMAX, 1 GELU)"."""
    count = compiled.cpu_operators
    names = Counter(operator for operator, _ in compiled.reasons)
    listed = ", ".join(f"{n} {name}" for name, n in names.most_common())
    return f"{count} operator{'s fall' if count > 1 else ' falls'} to the CPU" + (f" ({listed})" if listed else "")
