"""few-shot-gp: a new device from ten measurements, by a Gaussian process on predicted source latencies (this package).

Two stages. `SourceModels` predict each source device's latency from that device's own samples. The target's latency is
a GP whose kernel sums the predicted source latencies, their mean, option counts, parameters and FLOPs, and a small
layer-wise term; many weightings, noise levels and both scales (raw, log) are averaged by marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors._adapted_latency import AdaptedLatency, Blocks
from nastk.predictors._source_models import SourceModels
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed

Array = NDArray[np.float64]

DESIGN = {"sources": 1.0, "mean": 1.0, "counts": 0.3, "groups": 0.15, "statics": 0.3, "choices": 0.02}
"""Kernel weights by which the architectures to measure are chosen, before anything is known of the device."""


class FewShotGP(FewShotPredictor):
    """Few-shot latency predictor: ``pretrain`` on source devices, ``adapt`` to a new one with a few measurements.

    Args:
        noises: noise variances, relative to the signal's, that are averaged over.
        robust: rounds of reweighting by Student's t noise, for clocks that are coarse or disturbed; each configuration
            is tried both with and without. 0 switches it off.
        freedom: degrees of freedom of that t distribution.
        max_configurations: with many samples, only so many kernel weightings are averaged, evenly spread.

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
    ):
        self.noises, self.robust, self.freedom, self.max_configurations = noises, robust, freedom, max_configurations
        self.sources_: SourceModels | None = None

    # ---- source devices

    def pretrain(self, tasks: Sequence[Task]) -> FewShotGP:
        """Learn the source devices, each from its own samples only.

        Args:
            tasks: one a device, positive values, all of one space; named by `Task.device`.
        """
        self.sources_ = SourceModels.fit(tasks)
        self._features: dict[bytes, Blocks] = {}
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the source devices."""
        return () if self.sources_ is None else self.sources_.devices

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
        copy = FewShotGP(self.noises, self.robust, self.freedom, self.max_configurations)
        copy.sources_ = sources
        copy._features = {}
        return copy

    # ---- features

    def features(self, space: SearchSpace, archs: Archs, context: Context | None = None) -> Blocks:
        """The kernel's feature blocks; the last few large populations are remembered."""
        options = context.build_options if context else {}
        key = archs.tobytes() + repr(sorted(options.items())).encode() if len(archs) > 256 else b""
        if not hasattr(self, "_features"):
            self._features = {}
        if key and key in self._features:
            return self._features[key]
        names, blocks = zip(*self._blocks(space, archs, options), strict=True)
        result = Blocks(names, blocks)
        if key:
            while len(self._features) >= 4:
                self._features.pop(next(iter(self._features)))
            self._features[key] = result
        return result

    def _blocks(self, space: SearchSpace, archs: Archs, options: dict[str, Any]) -> Iterable[tuple[str, Array]]:
        if self.sources_ is not None:
            reference = self.sources_.archs
        else:
            reference = space.sample(1000, seed=0)
        both = np.concatenate([reference, archs])
        n = len(reference)

        def scaled(values: Array) -> Array:
            spread = values[:n].std(axis=0)
            useful = spread > 1e-9 * np.maximum(1.0, np.abs(values[:n]).max(axis=0))
            normal = (values[n:, useful] - values[:n, useful].mean(axis=0)) / spread[useful]
            return normal / np.sqrt(max(int(useful.sum()), 1))

        if self.sources_ is not None:
            logs = np.log(self.sources_.predict(both))
            logs = (logs - logs[:n].mean(axis=0)) / np.maximum(logs[:n].std(axis=0), 1e-9)
            yield "sources", scaled(logs)
            yield "mean", scaled(logs.mean(axis=1, keepdims=True))
        hot = space.one_hot(both)
        yield "counts", scaled(hot @ space.count_matrix()[0])
        grouped = space.count_matrix(grouped=True)[0]
        if grouped.shape[1]:
            yield "groups", scaled(hot @ grouped)
        statics = space.statics(both, **options)
        if statics:
            raw = np.stack(list(statics.values()), axis=1)
            yield "statics", scaled(np.concatenate([raw, np.log1p(raw)], axis=1))
        yield "choices", scaled(hot)

    # ---- which architectures to measure

    def choose(
        self,
        n: int,
        seed: Seed = 0,
        space: SearchSpace | None = None,
        candidates: Archs | None = None,
        pool: int = 600,
        noise: float = 0.1,
        context: Context | None = None,
    ) -> Archs:
        """Architectures to measure on a device of which nothing is known, ``(n, d)``.

        Greedy A-optimal design (integrated posterior variance over a random reference set, as in Cohn, NeurIPS 1996) in
        the kernel's features, among `pool` random candidates: spread out, without running after outliers.

        Args:
            n: how many.
            seed: draws pool and reference set.
            space: where to choose; the sources' space by default.
            candidates: choose among these instead of the whole space.
            noise: noise variance of a measurement, relative to the mean prior variance.
        """
        rng = np.random.default_rng(seed)
        space = space or (self.sources_.space if self.sources_ else None)
        if space is None:
            raise InvalidValue("give the space to choose from")

        def draw() -> Archs:
            if candidates is not None:
                return candidates[rng.permutation(len(candidates))[:pool]]
            return space.sample(min(pool, space.size), rng, unique=True)

        options, reference = draw(), draw()
        if n > len(options):
            raise InvalidValue(f"{n} architectures asked for, only {len(options)} to choose from")
        f = self.features(space, np.concatenate([options, reference]), context).weighted(DESIGN)
        f = np.concatenate([f, np.full((len(f), 1), 2.0)], axis=1)  # an unknown offset
        a, b = f[: len(options)], f[len(options) :]
        floor = noise * float((b**2).sum(axis=1).mean())
        among, to = a @ a.T, b @ a.T
        chosen: list[int] = []
        for _ in range(n):
            gain = (to**2).sum(axis=0) / (among.diagonal() + floor)
            gain[chosen] = -np.inf
            i = int(np.argmax(gain))
            chosen.append(i)
            scale = np.sqrt(among[i, i] + floor)
            column, reach = among[:, i] / scale, to[:, i] / scale
            among = among - np.outer(column, column)
            to = to - np.outer(reach, column)
        return options[chosen]

    # ---- target device

    def adapt(self, task: Task) -> AdaptedLatency:
        if task.device is not None and task.device in self.devices:
            raise InvalidValue(
                f"{task.device} is one of the source devices and would leak its values; use .without([{task.device!r}])"
            )
        if len(task) < 2:
            raise InvalidValue(f"adapting to a device needs at least 2 measurements; got {len(task)}")
        if task.values.min() <= 0:
            raise InvalidValue(f"{task.metric} must be positive; got {task.values.min():g}")
        if np.ptp(task.values) == 0:
            raise InvalidValue(f"all {len(task)} values of {task.metric} are {task.values[0]:g}: nothing to learn")
        if self.sources_ is not None and task.space.choices != self.sources_.space.choices:
            raise InvalidValue(f"pretrained on {self.sources_.space.name}, cannot adapt to {task.space.name}")
        return AdaptedLatency(self, task)

    def predict(self, archs: Any) -> Prediction:
        raise InvalidValue("a few-shot predictor is not a device's; call adapt(task) and predict with what it returns")

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
            self.sources_ = SourceModels.from_state(space, facts["devices"], arrays)
        return self.adapt(task) if task is not None else self
