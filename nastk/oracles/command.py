"""Latency, energy and peak memory on a device that the user's own command reaches."""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data import units
from nastk.data.command_line import shown
from nastk.data.device_file import METRICS, NETWORK_FILES, CommandDevice, Metric, read_devices
from nastk.errors import InvalidValue, NastkError, UnknownName
from nastk.evaluation import reason_of
from nastk.oracles._answers import (
    NUMBER,
    call,
    last_line,
    last_number,
    last_object,
    reason,
    to_float,
    write_arch_json,
)  # fmt: skip
from nastk.oracles._network_files import NetworkFiles
from nastk.oracles.base import Evaluation, Oracle, Values
from nastk.spaces.base import Archs, SearchSpace

FEW_SHOT = ("latency", "energy")
"""Metrics that few-shot latency predictors learn: energy is nearly latency times a constant power."""

_UNIT = re.compile(r"\s*([a-zA-Zµμ]+)\b")
"""What may be a unit behind a number."""


@dataclass(frozen=True)
class Answer:
    """What the calls of a command for one network told.

    Args:
        values: by metric that each call answered, in nastk's units (ms, mJ, MB): one value a call.
        reasons: of the metrics without values, why.
        retried: how many calls were made again because one had failed.
        seconds: that it took, the network's files included.
    """

    values: Mapping[Metric, list[float]] = field(default_factory=dict)
    reasons: Mapping[Metric, str] = field(default_factory=dict)
    retried: int = 0
    seconds: float = 0.0

    def median(self, metric: Metric) -> float:
        """The value, in nastk's unit; NaN where there is none."""
        return float(np.median(self.values[metric])) if metric in self.values else math.nan

    def spread(self, metric: Metric) -> float:
        """Standard deviation of one call, in nastk's unit; NaN where there was but one."""
        values = self.values.get(metric, [])
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def std(self, metric: Metric) -> float:
        """Standard deviation of the calls' mean, in nastk's unit; NaN where there was but one."""
        return self.spread(metric) / math.sqrt(max(len(self.values.get(metric, ())), 1))

    @property
    def metrics(self) -> list[Metric]:
        """What the command is to answer, with a value or not."""
        return [metric for metric in METRICS if metric in self.values or metric in self.reasons]


class Command(Oracle):
    """One metric of networks on a device behind a command, an expensive oracle.

    The network is written to the files that the command asks for, once; the command is then called `repeats` times, and
    the value is the median of what it answers. A call that fails (an exit status other than 0, no number, NaN, a number
    that is not above 0), or that takes longer than `timeout`, is made again up to `retries` times; after that the
    network has failed, and :attr:`reasons` says why, with the command's last line.

    One call may answer several metrics, as a JSON object: the oracles of one device are then evaluated together (see
    :attr:`Oracle.call`).

    Args:
        space: whose networks to measure.
        device: as :class:`nastk.data.device_file.CommandDevice`, or its name in ``devices.toml``.
        metric: "latency" (ms), "energy" (mJ) or "memory" (peak MB, 10^6 bytes).
        threads: what the command is given as ``{threads}``.
        batch: inputs a run, which files are made for; the command is given it as ``{batch}``.
        progress: called with (done, total) once an architecture.
        devices: file in which a name is looked up; by default ``devices.toml`` in the current or the cache folder.
        build_options: of `SearchSpace.build` (classes, input size).

    Attributes:
        reasons: for architectures (as text) that failed, why.

    Raises:
        UnknownName: no such device.
        InvalidValue: the device is described wrongly, has no such program, does not measure the metric, or does not
            use `threads` or `batch`.
        MissingExtra: what a file of the network needs is not installed.
        Unsupported: the command needs a network, and the space builds none.
    """

    handles_retries = True

    def __init__(
        self,
        space: SearchSpace,
        device: CommandDevice | str,
        metric: Metric = "latency",
        threads: int = 1,
        batch: int = 1,
        progress: Callable[[int, int], None] | None = None,
        devices: str | os.PathLike[str] | None = None,
        **build_options: Any,
    ):
        if isinstance(device, str):
            device = _named_device(device, devices)
        if metric not in device.units:
            known = ", ".join(device.units)
            raise InvalidValue(
                f"device {device.name} measures {known}, not {metric}; where its command prints several, as a JSON "
                f'object, name their units: unit = {{ latency = "ms", {"energy" if metric == "latency" else metric} '
                f'= "{units.USUAL["energy" if metric == "latency" else metric]}" }}'
            )
        if threads < 1:
            raise InvalidValue(f"threads is {threads}, must be at least 1")
        if threads != 1 and "threads" not in device.uses:
            raise InvalidValue(f"the command of {device.name} does not use {{threads}}, so {threads} threads change it")
        if batch != 1 and not device.uses & {*NETWORK_FILES, "batch"}:
            raise InvalidValue(f"the command of {device.name} uses neither {{batch}} nor a file of the network")
        self.space, self.spec, self.device, self.name = space, device, device.name, metric
        self.exclusive, self.noisy = device.name, metric != "memory"
        self.metric, self.unit, self.few_shot = metric, units.USUAL[metric], metric in FEW_SHOT
        self.threads, self.batch, self.progress, self.build_options = threads, batch, progress, build_options
        self._program, self._of_device = device.program(), device.identity()
        self._files = NetworkFiles(space, [f for f in NETWORK_FILES if f in device.uses], batch, **build_options)
        self.reasons: dict[str, str] = {}
        asked = [f"batch {batch}"] if batch != 1 else []
        asked += [f"{threads} threads"] if threads != 1 else []
        calls = f"median of {device.repeats} calls" if device.repeats > 1 else "one call"
        self.source = f"measured on {device.name} by {shown(device.command)}, " + ", ".join([calls, *asked])

    def describe(self) -> dict[str, Any]:
        how = {"threads": self.threads, "batch": self.batch, **self.build_options}
        return {
            "oracle": "command",
            "metric": self.metric,
            "device": self.device,
            "command": self.spec.to_dict(),
            **how,
        }

    def identity(self) -> dict[str, Any]:
        return {"oracle": "command", "metric": self.metric, "device": self.device, **self.call}

    @property
    def call(self) -> dict[str, Any]:
        """All that a call depends on: oracles of which it is equal get their values from the same calls."""
        how = {"threads": self.threads, "batch": self.batch, "build": repr(self.build_options)}
        return {**self._of_device, **how}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.metric} has no fidelities")
        answers = self.measure_many(archs)
        cost = np.array([a.seconds for a in answers], dtype=np.float64)
        attempts = np.array([a.retried + 1 for a in answers], dtype=np.int64)

        def of(metric: Metric) -> tuple[Values, Values]:
            values, stds = [a.median(metric) for a in answers], [a.std(metric) for a in answers]
            return np.array(values, dtype=np.float64), np.array(stds, dtype=np.float64)

        free = np.zeros(len(answers))  # the calls are paid for once
        others: dict[str, Evaluation] = {
            m: Evaluation(*of(m), free, attempts) for m in self.spec.units if m != self.metric
        }
        return Evaluation(*of(self.metric), cost, attempts, others)

    def measure_many(self, archs: Any) -> list[Answer]:
        """What the command answers for architectures, one after another; a network that fails has no values."""
        archs = self.space.as_archs(archs)
        found = []
        for arch in archs:
            answer = self.measure(arch)
            text = self.space.format(arch)
            self.reasons.pop(text, None)
            if self.metric in answer.reasons:
                self.reasons[text] = answer.reasons[self.metric]
            found.append(answer)
            if self.progress:
                self.progress(len(found), len(archs))
        return found

    def measure(self, arch: Any) -> Answer:
        """What the command answers for one architecture (text, index or row)."""
        started = time.perf_counter()
        row = self.space.as_archs(arch)[0]
        try:
            with tempfile.TemporaryDirectory(prefix="nastk-", ignore_cleanup_errors=True) as folder:
                answer = self._measure_in(Path(folder), row)
        except NastkError:
            raise
        except (Exception, SystemExit) as error:  # the network's, or an operator that its format lacks
            answer = Answer(reasons=dict.fromkeys(self.spec.units, reason_of(error)))
        return Answer(answer.values, answer.reasons, answer.retried, time.perf_counter() - started)

    def _measure_in(self, folder: Path, arch: Archs) -> Answer:
        values = {name: str(file) for name, file in self._files.write(arch, folder, "network").items()}
        values |= {"arch": self.space.format(arch), "threads": str(self.threads), "batch": str(self.batch)}
        if "arch_json" in self.spec.uses:
            values["arch_json"] = write_arch_json(self.space, arch, folder)
        out = folder / "out"
        arguments = [self._program, *self.spec.words({**values, "out": str(out)})]
        told: dict[Metric, list[float]] = {}
        lacking: dict[Metric, str] = {}
        retried = 0
        for _ in range(self.spec.repeats):
            answer, reasons = self._call(arguments, out)
            for _ in range(self.spec.retries):
                if self.metric in answer:
                    break
                retried += 1
                answer, reasons = self._call(arguments, out)
            if self.metric not in answer:
                return Answer(reasons=reasons, retried=retried)
            lacking |= reasons
            for metric, value in answer.items():
                told.setdefault(metric, []).append(value)
        return Answer({m: v for m, v in told.items() if m not in lacking}, lacking, retried)

    def _call(self, arguments: list[str], out: Path) -> tuple[dict[Metric, float], dict[Metric, str]]:
        """One call: values in nastk's units, and for each metric without one the reason."""
        reply = call(arguments, self.spec.folder, self.spec.timeout, out if "out" in self.spec.uses else None)
        said = reply.output or reply.errors
        if reply.text is None:
            return {}, dict.fromkeys(self.spec.units, reason(reply.why, said))
        answer, reasons = self._read(reply.text)
        return answer, {metric: reason(why, last_line(reply.text) or said) for metric, why in reasons.items()}

    def _read(self, text: str) -> tuple[dict[Metric, float], dict[Metric, str]]:
        """Values of what a successful call told, and why a metric has none."""
        content = last_object(text)
        values: dict[Metric, float] = {}
        reasons: dict[Metric, str] = {}
        if content is None and text.rstrip().endswith("}"):  # the last number in it may be anything
            return {}, dict.fromkeys(self.spec.units, "the command's answer is no valid JSON")
        for metric, unit in self.spec.units.items():
            try:
                number = _last_number(metric, unit, text, len(self.spec.units)) if content is None else None
                values[metric] = _value(metric, unit, content[metric] if content is not None else number)
            except KeyError:
                known = ", ".join(map(str, content or ())) or "nothing"
                reasons[metric] = f"the command's answer has no {metric}, only {known}"
            except ValueError as error:
                reasons[metric] = str(error)
        return values, reasons


def _named_device(name: str, file: str | os.PathLike[str] | None) -> CommandDevice:
    devices = read_devices(file)
    if name not in devices:
        raise UnknownName("device of devices.toml:", name, devices)
    return devices[name]


# ---- what a command answers


def _last_number(metric: Metric, unit: str, text: str, metrics: int) -> float:
    """The last number in a text, or on its line the last with the device's unit: "8.3 ms (30 runs)" is 8.3.

    Raises:
        ValueError: there is none, it may be read in two ways, or another unit stands behind a number of its line.
    """
    if metrics > 1:
        raise ValueError(f"the command printed no JSON object with {metric}")
    match = last_number(text)
    start = max(text.rfind(end, 0, match.start()) for end in "\n\r") + 1
    for number in NUMBER.finditer(text, start):
        behind = _UNIT.match(text, number.end())
        said = None if behind is None else units.factor(metric, behind[1])
        if behind is None or said is None:
            continue
        if said != units.factor(metric, unit):
            line = last_line(text[start:].splitlines()[0])
            where = "" if line == last_line(text) else f", in the line {line!r}"
            raise ValueError(f"the command printed {number[1]} {behind[1]}, and the device's unit is {unit}{where}")
        match = number
    return to_float(match)


def _value(metric: Metric, unit: str, number: Any) -> float:
    """A number that the command told, in nastk's unit.

    Raises:
        ValueError: it is no number above 0.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(f"the command's {metric} is {str(number)[:60]!r}, not a number")
    scale = units.factor(metric, unit)
    assert scale is not None
    try:
        value = float(number) * scale
    except OverflowError:
        value = math.inf
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"the command's {metric} is {str(number)[:60]}, which no {metric} can be")
    return value
