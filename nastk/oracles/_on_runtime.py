"""What oracles that run networks here by a runtime have in common: their settings, and a network with its inputs."""

from __future__ import annotations

import os
from typing import Any

from nastk.devices import describe_device
from nastk.errors import InvalidValue
from nastk.oracles.base import THIS_MACHINE, Oracle
from nastk.runtimes._calibration import read_calibration
from nastk.runtimes.base import Runtime, make_runtime, runtime_class
from nastk.spaces._networks import build_network, set_statistics
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision

STATISTICS = 8
"""Random inputs whose statistics the normalisation of a network gets before its outputs are compared."""


class RuntimeOracle(Oracle):
    """An oracle whose networks a runtime of this machine runs.

    Args:
        space, device, runtime, batch, threads, precision, calibration, build_options: as of `nastk.oracles.Latency`.

    Attributes:
        chooses_precision: whether it runs the networks of a space that chooses their precision each in its own.
        reasons: for architectures (as text) without a value, why.
    """

    chooses_precision: bool = False
    exclusive: str | None = THIS_MACHINE

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
        import torch

        if batch < 1:
            raise InvalidValue(f"{self.name}: batch is {batch}, must be at least 1")
        self._choosing = space.whole if isinstance(space.whole, WithPrecision) else None
        several = "," in precision or self._choosing is not None
        if several and (self._choosing is None or not self.chooses_precision):
            raise InvalidValue(f"{self.name} is of one precision, such as fp32; got {precision}")
        space.need_networks(self.name)
        self.space, self.device, self.runtime, self.batch, self.threads = space, device, runtime, batch, threads
        self.precision, self.build_options = precision, build_options
        self.calibration = str(calibration) if isinstance(calibration, (str, os.PathLike)) else calibration
        self._runtimes = self._make_runtimes(read_calibration(calibration))
        self._runtime = next(iter(self._runtimes.values()))
        self.reasons: dict[str, str] = {}
        torch.zeros(1, device=self._runtime.device)  # a device that does not work fails here, not at the first network

    def _make_runtimes(self, calibration: Any) -> dict[str, Runtime]:
        """The runtime of each precision that networks are run in: the one that was asked for, or those of the space."""
        precisions = [self.precision]
        if self._choosing is not None:
            precisions = list(self._choosing.precisions)
            if self.precision not in ("fp32", ",".join(precisions)):
                raise InvalidValue(f"precision {self.precision}: the space chooses it, {' or '.join(precisions)}")
            self.precision = ",".join(precisions)
        if calibration is not None and "int8" not in precisions:
            raise InvalidValue(f"calibration is of int8, and the precision is {self.precision}; leave it out")
        kind = runtime_class(self.runtime)
        return {
            p: make_runtime(kind, str(self.device), self.threads, p, calibration if p == "int8" else None)
            for p in precisions
        }

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
            f"{describe_device(self._runtime.device)}, {' or '.join(r.label for r in self._runtimes.values())}, "
            f"batch {self.batch}, "
            f"{self.threads} thread{'s' * (self.threads > 1)}"
        )

    def _network(self, arch: Archs, compared: bool = False) -> tuple[Any, Any]:
        """The network of an architecture ``(d,)`` in evaluation mode, and a batch, both on the device, always the same.

        Args:
            compared: see :func:`example`.

        Raises:
            Exception: whatever the network's constructor raises.
        """
        shown = next((r.calibration for r in self._runtimes.values() if r.calibration is not None), None)
        return example(self.space, arch, self.batch, self._runtime.device, compared, shown, **self.build_options)

    def _inputs(self, seed: int) -> Any:
        """A batch of random inputs on the device; with seed 0 those of :meth:`_network`."""
        return example_inputs(self.space, self.batch, self._runtime.device, seed, **self.build_options)


def example_inputs(space: SearchSpace, batch: int, device: Any = "cpu", seed: int = 0, **build_options: Any) -> Any:
    """A batch ``(batch, ...)`` of random inputs: standard normal numbers, or tokens."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _draw(space, batch, device, build_options)


def _draw(space: SearchSpace, batch: int, device: Any, build_options: dict[str, Any]) -> Any:
    import torch

    shape = (batch, *space.input_shape(**build_options))
    tokens = space.vocabulary(**build_options)
    return (torch.randn(shape) if tokens is None else torch.randint(tokens, shape)).to(device)


def example(
    space: SearchSpace,
    arch: Archs,
    batch: int,
    device: Any = "cpu",
    compared: bool = False,
    inputs_of_user: Any = None,
    **build_options: Any,
) -> tuple[Any, Any]:
    """The network of an architecture ``(d,)`` in evaluation mode, and a batch ``(batch, ...)`` of random inputs.

    Both are drawn with one seed, the inputs first, so that they are the same whenever they are asked for.

    Args:
        compared: whether its outputs will be compared; its normalisation then gets the statistics of some inputs.
        inputs_of_user: those inputs, ``(n, ...)``; by default random ones.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs = _draw(space, batch, device, build_options)
        network = build_network(space, arch, **build_options).eval().to(device)
        if compared:
            some = _draw(space, STATISTICS, device, build_options)
            if inputs_of_user is not None and inputs_of_user.shape[1:] == some.shape[1:]:
                some = inputs_of_user[:STATISTICS].to(some)
            set_statistics(network, some)
        return network, inputs
