"""Latency and peak memory of live networks, measured on a device of this machine."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from nastk.errors import DataWarning, InvalidValue
from nastk.evaluation import reason_of
from nastk.oracles._on_runtime import RuntimeOracle
from nastk.oracles._rounds import Candidate, Conditions, Group, Limits, Measurement
from nastk.oracles.base import Evaluation
from nastk.runtimes._agreement import LEAST_COSINE, Agreement, agreement
from nastk.runtimes._onnx_export import sharing_exports
from nastk.runtimes.base import Runtime, first_of
from nastk.spaces.base import Archs, SearchSpace

__all__ = ["Conditions", "Latency", "Measurement"]

CHECKS = 4
"""Batches on which a precision below float32 is compared with PyTorch's outputs; float32 is compared on one."""

LONG = 120.0
"""Seconds of making networks ready to run from which on a measurement says so."""


class Latency(RuntimeOracle):
    """Latency (ms) of a network's forward pass on a device of this machine, an expensive oracle.

    Networks are visited in turn, in another order each time, and each visit warms a network up and times a few runs;
    every now and then all are built anew, since where weights lie in memory matters. With at least
    `nastk.oracles._timing.ADJUSTED` networks, the machine's speed at each moment is fitted from the neighbouring visits
    of other networks and taken out: a processor's speed changes with what runs beside, within milliseconds and over
    minutes, for all networks alike.

    One run is timed by the runtime (`Runtime.timer`): with PyTorch the CPU by the wall clock, CUDA by events. With one
    CPU thread the processor time of the runtime's threads is read beside it (Linux). Where nothing disturbed the
    measurement, the value is the wall time. Where other work did (:attr:`conditions` says what), it is the processor
    time, at the speed of the machine's fastest tenth: the nearest to a machine of one's own. The interval is that of
    another such measurement, so it is wider then.

    Outputs are compared with those of PyTorch in eager mode and float32: float32 that differs by more than a
    thousandth is a failure of that network, a lower precision far from it a warning (`Measurement.agreement`).

    A network that cannot be built or run, whatever its constructor or forward pass raises, gets NaN, and
    :attr:`reasons` says why, by its text; the others are measured.

    Args:
        space: whose networks to measure.
        device: "this" (the CPU), "cpu", or a torch device such as "cuda", "cuda:1", "mps".
        runtime: a name (``nastk list runtimes``) such as "torch" or "onnx", ``file.py:Class``, or a class that derives
            from :class:`nastk.runtimes.base.Runtime`.
        batch: inputs a run.
        threads: CPU threads.
        rounds: least number of visits to each network.
        builds: how often each network is built.
        warmup: seconds, and at least one run, before the timing of each visit.
        min_repeats, max_repeats: of a network's timed runs.
        max_seconds: of a network's visits; processor time where it is known, so that a busy machine is measured as
            often, for up to `PATIENCE` times as long.
        tolerance: the measurement ends early when the 95 % interval of each median, the machine's level aside, is
            narrower than this share of it to either side.
        together: how many networks are measured together; an interruption loses them.
        progress: called with (done, total) once an architecture.
        precision: "fp32", or another one that the runtime has: "fp16", "bf16", "int8". Where the space chooses it
            (`nastk.spaces.precisions.WithPrecision`) networks run in that of their row.
        calibration: inputs ``(n, ...)`` for int8's ranges of activations, as an array or the path of a .npy file; by
            default random ones.
        build_options: of `SearchSpace.build` (classes, input size).

    Attributes:
        reasons: why networks failed, by their text.
        conditions: under what each set of networks was measured, in order.

    Raises:
        UnknownName: no such runtime.
        MissingExtra: what the runtime needs is not installed.
        InvalidValue: an option below its least value, a device that does not exist or is none of the runtime's, or a
            precision that it has not.
        Unsupported: the space builds no networks.
        NastkError: this machine has no such device.
    """

    name = "latency"
    unit = "ms"
    few_shot = True
    noisy = True
    chooses_precision = True

    def __init__(
        self,
        space: SearchSpace,
        device: str = "this",
        runtime: str | type[Runtime] = "torch",
        batch: int = 1,
        threads: int = 1,
        rounds: int = 6,
        builds: int = 3,
        warmup: float = 0.005,
        min_repeats: int = 12,
        max_repeats: int = 3000,
        max_seconds: float = 0.6,
        tolerance: float = 0.01,
        together: int = 25,
        progress: Callable[[int, int], None] | None = None,
        precision: str = "fp32",
        calibration: Any = None,
        **build_options: Any,
    ):
        least = {
            "batch": batch, "threads": threads, "rounds": rounds, "builds": builds, "min_repeats": min_repeats,
            "together": together,
        }  # fmt: skip
        for option, value in least.items():
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise InvalidValue(f"latency: {option} is {value}, must be a whole number and at least 1")
        numbers = {"warmup": warmup, "max_seconds": max_seconds, "tolerance": tolerance}
        for option, number in numbers.items():
            if not (isinstance(number, (int, float)) and 0 <= number < float("inf")):
                raise InvalidValue(f"latency: {option} is {number}, must be a number of at least 0")
        if max_repeats < min_repeats:
            raise InvalidValue(f"latency: max_repeats is {max_repeats}, less than min_repeats, {min_repeats}")
        super().__init__(space, device, runtime, batch, threads, precision, calibration, **build_options)
        self.rounds, self.builds, self.warmup = rounds, builds, warmup
        self.min_repeats, self.max_repeats, self.max_seconds = min_repeats, max_repeats, max_seconds
        self.tolerance, self.together, self.progress = tolerance, together, progress
        self.conditions: list[Conditions] = []
        self._exporting: dict[bytes, Any] = {}
        self._warned = self._settled = False
        self.source = f"measured on {self.setting}"

    def _runtime_of(self, arch: Archs) -> Runtime:
        if self._choosing is not None:
            return self._runtimes[self._choosing.precision_of(arch)[0]]
        return self._runtime

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue("latency has no fidelities")
        found = self.measure_many(archs)
        return Evaluation(
            np.array([m.median for m in found], dtype=np.float64),
            # of the value: half the interval is for the difference of two runs
            np.array([(m.high - m.low) / 3.92 / np.sqrt(2) for m in found], dtype=np.float64),
            np.array([m.seconds for m in found], dtype=np.float64),
            details=[m.details for m in found],
        )

    def measure(self, arch: Any) -> Measurement:
        """Measure one architecture (text, index or row).

        Raises:
            Exception: whatever the network raises while it is built or run.
        """
        candidate = self._candidate(self.space.as_archs(arch)[0])
        self._measure_set([candidate], lambda share: None)
        if candidate.error is not None:
            raise candidate.error
        return candidate.measurement

    def measure_many(self, archs: Any) -> list[Measurement]:
        """Measure architectures round-robin; one that fails gets NaN, no repeats, and an entry in :attr:`reasons`."""
        archs = self.space.as_archs(archs)
        found: list[Measurement] = []
        for start in range(0, len(archs), self.together):
            candidates = [self._candidate(arch) for arch in archs[start : start + self.together]]
            self._measure_set(candidates, _Reporter(self.progress, start, len(candidates), len(archs)))
            for candidate in candidates:
                if candidate.error is not None:
                    self.reasons[self.space.format(candidate.arch)] = reason_of(candidate.error)
            found += [candidate.measurement for candidate in candidates]
        return found

    def _candidate(self, arch: Archs) -> Candidate:
        return Candidate(arch, self._runtime_of(arch))

    # ---- a set of networks

    def _measure_set(self, candidates: list[Candidate], report: Callable[[float], None]) -> None:
        """Measure networks together, as many at a time as memory holds."""
        waiting, done = list(candidates), 0
        self._warn_of_preparing(candidates)
        with self._runtime.running(), tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            if len(self._runtimes) > 1:  # a network in several precisions is exported once
                stack.enter_context(sharing_exports())
                stack.callback(self._exporting.clear)
            for i, candidate in enumerate(candidates):
                candidate.file = Path(folder) / f"{i}{candidate.runtime.suffix}"
            while waiting:
                group = Group(self._limits, waiting, self._prepare, self._reads_processor)
                count = group.build(first=True)
                waiting = waiting[count:]
                self._settle()
                group.measure(partial(_report_part, report, done / len(candidates), count / len(candidates)))
                if group.conditions is not None:
                    self.conditions.append(group.conditions)
                done += count
        report(1.0)
        for runtime in self._runtimes.values():
            self._warn_of_outputs(runtime, [c.agreement for c in candidates if c.runtime is runtime and c.agreement])

    @property
    def _limits(self) -> Limits:
        return Limits(
            self.rounds, self.builds, self.warmup, self.min_repeats, self.max_repeats, self.max_seconds, self.tolerance
        )

    @property
    def _reads_processor(self) -> bool:
        return self._runtime.device.type == "cpu" and self.threads == 1

    def _settle(self) -> None:
        """Bring the device to its clock of steady work, once."""
        if not self._settled:
            self._settled = True
            self._runtime.settle()

    def _warn_of_preparing(self, candidates: list[Candidate]) -> None:
        """Say so once, where a runtime needs minutes before it can time anything."""
        seconds = sum(c.runtime.seconds_to_prepare for c in candidates)
        if seconds >= LONG and not self._warned:
            self._warned = True
            runtimes = " and ".join(dict.fromkeys(c.runtime.name for c in candidates))
            warnings.warn(
                f"{runtimes}: making these {len(candidates)} networks ready to run takes about {seconds / 60:.0f} min",
                DataWarning,
                stacklevel=2,
            )

    def _warn_of_outputs(self, runtime: Runtime, found: list[Agreement]) -> None:
        far = [a for a in found if a.cosine < LEAST_COSINE]
        if far:
            warnings.warn(
                f"{runtime.label}: the outputs of {len(far)} of {len(found)} networks are far from float32's "
                f"(cosine below {LEAST_COSINE:g}); the farthest: {min(far, key=lambda a: a.cosine).describe()}",
                DataWarning,
                stacklevel=2,
            )

    def _prepare(self, candidate: Candidate) -> int:
        """Build a network and make it ready; the first time, check what it answers. Returns its bytes of weights."""
        import torch

        runtime, file = candidate.runtime, candidate.file
        candidate.run = None  # frees the network of before
        if file.exists():  # where the runtime runs the module itself, it never does
            model, x = None, self._inputs(seed=0)
        else:
            model, x = self._exported(candidate)
        with torch.inference_mode():
            first = not candidate.prepared
            if runtime.reports_memory and model is not None and first:
                candidate.peak_memory = runtime.peak_memory(model, x)
            candidate.run = runtime.prepare(model, x, file)
            if first and model is not None and _is_compared(runtime):
                candidate.agreement = self._check(candidate, model, x)
        if model is not None:
            candidate.bytes = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        candidate.prepared = True
        return candidate.bytes

    def _exported(self, candidate: Candidate) -> tuple[Any, Any]:
        """The network and an input batch; one that several precisions export is the same object for all of them."""
        if self._choosing is None or not candidate.runtime.suffix:
            return self._network(candidate.arch, compared=_is_compared(candidate.runtime))
        key = candidate.arch[:-1].tobytes()
        if key not in self._exporting:
            self._exporting[key] = self._network(candidate.arch, compared=True)
        return self._exporting[key]

    def _check(self, candidate: Candidate, model: Any, x: Any) -> Agreement | None:
        """Compare what the runtime answers with PyTorch's own outputs.

        Raises:
            RuntimeError: float32 outputs are others.
        """
        import torch

        runtime, run = candidate.runtime, candidate.run
        assert run is not None
        expected: list[Any] = []
        found: list[Any] = []
        for number, inputs in enumerate(self._compared_on(runtime, x)):
            again = run if inputs is x else runtime.prepare(model, inputs, candidate.file)
            expected.append(first_of(model(inputs)).float().cpu())
            found.append(runtime.output(again()))
            if number == 0 and not torch.isfinite(expected[0]).all():
                return None  # the network itself answers no numbers, with these weights: nothing to agree with
        agreed = agreement(torch.cat(expected), torch.cat(found))
        agreed.check(runtime.precision, runtime.label)
        return agreed

    def _compared_on(self, runtime: Runtime, x: Any) -> list[Any]:
        """Batches that outputs are compared on: the user's own where int8 was calibrated on them, else random ones."""
        if runtime.calibration is not None:
            return runtime.calibration_batches(x)[:CHECKS]
        return [x] if runtime.precision == "fp32" else [x, *(self._inputs(seed=i) for i in range(1, CHECKS))]


def _is_compared(runtime: Runtime) -> bool:
    """Whether its outputs are compared with PyTorch's in eager mode and float32: not where it is just that."""
    return (runtime.name, runtime.precision) != ("torch", "fp32")


def _report_part(report: Callable[[float], None], before: float, part: float, share: float) -> None:
    report(before + share * part)


class _Reporter:
    """Translates the share of a set that is measured to a count of architectures, each told once."""

    def __init__(self, progress: Callable[[int, int], None] | None, before: int, count: int, total: int):
        self.progress, self.before, self.count, self.total, self.told = progress, before, count, total, 0

    def __call__(self, share: float) -> None:
        while self.progress and self.told < int(share * self.count + 1e-9):
            self.told += 1
            self.progress(self.before + self.told, self.total)
