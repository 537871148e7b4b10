"""Quality of predictions and of fronts: thin wrappers of scipy and moocore."""

from __future__ import annotations

from math import gamma, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue

Array = NDArray[np.float64]


def _finite(name: str, values: Any, ndim: int) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim:
        raise InvalidValue(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}; got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidValue(f"{name} must be finite; exclude failed evaluations")
    return array


def _pairs(predicted: Any, truth: Any) -> tuple[Array, Array]:
    """Two arrays of one length."""
    a, b = _finite("predicted", predicted, 1), _finite("truth", truth, 1)
    if len(a) != len(b):
        raise InvalidValue(f"predicted and truth must be of one length; got {len(a)} and {len(b)}")
    return a, b


# ---- predictions


def spearman(predicted: Any, truth: Any) -> float:
    """Spearman's rank correlation; NaN if one of the arrays is constant.

    Args:
        predicted: ``(n,)``.
        truth: ``(n,)``.

    Raises:
        InvalidValue: values that are not finite, or of another shape.
    """
    from scipy.stats import spearmanr

    a, b = _pairs(predicted, truth)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def kendall(predicted: Any, truth: Any) -> float:
    """Kendall's tau-b; NaN if one of the arrays is constant.

    Args:
        predicted: ``(n,)``.
        truth: ``(n,)``.

    Raises:
        InvalidValue: values that are not finite, or of another shape.
    """
    from scipy.stats import kendalltau

    a, b = _pairs(predicted, truth)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(kendalltau(a, b).statistic)


def partial_spearman(predicted: Any, truth: Any, given: Any) -> float:
    """Spearman's rank correlation of what a third variable does not explain of either; NaN where one is constant.

    Of the ranks, ``(r_ab - r_ac r_bc) / sqrt((1 - r_ac^2) (1 - r_bc^2))``.

    Args:
        predicted, truth, given: ``(n,)`` each.

    Raises:
        InvalidValue: values that are not finite, or of another shape.
    """
    ab, ac, bc = spearman(predicted, truth), spearman(predicted, given), spearman(truth, given)
    left = (1.0 - ac**2) * (1.0 - bc**2)
    return (ab - ac * bc) / float(np.sqrt(left)) if left > 1e-12 else float("nan")


def ndcg(predicted: Any, truth: Any) -> float:
    """Normalised discounted cumulative gain (Jarvelin & Kekalainen, ACM TOIS 2002), 1 for the true order.

    The gain of an item is its true value, scaled to 0 to 1 over all; the item that is predicted to be the k-th best
    counts with ``1 / log2(k + 1)``, so that it matters most what comes first. NaN where all true values are equal.

    Args:
        predicted, truth: ``(n,)``, higher is better.

    Raises:
        InvalidValue: values that are not finite, or of another shape.
    """
    a, b = _pairs(predicted, truth)
    if len(a) < 2 or np.ptp(b) == 0:
        return float("nan")
    gains = (b - b.min()) / np.ptp(b)
    discounts = 1.0 / np.log2(np.arange(len(a)) + 2.0)
    order = np.argsort(-a, kind="stable")
    return float((gains[order] * discounts).sum() / (np.sort(gains)[::-1] * discounts).sum())


def interval_score(low: Any, high: Any, truth: Any, confidence: float = 0.95) -> Array:
    """Interval score: width, and what a value lies outside times ``2 / (1 - confidence)`` (Gneiting & Raftery, 2007).

    Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 102, Section 6.2. Its mean is least for the true
    quantiles.

    Args:
        low, high: bounds, ``(n,)``.
        truth: values, ``(n,)``.
        confidence: of the intervals.

    Returns:
        The score of each interval, ``(n,)``, in the values' unit.
    """
    lows, highs, values = _finite("low", low, 1), _finite("high", high, 1), _finite("truth", truth, 1)
    outside = np.maximum(lows - values, 0.0) + np.maximum(values - highs, 0.0)
    return np.asarray((highs - lows) + 2.0 / (1.0 - confidence) * outside)


def mean_ci(values: Any) -> tuple[float, float]:
    """Mean of `values` ``(n,)`` and half-width of its 95 % t interval; the half-width is NaN for a single value.

    Raises:
        InvalidValue: no values, or some that are not finite.
    """
    from scipy.stats import t

    array = _finite("values", values, 1)
    if not len(array):
        raise InvalidValue("no values to average")
    if len(array) == 1:
        return float(array[0]), float("nan")
    half = t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean()), float(half)


def paired(differences: Any) -> tuple[float, float, float]:
    """Mean of paired differences ``(n,)``, its 95 % interval as of :func:`mean_ci`, and Wilcoxon's signed-rank p."""
    from scipy.stats import wilcoxon

    mean, half = mean_ci(differences)
    return mean, half, float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def regret(costs: Any, best: float) -> Array:
    """Simple regret: best of the first 1, 2, ... n costs minus the best possible, ``(n,)``.

    Args:
        costs: of the evaluations in order, minimised, ``(n,)``.
        best: the least possible cost.

    Raises:
        InvalidValue: costs that are not finite.
    """
    return np.minimum.accumulate(_finite("costs", costs, 1)) - best


# ---- fronts (all objectives minimised)


def nondominated(costs: Any) -> NDArray[np.bool_]:
    """Mask of the non-dominated points, ``(n,)``; of duplicates only the first.

    Args:
        costs: ``(n, m)``, every objective minimised.

    Raises:
        InvalidValue: costs that are not finite, or of another shape.
    """
    array = _finite("costs", costs, 2)
    if not len(array):
        return np.zeros(0, dtype=bool)
    if array.shape[1] == 1:
        mask = np.zeros(len(array), dtype=bool)
        mask[int(np.argmin(array[:, 0]))] = True
        return mask
    import moocore

    return np.asarray(moocore.is_nondominated(array, keep_weakly=False), dtype=bool)


def hypervolume(costs: Any, reference: Any) -> float:
    """Volume that points dominate up to a reference point; points beyond it add nothing.

    Args:
        costs: ``(n, m)``, every objective minimised.
        reference: ``(m,)``, in the units of the costs.

    Raises:
        InvalidValue: values that are not finite, or of another shape; a reference of another length.
    """
    array, reference = _finite("costs", costs, 2), _finite("reference", reference, 1)
    if len(reference) != array.shape[1]:  # one number would be used for every objective
        raise InvalidValue(
            f"the reference point needs one value for each of {array.shape[1]} objectives; got {len(reference)}"
        )
    inside = array[(array < reference).all(axis=1)] if len(array) else array
    if not len(inside):
        return 0.0
    if array.shape[1] == 1:
        return float(reference[0] - inside.min())
    import moocore

    return float(moocore.hypervolume(inside, ref=reference))


def orthant_directions(n: int, objectives: int, seed: int = 0) -> Array:
    """Unit vectors of the positive orthant, ``(n, objectives)``, from a low-discrepancy sequence (`seed`)."""
    from scipy.stats import norm, qmc

    sphere = np.abs(norm.ppf(qmc.Sobol(objectives, seed=seed).random(n).clip(1e-6, 1 - 1e-6)))
    return np.asarray(sphere / np.linalg.norm(sphere, axis=1, keepdims=True))


def reach(costs: Array, towards: Array) -> Array:
    """How far each point dominates from (1, ..., 1) along directions, ``(..., k)``.

    Args:
        costs: ``(..., m)``, scaled so that the reference point is (1, ..., 1).
        towards: unit vectors of the positive orthant, ``(k, m)``.

    The hypervolume is :func:`orthant_volume` times the mean over the orthant's directions of the farthest reach to the
    power of m (Deng & Zhang, IEEE TEVC 2019).
    """
    least = np.full((*costs.shape[:-1], len(towards)), np.inf)
    for j, along in enumerate(towards.T):
        np.minimum(least, (1.0 - costs[..., j, None]) / along, out=least)
    return np.maximum(least, 0.0, out=least)


def orthant_volume(objectives: int) -> float:
    """Volume of the unit ball within the positive orthant of dimension `objectives`."""
    return pi ** (objectives / 2) / (2**objectives * gamma(objectives / 2 + 1))


def _fronts(costs: Any, front: Any) -> tuple[Array, Array]:
    """Points found and the true front, in as many objectives."""
    points, target = _finite("costs", costs, 2), _finite("front", front, 2)
    if points.shape[1] != target.shape[1]:
        raise InvalidValue(f"costs have {points.shape[1]} objectives, and the front has {target.shape[1]}")
    if not len(target):
        raise InvalidValue("the true front has no points")
    return points, target


def igd_plus(costs: Any, front: Any) -> float:
    """Inverted generational distance plus (Ishibuchi et al., EMO 2015); infinite without points.

    Args:
        costs: of the points found, ``(n, m)``, every objective minimised and scaled alike.
        front: the true front, ``(k, m)``.

    Raises:
        InvalidValue: values that are not finite, or of another shape.
    """
    points, target = _fronts(costs, front)
    if not len(points):
        return float("inf")
    return float(np.mean([np.linalg.norm(np.maximum(points - z, 0.0), axis=1).min() for z in target]))


def gd_plus(costs: Any, front: Any) -> float:
    """Generational distance plus (Ishibuchi et al., EMO 2015); infinite without points.

    Args:
        costs: of the points found, ``(n, m)``, every objective minimised and scaled alike.
        front: the true front, ``(k, m)``.

    Raises:
        InvalidValue: values that are not finite, or of another shape.
    """
    points, target = _fronts(costs, front)
    if not len(points):
        return float("inf")
    return float(np.mean([np.linalg.norm(np.maximum(a - target, 0.0), axis=1).min() for a in points]))


class ModnasProtocol:
    """MODNAS's evaluation of a front on a table (Sukthanker et al., arXiv 2402.18213, released evaluation).

    Architectures with an error of 90 % or more are dropped, error and latency are min-max normalised over those that
    remain, and the hypervolume is taken to the reference point (1, 1).

    Args:
        error: % of every architecture of the table, ``(n,)``.
        latency: of every architecture on the device, ``(n,)``, in any unit.

    Raises:
        InvalidValue: values that are not finite, or no error below 90 %.
    """

    REFERENCE = (1.0, 1.0)

    def __init__(self, error: Any, latency: Any):
        errors, latencies = _finite("error", error, 1), _finite("latency", latency, 1)
        if len(errors) != len(latencies):
            raise InvalidValue(f"error and latency must be of one length; got {len(errors)} and {len(latencies)}")
        costs = np.column_stack([errors, latencies])
        self.kept = costs[:, 0] < 90.0
        if not self.kept.any():
            raise InvalidValue("no architecture has an error below 90 %")
        self._low = costs[self.kept].min(axis=0)
        self._width = np.maximum(costs[self.kept].max(axis=0) - self._low, 1e-300)
        self._costs = costs

    def normalise(self, rows: Any) -> Array:
        """Normalised costs of rows of the table, without dropped ones, ``(k, 2)``."""
        rows = np.asarray(rows, dtype=np.int64).ravel()
        rows = rows[self.kept[rows]]
        return (self._costs[rows] - self._low) / self._width

    def hypervolume(self, rows: Any) -> float:
        """Hypervolume of these rows of the table."""
        return hypervolume(self.normalise(rows), self.REFERENCE)

    def front(self) -> Array:
        """The true front, normalised, ``(k, 2)``."""
        points = self.normalise(np.arange(len(self._costs)))
        return points[nondominated(points)]

    def front_hypervolume(self) -> float:
        """Hypervolume of the true front."""
        return hypervolume(self.front(), self.REFERENCE)

    def igd_plus(self, rows: Any) -> float:
        """IGD+ of these rows of the table to the true front."""
        return igd_plus(self.normalise(rows), self.front())
