"""How much each choice matters, learned from values: what a space of choices without meaning leaves to be learned."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from nastk.gaussian import Observations

WIDTH = 1.5
"""Standard deviation of the log-normal prior of a choice's weight, a factor of 4.5; its median is one. Narrower ones do
not let one of many choices stand out, as the width of a language model does; wider ones trust few samples more."""
LARGEST = 10.0
"""Bound on the logs of all that is learned, so that no step of the optimisation overflows."""
NOISE = 0.03
"""Median of the log-normal prior of the noise variance."""
NOISE_WIDTH = 1.5
"""Its standard deviation, a factor of 4.5."""
STEPS = 20
"""L-BFGS iterations, at most: the weights need not be exact, since processes without them are averaged with."""

Array = NDArray[np.float64]


def relevance(squared: Array, z: Array, amplitude: float, constant: float, length: float) -> Array:
    """The most probable weights ``(d,)`` of the choices in ``a exp(-sum_j w_j D_j / (2 l^2)) + c`` and Gaussian noise.

    Automatic relevance determination (Rasmussen & Williams 2006, Section 5.1) by the evidence and a log-normal prior.

    Args:
        squared: squared distances ``D`` of the samples in each choice, ``(d, n, n)``.
        z: standardised values, ``(n,)``.
        amplitude, constant, length: of the kernel; they stay as they are.
    """
    d, n = squared.shape[:2]
    rows, columns = np.tril_indices(n)
    distances = squared[:, rows, columns] / (2.0 * length**2)
    twice = np.where(rows == columns, 1.0, 2.0)
    centre, width = np.append(np.zeros(d), np.log(NOISE)), np.append(np.full(d, WIDTH), NOISE_WIDTH)
    best = np.inf, centre

    def loss(theta: Array) -> tuple[float, Array]:
        nonlocal best
        weights, noise = np.exp(theta[:d]), float(np.exp(theta[d]))
        shape = amplitude * np.exp(-(weights @ distances))
        covariance = np.zeros((n, n))  # only its lower triangle is read
        covariance[rows, columns] = shape + constant
        covariance[np.diag_indices(n)] += noise
        found = Observations.of(covariance).inverted()
        assert found.inverse is not None
        inverse = found.inverse.T @ found.inverse
        alpha = inverse @ z
        away = (theta - centre) / width
        value = 0.5 * float(away @ away) - float(found.log_evidence(z[:, None])[0])
        if value < best[0]:
            best = value, theta.copy()
        # Rasmussen & Williams 2006, equation 5.9
        slopes = np.outer(alpha, alpha) - inverse
        by_weight = -weights * (distances @ (shape * slopes[rows, columns] * twice))
        slope = 0.5 * np.append(by_weight, noise * slopes.trace())
        return value, away / width - slope

    with contextlib.suppress(np.linalg.LinAlgError):
        bounds = [(-LARGEST, LARGEST)] * (d + 1)
        minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS, "ftol": 1e-6})
    return np.asarray(np.exp(best[1][:d]))
