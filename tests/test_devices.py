"""Devices of this machine."""

from __future__ import annotations

import pytest
import torch

from nastk.devices import describe_device, device_kind, local_devices, synchronise, torch_device
from nastk.errors import InvalidValue, NastkError


def test_this_is_the_processor_and_always_there() -> None:
    assert torch_device("this") == torch_device("cpu") == torch.device("cpu")
    assert local_devices()[0] == "this"
    assert describe_device() == describe_device("cpu") == describe_device(torch.device("cpu")) != ""
    synchronise(torch.device("cpu"))


@pytest.mark.parametrize(("name", "kind"), [("this", "cpu"), ("cpu", "cpu"), ("cuda:1", "cuda"), ("mps", "mps")])
def test_the_kind_of_a_device_is_pytorchs(name: str, kind: str) -> None:
    assert device_kind(name) == kind


def test_every_local_device_can_be_used() -> None:
    for name in local_devices():
        device = torch_device(name)
        assert torch.zeros(2, device=device).sum().item() == 0
        synchronise(device)
        assert describe_device(name)


def test_devices_that_are_not_here_are_an_error_that_lists_those_that_are() -> None:
    for name in ("cuda:99", "cuda:first"):
        with pytest.raises(NastkError, match=rf"no {name}.*: this"):
            torch_device(name)
    with pytest.raises(InvalidValue, match=r"unknown device 'pixel9'; this machine can measure: this"):
        torch_device("pixel9")
