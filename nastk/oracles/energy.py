"""Energy of a network's forward pass on this machine's processor, from its own counters (RAPL)."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.oracles._on_runtime import RuntimeOracle
from nastk.oracles._rapl import POWERCAP, Rapl
from nastk.oracles.base import Evaluation
from nastk.spaces.base import Archs, SearchSpace

MEDIAN_STD = 1.2533
"""Standard deviation of the median of many normal numbers, times the square root of their number: sqrt(pi / 2)."""


class Energy(RuntimeOracle):
    """Millijoules of one run, an expensive oracle: what the processor's packages used, divided by the runs.

    Nothing is subtracted: a package's counter has all of its cores, caches and memory controller, idle ones included,
    and whatever else runs on the machine. So compare networks with each other, on a quiet machine; what the rest of the
    machine uses (memory, disks, power supply) is not in it.

    Networks are measured round-robin, as by `nastk.oracles.Latency`: in each round each runs for `seconds`, between two
    readings. The value is the median of the rounds, the standard deviation that of the median. A network that cannot be
    built or run gets NaN, and :attr:`reasons` says why.

    Args:
        space: whose networks to run.
        rounds: visits to each network.
        seconds: least time between the two readings of a round, in which counters that are updated every millisecond
            or so, and begin anew after minutes, are exact to a percent.
        together: how many networks are measured together; an interruption loses them.
        powercap: folder in which the kernel shows its counters.
        options: `device`, `runtime`, `batch`, `threads`, `precision`, `calibration` and options of `SearchSpace.build`,
            as of `nastk.oracles.Latency`.

    Raises:
        Unsupported: the kernel shows no counter; the message says what would work instead.
        InvalidValue: another device than the processor, or an option below its least value.
        NastkError: this user may not read the counters; as `nastk.oracles.Latency` does.
    """

    name = "energy"
    unit = "mJ"
    few_shot = True
    noisy = True

    def __init__(
        self,
        space: SearchSpace,
        rounds: int = 5,
        seconds: float = 0.5,
        together: int = 10,
        powercap: str | os.PathLike[str] = POWERCAP,
        **options: Any,
    ):
        super().__init__(space, **options)
        if self._runtime.device.type != "cpu":
            raise InvalidValue(f"energy is measured of the processor only, not of {self.device}")
        if rounds < 1 or together < 1 or not seconds > 0:
            raise InvalidValue("energy: rounds and together are at least 1, and seconds more than 0")
        self.rounds, self.seconds, self.together = rounds, seconds, together
        self._counters = Rapl(powercap)
        count = len(self._counters.domains)
        packages = "the whole processor package" if count == 1 else f"{count} whole processor packages"
        self.source = f"energy of {packages} (RAPL), idle included, measured on {self.setting}"

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        found: list[_Visited] = []
        for start in range(0, len(archs), self.together):
            found += self._measure_together(archs[start : start + self.together])
        return Evaluation(
            np.array([f.median for f in found], dtype=np.float64),
            np.array([f.std for f in found], dtype=np.float64),
            np.array([f.cost for f in found], dtype=np.float64),
        )

    def _measure_together(self, archs: Archs) -> list[_Visited]:
        visited = [_Visited() for _ in archs]
        with self._runtime.running(), tempfile.TemporaryDirectory() as folder:
            for _ in range(self.rounds):
                for i, (arch, so_far) in enumerate(zip(archs, visited, strict=True)):
                    if so_far.failed:
                        continue
                    started = time.perf_counter()
                    try:
                        so_far.rounds.append(self._visit(arch, Path(folder) / f"{i}{self._runtime.suffix}"))
                    except NastkError:
                        raise
                    except (Exception, SystemExit) as error:
                        so_far.failed = True
                        self.reasons[self.space.format(arch)] = reason_of(error)
                    so_far.cost += time.perf_counter() - started
        return visited

    def _visit(self, arch: Archs, exported: Path) -> float:
        """Build the network, warm it up and run it for `seconds`: mJ a run."""
        import torch

        network, inputs = self._network(arch)
        with torch.inference_mode():
            run = self._runtime.prepare(network, inputs, exported)
            run()
            run()
            runs, before, begun = 0, self._counters.read(), time.perf_counter()
            while time.perf_counter() - begun < self.seconds:
                run()
                runs += 1
            spent = self._counters.since(before)
        if spent <= 0:
            raise NastkError(
                "energy: the processor's counter did not move while the network ran, as one of a virtual machine may"
            )
        return spent / runs


@dataclass
class _Visited:
    """A network under measurement: mJ a run of each round so far."""

    rounds: list[float] = field(default_factory=list)
    cost: float = 0.0
    failed: bool = False

    @property
    def median(self) -> float:
        return float("nan") if self.failed else float(np.median(self.rounds))

    @property
    def std(self) -> float:
        """Of the median; unknown after a single round."""
        if self.failed or len(self.rounds) < 2:
            return float("nan")
        return MEDIAN_STD * float(np.std(self.rounds, ddof=1)) / len(self.rounds) ** 0.5
