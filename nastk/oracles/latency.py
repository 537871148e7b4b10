"""Latency and peak memory of live networks, measured on a device of this machine."""

from __future__ import annotations

import contextlib
import gc
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nastk.errors import InvalidValue, NastkError, import_extra
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch

Runtime = Literal["torch", "onnx"]

ADJUSTED = 5
"""With fewer networks than this in a round, its speed cannot be told from theirs."""


@dataclass(frozen=True)
class Measurement:
    """Latency of one network.

    Args:
        median: ms a batch, over all timed runs.
        low, high: 95 % interval of the median, ms (order statistics of the rounds' medians).
        spread: standard deviation of a single run, ms, from the quartiles of all runs.
        repeats: number of timed runs.
        peak_memory: MB (10^6 bytes) of weights, input and live activations at their greatest during one forward pass,
            counted tensor by tensor (workspace within an operator is not seen); on CUDA the allocator's own peak. NaN
            for ONNX Runtime, which does not tell.
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

    Networks are measured in turns: in each round each network is built, warmed up, timed run by run and freed. Other
    work on the machine slows runs down for seconds at a time, and one build can be luckier in its memory than the next;
    runs of several rounds are independent of both, so that few of them rank networks better than many runs in one go.
    A processor may also change its speed for minutes, for all networks alike: where at least `ADJUSTED` take turns,
    each round's times are divided by that round's speed (:func:`round_speeds`), 1 for the median round.
    The CPU is timed by the wall clock, CUDA by events.

    A network that cannot be built or run gets NaN, and :attr:`reasons` says why, by its text.

    Args:
        space: whose networks to measure.
        device: "this" (the CPU), "cpu", or a torch device such as "cuda", "cuda:1", "mps".
        runtime: "torch" (eager) or "onnx" (ONNX Runtime, an extra; CPU only).
        batch: images a run.
        threads: CPU threads.
        rounds: visits to each network; with fewer than six the interval rests on single runs.
        warmup: seconds, and at least two runs, before the timing of each round.
        min_repeats, max_repeats, max_seconds: limits of a network's timed runs, shared equally by the rounds.
        precision: a round ends early when half the interval of its median is below this share of the median.
        together: how many networks take turns; an interruption loses them.
        progress: called with (done, total) once an architecture.
        build_options: of `SearchSpace.build` (classes, input size).
    """

    name = "latency"
    unit = "ms"
    few_shot = True

    def __init__(
        self,
        space: SearchSpace,
        device: str = "this",
        runtime: Runtime = "torch",
        batch: int = 1,
        threads: int = 1,
        rounds: int = 6,
        warmup: float = 0.03,
        min_repeats: int = 12,
        max_repeats: int = 300,
        max_seconds: float = 0.6,
        precision: float = 0.01,
        together: int = 25,
        progress: Callable[[int, int], None] | None = None,
        **build_options: Any,
    ):
        import torch

        least = {"batch": batch, "threads": threads, "rounds": rounds, "min_repeats": min_repeats, "together": together}
        for option, value in least.items():
            if value < 1:
                raise InvalidValue(f"latency: {option} is {value}, must be at least 1")
        if max_repeats < min_repeats:
            raise InvalidValue(f"latency: max_repeats is {max_repeats}, less than min_repeats, {min_repeats}")
        if runtime not in ("torch", "onnx"):
            raise InvalidValue(f"unknown runtime {runtime!r}; known: torch, onnx")
        self.space, self.device, self.runtime, self.batch, self.threads = space, device, runtime, batch, threads
        self.rounds, self.warmup, self.min_repeats, self.max_repeats = rounds, warmup, min_repeats, max_repeats
        self.max_seconds, self.precision, self.together, self.progress = max_seconds, precision, together, progress
        self.build_options = build_options
        self._device = torch_device(device)
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

    def describe(self) -> dict[str, Any]:
        where = {"device": self.device, "runtime": self.runtime, "threads": self.threads, "batch": self.batch}
        return {"oracle": "latency", **where, **self.build_options}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue("latency has no fidelities")
        found = self.measure_many(archs)
        return Evaluation(
            np.array([m.median for m in found], dtype=np.float64),
            np.array([(m.high - m.low) / 3.92 for m in found], dtype=np.float64),
            np.array([m.seconds for m in found], dtype=np.float64),
        )

    def measure(self, arch: Any) -> Measurement:
        """Measure one architecture (text, index or row).

        Raises:
            RuntimeError: the network cannot be built or run; also MemoryError.
        """
        candidate = _Candidate(self.space.as_archs(arch)[0])
        with _threads(self.threads), tempfile.TemporaryDirectory() as folder:
            for _ in range(self.rounds):
                self._visit(candidate, Path(folder) / "network.onnx")
        return candidate.measurement()

    def measure_many(self, archs: Any) -> list[Measurement]:
        """Measure architectures in turns; one that fails gets NaN, no repeats, and an entry in :attr:`reasons`."""
        archs = self.space.as_archs(archs)
        found: list[Measurement] = []
        for start in range(0, len(archs), self.together):
            found += self._measure_together(archs[start : start + self.together], start, len(archs))
        return found

    def _measure_together(self, archs: Archs, before: int, total: int) -> list[Measurement]:
        candidates = [_Candidate(arch) for arch in archs]
        visits, reported = 0, 0
        with _threads(self.threads), tempfile.TemporaryDirectory() as folder:
            for _ in range(self.rounds):
                for i, candidate in enumerate(candidates):
                    try:
                        if not candidate.failed:
                            self._visit(candidate, Path(folder) / f"{i}.onnx")
                    except (RuntimeError, MemoryError) as error:  # out of memory, an operator the runtime lacks
                        candidate.failed = True
                        reason = str(error).strip() or repr(error)
                        self.reasons[self.space.format(candidate.arch)] = reason.splitlines()[0]
                    visits += 1
                    if self.progress and visits // self.rounds > reported:
                        reported += 1
                        self.progress(before + reported, total)
        measured = [candidate for candidate in candidates if not candidate.failed]
        if len(measured) >= ADJUSTED:
            speeds = round_speeds(np.array([[np.median(times) for times in c.rounds] for c in measured]).T)
            for candidate in measured:
                candidate.rounds = [times / speed for times, speed in zip(candidate.rounds, speeds, strict=True)]
        return [candidate.measurement() for candidate in candidates]

    def _visit(self, candidate: _Candidate, exported: Path) -> None:
        """Build, warm up, time and free a network once; `exported` keeps its ONNX form from round to round."""
        import torch

        started = time.perf_counter()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                shape = (self.batch, *self.space.input_shape(**self.build_options))
                tokens = self.space.vocabulary(**self.build_options)
                x = (torch.randn(shape) if tokens is None else torch.randint(tokens, shape)).to(self._device)
                model = None
                if not exported.exists():
                    model = self.space.build(candidate.arch, **self.build_options).eval().to(self._device)
            with torch.inference_mode():
                if self.runtime == "torch" and not candidate.rounds:
                    candidate.peak_memory = self._peak_memory(model, x)
                candidate.rounds.append(self._time(self._runner(model, x, exported)))
        finally:
            candidate.seconds += time.perf_counter() - started

    # ---- timing

    def _runner(self, model: Any, x: torch.Tensor, exported: Path) -> Callable[[], float]:
        """A function that runs the network once and returns the milliseconds it took."""
        import torch

        if self.runtime == "onnx":
            if not exported.exists():
                _export_onnx(model, x, exported)
            session = _onnx_session(exported, self.threads)
            feed = {session.get_inputs()[0].name: x.numpy()}
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
        """Milliseconds of each timed run of one round."""
        least, most = -(-self.min_repeats // self.rounds), -(-self.max_repeats // self.rounds)
        collecting = gc.isenabled()
        gc.disable()
        try:
            begun, runs = time.perf_counter(), 0
            while runs < 2 or time.perf_counter() - begun < self.warmup:
                run()
                runs += 1
            begun = time.perf_counter()
            times: list[float] = []
            while len(times) < most:
                times.append(run())
                if len(times) >= least and time.perf_counter() - begun > self.max_seconds / self.rounds:
                    break
                if len(times) >= max(least, 10) and len(times) % 5 == 0:
                    low, median, high = median_interval(np.array(times))
                    if high - low <= 2 * self.precision * median:
                        break
            return np.array(times)
        finally:
            if collecting:
                gc.enable()

    def _peak_memory(self, model: Any, x: torch.Tensor) -> float:
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


class _Candidate:
    """A network under measurement: milliseconds of the timed runs of each round so far."""

    def __init__(self, arch: Archs):
        self.arch = arch
        self.rounds: list[Values] = []
        self.peak_memory = float("nan")
        self.seconds = 0.0
        self.failed = False

    def measurement(self) -> Measurement:
        if self.failed:
            nan = float("nan")
            return Measurement(nan, nan, nan, nan, 0, nan, self.seconds)
        times = np.concatenate(self.rounds)
        medians = np.array([np.median(r) for r in self.rounds])
        low, _, high = median_interval(medians if len(medians) >= 6 else times)
        median = float(np.median(times))
        quartiles = np.percentile(times, [25, 75])
        spread = float(quartiles[1] - quartiles[0]) / 1.349
        return Measurement(
            median, min(low, median), max(high, median), spread, len(times), self.peak_memory, self.seconds
        )


def round_speeds(medians: Values, sweeps: int = 3) -> Values:
    """How slow each round was for all networks alike, shape ``(rounds,)``, 1 for the median round.

    Fits ``log ms = round + network`` to ``(rounds, networks)`` medians by median polish (Tukey, Exploratory Data
    Analysis, 1977), which single disturbed visits do not move.
    """
    logs = np.log(medians)
    rounds = np.median(logs, axis=1)
    for _ in range(sweeps):
        networks = np.median(logs - rounds[:, None], axis=0)
        rounds = np.median(logs - networks, axis=1)
    return np.exp(rounds - np.median(rounds))


def median_interval(times: Values) -> tuple[float, float, float]:
    """Lower bound, median and upper bound of the 95 % order-statistic interval of the median.

    The k-th least and k-th greatest of n enclose the median unless fewer than k of n fair coins fall on one side; k is
    the greatest for which that is at most 5 % likely. Below six values no such k exists, and the bounds are the range.
    """
    ordered = np.sort(times)
    k = _interval_rank(len(ordered))
    return float(ordered[k - 1]), float(np.median(ordered)), float(ordered[-k])


@lru_cache(maxsize=1024)
def _interval_rank(n: int) -> int:
    rank, tail = 0, 0.5**n
    while tail <= 0.025:
        rank += 1
        tail += comb(n, rank) / 2**n
    return max(rank, 1)


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wall_clock(action: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        start = time.perf_counter_ns()
        action()
        return (time.perf_counter_ns() - start) / 1e6

    return timed


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu", "cuda:1" or "mps"; "this" is the processor.

    Raises:
        InvalidValue: no such kind.
        NastkError: this machine has none.
    """
    import torch

    if name in ("this", "cpu"):
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    there = {
        "cuda": torch.cuda.is_available()
        and (int(number or 0) if number.isdigit() or not number else 10**9) < torch.cuda.device_count(),
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

    device = device if isinstance(device, torch.device) else torch_device(device)
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


def _export_onnx(model: torch.nn.Module, x: torch.Tensor, file: Path) -> None:
    import io
    import logging
    import warnings

    import torch

    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(model, (x,), dynamo=True, optimize=False, verbose=False)
        assert program is not None
        program.save(file)
    finally:
        quiet.setLevel(level)


def _onnx_session(file: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
