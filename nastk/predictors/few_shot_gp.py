"""few-shot-gp: a new device from ten measurements, by a Gaussian process on predicted source latencies (this package).

Two stages. `SourceModels` predict each source device's latency from that device's own samples. The target's latency is
a GP whose kernel sums the predicted source latencies, their mean, option counts, parameters and FLOPs, and a small
layer-wise term; many weightings, noise levels, both scales (raw, log) and, in a cell with branches, both readings of it
(as written, or without branches whose results are not used) are averaged by marginal likelihood. The sources' latencies
are predicted, never looked up, so that a target's architectures need no measurement on any other device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._latency_blocks import LatencyBlocks
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors._adapted_latency import AdaptedLatency
from nastk.predictors._cache import Cache
from nastk.predictors._source_models import SourceModels
from nastk.predictors.base import FewShotPredictor, Predictor, Task
from nastk.samplers.a_optimal import AOptimal
from nastk.spaces.base import Archs, SearchSpace, Seed

Array = NDArray[np.float64]

CACHED = 4
"""Settings (space, build options) whose feature blocks one predictor keeps."""


class FewShotGP(FewShotPredictor):
    """Few-shot latency predictor: ``pretrain`` on source devices, ``adapt`` to a new one with a few measurements.

    Args:
        noises: noise variances, relative to the signal's, that are averaged over.
        robust: rounds of reweighting by Student's t noise, for low-resolution timers and disturbed measurements; each
            configuration is tried both with and without. 0 switches it off.
        freedom: degrees of freedom of that t distribution.
        max_configurations: average at most this many kernel weightings, evenly spread over the grid; fewer with many
            samples.
        prior_weight: how much the source devices, each in turn new to the others, say about the configurations before
            the target has been measured (their mean log predictive density, times this). 0, the default: nothing; the
            evidence of ten or twenty measurements alone was as good or better on the literature's device sets.

    Example::

        >>> few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
        >>> archs = few.choose(10, seed=0)                      # what to measure, before anything is measured
        >>> mine = few.adapt(nastk.Task.measure(latency, archs))
        >>> mine.predict(space.enumerate()).mean                # ms
    """

    def __init__(
        self,
        noises: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3),
        robust: int = 3,
        freedom: float = 4.0,
        max_configurations: int = 200,
        prior_weight: float = 0.0,
    ):
        self.noises, self.robust, self.freedom, self.max_configurations = noises, robust, freedom, max_configurations
        self.prior_weight = prior_weight
        self.prior_: Array | None = None
        self._use(None)

    # ---- source devices

    def pretrain(self, tasks: Sequence[Task]) -> FewShotGP:
        """Learn the source devices, each from its own samples only.

        Args:
            tasks: one a device, positive values, all of one space; named by `Task.device`.
        """
        self._check_sources(tasks)
        self._use(SourceModels.fit(tasks))
        if self.prior_weight:
            self.prior_ = self._learn_prior(tasks)
        return self

    def _learn_prior(self, tasks: Sequence[Task], measurements: int = 10, draws: int = 2, held_out: int = 300) -> Array:
        """Log weights ``(2, configurations)`` of the raw and the logarithmic fits, by leaving one source device out."""
        found = []
        for i, task in enumerate(tasks):
            # twins of the device (another batch size) go with it, or it would not be new to the rest
            rest = self.without([str(task.device)], duplicates=0.95)
            if rest.sources_ is None:
                continue
            for draw in range(draws):
                rng = np.random.default_rng([i, draw])
                chosen = {row.tobytes() for row in rest.choose(measurements, seed=rng, candidates=task.archs)}
                measured = np.array([row.tobytes() in chosen for row in task.archs])
                others = rng.permutation(np.flatnonzero(~measured))[:held_out]
                mine = rest.adapt(task.subset(np.flatnonzero(measured)))
                found.append(mine.log_densities(task.archs[others], task.values[others]))
        if not found:
            raise InvalidValue("a prior needs at least two source devices that differ")
        return np.mean(found, axis=0)

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
        copy = FewShotGP(self.noises, self.robust, self.freedom, self.max_configurations, self.prior_weight)
        copy.prior_ = self.prior_
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
        return self._blocks.find(key, lambda: LatencyBlocks(space, self.sources_, context))

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
        arrays = self.sources_.state()
        if self.prior_ is not None:
            arrays["prior"] = self.prior_
        return {"space": self.sources_.space.name, "devices": list(self.devices)}, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        space = space or (task.space if task else None)
        if facts["devices"]:
            assert space is not None
            self._use(SourceModels.from_state(space, facts["devices"], arrays))
            self.prior_ = arrays.get("prior")
        return self.adapt(task) if task is not None else self
