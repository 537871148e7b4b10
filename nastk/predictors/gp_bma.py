"""gp-bma: Gaussian processes on mixed kernels, averaged by their evidence; zero-cost proxies give a learned prior."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, Features
from nastk.errors import InvalidValue
from nastk.gaussian import Observations, Posterior, SinglePosterior, greedy_design, left_out_residuals
from nastk.oracles.base import Values
from nastk.predictors._cache import Cache
from nastk.predictors._gp_bma_features import LearnedPrior, ScaledFeatures
from nastk.predictors._proxy_prior import ProxyPrior
from nastk.predictors._related_cells import RelatedCells
from nastk.predictors._relevance import relevance
from nastk.predictors._warps import applicable
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed

LENGTH_SCALE = 1.4
"""Length scale of every kernel. Features are scaled to a mean squared distance of two, so that this is the root mean
squared distance (1.41) and two random architectures correlate at about exp(-1/2) = .6. It is not learned, as nothing
here is: mixes, amplitudes and noises are averaged over."""
MAIN_SHARE = 0.8
"""Share of one group of features in a mix that leans on it; the others have the rest in equal parts. With the constants
below chosen on NAS-Bench-201, by draws that no published figure uses (docs/accuracy.md)."""
AMPLITUDES = (0.9, 0.3)
"""Signal variances for samples from all over the space, relative to their variance: nearly all of it, or a third, which
leaves more to the prior mean."""
NOISES = (0.03, 0.1, 0.3)
"""Noise variances, relative to the samples' variance, a factor of three apart; noise is also what no feature explains.
The middle one is that of the design (:meth:`GPBMA.choose`)."""
MEAN_VARIANCE = 0.3
"""Prior variance of the constant mean, in standard deviations of the samples squared: few samples, and chosen ones, do
not have the space's mean, which standardisation takes for zero."""
SLOPES = (1.0, 0.5)
"""Prior means of the slope by which a prior mean is multiplied, which are averaged over. Prior scores, what is known of
a lower fidelity and the samples are all standardised: the slope is their correlation, one for what tells all."""
SLOPE_STD = 0.3
"""Prior standard deviation of the slope about each of them."""
LEFT_TO_LEARN = (0.1,)
"""Signal variances that processes with a prior mean have beside :data:`AMPLITUDES`: a good one leaves little to learn,
and a process that expects more would trust few samples more than it."""
PROOF = 2.0
"""Log evidence (nats) by which processes with a prior mean must be ahead before they weigh more than those without."""
PROVEN = 30.0
"""Most that they then weigh, relative to those without, times the number of samples: three times as much with ten, no
more from thirty on. Both by leaving whole spaces out (docs/accuracy.md)."""
MEMBERS = 6
"""Keep at most MEMBERS processes; with few samples more, see :data:`ROWS`."""
ROWS = 1000
"""Keep more than :data:`MEMBERS` processes while they have at most ROWS samples together. Predicting costs one product
for each process and sample; and the fewer the samples, the less the evidence decides between processes."""
LEAST_WEIGHT = 0.01
"""Drop processes that weigh less than this share of the heaviest one; they would not change an average visibly."""
POOL = 600, 4000
"""Random candidates, at least and at most, among which samples are chosen: their covariance is a dense matrix that
every pick updates."""
POOL_GROWTH = 0.4
"""They are so many times the square of the number of samples. The more candidates, the less usual are those that tell
most: few samples should be typical, and of many some may be extremes. With 25 samples 600 were better than 2,000, with
50 about as good, with 100 less good than 4,000 (docs/accuracy.md)."""
SCREENED = 300
"""Samples, at most, by whose evidence processes are told from those that do not matter; factors cost the cube of it."""
IMPLAUSIBLE = 10.0
"""Difference in log evidence at which a process no longer matters, and will not with a tenth more samples."""
SINGLE = 100
"""Samples above which predictions are computed in single precision, where the covariance's condition allows it."""
CHUNK = 4096
"""Architectures predicted at once, to bound the memory of their kernels."""
LEAST_VARIANCE = 1e-10
"""Floor of predictive variances, which rounding can make negative at the samples themselves."""
POPULATION = 200
"""Architectures, at most, from which the spread of the space is predicted."""
CACHED = 4
"""Settings (space, encoding, context) whose features one predictor keeps; a benchmark of three data sets of one space
needs three."""

Array = NDArray[np.float64]


class _Candidate(NamedTuple):
    """A process that may be averaged.

    Args:
        mix: share of each kernel times the amplitude, ``(t,)``.
        mean: which of the prior means it has.
        noise: variance.
        slope: of the prior mean.
        share: prior probability.
    """

    mix: tuple[float, ...]
    mean: int
    noise: float
    slope: float
    share: float


@dataclass(frozen=True)
class _Process:
    """One of the averaged processes: its weight, what it is, its `mix` as an array, and what it learned."""

    weight: float
    candidate: _Candidate
    mix: Array
    posterior: Posterior[Array] | SinglePosterior[Array]


class GPBMA(Predictor):
    """Exact Gaussian processes in closed form; where a space has any structure, nothing is optimised.

    Each group of features has a squared exponential kernel. A process is a mix of them (in equal parts, or mainly one),
    an amplitude and a noise; all are averaged with their marginal likelihood as weight (Hoeting et al., Bayesian model
    averaging, Statistical Science 1999). The metric is warped by the transform with the highest evidence. A space that
    tells nothing beyond its choices has one group; there a second kernel weighs the choices by how much they matter
    (`_relevance`), the one thing that is optimised.

    ``pretrain(tasks, related)`` learns from tasks of other spaces, whose contexts have zero-cost proxies, how proxies
    predict a metric, from the proxies' quantiles within a space to the metric's normal scores: by boosted trees,
    monotone in every proxy, each space with equal weight, and by the spaces whose proxies correlate with each other as
    the target's do (`SimilarSpaces`). From `related` tasks it learns what their networks are worth, for targets of the
    same space, or whose cells have the same edges (`RelatedCells`). All that apply to the target, in equal parts (but
    two thirds for tasks of its own space), are the prior mean of some processes, times a slope; others have none. Those
    with a prior weigh half, more with few samples if the evidence is clearly for them, less where it is against them:
    one that misleads costs nothing once values contradict it. Without proxies in the target's context and without
    related tasks there is no prior. What the task knows of a lower fidelity (:attr:`Task.lower`) is the mean of as many
    processes again: the autoregressive model of Kennedy & O'Hagan (Biometrika 2000), with that fidelity's prediction
    taken as it is.

    Args:
        encoding: groups of features joined by ``+``; "auto" is choices (numbers as such), counts and statics as
            written, the same in canonical form, totals of numbers over the network, path-counts, and quantiles of
            proxies, each where there are any.
        warp: "identity", "distance" (from the best), "log", or "auto": the first or second, by evidence.
        amplitudes: signal variances, relative to that of the samples, that are averaged over. A search, whose samples
            are alike because all are good, needs larger ones than samples from all over the space.
        noises: noise variances, relative to that of the samples, that are averaged over. A search, which compares the
            best of many unlike samples with each other, needs smaller ones too.

    Example::

        >>> predictor = nastk.predictor("gp-bma").pretrain(tasks_of_other_spaces)
        >>> predictor.adapt(task).predict(space.enumerate()).mean
    """

    def __init__(
        self,
        encoding: str = "auto",
        warp: str = "auto",
        amplitudes: Sequence[float] = AMPLITUDES,
        noises: Sequence[float] = NOISES,
    ):
        self.encoding, self.warp = encoding, warp
        self.amplitudes, self.noises = tuple(amplitudes), tuple(noises)
        self._cache: Cache[ScaledFeatures] = Cache(CACHED)

    uses_lower = True
    conditions = True
    first_in_search = 5  # it need not wait until its hyper-parameters are known: it averages over them
    most_in_search = 1000
    proxy_priors_: tuple[ProxyPrior, ...] = ()
    related_: tuple[RelatedCells, ...] = ()
    relevance_: Array | None = None

    # ---- the prior

    def without_task(self, dataset: str | None) -> GPBMA:
        """A copy whose prior has not learned a data set of the related tasks, nor those that rank networks like it.

        So that a search in a table, whose values the prior was learned from, is told none that it did not pay for.
        :meth:`fit` does it for the data set that a task, or else its context, names.

        Args:
            dataset: its name; None, and one that was not learned, for the same as a copy.
        """
        other = copy(self)
        if dataset is not None and any(dataset in cells.tasks for cells in self.related_):
            other.related_, other._cache = self._related_without(dataset), Cache(CACHED)
        return other

    def without_further(self) -> GPBMA:
        """A copy whose prior does not read further proxies (`ProxySource`)."""
        other = copy(self)
        other.proxy_priors_ = tuple(prior for prior in self.proxy_priors_ if not prior.further)
        other._cache = Cache(CACHED)
        return other

    def _related_without(self, dataset: str | None) -> tuple[RelatedCells, ...]:
        if dataset is None:
            return self.related_
        return tuple(rest for cells in self.related_ if (rest := cells.without(dataset)) is not None)

    def pretrain(self, tasks: Sequence[Task], related: Sequence[Task] = (), further: Sequence[Task] = ()) -> GPBMA:
        """Learn the prior; returns itself.

        Args:
            tasks: of any spaces, with proxies in their contexts; may be none if there are related ones.
            related: of the target's own space or of those that may have the same edges, with or without proxies.
            further: of any spaces, with further proxies in their contexts (`ProxySource`). What is learned from them
                stands in for what is learned from `tasks` on architectures whose further proxies are known.

        Raises:
            InvalidValue: no tasks, or one without proxies, or a related space that cannot be stored.
        """
        first = () if not further else (ProxyPrior.fit(further, further=True),)
        self.proxy_priors_ = (*first, ProxyPrior.fit(tasks)) if tasks or not related else first
        self.related_ = tuple(RelatedCells.fit_each(related))
        self._cache = Cache(CACHED)
        return self

    def _learned_prior(self, task: Task) -> LearnedPrior:
        """What was learned, without the data set of the task."""
        return LearnedPrior(self.proxy_priors_, self._related_without(_dataset(task)))

    def _features(self, task: Task) -> ScaledFeatures:
        """The features of a task's space and context; its architectures and values do not matter."""
        name, context = self.encoding, task.context
        if not isinstance(name, str):
            return ScaledFeatures(task, name, self._learned_prior(task))
        # what is kept holds the space and the sources, so that no other object can come to have their ids
        sources = (id(context.proxies), id(context.latencies), repr(context.build_options))
        key = (id(task.space), name, *sources, _dataset(task))
        return self._cache.find(key, lambda: ScaledFeatures(task, name, self._learned_prior(task)))

    # ---- samples

    def choose(
        self,
        n: int,
        space: SearchSpace | None = None,
        *,
        candidates: Archs | None = None,
        seed: Seed = 0,
        context: Context | None = None,
    ) -> Archs:
        """The most informative architectures, ``(n, d)``: greedily, what lowers the summed posterior variance most.

        Among random candidates (:data:`POOL_GROWTH`), under the mean of the kernels (Cohn, NeurIPS 1996).

        Args:
            n, candidates, seed, context: see :meth:`Predictor.choose`.
            space: that the candidates are of.

        Raises:
            InvalidValue: no space, or fewer candidates than `n`.
        """
        if space is None:
            raise InvalidValue("give the space to choose from")
        most = space.size if candidates is None else len(candidates)
        wanted = int(np.clip(POOL_GROWTH * n**2, *POOL))
        pool = super().choose(max(n, min(wanted, most)), space, candidates=candidates, seed=seed)
        task = Task(space, pool[:1], np.zeros(1), context=context or Context())
        x, prior = self._features(task)(pool)
        # one process stands for all that will be averaged: no value is known by which to weigh them
        covariance = np.full((len(pool), len(pool)), MEAN_VARIANCE)
        for features in x:  # one kernel at a time in memory
            covariance += self.amplitudes[0] / len(x) * _kernel(features, features)
        if prior is not None:
            covariance += SLOPE_STD**2 * np.outer(prior, prior)
        return pool[greedy_design(n, covariance, NOISES[1])]

    # ---- fitting

    def adapt(self, task: Task) -> GPBMA:
        """A copy fitted to a task; it shares this one's prior and cache of features."""
        return copy(self).fit(task)

    def fit(self, task: Task) -> GPBMA:
        if not len(task):
            raise InvalidValue("gp-bma needs at least one architecture")
        self.task_ = task
        self.features_ = self._features(task)
        if task.lower is not None:
            kind = "identity" if self.warp == "auto" else self.warp
            self.lower_warp_ = applicable(task.lower.task_, kind)[0]
        self.relevance_ = None
        self._observe()
        if self.features_.choice_of is not None:
            self.relevance_ = self._learn_relevance(self.features_.choice_of)
            self._observe()
        return self._weigh(self._all_candidates(), self.warp)

    def conditioned(self, task: Task) -> GPBMA | None:
        other = copy(self)
        other.task_ = task
        other._observe()
        return other._weigh(self.plausible_, self.warp_.kind)

    def _learn_relevance(self, which: NDArray[np.int64]) -> Array:
        """Factors on the columns of the only group, ``(k,)``, by how much `which` choice each is of matters."""
        task = self.task_
        x = self.x_[0][(rows := _screening(len(task)))]
        squared = [((x[:, None, which == j] - x[:, which == j]) ** 2).sum(axis=2) for j in range(which[-1] + 1)]
        z = applicable(task, "identity" if self.warp == "auto" else self.warp)[0].forward(task.values[rows])
        return np.sqrt(relevance(np.stack(squared), z, self.amplitudes[0], MEAN_VARIANCE, LENGTH_SCALE))[which]

    def _observe(self) -> None:
        """Features and prior means of the samples, and the means' centre: where the values' own is, which they have
        beside the samples."""
        self.centre_ = np.zeros(1)
        self.x_, means = self._inputs(self.task_.archs)
        self.centre_ = means.mean(axis=0)
        self.prior_means_ = means - self.centre_

    def _all_candidates(self) -> list[_Candidate]:
        shares = _mixes(len(self.x_))
        less = [amplitude for amplitude in LEFT_TO_LEARN if amplitude < min(self.amplitudes)]
        found = []
        for mean in range(self.prior_means_.shape[1]):
            amplitudes, slopes = [*self.amplitudes, *(less if mean else [])], SLOPES if mean else (0.0,)
            count = len(amplitudes) * len(shares) * len(self.noises) * len(slopes)
            found += [
                _Candidate(tuple(amplitude * mix), mean, noise, slope, 1.0 / count)
                for amplitude in amplitudes
                for mix in shares
                for noise in self.noises
                for slope in slopes
            ]
        return found

    def _weigh(self, candidates: list[_Candidate], kind: str) -> GPBMA:
        """Average these processes by their evidence, under the most probable warp of this kind."""
        task = self.task_
        grams = np.stack([_kernel(a, a) for a in self.x_])
        known = applicable(task, kind)
        if len(task) > SCREENED:  # evidence differs by more, the more samples there are: a part of them tells enough
            rows = _screening(len(task))
            z = np.stack([warp.forward(task.values[rows]) for warp in known])
            found = self._evidences(candidates, grams[:, rows[:, None], rows], self.prior_means_[rows], z)
            candidates = [c for c in candidates if any(c in _plausible(candidates, row) for row in found)]
        z = np.stack([warp.forward(task.values) for warp in known])
        evidences = self._evidences(candidates, grams, self.prior_means_, z)
        # a warp stretches the values; only densities of the values themselves, by the Jacobian, compare between warps
        jacobians = np.array([warp.log_jacobian(task.values) for warp in known])
        best = int(np.argmax(np.logaddexp.reduce(evidences, axis=1) + jacobians))
        self.warp_ = known[best]
        self.plausible_ = _plausible(candidates, evidences[best])
        self.processes_ = self._average(candidates, evidences[best], grams, z[best])
        return self

    @staticmethod
    def _evidences(candidates: list[_Candidate], grams: Array, means: Array, z: Array) -> Array:
        """Log evidences times prior probabilities, ``(warps, processes)``.

        Args:
            grams: of each group's kernel, ``(t, n, n)``.
            means: that processes may have, ``(n, means)``.
            z: the values under each warp, ``(warps, n)``; a factorisation serves all warps.
        """
        found = np.empty((len(z), len(candidates)))
        for i, (candidate, observations) in enumerate(_factorised(candidates, grams, means)):
            right = (z - candidate.slope * means[:, candidate.mean]).T
            found[:, i] = observations.log_evidence(right) + np.log(candidate.share)
        return found

    def _average(self, found: list[_Candidate], evidence: Array, grams: Array, z: Array) -> list[_Process]:
        """The processes that matter, by their weights: evidence times prior probability.

        But the processes of a prior mean together weigh as much as those that have none where the evidence favours
        them: the mean of both is better than either where the prior is right. More (:data:`PROVEN`) only as long as
        there are few samples, which teach those without little, and where the evidence is clear (:data:`PROOF`). Where
        it is against a prior that weighs less, so that one that misleads soon costs nothing.
        """
        means = np.array([candidate.mean for candidate in found])
        log, alone = evidence.copy(), np.logaddexp.reduce(evidence[means == 0])
        most = np.log(max(PROVEN / len(z), 1.0))
        for mean in np.unique(means[means > 0]):
            ahead = np.logaddexp.reduce(evidence[means == mean]) - alone
            log[means == mean] -= max(ahead - min(max(ahead - PROOF, 0.0), most), 0.0)
        weights = np.exp(log - log.max())
        weights /= weights.sum()
        least = LEAST_WEIGHT * weights.max()
        best = np.argsort(-weights, kind="stable")[: max(MEMBERS, ROWS // len(z))]
        kept = [int(i) for i in best if weights[i] >= least]
        total = weights[kept].sum()
        processes = []
        # factorised once more: to hold the factors of all candidates would take their number times as much memory
        again = _factorised([found[i] for i in kept], grams, self.prior_means_)
        for i, (candidate, observations) in zip(kept, again, strict=True):
            values = z - candidate.slope * self.prior_means_[:, candidate.mean]
            weight, mix = weights[i] / total, np.array(candidate.mix)
            single = observations.condition(values).single() if len(z) > SINGLE else None
            # inverted: searches predict whole spaces, and the noises are no small part of the signal
            posterior = observations.inverted().condition(values) if single is None else single
            processes.append(_Process(weight, candidate, mix, posterior))
        return processes

    # ---- prediction

    def _inputs(self, archs: Archs) -> tuple[list[Features], Features]:
        """Features of each group, ``(n, k)`` each, and the means that processes may have, ``(n, means)``.

        The first mean is none (zeros). The prior follows where there is one, turned around where less is better, and
        what the task knows of a lower fidelity, in standardised units.
        """
        x, prior = self.features_(archs)
        if self.relevance_ is not None:
            x = [*x, x[0] * self.relevance_]
        means = [np.zeros(len(archs))]
        if prior is not None:
            means.append(prior if self.task_.direction == "max" else -prior)
        if (lower := self.task_.lower) is not None:
            means.append(self.lower_warp_.forward(lower.predict(archs).mean))
        return x, np.stack(means, axis=1) - self.centre_

    def _moments(self, archs: Archs) -> tuple[Features, Features]:
        """Mean and standard deviation of the warped metric, each ``(n,)``, of the mixture of all processes."""
        means, stds = [np.empty(0)], [np.empty(0)]
        for start in range(0, len(archs), CHUNK):
            x, prior_means = self._inputs(archs[start : start + CHUNK])
            single = all(isinstance(process.posterior, SinglePosterior) for process in self.processes_)
            kind: Any = np.float32 if single else np.float64
            kernels = np.empty((len(x), len(prior_means), len(self.task_)), dtype=kind)
            for kernel, a, b in zip(kernels, x, self.x_, strict=True):
                kernel[:] = _kernel(a.astype(kind, copy=False), b.astype(kind, copy=False))
            flat = kernels.reshape(len(kernels), -1)  # a mix of the kernels is then one product
            first, second = np.zeros(len(prior_means)), np.zeros(len(prior_means))
            for process in self.processes_:
                candidate = process.candidate
                mean = prior_means[:, candidate.mean]
                cross = (process.mix.astype(flat.dtype) @ flat).reshape(kernels.shape[1:])
                cross += MEAN_VARIANCE
                if candidate.mean:
                    other = self.prior_means_[:, candidate.mean]
                    cross += SLOPE_STD**2 * np.outer(mean.astype(cross.dtype), other.astype(cross.dtype))
                # a kernel is one at distance zero, so that the mix sums up to the prior variance
                prior = process.mix.sum() + MEAN_VARIANCE + SLOPE_STD**2 * mean**2
                moved, variance = process.posterior.moments(cross, prior)
                mean = candidate.slope * mean + moved
                first += process.weight * mean
                second += process.weight * (np.maximum(variance, LEAST_VARIANCE) + mean**2)
            means.append(first)
            # total variance: what processes are uncertain of, and what they disagree on
            stds.append(np.sqrt(np.maximum(second - first**2, LEAST_VARIANCE)))
        return np.concatenate(means), np.concatenate(stds)

    def predict(self, archs: Any) -> Prediction:
        """Median and half-width of the central 68 % of the latent metric, in its unit.

        Quantiles pass through a monotone warp as they are, while means and standard deviations of the exponential of a
        Gaussian are ruled by its upper tail; without a warp both are the same.
        """
        mean, std = self._moments(self._checked(archs))
        return Prediction(*self.warp_.moments(mean, std))

    def quantile(self, archs: Any, z: float) -> Values:
        mean, std = self._moments(self._checked(archs))
        return np.asarray(self.warp_.backward(mean + z * std))

    def _left_out(self) -> Prediction:
        """In closed form, under the warp of all values (Rasmussen & Williams 2006, Section 5.4.2)."""
        z = self.warp_.forward(self.task_.values)
        grams = np.stack([_kernel(a, a) for a in self.x_])
        candidates = [process.candidate for process in self.processes_]
        shape = len(candidates), len(z)
        means, variances, log = np.empty(shape), np.empty(shape), np.empty(shape)
        for i, (candidate, observations) in enumerate(_factorised(candidates, grams, self.prior_means_)):
            values = z - candidate.slope * self.prior_means_[:, candidate.mean]
            diagonal = (observations.whiten(np.eye(len(z))) ** 2).sum(axis=0)  # of the inverse covariance
            residual = left_out_residuals(observations.weights(values), diagonal)
            means[i], variances[i] = z - residual, 1.0 / diagonal - candidate.noise
            # evidence is a product of densities: without the value's own, a process weighs what others make it weigh
            log[i] = np.log(self.processes_[i].weight) - 0.5 * np.log(diagonal) + 0.5 * residual**2 * diagonal
        weights = np.exp(log - log.max(axis=0))
        weights /= weights.sum(axis=0)
        mean = (weights * means).sum(axis=0)
        second = (weights * (np.maximum(variances, LEAST_VARIANCE) + means**2)).sum(axis=0)
        return Prediction(*self.warp_.moments(mean, np.sqrt(np.maximum(second - mean**2, LEAST_VARIANCE))))

    def _of_space(self) -> Prediction:
        archs = self.features_.looked_up
        return self.predict(archs[np.random.default_rng(0).permutation(len(archs))[:POPULATION]])

    def prior_score(self, space: SearchSpace, archs: Archs, context: Context) -> Values | None:
        """The learned prior, ``(n,)``, standardised over the space, higher is better.

        None where nothing of it applies: no related space, no proxies in the context.
        """
        task = Task(space, archs[:1], np.zeros(1), context=context)
        if not self._learned_prior(task).applies(task):
            return None
        return self._features(task)(archs)[1]

    def sample(self, archs: Any, n: int, seed: Seed = None) -> Array:
        """Draws ``(n, n_archs)``, in the metric's unit, independent between architectures."""
        mean, std = self._moments(self._checked(archs))
        draws = np.random.default_rng(seed).standard_normal((n, len(mean)))
        return np.asarray(self.warp_.backward(mean + std * draws))

    # ---- on disk

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        if not self.proxy_priors_ and not self.related_:
            return None
        arrays: dict[str, NDArray[Any]] = {}
        basic, more = (next((p for p in self.proxy_priors_ if bool(p.further) == way), None) for way in (False, True))
        if basic is not None:
            arrays |= basic.arrays()
        if more is not None:
            arrays |= {f"further.{name}": a for name, a in more.arrays().items()}
        for cells in self.related_:
            arrays |= {f"related.{cells.space.name}.{name}": a for name, a in cells.arrays().items()}
        if hasattr(self, "task_"):
            arrays |= {"archs": self.task_.archs.astype(np.int64), "values": self.task_.values}
        facts = {
            "proxies": [] if basic is None else list(basic.proxies),
            "further": [] if more is None else [list(more.proxies), list(more.further)],
            "related": [cells.space.name for cells in self.related_],
            "tasks": {cells.space.name: list(cells.tasks) for cells in self.related_},
        }
        return facts, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        priors = []
        if facts.get("further"):
            proxies, further = facts["further"]
            priors.append(ProxyPrior.of_arrays(proxies, _under("further.", arrays), further))
        if facts["proxies"]:
            priors.append(ProxyPrior.of_arrays(facts["proxies"], arrays))
        self.proxy_priors_ = tuple(priors)
        self.related_ = tuple(
            RelatedCells.of_arrays(name, facts.get("tasks", {}).get(name), _under(f"related.{name}.", arrays))
            for name in facts.get("related", [])
        )
        self._cache = Cache(CACHED)
        return self if task is None else self.fit(replace(task, archs=arrays["archs"], values=arrays["values"]))


def _dataset(task: Task) -> str | None:
    """That of the task's values; where it names none, that of what is looked up for it."""
    return task.dataset or task.context.dataset


def _under(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _factorised(
    candidates: list[_Candidate], grams: Array, means: Array
) -> Iterator[tuple[_Candidate, Observations[Array]]]:
    """The covariance of the samples under each process, its noise included, factorised; one at a time in memory.

    Processes that differ in their slope alone share a factor, where they follow one another.
    """
    noiseless: tuple[Any, Array] | None = None
    last: tuple[Any, Observations[Array]] | None = None
    for candidate in candidates:
        key = candidate.mix, candidate.mean
        if noiseless is None or noiseless[0] != key:
            # Gaussian priors of the constant and of the slope are integrated out: they add to the covariance
            # (Rasmussen & Williams 2006, Section 2.7), and the prior mean is that of the slope's own mean
            mean = means[:, candidate.mean]
            linear = MEAN_VARIANCE + SLOPE_STD**2 * np.outer(mean, mean)
            noiseless = key, np.tensordot(np.array(candidate.mix), grams, axes=1) + linear
        if last is None or last[0] != (key, candidate.noise):
            covariance = noiseless[1] + candidate.noise * np.eye(grams.shape[1])
            last = (key, candidate.noise), Observations.of(covariance)
        yield candidate, last[1]


def _screening(n: int) -> NDArray[np.int64]:
    """Rows of at most :data:`SCREENED` of `n` samples, spread over them."""
    return np.linspace(0, n - 1, min(n, SCREENED)).round().astype(np.int64)


def _plausible(candidates: list[_Candidate], evidence: Array) -> list[_Candidate]:
    """Those of a log evidence that is not far below the best of the same prior mean."""
    means = np.array([candidate.mean for candidate in candidates])
    best = {mean: evidence[means == mean].max() for mean in np.unique(means)}
    return [c for c, value in zip(candidates, evidence, strict=True) if value >= best[c.mean] - IMPLAUSIBLE]


def _kernel(a: Features, b: Features) -> Array:
    """Squared exponential kernel, ``(n, m)``; the minimum is where rounding makes a squared distance negative."""
    squared = a @ (-2.0 * b.T)
    squared += (a * a).sum(axis=1)[:, None]
    squared += (b * b).sum(axis=1)
    squared /= -2.0 * LENGTH_SCALE**2
    np.minimum(squared, 0.0, out=squared)
    return np.asarray(np.exp(squared, out=squared))


def _mixes(t: int) -> Array:
    """Shares of `t` groups, ``(m, t)``: equal, or mainly one.

    Each sums to one, so that an amplitude means the same in every mix. Which group tells most is left to the evidence;
    no mix leaves a group out.
    """
    if t == 1:
        return np.ones((1, 1))
    main = np.full((t, t), (1.0 - MAIN_SHARE) / (t - 1))
    np.fill_diagonal(main, MAIN_SHARE)
    return np.concatenate([np.full((1, t), 1.0 / t), main])
