"""Runtimes: what runs a network on a device, so that it can be timed, checked and exported.

A runtime is one file, ``runtimes/onnx.py`` the runtime ``onnx``; other packages add theirs through entry points (group
``nastk.runtimes``), users by ``file.py:Class``. `nastk.testing.check_runtime` holds one against the contract.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nastk.devices import KINDS, device_kind, synchronise, torch_device
from nastk.errors import InvalidValue, MissingExtra, Unsupported, import_extra
from nastk.registry import RUNTIMES

if TYPE_CHECKING:
    import torch

Run = Callable[[], Any]
"""A prepared network: runs it once on its inputs, and returns what came out in the runtime's own form."""

CALIBRATED_ON = 32
"""Random inputs that the ranges of activations are calibrated on where none are given."""


def first_of(result: Any) -> Any:
    """The first of a network's outputs, as runtimes return them: of a list, a tuple or a dictionary, else the only one.

    Raises:
        TypeError: there is none.
    """
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, list | tuple):
        result = result[0] if result else None
    if result is None or isinstance(result, str):
        raise TypeError(f"the network returns {result!r}, and no tensor")
    return result


class Runtime(ABC):
    """One way to run a network on a device.

    A network is prepared and run within :meth:`running` and `torch.inference_mode`. A subclass says what it is
    (:meth:`describe`) and how it makes a network ready (:meth:`_prepare`); the attributes declare what else it can do.

    Args:
        device: "this" (the CPU), or a device of this machine such as "cuda", "cuda:1", "mps".
        threads: CPU threads of a network.
        precision: number format to run networks in, one of `precisions`. Networks and inputs are given in float32
            whatever it is; converting them is the runtime's.
        calibration: inputs ``(n, ...)`` that int8 takes the ranges of activations from; by default random ones.

    Attributes:
        name: as registered; begins what :meth:`describe` says.
        devices: kinds of device that it runs on: "cpu", "cuda", "mps".
        precisions: of :data:`PRECISIONS`, those that it has.
        suffix: ending of the file that it runs a network from (".onnx"), written once a network by :meth:`export`;
            empty where it runs the PyTorch module itself.
        seconds_to_prepare: roughly what making a network ready takes on one thread, the export of its file included;
            zero where it is no more than a few tenths.
        reports_memory: whether :meth:`peak_memory` answers.
        requires: modules that must be importable.
        extra: the extra of nastk that brings them; empty for a runtime of another package.
        device: where PyTorch holds the network and its inputs (torch.device).
        threads: CPU threads of a network.
        precision, calibration: as given.

    Raises:
        InvalidValue: a device that the runtime does not run on, a precision that it has not, fewer threads than one.
        NastkError: this machine has no such device.
        MissingExtra: a module of `requires` is not installed.
        Unsupported: a precision that the runtime has, but not on this machine.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    suffix: ClassVar[str] = ""
    seconds_to_prepare: ClassVar[float] = 0.0
    reports_memory: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def __init__(
        self,
        device: str = "this",
        threads: int = 1,
        precision: str = "fp32",
        calibration: torch.Tensor | None = None,
    ):
        if threads < 1:
            raise InvalidValue(f"the {self.name} runtime: threads is {threads}, must be at least 1")
        kind = device_kind(device)
        # before whether this machine has one: a CUDA device would not help a runtime of the CPU
        if kind in KINDS and kind not in self.devices:
            raise InvalidValue(f"the {self.name} runtime runs on {' and '.join(self.devices)} only, not on {device}")
        if precision not in self.precisions:
            has = " and ".join(self.precisions)
            raise InvalidValue(f"the {self.name} runtime runs networks in {has}; it has no {precision}")
        if calibration is not None and precision != "int8":
            raise InvalidValue(f"calibration is of int8, and the precision is {precision}; leave it out")
        self.device = torch_device(device)
        self.threads, self.precision, self.calibration = threads, precision, calibration
        self.import_required()

    def import_required(self) -> None:
        """Import the modules of `requires`, or say which is missing.

        Raises:
            MissingExtra: a module is not installed.
        """
        for module in self.requires:
            if self.extra:
                import_extra(module, self.extra)
            elif not _importable(module):
                raise MissingExtra(f"the {self.name} runtime needs {module}, which is not installed")

    @classmethod
    def available(cls) -> bool:
        """Whether the modules that it requires are installed; none of them is imported."""
        return all(_importable(module) for module in cls.requires)

    @abstractmethod
    def describe(self) -> str:
        """Name and version, such as "torch 2.13.0". Studies are resumed by it: the same words for the same program."""

    @property
    def label(self) -> str:
        """What :meth:`describe` says, with the precision where it is not float32, and what that was calibrated on."""
        if self.precision == "fp32":
            return self.describe()
        if self.precision != "int8":
            return f"{self.describe()} {self.precision}"
        inputs = "random inputs" if self.calibration is None else f"{len(self.calibration)} given inputs"
        return f"{self.describe()} int8 (calibrated on {inputs})"

    # ---- running a network

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The state that networks are prepared and run in: PyTorch has `threads` threads, and its own number after."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def prepare(self, network: torch.nn.Module | None, inputs: torch.Tensor, file: Path | None = None) -> Run:
        """Make a network ready to be run.

        Args:
            network: in evaluation mode, on :attr:`device`; None where `file` exists already.
            inputs: a batch on :attr:`device`, ``(batch, ...)``; every run takes these.
            file: where a runtime with a `suffix` keeps the exported network. Where the file exists it is used as it is,
                and the network not looked at; other runtimes do not touch it.

        Raises:
            InvalidValue: neither the network nor its file, or no name for the file.
            RuntimeError: the runtime cannot run this network (an operator that it lacks, no memory).
        """
        if not self.suffix:
            return self._prepare(self._given(network), inputs)
        if file is None:
            raise InvalidValue(f"the {self.name} runtime runs networks from files; say where to keep one")
        if not file.exists():
            try:
                self.export(self._given(network), inputs, file)
            except BaseException:
                file.unlink(missing_ok=True)  # half a file would be taken for an export the next time
                raise
        return self._prepare(file, inputs)

    @abstractmethod
    def _prepare(self, source: Any, inputs: torch.Tensor) -> Run:
        """Make ready what :meth:`prepare` was given.

        Args:
            source: the PyTorch module; in a runtime with a `suffix` the path of the exported file.
            inputs: a batch on :attr:`device`, ``(batch, ...)``.
        """

    def export(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
        """Write the network in the runtime's own format, for inputs of this shape.

        Args:
            network: in evaluation mode, on :attr:`device`.
            inputs: an example batch, ``(batch, ...)``.
            file: ends with `suffix`; what else is written lies beside it and begins with the same name.

        Raises:
            Unsupported: the runtime has no format of its own.
        """
        raise Unsupported(f"the {self.name} runtime runs PyTorch modules as they are and exports none")

    def output(self, result: Any) -> torch.Tensor:
        """The network's (first) output in what a run returned, as a tensor on the CPU; float32 where it was less."""
        import torch

        first = torch.as_tensor(first_of(result)).cpu()
        return first.float() if first.dtype in (torch.float16, torch.bfloat16) else first

    def calibration_batches(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Batches of the shape of `inputs` to calibrate int8 on: those given, else :data:`CALIBRATED_ON` random inputs.

        Random ones are standard normal numbers, or the tokens of `inputs` in another order.

        Raises:
            InvalidValue: the given inputs are of another shape, or fewer than a batch.
        """
        import torch

        batch, shape = len(inputs), tuple(inputs.shape[1:])
        if self.calibration is None:
            generator = torch.Generator().manual_seed(1)
            count = -(-CALIBRATED_ON // batch)
            if inputs.is_floating_point():
                return [torch.randn(inputs.shape, generator=generator).to(inputs) for _ in range(count)]
            tokens = inputs.reshape(-1)
            return [
                tokens[torch.randperm(len(tokens), generator=generator)].reshape(inputs.shape) for _ in range(count)
            ]
        given = self.calibration
        if tuple(given.shape[1:]) != shape:
            raise InvalidValue(
                f"the calibration inputs have shape {tuple(given.shape)}; the networks take "
                f"(n, {', '.join(map(str, shape))})"
            )
        if len(given) < batch:
            raise InvalidValue(f"{len(given)} calibration inputs are fewer than a batch of {batch}")
        return [given[i : i + batch].to(inputs) for i in range(0, len(given) - batch + 1, batch)]

    # ---- timing and memory

    def synchronise(self) -> None:
        """Wait until what was started on the device is done."""
        synchronise(self.device)

    def settle(self) -> None:
        """Bring the device to the speed of steady work; called once before the first timing, within :meth:`running`.

        Nothing where the speed does not depend on what ran before.
        """

    def timer(self, run: Run) -> Callable[[], float]:
        """A function that runs the prepared network once and returns the milliseconds until its results were there.

        The wall clock, the device synchronised. A runtime with a better clock (events of its stream, a counter of
        the hardware) overrides it.
        """
        synchronised = self.synchronise

        def timed() -> float:
            start = time.perf_counter_ns()
            run()
            synchronised()
            return (time.perf_counter_ns() - start) / 1e6

        return timed

    def peak_memory(self, network: torch.nn.Module, inputs: torch.Tensor) -> float:
        """MB (10^6 bytes) of weights, inputs and live activations at their greatest during one forward pass.

        Raises:
            Unsupported: the runtime does not tell (`reports_memory` is False).
        """
        raise Unsupported(f"the {self.name} runtime does not tell how much memory a network takes")

    def _given(self, network: torch.nn.Module | None) -> torch.nn.Module:
        if network is None:
            raise InvalidValue(f"the {self.name} runtime needs the network: there is no exported file of it")
        return network

    def __repr__(self) -> str:
        return f"<runtime {self.label} on {self.device}, {self.threads} thread{'s' * (self.threads > 1)}>"


def make_runtime(
    kind: type[Runtime], device: str = "this", threads: int = 1, precision: str = "fp32", calibration: Any = None
) -> Runtime:
    """A runtime; one of a user's own that has float32 alone need not know of precisions."""
    options: dict[str, Any] = {} if precision == "fp32" else {"precision": precision}
    if calibration is not None:
        options["calibration"] = calibration
    return kind(device, threads, **options)


def runtime_class(name: str | type[Runtime]) -> type[Runtime]:
    """The class of the runtime called `name` ("torch", "my_file.py:MyRuntime"); its `requires` are not imported yet.

    Raises:
        UnknownName: no such runtime.
        InvalidValue: the name is of something else.
    """
    found = RUNTIMES.get(name) if isinstance(name, str) else name
    if not (inspect.isclass(found) and issubclass(found, Runtime)):
        raise InvalidValue(f"{name!r} is not a runtime: a class that derives from nastk.runtimes.base.Runtime")
    lacking = sorted(found.__abstractmethods__) + ([] if hasattr(found, "name") else ["name"])
    if lacking:
        raise InvalidValue(f"the runtime {found.__name__} lacks {', '.join(lacking)}")
    return found


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # its parent package is missing, or what is there was not imported from a file
        return False
