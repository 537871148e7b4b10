"""Devices of this machine that networks can be run on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from nastk.errors import InvalidValue, NastkError

if TYPE_CHECKING:
    import torch

KINDS = ("cpu", "cuda", "mps")
"""Kinds of device, as PyTorch names them, that a network can be built on here."""


def device_kind(name: str) -> str:
    """The kind of a device's name: "cpu" for "this", "cuda" for "cuda:1"; the name's own first part if unknown."""
    return "cpu" if name == "this" else name.partition(":")[0]


def is_live(device: str) -> bool:
    """Whether a name is that of a device of this machine, rather than of a user's device or a column of a table."""
    return device == "this" or device.partition(":")[0] in KINDS


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


def training_device() -> str:
    """Where networks are trained here: on a GPU, if PyTorch has one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


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


def synchronise(device: torch.device) -> None:
    """Wait until everything started on the device, on all of its streams, is done; at once on the CPU."""
    if device.type == "cpu":  # first: this is called inside of what is timed
        return
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
