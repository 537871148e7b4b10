"""What oracles that run networks here by a runtime have in common: their settings, and a network with its inputs."""

from __future__ import annotations

import os
from typing import Any

from nastk.devices import describe_device
from nastk.errors import InvalidValue
from nastk.oracles._networks import build_network
from nastk.oracles.base import Oracle
from nastk.runtimes._calibration import read_calibration
from nastk.runtimes.base import Runtime, runtime_class
from nastk.spaces.base import Archs, SearchSpace


class RuntimeOracle(Oracle):
    """An oracle whose networks a runtime of this machine runs.

    Args:
        space, device, runtime, batch, threads, precision, calibration, build_options: as of `nastk.oracles.Latency`.

    Attributes:
        reasons: for architectures (as text) without a value, why.
    """

    def __init__(
        self,
        space: SearchSpace,
        device: str = "this",
        runtime: str | type[Runtime] = "torch",
        batch: int = 1,
        threads: int = 1,
        precision: str = "fp32",
        calibration: Any = None,
        **build_options: Any,
    ):
        if batch < 1:
            raise InvalidValue(f"{self.name}: batch is {batch}, must be at least 1")
        space.need_networks(self.name)
        self.space, self.device, self.runtime, self.batch, self.threads = space, device, runtime, batch, threads
        self.precision, self.build_options = precision, build_options
        self.calibration = str(calibration) if isinstance(calibration, (str, os.PathLike)) else calibration
        self._runtime = runtime_class(runtime)(device, threads, precision, read_calibration(calibration))
        self.reasons: dict[str, str] = {}

    def describe(self) -> dict[str, Any]:
        where = {"device": self.device, "runtime": self.runtime, "threads": self.threads, "batch": self.batch}
        if self.precision != "fp32":
            where["precision"] = self.precision
        if self.calibration is not None:
            named = isinstance(self.calibration, str)
            where["calibration"] = self.calibration if named else f"array of {len(self.calibration)}"
        return {"oracle": self.name, **where, **self.build_options}

    @property
    def setting(self) -> str:
        """Device, runtime, batch and threads in words."""
        return (
            f"{describe_device(self._runtime.device)}, {self._runtime.label}, batch {self.batch}, "
            f"{self.threads} thread{'s' * (self.threads > 1)}"
        )

    def _network(self, arch: Archs) -> tuple[Any, Any]:
        """The network of an architecture ``(d,)`` in evaluation mode, and a batch, both on the device, always the same.

        Raises:
            Exception: whatever the network's constructor raises.
        """
        return example(self.space, arch, self.batch, self._runtime.device, **self.build_options)


def example(space: SearchSpace, arch: Archs, batch: int, device: Any = "cpu", **build_options: Any) -> tuple[Any, Any]:
    """The network of an architecture ``(d,)`` in evaluation mode, and a batch ``(batch, ...)`` of random inputs.

    Both are drawn with one seed, the inputs first, so that they are the same whenever they are asked for.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = (batch, *space.input_shape(**build_options))
        tokens = space.vocabulary(**build_options)
        inputs = (torch.randn(shape) if tokens is None else torch.randint(tokens, shape)).to(device)
        return build_network(space, arch, **build_options).eval().to(device), inputs
