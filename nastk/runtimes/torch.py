"""PyTorch in eager mode: the module itself, on the CPU, CUDA or an Apple GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nastk.runtimes._conversion import converted
from nastk.runtimes.base import Run, Runtime

SETTLED = 0.02
"""A GPU's clock is settled when the latest times of the same work are no further apart than this share of them."""


class Torch(Runtime):
    """Calls the module. CUDA is timed by events, everything else by the wall clock.

    fp16 and bf16 run a copy of the module whose weights were converted, on inputs in the same precision.
    """

    name = "torch"
    devices = ("cpu", "cuda", "mps")
    precisions = ("fp32", "fp16", "bf16")
    reports_memory = True

    def describe(self) -> str:
        import torch

        return f"{self.name} {torch.__version__.split('+')[0]}"

    def _prepare(self, source: Any, inputs: Any) -> Run:
        network, inputs = converted(source, inputs, self.precision)
        return lambda: network(inputs)

    def settle(self) -> None:
        """Keep a CUDA device busy until its clock is steady, two seconds at most: idle, it runs at a lower one."""
        import torch

        if self.device.type != "cuda":
            return
        matrix = torch.zeros(2048, 2048, device=self.device)
        timed = self.timer(lambda: [matrix @ matrix for _ in range(10)])
        _repeat_until_steady(timed)

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

        network, inputs = converted(network, inputs, self.precision)
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


def _repeat_until_steady(timed: Callable[[], float], latest: int = 8, seconds: float = 2.0) -> None:
    """Call until `latest` times in a row are within :data:`SETTLED` of the least of them, or `seconds` have passed."""
    begun, times = time.perf_counter(), [timed()]
    while time.perf_counter() - begun < seconds:
        times.append(timed())
        last = times[-latest:]
        if len(last) == latest and max(last) <= (1 + SETTLED) * min(last):
            return
