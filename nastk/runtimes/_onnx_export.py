"""A network as ONNX, which several runtimes start from."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nastk.evaluation import reason_of
from nastk.runtimes._quiet import cause, quiet

if TYPE_CHECKING:
    import torch

_SHARED: list[_Shared] = []
"""Those of :func:`sharing_exports` that are open."""

_QUICK: list[None] = []
"""One for each :func:`quick_exports` that is open."""


def export_onnx(network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
    """Write the network as ONNX, for inputs of exactly this shape, with constants folded.

    Runtimes optimise it for the machine that it runs on; folded, since converters want weights as constants, and the
    exporter computes the biases of convolutions that have none.

    Args:
        network: in evaluation mode, on the CPU.
        inputs: an example batch, ``(batch, ...)``.
        file: a network of more than 2 GB has its weights beside it, in a file that begins with the same name.

    Raises:
        RuntimeError: the network cannot be exported; the message is the cause, such as an operator that ONNX lacks.
        Exception: whatever the network itself raises.
    """
    for shared in _SHARED:
        if shared.copy(network, inputs, file):
            return
    import torch

    network(inputs)  # what the network itself raises is said as it is, not as a failure of the export
    if _QUICK and _trace(network, inputs, file):
        for shared in _SHARED:
            shared.keep(network, inputs, file)
        return
    try:
        with quiet():
            program = torch.onnx.export(network, (inputs,), dynamo=True, optimize=True, verbose=False)
    except Exception as error:
        raise RuntimeError(f"cannot be exported to ONNX: {reason_of(cause(error))}") from error
    assert program is not None
    program.save(file)
    for shared in _SHARED:
        shared.keep(network, inputs, file)


def _trace(network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> bool:
    """Write the network by PyTorch's exporter of before 2.9; whether that could."""
    import torch

    try:
        with quiet():
            torch.onnx.export(network, (inputs,), str(file), dynamo=False)
        return True
    except Exception:  # an operator that it lacks, or a PyTorch without it
        file.unlink(missing_ok=True)
        return False


@contextlib.contextmanager
def quick_exports() -> Iterator[None]:
    """Within it PyTorch's older exporter goes first, where it has all operators: it takes a tenth of the time.

    Its files compute the same by other operators here and there, so that it is for latencies which need not be those
    of the files that :func:`export_onnx` writes otherwise.
    """
    _QUICK.append(None)
    try:
        yield
    finally:
        _QUICK.pop()


def operators(file: Path) -> list[str]:
    """Names of the operators in an ONNX file, in alphabetical order."""
    import onnx

    return sorted({node.op_type for node in onnx.load(file, load_external_data=False).graph.node})


@contextlib.contextmanager
def sharing_exports() -> Iterator[None]:
    """Within it a network is exported once for each shape of inputs, however many runtimes and precisions ask.

    Its weights must not change meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder:
        shared = _Shared(Path(folder))
        _SHARED.append(shared)
        try:
            yield
        finally:
            _SHARED.remove(shared)


class _Shared:
    """Exported networks in a folder; they are held, so that no other one takes their identity."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made: dict[tuple[int, tuple[int, ...]], tuple[torch.nn.Module, Path]] = {}

    def copy(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> bool:
        found = self.made.get((id(network), tuple(inputs.shape)))
        if found is None:
            return False
        shutil.copy(found[1], file)
        return True

    def keep(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
        if file.with_name(f"{file.name}.data").exists():
            return  # it names the file of its weights, and cannot be given another name
        kept = self.folder / f"{len(self.made)}.onnx"
        shutil.copy(file, kept)
        self.made[id(network), tuple(inputs.shape)] = network, kept
