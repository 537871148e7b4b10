"""Converts an ONNX file to MNN's format and runs it once, as a program of its own: what MNN cannot run may crash it.

Arguments: the ONNX file, the file to write, the shape of an input as "1,3,32,32", and "float" or "int". It imports
nothing of nastk, and of MNN not ``MNN.tools``, which reports home and installs packages when it is imported.
"""

from __future__ import annotations

import os
import sys


def main(onnx_file: str, mnn_file: str, shape: str, kind: str) -> int:
    import _tools
    import MNN.expr
    import MNN.nn
    import numpy as np

    words = ["-f", "ONNX", "--modelFile", onnx_file, "--MNNModel", mnn_file, "--bizCode", "nastk"]
    _tools.mnnconvert(["mnnconvert", *words])
    if not os.path.exists(mnn_file):
        return 1  # it has printed why
    module = MNN.nn.load_module_from_file(mnn_file, [], [], shape_mutable=False)
    sizes = [int(size) for size in shape.split(",")]
    values = np.zeros(sizes, dtype=np.float32 if kind == "float" else np.int32)
    fed = MNN.expr.const(values, sizes, MNN.expr.NCHW, MNN.expr.float if kind == "float" else MNN.expr.int)
    outputs = module.onForward([fed])
    if not outputs:
        return 1
    outputs[0].read()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
