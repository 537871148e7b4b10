"""PyTorch's compiler, Inductor, on the CPU: the network compiled ahead of time (needs a C++ compiler)."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from nastk.errors import NastkError
from nastk.evaluation import reason_of
from nastk.runtimes._conversion import converted
from nastk.runtimes._quiet import cause, quiet
from nastk.runtimes.base import Run, Runtime


class Compile(Runtime):
    """What ``torch.compile`` makes, as a package that is compiled once and loaded as often as it is measured.

    The package is AOTInductor's. Nothing falls back to eager mode: a network that cannot be captured as one graph
    fails. It has as many threads as it was compiled for.

    Raises:
        NastkError: no C++ compiler (the variable CXX, g++ or clang++), or a PyTorch before 2.6.
    """

    name = "compile"
    precisions = ("fp32", "fp16", "bf16")
    suffix = ".pt2"
    seconds_to_prepare = 50.0

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        if _compiler() is None:
            raise NastkError("the compile runtime needs a C++ compiler; install g++ or clang++, or name one in CXX")

    @classmethod
    def available(cls) -> bool:
        return super().available() and _compiler() is not None

    def describe(self) -> str:
        import torch

        return f"{self.name} {torch.__version__.split('+')[0]}"

    def export(self, network: Any, inputs: Any, file: Path) -> None:
        """Compile the network, for inputs of this shape and this number of threads.

        Raises:
            RuntimeError: the network cannot be captured or compiled; the message is the cause.
            Exception: whatever the network itself raises.
        """
        import torch

        network, inputs = converted(network, inputs, self.precision)
        network(inputs)  # what the network itself raises is said as it is, not as a failure of the compiler
        if not hasattr(torch._inductor, "aoti_compile_and_package"):
            raise NastkError(f"the compile runtime needs PyTorch 2.6 or newer; this is {torch.__version__}")
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "network.pt2"
            try:
                # in this process: workers of Inductor's would each import PyTorch, and there is one file to compile
                with quiet(), torch._inductor.config.patch(compile_threads=1):
                    program = torch.export.export(network, (inputs,))
                    torch._inductor.aoti_compile_and_package(program, package_path=str(package))
            except Exception as error:
                raise RuntimeError(f"cannot be compiled: {reason_of(cause(error))}") from error
            shutil.move(package, file)

    def _prepare(self, source: Any, inputs: Any) -> Run:
        import torch

        _, inputs = converted(None, inputs, self.precision)
        with quiet():
            package = torch._inductor.aoti_load_package(str(source))
        return lambda: package(inputs)


def _compiler() -> str | None:
    """The C++ compiler that Inductor will use."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["clang++"] if sys.platform == "darwin" else ["g++"]
    return next((found for name in names if (found := shutil.which(name))), None)
