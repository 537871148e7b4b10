"""gp: exact Gaussian process with a sum of kernels, one per encoding (Rasmussen & Williams 2006, chapters 2 and 5)."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nastk.encodings.base import Encoding, Features, encoding, some_archs
from nastk.errors import InvalidValue
from nastk.gaussian import Observations, Posterior
from nastk.predictors._cache import Cache
from nastk.predictors._evidence import Kernel, LogNormal
from nastk.predictors._tabulated import Tabulated
from nastk.predictors._warps import Warp
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace, Seed

MEAN_VARIANCE = 10.0
"""Prior variance of the constant mean, in standardised units: broad, so that the samples say where it is."""
JITTER = 1e-8
"""Least noise variance, without which repeated features or a learned noise near zero make the covariance singular."""
LEAST_VARIANCE = 1e-10
"""Floor of predictive variances, which rounding can make negative at the samples themselves."""
REFERENCE = 4000
"""Architectures, at most, that centres and scales of features are taken from."""
CACHED = 4
"""Settings (space, encoding, context) whose features one predictor keeps."""
SINGLE = 100
"""Samples above which predictions are computed in single precision, where the covariance's condition allows it."""
CHUNK = 1024
"""Architectures predicted at once, to bound the memory of their kernels."""
SIGNAL_SHARE = 0.5
"""Prior median of the signal variance of the squared exponential kernels together, and of the linear ones together, in
standardised units: each half of the variance."""
LENGTH = 1.0
"""Prior median of the length scales; features are scaled to a squared length of about one, and so to a mean squared
distance of two."""
NOISE = 0.02
"""Prior median of the noise variance, in standardised units."""
WEIGHT_WIDTH = 1.5
"""Standard deviation of the log-normal priors of amplitudes, linear weights and noise, a factor of 4.5: wide enough to
switch a term off that does not help."""
LENGTH_WIDTH = 0.7
"""The same of length scales, a factor of two."""


class _Terms(Tabulated):
    """The features of each term of an encoding, centred and scaled to a mean squared length of one.

    So one prior of the length scales suits terms of any unit and any number of features.
    """

    def __init__(self, name: str | Encoding, task: Task):
        super().__init__(task.space)
        self.context = task.context  # kept, as the space is: what is cached is found by the ids of its sources
        reference = some_archs(task.space)
        if len(reference) > REFERENCE:
            reference = reference[np.random.default_rng(0).choice(len(reference), REFERENCE, replace=False)]
        self.terms = fitted_terms(name, task, reference)
        self.centre, self.scale = [], []
        for term in self.terms:
            features = term.transform(reference)
            spread = features.std(axis=0)
            useful = spread > 1e-9
            self.centre.append(features.mean(axis=0))
            self.scale.append(useful / np.where(useful, spread, 1.0) / np.sqrt(max(useful.sum(), 1)))

    def __call__(self, archs: Archs) -> list[Features]:
        return self._find(archs)

    def _compute(self, archs: Archs) -> list[Features]:
        return [(t.transform(archs) - c) * s for t, c, s in zip(self.terms, self.centre, self.scale, strict=True)]


def fitted_terms(name: str | Encoding, task: Task, reference: Archs) -> list[Encoding]:
    """The terms of an encoding, each fitted to the task's space.

    "auto" means choices (numbers as such), their totals, counts by group, and statics, as written and in canonical
    form, as far as the space has them. Totals are a term of their own: few numbers, whose length scale is not that of
    the many columns of single choices.
    """
    if name != "auto":
        whole = encoding(name).fit(task.space, task.context)
        return list(getattr(whole, "terms", [whole]))
    names = ["ordinal", "totals"]
    if task.space.count_matrix(grouped=True)[1]:  # or all counts are totals
        names.append("counts")
    if task.space.statics(reference[:1], **task.context.build_options):
        names.append("statics")
    if not np.array_equal(task.space.canonical(reference), reference):
        names += [f"canonical:{n}" for n in names]
    fitted = [encoding(n).fit(task.space, task.context) for n in names]
    return [term for term in fitted if term.names_]  # a space may have no two choices of one kind


class GP(Predictor):
    """Exact GP regression.

    ``k(x, x') = sum_t a_t exp(-|x - x'|_t^2 / (2 l_t^2)) + b_t <x, x'>_t`` over the terms ``t`` of the encoding, plus a
    constant mean and Gaussian noise. Hyper-parameters maximise the marginal likelihood times weak log-normal priors
    (L-BFGS, float64); the priors count where there are as many hyper-parameters, three a
    term, as samples. The metric is warped by the transform with the highest evidence.

    Args:
        encoding: terms joined by ``+``; "auto" is the encodings ordinal, totals, counts and statics, both as written
            and in canonical form, and the data weigh them.
        warp: "identity", "log", "distance" (from the best), or "auto".
        steps: L-BFGS iterations, at most.
        learn_at_most: architectures, at most, that hyper-parameters are learned on, whose every step costs the cube of
            their number; the posterior is of all.
        device: torch device.

    Example::

        >>> predictor = nastk.predictor("gp").fit(task)
        >>> predictor.predict(space.enumerate()).mean
    """

    def __init__(
        self,
        encoding: str = "auto",
        warp: str = "auto",
        steps: int = 40,
        learn_at_most: int = 300,
        device: str = "cpu",
    ):
        self.encoding, self.warp, self.steps, self.learn_at_most, self.device = (
            encoding, warp, steps, learn_at_most, device,
        )  # fmt: skip
        self._cache: Cache[_Terms] = Cache(CACHED)

    conditions = True
    most_in_search = 1000

    def fit(self, task: Task) -> GP:
        if len(task) < 1:
            raise InvalidValue("a GP needs at least one architecture")
        self._prepare(task, task.archs)
        kinds = Warp.KINDS if self.warp == "auto" else (self.warp,)
        rows = np.arange(len(task))
        if len(task) > self.learn_at_most:
            rows = np.random.default_rng(0).choice(len(task), self.learn_at_most, replace=False)
        best: tuple[float, Warp, NDArray[np.float64]] | None = None
        squared, inner = self._grams([x[rows] for x in self.x_])
        kernel = Kernel(squared, inner, MEAN_VARIANCE, JITTER)
        prior = self._prior(kernel.t)
        for kind in kinds:
            warp = Warp.fit(kind, task.values, task.direction)
            if warp is None:
                continue
            theta, evidence = kernel.most_probable(self._tensor(warp.forward(task.values[rows])), prior, self.steps)
            # densities of the values themselves, which alone compare between warps
            evidence += warp.log_jacobian(task.values[rows])
            if best is None or evidence > best[0]:
                best = (evidence, warp, theta)
        if best is None:
            raise InvalidValue(f"the warp {self.warp!r} cannot be applied to these values of {task.metric}")
        self.warp_, self.theta_ = best[1], self._tensor(best[2])
        return self._condition()

    def conditioned(self, task: Task) -> GP | None:
        warp = Warp.fit(self.warp_.kind, task.values, task.direction)
        if warp is None:
            return None
        other = copy(self)
        other._prepare(task, task.archs)
        other.warp_ = warp
        return other._condition()

    def _condition(self) -> GP:
        self.posterior_ = self._observations().condition(self._tensor(self.warp_.forward(self.task_.values)))
        self._single_of_many()
        return self

    def _single_of_many(self) -> None:
        self.single_ = self.posterior_.single() if len(self.archs_) > SINGLE else None

    def _prepare(self, task: Task, archs: Archs) -> None:
        self.task_, self.archs_ = task, archs
        self.terms_ = self._terms(task)
        self.x_ = [self._tensor(f) for f in self.terms_(archs)]

    def _terms(self, task: Task) -> _Terms:
        """The features of a task's space and context; its architectures and values do not matter."""
        name, context = self.encoding, task.context
        if not isinstance(name, str):
            return _Terms(name, task)
        # what is kept holds the space and the sources, so that no other object can come to have their ids
        key = (id(task.space), name, id(context.proxies), id(context.latencies), repr(context.build_options))
        return self._cache.find(key, lambda: _Terms(name, task))

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        if not hasattr(self, "posterior_"):
            return None
        arrays = {"archs": self.archs_.astype(np.int16), "alpha": self.posterior_.alpha, "theta": self.theta_}
        return {"warp": asdict(self.warp_)}, {k: np.asarray(v) for k, v in arrays.items()}

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        assert task is not None
        self._prepare(task, arrays["archs"].astype(np.int64))
        self.warp_ = Warp(**facts["warp"])
        self.theta_ = self._tensor(arrays["theta"])
        self.posterior_ = Posterior(self._observations(), self._tensor(arrays["alpha"]))
        self.single_ = None  # what is read is what was noted of it: speed counts in searches, which fit
        return self

    # ---- kernel

    def _tensor(self, array: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float64, device=self.device)

    @staticmethod
    def _grams(features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared distances and inner products of each term, each ``(t, n, n)``."""
        inner = torch.stack([x @ x.T for x in features])
        lengths = torch.stack([(x * x).sum(1) for x in features])
        return (lengths[:, :, None] + lengths[:, None, :] - 2 * inner).clamp_min(0.0), inner

    def _prior(self, t: int) -> LogNormal:
        """Priors of log amplitude, log length, log linear weight (each ``t``) and log noise."""
        share, length = float(np.log(SIGNAL_SHARE / t)), float(np.log(LENGTH))
        mean = np.array([share] * t + [length] * t + [share] * t + [np.log(NOISE)])
        return LogNormal(mean, np.repeat([WEIGHT_WIDTH, LENGTH_WIDTH, WEIGHT_WIDTH], [t, t, t + 1]))

    def _cross(self, a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
        """Kernel matrix ``(n, m)`` with the constant, term by term and in place, so that little memory is touched."""
        t = len(a)
        amplitude, length, linear = (self.theta_[i * t : (i + 1) * t].exp().tolist() for i in range(3))
        total = torch.full((len(a[0]), len(b[0])), MEAN_VARIANCE, dtype=a[0].dtype, device=self.device)
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            inner = x @ y.T
            total.add_(inner, alpha=linear[i])
            inner.mul_(-2.0).add_((x * x).sum(1)[:, None]).add_((y * y).sum(1)[None, :]).clamp_min_(0.0)
            total.add_(inner.mul_(-0.5 / length[i] ** 2).exp_(), alpha=amplitude[i])
        return total

    def _observations(self) -> Observations[torch.Tensor]:
        """The samples' covariance under the learned hyper-parameters."""
        k = self._cross(self.x_, self.x_)
        k.diagonal().add_(self.theta_[-1].exp() + JITTER)
        return Observations.of(k)

    # ---- prediction

    def _posterior(self, archs: Archs) -> tuple[Features, Features]:
        """Mean and standard deviation of the latent, warped metric, each ``(n,)``."""
        means, stds = [np.empty(0)], [np.empty(0)]
        t = len(self.x_)
        amplitude, linear = self.theta_[:t].exp().sum(), self.theta_[2 * t : 3 * t].exp()
        features = self.terms_(archs)
        known = self.x_ if self.single_ is None else [x.float() for x in self.x_]
        for start in range(0, len(archs), CHUNK):
            x = [self._tensor(f[start : start + CHUNK]).to(known[0].dtype) for f in features]
            cross = self._cross(x, known)
            # a squared exponential kernel is one at distance zero, a linear one the squared length
            prior = amplitude + MEAN_VARIANCE + sum(linear[i] * (f * f).sum(1) for i, f in enumerate(x))
            if self.single_ is not None:
                mean, variance = self.single_.moments(cross, prior)
                means.append(mean)
                stds.append(np.sqrt(np.maximum(variance, LEAST_VARIANCE)))
                continue
            means.append(self.posterior_.mean(cross).cpu().numpy())
            stds.append(self.posterior_.variance(cross, prior).clamp_min(LEAST_VARIANCE).sqrt().cpu().numpy())
        return np.concatenate(means), np.concatenate(stds)

    def predict(self, archs: Any) -> Prediction:
        """Median and half-width of the central 68 % of the latent metric, in its unit; a warp keeps quantiles."""
        mean, std = self._posterior(self._checked(archs))
        return Prediction(*self.warp_.moments(mean, std))

    def sample(self, archs: Any, n: int, seed: Seed = None) -> NDArray[np.float64]:
        """Joint draws for up to a few thousand architectures, ``(n, n_archs)``, in the metric's unit."""
        x = [self._tensor(f) for f in self.terms_(self._checked(archs))]
        cross = self._cross(x, self.x_)
        draws = self.posterior_.draw(cross, self._cross(x, x), n, np.random.default_rng(seed))
        return self.warp_.backward(draws)
