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
STRETCHES = tuple(2.0 ** (0.75 * k) for k in range(-4, 5))
"""Factors of the variances, which are averaged over: from an eighth to eightfold."""
STRETCH = (0.5, 0.7)
"""Mean and width of the normal prior of their logarithm."""
FLOORS = (0.02, 0.06, 0.2, 0.6)
"""Variances, in normal scores (the values themselves have one), that every network has beside what a method states:
noise, and what no feature tells."""
FLOOR_SHARES = (1.0, 2.0, 2.0, 1.0)
"""Their prior weights."""
TAILS = (3.0, 6.0, 30.0)
"""Degrees of freedom of Student's t: from rare failures far off to next to normal."""
NARROWEST = 0.6
"""The spread of the space beside that of the values, at least: it is only predicted."""
KNOTS = 48
"""Stated variances for which half-widths are computed; between them they are interpolated."""
HALVINGS = 40
"""Steps of the bisection for a half-width, each of which halves its error."""
STATED = 1.0
"""Variance, in normal scores, that a stated deviation stands for at most: the values' own. Far from the values warps
state deviations without bound."""
MOST = 1.5
"""The same of a stretched one and the floor: a prediction is hardly worse than the mean of all values."""
BEYOND = 0.5
"""Scores by which a prediction may lie beyond all values, at most: extrapolated warps have no bounds."""
LEAST_WEIGHT = 1e-4
"""Parameters of less posterior weight than this share of the greatest are left out."""


@dataclass(frozen=True)
class Spread:
    """The distribution of a value about its prediction, in scores of the metric (`Scale`).

    Student's t with variance parameter ``min(stretch * (min(deviation ** 2, STATED) + floor), MOST)``, a mixture over
    parameters.

    Residuals are standardised: values that were chosen to lie far apart are further from their predictions than others
    will be, and a method states larger deviations for them. But a score is a deviation of the values known, which is
    more than one of the space if they were chosen among its extremes: `share` corrects for that.

    Args:
        scale: of the values.
        weights: of the parameters, ``(p,)``.
        stretches, floors, tails: the parameters, ``(p,)``.
        share: of the half-widths: the spread of the space beside that of the values, at most one.
    """

    scale: Scale
    weights: Array
    stretches: Array
    floors: Array
    tails: Array
    share: float

    @classmethod
    def fit(
        cls, values: Values, left_out: Prediction, direction: Direction, of_space: Prediction | None = None
    ) -> Spread:
        """Learn from values ``(n,)`` and what fits that had not seen them predicted for them.

        Args:
            of_space: what the fit to all predicts of random architectures of the space, ``(m,)``, where that tells how
                far their values spread.
        """
        from scipy.stats import norm, t

        scale = _scale(values, direction)
        centre, variance = _scored(scale, left_out)
        residual = scale.forward(values) - centre
        grid = np.meshgrid(STRETCHES, FLOORS, TAILS, indexing="ij")
        stretches, floors, tails = (part.ravel() for part in grid)
        widths = _widths(variance, stretches, floors)
        log = t.logpdf(residual, tails[:, None], scale=widths).sum(axis=1)
        log += norm.logpdf(np.log(stretches), *STRETCH) + np.log(FLOOR_SHARES)[np.searchsorted(FLOORS, floors)]
        weights = np.exp(log - log.max())
        kept = weights >= LEAST_WEIGHT
        total = weights[kept].sum()
        share = 1.0 if of_space is None else _share(_scored(scale, of_space), (centre, variance))
        return cls(scale, weights[kept] / total, stretches[kept], floors[kept], tails[kept], share)

    def interval(self, prediction: Prediction, level: float) -> tuple[Values, Values]:
        """Both ends, ``(n,)`` each, in the metric's unit, of the central intervals of this probability."""
        centre, variance = _scored(self.scale, prediction)
        if not len(centre):
            return centre, centre
        half = self.share * self._half_widths(variance, level)
        return self.scale.backward(centre - half), self.scale.backward(centre + half)

    def _half_widths(self, variance: Array, level: float) -> Array:
        """Half-widths ``(n,)`` in scores: where the mixture's probability within them is `level`."""
        from scipy.special import stdtr, stdtrit

        knots = np.unique(np.quantile(variance, np.linspace(0.0, 1.0, KNOTS)))
        widths = _widths(knots, self.stretches, self.floors)
        upper = widths * stdtrit(self.tails, 0.5 + level / 2.0)[:, None]
        low, high = upper.min(axis=0), upper.max(axis=0)  # of the narrowest and of the widest alone
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            within = self.weights @ (2.0 * stdtr(self.tails[:, None], middle / widths) - 1.0)
            low, high = np.where(within < level, middle, low), np.where(within < level, high, middle)
        return np.interp(variance, knots, high)


def _scale(values: Values, direction: Direction) -> Scale:
    """Scores of values; beyond the values they are at least as far apart as among them in the mean.

    The next one may be further off than two that happen to be close to each other at an end tell.
    """
    scale = Scale.fit("auto", values, direction)
    if len(scale.values) < 2:  # a straight line: its knots are only to say where the values end
        ends = np.unique(values)[[0, -1]]
        return replace(scale, values=ends, scores=scale.forward(ends)) if ends[0] < ends[1] else scale
    mean = float(np.ptp(scale.values) / np.ptp(scale.scores))
    return replace(scale, low=max(scale.low, mean), high=max(scale.high, mean))


def _widths(variance: Array, stretches: Array, floors: Array) -> Array:
    """Scale parameters ``(p, n)`` of Student's t."""
    return np.sqrt(np.minimum(stretches[:, None] * (variance + floors[:, None]), MOST))


def _scored(scale: Scale, prediction: Prediction) -> tuple[Array, Array]:
    """Mean and variance in scores, ``(n,)`` each; a method without deviations has zeros."""
    std = np.nan_to_num(prediction.std, nan=0.0)
    low, high = scale.forward(prediction.mean - std), scale.forward(prediction.mean + std)
    room = scale.scores[0] - BEYOND, scale.scores[-1] + BEYOND
    return np.clip(scale.forward(prediction.mean), *room), np.minimum(((high - low) / 2.0) ** 2, STATED)


def _share(of_space: tuple[Array, Array], left_out: tuple[Array, Array]) -> float:
    """Spread of the space's values beside that of the values known, both as predicted by (mean, variance)."""
    whole, known = (float(mean.var() + variance.mean()) for mean, variance in (of_space, left_out))
    return float(np.clip(np.sqrt(whole / known), NARROWEST, 1.0)) if known > 0.0 else 1.0


def folds(archs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The fold of each architecture, ``(n,)``, whatever their order; equal ones are in one fold.

    A fit that has seen an architecture's value would predict it again.
    """
    _, which = np.unique(archs, axis=0, return_inverse=True)
    places = np.random.default_rng(0).permutation(int(which.max()) + 1)
    return np.asarray(places[which.ravel()] % count)
