"""gp-bma: Gaussian processes on mixed kernels, averaged by their evidence; zero-cost proxies give a learned prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from nastk.encodings.base import Context, Encoding, Features, encoding, some_archs
from nastk.errors import InvalidValue
from nastk.oracles.base import Values
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
LARGE, KEPT = 50_000, 4
"""Spaces up to this size keep the features of all their architectures in memory, for so many settings."""


class _Candidate(NamedTuple):
    """A process that may be averaged: its mix, which guess is its mean, its Cholesky factor."""

    mix: NDArray[np.float64]
    guess: int
    factor: NDArray[np.float64]


@dataclass(frozen=True)
class _Process:
    """One of the averaged processes: ``mix`` of the kernels, ``(t,)``, which guess is its mean, what it learned."""

    weight: float
    mix: NDArray[np.float64]
    guess: int
    inverse: NDArray[np.float64]
    alpha: NDArray[np.float64]


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
        return self

    @property
    def _learned_prior(self) -> _Prior:
        return _Prior(self.trees_, self.proxies_, self.related_)

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
        x, prior = _Features.of(task, self.encoding, self._learned_prior)(pool)
        k = self.amplitudes[0] * np.mean([_kernel(a, a) for a in x], axis=0) + CONSTANT
        if prior is not None:
            k += SLOPE**2 * np.outer(prior, prior)
        chosen: list[int] = []
        for _ in range(n):
            gain = (k**2).sum(axis=0) / (k.diagonal() + NOISES[1])
            gain[chosen] = -np.inf
            chosen.append(int(np.argmax(gain)))
            column = k[:, chosen[-1]] / np.sqrt(k[chosen[-1], chosen[-1]] + NOISES[1])
            k -= np.outer(column, column)
        return pool[chosen]

    # ---- fitting

    def adapt(self, task: Task) -> GPBMA:
        return copy(self).fit(task)

    def fit(self, task: Task) -> GPBMA:
        if not len(task):
            raise InvalidValue("gp-bma needs at least one architecture")
        self.task_ = task
        self.features_ = _Features.of(task, self.encoding, self._learned_prior)
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
                    factor = np.linalg.cholesky(k + noise * np.eye(n))
                    half = solve_triangular(factor, right, lower=True, check_finite=False)
                    evidences.append(-0.5 * (half**2).sum(axis=0) - np.log(factor.diagonal()).sum())
                    found.append(_Candidate(mix, i, np.asarray(factor)))
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
            mix, guess, factor = found[i]
            inverse = solve_triangular(factor, np.eye(len(z)), lower=True, check_finite=False)
            alpha = inverse.T @ (inverse @ (z - self.guesses_[:, guess]))
            processes.append(_Process(weights[i] / total, mix, guess, inverse, alpha))
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
                variance = process.mix.sum() + CONSTANT + SLOPE**2 * mean**2
                mean = mean + cross @ process.alpha
                reached = cross @ process.inverse.T
                variance -= np.einsum("ij,ij->i", reached, reached)
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

    def guess(self, space: SearchSpace, archs: Archs, context: Context) -> Values | None:
        """The learned prior; None where nothing of it applies: no related space, no proxies in the context."""
        task = Task(space, archs[:1], np.zeros(1), context=context)
        if not self._learned_prior.opinions(task, archs):
            return None
        return _Features.of(task, self.encoding, self._learned_prior)(archs)[1]

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


class _Features:
    """Scaled features of each group, and the prior mean, of the architectures of one space.

    Those of all architectures of a small space are computed once and kept as long as the space is.
    """

    def __init__(self, task: Task, name: str | Encoding, prior: _Prior):
        self.task, self.prior = task.subset([0]), prior
        space = task.space
        reference = some_archs(space)
        if len(reference) > 4000:
            reference = reference[np.random.default_rng(0).choice(len(reference), 4000, replace=False)]
        self.groups = _groups(task, name, reference)
        self.scaling = [[_scaling(term.transform(reference)) for term in group] for group in self.groups]
        self.opinions = prior.opinions(self.task, reference)
        self.standards = [_standard(opinion(reference)) for opinion in self.opinions]
        self.centre, self.spread = _standard(self._guess(reference)) if self.opinions else (0.0, 1.0)
        self.all: tuple[list[Features], Features | None] | None = None
        if space.enumerable and space.size <= LARGE:
            self.all = self._compute(space.enumerate())

    @classmethod
    def of(cls, task: Task, name: str | Encoding, prior: _Prior) -> _Features:
        kept: dict[Any, _Features] = vars(task.space).setdefault("_gp_bma_features", {})
        context = task.context
        key = (str(name), id(context.proxies), id(context.latencies), repr(context.build_options), *prior.key)
        if not isinstance(name, str):
            return cls(task, name, prior)
        if key not in kept:
            while len(kept) >= KEPT:
                del kept[next(iter(kept))]
            kept[key] = cls(task, name, prior)  # holds the context and the prior, so that ids stay theirs
        return kept[key]

    def __call__(self, archs: Archs) -> tuple[list[Features], Features | None]:
        if self.all is None or not len(archs):
            return self._compute(archs)
        rows = self.task.space.index(archs)
        return [features[rows] for features in self.all[0]], None if self.all[1] is None else self.all[1][rows]

    def _compute(self, archs: Archs) -> tuple[list[Features], Features | None]:
        groups = []
        for terms, scaling in zip(self.groups, self.scaling, strict=True):
            parts = [(t.transform(archs) - c) * s for t, (c, s) in zip(terms, scaling, strict=True)]
            groups.append(np.concatenate(parts, axis=1) / np.sqrt(len(parts)))
        return groups, (self._guess(archs) - self.centre) / self.spread if self.opinions else None

    def _guess(self, archs: Archs) -> Features:
        """The mean of all opinions, each standardised over the space."""
        standardised = [(o(archs) - c) / s for o, (c, s) in zip(self.opinions, self.standards, strict=True)]
        return np.asarray(np.mean(standardised, axis=0))


class _Prior(NamedTuple):
    """What was learned from tasks of other spaces."""

    trees: MonotoneTrees | None
    proxies: tuple[str, ...]
    related: tuple[RelatedCells, ...]

    @property
    def key(self) -> tuple[int, ...]:
        return (id(self.trees), *map(id, self.related))

    def opinions(self, task: Task, reference: Archs) -> list[Callable[[Archs], Features]]:
        """Guesses of a metric, up to its scale, that apply to the task's space and context."""
        found: list[Callable[[Archs], Features]] = []
        trees, source = self.trees, task.context.proxies
        if trees is not None and source is not None and set(source.names) & set(self.proxies):
            found.append(lambda archs: trees(proxy_quantiles(task, self.proxies, archs, reference)))
        found += [partial(cells, task.space) for cells in self.related if cells.relates(task.space)]
        return found


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


def _standard(values: Features) -> tuple[float, float]:
    """Centre and spread, the latter one if there is none."""
    return float(values.mean()), float(values.std()) or 1.0


def _scaling(features: Features) -> tuple[Features, Features]:
    """Centre and scale for which two architectures differ by a squared distance of two in the mean."""
    spread = features.std(axis=0)
    useful = spread > 1e-9
    scale = useful / np.where(useful, spread, 1.0) / np.sqrt(max(int(useful.sum()), 1))
    return features.mean(axis=0), np.asarray(scale)


def _groups(task: Task, name: str | Encoding, reference: Archs) -> list[list[Encoding]]:
    """Groups of fitted encodings, each a kernel."""
    if name != "auto":
        whole = encoding(name).fit(task.space, task.context, reference)
        return [[term] for term in getattr(whole, "terms", [whole])]
    written = ["vec", "counts"]
    if task.space.statics(reference[:1], **task.context.build_options):
        written.append("quantiles:statics")
    names = [written]
    if not np.array_equal(task.space.canonical(reference), reference):
        names.append([f"canonical:{n}" if n != "quantiles:statics" else "quantiles:canonical:statics" for n in written])
    names.append(["path-counts"])
    if task.context.proxies is not None:
        names.append(["quantiles:zcp"])
    fitted = [[encoding(n).fit(task.space, task.context, reference) for n in group] for group in names]
    return [group for group in fitted if any(term.names_ for term in group)]
