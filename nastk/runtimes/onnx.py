"""ONNX Runtime on the CPU (extra `onnx`): the network exported by PyTorch, run as a compiled graph."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nastk.evaluation import reason_of
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
        """Write the network as ONNX, unoptimised: the session optimises it for the machine that it runs on.

        Raises:
            RuntimeError: the network cannot be exported; the message is the cause, such as an operator that ONNX lacks.
            Exception: whatever the network itself raises.
        """
        import torch

        network(inputs)  # what the network itself raises is said as it is, not as a failure of the export
        try:
            with _quiet():
                program = torch.onnx.export(network, (inputs,), dynamo=True, optimize=False, verbose=False)
        except Exception as error:
            raise RuntimeError(f"cannot be exported to ONNX: {reason_of(_cause(error))}") from error
        assert program is not None
        program.save(file)

    def _prepare(self, source: Any, inputs: Any) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: inputs.numpy()}
        return lambda: session.run(None, feed)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's reports on stdout and stderr, in warnings and in PyTorch's logs; errors still raise."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _cause(error: BaseException) -> BaseException:
    """The first of a chain of exceptions: the exporter wraps what went wrong in the name of its own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
