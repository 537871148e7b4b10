"""Networks that are held in memory and visited in turn: what a latency is measured by."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nastk.errors import NastkError
from nastk.oracles._machine import Load, LoadMeter, ThreadClock
from nastk.oracles._timing import BUSY, UNSTEADY, Fit, Timings, fit_timings, median_interval
from nastk.oracles.base import Values
from nastk.runtimes._agreement import Agreement
from nastk.runtimes.base import Run, Runtime
from nastk.spaces.base import Archs

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
        conditions: under which it was measured; None where it failed.
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
    conditions: Conditions | None = None

    @property
    def details(self) -> dict[str, Any]:
        """What a record keeps beside the value: what was seen by the wall clock, and :attr:`Conditions.facts`."""
        if self.conditions is None:
            return {}
        return {"p50": self.wall, "p90": self.p90, "repeats": self.repeats, **self.conditions.facts}


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

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-able: how steady the machine was, and :meth:`describe`; what the system does not tell is left out.

        ``trusted`` (:attr:`steady`), ``clock``, ``drift`` and ``unsteady`` (shares), ``occupied``, ``others``
        (processors that other processes kept busy), ``stolen`` (share), ``together`` (networks), ``said``.
        """
        numbers = {
            "drift": self.drift, "unsteady": self.unsteady, "occupied": self.occupied, "others": self.load.others,
            "stolen": self.load.stolen,
        }  # fmt: skip
        known = {name: float(f"{value:.6g}") for name, value in numbers.items() if value == value}
        plain = {"trusted": self.steady, "clock": self.clock, "together": self.networks, "said": self.describe()}
        return {**plain, **known}

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


class Candidate:
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
def _attempt(candidate: Candidate) -> Iterator[None]:
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


@dataclass(frozen=True)
class Limits:
    """How often and how long networks are visited; see `nastk.oracles.Latency`."""

    rounds: int
    builds: int
    warmup: float
    min_repeats: int
    max_repeats: int
    max_seconds: float
    tolerance: float


class Group:
    """Networks that are held in memory and visited in turn.

    Args:
        limits: of the visits.
        waiting: networks to measure; as many of them as memory holds become :attr:`members`.
        prepare: builds a network and makes it ready; returns its bytes of weights.
        processor: whether processor time is one thread's, and means something.

    Attributes:
        members: that are measured together.
        conditions: under what they were measured, after :meth:`measure`; None where all failed.
    """

    def __init__(self, limits: Limits, waiting: list[Candidate], prepare: Callable[[Candidate], int], processor: bool):
        self.limits, self.waiting, self.prepare = limits, waiting, prepare
        self.members: list[Candidate] = []
        self.conditions: Conditions | None = None
        self.clock = ThreadClock()
        self.reads_processor = processor and self.clock.available
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
                    held += self.prepare(candidate)
        return len(self.members)

    def measure(self, report: Callable[[float], None]) -> None:
        """Visit the networks in rounds, until time, runs or precision suffice; then fit."""
        import torch

        limits, rng = self.limits, np.random.default_rng(0)
        rounds, build, done, begun, spent = limits.rounds, 0, 0, time.perf_counter(), 0.0
        with torch.inference_mode():
            while done < rounds and any(c.error is None for c in self.members):
                if done * limits.builds // rounds > build:
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
                elif elapsed > PATIENCE * limits.max_seconds * len(self.members) and done >= limits.rounds:
                    break
                report(done / rounds)
        self._fit()
        for candidate in self.members:
            candidate.run = None

    def _rounds(self, done: int, spent: float, elapsed: float) -> int:
        """How many rounds there will be, after what the first ones took."""
        limits, alive = self.limits, [c for c in self.members if c.error is None]
        if not alive:
            return done
        seconds = limits.max_seconds * len(alive)
        affordable = int(min(seconds * done / max(spent, 1e-9), PATIENCE * seconds * done / max(elapsed, 1e-9)))
        runs = min(c.repeats for c in alive) / done
        wanted = max(limits.rounds, -(-limits.min_repeats // max(int(runs), 1)))
        return int(max(min(max(affordable, wanted), int(limits.max_repeats / runs)), done, 1))

    def _visit(self, number: int, build: int) -> float:
        """Warm a network up and time some runs of it; returns the seconds that this took, of the processor if known."""
        candidate, clock, processor = self.members[number], self.clock, self.reads_processor
        assert candidate.run is not None
        run, most = candidate.runtime.timer(candidate.run), self.limits.max_repeats // self.limits.rounds
        collecting = gc.isenabled()
        gc.disable()  # a collection would take milliseconds of one run
        try:
            started = clock.processor_ns() if processor else time.perf_counter_ns()
            begun = time.perf_counter()
            run()
            while time.perf_counter() - begun < self.limits.warmup:
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
        if len({v.build for v in self.visits}) < 2 or fewest < self.limits.min_repeats:
            return False
        fit = self._fitted(alive, self._clock(alive))
        return bool((1.96 * fit.error <= self.limits.tolerance).all())

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
        fit = self._fitted(alive, clock, fast=clock == "processor")
        if clock == "wall" and fit.spread >= UNSTEADY:
            fit = self._fitted(alive, clock, fast=True)
        thirds = np.array_split(fit.speed, 3)
        drift = float(np.expm1(np.median(thirds[-1]) - np.median(thirds[0]))) if len(fit.speed) >= 3 else 0.0
        self.conditions = Conditions(clock, self._occupied(), fit.spread, drift, self.meter.read(), len(alive))
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
                float(np.median(processor)), candidate.agreement, self.conditions,
            )  # fmt: skip
