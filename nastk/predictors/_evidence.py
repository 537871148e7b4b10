"""The most probable hyper-parameters of `gp`'s kernel, by L-BFGS with the gradient written out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

Array = NDArray[np.float64]

LEAST_GAIN = 1e-6
"""Relative gain of a step below which the optimisation ends; evidences are sums over samples, of about their number."""
LEAST_SLOPE = 1e-4
"""Largest slope, in nats by unit of a log hyper-parameter, at which it ends."""


@dataclass(frozen=True)
class LogNormal:
    """Priors of all hyper-parameters: their logs' ``mean`` and standard deviation ``width``, each ``(3 t + 1,)``."""

    mean: Array
    width: Array


class Kernel:
    """``sum_t a_t exp(-D_t / (2 l_t^2)) + b_t G_t + constant`` of some samples, and its evidence.

    Only the lower triangles are kept and computed: ``p = n (n + 1) / 2`` pairs.

    Args:
        squared, inner: squared distances ``D`` and inner products ``G`` of each term, ``(t, n, n)``, float64.
        constant: prior variance of the constant mean.
        jitter: least noise variance.
    """

    def __init__(self, squared: Tensor, inner: Tensor, constant: float, jitter: float):
        self.t, self.n = squared.shape[:2]
        self._rows, self._columns = torch.tril_indices(self.n, self.n, device=squared.device)
        self._squared, self._inner = (x[:, self._rows, self._columns] for x in (squared, inner))
        self._twice = torch.where(self._rows == self._columns, 1.0, 2.0).to(squared)
        self._constant, self._jitter = constant, jitter

    def log_evidence(self, theta: Array, z: Tensor) -> tuple[float, Array]:
        """Log marginal likelihood of centred values ``(n,)``, and its gradient ``(3 t + 1,)``.

        Rasmussen & Williams 2006, equations 2.30 and 5.9: by a hyper-parameter the derivative is half the sum of
        ``(alpha alpha^T - K^-1)`` times that of the kernel.

        Args:
            theta: logs of the amplitudes, lengths, linear weights (``t`` each) and of the noise variance.

        Raises:
            LinAlgError: torch's; the covariance is not positive definite.
        """
        t, n = self.t, self.n
        amplitude, length, linear = torch.as_tensor(np.exp(theta[: 3 * t])).to(z).reshape(3, t)
        noise = float(np.exp(theta[-1]))
        shape = torch.exp(self._squared * (-0.5 / length**2)[:, None])
        covariance = z.new_zeros((n, n))  # only its lower triangle is read
        covariance[self._rows, self._columns] = amplitude @ shape + linear @ self._inner + self._constant
        covariance.diagonal().add_(noise + self._jitter)
        lower = torch.linalg.cholesky(covariance)
        alpha = torch.cholesky_solve(z[:, None], lower)[:, 0]
        evidence = -0.5 * float(z @ alpha) - float(lower.diagonal().log().sum()) - 0.5 * n * float(np.log(2 * np.pi))
        slopes = torch.outer(alpha, alpha) - torch.cholesky_inverse(lower)
        by_pair = slopes[self._rows, self._columns] * self._twice
        by_amplitude, by_linear = amplitude * (shape @ by_pair), linear * (self._inner @ by_pair)
        by_length = amplitude / length**2 * (shape.mul_(self._squared) @ by_pair)
        by_noise = noise * slopes.diagonal().sum()[None]
        return evidence, 0.5 * torch.cat([by_amplitude, by_length, by_linear, by_noise]).cpu().numpy()

    def most_probable(self, z: Tensor, prior: LogNormal, steps: int) -> tuple[Array, float]:
        """Hyper-parameters ``(3 t + 1,)`` of the greatest posterior density, and its log up to a constant.

        The best that was seen, where a step leads to a covariance that is not positive definite.

        Args:
            z: centred values, ``(n,)``.
            steps: L-BFGS iterations, at most.
        """
        best = np.inf, prior.mean

        def loss(theta: Array) -> tuple[float, Array]:
            nonlocal best
            evidence, slope = self.log_evidence(theta, z)
            away = (theta - prior.mean) / prior.width
            value = 0.5 * float(away @ away) - evidence
            if value < best[0]:
                best = value, theta.copy()
            return value, away / prior.width - slope

        options = {"maxiter": steps, "ftol": LEAST_GAIN, "gtol": LEAST_SLOPE}
        with contextlib.suppress(torch.linalg.LinAlgError):
            minimize(loss, prior.mean, jac=True, method="L-BFGS-B", options=options)
        return best[1], -best[0]
