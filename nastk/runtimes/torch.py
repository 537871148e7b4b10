"""PyTorch in eager mode: the module itself, on the CPU, CUDA or an Apple GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nastk.runtimes.base import Run, Runtime


class Torch(Runtime):
    """Calls the module. CUDA is timed by events, everything else by the wall clock."""

    name = "torch"
    devices = ("cpu", "cuda", "mps")
    reports_memory = True

    def describe(self) -> str:
        import torch

        return f"{self.name} {torch.__version__.split('+')[0]}"

    def _prepare(self, source: Any, inputs: Any) -> Run:
        return lambda: source(inputs)

    def timer(self, run: Run) -> Callable[[], float]:
        """Milliseconds of one run: on CUDA between two events of the module's stream, elsewhere by the wall clock."""
        import torch

        if self.device.type != "cuda":
            return super().timer(run)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

        def timed() -> float:
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end))

        return timed

    def peak_memory(self, network: Any, inputs: Any) -> float:
        """MB (10^6 bytes), counted tensor by tensor (workspace within an operator is not seen); on CUDA the
        allocator's own peak.
        """
        import torch

        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            network(inputs)
            self.synchronise()
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        from nastk.runtimes._peak_memory import PeakMemory

        held = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers(), inputs))
        with PeakMemory() as tracker:
            network(inputs)
        return (held + tracker.peak) / 1e6
