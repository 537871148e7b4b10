"""MNN on the CPU (extra `mnn`): Alibaba's engine for phones, on this machine's processor."""

from __future__ import annotations

import importlib
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from nastk.runtimes._onnx_export import export_onnx, operators
from nastk.runtimes._quiet import last_line, quiet
from nastk.runtimes.base import Run, Runtime

TELLING = ("not support", "n't support", "unsupported", "error for")
"""Words of the lines in which MNN says what it lacks ("These Op Not Support: ONNX::DFT")."""


class Mnn(Runtime):
    """A module of MNN's own format, converted from ONNX. With one thread it runs in the thread that calls it.

    Only float32: on a processor of x86 MNN computes in it whatever precision it is asked for.
    """

    name = "mnn"
    suffix = ".mnn"
    seconds_to_prepare = 8.0
    requires = ("MNN", "onnx", "onnxscript")
    extra = "mnn"

    def import_required(self) -> None:
        with quiet():  # it prints what the processor has
            super().import_required()

    def describe(self) -> str:
        return f"{self.name} {_module('MNN').version()}"

    def export(self, network: Any, inputs: Any, file: Path) -> None:
        """Write MNN's own format.

        Raises:
            RuntimeError: the network cannot be exported or converted; the message is the converter's own.
            Exception: whatever the network itself raises.
        """
        with tempfile.TemporaryDirectory() as folder:
            exported, made = Path(folder) / "network.onnx", Path(folder) / "network.mnn"
            export_onnx(network, inputs, exported)
            _convert(exported, made, inputs)
            shutil.move(made, file)

    def _prepare(self, source: Any, inputs: Any) -> Run:
        nn, expr = _module("MNN.nn"), _module("MNN.expr")
        with quiet() as said:
            manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": self.threads, "precision": "high"},))
            try:
                module = nn.load_module_from_file(str(source), [], [], runtime_manager=manager, shape_mutable=False)
            except Exception as error:
                raise RuntimeError(f"MNN cannot run it: {last_line(said(), TELLING) or error}") from error
        floats = inputs.is_floating_point()
        values = inputs.numpy() if floats else inputs.int().numpy()  # it has no integers of 64 bits
        fed = [expr.const(values, list(values.shape), expr.NCHW, expr.float if floats else expr.int)]

        def run() -> Any:
            found = module.onForward(fed)
            if not found:
                raise RuntimeError("MNN cannot run it: it gives no output")
            return found[0].read()

        return run

    def output(self, result: Any) -> Any:
        return super().output(result.copy())  # memory of the module, which the next run overwrites


def _convert(exported: Path, made: Path, inputs: Any) -> None:
    """Convert in a process of its own, with one run: where MNN lacks something, it may crash instead of saying so."""
    program = Path(__file__).with_name("_mnn_convert.py")
    shape, kind = ",".join(map(str, inputs.shape)), "float" if inputs.is_floating_point() else "int"
    ended = subprocess.run(
        [sys.executable, program, exported, made, shape, kind],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        text=True,
        errors="replace",
    )
    if ended.returncode < 0:
        crash = signal.Signals(-ended.returncode).name
        raise RuntimeError(f"MNN crashes ({crash}) when it runs it; its operators are {', '.join(operators(exported))}")
    if ended.returncode or not made.exists():
        raise RuntimeError(f"MNN cannot run it: {last_line(ended.stdout + ended.stderr, TELLING)}")


def _module(name: str) -> Any:
    with quiet():
        return importlib.import_module(name)
