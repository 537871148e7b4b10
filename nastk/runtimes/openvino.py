"""OpenVINO on the CPU (extra `openvino`): Intel's compiler of graphs; int8 by its NNCF."""

from __future__ import annotations

import contextlib
import functools
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from nastk.errors import Unsupported
from nastk.evaluation import reason_of
from nastk.runtimes._onnx_export import export_onnx
from nastk.runtimes._processor import adds_bytes_in_16_bits
from nastk.runtimes._quiet import quiet
from nastk.runtimes.base import Run, Runtime

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's names of the precision that everything without quantised weights runs in."""
CAPABILITIES = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
"""OpenVINO's names of what a processor computes itself."""


class OpenVino(Runtime):
    """A model compiled for the processor, of one stream. With one thread it runs in the thread that calls it.

    fp16 and bf16 are refused where the processor has no instructions for them (OpenVINO would convert, and compute in
    float32). int8 is NNCF's post-training quantisation. Neither package sends anything home: their telemetry is kept
    from being imported.

    Raises:
        Unsupported: the processor has no instructions for the precision.
    """

    name = "openvino"
    precisions = ("fp32", "fp16", "bf16", "int8")
    suffix = ".xml"
    seconds_to_prepare = 9.0
    requires = ("openvino", "nncf", "onnx", "onnxscript")
    extra = "openvino"

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        native = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if CAPABILITIES[self.precision] not in native:
            raise Unsupported(
                f"this processor has no instructions for {self.precision}; OpenVINO has here: "
                + ", ".join(own for own, theirs in CAPABILITIES.items() if theirs in native)
            )

    def import_required(self) -> None:
        with _without_telemetry(), quiet():
            super().import_required()

    def describe(self) -> str:
        return f"{self.name} {_module('openvino').__version__.split('-')[0]}"

    def export(self, network: Any, inputs: Any, file: Path) -> None:
        """Write OpenVINO's own format: the graph, and its weights beside it (.bin).

        Raises:
            RuntimeError: the network cannot be exported or converted; the message names an operator that is lacking.
            Exception: whatever the network itself raises.
        """
        batches = self.calibration_batches(inputs) if self.precision == "int8" else []
        openvino = _module("openvino")
        with tempfile.TemporaryDirectory() as folder:
            exported, made = Path(folder) / "network.onnx", Path(folder) / file.name
            export_onnx(network, inputs, exported)
            try:
                with quiet():
                    model = _core().read_model(str(exported))
                    if batches:
                        model = _quantise(model, batches)
                    openvino.save_model(model, str(made), compress_to_fp16=False)
            except Exception as error:
                raise RuntimeError(f"OpenVINO cannot convert it: {_summary(error)}") from error
            # the weights first: the graph's file says that the export is whole
            shutil.move(made.with_suffix(".bin"), file.with_suffix(".bin"))
            shutil.move(made, file)

    def _prepare(self, source: Any, inputs: Any) -> Run:
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "ENABLE_CPU_PINNING": False,  # two measuring processes would be bound to the same core
        }
        try:
            with quiet():
                compiled = _core().compile_model(_core().read_model(str(source)), "CPU", settings)
        except Exception as error:
            raise RuntimeError(f"OpenVINO cannot run it: {_summary(error)}") from error
        request, feed = compiled.create_infer_request(), {0: inputs.numpy()}
        return lambda: request.infer(feed)

    def output(self, result: Any) -> Any:
        return super().output(result[0].copy())  # a view of the request's memory, which the next run overwrites


def _summary(error: Exception) -> str:
    """Its last lines where they name operators ("No conversion rule found for operations: Det-20"), else all of it."""
    for heading in ("Summary:", "GeneralFailure:"):  # of OpenVINO since 2026.4, and before
        _, found, told = str(error).rpartition(heading)
        if found:
            return " ".join(told.replace("--", " ").split())
    return reason_of(error)


def _quantise(model: Any, batches: list[Any]) -> Any:
    nncf = _module("nncf")
    tokens = not batches[0].is_floating_point()
    fix = nncf.OverflowFix.ENABLE if adds_bytes_in_16_bits() else nncf.OverflowFix.FIRST_LAYER
    with mock.patch.object(_module("openvino"), "Core", _core):  # NNCF makes one for every statistic
        return nncf.quantize(
            model,
            nncf.Dataset([batch.numpy() for batch in batches]),
            subset_size=len(batches),
            target_device=nncf.TargetDevice.CPU,
            model_type=nncf.ModelType.TRANSFORMER if tokens else None,
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )


@functools.cache
def _core() -> Any:
    """The process's one `openvino.Core`.

    Each brings a signal stack of its own and, when it is deleted, puts back the one that it found. Of two that are
    deleted in the order they were made, the second puts back the first's, which is freed: the next signal, a Ctrl-C,
    would end the process with a segmentation fault.
    """
    return _module("openvino").Core()


def _module(name: str) -> Any:
    """OpenVINO or NNCF; imported here as well as in the constructor, which no process calls that is sent a runtime."""
    if name in sys.modules:
        return sys.modules[name]
    with _without_telemetry(), quiet():
        return importlib.import_module(name)


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """Within it, openvino-telemetry seems not to be installed; both packages then replace it by a stub."""
    before = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before
