"""ONNX Runtime on the CPU (extra `onnx`): the network exported by PyTorch, run as a compiled graph."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

from nastk.runtimes.base import Run, Runtime


class Onnx(Runtime):
    """An inference session with the graph optimisations that ONNX Runtime makes by default."""

    name = "onnx"
    suffix = ".onnx"
    requires = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def describe(self) -> str:
        import onnxruntime

        return f"{self.name} {onnxruntime.__version__.split('+')[0]}"

    def export(self, network: Any, inputs: Any, file: Path) -> None:
        """Write the network as ONNX, unoptimised: the session optimises it for the machine that it runs on."""
        import torch

        # the exporter reports its progress on stdout, in warnings and in its log; errors still come through
        quiet = logging.getLogger("torch.onnx")
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                program = torch.onnx.export(network, (inputs,), dynamo=True, optimize=False, verbose=False)
            assert program is not None
            program.save(file)
        finally:
            quiet.setLevel(level)

    def _prepare(self, source: Any, inputs: Any) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: inputs.numpy()}
        return lambda: session.run(None, feed)
