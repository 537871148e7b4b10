"""Latency and peak memory of live networks, measured on a device of this machine."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nastk.devices import describe_device
from nastk.errors import DataWarning, InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.oracles._machine import Load, LoadMeter, ThreadClock
from nastk.oracles._timing import BUSY, UNSTEADY, Fit, Timings, fit_timings, median_interval
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.runtimes._agreement import LEAST_COSINE, TOLERANCE, Agreement, agreement
from nastk.runtimes._calibration import read_calibration
from nastk.runtimes.base import Run, Runtime, runtime_class
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision

VISIT = 0.01
"""Seconds of timed runs in a visit, and two runs at least: short enough that the machine's speed hardly changes within,
long enough that what the network before left in the caches does not matter."""

PIECE = 2.0
"""Milliseconds from which on a run is a timing of its own; shorter runs of a visit share one, by their median."""

WAITS = 0.2
"""Share of the wall time for which a network waits of itself (for a device, a lock, a clock) from which on its
processor time is not its latency."""

HELD = 2e9
"""Bytes of weights that are held at a time; networks that do not fit are measured after the others."""

CHECKS = 4
"""Batches on which a precision below float32 is compared with PyTorch's outputs; float32 is compared on one."""

PATIENCE = 4.0
"""How much longer than `max_seconds` a busy machine may make a measurement, by the wall clock."""


@dataclass(frozen=True)
class Measurement:
    """Latency of one network.

    Args:
        median: ms a batch: wall time, or where other work disturbed it (`Conditions.clock`) processor time at the
            machine's fastest.
        low, high: 95 % interval of the median of another such measurement, ms: between-run spread included.
        spread: standard deviation of a single run, ms, from the quartiles of all runs.
        repeats: number of timed runs.
        peak_memory: peak MB (10^6 bytes) of weights, input and live activations during one forward pass, as the runtime
            counts them (`Runtime.peak_memory`); NaN where it does not.
        seconds: duration of the measurement, building included.
        wall, p90: median and 90th percentile of the runs by the wall clock, ms: what was seen, other work included.
        wall_low, wall_high: 95 % interval of `wall` within this measurement (order statistics of the visits' medians).
        processor: median processor time of the runs, ms; NaN where it is not known (several threads, other devices).
        agreement: of the outputs with PyTorch's in eager mode and float32; None for PyTorch itself.
    """

    median: float
    low: float
    high: float
    spread: float
    repeats: int
    peak_memory: float
    seconds: float
    wall: float = float("nan")
    p90: float = float("nan")
    wall_low: float = float("nan")
    wall_high: float = float("nan")
    processor: float = float("nan")
    agreement: Agreement | None = None


@dataclass(frozen=True)
class Conditions:
    """Under what a set of networks was measured.

    Args:
        clock: "wall", or "processor" where other work had the processor and processor time is the steadier one.
        occupied: wall time over processor time of all runs; NaN where that is not known.
        unsteady: standard deviation of the logarithm of the machine's speed over the measurement.
        drift: how much slower the machine was in the last third than in the first, a share.
        load: what else the machine did.
        networks: how many were measured together.
    """

    clock: str
    occupied: float
    unsteady: float
    drift: float
    load: Load
    networks: int

    @property
    def steady(self) -> bool:
        """Whether nothing is known to have disturbed the measurement."""
        return self.clock == "wall" and self.unsteady < UNSTEADY and not self.occupied >= BUSY

    def describe(self) -> str:
        """One line: how far the measurement is to be trusted, and why."""
        seen = []
        if self.occupied >= BUSY:
            seen.append(f"runs took {self.occupied:.1f} times their processor time (busy from {BUSY:g} on)")
        if self.unsteady >= UNSTEADY:
            seen.append(f"the machine's speed varied by {self.unsteady:.0%} (unsteady from {UNSTEADY:.0%} on)")
        if abs(self.drift) >= UNSTEADY:
            seen.append(f"it became {abs(self.drift):.0%} {'slower' if self.drift > 0 else 'faster'}")
        if not self.steady and (load := self.load.describe()):
            seen.append(load)
        if self.steady:
            return "; ".join(["steady: wall time", *seen])
        what = "processor time" if self.clock == "processor" else "wall time"
        return f"disturbed: {'; '.join(seen)}. Shown is {what} at the machine's fastest, with a wider interval"


class Latency(Oracle):
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
        import torch

        least = {
            "batch": batch, "threads": threads, "rounds": rounds, "builds": builds, "min_repeats": min_repeats,
            "together": together,
        }  # fmt: skip
        for option, value in least.items():
            if value < 1:
                raise InvalidValue(f"latency: {option} is {value}, must be at least 1")
        if max_repeats < min_repeats:
            raise InvalidValue(f"latency: max_repeats is {max_repeats}, less than min_repeats, {min_repeats}")
        space.need_networks(self.name)
        self.space, self.device, self.runtime, self.batch, self.threads = space, device, runtime, batch, threads
        self.rounds, self.builds, self.warmup = rounds, builds, warmup
        self.min_repeats, self.max_repeats, self.max_seconds = min_repeats, max_repeats, max_seconds
        self.tolerance, self.together, self.progress = tolerance, together, progress
        self.precision: str = precision
        self.calibration = str(calibration) if isinstance(calibration, (str, os.PathLike)) else calibration
        self.build_options = build_options
        self._runtimes = self._make_runtimes(read_calibration(calibration))
        self._runtime = next(iter(self._runtimes.values()))
        self.reasons: dict[str, str] = {}
        self.conditions: list[Conditions] = []
        self.source = (
            f"measured on {describe_device(self._runtime.device)}, "
            f"{' or '.join(r.label for r in self._runtimes.values())}, batch {batch}, "
            f"{threads} thread{'s' * (threads > 1)}"
        )
        torch.zeros(1, device=self._runtime.device)  # a device that does not work fails here, not at the first network

    def _make_runtimes(self, calibration: Any) -> dict[str, Runtime]:
        """The runtime of each precision that is measured."""
        precisions: list[str] = [self.precision]
        if isinstance(self.space, WithPrecision):
            precisions = list(self.space.precisions)
            if self.precision not in ("fp32", ",".join(precisions)):
                raise InvalidValue(f"precision {self.precision}: the space chooses it, {' or '.join(precisions)}")
            self.precision = ",".join(precisions)
        made = runtime_class(self.runtime)
        if calibration is not None and "int8" not in precisions:
            raise InvalidValue(f"calibration is of int8, and the precision is {self.precision}; leave it out")
        return {p: made(str(self.device), self.threads, p, calibration if p == "int8" else None) for p in precisions}

    def _runtime_of(self, arch: Archs) -> Runtime:
        if isinstance(self.space, WithPrecision):
            return self._runtimes[self.space.precision_of(arch)[0]]
        return self._runtime

    def describe(self) -> dict[str, Any]:
        where = {"device": self.device, "runtime": self.runtime, "threads": self.threads, "batch": self.batch}
        if self.precision != "fp32":  # left out where it is, as in the studies of before there was a choice
            where["precision"] = self.precision
        if self.calibration is not None:
            named = isinstance(self.calibration, str)
            where["calibration"] = self.calibration if named else f"array of {len(self.calibration)}"
        return {"oracle": "latency", **where, **self.build_options}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue("latency has no fidelities")
        found = self.measure_many(archs)
        return Evaluation(
            np.array([m.median for m in found], dtype=np.float64),
            # of the value: half the interval is for the difference of two runs
            np.array([(m.high - m.low) / 3.92 / np.sqrt(2) for m in found], dtype=np.float64),
            np.array([m.seconds for m in found], dtype=np.float64),
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

    def _candidate(self, arch: Archs) -> _Candidate:
        return _Candidate(arch, self._runtime_of(arch))

    # ---- a set of networks

    def _measure_set(self, candidates: list[_Candidate], report: Callable[[float], None]) -> None:
        """Measure networks together, as many at a time as memory holds."""
        waiting, done = list(candidates), 0
        with self._runtime.running(), tempfile.TemporaryDirectory() as folder:
            for i, candidate in enumerate(candidates):
                candidate.file = Path(folder) / f"{i}{candidate.runtime.suffix}"
            while waiting:
                group = _Group(self, waiting)
                count = group.build(first=True)
                waiting = waiting[count:]
                group.measure(partial(_report_part, report, done / len(candidates), count / len(candidates)))
                done += count
        report(1.0)
        for runtime in self._runtimes.values():
            self._warn_of_outputs(runtime, [c.agreement for c in candidates if c.runtime is runtime and c.agreement])

    def _warn_of_outputs(self, runtime: Runtime, found: list[Agreement]) -> None:
        far = [a for a in found if a.cosine < LEAST_COSINE]
        if far:
            warnings.warn(
                f"{runtime.label}: the outputs of {len(far)} of {len(found)} networks are far from float32's "
                f"(cosine below {LEAST_COSINE:g}); the farthest: {min(far, key=lambda a: a.cosine).describe()}",
                DataWarning,
                stacklevel=2,
            )

    def _prepare(self, candidate: _Candidate) -> int:
        """Build a network and make it ready; the first time, check what it answers. Returns its bytes of weights."""
        import torch

        from nastk.oracles._networks import build_network

        runtime, file = candidate.runtime, candidate.file
        candidate.run = None  # frees the network of before
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            x = self._inputs()
            model = None
            if not file.exists():  # where the runtime runs the module itself, it never does
                model = build_network(self.space, candidate.arch, **self.build_options)
                model = model.eval().to(runtime.device)
        with torch.inference_mode():
            first = not candidate.prepared
            if runtime.reports_memory and model is not None and first:
                candidate.peak_memory = runtime.peak_memory(model, x)
            candidate.run = runtime.prepare(model, x, file)
            if first and model is not None and (runtime.name, runtime.precision) != ("torch", "fp32"):
                candidate.agreement = self._check(candidate, model, x)
        if model is not None:
            candidate.bytes = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        candidate.prepared = True
        return candidate.bytes

    def _inputs(self) -> Any:
        import torch

        shape = (self.batch, *self.space.input_shape(**self.build_options))
        tokens = self.space.vocabulary(**self.build_options)
        return (torch.randn(shape) if tokens is None else torch.randint(tokens, shape)).to(self._runtime.device)

    def _check(self, candidate: _Candidate, model: Any, x: Any) -> Agreement | None:
        """Compare what the runtime answers with PyTorch's own outputs.

        Raises:
            RuntimeError: float32 outputs are others.
        """
        import torch

        runtime, run = candidate.runtime, candidate.run
        assert run is not None
        expected, found = [_first(model(x)).cpu()], [runtime.output(run())]
        if runtime.precision != "fp32":
            for i in range(CHECKS - 1):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(i + 1)
                    other = self._inputs()
                expected.append(_first(model(other)).cpu())
                found.append(runtime.output(runtime.prepare(model, other, candidate.file)()))
        if not all(torch.isfinite(e).all() for e in expected):
            return None  # the network itself answers no numbers, with these weights: nothing to agree with
        agreed = agreement(torch.cat(expected), torch.cat(found))
        if runtime.precision == "fp32" and not agreed.difference <= TOLERANCE:
            raise RuntimeError(
                f"{runtime.label} answers other outputs than PyTorch: {agreed.describe()}; allowed is {TOLERANCE:g}"
            )
        return agreed


def _report_part(report: Callable[[float], None], before: float, part: float, share: float) -> None:
    report(before + share * part)


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (list, tuple)) else output


class _Reporter:
    """Translates the share of a set that is measured to a count of architectures, each told once."""

    def __init__(self, progress: Callable[[int, int], None] | None, before: int, count: int, total: int):
        self.progress, self.before, self.count, self.total, self.told = progress, before, count, total, 0

    def __call__(self, share: float) -> None:
        while self.progress and self.told < int(share * self.count + 1e-9):
            self.told += 1
            self.progress(self.before + self.told, self.total)


class _Candidate:
    """A network under measurement."""

    def __init__(self, arch: Archs, runtime: Runtime):
        self.arch, self.runtime = arch, runtime
        self.file = Path()
        self.run: Run | None = None
        self.prepared = False
        self.bytes = 0
        self.repeats = 0
        self.peak_memory = float("nan")
        self.agreement: Agreement | None = None
        self.seconds = 0.0
        self.error: BaseException | None = None
        self.measurement = Measurement(*(float("nan"),) * 4, 0, float("nan"), 0.0)


@contextlib.contextmanager
def _attempt(candidate: _Candidate) -> Iterator[None]:
    """What a network raises is its own failure; the time it takes is its own time."""
    started = time.perf_counter()
    try:
        yield
    except NastkError:
        raise
    except (Exception, SystemExit) as error:  # the network's, or an operator that the runtime lacks
        candidate.error, candidate.run = error, None
    finally:
        candidate.seconds += time.perf_counter() - started


@dataclass
class _Visit:
    """Times of one visit: of each run by the wall clock and the processor's, ms, and milliseconds of waiting."""

    network: int
    build: int
    wall: Values
    processor: Values
    waited: float

    @property
    def blocked(self) -> float:
        """Milliseconds in which the network neither ran nor was ready to run."""
        return float(self.wall.sum() - self.processor.sum()) - self.waited


class _Group:
    """Networks that are held in memory and visited in turn."""

    def __init__(self, oracle: Latency, waiting: list[_Candidate]):
        self.oracle, self.waiting = oracle, waiting
        self.members: list[_Candidate] = []
        self.clock = ThreadClock()
        self.reads_processor = oracle._runtime.device.type == "cpu" and oracle.threads == 1 and self.clock.available
        self.visits: list[_Visit] = []
        self.meter = LoadMeter()

    def build(self, first: bool = False) -> int:
        """Build the networks anew; the first time, as many of those that wait as memory holds. Returns how many."""
        held = 0
        for candidate in self.waiting if first else self.members:
            if first and self.members and held > HELD:
                break
            if first:
                self.members.append(candidate)
            if candidate.error is None:
                with _attempt(candidate), self.clock.watching():
                    held += self.oracle._prepare(candidate)
        return len(self.members)

    def measure(self, report: Callable[[float], None]) -> None:
        """Visit the networks in rounds, until time, runs or precision suffice; then fit."""
        import torch

        oracle, rng = self.oracle, np.random.default_rng(0)
        rounds, build, done, begun, spent = oracle.rounds, 0, 0, time.perf_counter(), 0.0
        with torch.inference_mode():
            while done < rounds and any(c.error is None for c in self.members):
                if done * oracle.builds // rounds > build:
                    build += 1
                    with torch.inference_mode(False):
                        self.build()
                    if self._precise():
                        break
                for i in rng.permutation(len(self.members)):
                    if self.members[i].error is None:
                        with _attempt(self.members[i]):
                            spent += self._visit(int(i), build)
                done += 1
                elapsed = time.perf_counter() - begun
                if build == 0:  # later the number of rounds is settled, so that the builds are spread evenly
                    rounds = self._rounds(done, spent, elapsed)
                elif elapsed > PATIENCE * oracle.max_seconds * len(self.members) and done >= oracle.rounds:
                    break
                report(done / rounds)
        self._fit()
        for candidate in self.members:
            candidate.run = None

    def _rounds(self, done: int, spent: float, elapsed: float) -> int:
        """How many rounds there will be, after what the first ones took."""
        oracle, alive = self.oracle, [c for c in self.members if c.error is None]
        if not alive:
            return done
        seconds = oracle.max_seconds * len(alive)
        affordable = int(min(seconds * done / max(spent, 1e-9), PATIENCE * seconds * done / max(elapsed, 1e-9)))
        runs = min(c.repeats for c in alive) / done
        wanted = max(oracle.rounds, -(-oracle.min_repeats // max(int(runs), 1)))
        return int(max(min(max(affordable, wanted), int(oracle.max_repeats / runs)), done, 1))

    def _visit(self, number: int, build: int) -> float:
        """Warm a network up and time some runs of it; returns the seconds that this took, of the processor if known."""
        candidate, clock, processor = self.members[number], self.clock, self.reads_processor
        assert candidate.run is not None
        run, most = candidate.runtime.timer(candidate.run), self.oracle.max_repeats // self.oracle.rounds
        collecting = gc.isenabled()
        gc.disable()  # a collection would take milliseconds of one run
        try:
            started = clock.processor_ns() if processor else time.perf_counter_ns()
            begun = time.perf_counter()
            run()
            while time.perf_counter() - begun < self.oracle.warmup:
                run()
            waited = clock.waiting_ns() if processor else 0
            wall: list[float] = []
            own: list[float] = []
            while len(wall) < 2 or (sum(wall) < 1000 * VISIT and len(wall) < most):
                before = clock.processor_ns() if processor else 0
                wall.append(run())
                own.append((clock.processor_ns() - before) / 1e6 if processor else float("nan"))
            waited = clock.waiting_ns() - waited if processor else 0
            ended = clock.processor_ns() if processor else time.perf_counter_ns()
        finally:
            if collecting:
                gc.enable()
        candidate.repeats += len(wall)
        self.visits.append(_Visit(number, build, np.array(wall), np.array(own), waited / 1e6))
        return (ended - started) / 1e9

    # ---- from visits to latencies

    def _precise(self) -> bool:
        """Whether every network is known to within the tolerance; two builds are compared at least."""
        alive = [i for i, c in enumerate(self.members) if c.error is None]
        fewest = min((self.members[i].repeats for i in alive), default=0)
        if len({v.build for v in self.visits}) < 2 or fewest < self.oracle.min_repeats:
            return False
        fit = self._fitted(alive, self._clock(alive))
        return bool((1.96 * fit.error <= self.oracle.tolerance).all())

    def _clock(self, alive: list[int]) -> str:
        """The clock to go by: the processor's where other work had the processor, and no network waits of itself."""
        if not self.reads_processor:
            return "wall"
        for i in alive:
            mine = [v for v in self.visits if v.network == i]
            if sum(v.blocked for v in mine) > WAITS * sum(v.wall.sum() for v in mine):
                return "wall"
        return "processor" if self._occupied() >= BUSY else "wall"

    def _occupied(self) -> float:
        if not self.reads_processor:
            return float("nan")
        return float(sum(v.wall.sum() for v in self.visits) / max(sum(v.processor.sum() for v in self.visits), 1e-9))

    def _fitted(self, alive: list[int], clock: str, fast: bool = False) -> Fit:
        number = {network: k for k, network in enumerate(alive)}
        network, visit, build, ms = [], [], [], []
        for k, v in enumerate(self.visits):
            if v.network not in number:
                continue
            times = v.processor if clock == "processor" else v.wall
            pieces = max(1, min(len(times), int(times.sum() / PIECE)))
            for piece in np.array_split(times, pieces):
                network.append(number[v.network])
                visit.append(k)
                build.append(v.build)
                ms.append(max(float(np.median(piece)), 1e-6))
        return fit_timings(Timings(np.array(network), np.array(visit), np.array(build), np.array(ms)), len(alive), fast)

    def _fit(self) -> None:
        alive = [i for i, c in enumerate(self.members) if c.error is None]
        for candidate in self.members:
            candidate.measurement = Measurement(*(float("nan"),) * 4, 0, float("nan"), candidate.seconds)
        if not alive:
            return
        clock = self._clock(alive)
        fit = self._fitted(alive, clock)
        fast = clock == "processor" or fit.spread >= UNSTEADY
        if fast:
            fit = self._fitted(alive, clock, fast)
        thirds = np.array_split(fit.speed, 3)
        drift = float(np.expm1(np.median(thirds[-1]) - np.median(thirds[0]))) if len(fit.speed) >= 3 else 0.0
        self.oracle.conditions.append(
            Conditions(clock, self._occupied(), fit.spread, drift, self.meter.read(), len(alive))
        )
        low, high = fit.interval()
        for k, i in enumerate(alive):
            candidate = self.members[i]
            mine = [v for v in self.visits if v.network == i]
            wall, processor = np.concatenate([v.wall for v in mine]), np.concatenate([v.processor for v in mine])
            quartiles = np.percentile(processor if clock == "processor" else wall, [25, 75])
            candidate.measurement = Measurement(
                float(fit.ms[k]), float(low[k]), float(high[k]),
                float(quartiles[1] - quartiles[0]) / 1.349,  # interquartile range of a standard normal
                len(wall), candidate.peak_memory, candidate.seconds,
                float(np.median(wall)), float(np.percentile(wall, 90)),
                *median_interval(np.array([np.median(v.wall) for v in mine])),
                float(np.median(processor)), candidate.agreement,
            )  # fmt: skip
