"""The device side of few-shot-gp: a GP on predicted source latencies, averaged over its configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.gaussian import explained_variance, greedy_design, left_out_residuals
from nastk.predictors._latency_prior import kernels
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs, Seed

if TYPE_CHECKING:
    from nastk.predictors.few_shot_gp import FewShotGP

Array = NDArray[np.float64]


LOG_FLOOR = 0.02
"""Share of the median to which lower values are lifted before logarithms, which a few near zero would dominate; the
tables of pixel3 and raspi4 (NAS-Bench-201) hold such values."""
NEGLIGIBLE = 7.0
"""Log posterior probability below the best at which a configuration is left out (a thousandth)."""
MOST = 300
"""Configurations that are kept at most, the most probable: each inverts a matrix for every round of reweighting."""
MANY = 40
"""Measurements from which on fewer kernels are tried: one costs the cube of their number, and the more of them there
are, the less the evidence leaves to average over."""
FEWEST = 16
"""Kernels that are tried however many measurements there are."""
WIDER = 1.3
"""Factor on every standard deviation: kernels that are chosen by the measurements promise too much. Learned on devices
of other families than those it was tested on (docs/latency.md)."""
TELLING = 8
"""Measurements from which on the spread of the predictions tells their error: at five it does not (correlation about
0, docs/latency.md)."""
REFERENCE = 500
"""Random networks over which the expected error is a median."""
NEXT_POOL = 600
"""Random networks among which the next measurements are chosen, as many as the designs before the first draw."""
LEAST_SIGNAL = 1e-6
"""Floor of the signal variance, where measurements follow a configuration without any rest."""
LEAST_MASS = 1e-4
"""Posterior probability under which a scale with a noise model is left out of predictions."""
HEAVIEST = 4
"""Configurations of each scale and noise model whose variances are computed, the most probable ones; means are of all.
A mean is linear in the kernel, so that all configurations share one product, but each variance needs its own."""
LOG_ROOM = 3.0
"""How far, in nats, a prediction on the log scale may leave the range of the measurements (a factor of 20): it is
exponentiated, and one absurd value would rule the average over the scales."""
DISTURBED = 0.05
"""Prior probability that one of the measurements, whichever, was disturbed and says nothing."""
AS_NOTHING = 1e-6
"""Precision of a disturbed measurement, relative to the others'."""
RAW_FLOOR = 0.1
"""Share of the least measurement below which no latency is predicted: on the raw scale a Gaussian can be negative."""


@dataclass(frozen=True)
class _Fits:
    """GPs of one scale (raw or logarithmic) and one noise model (Gaussian, Student's t, Gaussian but for one disturbed
    measurement): ``c`` configurations over ``n`` measurements.

    Args:
        log: whether logarithms are modelled.
        centre, spread: of the modelled values.
        weights: ``(c, blocks)`` of the kernel.
        noise: ``(c,)`` noise variance relative to the signal's.
        evidence: ``(c,)`` log marginal likelihood, plus the log prior probability of the configuration.
        offset, alpha, variance, inverse: ``(c,)``, ``(c, n)``, ``(c,)`` and ``(c, n, n)``: constant, kernel weights of
            the measurements, signal variance, inverse covariance.
    """

    log: bool
    centre: float
    spread: float
    weights: Array
    noise: Array
    evidence: Array
    offset: Array
    alpha: Array
    variance: Array
    inverse: Array


def _evidence(n: int, variance: Array, log_precision: Array, total: Array) -> Array:
    """Log marginal likelihood, the mean integrated out (Rasmussen & Williams 2006, equation 2.45), up to a constant.

    Args:
        n: measurements.
        variance: of the signal.
        log_precision: log determinant of the inverse covariance.
        total: sum of the inverse covariance's elements.
    """
    return -0.5 * ((n - 1) * np.log(variance) - log_precision + np.log(total))


def _widening(n: int) -> float:
    """Factor on standard deviations: the signal's variance is estimated from n measurements (a t distribution)."""
    from scipy.stats import norm, t

    return WIDER * float(t.ppf(0.975, max(n - 1, 1)) / norm.ppf(0.975))


class Further(NamedTuple):
    """What to measure next.

    Args:
        archs: architectures, ``(n, d)``, the most useful first.
        expected_error: median relative error to expect of the predictions once these are measured; NaN where the
            present one is unknown.
    """

    archs: Archs
    expected_error: float


class AdaptedLatency(Predictor):
    """A device's latency, learned by `FewShotGP.adapt`."""

    calibrated = True

    def __init__(self, few: FewShotGP, task: Task):
        self.few, self.task_ = few, task
        self.fit(task)

    def fit(self, task: Task) -> AdaptedLatency:
        few, n = self.few, len(task)
        self.task_ = task
        self.known_ = few.features(task.space, task.context)(task.archs)
        limit = few.max_configurations
        if n > MANY:
            limit = max(FEWEST, int(limit * (MANY / n) ** 2))
        tried = kernels(self.known_.names, limit)
        grams = np.einsum("cb,bij->cij", tried.weights, self.known_.gram(self.known_))
        # to a mean prior variance of one, so that a noise relative to the signal means the same in each configuration
        scale = np.maximum(np.einsum("cii->c", grams) / n, 1e-12)
        grams, weights = grams / scale[:, None, None], tried.weights / scale[:, None]
        evidences, worst = self._evidences(grams, tried.noises)
        posterior = tried.log_odds + evidences
        best = np.sort(posterior, axis=None)[::-1]
        kept = posterior >= max(best[0] - NEGLIGIBLE, best[min(MOST, len(best)) - 1])
        self.fits_: list[_Fits] = []
        for log in (False, True):  # some devices' layers add up, others' multiply: evidence decides
            which, noise = np.nonzero(kept[0, int(log)])
            if len(which):
                odds = tried.log_odds[int(log), which, noise]
                self.fits_ += self._fits(log, grams[which], weights[which], tried.noises[noise], odds)
            which, noise = np.nonzero(kept[1, int(log)])
            if len(which):
                one, probable = worst[int(log), which, noise], posterior[1, int(log), which, noise]
                rest = self._without(one, log, grams[which], weights[which], tried.noises[noise], probable)
                self.fits_.append(rest)
        evidence = np.concatenate([f.evidence for f in self.fits_])
        share = np.exp(evidence - evidence.max())
        self.posterior_ = np.split(share / share.sum(), np.cumsum([len(f.noise) for f in self.fits_])[:-1])
        return self

    def _evidences(self, grams: Array, noises: Array) -> tuple[Array, NDArray[np.int64]]:
        """Log marginal likelihoods ``(2, 2, c, noises)``, of Gaussian noise alone and where the measurement that fits
        worst is disturbed, each on the raw and the logarithmic scale; and that measurement, ``(2, c, noises)``.

        A disturbed measurement may be anything within a factor of e^:data:`LOG_ROOM`, whatever the others are. What the
        others' likelihood is follows from leaving one out in closed form (Rasmussen & Williams 2006, Section 5.4.2), so
        that a kernel which fits all but one is not dismissed for that one.

        Args:
            grams: kernels among the measurements, ``(c, n, n)``.
            noises: noise variances.
        """
        n = len(self.task_)
        eigenvalues, vectors = np.linalg.eigh(grams)  # one decomposition serves both scales and all noises
        precision = 1.0 / (np.maximum(eigenvalues, 0.0)[:, None, :] + noises[:, None])
        ones = vectors.sum(axis=1)
        total = (precision * ones[:, None, :] ** 2).sum(axis=2)
        found: Array = np.full((2, 2, len(grams), len(noises)), -np.inf)
        worst = np.zeros(found.shape[1:], dtype=np.int64)
        # of the inverse covariance: the sums of its rows, and its diagonal without what the constant takes up
        sums = np.einsum("cik,cpk->cpi", vectors, precision * ones[:, None, :])
        free = np.einsum("cik,cpk->cpi", vectors**2, precision) - sums**2 / total[:, :, None]
        for log in (False, True):
            z, _, spread, jacobian = self._standardised(log)
            turned = z @ vectors
            offset = (precision * (ones * turned)[:, None, :]).sum(axis=2) / total
            rest = turned[:, None, :] - offset[:, :, None] * ones[:, None, :]
            square, determinant = (precision * rest**2).sum(axis=2), np.log(precision).sum(axis=2)
            variance = np.maximum(square / n, LEAST_SIGNAL)
            found[0, int(log)] = _evidence(n, variance, determinant, total) + jacobian
            if n < TELLING or not self.few.robust:
                continue
            alpha = np.einsum("cik,cpk->cpi", vectors, precision * rest)
            one = worst[int(log)] = (alpha**2 / free).argmax(axis=2)

            def of_one(values: Array, one: NDArray[np.int64] = one) -> Array:
                return np.asarray(np.take_along_axis(values, one[:, :, None], axis=2)[:, :, 0])

            variance = np.maximum((square - of_one(alpha**2 / free)) / (n - 1), LEAST_SIGNAL)
            diagonal = of_one(free + sums**2 / total[:, :, None])
            rest_of = determinant - np.log(diagonal), total - of_one(sums) ** 2 / diagonal
            # `_evidence` leaves out the constants of one measurement more, and `jacobian` is of all of them
            more = np.log(DISTURBED / n / (2.0 * LOG_ROOM)) + 0.5 * (np.log(2.0 * np.pi) + 1.0) + np.log(spread)
            density = 0.0 if log else -self._targets(True)[one]
            found[1, int(log)] = _evidence(n - 1, variance, *rest_of) + jacobian + more + density
        return found, worst

    def _fits(self, log: bool, grams: Array, weights: Array, noise: Array, odds: Array) -> list[_Fits]:
        """GPs on one scale with Gaussian noise, and with Student's t noise.

        The latter is a Gaussian whose variance differs by measurement, with a gamma prior on the precisions (Lange,
        Little & Taylor, JASA 1989): measurements are reweighted by how far they are from what the others predict, and
        all is solved again. So a disturbed measurement, or a low-resolution timer's, counts less.

        Args:
            log: whether logarithms are modelled.
            grams: kernels of the configurations, ``(c, n, n)``.
            weights: of their blocks, ``(c, blocks)``.
            noise: their noise variances, ``(c,)``.
            odds: log prior probabilities, ``(c,)``.
        """
        n, few = len(self.task_), self.few
        z, centre, spread, jacobian = self._standardised(log)
        precision: Array = np.ones((len(grams), n))
        found = []
        for turn in range(few.robust + 1):
            # the inverse itself: leaving one out, below, needs its diagonal, and draws and variances the rest
            inverse = np.linalg.inv(grams + noise[:, None, None] * (np.eye(n) / precision[:, :, None]))
            # constant by generalised least squares, its prior flat (Rasmussen & Williams 2006, Section 2.7): the mean
            # latency on a new device may be anything, and that of chosen architectures is not the space's
            ones = inverse.sum(axis=2)
            total = ones.sum(axis=1)
            offset = (ones @ z) / total
            alpha = np.einsum("cij,cj->ci", inverse, z - offset[:, None])
            # signal variance in closed form, where the likelihood is largest; noise scales with it
            variance: Array = np.maximum((alpha * (z - offset[:, None])).sum(axis=1) / n, LEAST_SIGNAL)
            if turn in (0, few.robust):
                evidence = odds + jacobian + _evidence(n, variance, np.linalg.slogdet(inverse)[1], total)
                half = few.freedom / 2  # the precisions' gamma density
                evidence += ((half - 1) * np.log(precision) - half * (precision - 1)).sum(axis=1)
                widened = variance * _widening(n) ** 2
                solved = offset, alpha, widened, np.asarray(inverse)
                found.append(_Fits(log, centre, spread, weights, noise, evidence, *solved))
            # squared residuals of leaving one out over their variances (equation 5.12): an outlier is judged by what
            # the others say, for a flexible kernel follows it and would call it no outlier
            diagonal = np.einsum("cii->ci", inverse)
            left_out: Array = alpha**2 / diagonal / variance[:, None]
            # the expectation step of a t distribution, which only takes weight away: a measurement near its prediction
            # by chance is no better than the others
            precision = np.minimum((few.freedom + 1) / (few.freedom + left_out), 1.0)
        return found

    def _without(
        self, one: NDArray[np.int64], log: bool, grams: Array, weights: Array, noise: Array, evidence: Array
    ) -> _Fits:
        """GPs with Gaussian noise in each of which one measurement, ``(c,)``, says nothing; else as :meth:`_fits`."""
        n = len(self.task_)
        z, centre, spread, _ = self._standardised(log)
        precision: Array = np.ones((len(grams), n))
        precision[np.arange(len(grams)), one] = AS_NOTHING
        inverse = np.linalg.inv(grams + noise[:, None, None] * (np.eye(n) / precision[:, :, None]))
        ones = inverse.sum(axis=2)
        offset = (ones @ z) / ones.sum(axis=1)
        alpha = np.einsum("cij,cj->ci", inverse, z - offset[:, None])
        variance = np.maximum((alpha * (z - offset[:, None])).sum(axis=1) / (n - 1), LEAST_SIGNAL)
        widened = variance * _widening(n - 1) ** 2
        return _Fits(log, centre, spread, weights, noise, evidence, offset, alpha, widened, np.asarray(inverse))

    def _standardised(self, log: bool) -> tuple[Array, float, float, float]:
        """The targets of a scale ``(n,)``, their centre and spread, and the log density of the transformation, so that
        evidences of both scales are densities of the same milliseconds."""
        values = self._targets(log)
        centre, spread = float(values.mean()), float(values.std())
        jacobian = -len(values) * np.log(spread) - (float(values.sum()) if log else 0.0)
        return (values - centre) / spread, centre, spread, jacobian

    def _targets(self, log: bool) -> Array:
        """What the GPs of a scale learn: the measurements, or their logarithms, ``(n,)``."""
        y = self.task_.values
        return np.log(np.maximum(y, LOG_FLOOR * np.median(y))) if log else y

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
            if mass < LEAST_MASS:
                continue
            q = posterior / mass
            # a kernel is a weighted sum of the blocks' inner products, so that the average over configurations is one
            # sum over blocks, whose coefficients are averaged first
            coefficients = np.einsum("c,cb,ci->bi", q, fit.weights, fit.alpha)
            mean = (cross @ coefficients[:, :, None]).sum(axis=0)[:, 0] + float(q @ fit.offset)
            spread_z = np.zeros(len(archs))
            heavy = np.argsort(-q)[:HEAVIEST]
            for c in heavy:
                reach = np.tensordot(fit.weights[c], cross, axes=1)
                left = fit.weights[c] @ self_norm - explained_variance(reach, fit.inverse[c])
                here = reach @ fit.alpha[c] + fit.offset[c]
                # with noise: the spread is that of a measurement, not of the latency behind it
                spread_z += q[c] * (fit.variance[c] * (np.maximum(left, 0.0) + fit.noise[c]) + (here - mean) ** 2)
            std = np.sqrt(spread_z / q[heavy].sum()) * fit.spread
            value = mean * fit.spread + fit.centre
            if fit.log:
                # the median, not the log-normal's mean, which a wide spread would move far beyond what was measured;
                # the standard deviation is to first order
                value = np.exp(np.clip(value, np.log(low) - LOG_ROOM, np.log(high) + LOG_ROOM))
                std = value * np.minimum(std, 2.0)
            value = np.maximum(value, RAW_FLOOR * low)
            total += mass * value
            second += mass * (std**2 + value**2)
            kept += mass
        mean = total / kept
        return Prediction(mean, np.sqrt(np.maximum(second / kept - mean**2, 0.0)))

    def sample(self, archs: Any, n: int, seed: Seed = None) -> Array:
        """Joint draws of measurements, ``(n, n_archs)``, in their unit; each of a configuration drawn by its posterior.

        The kernel is a sum of inner products of features, so that a draw of the prior is a random weighting of them,
        and Matheron's rule (Wilson et al., ICML 2020) makes a draw of the posterior from it: no covariance between all
        that is asked for is ever formed.
        """
        archs = self._checked(archs)
        rng = np.random.default_rng(seed)
        features = self.few.features(self.task_.space, self.task_.context)(archs)
        cross = features.gram(self.known_)
        chances = np.concatenate(self.posterior_)
        places = [(i, c) for i, fit in enumerate(self.fits_) for c in range(len(fit.noise))]
        low, high = self.task_.values.min(), self.task_.values.max()
        which, place = np.unique(archs, axis=0, return_inverse=True)  # one measurement of each: equal rows, equal draws
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
            # the prior's draw at the measurements is what the draw has to be corrected by
            moved = fit.alpha[c] - np.sqrt(fit.variance[c]) * (fit.inverse[c] @ measured)
            value = fit.offset[c] + np.sqrt(fit.variance[c]) * prior
            value += np.tensordot(fit.weights[c], cross, axes=1) @ moved
            value += np.sqrt(fit.variance[c] * fit.noise[c]) * rng.standard_normal(len(which))[place.ravel()]
            value = value * fit.spread + fit.centre
            if fit.log:
                value = np.exp(np.clip(value, np.log(low) - LOG_ROOM, np.log(high) + LOG_ROOM))
            draws[row] = np.maximum(value, RAW_FLOOR * low)
        return draws

    def left_out(self) -> Array:
        """For each measured architecture its value as the others predict it, ``(n,)``, in the metric's unit.

        In closed form (Rasmussen & Williams 2006, Section 5.4.2), with hyper-parameters and posterior of all
        measurements: how far to trust the predictions, without measuring more.
        """
        total = np.zeros(len(self.task_))
        for fit, posterior in zip(self.fits_, self.posterior_, strict=True):
            y = self._targets(fit.log)
            z = (y - fit.centre) / fit.spread
            residuals = left_out_residuals(fit.alpha, np.einsum("cii->ci", fit.inverse))
            values = (z - residuals) * fit.spread + fit.centre
            low, high = y.min(), y.max()
            room = LOG_ROOM if fit.log else high - low
            values = np.clip(values, low - room, high + room)
            total += posterior @ (np.exp(values) if fit.log else np.maximum(values, RAW_FLOOR * low))
        return total

    def expected_error(self) -> float:
        """Median relative error to expect of the predictions, over random networks of the space.

        From the spread of the predictions: of a normal error half are within .6745 standard deviations. NaN with fewer
        than :data:`TELLING` measurements, of which the spread says nothing about the error.
        """
        n = len(self.task_)
        if n < TELLING:
            return float("nan")
        space = self.task_.space.whole
        drawn = space.sample(min(REFERENCE, space.size), seed=0, unique=True)
        predicted = self.predict(drawn[space.connected(drawn)])
        return float(np.median(0.6745 * predicted.std / _widening(n) / predicted.mean))

    def further(self, n: int, *, candidates: Archs | None = None, seed: Seed = 0) -> Further:
        """What to measure next, and what it would bring.

        A greedy design under the mean of the configurations' kernels: each pick lowers the predictions' mean variance
        the most, given the measurements so far and the picks before.

        Args:
            n: how many.
            candidates: choose among these ``(m, d)`` instead of the whole space.
            seed: draws the pool.

        Raises:
            InvalidValue: fewer networks are left.
        """
        space, known = self.task_.space.whole, set(self.task_.space.keys(self.task_.archs))
        pool = space.sample(min(NEXT_POOL, space.size), seed, unique=True) if candidates is None else candidates
        pool = pool[space.distinct(pool)]
        pool = pool[space.connected(pool)]
        pool = pool[[key not in known for key in space.keys(pool)]]
        if len(pool) < n:
            raise InvalidValue(f"only {len(pool)} networks are left to measure, not {n}")
        pool = pool[np.random.default_rng(seed).permutation(len(pool))[:NEXT_POOL]]
        weights, noise = self._mean_kernel()
        features = self.few.features(space, self.task_.context)(pool)
        known_gram = np.tensordot(weights, self.known_.gram(self.known_), axes=1)
        reach = np.tensordot(weights, features.gram(self.known_), axes=1)
        precision: Array = np.asarray(np.linalg.inv(known_gram + noise * np.eye(len(known_gram))))
        prior: Array = np.tensordot(weights, features.gram(features), axes=1)
        covariance: Array = np.asarray(prior - reach @ precision @ reach.T)
        chosen = greedy_design(n, covariance, noise)
        seen = covariance[:, chosen]
        now = covariance.diagonal() + noise
        precision = np.asarray(np.linalg.inv(seen[chosen] + noise * np.eye(n)))
        left = np.maximum(now - explained_variance(seen, precision), noise)
        return Further(pool[chosen], float(self.expected_error() * np.sqrt(np.median(left) / np.median(now))))

    def _mean_kernel(self) -> tuple[Array, float]:
        """Weights of the blocks ``(blocks,)`` and noise variance, averaged over the configurations."""
        parts = list(zip(self.posterior_, self.fits_, strict=True))
        return np.sum([q @ fit.weights for q, fit in parts], axis=0), float(sum(q @ fit.noise for q, fit in parts))

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
