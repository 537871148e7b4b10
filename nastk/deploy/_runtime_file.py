"""The file that a runtime runs networks from: ONNX, OpenVINO's, MNN's, LiteRT's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.deploy._format import Format, Network
from nastk.errors import InvalidValue
from nastk.runtimes.base import Runtime, make_runtime, runtime_class

if TYPE_CHECKING:
    import torch

TAKEN = (".pt2", ".pt", ".py", ".safetensors", ".json", ".md")
"""Ends of names that are of other formats, or of the card."""


class RuntimeFile(Format):
    """A runtime's own file, as ``nastk device test`` measures it.

    Args:
        runtime: its name, or a class of the user's.
        precision, calibration: see :class:`nastk.runtimes.base.Runtime`.

    Raises:
        UnknownName: no such runtime.
        InvalidValue: it has no file of its own, or not this precision.
        MissingExtra: it is not installed.
        Unsupported: a precision that this machine lacks.
    """

    name = "runtime"
    suffix = ""

    def __init__(self, runtime: str | type[Runtime], precision: str = "fp32", calibration: Any = None):
        kind = runtime_class(runtime)
        if not kind.suffix:
            raise InvalidValue(
                f"the {kind.name} runtime runs PyTorch modules as they are and has no file of its own; write "
                "--format pt2, or python"
            )
        self.runtime = make_runtime(kind, "this", 1, precision, calibration)
        self.precision, self.calibration = precision, calibration
        self.notes: list[str] = []

    @property
    def label(self) -> str:
        return self.runtime.label

    def ending(self) -> str:
        suffix = self.runtime.suffix
        end = f".{self.runtime.name}{suffix}" if suffix in TAKEN else suffix
        return end if self.precision == "fp32" else f".{self.precision}{end}"

    def write(self, network: Network, file: Path) -> None:
        import torch

        with self.runtime.running(), torch.inference_mode():
            self.runtime.export(network.module, network.inputs, file)
        if self.precision in ("fp16", "bf16"):
            self.notes.append(f"The file holds float32 weights; {self.runtime.name} is asked for {self.precision}.")

    def outputs(self, network: Network, file: Path, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        import torch

        found = []
        with self.runtime.running(), torch.inference_mode():
            for batch in batches:
                run = self.runtime.prepare(None, batch, file)  # held until its result is copied, which it owns
                found.append(self.runtime.output(run()).clone())
        return found
