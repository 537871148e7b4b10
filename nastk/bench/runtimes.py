"""Runtimes side by side on this machine: what it can measure, and latency and outputs of the same networks in each."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data.device_file import list_devices
from nastk.devices import device_kind, local_devices, torch_device
from nastk.errors import InvalidValue, NastkError, Unsupported
from nastk.evaluation import reason_of
from nastk.metrics import spearman
from nastk.oracles._machine import ThreadClock
from nastk.oracles._on_runtime import example
from nastk.oracles._timing import BUSY, median_interval
from nastk.registry import RUNTIMES
from nastk.runtimes._agreement import LEAST_COSINE, Agreement, agreement
from nastk.runtimes._calibration import read_calibration
from nastk.runtimes._onnx_export import sharing_exports
from nastk.runtimes.base import Run, Runtime, first_of, make_runtime, runtime_class
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import PRECISIONS

ROUNDS = 6
"""Times that each runtime gets its turn: the fewest whose medians have a 95 % interval."""
REFERENCE = ("torch", "fp32")
"""Runtime and precision that the others' latencies are compared with."""

Rows = list[dict[str, Any]]


# ---- what this machine can measure


def measurable(devices: Sequence[str] | None = None) -> Rows:
    """Devices of this machine x runtimes x precisions.

    Args:
        devices: names to look at; by default all of this machine (`nastk.devices.local_devices`).

    Returns:
        One row for each: ``device``, ``runtime``, ``precision``, ``available``, and the ``reason`` where it is not: the
        extra that is missing, or what the machine lacks.
    """
    rows: Rows = []
    for device in local_devices() if devices is None else devices:
        for name in RUNTIMES.names():
            for precision, reason in _reasons(name, device).items():
                rows.append(
                    {
                        "device": device,
                        "runtime": name,
                        "precision": precision,
                        "available": not reason,
                        "reason": reason,
                    }
                )
    return rows


def behind_commands(file: str | os.PathLike[str] | None = None) -> Rows:
    """The user's own devices, in rows as of :func:`measurable` with their ``command``; the runtime is the command's.

    Raises:
        InvalidValue: see :func:`nastk.data.device_file.read_devices`.
    """
    return [
        {
            "device": device["name"],
            "runtime": "",
            "precision": "",
            "available": not device["problem"],
            "reason": device["problem"],
            "command": device["command"],
        }
        for device in list_devices(file)
    ]


def _reasons(name: str, device: str) -> dict[str, str]:
    """Why each precision of a runtime cannot be measured on a device; empty where it can."""
    try:
        cls = runtime_class(name)
    except Exception as error:  # another package's, which fails to be imported
        return {"fp32": reason_of(error)}
    if device_kind(device) not in cls.devices:
        return {}
    found = {}
    for precision in cls.precisions:
        try:
            make_runtime(cls, device, 1, precision, None)
            found[precision] = ""
        except NastkError as error:
            found[precision] = str(error)
        except Exception as error:
            found[precision] = reason_of(error)
    return found


def by_runtime(rows: Rows) -> Rows:
    """Rows of :func:`measurable`, one for each device and runtime: precisions that it has here, and what is lacking."""
    found: Rows = []
    for device, name in dict.fromkeys((row["device"], row["runtime"]) for row in rows):
        own = [row for row in rows if (row["device"], row["runtime"]) == (device, name)]
        reasons: dict[str, list[str]] = {}
        for row in own:
            if row["reason"]:
                reasons.setdefault(row["reason"], []).append(row["precision"])
        usable = [row["precision"] for row in own if row["available"]]
        lacking = [f"{', '.join(precisions)}: {reason}" if usable else reason for reason, precisions in reasons.items()]
        found.append(
            {"device": device, "runtime": name, "precisions": ", ".join(usable), "not available": "; ".join(lacking)}
        )
    return found


# ---- the same networks in each


@dataclass(frozen=True)
class Setting:
    """A runtime in one precision."""

    runtime: str
    precision: str


def settings(runtimes: Sequence[str] | None, precisions: Sequence[str] | None, device: str = "this") -> list[Setting]:
    """Runtimes and precisions that can be measured on a device, the reference first.

    Args:
        runtimes: registered names or ``file.py:Class``; by default all that can be measured.
        precisions: by default all that each of the runtimes has here.

    Raises:
        UnknownName: no such runtime.
        InvalidValue: no such precision or device, or nothing is left.
        NastkError: this machine has no such device.
        MissingExtra: of a runtime that was asked for.
        Unsupported: the machine lacks a precision that was asked for, and that a runtime which was asked for declares.
    """
    for precision in precisions or ():
        if precision not in PRECISIONS:
            raise InvalidValue(f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}")
    torch_device(device)
    found = []
    for name in dict.fromkeys(RUNTIMES.names() if runtimes is None else runtimes):
        cls = runtime_class(name)
        for precision in cls.precisions:
            if precisions is not None and precision not in precisions:
                continue
            try:
                make_runtime(cls, device, 1, precision, None)
            except NastkError as error:
                if runtimes is None or (precisions is None and isinstance(error, Unsupported)):
                    continue
                raise
            found.append(Setting(name, precision))
    if not found:
        asked = [" or ".join(names) for names in (runtimes, precisions) if names]
        raise InvalidValue(f"nothing can be measured on {device} with {' in '.join(asked)}; see: nastk device list")
    return sorted(found, key=lambda one: (one.runtime, one.precision) != REFERENCE)


def seconds_to_prepare(chosen: Sequence[Setting], networks: int) -> float:
    """Roughly what making the networks ready takes, on one thread."""
    return networks * sum(runtime_class(one.runtime).seconds_to_prepare for one in chosen)


def compare(
    space: SearchSpace,
    archs: Archs,
    chosen: Sequence[Setting],
    device: str = "this",
    threads: int = 1,
    batch: int = 1,
    calibration: Any = None,
    seconds: float = 0.6,
    progress: Callable[[], None] = lambda: None,
    **build_options: Any,
) -> Iterator[Rows]:
    """Run each network in each setting, on the same weights and inputs.

    A network is exported once, compared with PyTorch's output in float32, and timed: all settings take turns,
    :data:`ROUNDS` times, so that other work on the machine meets them alike. Where it took their processor, the
    latencies are processor time (one CPU thread, Linux), else wall time. Outputs in float32 that differ by more
    than :data:`nastk.runtimes._agreement.TOLERANCE` are a failure.

    Args:
        archs: rows ``(n, d)``.
        chosen: of :func:`settings`.
        calibration: inputs for int8, as of `nastk.oracles.Latency`.
        seconds: that a setting is timed for, all rounds together.
        progress: called after each network and setting.
        build_options: of `SearchSpace.build`.

    Yields:
        The rows of one network, one for each setting: ``arch``, ``runtime``, ``precision``; ``ms`` with its 95 %
        interval ``low``, ``high``; ``difference`` (the greatest, as a share of the greatest output), ``cosine`` (the
        least), ``first class`` (share of examples with the same one), ``examples``; ``file MB`` and ``peak MB`` (10^6
        bytes), NaN where there is none; ``seconds`` to make it ready, in the first setting that needs it with the
        export to ONNX; ``reason`` where it failed, else empty; ``clock``: "wall" or "processor".

    Raises:
        Unsupported: the space builds no networks.
        InvalidValue: of the options.
    """
    space.need_networks("device test")
    values = read_calibration(calibration)
    made = [
        make_runtime(
            runtime_class(one.runtime), device, threads, one.precision, values if one.precision == "int8" else None
        )
        for one in chosen
    ]
    settled: set[str] = set()
    for arch in archs:
        trials = [_Trial(runtime) for runtime in made]
        _run(space, arch, trials, batch, seconds / ROUNDS, settled, progress, build_options, values)
        text, clock = space.format(arch), _clock(trials)
        yield [
            {
                "arch": text,
                "runtime": one.runtime,
                "precision": one.precision,
                **trial.row(clock),
                "clock": ("wall", "processor")[clock],
            }
            for one, trial in zip(chosen, trials, strict=True)
        ]


@dataclass
class _Trial:
    """One network in one setting."""

    runtime: Runtime
    run: Run | None = None
    agreement: Agreement | None = None
    clock: ThreadClock = field(default_factory=ThreadClock)
    rounds: list[np.ndarray] = field(default_factory=list)
    """Milliseconds ``(runs, 2)`` of each round: by the wall clock, and of the processor (NaN where it is not known)."""
    file_mb: float = float("nan")
    peak_mb: float = float("nan")
    seconds: float = 0.0
    reason: str = ""

    def fail(self, reason: str) -> None:
        self.reason, self.run, self.rounds = reason, None, []

    def row(self, clock: int) -> dict[str, Any]:
        nan = float("nan")
        medians = np.array([np.median(times[:, clock]) for times in self.rounds] or [nan])
        low, high = median_interval(medians)
        found = self.agreement or Agreement(nan, nan, nan, 0)
        return {
            "ms": float(np.median(medians)),
            "low": low,
            "high": high,
            "difference": found.difference,
            "cosine": found.cosine,
            "first class": found.first_class,
            "examples": found.examples,
            "file MB": self.file_mb,
            "peak MB": self.peak_mb,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def _run(
    space: SearchSpace,
    arch: Archs,
    trials: Sequence[_Trial],
    batch: int,
    seconds: float,
    settled: set[str],
    progress: Callable[[], None],
    build_options: dict[str, Any],
    shown: Any = None,
) -> None:
    import torch

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(sharing_exports())
        try:
            with torch.inference_mode(False):
                network, inputs = example(
                    space, arch, batch, trials[0].runtime.device, compared=True, inputs_of_user=shown, **build_options
                )
            if shown is not None and shown.shape[1:] == inputs.shape[1:] and len(shown) >= len(inputs):
                inputs = shown[: len(inputs)].to(inputs)  # as they are where the network is used
            with trials[0].runtime.running():
                expected = network(inputs)
            expected = first_of(expected).cpu()
        except NastkError:
            raise
        except (Exception, SystemExit) as error:  # the network's own
            for trial in trials:
                trial.fail(reason_of(error))
                progress()
            return
        for number, trial in enumerate(trials):
            with _failing(trial), trial.runtime.running():
                file = Path(folder) / f"{number}{trial.runtime.suffix}"
                _prepare(trial, network, inputs, expected, file)
            progress()
        for _ in range(ROUNDS):
            for trial in trials:
                if trial.run is not None:
                    with _failing(trial), trial.runtime.running():
                        if trial.runtime.name not in settled:
                            trial.runtime.settle()
                            settled.add(trial.runtime.name)
                        trial.rounds.append(_time(trial, seconds))
        for trial in trials:
            trial.run = None  # before the folder of its file goes


class _failing:
    """Within it whatever a network or a runtime raises fails the trial; what nastk raises on purpose ends the test."""

    def __init__(self, trial: _Trial):
        self.trial = trial

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None or isinstance(error, NastkError) or not isinstance(error, (Exception, SystemExit)):
            return False
        self.trial.fail(str(error) if type(error) is RuntimeError and "\n" not in str(error) else reason_of(error))
        return True


def _prepare(trial: _Trial, network: Any, inputs: Any, expected: Any, file: Path) -> None:
    runtime, begun = trial.runtime, time.perf_counter()
    with trial.clock.watching():
        run = runtime.prepare(network, inputs, file)
        trial.seconds = time.perf_counter() - begun
        found = agreement(expected, runtime.output(run()))
    trial.agreement = found
    found.check(runtime.precision, runtime.label)
    if runtime.suffix:
        parts = file.parent.glob(f"{file.stem}.*")
        trial.file_mb = sum(part.stat().st_size for part in parts) / 1e6
    if runtime.reports_memory:
        trial.peak_mb = runtime.peak_memory(network, inputs)
    trial.run = run


def _time(trial: _Trial, seconds: float) -> np.ndarray:
    """Milliseconds ``(runs, 2)`` of at least three runs, after two that warm up."""
    assert trial.run is not None
    runtime, timed = trial.runtime, trial.runtime.timer(trial.run)
    known = runtime.device.type == "cpu" and runtime.threads == 1 and trial.clock.available
    for _ in range(2):
        timed()
    begun, times = time.perf_counter(), list[tuple[float, float]]()
    while len(times) < 3 or (time.perf_counter() - begun < seconds and len(times) < 50):
        before = trial.clock.processor_ns() if known else 0
        wall = timed()
        times.append((wall, (trial.clock.processor_ns() - before) / 1e6 if known else float("nan")))
    return np.array(times)


def _clock(trials: Sequence[_Trial]) -> int:
    """Column of the clock to go by: processor time where other work had the processor, else wall time."""
    rounds = [times for trial in trials for times in trial.rounds]
    if not rounds:
        return 0
    wall, processor = np.concatenate(rounds).sum(axis=0)
    return int(wall > BUSY * processor)


# ---- over all networks


def summary(rows: Rows) -> Rows:
    """Rows of :func:`compare`, all networks of a runtime and precision in one.

    ``spearman`` is between its latencies and those of :data:`REFERENCE`, over the networks that both ran; NaN for fewer
    than three. ``low cosine`` counts those below :data:`nastk.runtimes._agreement.LEAST_COSINE`.
    """
    reference = {row["arch"]: row["ms"] for row in rows if (row["runtime"], row["precision"]) == REFERENCE}
    found: Rows = []
    for runtime, precision in dict.fromkeys((row["runtime"], row["precision"]) for row in rows):
        own = [row for row in rows if (row["runtime"], row["precision"]) == (runtime, precision)]
        ran = [row for row in own if not row["reason"]]
        examples = sum(row["examples"] for row in ran)
        same = sum(row["first class"] * row["examples"] for row in ran)
        found.append(
            {
                "runtime": runtime,
                "precision": precision,
                "ran": f"{len(ran)} of {len(own)}",
                "worst difference": max((row["difference"] for row in ran), default=float("nan")),
                "least cosine": min((row["cosine"] for row in ran), default=float("nan")),
                "low cosine": sum(row["cosine"] < LEAST_COSINE for row in ran),
                "first class": same / examples if examples else float("nan"),
                "median ms": _median(ran, "ms"),
                "spearman": _spearman(reference, ran),
                "file MB": _median(ran, "file MB"),
                "peak MB": _median(ran, "peak MB"),
                "seconds": _median(ran, "seconds"),
            }
        )
    return found


def _median(rows: Rows, column: str) -> float:
    values = np.array([row[column] for row in rows], dtype=float)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def _spearman(reference: dict[str, float], ran: Rows) -> float:
    both = [(reference[row["arch"]], row["ms"]) for row in ran if row["arch"] in reference]
    both = [pair for pair in both if np.isfinite(pair).all()]
    return spearman(*map(np.array, zip(*both, strict=True))) if len(both) > 2 else float("nan")


def failures(rows: Rows) -> Rows:
    """How many networks failed, by runtime, precision and reason (which names the operator), most first."""
    counts = Counter((row["runtime"], row["precision"], row["reason"]) for row in rows if row["reason"])
    return [
        {"runtime": runtime, "precision": precision, "networks": n, "reason": reason}
        for (runtime, precision, reason), n in counts.most_common()
    ]
