"""few-shot-gp: a new device from ten measurements, by a Gaussian process on predicted source latencies (this package).

Two stages. `SourceModels` predict each source device's latency from that device's own samples; where source devices are
few, some join them whose latencies are calculated from the networks' operators. The target's latency is a GP whose
kernel sums the predicted source latencies, their mean, option counts, parameters and FLOPs, and a small layer-wise
term; many weightings, noise levels, both scales (raw, log) and, in a cell with branches, the readings of what a runtime
executes of it are averaged by marginal likelihood. The sources' latencies are predicted, never looked up, so that a
target's architectures need no measurement on any other device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._latency_blocks import LatencyBlocks
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors._adapted_latency import AdaptedLatency
from nastk.predictors._cache import Cache
from nastk.predictors._calculated_devices import Together, calculated_devices
from nastk.predictors._source_models import SourceModels
from nastk.predictors.base import FewShotPredictor, Predictor, Task
from nastk.samplers.a_optimal import AOptimal
from nastk.spaces.base import Archs, SearchSpace, Seed

Array = NDArray[np.float64]

ENOUGH = 10
"""Measured source devices beside which calculated ones add nothing."""
CACHED = 4
"""Settings (space, build options) whose feature blocks one predictor keeps."""


class FewShotGP(FewShotPredictor):
    """Few-shot latency predictor: ``pretrain`` on source devices, ``adapt`` to a new one with a few measurements.

    Args:
        robust: rounds of reweighting by Student's t noise, for low-resolution timers and disturbed measurements; each
            configuration is tried both with and without, and also without the measurement that fits worst. 0 switches
            all of that off.
        freedom: degrees of freedom of that t distribution.
        max_configurations: try at most this many kernels, the most probable ones; fewer with many samples.
        calculated: with fewer than :data:`ENOUGH` source devices, also use latencies calculated from the operators of
            the space's networks (`nastk.predictors._calculated_devices`), where it builds any. That takes seconds, once
            a process. "always" does so beside more devices, for sources of one kind, which know little of others: the
            shipped ones of mobilenetv3 are twelve graphics processors.

    Example::

        >>> few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
        >>> archs = few.choose(10, seed=0)                      # what to measure, before anything is measured
        >>> mine = few.adapt(nastk.Task.measure(latency, archs))
        >>> mine.predict(space.enumerate()).mean                # ms
    """

    def __init__(
        self,
        robust: int = 3,
        freedom: float = 4.0,
        max_configurations: int = 700,
        calculated: bool | Literal["always"] = True,
    ):
        self.robust, self.freedom, self.max_configurations = robust, freedom, max_configurations
        self.calculated = calculated
        self._use(None)

    # ---- source devices

    def pretrain(self, tasks: Sequence[Task]) -> FewShotGP:
        """Learn the source devices, each from its own samples only.

        Args:
            tasks: one a device, positive values, all of one space; named by `Task.device`.
        """
        self._check_sources(tasks)
        self._use(SourceModels.fit(tasks))
        return self

    def learn_more(self, tasks: Sequence[Task]) -> FewShotGP:
        """Learn further source devices beside those that are known; tasks as of :meth:`pretrain`."""
        self._check_sources(tasks)
        more = SourceModels.fit(tasks)
        self._use(more if self.sources_ is None else self.sources_.joined(more))
        return self

    def without(self, devices: Iterable[str], duplicates: float | None = None) -> FewShotGP:
        """A copy without some sources: those named, and with `duplicates` also every source whose predicted latencies
        rank the architectures like a named one (Spearman above `duplicates`); names that are no source are ignored."""
        if self.sources_ is None:
            return self
        return self._copy(self.sources_.without(set(devices), duplicates))

    def only(self, devices: Sequence[str]) -> FewShotGP:
        """A copy with only these sources.

        Raises:
            UnknownName: one of them is not a source.
        """
        for name in devices:
            if name not in self.devices:
                raise UnknownName("source device", name, self.devices)
        return self.without(set(self.devices) - set(devices))

    def _copy(self, sources: SourceModels | None) -> FewShotGP:
        copy = FewShotGP(self.robust, self.freedom, self.max_configurations, self.calculated)
        copy._use(sources)
        return copy

    def _use(self, sources: SourceModels | None) -> None:
        self.sources_ = sources
        self.devices_ = () if sources is None else sources.devices
        self.source_space = None if sources is None else sources.space
        self._blocks: Cache[LatencyBlocks] = Cache(CACHED)

    def features(self, space: SearchSpace, context: Context | None = None) -> LatencyBlocks:
        """What turns architectures of a space into the kernel's feature blocks; kept, and shared with copies."""
        space = space.whole  # a pool's features are its space's, so that predictions do not depend on what it holds
        key = f"{space.name} {sorted(context.build_options.items()) if context else []}"
        return self._blocks.find(key, lambda: self._latency_blocks(space, context))

    def _latency_blocks(self, space: SearchSpace, context: Context | None) -> LatencyBlocks:
        calculated = None
        if self.calculated == "always" or (self.calculated and len(self.devices_) < ENOUGH):
            calculated = calculated_devices(space, context.build_options if context else {})
        if calculated is None:
            return LatencyBlocks(space, self.sources_, context)
        together = Together(self.sources_, calculated)
        return LatencyBlocks(space, together, context, together.trust)

    # ---- which architectures to measure

    def choose(
        self,
        n: int,
        space: SearchSpace | None = None,
        *,
        candidates: Archs | None = None,
        seed: Seed = 0,
        context: Context | None = None,
    ) -> Archs:
        """Architectures to measure on a device of which nothing is known, ``(n, d)``: the sampler ``a-optimal``.

        Args:
            n: how many.
            space: where to choose; the sources' space by default.
            candidates: choose among these instead of the whole space.
            seed: draws pool and reference set.
            context: where looked-up features come from.
        """
        space = space or self.source_space
        if space is None:
            raise InvalidValue("give the space to choose from")
        return AOptimal(blocks=self.features(space, context)).choose(n, space, candidates=candidates, seed=seed)

    # ---- target device

    def adapt(self, task: Task) -> AdaptedLatency:
        self._check_target(task)
        return AdaptedLatency(self, task)

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        if self.sources_ is None:
            return {"space": None, "devices": []}, {}
        return {"space": self.sources_.space.name, "devices": list(self.devices)}, self.sources_.state()

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        space = space or (task.space if task else None)
        if facts["devices"]:
            assert space is not None
            self._use(SourceModels.from_state(space, facts["devices"], arrays))
        return self.adapt(task) if task is not None else self
