"""Latency and peak memory of live networks, measured on a device of this machine."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from nastk.devices import describe_device
from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.runtimes._calibration import read_calibration
from nastk.runtimes.base import Runtime, runtime_class
from nastk.spaces.base import Archs, SearchSpace

ADJUSTED = 5
"""Least number of networks in a round whose times are divided by the round's speed. With fewer, the speed of a round
cannot be distinguished from that of its networks."""


@dataclass(frozen=True)
class Measurement:
    """Latency of one network.

    Args:
        median: ms a batch, over all timed runs.
        low, high: 95 % interval of the median, ms (order statistics of the rounds' medians).
        spread: standard deviation of a single run, ms, from the quartiles of all runs.
        repeats: number of timed runs.
        peak_memory: peak MB (10^6 bytes) of weights, input and live activations during one forward pass, as the runtime
            counts them (`Runtime.peak_memory`); NaN where it does not.
        seconds: duration of the measurement, building included.
    """

    median: float
    low: float
    high: float
    spread: float
    repeats: int
    peak_memory: float
    seconds: float


class Latency(Oracle):
    """Median latency (ms) of a network's forward pass on a device of this machine, an expensive oracle.

    Networks are measured round-robin: in each round each network is built, warmed up, timed run by run and freed. Other
    work on the machine slows runs down for seconds at a time, and memory layout differs from build to build; runs of
    several rounds average over both, so that few of them rank networks better than many runs in one go. A processor
    may also change its speed for minutes, for all networks alike: where at least `ADJUSTED` networks are measured
    together, each round's times are divided by that round's speed (:func:`round_speeds`), 1 for the median round.
    One run is timed by the runtime (`Runtime.timer`): with PyTorch the CPU by the wall clock, CUDA by events.

    A network that cannot be built or run, whatever its constructor or forward pass raises, gets NaN, and
    :attr:`reasons` says why, by its text; the others are measured.

    Args:
        space: whose networks to measure.
        device: "this" (the CPU), "cpu", or a torch device such as "cuda", "cuda:1", "mps".
        runtime: a name (``nastk list runtimes``) such as "torch" or "onnx", ``file.py:Class``, or a class that derives
            from :class:`nastk.runtimes.base.Runtime`.
        batch: images a run.
        threads: CPU threads.
        rounds: visits to each network; with fewer than six the interval rests on single runs.
        warmup: seconds, and at least two runs, before the timing of each round.
        min_repeats, max_repeats, max_seconds: limits of a network's timed runs, shared equally by the rounds.
        tolerance: a round ends early when half the interval of its median is below this share of the median.
        together: how many networks are measured together; an interruption loses them.
        progress: called with (done, total) once an architecture.
        precision: "fp32", or another one that the runtime has: "fp16", "bf16", "int8".
        calibration: inputs ``(n, ...)`` for int8's ranges of activations, as an array or the path of a .npy file; by
            default random ones.
        build_options: of `SearchSpace.build` (classes, input size).

    Raises:
        UnknownName: no such runtime.
        MissingExtra: what the runtime needs is not installed.
        InvalidValue: an option below its least value, or a device that does not exist or is none of the runtime's.
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
        warmup: float = 0.03,
        min_repeats: int = 12,
        max_repeats: int = 300,
        max_seconds: float = 0.6,
        tolerance: float = 0.01,
        together: int = 25,
        progress: Callable[[int, int], None] | None = None,
        precision: str = "fp32",
        calibration: Any = None,
        **build_options: Any,
    ):
        import torch

        least = {"batch": batch, "threads": threads, "rounds": rounds, "min_repeats": min_repeats, "together": together}
        for option, value in least.items():
            if value < 1:
                raise InvalidValue(f"latency: {option} is {value}, must be at least 1")
        if max_repeats < min_repeats:
            raise InvalidValue(f"latency: max_repeats is {max_repeats}, less than min_repeats, {min_repeats}")
        space.need_networks(self.name)
        self.space, self.device, self.runtime, self.batch, self.threads = space, device, runtime, batch, threads
        self.rounds, self.warmup, self.min_repeats, self.max_repeats = rounds, warmup, min_repeats, max_repeats
        self.max_seconds, self.tolerance, self.together, self.progress = max_seconds, tolerance, together, progress
        self.precision = precision
        self.calibration = str(calibration) if isinstance(calibration, (str, os.PathLike)) else calibration
        self.build_options = build_options
        self._runtime = runtime_class(runtime)(device, threads, precision, read_calibration(calibration))
        self.reasons: dict[str, str] = {}
        self.source = (
            f"measured on {describe_device(self._runtime.device)}, {self._runtime.label}, batch {batch}, "
            f"{threads} thread{'s' * (threads > 1)}"
        )
        torch.zeros(1, device=self._runtime.device)  # a device that does not work fails here, not at the first network

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
            np.array([(m.high - m.low) / 3.92 for m in found], dtype=np.float64),  # 2 x 1.96 standard deviations
            np.array([m.seconds for m in found], dtype=np.float64),
        )

    def measure(self, arch: Any) -> Measurement:
        """Measure one architecture (text, index or row).

        Raises:
            Exception: whatever the network raises while it is built or run.
        """
        candidate = _Candidate(self.space.as_archs(arch)[0])
        with self._runtime.running(), tempfile.TemporaryDirectory() as folder:
            for _ in range(self.rounds):
                self._visit(candidate, Path(folder) / f"network{self._runtime.suffix}")
        return candidate.measurement()

    def measure_many(self, archs: Any) -> list[Measurement]:
        """Measure architectures round-robin; one that fails gets NaN, no repeats, and an entry in :attr:`reasons`."""
        archs = self.space.as_archs(archs)
        found: list[Measurement] = []
        for start in range(0, len(archs), self.together):
            found += self._measure_together(archs[start : start + self.together], start, len(archs))
        return found

    def _measure_together(self, archs: Archs, before: int, total: int) -> list[Measurement]:
        candidates = [_Candidate(arch) for arch in archs]
        visits, reported = 0, 0
        with self._runtime.running(), tempfile.TemporaryDirectory() as folder:
            for _ in range(self.rounds):
                for i, candidate in enumerate(candidates):
                    try:
                        if not candidate.failed:
                            self._visit(candidate, Path(folder) / f"{i}{self._runtime.suffix}")
                    except NastkError:
                        raise
                    except (Exception, SystemExit) as error:  # the network's, or an operator that the runtime lacks
                        candidate.failed = True
                        self.reasons[self.space.format(candidate.arch)] = reason_of(error)
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
        """Build, warm up, time and free a network once; `exported` keeps a runtime's own form from round to round."""
        import torch

        from nastk.oracles._networks import build_network

        started, runtime = time.perf_counter(), self._runtime
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                shape = (self.batch, *self.space.input_shape(**self.build_options))
                tokens = self.space.vocabulary(**self.build_options)
                x = (torch.randn(shape) if tokens is None else torch.randint(tokens, shape)).to(runtime.device)
                model = None
                if not exported.exists():  # where the runtime runs the module itself, it never does
                    model = build_network(self.space, candidate.arch, **self.build_options)
                    model = model.eval().to(runtime.device)
            with torch.inference_mode():
                if runtime.reports_memory and model is not None and not candidate.rounds:
                    candidate.peak_memory = runtime.peak_memory(model, x)
                candidate.rounds.append(self._time(runtime.timer(runtime.prepare(model, x, exported))))
        finally:
            candidate.seconds += time.perf_counter() - started

    # ---- timing

    def _time(self, run: Callable[[], float]) -> Values:
        """Milliseconds of each timed run of one round."""
        least, most = -(-self.min_repeats // self.rounds), -(-self.max_repeats // self.rounds)
        collecting = gc.isenabled()
        gc.disable()  # a collection would take milliseconds of one run
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
                    if high - low <= 2 * self.tolerance * median:
                        break
            return np.array(times)
        finally:
            if collecting:
                gc.enable()


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
        spread = float(quartiles[1] - quartiles[0]) / 1.349  # interquartile range of a standard normal
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
