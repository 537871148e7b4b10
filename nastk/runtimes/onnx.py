"""ONNX Runtime on the CPU (extra `onnx`): the network exported by PyTorch, run as a compiled graph."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from nastk.evaluation import reason_of
from nastk.runtimes._onnx_export import export_onnx
from nastk.runtimes._processor import adds_bytes_in_16_bits
from nastk.runtimes._quiet import quiet
from nastk.runtimes.base import Run, Runtime


class Onnx(Runtime):
    """An inference session with the graph optimisations that ONNX Runtime makes by default.

    int8 is its static quantisation in QDQ format: weights per channel, activations as unsigned numbers. There is no
    fp16: on a processor of x86 its kernels convert to float32 and back.
    """

    name = "onnx"
    precisions = ("fp32", "int8")
    suffix = ".onnx"
    seconds_to_prepare = 8.0
    requires = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def describe(self) -> str:
        import onnxruntime

        return f"{self.name} {onnxruntime.__version__.split('+')[0]}"

    def export(self, network: Any, inputs: Any, file: Path) -> None:
        """Write the network as ONNX; int8 with the ranges of its activations on the calibration inputs.

        Raises:
            RuntimeError: the network cannot be exported; the message is the cause, such as an operator that ONNX lacks.
            Exception: whatever the network itself raises.
        """
        if self.precision == "fp32":
            export_onnx(network, inputs, file)
            return
        batches = self.calibration_batches(inputs)
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / "network.onnx"
            export_onnx(network, inputs, exported)
            try:
                with quiet():
                    _quantise(exported, batches, file)
            except Exception as error:
                raise RuntimeError(f"ONNX Runtime cannot quantise it: {reason_of(error)}") from error

    def _prepare(self, source: Any, inputs: Any) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is fatal only: errors are raised
        try:
            with quiet():
                session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of an operator: "Could not find an implementation for NAME"
            raise RuntimeError(f"ONNX Runtime cannot run it: {reason_of(error)}") from error
        feed = {session.get_inputs()[0].name: inputs.numpy()}
        return lambda: session.run(None, feed)


def _quantise(exported: Path, batches: list[Any], file: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):
        def __init__(self, name: str):
            self.left = iter([{name: batch.numpy()} for batch in batches])

        def get_next(self) -> Any:
            return next(self.left, None)

    # shapes are fixed: symbolic inference has nothing to add
    optimised = exported.with_name("optimised.onnx")
    quant_pre_process(str(exported), str(optimised), skip_symbolic_shape=True)
    quantize_static(
        str(optimised),
        str(file),
        Batches(_input_name(optimised)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        reduce_range=adds_bytes_in_16_bits(),
    )


def _input_name(file: Path) -> str:
    import onnx

    return str(onnx.load(file, load_external_data=False).graph.input[0].name)
