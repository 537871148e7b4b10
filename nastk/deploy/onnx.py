"""ONNX, run by ONNX Runtime (extra `onnx`)."""

from __future__ import annotations

from typing import Any

from nastk.deploy._runtime_file import RuntimeFile


class OnnxFile(RuntimeFile):
    """The network as PyTorch exports it to ONNX; in int8 with ONNX Runtime's static quantisation."""

    name = "onnx"

    def __init__(self, precision: str = "fp32", calibration: Any = None):
        super().__init__("onnx", precision, calibration)
