"""Options that several commands share, and the run options with their defaults."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from nastk.errors import InvalidValue

Space = Annotated[
    str, typer.Option("--space", metavar="S", help="Search space: a name (nastk list spaces) or file.py:Class.")
]
MANY = 1_000_000
"""Greatest number of architectures, images, seeds and the like. More is a slip of the keyboard and fills the memory."""
MOST_WORKERS = 1024
"""Greatest number of threads or processes. A system that is asked for millions comes to a halt."""


def count(name: str, help: str, least: int = 1, metavar: str = "N") -> Any:
    """An option that is a whole number from `least` to :data:`MANY`."""
    return typer.Option(name, metavar=metavar, min=least, max=MANY, help=help)


Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write tidy rows to this file.")]
LARGEST_SEED = 2**32 - 1
"""NumPy's generators, PyTorch and scikit-learn all take seeds up to this."""
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=LARGEST_SEED, help="Random seed.")]
RandomArchs = Annotated[int, count("--random", "Also N random architectures.", least=0)]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, max=MOST_WORKERS, help="Processes; by default one per core."),
]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=MOST_WORKERS, help="CPU threads of a measured network.")
]
Batch = Annotated[int, count("--batch", "Inputs per forward pass when measuring.")]
Runtime = Annotated[
    str, typer.Option("--runtime", metavar="NAME", help="What runs a measured network (nastk list runtimes).")
]
Precision = Annotated[
    str, typer.Option("--precision", metavar="P", help="fp32, fp16, bf16 or int8; fp32,int8 for both.")
]
Calibration = Annotated[
    str | None,
    typer.Option("--calibration", metavar="FILE.npy", help="Inputs that int8 is calibrated on; else random ones."),
]
Devices = Annotated[
    Path | None,
    typer.Option("--devices", metavar="FILE", help="Devices behind commands; else devices.toml here or in NASTK_HOME."),
]
DeviceCommand = Annotated[
    str | None,
    typer.Option("--device-command", metavar="'CMD ...'", help="One such device: a command with {onnx} and the like."),
]
LEAVE_OUT = "; --local-sources 0 leaves it out"
"""Behind what is going to be measured on this machine."""
LocalSources = Annotated[
    int | None,
    typer.Option(
        "--local-sources",
        metavar="N",
        min=0,
        max=MANY,
        help="Networks to measure on this machine first, as source devices; 0 for none.  [200 for another device and a "
        "space without shipped latencies of various devices, else 0]",
        show_default=False,
    ),
]
LocalSourcesTime = Annotated[
    str | None,
    typer.Option(
        "--local-sources-time",
        metavar="TIME",
        help="Time limit of these measurements, such as 90s or 5m.  [5m]",
        show_default=False,
    ),
]
Archs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ARCH]...", help="Architectures: text form, official index, or integers with commas."),
]
ArchsOption = Annotated[
    list[str] | None, typer.Option("--archs", metavar="ARCH...", help="The same as giving them as arguments.")
]

ArchsFile = Annotated[
    Path | None,
    typer.Option("--archs-file", metavar="FILE", help="Also the architectures of a CSV file, such as a front.csv."),
]


class Interrupted(Exception):
    """Ctrl-C, or another request to end, during a command that knows what it kept and how to go on.

    Args:
        message: says it.
        number: of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGINT):
        super().__init__(message)
        self.number = number


def keep_finished(json_file: Path | None, rows: list[dict[str, Any]], what: str = "draws") -> None:
    """Write what an interrupted comparison has finished, and say so; without a file nothing is kept.

    Raises:
        Interrupted: it was written.
    """
    from nastk.report.rows import write_json

    if json_file is not None:
        write_json(json_file, rows)
        raise Interrupted(f"interrupted; the finished {what} are in {json_file}")


class Ended(KeyboardInterrupt):
    """A request to end other than Ctrl-C, such as that of a queue whose time is over, or of a closed connection.

    It is handled as Ctrl-C is, and so passes whatever passes that.
    """

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def number_of(interrupt: KeyboardInterrupt) -> int:
    """The signal that asked for the end."""
    return interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT


def end_by(number: int) -> str:
    """What happened, in words."""
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"


ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a process without Python where nothing else is said."""


@contextlib.contextmanager
def ending_as_ctrl_c() -> Iterator[list[int]]:
    """Within it, SIGTERM and SIGHUP end a command as Ctrl-C does. All signals are as before in the end.

    Yields:
        The numbers of such signals so far: the command-line library knows no other end than Ctrl-C.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise Ended(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    for number in ENDING:
        if before[number] == signal.SIG_DFL:  # nohup ignores SIGHUP, and means it
            signal.signal(number, end)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore Ctrl-C and the like from now on: the command is ending, and says so in a moment."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *ENDING):
            signal.signal(number, signal.SIG_IGN)


def words(option: str, text: str) -> list[str]:
    """The names in a text like ``a,b,c``."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise InvalidValue(f"{option} {text!r}: write names separated by commas, such as a,b")
    return found


UNITS_OF_TIME = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Seconds in what may stand behind a number of ``--local-sources-time``."""


def seconds(option: str, text: str) -> float:
    """The seconds in a text like ``90``, ``90s``, ``5m`` or ``1.5h``."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smh]?)", text.strip(), re.ASCII)
    value = float(found[1]) * UNITS_OF_TIME[found[2]] if found else 0.0
    if value <= 0:
        raise InvalidValue(f"{option} {text!r}: write a time such as 90s, 5m or 1h")
    return value


def integers(option: str, text: str) -> list[int]:
    """The positive integers in a text like ``20,50``, ascending."""
    found = words(option, text)
    if not all(part.isascii() and part.isdigit() and len(part) < 10 and int(part) > 0 for part in found):
        raise InvalidValue(f"{option} {text!r}: write positive integers separated by commas, such as 20,50")
    return sorted({int(part) for part in found})
