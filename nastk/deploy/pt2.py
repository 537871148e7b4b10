"""PyTorch's exported program (.pt2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nastk.deploy._format import Format, Network, as_float
from nastk.runtimes._conversion import converted
from nastk.runtimes._torch_files import export_pt2, load_pt2

if TYPE_CHECKING:
    import torch


class Pt2(Format):
    """What `torch.export` writes; `torch.export.load` reads it, and AOTInductor compiles it."""

    name = "pt2"
    suffix = ".pt2"
    precisions = ("fp32", "fp16", "bf16")

    def write(self, network: Network, file: Path) -> None:
        export_pt2(*converted(network.module, network.inputs, self.precision), file)

    def outputs(self, network: Network, file: Path, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        import torch

        module = load_pt2(file)
        with torch.no_grad():
            return [as_float(module(converted(None, batch, self.precision)[1])) for batch in batches]
