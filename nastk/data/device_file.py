"""Devices behind a command, as a user describes them: the file ``devices.toml``, or one command line.

::

    [phone]
    command = ["./on_phone.sh", "{onnx}", "--threads", "{threads}"]
    unit = "us"

:class:`nastk.oracles.Command` measures with them.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from nastk.data import units
from nastk.data.command_line import NETWORK_FILES, CommandLine
from nastk.data.fetch import default_home
from nastk.devices import is_live
from nastk.errors import InvalidValue, UnknownName

FILE = "devices.toml"
"""Name of the file, in the current folder or else in the cache folder (``NASTK_HOME``)."""

Metric = Literal["latency", "energy", "memory"]
"""What a command can measure."""
METRICS: tuple[Metric, ...] = get_args(Metric)

PLACEHOLDERS = (*NETWORK_FILES, "arch", "arch_json", "threads", "batch", "out")
"""Everything that may stand in braces."""

_NAME = re.compile(r"[\w.-]+")
"""What objectives such as ``latency:phone`` can name."""


@dataclass(frozen=True)
class CommandDevice:
    """A device that a command reaches: a phone, a board, another machine.

    Args:
        name: of the device, in objectives and results.
        command: the program and its arguments, with placeholders in braces (:data:`PLACEHOLDERS`). It is started
            directly, never by a shell.
        unit: of the last number that it prints ("us", "mJ", "MB"), or by metric where it prints a JSON object
            (``{"latency": "us", "energy": "mJ"}``).
        repeats: how often the command is called for each network.
        timeout: seconds after which a call is given up, and all its processes are ended.
        retries: how often a call that failed is made again.
        folder: where the command runs, and what relative paths in it begin at; by default the current folder.

    Raises:
        InvalidValue: a value that cannot be used; the message names the device.
        UnknownName: a placeholder that does not exist.
    """

    name: str
    command: tuple[str, ...]
    unit: str | Mapping[str, str] = "ms"
    repeats: int = 3
    timeout: float = 120.0
    retries: int = 2
    folder: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidValue(f"{self.name!r} cannot be a device's name: use letters, digits, _, . and -")
        if is_live(self.name):
            raise InvalidValue(f"a device cannot be called {self.name!r}, which is this machine's; give another name")
        CommandLine.check(self.command, f"device {self.name}")
        for name, value, least in (("repeats", self.repeats, 1), ("retries", self.retries, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise self._wrong(f"{name} is a whole number of at least {least}; got {value!r}")
        number = isinstance(self.timeout, (int, float)) and not isinstance(self.timeout, bool)
        if not number or not 0 < self.timeout < math.inf:
            raise self._wrong(f"timeout is a number of seconds above 0; got {self.timeout!r}")
        object.__setattr__(self, "command", tuple(self.command))
        object.__setattr__(self, "folder", os.path.abspath(self.folder))
        _ = self.line, self.units

    def __hash__(self) -> int:  # the dataclass's own would need a unit that is no dictionary
        return hash((self.name, self.command, self.folder))

    def _wrong(self, what: str) -> InvalidValue:
        return InvalidValue(f"device {self.name}: {what}")

    @cached_property
    def line(self) -> CommandLine:
        """The command."""
        return CommandLine(self.command, self.folder, f"device {self.name}", "measures", PLACEHOLDERS)

    @property
    def uses(self) -> frozenset[str]:
        """The placeholders of the command."""
        return self.line.uses

    @cached_property
    def units(self) -> dict[Metric, str]:
        """The unit of each metric that the command answers."""
        if isinstance(self.unit, str):
            found = [metric for metric in METRICS if units.factor(metric, self.unit) is not None]
            if not found:
                raise self._wrong(f"unit {self.unit!r} is none of time, energy or memory, such as us, mJ or MB")
            return {found[0]: self.unit}
        if not isinstance(self.unit, Mapping) or not self.unit:
            raise self._wrong(f'unit is a text such as "us", or a table by metric; got {self.unit!r}')
        found_units: dict[Metric, str] = {}
        for metric in self.unit:
            if metric not in METRICS:
                raise self._wrong(f"unit: a command can measure {', '.join(METRICS)}; got {metric!r}")
        for metric in METRICS:  # in this order, so that the order in a file makes no other device
            if (unit := self.unit.get(metric)) is None:
                continue
            if not isinstance(unit, str) or units.factor(metric, unit) is None:
                known = ", ".join(units.FACTORS[metric])
                raise self._wrong(f"{unit!r} is no unit of {metric}; known: {known}")
            found_units[metric] = unit
        return found_units

    def words(self, values: Mapping[str, str]) -> list[str]:
        """The arguments of the command, program excluded, with placeholders replaced by `values`."""
        return self.line.arguments(values)

    def program(self) -> str:
        """The program's path.

        Raises:
            InvalidValue: there is no such program, or it cannot be executed.
        """
        return self.line.program()

    def identity(self) -> dict[str, Any]:
        """What tells its values from another device's, JSON-able: command (:meth:`CommandLine.identity`), units and
        repeats, not the name."""
        return {**self.line.identity(), "unit": dict(self.units), "repeats": self.repeats}

    def to_dict(self) -> dict[str, Any]:
        """Its arguments, JSON-able."""
        unit = self.unit if isinstance(self.unit, str) else dict(self.unit)
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "command": list(self.command), "unit": unit}

    @classmethod
    def from_line(cls, name: str, line: str) -> CommandDevice:
        """The device of one command line, split into words as a shell would, with the defaults for everything else.

        Raises:
            InvalidValue: a quote is not closed, or see :class:`CommandDevice`.
        """
        return cls(name, CommandLine.split(line, "--device-command"))


def read_devices(file: str | os.PathLike[str] | None = None) -> dict[str, CommandDevice]:
    """The user's devices by name; none where there is no file.

    Args:
        file: which; by default :data:`FILE` in the current folder, else in the cache folder.

    Raises:
        InvalidValue: the file cannot be read, or is wrong; the message has file and device.
    """
    path = _find_file() if file is None else Path(file)
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValue(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"{path} is not valid TOML: {error}") from error
    return {name: _device(path, name, table) for name, table in content.items()}


def _find_file() -> Path | None:
    places = (Path(FILE), default_home() / FILE)
    return next((path for path in places if path.is_file()), None)


def _device(path: Path, name: str, table: Any) -> CommandDevice:
    if not isinstance(table, dict):
        raise InvalidValue(f"{path}: {name!r} stands in no device; begin each with its name, such as [phone]")
    known = [f.name for f in fields(CommandDevice) if f.name not in ("name", "folder")]
    for key in table:
        if key not in known:
            raise InvalidValue(f"{path}: {UnknownName(f'key of device {name}:', key, known)}")
    if "command" not in table:
        raise InvalidValue(f'{path}: device {name} needs a command, such as ["./run.sh", "{{onnx}}"]')
    try:
        return CommandDevice(name, folder=str(path.absolute().parent), **table)
    except InvalidValue as error:
        raise InvalidValue(f"{path}: {error}") from None


class UserDevices:
    """Where a command's devices are looked up: a command line of the user's first, then the file, read once.

    The file is read when a name is asked for that is none of this machine's: a mistake in it stops no other search.

    Args:
        file: see :func:`read_devices`.
        command: a command line, the device called `name`.
        name: of that device.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None, command: str | None = None, name: str | None = None):
        self._file = file
        self._given = None if command is None else CommandDevice.from_line(name or "device", command)

    @classmethod
    def asked(
        cls, device: str, file: str | os.PathLike[str] | None = None, command: str | None = None
    ) -> tuple[UserDevices, str]:
        """The user's devices, and the name of the one that is meant: `device`, which also names that of a command line.

        Beside a command line "this" is no name: its device is called "command" then.
        """
        name = "command" if command is not None and device == "this" else device
        return cls(file, command, name), name

    @cached_property
    def _listed(self) -> dict[str, CommandDevice]:
        return read_devices(self._file)

    @property
    def file(self) -> str | os.PathLike[str] | None:
        """The file that was named; None where the usual ones are looked up."""
        return self._file

    def find(self, name: str) -> CommandDevice | None:
        """The device of this name, or None: then it is this machine's, or a table's."""
        if self._given is not None and name == self._given.name:
            return self._given
        return None if is_live(name) else self._listed.get(name)

    def names(self) -> list[str]:
        """Names of all of them."""
        given = [] if self._given is None else [self._given.name]
        return [*given, *(name for name in self._listed if name not in given)]


def list_devices(file: str | os.PathLike[str] | None = None) -> list[dict[str, str]]:
    """The user's devices for a listing: ``{"name", "command", "unit", "problem"}``, each a text.

    `problem` says why the device cannot be used as it is, such as a program that does not exist; else it is empty.

    Raises:
        InvalidValue: see :func:`read_devices`.
    """
    rows = []
    for device in read_devices(file).values():
        problem = ""
        try:
            device.program()
        except InvalidValue as error:
            problem = str(error)
        unit = ", ".join(f"{metric} in {unit}" for metric, unit in device.units.items())
        rows.append({"name": device.name, "command": shlex.join(device.command), "unit": unit, "problem": problem})
    return rows
