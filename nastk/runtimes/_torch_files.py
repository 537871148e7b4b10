"""A network in PyTorch's own file formats, without the reports and warnings of their exporters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.runtimes._quiet import quiet

if TYPE_CHECKING:
    import torch


def export_pt2(network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
    """Write the exported program of a network, for inputs of exactly this shape ``(batch, ...)``.

    Raises:
        Exception: why it cannot be exported.
    """
    import torch

    with torch.no_grad(), quiet():
        torch.export.save(torch.export.export(network, (inputs,)), file)


def load_pt2(file: Path) -> Any:
    """The module of an exported program."""
    import torch

    with quiet():
        return torch.export.load(file).module()


def export_torchscript(network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
    """Write the trace of a network, for inputs of this shape ``(batch, ...)``; PyTorch has deprecated the format.

    Raises:
        Exception: why it cannot be traced.
    """
    import torch

    with torch.no_grad(), quiet():
        torch.jit.trace(network, (inputs,), check_trace=False).save(str(file))


def load_torchscript(file: Path) -> Any:
    """The module of a trace."""
    import torch

    with quiet():
        return torch.jit.load(str(file))
