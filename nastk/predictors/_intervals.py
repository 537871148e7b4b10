"""Intervals that hold: how far values lie from what the others predict for them, not what a method says of itself.

An ensemble that agrees need not be right, and the deviation of a latent function leaves the noise out. What tells is
how far each value is from its prediction by a fit that has not seen it, as in cross-conformal prediction (Vovk, Annals
of Mathematics and Artificial Intelligence 2015; Barber et al., Predictive inference with the jackknife+, Annals of
Statistics 2021). Those take an empirical quantile of the residuals, which from ten values cannot be one of 95 %; here
the residuals have a distribution whose few parameters are averaged over by their posterior, so that fewer values give
wider intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nastk.oracles.base import Direction, Values
from nastk.predictors._normal_scores import Scale

if TYPE_CHECKING:
    from nastk.predictors.base import Prediction

Array = NDArray[np.float64]

FOLDS = 5
"""Parts of the values that are left out in turn, where a method has no closed form: each costs a fit."""
LEAST = 5
"""Values, at least, from which a spread can be learned."""
STRETCHES = tuple(4.0**k for k in range(-2, 5))
"""Factors of the variance that a method states, which are averaged over: up to a sixteenfold deviation, as ensembles
need that agree on too much."""
CONSTANTS = tuple(0.003 * 3.0**k for k in range(7))
"""Variances that every network has beside, in normal scores (the values themselves have one): noise, and what no
feature tells."""
TAILS = (3.0, 6.0, 30.0)
"""Degrees of freedom of Student's t: from rare failures far off to next to normal."""
STRETCH = (0.0, 1.5)
"""Mean and width of the normal prior of the logarithm of the factor."""
CONSTANT = (-1.5, 1.0)
"""The same of the constant variance."""
KNOTS = 48
"""Stated deviations for which half-widths are computed; between them they are interpolated."""
HALVINGS = 40
"""Steps of the bisection for a half-width, each of which halves its error."""
MOST = 1.0
"""Variance, in normal scores, that a stated deviation stands for at most, stretched or not: the values' own. Far
from the values warps state deviations without bound."""
BEYOND = 0.5
"""Scores by which a prediction may lie beyond all values, at most: extrapolated warps have no bounds."""
LEAST_WEIGHT = 1e-4
"""Parameters of less posterior weight than this share of the greatest are left out."""


@dataclass(frozen=True)
class Spread:
    """The distribution of a value about its prediction, in scores of the metric (`Scale`).

    Student's t with variance parameter ``min(stretch * deviation ** 2, MOST) + constant``, a mixture over parameters.

    Args:
        scale: of the values.
        weights: of the parameters, ``(p,)``.
        stretches, constants, tails: the parameters, ``(p,)``.
    """

    scale: Scale
    weights: Array
    stretches: Array
    constants: Array
    tails: Array

    @classmethod
    def fit(cls, values: Values, left_out: Prediction, direction: Direction) -> Spread:
        """Learn from values ``(n,)`` and what fits that had not seen them predicted for them."""
        from scipy.stats import norm, t

        scale = _scale(values, direction)
        centre, deviation = _scored(scale, left_out)
        residual = scale.forward(values) - centre
        grid = np.meshgrid(STRETCHES, CONSTANTS, TAILS, indexing="ij")
        stretches, constants, tails = (part.ravel() for part in grid)
        widths = _widths(deviation, stretches, constants)
        log = t.logpdf(residual, tails[:, None], scale=widths).sum(axis=1)
        log += norm.logpdf(np.log(stretches), *STRETCH) + norm.logpdf(np.log(constants), *CONSTANT)
        weights = np.exp(log - log.max())
        kept = weights >= LEAST_WEIGHT
        return cls(scale, weights[kept] / weights[kept].sum(), stretches[kept], constants[kept], tails[kept])

    def interval(self, prediction: Prediction, level: float) -> tuple[Values, Values]:
        """Both ends, ``(n,)`` each, in the metric's unit, of the central intervals of this probability."""
        centre, deviation = _scored(self.scale, prediction)
        if not len(centre):
            return centre, centre
        half = self._half_widths(deviation, level)
        return self.scale.backward(centre - half), self.scale.backward(centre + half)

    def _half_widths(self, deviation: Array, level: float) -> Array:
        """Half-widths ``(n,)`` in scores: where the mixture's probability within them is `level`."""
        from scipy.stats import t

        knots = np.unique(np.quantile(deviation, np.linspace(0.0, 1.0, KNOTS)))
        widths = _widths(knots, self.stretches, self.constants)
        upper = widths * t.ppf(0.5 + level / 2.0, self.tails)[:, None]
        low, high = upper.min(axis=0), upper.max(axis=0)  # of the narrowest and of the widest alone
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            within = self.weights @ (2.0 * t.cdf(middle / widths, self.tails[:, None]) - 1.0)
            low, high = np.where(within < level, middle, low), np.where(within < level, high, middle)
        return np.interp(deviation, knots, high)


def _scale(values: Values, direction: Direction) -> Scale:
    """Scores of values; beyond the values they are at least as far apart as among them in the mean.

    The next one may be further off than two that happen to be close to each other at an end tell.
    """
    scale = Scale.fit("auto", values, direction)
    if len(scale.values) < 2:
        return scale
    mean = float(np.ptp(scale.values) / np.ptp(scale.scores))
    return replace(scale, low=max(scale.low, mean), high=max(scale.high, mean))


def _widths(deviation: Array, stretches: Array, constants: Array) -> Array:
    """Scale parameters ``(p, n)`` of Student's t."""
    return np.sqrt(np.minimum(stretches[:, None] * deviation**2, MOST) + constants[:, None])


def _scored(scale: Scale, prediction: Prediction) -> tuple[Array, Array]:
    """Mean and deviation in scores, ``(n,)`` each; a method without deviations has zeros."""
    std = np.nan_to_num(prediction.std, nan=0.0)
    low, high = scale.forward(prediction.mean - std), scale.forward(prediction.mean + std)
    room = scale.scores[0] - BEYOND, scale.scores[-1] + BEYOND
    return np.clip(scale.forward(prediction.mean), *room), (high - low) / 2.0


def folds(archs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The fold of each architecture, ``(n,)``, whatever their order; equal ones are in one fold.

    A fit that has seen an architecture's value would predict it again.
    """
    _, which = np.unique(archs, axis=0, return_inverse=True)
    places = np.random.default_rng(0).permutation(int(which.max()) + 1)
    return np.asarray(places[which.ravel()] % count)
