"""Latency and peak memory of live networks, measured on a device of this machine."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nastk.errors import InvalidValue, NastkError, import_extra
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch

Runtime = Literal["torch", "onnx"]


@dataclass(frozen=True)
class Measurement:
    """Latency of one network.

    Args:
        median: ms a batch.
        low, high: 95 % interval of the median, ms (order statistics of the repeats).
        spread: standard deviation of a single run, ms, from the quartiles of all runs.
        repeats: number of timed runs.
        peak_memory: MB (10^6 bytes) of weights and live activations at their greatest during one forward pass; on CUDA
            the allocator's own peak. NaN for ONNX Runtime, which does not tell.
        seconds: what the measurement took, building included.
    """

    median: float
    low: float
    high: float
    spread: float
    repeats: int
    peak_memory: float
    seconds: float


class Latency(Oracle):
    """Median latency (ms) of a network's forward pass on a device of this machine, a paid oracle.

    One network at a time is built, warmed up, timed run by run until the 95 % interval of the median is tight or a
    limit is hit, and freed. The CPU is timed by the wall clock, CUDA by events. Other work on the machine slows runs
    down for seconds at a time, so the median is taken over the quieter half of the run's blocks (:func:`quieter_half`).

    Args:
        space: whose networks to measure.
        device: "this" (the CPU), "cpu", or a torch device such as "cuda", "cuda:1", "mps".
        runtime: "torch" (eager) or "onnx" (ONNX Runtime, an extra; CPU only).
        batch: images a run.
        threads: CPU threads.
        warmup: seconds and at least `min_repeats` runs before the timing.
        min_repeats, max_repeats, max_seconds: limits of the timing.
        precision: the timing stops when half the interval is below this share of the median.
        progress: called with (done, total) after each architecture.
        build_options: of `SearchSpace.build` (classes, input size).
    """

    name = "latency"
    unit = "ms"

    def __init__(
        self,
        space: SearchSpace,
        device: str = "this",
        runtime: Runtime = "torch",
        batch: int = 1,
        threads: int = 1,
        warmup: float = 0.05,
        min_repeats: int = 11,
        max_repeats: int = 200,
        max_seconds: float = 1.5,
        precision: float = 0.01,
        progress: Callable[[int, int], None] | None = None,
        **build_options: Any,
    ):
        import torch

        if batch < 1 or threads < 1:
            raise InvalidValue(f"batch and threads must be at least 1; got batch {batch}, threads {threads}")
        if runtime not in ("torch", "onnx"):
            raise InvalidValue(f"unknown runtime {runtime!r}; known: torch, onnx")
        self.space, self.device, self.runtime, self.batch, self.threads = space, device, runtime, batch, threads
        self.warmup, self.min_repeats, self.max_repeats = warmup, min_repeats, max_repeats
        self.max_seconds, self.precision, self.progress = max_seconds, precision, progress
        self.build_options = build_options
        self._device = _torch_device(device)
        if runtime == "onnx":
            for module in ("onnxruntime", "onnx", "onnxscript"):
                import_extra(module, "onnx")
            if self._device.type != "cpu":
                raise InvalidValue(f"the onnx runtime measures the CPU only, not {device}")
        self.reasons: dict[str, str] = {}
        self.source = (
            f"measured on {describe_device(self._device)}, {runtime} {_version(runtime)}, batch {batch}, "
            f"{threads} thread{'s' * (threads > 1)}"
        )
        torch.zeros(1, device=self._device)

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue("latency has no fidelities")
        value, std, cost = (np.full(len(archs), np.nan) for _ in range(3))
        for i, arch in enumerate(archs):
            started = time.perf_counter()
            try:
                result = self.measure(arch)
            except (RuntimeError, MemoryError) as error:  # out of memory, an operator the runtime lacks
                self.reasons[self.space.format(arch)] = str(error).splitlines()[0] if str(error) else repr(error)
                cost[i] = time.perf_counter() - started
            else:
                value[i], std[i], cost[i] = result.median, (result.high - result.low) / 3.92, result.seconds
            if self.progress:
                self.progress(i + 1, len(archs))
        return Evaluation(value, std, cost)

    def measure(self, arch: Any) -> Measurement:
        """Measure one architecture (text, index or row).

        Raises:
            RuntimeError: the network cannot be built or run.
        """
        import torch

        started = time.perf_counter()
        arch = self.space.as_archs(arch)[0]
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            torch_state = torch.random.get_rng_state()
            torch.manual_seed(0)
            model = self.space.build(arch, **self.build_options).eval().to(self._device)
            shape = (self.batch, *self.space.input_shape(**self.build_options))
            x = torch.randn(shape).to(self._device)
            torch.random.set_rng_state(torch_state)
            with torch.inference_mode():
                memory = self._peak_memory(model, x) if self.runtime == "torch" else float("nan")
                run = self._runner(model, x)
                times = self._time(run)
        finally:
            torch.set_num_threads(threads)
        low, median, high = median_interval(quieter_half(times))
        quartiles = np.percentile(times, [25, 75])
        return Measurement(
            median, low, high, float(quartiles[1] - quartiles[0]) / 1.349, len(times), memory,
            time.perf_counter() - started,
        )  # fmt: skip

    # ---- timing

    def _runner(self, model: torch.nn.Module, x: torch.Tensor) -> Callable[[], float]:
        """A function that runs the network once and returns the milliseconds it took."""
        import torch

        if self.runtime == "onnx":
            session, feed = _onnx_session(model, x, self.threads)
            return _wall_clock(lambda: session.run(None, feed))
        if self._device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

            def on_cuda() -> float:
                start.record()
                model(x)
                end.record()
                end.synchronize()
                return float(start.elapsed_time(end))

            return on_cuda
        if self._device.type == "mps":

            def on_mps() -> None:
                model(x)
                torch.mps.synchronize()

            return _wall_clock(on_mps)
        return _wall_clock(lambda: model(x))

    def _time(self, run: Callable[[], float]) -> Values:
        collecting = gc.isenabled()
        gc.disable()
        try:
            begun, runs = time.perf_counter(), 0
            while runs < 3 or (time.perf_counter() - begun < self.warmup and runs < self.max_repeats):
                run()
                runs += 1
            begun = time.perf_counter()
            times: list[float] = []
            while len(times) < self.max_repeats:
                times.append(run())
                if len(times) < self.min_repeats:
                    continue
                if time.perf_counter() - begun > self.max_seconds:
                    break
                if len(times) % 10 == 1:
                    low, median, high = median_interval(quieter_half(np.array(times)))
                    if high - low <= 2 * self.precision * median:
                        break
            return np.array(times)
        finally:
            if collecting:
                gc.enable()

    def _peak_memory(self, model: torch.nn.Module, x: torch.Tensor) -> float:
        import torch

        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            model(x)
            torch.cuda.synchronize(self._device)
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        from nastk.oracles._peak_memory import PeakMemory

        held = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers(), x))
        with PeakMemory() as tracker:
            model(x)
        return (held + tracker.peak) / 1e6


def quieter_half(times: Values, block: int = 5) -> Values:
    """The runs of the faster half of the blocks of consecutive runs, by block median.

    Disturbances by other processes come in bursts; on a quiet machine the halves hardly differ.
    """
    if len(times) < 4 * block:
        return times
    blocks = np.array_split(times, len(times) // block)
    order = np.argsort([np.median(b) for b in blocks], kind="stable")
    return np.concatenate([blocks[i] for i in order[: (len(blocks) + 1) // 2]])


def median_interval(times: Values) -> tuple[float, float, float]:
    """Lower bound, median and upper bound of the 95 % order-statistic interval of the median."""
    ordered = np.sort(times)
    n = len(ordered)
    half = 0.98 * np.sqrt(n)
    low, high = max(int(np.floor(n / 2 - half)), 0), min(int(np.ceil(n / 2 + half)), n - 1)
    return float(ordered[low]), float(np.median(ordered)), float(ordered[high])


def _wall_clock(action: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        start = time.perf_counter_ns()
        action()
        return (time.perf_counter_ns() - start) / 1e6

    return timed


def _torch_device(name: str) -> torch.device:
    import torch

    if name in ("this", "cpu"):
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    there = {
        "cuda": torch.cuda.is_available() and (int(number or 0) if number.isdigit() or not number else 10**9)
        < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in there:
        raise InvalidValue(f"unknown device {name!r}; this machine can measure: {', '.join(local_devices())}")
    if not there[kind]:
        raise NastkError(f"this machine has no {name}; it can measure: {', '.join(local_devices())}")
    return torch.device(name)


def local_devices() -> list[str]:
    """Names of the devices that can be measured here."""
    import torch

    names = ["this"]
    if torch.cuda.is_available():
        names += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def describe_device(device: str | torch.device = "this") -> str:
    """Name of the processor or accelerator."""
    import torch

    device = device if isinstance(device, torch.device) else _torch_device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(runtime: str) -> str:
    from importlib.metadata import version

    return version("onnxruntime" if runtime == "onnx" else "torch").split("+")[0]


def _onnx_session(model: torch.nn.Module, x: torch.Tensor, threads: int) -> tuple[Any, dict[str, Any]]:
    """An ONNX Runtime session of the network, and its input."""
    import contextlib
    import io
    import logging
    import warnings

    import onnxruntime
    import torch

    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
        assert program is not None
        text = program.model_proto.SerializeToString()
    finally:
        quiet.setLevel(level)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    return session, {session.get_inputs()[0].name: x.numpy()}
