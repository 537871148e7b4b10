"""Peak memory of a network's forward pass, as the runtime that runs it counts."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nastk.errors import InvalidValue, NastkError, Unsupported
from nastk.evaluation import Kind, reason_of
from nastk.oracles._on_runtime import RuntimeOracle
from nastk.oracles.base import Evaluation
from nastk.spaces.base import Archs, SearchSpace


class PeakMemory(RuntimeOracle):
    """MB (10^6 bytes) of weights, inputs and live activations at their greatest during one forward pass.

    On the CPU it is counted tensor by tensor, exactly and whatever else the machine does; workspace within an operator
    is not seen. On CUDA it is the allocator's own peak. A network that cannot be built or run gets NaN, and
    :attr:`reasons` says why.

    Args:
        space: whose networks to run.
        options: `device`, `runtime`, `batch`, `threads`, `precision`, `calibration` and options of `SearchSpace.build`,
            as of `nastk.oracles.Latency`.

    Raises:
        Unsupported: the runtime does not tell how much memory a network takes, or the space builds no networks.
        NastkError: as `nastk.oracles.Latency` does.
    """

    name = "peak_memory"
    unit = "MB"

    def __init__(self, space: SearchSpace, **options: Any):
        super().__init__(space, **options)
        if not self._runtime.reports_memory:
            raise Unsupported(
                f"the {self._runtime.name} runtime does not tell how much memory a network takes; torch does"
            )
        self.source = f"peak of one forward pass on {self.setting}"

    @property
    def kind(self) -> Kind:
        return "computed" if self._runtime.device.type == "cpu" else "measured"

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        found = [self._peak(arch) for arch in archs]
        value, cost = np.array(found, dtype=np.float64).reshape(-1, 2).T.copy()
        return Evaluation(value, np.where(np.isnan(value), np.nan, 0.0), cost)

    def _peak(self, arch: Archs) -> tuple[float, float]:
        """MB, NaN where the network fails, and the seconds that it took."""
        import torch

        started, peak = time.perf_counter(), float("nan")
        try:
            network, inputs = self._network(arch)
            with self._runtime.running(), torch.inference_mode():
                peak = self._runtime.peak_memory(network, inputs)
        except NastkError:
            raise
        except (Exception, SystemExit) as error:
            self.reasons[self.space.format(arch)] = reason_of(error)
        return peak, time.perf_counter() - started
