"""Programs of other packages on a .tflite file, each in a process of its own: on a broken file some of them crash."""

from __future__ import annotations

import csv
import importlib.util
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nastk.errors import NastkError, not_installed

TIMEOUT = 600
"""Seconds after which a program is ended."""

LARGEST_ARENA = 2**28
"""Bytes that tflite-micro gets to plan in: more than a microcontroller has. Those that it does not use cost nothing."""

_INTERPRET = """
import sys, numpy
from tflite_micro.python.tflite_micro import runtime
content = open(sys.argv[1], "rb").read()
model = runtime.convert_bytearray_to_object(content)
if any(buffer.offset for buffer in model.buffers):  # they would be taken for activations, without a word
    sys.exit("it does not read weights that lie behind the flatbuffer; write them inside of it")
inputs = model.subgraphs[0].inputs
interpreter = runtime.Interpreter.from_bytes(content, arena_size=int(sys.argv[2]))
for index in range(len(inputs)):
    details = interpreter.get_input_details(index)
    interpreter.set_input(numpy.zeros(details["shape"], details["dtype"]), index)
interpreter.invoke()
interpreter.print_allocations()
"""

_START = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2]))
"""

_ALLOCATED = r"\[RecordingMicroAllocator\] Arena allocation {} (\d+) bytes"
_LACKING = re.compile(r"Didn't find op for (?:builtin|custom) opcode '([^']*)'")
_ON_CPU = re.compile(r"^Warning \(supported operators\) operator: (\S+), ofm: .*\n(?:Reason: )?(.*)", re.MULTILINE)
_COUNTS = re.compile(r"^CPU operators = (\d+) .*(?:\n   .*)*\nNPU operators = (\d+) ", re.MULTILINE)


@dataclass(frozen=True)
class Arena:
    """What tflite-micro's recording allocator found; bytes.

    Args:
        needed: the smallest arena in which it starts and runs, to 16 bytes. As a rule that is head and tail together;
            for very small networks, planning the memory takes more for a moment.
        head: activations and scratch, whose memory is used again and again.
        tail: what stays: the interpreter's own structures and the operators' constants.
    """

    needed: int
    head: int
    tail: int


@dataclass(frozen=True)
class Compiled:
    """What Vela says of a network that it compiled for an Ethos-U.

    Args:
        accelerator, system, memory: accelerator, system and memory mode that it assumed.
        sram, flash: bytes.
        cycles: of the accelerator, those that wait for memory included; an estimate.
        milliseconds: the same at the system's clock.
        npu_operators, cpu_operators: how many run where; those on the CPU are in none of the other numbers.
        reasons: of operators that fall to the CPU, the operator's name (its activation's, where that is fused) and why.
    """

    accelerator: str
    system: str
    memory: str
    sram: int
    flash: int
    cycles: int
    milliseconds: float
    npu_operators: int
    cpu_operators: int
    reasons: tuple[tuple[str, str], ...]

    def on_npu(self) -> tuple[int, int] | tuple[None, None]:
        """Bytes of SRAM and cycles of the whole network; None where operators fall to the CPU and would look free."""
        return (None, None) if self.cpu_operators else (self.sram, self.cycles)


def arena_of(file: Path, size: int = LARGEST_ARENA) -> Arena:
    """The arena that tflite-micro needs for a .tflite file: it plans, runs the network once on zeros, and counts; then
    it is started in smaller arenas.

    Args:
        size: bytes that there are at first.

    Raises:
        RuntimeError: it cannot run the network; the message names the operator that it lacks.
        MissingExtra: it is not installed.
        NastkError: its answer cannot be read, or takes too long.
    """
    _need("tflite_micro")
    done = _run([sys.executable, "-c", _INTERPRET, str(file.resolve()), str(size)], "tflite-micro")
    if done.returncode:
        lacking = sorted(set(_LACKING.findall(done.stderr)))
        raise RuntimeError(
            f"tflite-micro has no operator {', '.join(lacking)}" if lacking else f"tflite-micro: {_last(done)}"
        )
    found = []
    for part in ("total", "head", "tail"):
        answers = re.findall(_ALLOCATED.format(part), done.stderr)
        if len(answers) != 1:
            raise NastkError(f"tflite-micro's answer has no arena {part} that can be read; it ends: {_last(done)}")
        found.append(int(answers[0]))
    total, head, tail = found
    if total != head + tail:
        raise NastkError(f"tflite-micro's answer cannot be right: {head} and {tail} bytes are not {total}")
    return Arena(_least(file, total), head, tail)


def _least(file: Path, used: int) -> int:
    """The smallest arena in which tflite-micro starts, of at least the bytes that running takes.

    Each is tried in a process of its own: in one that is too small it may crash.

    Raises:
        NastkError: it starts in none.
    """

    def starts(size: int) -> bool:
        command = [sys.executable, "-c", _START, str(file.resolve()), str(size)]
        return _run(command, "tflite-micro").returncode == 0

    size = -(-used // 16) * 16
    less, step = size - 16, 64
    while not starts(size):
        less, size, step = size, size + step, 2 * step
        if size > LARGEST_ARENA:
            raise NastkError("tflite-micro does not start again")
    while size - less > 16:
        middle = (less + size) // 32 * 16
        less, size = (less, middle) if starts(middle) else (middle, size)
    return size


def compile_with_vela(file: Path, accelerator: str) -> Compiled:
    """Compile a .tflite file for an Ethos-U, and read what Vela says of it.

    Args:
        accelerator: such as "ethos-u55-128"; the system and memory mode are Vela's defaults for it.

    Raises:
        RuntimeError: it cannot compile the network.
        MissingExtra: it is not installed.
        NastkError: its answer cannot be read, or takes too long.
    """
    _need("ethosu.vela")
    options = ["--accelerator-config", accelerator, "--show-cpu-operations"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ethosu.vela", str(file.resolve()), *options, "--output-dir", folder]
        done = _run(command, "Vela", folder)
        if done.returncode:
            raise RuntimeError(f"Vela: {_last(done)}")
        tables = list(Path(folder).glob("*_summary_*.csv"))
        rows = list(csv.DictReader(tables[0].open(encoding="utf-8", newline=""))) if len(tables) == 1 else []
    counts = _COUNTS.search(done.stdout)
    if len(rows) != 1 or counts is None:
        raise NastkError(f"Vela's answer cannot be read: no summary of one network; it ends: {_last(done)}")
    cpu, npu = int(counts[1]), int(counts[2])
    row = rows[0]
    try:
        flash = _number(row, "on_chip_flash_memory_used") + _number(row, "off_chip_flash_memory_used")
        return Compiled(
            row["accelerator_configuration"], row["system_config"], row["memory_mode"],
            round(1024 * _number(row, "sram_memory_used")), round(1024 * flash),
            round(_number(row, "cycles_total")), 1000 * _number(row, "inference_time"), npu, cpu,
            tuple((operator, reason.strip()) for operator, reason in _ON_CPU.findall(done.stdout + done.stderr)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise NastkError(f"Vela's summary cannot be read: {type(error).__name__}: {error}") from error


def _number(row: dict[str, str], column: str) -> float:
    value = float(row[column])
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{column} is {row[column]}")
    return value


def _need(module: str) -> None:
    """Refuse a missing package without importing it into this process."""
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise not_installed(f"this needs {module.partition('.')[0]}", "mcu")


def _run(command: list[str], program: str, folder: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, cwd=folder)
    except subprocess.TimeoutExpired:
        raise NastkError(f"{program} did not end within {TIMEOUT} s") from None


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program printed, or the signal that ended it."""
    if done.returncode < 0:
        return f"it crashed (signal {-done.returncode}): is the file whole?"
    lines = [line.strip() for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
    return lines[-1] if lines else "nothing"
