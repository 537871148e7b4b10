"""TorchScript (.pt), which PyTorch has deprecated: for programs that read nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nastk.deploy._format import DEPRECATED, Format, Network, as_float
from nastk.runtimes._conversion import converted
from nastk.runtimes._torch_files import export_torchscript, load_torchscript

if TYPE_CHECKING:
    import torch


class TorchScript(Format):
    """The network as `torch.jit.trace` records it; libtorch reads it in C++."""

    name = "torchscript"
    suffix = ".pt"
    precisions = ("fp32", "fp16", "bf16")

    def write(self, network: Network, file: Path) -> None:
        export_torchscript(*converted(network.module, network.inputs, self.precision), file)
        self.notes.append(f"{DEPRECATED['torchscript']}.")

    def outputs(self, network: Network, file: Path, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        import torch

        module = load_torchscript(file)
        with torch.no_grad():
            return [as_float(module(converted(None, batch, self.precision)[1])) for batch in batches]
