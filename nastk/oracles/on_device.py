"""Which oracle measures on the device of a name: this machine's runtimes, or the user's command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nastk.data.device_file import NETWORK_FILES, CommandDevice, UserDevices
from nastk.devices import is_live
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.oracles.command import Command
from nastk.spaces.base import SearchSpace

FROM_THE_COMMAND = {"threads": "{threads}", "batch": "{batch}, nor a file of the network"}
"""Options of a measurement that a command may use, and what it needs for that."""


def describe_command(metric: str, device: CommandDevice, how: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the oracle of one metric of a device behind a command.

    Args:
        metric: one of `nastk.data.device_file.METRICS`.
        how: the options of a measurement, of which the command gets what it uses (:func:`refuse_unused`).
    """
    rest = {name: how[name] for name in FROM_THE_COMMAND if _is_used(device, name)}
    return {"oracle": "command", "metric": metric, "device": device.name, "command": device.to_dict(), **rest}


def command_oracle(space: SearchSpace, facts: Mapping[str, Any]) -> Command:
    """The oracle of such a description."""
    rest = {name: value for name, value in facts.items() if name not in ("oracle", "device")}
    return Command(space, CommandDevice(**rest.pop("command")), rest.pop("metric"), **rest)


def refuse_unused(devices: Sequence[CommandDevice], how: Mapping[str, Any], default: Mapping[str, Any]) -> None:
    """Refuse options of a measurement that none of these commands uses.

    Raises:
        InvalidValue: such as a runtime: a command runs the network by itself.
    """
    names = " and ".join(device.name for device in devices)
    for name, value in how.items():
        if value == default[name] or any(_is_used(device, name) for device in devices):
            continue
        if name in FROM_THE_COMMAND:
            why = f"the command of {names} does not use {FROM_THE_COMMAND[name]}"
        else:
            why = f"the command of {names} runs networks by itself"
            if name == "precision":
                why += " and gets float32 files: quantise them with the device's own tools"
        raise InvalidValue(f"--{name} {value}: {why}; leave it out")


def _is_used(device: CommandDevice, option: str) -> bool:
    return option in device.uses or (option == "batch" and bool(device.uses & set(NETWORK_FILES)))


def oracle_on(
    space: SearchSpace, name: str, devices: UserDevices, how: Mapping[str, Any], default: Mapping[str, Any]
) -> Oracle:
    """The latency of networks on a device that can be measured: this machine's, or one behind a command.

    A command that measures no latency gives the oracle of what it does measure.

    Args:
        name: of the device.
        devices: the user's.
        how, default: the options of a measurement, and their defaults.

    Raises:
        UnknownName: no device of this name can be measured.
        NastkError: it cannot be used.
    """
    found = devices.find(name)
    if found is not None:
        refuse_unused([found], how, default)
        return command_oracle(space, describe_command(next(iter(found.units)), found, how))
    if is_live(name) and devices.file is not None:
        raise InvalidValue(
            f"--devices {devices.file}: {name} is a device of this machine and none of those; leave it out"
        )
    if not is_live(name):
        raise UnknownName("device to measure:", name, ["this", *devices.names()])
    from nastk.oracles.latency import Latency

    return Latency(space, name, **how)
