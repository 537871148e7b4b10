"""Files of built networks, for devices that are not this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nastk.errors import InvalidValue, UnknownName
from nastk.oracles._on_runtime import example
from nastk.runtimes._torch_files import export_pt2, export_torchscript
from nastk.runtimes.base import Runtime, runtime_class
from nastk.spaces.base import Archs, SearchSpace

FORMATS = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2", "tflite": ".tflite"}
"""Formats, and how their files' names end."""

RUNTIMES = {"onnx": "onnx", "tflite": "litert"}
"""Formats that a runtime exports; the others are PyTorch's own."""


class NetworkFiles:
    """Writes networks as files: built with random seed 0, as `Latency` builds them, in evaluation mode, in float32.

    Args:
        space: whose networks.
        formats: of :data:`FORMATS`.
        batch: inputs a run, which the files are made for.
        build_options: of `SearchSpace.build`.

    Raises:
        UnknownName: no such format.
        MissingExtra: what a format needs is not installed.
        Unsupported: the space builds no networks.
        InvalidValue: fewer inputs than one.
    """

    def __init__(self, space: SearchSpace, formats: Iterable[str], batch: int = 1, **build_options: Any):
        self.space, self.formats, self.batch, self.build_options = space, tuple(formats), batch, build_options
        for name in self.formats:
            if name not in FORMATS:
                raise UnknownName("format of a network's file", name, FORMATS)
        if batch < 1:
            raise InvalidValue(f"batch is {batch}, must be at least 1")
        if self.formats:
            space.need_networks(f"a file of a network ({', '.join(self.formats)})")
        self._runtimes: dict[str, Runtime] = {
            name: runtime_class(RUNTIMES[name])() for name in self.formats if name in RUNTIMES
        }

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the networks' input, the batch first."""
        return (self.batch, *self.space.input_shape(**self.build_options))

    def write(self, arch: Archs, folder: Path, stem: str) -> dict[str, Path]:
        """Write one network ``(d,)`` in each format, ``<stem>.onnx`` and so on.

        Returns:
            The files by format.

        Raises:
            Exception: what the network raises while it is built or run, or why it cannot be exported.
        """
        if not self.formats:
            return {}
        network, inputs = example(self.space, arch, self.batch, **self.build_options)
        found = {}
        for name in self.formats:
            file = folder / f"{stem}{FORMATS[name]}"
            self._export(name, network, inputs, file)
            found[name] = file
        return found

    def _export(self, name: str, network: Any, inputs: Any, file: Path) -> None:
        import torch

        if name in self._runtimes:
            runtime = self._runtimes[name]
            with runtime.running(), torch.inference_mode():
                runtime.export(network, inputs, file)
            return
        (export_pt2 if name == "pt2" else export_torchscript)(network, inputs, file)
