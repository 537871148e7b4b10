"""The device side of few-shot-gp: a GP on predicted source latencies, averaged over its configurations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._latency_blocks import COMPILED
from nastk.gaussian import explained_variance, left_out_residuals
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Seed

if TYPE_CHECKING:
    from nastk.predictors.few_shot_gp import FewShotGP

Array = NDArray[np.float64]


def _grid(sources: bool) -> list[dict[str, float]]:
    """Kernel weightings that are averaged over."""
    if not sources:
        alone = itertools.product((0.0, 0.3, 1.0), (0.3, 1.0), (0.02, 0.1, 0.3))
        return [{"counts": c, "groups": c / 2, "statics": s, "choices": w} for c, s, w in alone]
    axes = itertools.product((0.3, 1.0), (1.0, 3.0), (0.0, 0.1, 0.3, 1.0), (0.0, 0.3, 1.0), (0.0, 0.02, 0.1))
    return [
        {"sources": d, "mean": m, "counts": c, "groups": c / 2, "statics": s, "choices": w} for d, m, c, s, w in axes
    ]


def _weights(grid: list[dict[str, float]], names: Sequence[str], reading: str, limit: int) -> Array:
    """At most `limit` weightings ``(c, blocks)`` of one reading's blocks."""
    columns = [n.removesuffix(reading) if n.endswith(reading) else "" for n in names]
    weights = np.unique([[w.get(column, 0.0) for column in columns] for w in grid], axis=0)
    if len(weights) > limit:
        weights = weights[np.linspace(0, len(weights) - 1, limit).round().astype(int)]
    return weights


@dataclass(frozen=True)
class _Fits:
    """GPs of one scale (raw or logarithmic) and one noise model: ``c`` configurations over ``n`` measurements.

    Args:
        log: whether logarithms are modelled.
        configuration: ``(c,)`` number of each configuration.
        centre, spread: of the modelled values.
        weights: ``(c, blocks)`` of the kernel.
        noise: ``(c,)`` noise variance relative to the signal's.
        evidence: ``(c,)`` log marginal likelihood.
        offset, alpha, variance, inverse: ``(c,)``, ``(c, n)``, ``(c,)`` and ``(c, n, n)``: constant, kernel weights of
            the measurements, signal variance, inverse covariance.
    """

    log: bool
    configuration: NDArray[np.int64]
    centre: float
    spread: float
    weights: Array
    noise: Array
    evidence: Array
    offset: Array
    alpha: Array
    variance: Array
    inverse: Array


ODDS = 1 / 9
"""Prior odds that a runtime compiles (pixel3, raspi4, edgegpu and edgetpu of HW-NAS-Bench do), not runs what is
written."""
LIFTED = 0.02
"""Share of the median to which lower values are lifted before logarithms, which a few near zero would dominate."""
NEGLIGIBLE = 10.0
"""Log evidence below the best at which a configuration is not tried with robust noise."""


class AdaptedLatency(Predictor):
    """A device's latency, learned by `FewShotGP.adapt`."""

    def __init__(self, few: FewShotGP, task: Task):
        self.few, self.task_ = few, task
        self.fit(task)

    def fit(self, task: Task) -> AdaptedLatency:
        few = self.few
        self.task_ = task
        self.known_ = few.features(task.space, task.context)(task.archs)
        names = self.known_.names
        grid = _grid("sources" in names)
        limit = few.max_configurations
        if len(task) > 40:
            limit = max(8, int(limit * (40 / len(task)) ** 2))
        readings = ("", COMPILED) if self.known_.compiled.any() else ("",)
        weights = np.concatenate([_weights(grid, names, reading, limit) for reading in readings])
        kernels = np.einsum("cb,bij->cij", weights, self.known_.gram(self.known_))
        scale = np.maximum(np.einsum("cii->c", kernels) / len(task), 1e-12)
        kernels = np.repeat(kernels / scale[:, None, None], len(few.noises), axis=0)
        weights = np.repeat(weights / scale[:, None], len(few.noises), axis=0)
        noise = np.tile(np.asarray(few.noises, dtype=np.float64), len(scale))
        self.fits_: list[_Fits] = []
        for log in (False, True):
            self.fits_ += self._fits(log, kernels, weights, noise)
        evidence = np.concatenate([f.evidence for f in self.fits_])
        if few.prior_ is not None and few.prior_.shape[1] == len(noise):
            evidence += few.prior_weight * np.concatenate([few.prior_[int(f.log), f.configuration] for f in self.fits_])
        compiled = [f.weights[:, self.known_.compiled].any(axis=1) for f in self.fits_]
        evidence += np.log(ODDS) * np.concatenate(compiled)
        posterior = np.exp(evidence - evidence.max())
        self.posterior_ = np.split(posterior / posterior.sum(), np.cumsum([len(f.noise) for f in self.fits_])[:-1])
        return self

    def _fits(self, log: bool, kernels: Array, weights: Array, noise: Array) -> list[_Fits]:
        """With Gaussian noise, and then, where that is not hopeless, with Student's t by iterated reweighting."""
        values, n, few = self._modelled(log), len(self.task_), self.few
        centre, spread = float(values.mean()), float(values.std())
        jacobian = -n * np.log(spread) - (values.sum() if log else 0.0)
        z = (values - centre) / spread
        precision: Array = np.ones((len(kernels), n))
        number = np.arange(len(kernels))
        found = []
        for turn in range(few.robust + 1):
            inverse = np.linalg.inv(kernels + noise[:, None, None] * (np.eye(n) / precision[:, :, None]))
            ones = inverse.sum(axis=2)
            total = ones.sum(axis=1)
            offset = (ones @ z) / total
            alpha = np.einsum("cij,cj->ci", inverse, z - offset[:, None])
            variance: Array = np.maximum((alpha * (z - offset[:, None])).sum(axis=1) / n, 1e-6)
            if turn in (0, few.robust):
                evidence = -0.5 * ((n - 1) * np.log(variance) - np.linalg.slogdet(inverse)[1] + np.log(total))
                half = few.freedom / 2
                evidence += ((half - 1) * np.log(precision) - half * (precision - 1)).sum(axis=1) + jacobian
                solved = offset, alpha, variance, np.asarray(inverse)
                found.append(_Fits(log, number, centre, spread, weights, noise, evidence, *solved))
            diagonal = np.einsum("cii->ci", inverse)
            left_out: Array = alpha**2 / diagonal / variance[:, None]
            precision = np.minimum((few.freedom + 1) / (few.freedom + left_out), 1.0)
            if turn == 0:
                kept = evidence > evidence.max() - NEGLIGIBLE
                kernels, weights, noise, precision = kernels[kept], weights[kept], noise[kept], precision[kept]
                number = number[kept]
        return found

    def _modelled(self, log: bool) -> Array:
        """The measurements, or their logarithms, ``(n,)``."""
        y = self.task_.values
        return np.log(np.maximum(y, LIFTED * np.median(y))) if log else y

    def predict(self, archs: Any) -> Prediction:
        """Mean and standard deviation of a measurement, in its unit, averaged over all configurations."""
        archs = self._checked(archs)
        if not len(archs):
            return Prediction(np.empty(0), np.empty(0))
        features = self.few.features(self.task_.space, self.task_.context)(archs)
        cross = features.gram(self.known_)
        self_norm = np.stack([(b**2).sum(axis=1) for b in features.blocks])
        total, second, kept = np.zeros(len(archs)), np.zeros(len(archs)), 0.0
        low, high = self.task_.values.min(), self.task_.values.max()
        for fit, posterior in zip(self.fits_, self.posterior_, strict=True):
            mass = float(posterior.sum())
            if mass < 1e-4:
                continue
            q = posterior / mass
            coefficients = np.einsum("c,cb,ci->bi", q, fit.weights, fit.alpha)
            mean = (cross @ coefficients[:, :, None]).sum(axis=0)[:, 0] + float(q @ fit.offset)
            spread_z = np.zeros(len(archs))
            heavy = np.argsort(-q)[:4]
            for c in heavy:
                reach = np.tensordot(fit.weights[c], cross, axes=1)
                left = fit.weights[c] @ self_norm - explained_variance(reach, fit.inverse[c])
                here = reach @ fit.alpha[c] + fit.offset[c]
                spread_z += q[c] * (fit.variance[c] * (np.maximum(left, 0.0) + fit.noise[c]) + (here - mean) ** 2)
            std = np.sqrt(spread_z / q[heavy].sum()) * fit.spread
            value = mean * fit.spread + fit.centre
            if fit.log:
                value = np.exp(np.clip(value, np.log(low) - 3.0, np.log(high) + 3.0))
                std = value * np.minimum(std, 2.0)
            value = np.maximum(value, 0.1 * low)
            total += mass * value
            second += mass * (std**2 + value**2)
            kept += mass
        mean = total / kept
        return Prediction(mean, np.sqrt(np.maximum(second / kept - mean**2, 0.0)))

    def sample(self, archs: Any, n: int, seed: Seed = None) -> Array:
        """Joint draws of measurements, ``(n, n_archs)``, of a configuration each that is drawn by its posterior.

        The kernel is a sum of inner products of features, so that a draw is a random weighting of them, moved to the
        measurements by Matheron's rule (Wilson et al., ICML 2020).
        """
        archs = self._checked(archs)
        rng = np.random.default_rng(seed)
        features = self.few.features(self.task_.space, self.task_.context)(archs)
        cross = features.gram(self.known_)
        chances = np.concatenate(self.posterior_)
        places = [(i, c) for i, fit in enumerate(self.fits_) for c in range(len(fit.noise))]
        low, high = self.task_.values.min(), self.task_.values.max()
        which, place = np.unique(archs, axis=0, return_inverse=True)  # one measurement of each
        draws = np.empty((n, len(archs)))
        for row, drawn in enumerate(rng.choice(len(places), n, p=chances / chances.sum())):
            number, c = places[drawn]
            fit = self.fits_[number]
            prior, measured = np.zeros(len(archs)), np.zeros(len(self.task_))
            for weight, block, known in zip(fit.weights[c], features.blocks, self.known_.blocks, strict=True):
                random = np.sqrt(weight) * rng.standard_normal(block.shape[1])
                prior += block @ random
                measured += known @ random
            measured += np.sqrt(fit.noise[c]) * rng.standard_normal(len(measured))
            moved = fit.alpha[c] - np.sqrt(fit.variance[c]) * (fit.inverse[c] @ measured)
            value = fit.offset[c] + np.sqrt(fit.variance[c]) * prior
            value += np.tensordot(fit.weights[c], cross, axes=1) @ moved
            value += np.sqrt(fit.variance[c] * fit.noise[c]) * rng.standard_normal(len(which))[place.ravel()]
            value = value * fit.spread + fit.centre
            if fit.log:
                value = np.exp(np.clip(value, np.log(low) - 3.0, np.log(high) + 3.0))
            draws[row] = np.maximum(value, 0.1 * low)
        return draws

    def log_densities(self, archs: Any, values: Array) -> Array:
        """Mean log predictive density of true values under each configuration with Gaussian noise, raw and log,
        ``(2, configurations)``; a single surprise counts for at most ten nats below the median."""
        features = self.few.features(self.task_.space, self.task_.context)(self._checked(archs))
        cross = features.gram(self.known_)
        self_norm = np.stack([(b**2).sum(axis=1) for b in features.blocks])
        found: list[Array] = []
        for fit in self.fits_:
            if len(found) == 1 + fit.log:
                continue  # the robust variant
            y = np.log(values) if fit.log else values
            z = (y - fit.centre) / fit.spread
            reach = np.einsum("cb,bni->cni", fit.weights, cross)
            mean = np.einsum("cni,ci->cn", reach, fit.alpha) + fit.offset[:, None]
            left = fit.weights @ self_norm - explained_variance(reach, fit.inverse)
            variance = fit.variance[:, None] * (np.maximum(left, 0.0) + fit.noise[:, None])
            density = -0.5 * (np.log(2 * np.pi * variance) + (z - mean) ** 2 / variance) - np.log(fit.spread)
            density -= y if fit.log else 0.0
            found.append(np.maximum(density, np.median(density) - 10.0).mean(axis=1))
        return np.stack(found)

    def left_out(self) -> Array:
        """For each measured architecture its value as the others predict it, ``(n,)``, in the metric's unit.

        In closed form (Rasmussen & Williams 2006, Section 5.4.2): how far to trust the predictions, at no extra cost.
        """
        total = np.zeros(len(self.task_))
        for fit, posterior in zip(self.fits_, self.posterior_, strict=True):
            y = self._modelled(fit.log)
            z = (y - fit.centre) / fit.spread
            residuals = left_out_residuals(fit.alpha, np.einsum("cii->ci", fit.inverse))
            values = (z - residuals) * fit.spread + fit.centre
            low, high = y.min(), y.max()
            room = 3.0 if fit.log else high - low
            values = np.clip(values, low - room, high + room)
            total += posterior @ (np.exp(values) if fit.log else np.maximum(values, 0.1 * low))
        return total

    def resembles(self) -> list[tuple[str, float]]:
        """Source devices by Spearman correlation of their predicted latencies with the measurements, best first."""
        from scipy.stats import spearmanr

        sources = self.few.sources_
        if sources is None:
            return []
        predicted = sources(self.task_.archs)
        pairs = [
            (name, float(spearmanr(predicted[:, j], self.task_.values).statistic))
            for j, name in enumerate(sources.devices)
        ]
        return sorted(pairs, key=lambda pair: -pair[1])

    @property
    def template(self) -> Predictor:
        return self.few

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        facts, arrays = self.few.learned()
        return facts, {**arrays, "task.archs": self.task_.archs, "task.values": self.task_.values}
