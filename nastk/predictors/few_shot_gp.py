"""few-shot-gp: a new device from ten measurements, by a Gaussian process on predicted source latencies (this package).

Two stages. `SourceModels` predict each source device's latency from that device's own samples. The target's latency is
a GP whose kernel sums the predicted source latencies, their mean, option counts, parameters and FLOPs, and a small
layer-wise term; many weightings, noise levels and both scales (raw, log) are averaged by marginal likelihood.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors._source_models import SourceModels
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed

Array = NDArray[np.float64]

DESIGN = {"sources": 1.0, "mean": 1.0, "counts": 0.3, "groups": 0.15, "statics": 0.3, "choices": 0.02}
"""Kernel weights by which the architectures to measure are chosen, before anything is known of the device."""


def _grid(sources: bool) -> list[dict[str, float]]:
    """Kernel weightings that are averaged over."""
    if not sources:
        axes = itertools.product((0.0, 0.3, 1.0), (0.3, 1.0), (0.02, 0.1, 0.3))
        return [{"counts": c, "groups": c / 2, "statics": s, "choices": w} for c, s, w in axes]
    axes = itertools.product((0.3, 1.0), (1.0, 3.0), (0.0, 0.1, 0.3, 1.0), (0.0, 0.3, 1.0), (0.0, 0.02, 0.1))
    return [
        {"sources": d, "mean": m, "counts": c, "groups": c / 2, "statics": s, "choices": w} for d, m, c, s, w in axes
    ]


@dataclass(frozen=True)
class _Blocks:
    """Feature blocks of architectures, each ``(n, f)`` and scaled to a mean squared norm of one."""

    names: tuple[str, ...]
    blocks: tuple[Array, ...]

    def gram(self, other: _Blocks) -> Array:
        """Inner products of each block, ``(blocks, n, m)``."""
        return np.stack([a @ b.T for a, b in zip(self.blocks, other.blocks, strict=True)])

    def rows(self, index: Any) -> _Blocks:
        return _Blocks(self.names, tuple(b[index] for b in self.blocks))

    def weighted(self, weights: dict[str, float]) -> Array:
        """All blocks side by side, each scaled by the root of its weight."""
        return np.concatenate(
            [np.sqrt(weights.get(n, 0.0)) * b for n, b in zip(self.names, self.blocks, strict=True)], axis=1
        )


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
        self._features: dict[bytes, _Blocks] = {}
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

    def features(self, space: SearchSpace, archs: Archs, context: Context | None = None) -> _Blocks:
        """The kernel's feature blocks; the last few large populations are remembered."""
        options = context.build_options if context else {}
        key = archs.tobytes() + repr(sorted(options.items())).encode() if len(archs) > 256 else b""
        if not hasattr(self, "_features"):
            self._features = {}
        if key and key in self._features:
            return self._features[key]
        names, blocks = zip(*self._blocks(space, archs, options), strict=True)
        result = _Blocks(names, blocks)
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
            raise InvalidValue("nothing is pretrained yet; call pretrain(tasks) first")
        return {"space": self.sources_.space.name, "devices": list(self.devices)}, self.sources_.state()

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> None:
        assert space is not None
        self.sources_ = SourceModels.from_state(space, facts["devices"], arrays)
        self._features = {}


class AdaptedLatency(Predictor):
    """A device's latency, learned by `FewShotGP.adapt`."""

    def __init__(self, few: FewShotGP, task: Task):
        self.few, self.task_ = few, task
        self.fit(task)

    def fit(self, task: Task) -> AdaptedLatency:
        few = self.few
        self.task_ = task
        self.known_ = few.features(task.space, task.archs, task.context)
        names = self.known_.names
        grid = _grid("sources" in names)
        weights = np.unique([[w.get(n, 0.0) for n in names] for w in grid], axis=0)
        limit = few.max_configurations
        if len(task) > 40:
            limit = max(8, int(limit * (40 / len(task)) ** 2))
        if len(weights) > limit:
            weights = weights[np.linspace(0, len(weights) - 1, limit).round().astype(int)]
        y, n = task.values, len(task)
        grams = self.known_.gram(self.known_)
        kernels = np.einsum("cb,bij->cij", weights, grams)
        scale = np.maximum(np.einsum("cii->c", kernels) / n, 1e-12)
        c = len(few.noises)
        kernels = np.repeat(kernels / scale[:, None, None], c, axis=0)
        weights = np.repeat(weights / scale[:, None], c, axis=0)
        noise = np.tile(few.noises, len(kernels) // c)
        self.fits_ = []
        for log in (False, True):
            values = np.log(y) if log else y
            centre, spread = float(values.mean()), float(values.std())
            jacobian = -n * np.log(spread) - (np.log(y).sum() if log else 0.0)
            z = (values - centre) / spread
            precision = np.ones((len(kernels), n))
            for turn in range(few.robust + 1):
                inverse = np.linalg.inv(kernels + noise[:, None, None] * (np.eye(n) / precision[:, :, None]))
                ones = inverse.sum(axis=2)
                total = ones.sum(axis=1)
                offset = (ones @ z) / total
                alpha = np.einsum("cij,cj->ci", inverse, z - offset[:, None])
                variance = np.maximum((alpha * (z - offset[:, None])).sum(axis=1) / n, 1e-6)
                if turn in (0, few.robust):
                    evidence = -0.5 * ((n - 1) * np.log(variance) - np.linalg.slogdet(inverse)[1] + np.log(total))
                    half = few.freedom / 2
                    evidence += ((half - 1) * np.log(precision) - half * (precision - 1)).sum(axis=1) + jacobian
                    self.fits_.append((log, centre, spread, evidence, offset, alpha, variance, inverse))
                diagonal = np.einsum("cii->ci", inverse)
                left_out = (alpha / diagonal) ** 2 * diagonal / variance[:, None]
                precision = np.minimum((few.freedom + 1) / (few.freedom + left_out), 1.0)
        evidence = np.stack([f[3] for f in self.fits_])
        posterior = np.exp(evidence - evidence.max())
        self.posterior_ = posterior / posterior.sum()
        self.weights_, self.noise_ = weights, noise
        return self

    def predict(self, archs: Any) -> Prediction:
        """Mean and standard deviation of a measurement, in its unit, averaged over all configurations."""
        archs = self._checked(archs)
        if not len(archs):
            return Prediction(np.empty(0), np.empty(0))
        features = self.few.features(self.task_.space, archs, self.task_.context)
        cross = features.gram(self.known_)
        self_norm = np.stack([(b**2).sum(axis=1) for b in features.blocks])
        total = np.zeros(len(archs))
        second = np.zeros(len(archs))
        low, high = self.task_.values.min(), self.task_.values.max()
        for (log, centre, spread, _, offset, alpha, variance, inverse), p in zip(
            self.fits_, self.posterior_, strict=True
        ):
            mass = float(p.sum())
            if mass < 1e-4:
                continue
            q = p / mass
            coefficients = np.einsum("c,cb,ci->bi", q, self.weights_, alpha)
            mean = np.einsum("bni,bi->n", cross, coefficients) + float(q @ offset)
            spread_z = np.zeros(len(archs))
            heavy = np.argsort(-q)[:4]
            for c in heavy:
                reach = np.einsum("b,bni->ni", self.weights_[c], cross)
                left = self.weights_[c] @ self_norm - np.einsum("ni,ij,nj->n", reach, inverse[c], reach)
                here = reach @ alpha[c] + offset[c]
                spread_z += q[c] * (variance[c] * (np.maximum(left, 0.0) + self.noise_[c]) + (here - mean) ** 2)
            std = np.sqrt(spread_z / q[heavy].sum()) * spread
            value = mean * spread + centre
            if log:
                value = np.exp(np.clip(value, np.log(low) - 3.0, np.log(high) + 3.0))
                std = value * np.minimum(std, 2.0)
            value = np.maximum(value, 0.1 * low)
            total += mass * value
            second += mass * (std**2 + value**2)
        kept = sum(float(p.sum()) for p in self.posterior_ if p.sum() >= 1e-4)
        mean = total / kept
        return Prediction(mean, np.sqrt(np.maximum(second / kept - mean**2, 0.0)))

    def resembles(self) -> list[tuple[str, float]]:
        """Source devices by Spearman correlation of their predicted latencies with the measurements, best first."""
        from scipy.stats import spearmanr

        sources = self.few.sources_
        if sources is None:
            return []
        predicted = sources.predict(self.task_.archs)
        pairs = [
            (name, float(spearmanr(predicted[:, j], self.task_.values).statistic))
            for j, name in enumerate(sources.devices)
        ]
        return sorted(pairs, key=lambda pair: -pair[1])
