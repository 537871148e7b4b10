"""How proxies predict a metric in each of several spaces; those that resemble the target's space count more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

SHARPNESS = 20.0
"""How fast a space's weight falls with its distance: by a factor of e for .05. Of .1, .05 and .02, together with the
trees, by leaving whole source spaces out; it matters where one space resembles the target (docs/accuracy.md)."""
MIDDLE = 0.5
"""Quantile that stands for a missing proxy."""


@dataclass(frozen=True)
class SimilarSpaces:
    """Non-negative linear scores, one for each source space, averaged by how alike the spaces' proxies correlate.

    Which proxies are good depends on the space, and so do their correlations with each other, which need no accuracy:
    a score weighs ``exp(-SHARPNESS distance)``, the distance the root mean square difference of the correlations of all
    pairs of proxies that both spaces know.

    Args:
        slopes: of the proxies' quantiles, in normal scores of the metric, ``(spaces, k)``, none negative.
        correlations: of the proxies in each space, ``(spaces, k, k)``, NaN where unknown.
    """

    slopes: Array
    correlations: Array

    @classmethod
    def fit(cls, tasks: Sequence[tuple[str, Array, Array]]) -> SimilarSpaces:
        """Least squares in each space, all of its tasks with equal weight.

        Args:
            tasks: name of the space, quantiles ``(n, k)`` with NaN where missing, normal scores ``(n,)``.
        """
        slopes, correlations = [], []
        for space in dict.fromkeys(name for name, _, _ in tasks):
            rows = [(_centred(x), y - y.mean(), len(y) ** -0.5) for name, x, y in tasks if name == space]
            left, right = (np.concatenate([part[k] * part[2] for part in rows]) for k in (0, 1))
            slopes.append(nnls(left, right)[0])
            known = [correlation(x) for name, x, _ in tasks if name == space]
            correlations.append(_mean(np.stack(known)))
        return cls(np.stack(slopes), np.stack(correlations))

    def weights(self, here: Array) -> Array:
        """Weights of the spaces, ``(spaces,)``, for a target whose proxies correlate like `here`, ``(k, k)``."""
        pairs = np.triu_indices(len(here), 1)
        differences = (self.correlations - here)[:, pairs[0], pairs[1]]
        known = np.isfinite(differences)
        squares = np.where(known, differences, 0.0) ** 2
        # a space with which no pair is shared is as far as uncorrelated ones
        distances = np.sqrt(np.where(known.any(axis=1), squares.sum(axis=1) / np.maximum(known.sum(axis=1), 1), 1.0))
        weights = np.exp(-SHARPNESS * (distances - distances.min()))
        return np.asarray(weights / weights.sum())

    def __call__(self, x: Array, here: Array) -> Array:
        """Scores ``(n,)`` of quantiles ``(n, k)``, up to a constant."""
        return np.asarray(np.where(np.isnan(x), MIDDLE, x) @ (self.weights(here) @ self.slopes))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State for :meth:`of_arrays`."""
        return {"slopes": self.slopes, "correlations": self.correlations}

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> SimilarSpaces:
        """The inverse of :meth:`arrays`."""
        return cls(arrays["slopes"].astype(np.float64), arrays["correlations"].astype(np.float64))


def correlation(x: Array) -> Array:
    """Correlations of the columns of quantiles ``(n, k)`` over the rows that both know, ``(k, k)``; NaN where unknown.

    Of quantiles, so that it is about that of ranks.
    """
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / count
    centred = np.where(known, x - mean, 0.0)
    square = centred**2
    products = centred.T @ centred
    scale = np.sqrt((square.T @ known) * (known.T @ square))
    return np.where(scale > 0, products / np.where(scale > 0, scale, 1.0), np.nan)


def _centred(x: Array) -> Array:
    filled = np.where(np.isnan(x), MIDDLE, x)
    return np.asarray(filled - filled.mean(axis=0))


def _mean(several: Array) -> Array:
    """The mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(several)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, several, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
