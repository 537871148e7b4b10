"""gp-bma: Gaussian processes on mixed kernels, averaged by their evidence; zero-cost proxies give a learned prior."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context, Features
from nastk.errors import InvalidValue
from nastk.gaussian import Observations, Posterior, greedy_design
from nastk.oracles.base import Values
from nastk.predictors._cache import Cache
from nastk.predictors._gp_bma_features import LearnedPrior, ScaledFeatures
from nastk.predictors._monotone_trees import MonotoneTrees
from nastk.predictors._normal_scores import normal_scores
from nastk.predictors._proxy_quantiles import proxy_names, proxy_quantiles
from nastk.predictors._related_cells import RelatedCells
from nastk.predictors._warps import Warp
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed

LENGTH = 1.4
"""Length scale, where the root mean squared distance of two architectures is 1.4."""
MAIN = 0.8
"""Share of one group of features in a mix that leans on it; the others have the rest in equal parts."""
AMPLITUDES = (0.9, 0.3)
"""Signal variances for samples spread over the space, relative to their variance."""
NOISES = (0.03, 0.1, 0.3)
"""Noise variances, relative to the samples' variance."""
CONSTANT = 0.3
"""Prior variance of the mean, in standardised units."""
SLOPE = 0.3
"""Prior standard deviation of the multiple of the learned prior, whose mean is one."""
MEMBERS, ROWS, LEAST_WEIGHT = 6, 1000, 0.01
"""At most so many processes answer, or more while they have at most so many rows together; none with less of the
greatest weight."""
POOL = 600
"""Random candidates among which samples are chosen."""
KINDS = ("identity", "distance")
CACHED = 4
"""Settings (space, encoding, context) whose features one predictor keeps; a benchmark of three data sets of one space
needs three."""


class _Candidate(NamedTuple):
    """A process that may be averaged: its mix, which guess is its mean, its Cholesky factor."""

    mix: NDArray[np.float64]
    guess: int
    observations: Observations[NDArray[np.float64]]


@dataclass(frozen=True)
class _Process:
    """One of the averaged processes: ``mix`` of the kernels, ``(t,)``, which guess is its mean, what it learned."""

    weight: float
    mix: NDArray[np.float64]
    guess: int
    posterior: Posterior[NDArray[np.float64]]


class GPBMA(Predictor):
    """Exact Gaussian processes in closed form; nothing is optimised.

    Each group of features has a squared exponential kernel. A process is a mix of them (in equal parts, or mainly one),
    an amplitude and a noise; all are averaged with their marginal likelihood as weight (Hoeting et al., Bayesian model
    averaging, Statistical Science 1999). The metric is warped by the transform with most evidence.

    ``pretrain(tasks, related)`` learns from tasks of other spaces, whose contexts have zero-cost proxies, how proxies
    predict a metric: boosted trees, monotone in every proxy, from the proxies' quantiles within a space to the metric's
    normal scores, each space with equal weight. From `related` tasks it learns what their cells are worth, for targets
    whose cells have the same edges (`RelatedCells`). Both predictions, in equal parts as far as they apply to the
    target, are the prior mean of half of the processes; the other half has none, so that a prior that misleads costs
    little. Without proxies in the target's context and without a related space there is no prior. What the task knows
    of a lower fidelity (:attr:`Task.lower`) is the mean of as many processes again, times a slope that is learned: the
    autoregressive model of Kennedy & O'Hagan (Biometrika 2000), with that fidelity's prediction taken as it is.

    Args:
        encoding: groups of features joined by ``+``; "auto" is choices, counts and statics as written, the same in
            canonical form, path-counts, and quantiles of proxies where the context has them.
        warp: "identity", "distance" (from the best), "log", or "auto": what has most evidence of the first two.
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
    trees_: MonotoneTrees | None = None
    proxies_: tuple[str, ...] = ()
    related_: tuple[RelatedCells, ...] = ()

    # ---- the prior

    def pretrain(self, tasks: Sequence[Task], related: Sequence[Task] = ()) -> GPBMA:
        """Learn the prior; returns itself.

        Args:
            tasks: of any spaces, with proxies in their contexts.
            related: of spaces that may have the same edges as the target's, with or without proxies.

        Raises:
            InvalidValue: no tasks, or one without proxies, or a related space that cannot be read by others or stored.
        """
        names = proxy_names(tasks)
        spaces = [task.space.name for task in tasks]
        x, y, weights = [], [], []
        for task in tasks:
            x.append(proxy_quantiles(task, names, task.archs, task.archs))
            y.append(normal_scores(task))
            weights.append(np.full(len(task), 1.0 / len(task) / spaces.count(task.space.name)))
        weight = np.concatenate(weights)
        self.trees_ = MonotoneTrees.fit(np.concatenate(x), np.concatenate(y), weight / weight.mean())
        self.proxies_ = tuple(names)
        self.related_ = tuple(RelatedCells.fit_each(related))
        self._cache = Cache(CACHED)
        return self

    @property
    def _learned_prior(self) -> LearnedPrior:
        return LearnedPrior(self.trees_, self.proxies_, self.related_)

    def _features(self, task: Task) -> ScaledFeatures:
        """The features of a task's space and context; its architectures and values do not matter."""
        prior, name, context = self._learned_prior, self.encoding, task.context
        if not isinstance(name, str):
            return ScaledFeatures(task, name, prior)
        # what is kept holds the space and the sources, so that no other object can come to have their ids
        key = (id(task.space), name, id(context.proxies), id(context.latencies), repr(context.build_options))
        return self._cache.find(key, lambda: ScaledFeatures(task, name, prior))

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
        """Architectures that tell most, ``(n, d)``: greedily, what lowers the summed posterior variance by the most.

        Among :data:`POOL` random candidates, by the mean of the kernels (Cohn, NeurIPS 1996).

        Args:
            n, candidates, seed, context: see :meth:`Predictor.choose`.
            space: that the candidates are of.

        Raises:
            InvalidValue: no space, or fewer candidates than `n`.
        """
        if space is None:
            raise InvalidValue("give the space to choose from")
        most = space.size if candidates is None else len(candidates)
        pool = super().choose(max(n, min(POOL, most)), space, candidates=candidates, seed=seed)
        task = Task(space, pool[:1], np.zeros(1), context=context or Context())
        x, prior = self._features(task)(pool)
        k = self.amplitudes[0] * np.mean([_kernel(a, a) for a in x], axis=0) + CONSTANT
        if prior is not None:
            k += SLOPE**2 * np.outer(prior, prior)
        return pool[greedy_design(n, k, NOISES[1])]

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
            self.lower_warp_ = _warps(task.lower.task_, kind)[0]
        self.x_, self.guesses_ = self._inputs(task.archs)
        grams = np.stack([_kernel(a, a) for a in self.x_])
        known = _warps(task, self.warp)
        z = np.stack([warp.forward(task.values) for warp in known])
        jacobians = np.array([warp.log_jacobian(task.values) for warp in known])
        found, evidences = self._processes(grams, z)
        totals = np.logaddexp.reduce(evidences, axis=1) + jacobians
        best = int(np.argmax(totals))
        self.warp_ = known[best]
        self.processes_ = self._averaged(found, evidences[best], z[best])
        return self

    def _processes(
        self, grams: NDArray[np.float64], z: NDArray[np.float64]
    ) -> tuple[list[_Candidate], NDArray[np.float64]]:
        """All processes, and their evidences ``(warps, processes)``."""
        n = grams.shape[1]
        mixes = [amplitude * mix for amplitude in self.amplitudes for mix in _mixes(len(grams))]
        found: list[_Candidate] = []
        evidences: list[NDArray[np.float64]] = []
        for i, mean in enumerate(self.guesses_.T):
            rest = CONSTANT + SLOPE**2 * np.outer(mean, mean)
            right = (z - mean).T
            for mix in mixes:
                k = np.tensordot(mix, grams, axes=1) + rest
                for noise in self.noises:
                    observations = Observations.of(k + noise * np.eye(n))
                    evidences.append(observations.log_evidence(right))
                    found.append(_Candidate(mix, i, observations))
        return found, np.stack(evidences, axis=1)

    def _averaged(
        self, found: list[_Candidate], evidence: NDArray[np.float64], z: NDArray[np.float64]
    ) -> list[_Process]:
        """The processes that matter; those of each guess, and those without, have equal weights together."""
        weights = np.zeros(len(found))
        guesses = np.array([candidate.guess for candidate in found])
        for guess in np.unique(guesses):
            rows = guesses == guess
            share = np.exp(evidence[rows] - evidence[rows].max())
            weights[rows] = share / share.sum()
        weights /= weights.sum()
        most = max(MEMBERS, ROWS // len(z))
        least = LEAST_WEIGHT * weights.max()
        kept = [int(i) for i in np.argsort(-weights, kind="stable")[:most] if weights[i] >= least]
        total = weights[kept].sum()
        processes = []
        for i in kept:
            mix, guess, observations = found[i]
            posterior = observations.inverted().condition(z - self.guesses_[:, guess])
            processes.append(_Process(weights[i] / total, mix, guess, posterior))
        return processes

    # ---- prediction

    def _inputs(self, archs: Archs) -> tuple[list[Features], Features]:
        """Features of each group, and means that the processes may have, ``(n, guesses)``: none (zeros) is the first,
        then the prior and what the task knows of a lower fidelity, where there are such."""
        x, prior = self.features_(archs)
        guesses = [np.zeros(len(archs))]
        if prior is not None:
            guesses.append(prior if self.task_.direction == "max" else -prior)
        if (lower := self.task_.lower) is not None:
            guesses.append(self.lower_warp_.forward(lower.predict(archs).mean))
        return x, np.stack(guesses, axis=1)

    def _moments(self, archs: Archs) -> tuple[Features, Features]:
        """Mean and standard deviation of the warped metric."""
        means, stds = [np.empty(0)], [np.empty(0)]
        for start in range(0, len(archs), 4096):
            x, guesses = self._inputs(archs[start : start + 4096])
            kernels = np.stack([_kernel(a, b) for a, b in zip(x, self.x_, strict=True)])
            flat = kernels.reshape(len(kernels), -1)
            sloped = [SLOPE**2 * np.outer(a, b) for a, b in zip(guesses.T[1:], self.guesses_.T[1:], strict=True)]
            first, second = np.zeros(len(guesses)), np.zeros(len(guesses))
            for process in self.processes_:
                mean = guesses[:, process.guess]
                cross = (process.mix @ flat).reshape(kernels.shape[1:])
                cross += CONSTANT
                if process.guess:
                    cross += sloped[process.guess - 1]
                variance = process.posterior.variance(cross, process.mix.sum() + CONSTANT + SLOPE**2 * mean**2)
                mean = mean + process.posterior.mean(cross)
                first += process.weight * mean
                second += process.weight * (np.maximum(variance, 1e-10) + mean**2)
            means.append(first)
            stds.append(np.sqrt(np.maximum(second - first**2, 1e-10)))
        return np.concatenate(means), np.concatenate(stds)

    def predict(self, archs: Any) -> Prediction:
        """Median and half-width of the central 68 % of the latent metric."""
        mean, std = self._moments(self._checked(archs))
        return Prediction(*self.warp_.moments(mean, std))

    def quantile(self, archs: Any, z: float) -> Values:
        mean, std = self._moments(self._checked(archs))
        return np.asarray(self.warp_.backward(mean + z * std))

    def prior_score(self, space: SearchSpace, archs: Archs, context: Context) -> Values | None:
        """The learned prior; None where nothing of it applies: no related space, no proxies in the context."""
        task = Task(space, archs[:1], np.zeros(1), context=context)
        if not self._learned_prior.applies(task):
            return None
        return self._features(task)(archs)[1]

    def sample(self, archs: Any, n: int, seed: Seed = None) -> NDArray[np.float64]:
        """Draws ``(n, n_archs)``, independent between architectures."""
        mean, std = self._moments(self._checked(archs))
        draws = np.random.default_rng(seed).standard_normal((n, len(mean)))
        return np.asarray(self.warp_.backward(mean + std * draws))

    # ---- on disk

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        if self.trees_ is None:
            return None
        arrays: dict[str, NDArray[Any]] = {f"trees.{name}": a for name, a in self.trees_.arrays().items()}
        for cells in self.related_:
            arrays |= {f"related.{cells.space.name}.{name}": a for name, a in cells.arrays().items()}
        if hasattr(self, "task_"):
            arrays |= {"archs": self.task_.archs.astype(np.int64), "values": self.task_.values}
        return {"proxies": list(self.proxies_), "related": [cells.space.name for cells in self.related_]}, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        self.trees_, self.proxies_ = MonotoneTrees.of_arrays(_under("trees.", arrays)), tuple(facts["proxies"])
        self.related_ = tuple(
            RelatedCells.of_arrays(name, _under(f"related.{name}.", arrays)) for name in facts.get("related", [])
        )
        self._cache = Cache(CACHED)
        return self if task is None else self.fit(replace(task, archs=arrays["archs"], values=arrays["values"]))


def _under(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _kernel(a: Features, b: Features) -> NDArray[np.float64]:
    squared = a @ (-2.0 * b.T)
    squared += (a * a).sum(axis=1)[:, None]
    squared += (b * b).sum(axis=1)
    return np.asarray(np.exp(np.minimum(squared / (-2.0 * LENGTH**2), 0.0)))


def _mixes(t: int) -> NDArray[np.float64]:
    """Shares of `t` groups, ``(m, t)``: equal, or mainly one."""
    if t == 1:
        return np.ones((1, 1))
    main = np.full((t, t), (1.0 - MAIN) / (t - 1))
    np.fill_diagonal(main, MAIN)
    return np.concatenate([np.full((1, t), 1.0 / t), main])


def _warps(task: Task, kind: str) -> list[Warp]:
    """Transforms of a task's metric that can be applied to its values; the identity if all are equal.

    Raises:
        InvalidValue: none can.
    """
    fitted = [Warp.fit(k, task.values, task.direction) for k in (KINDS if kind == "auto" else (kind,))]
    known = [warp for warp in fitted if warp is not None]
    if not known and np.ptp(task.values) == 0:
        known = [Warp("identity", 1.0 if task.direction == "min" else -1.0, 0.0, float(task.values[0]), 1.0)]
    if not known:
        raise InvalidValue(f"the warp {kind!r} cannot be applied to these values of {task.metric}")
    return known
