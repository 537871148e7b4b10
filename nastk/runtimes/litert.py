"""LiteRT (TensorFlow Lite) on the CPU (extra `litert`): the network converted by LiteRT Torch to a .tflite file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.evaluation import reason_of
from nastk.runtimes._quiet import quiet
from nastk.runtimes.base import Run, Runtime

if TYPE_CHECKING:
    import torch


class Litert(Runtime):
    """An interpreter with the XNNPACK delegate that LiteRT takes by default.

    int8 is AI Edge Quantizer's static quantisation of weights and activations; the file's input and output are int8
    too, as microcontrollers want them. The input is quantised once, and the output's numbers are made from int8 by
    :meth:`output`, so that neither is timed.
    """

    name = "litert"
    suffix = ".tflite"
    precisions = ("fp32", "int8")
    requires = ("ai_edge_litert", "ai_edge_quantizer", "litert_torch")
    extra = "litert"
    seconds_to_prepare = 14.0

    def __init__(
        self,
        device: str = "this",
        threads: int = 1,
        precision: str = "fp32",
        calibration: torch.Tensor | None = None,
    ):
        with quiet():  # importing the converter warns of parts for other machines
            super().__init__(device, threads, precision, calibration)

    def describe(self) -> str:
        return f"{self.name} {version('ai-edge-litert')}"

    def export(self, network: torch.nn.Module, inputs: torch.Tensor, file: Path) -> None:
        """Write the network as a .tflite file, in int8 where that is the precision.

        Raises:
            RuntimeError: the network cannot be converted; the message names the operator that the converter lacks.
            Exception: whatever the network itself raises.
        """
        network(inputs)  # what the network itself raises is said as it is, not as a failure of the conversion
        content = _converted(network, inputs)
        if self.precision == "int8":
            content = _quantised(content, [batch.numpy() for batch in self.calibration_batches(inputs)])
        file.write_bytes(content)

    def _prepare(self, source: Any, inputs: torch.Tensor) -> Run:
        from ai_edge_litert.interpreter import Interpreter

        with quiet():  # that there is an XNNPACK delegate
            interpreter = Interpreter(str(source), num_threads=self.threads)
            interpreter.allocate_tensors()
        (taken,), (given, *_) = interpreter.get_input_details(), interpreter.get_output_details()
        into, out, x = taken["index"], given["index"], as_input(inputs.numpy(), taken)
        scale, zero = given["quantization"]

        def run() -> Result:
            interpreter.set_tensor(into, x)  # each time: its memory may be reused by what follows
            interpreter.invoke()
            return Result(interpreter.get_tensor(out), scale, zero)

        return run

    def output(self, result: Any) -> torch.Tensor:
        import torch

        return torch.as_tensor(result.numbers())


@dataclass(frozen=True)
class Result:
    """An output as the interpreter holds it; ``scale`` is 0 where it is not quantised."""

    values: np.ndarray[Any, Any]
    scale: float
    zero: int

    def numbers(self) -> np.ndarray[Any, Any]:
        """As float32 (or as it is, where it is not quantised)."""
        if not self.scale:
            return self.values
        return ((self.values.astype("float32") - self.zero) * self.scale).astype("float32")


def as_input(values: np.ndarray[Any, Any], details: Any) -> np.ndarray[Any, Any]:
    """Values in the type of an interpreter's input, quantised by its scale where it has one.

    Args:
        values: float32, or tokens.
        details: of the input, as `get_input_details` gives them.
    """
    kind, (scale, zero) = details["dtype"], details.get("quantization", (0.0, 0))
    if not scale:
        return values.astype(kind)
    limits = np.iinfo(kind)
    quantised: np.ndarray[Any, Any] = np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(kind)
    return quantised


def _converted(network: torch.nn.Module, inputs: torch.Tensor) -> bytes:
    """A float32 .tflite file of the network, for inputs of this shape."""
    import torch

    try:
        with quiet(), torch.no_grad():
            import litert_torch

            content: bytes = litert_torch.convert(network, (inputs,)).model_content()
    except Exception as error:
        # what follows in the message is the state of the exporter
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RuntimeError(f"cannot be converted to LiteRT: {first}") from error
    return content


def _quantised(content: bytes, batches: list[Any]) -> bytes:
    """A float32 .tflite file in int8: static post-training quantisation, one scale a channel of the weights."""
    try:
        with quiet():
            from ai_edge_litert.interpreter import Interpreter
            from ai_edge_quantizer import quantizer, recipe

            (name, signature), *_ = Interpreter(model_content=content).get_signature_list().items()
            (taken,) = signature["inputs"]
            made = quantizer.Quantizer(bytearray(content), recipe.static_wi8_ai8())
            kind = Interpreter(model_content=content).get_input_details()[0]["dtype"]
            ranges = made.calibrate({name: [{taken: batch.astype(kind)} for batch in batches]}, num_threads=1)
            return _whole(bytes(made.quantize(ranges, enable_progress_report=False).quantized_model))
    except Exception as error:
        raise RuntimeError(f"cannot be quantised to int8 for LiteRT: {reason_of(error)}") from error


def _whole(content: bytes) -> bytes:
    """The file with its weights inside of the flatbuffer, as microcontrollers need it.

    The quantiser writes those of models of 256 KiB and more behind it, where tflite-micro does not find them: it runs
    such a file without a word, with memory of its own in the place of each weight.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for buffer in model.buffers:
        if isinstance(buffer.data, bytearray):  # it lay behind; as an array it is written at once, not byte by byte
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
