"""What formats of exported networks have in common."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nastk.errors import InvalidValue, UnknownName
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch

FORMATS = {"onnx": "onnx", "pt2": "pt2", "torchscript": "torchscript", "python": "python", "safetensors": "tensors"}
"""Formats by name, and the module of each."""

DEPRECATED = {"torchscript": "PyTorch has deprecated TorchScript: prefer pt2"}
"""What is said of formats that are on their way out."""


@dataclass(frozen=True)
class Network:
    """A network that is ready to be written.

    Args:
        space, arch: whose it is, the row ``(d,)``.
        module: in evaluation mode, on the CPU, in float32, with its weights.
        inputs: a batch ``(batch, ...)`` of the shape that files are made for.
        build: options of :meth:`nastk.SearchSpace.build`.
        choices: what the architecture chose, by name.
    """

    space: SearchSpace
    arch: Archs
    module: torch.nn.Module
    inputs: torch.Tensor
    build: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)


class Format(ABC):
    """One format of files.

    Args:
        precision: of the file.
        calibration: inputs ``(n, ...)`` that int8 is calibrated on, for a runtime.

    Attributes:
        name, suffix: of the format, and the end of its files' names.
        precisions: those that it has.
        exact: whether outputs are to be those of the network bit for bit.
        notes: what the user should know of the file that was written, a sentence each.

    Raises:
        InvalidValue: a precision that it has not.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    exact: ClassVar[bool] = False

    def __init__(self, precision: str = "fp32", calibration: Any = None):
        if precision not in self.precisions:
            runtimes = "; int8 is of a runtime, such as --runtime onnx" if precision == "int8" else ""
            raise InvalidValue(
                f"the format {self.name} is written in {' and '.join(self.precisions)}, not in {precision}{runtimes}"
            )
        self.precision, self.calibration = precision, calibration
        self.notes: list[str] = []

    @property
    def label(self) -> str:
        """What runs the file, in words."""
        import torch

        return f"torch {torch.__version__.split('+')[0]}"

    def ending(self) -> str:
        """End of the file's name: the precision, where it is none of float32, and the suffix."""
        return self.suffix if self.precision == "fp32" else f".{self.precision}{self.suffix}"

    @abstractmethod
    def write(self, network: Network, file: Path) -> None:
        """Write the network; what else is written lies beside it and begins with the same name.

        Raises:
            Exception: why it cannot be exported.
        """

    @abstractmethod
    def outputs(self, network: Network, file: Path, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the written file answers to batches of inputs, in float32 on the CPU; the network is not used.

        Raises:
            Exception: why it cannot be run.
        """


def format_class(name: str) -> type[Format]:
    """The format of this name.

    Raises:
        UnknownName: there is none.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    module = importlib.import_module(f"nastk.deploy.{FORMATS[name]}")
    kinds = [k for k in vars(module).values() if isinstance(k, type) and getattr(k, "name", None) == name]
    found: type[Format] = kinds[0]
    return found


def as_float(result: Any) -> torch.Tensor:
    """The first output of a module as a tensor on the CPU, float32 where it was less."""
    import torch

    from nastk.runtimes.base import first_of

    first: torch.Tensor = first_of(result).detach().cpu()
    return first.float() if first.dtype in (torch.float16, torch.bfloat16) else first
