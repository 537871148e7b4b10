"""Exact Gaussian process regression, once: what every Gaussian process of the package does after its kernel.

Rasmussen & Williams, Gaussian Processes for Machine Learning (2006): Algorithm 2.1 (fit, predict, evidence) and Section
5.4.2 (leaving one out). Kernels, hyper-parameters and transforms of the values are the predictors' own. Predictors and
samplers both stand on this, so it lies below both, beside :mod:`nastk.metrics`.

Arrays are NumPy's, or torch tensors through which gradients flow; both kinds keep to their own library. Leading batch
dimensions ``...`` are for tensors. ``n`` is the number of observations, ``m`` that of architectures asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[np.float64], "Tensor")

CONDITION = 5e3
"""Condition number of ``L``, at most, in single precision, whose rounding (6e-8) it multiplies: means and deviations
then are right to about 3e-4 standard deviations."""


@dataclass(frozen=True)
class Observations(Generic[Array]):
    """The covariance of noisy observations, factorised; lines 2 to 7 of Algorithm 2.1 for any values of them.

    Args:
        lower: ``L``, ``(..., n, n)`` lower triangular, with ``L L^T = K + noise``.
        inverse: ``L^-1``, or None. A product with it takes less time than a triangular solve where many architectures
            are asked for, but rounding grows with the covariance's condition number instead of its root: only for
            noises that are a good part of the signal.
    """

    lower: Array
    inverse: Array | None = None

    @classmethod
    def of(cls, covariance: Array) -> Observations[Array]:
        """Factorise the covariance ``(..., n, n)`` of the observations, their noise on the diagonal included.

        Raises:
            LinAlgError: NumPy's or torch's; the covariance is not positive definite.
        """
        if isinstance(covariance, np.ndarray):
            return cls(np.asarray(np.linalg.cholesky(covariance), dtype=np.float64))
        import torch

        return cls(torch.linalg.cholesky(covariance))

    def inverted(self) -> Observations[Array]:
        """The same with :attr:`inverse`."""
        return Observations(self.lower, self.whiten(_eye(self.lower)))

    def whiten(self, right: Array) -> Array:
        """``L^-1 right`` for columns ``(..., n, k)``: of unit covariance, if theirs is the observations'."""
        if self.inverse is not None:
            return self.inverse @ right
        if isinstance(right, np.ndarray):
            return np.asarray(solve_triangular(self.lower, right, lower=True, check_finite=False))
        import torch

        return torch.linalg.solve_triangular(self.lower, right, upper=False)

    def log_evidence(self, values: Array) -> Array:
        """Log marginal likelihood of centred values ``(..., n, k)``, each column one data set, ``(..., k)``.

        Line 7, without ``-n/2 log(2 pi)``, which is the same for all models of as many observations.
        """
        whitened = self.whiten(values)
        if isinstance(self.lower, np.ndarray):
            return -0.5 * (whitened**2).sum(axis=-2) - np.log(self.lower.diagonal()).sum()
        return -0.5 * (whitened**2).sum(-2) - self.lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)[..., None]

    def weights(self, values: Array) -> Array:
        """Line 3, ``(K + noise)^-1 values`` of centred values ``(n,)``: what :meth:`Posterior.mean` sums kernels by."""
        if self.inverse is not None:
            return self.inverse.T @ (self.inverse @ values)
        if isinstance(values, np.ndarray):
            half = solve_triangular(self.lower, values, lower=True, check_finite=False)
            return np.asarray(solve_triangular(self.lower, half, lower=True, trans="T", check_finite=False))
        import torch

        return torch.cholesky_solve(values[:, None], self.lower)[:, 0]

    def condition(self, values: Array) -> Posterior[Array]:
        """The process given centred values ``(n,)`` of the observations."""
        return Posterior(self, self.weights(values))


@dataclass(frozen=True)
class Posterior(Generic[Array]):
    """A Gaussian process given observations; lines 4 to 6 of Algorithm 2.1.

    Args:
        observations: their covariance, factorised.
        alpha: their weights, ``(n,)``.
    """

    observations: Observations[Array]
    alpha: Array

    def mean(self, cross: Array) -> Array:
        """``(m,)``, from the kernel ``(m, n)`` of what is asked for with the observations; the prior's is not added."""
        return cross @ self.alpha

    def variance(self, cross: Array, prior: Array) -> Array:
        """``(m,)``, from that kernel and the prior variances ``(m,)``; rounding may leave it slightly below zero."""
        reached = self._reach(cross)
        if isinstance(reached, np.ndarray):
            return prior - np.einsum("ij,ij->i", reached, reached)
        return prior - (reached**2).sum(-1)

    def moments(self, cross: Array, prior: Array) -> tuple[Array, Array]:
        """Mean and variance, each ``(m,)``; see there."""
        return self.mean(cross), self.variance(cross, prior)

    def single(self) -> SinglePosterior[Array] | None:
        """The same in single precision; None where the covariance's condition would let its rounding show."""
        lower = self.observations.lower
        diagonal = lower.diagonal()
        # the trace bounds the greatest eigenvalue, the least pivot stands for the least one
        condition = float((lower**2).sum() ** 0.5 / diagonal.min())
        if not condition < CONDITION:
            return None
        whitened = lower.T @ self.alpha
        if isinstance(lower, np.ndarray):
            return SinglePosterior(lower.astype(np.float32), whitened.astype(np.float32))
        return SinglePosterior(lower.float(), whitened.float())

    def draw(self, cross: Array, prior: Array, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Joint draws ``(n, m)``, from that kernel and the prior covariance ``(m, m)``.

        The root of the covariance is taken by its eigenvectors: architectures that are equal to the kernel make it
        singular, on which a Cholesky factorisation fails.
        """
        reached = self._reach(cross)
        covariance = prior - reached @ reached.T
        if isinstance(covariance, np.ndarray):
            values, vectors = np.linalg.eigh(covariance)
            root, mean = vectors * np.sqrt(np.maximum(values, 0.0)), self.mean(cross)
        else:
            import torch

            spectrum, basis = torch.linalg.eigh(covariance)
            root = (basis * spectrum.clamp_min(0).sqrt()).cpu().numpy()
            mean = self.mean(cross).cpu().numpy()
        return mean + rng.standard_normal((n, len(mean))) @ root.T

    def _reach(self, cross: Array) -> Array:
        """``(L^-1 cross^T)^T``, whose rows' squared lengths are what the observations explain of the variance."""
        if self.observations.inverse is not None:
            return cross @ self.observations.inverse.T
        return self.observations.whiten(cross.T).T


@dataclass(frozen=True)
class SinglePosterior(Generic[Array]):
    """A posterior in single precision, with which predicting takes half the time and memory.

    Mean and variance are both sums over whitened values, whose sizes are those of standard normal ones: the weights
    that :meth:`Posterior.mean` sums kernels by cancel one another, and would lose digits.

    Args:
        lower: see :class:`Observations`, in single precision.
        whitened: ``L^-1 values``, ``(n,)``, in single precision.
    """

    lower: Array
    whitened: Array

    def moments(self, cross: Array, prior: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance, each ``(m,)``; arguments as of :meth:`Posterior.variance`, in single precision."""
        if isinstance(cross, np.ndarray):
            reached: Any = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
            mean, variance = self.whitened @ reached, prior - np.einsum("ij,ij->j", reached, reached)
            return mean.astype(np.float64), np.asarray(variance, dtype=np.float64)
        import torch

        reached = torch.linalg.solve_triangular(self.lower, cross.T, upper=False)
        mean, variance = self.whitened @ reached, prior - (reached * reached).sum(0)
        return mean.double().cpu().numpy(), variance.double().cpu().numpy()


def explained_variance(cross: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """What observations explain of the prior variance, ``(..., m)``: the diagonal of ``cross precision cross^T``.

    For models that need the inverse covariance itself, as leaving one out does.

    Args:
        cross: kernel of what is asked for with the observations, ``(..., m, n)``.
        precision: inverse covariance of the observations, noise included, ``(..., n, n)``.
    """
    return np.asarray(((cross @ precision) * cross).sum(axis=-1))


def left_out_residuals(alpha: NDArray[np.float64], diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value minus what the others predict for it, of `alpha`'s shape (equation 5.12, without fitting again).

    Args:
        alpha: weights of the observations (see :meth:`Observations.weights`).
        diagonal: of their inverse covariance; ``1 / diagonal`` are the variances of those predictions.
    """
    return alpha / diagonal


def variance_reduction(covariance: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """By how much one noisy observation of each candidate lowers the summed variance of all, ``(m,)``.

    Args:
        covariance: of the candidates, ``(m, m)``.
        noise: variance of an observation's noise.
    """
    return np.asarray((covariance**2).sum(axis=0) / (covariance.diagonal() + noise))


def greedy_design(
    n: int,
    covariance: NDArray[np.float64],
    noise: float,
    gain: Callable[[NDArray[np.float64], float], NDArray[np.float64]] = variance_reduction,
    avoided: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Which `n` candidates to observe, ``(n,)`` places: one after another, the best given those before.

    A Gaussian posterior's covariance does not depend on the values, so that all are chosen before any is observed. With
    the default gain this is A-optimal design, least mean variance (Cohn, NeurIPS 1996).

    Args:
        n: how many, at most as many as there are candidates.
        covariance: prior covariance of the candidates, ``(m, m)``.
        noise: variance of an observation's noise.
        gain: of each candidate, from the posterior covariance so far and the noise, ``(m,)``.
        avoided: candidates that are chosen only where there are fewer than `n` others, ``(m,)``.
    """
    covariance = covariance.copy()
    barred = np.zeros(len(covariance), dtype=bool) if avoided is None else avoided.copy()
    if len(barred) - barred.sum() < n:
        barred[:] = False
    chosen: list[int] = []
    for _ in range(n):
        gains = gain(covariance, noise)
        gains[barred] = -np.inf
        best = int(np.argmax(gains))
        chosen.append(best)
        barred[best] = True
        column = covariance[:, best] / np.sqrt(covariance[best, best] + noise)
        covariance -= np.outer(column, column)
    return np.array(chosen, dtype=np.int64)


def _eye(like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return np.eye(len(like))
    import torch

    return torch.eye(like.shape[-1]).to(like)
