"""Intervals that hold what they promise, whatever deviation a method states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy import Toy

import nastk
from nastk.errors import InvalidValue, Unsupported
from nastk.oracles.base import Values
from nastk.predictors import gp_bma
from nastk.predictors._intervals import FOLDS, Spread, folds
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.predictors.ridge import Ridge

CELLS = nastk.space("nasbench201")
EFFECTS = np.random.default_rng(5).normal(0.0, 1.0, int(CELLS.sizes.sum()))


def _task(n: int, seed: int, noise: float = 1.0) -> Task:
    """Accuracies, additive in the choices, with noise."""
    rng = np.random.default_rng(seed)
    archs = CELLS.sample(n, rng, unique=True)
    values = 80.0 + CELLS.one_hot(archs) @ EFFECTS + noise * rng.standard_normal(n)
    return Task(CELLS, archs, values, "accuracy", "%", "max")


class Overconfident(Ridge):
    """States a thirtieth of its deviation, as networks do that agree."""

    factor = 0.03
    fits = 0

    def fit(self, task: Task) -> Overconfident:
        type(self).fits += 1
        super().fit(task)
        return self

    def predict(self, archs: Any) -> Prediction:
        found = super().predict(archs)
        return Prediction(found.mean, self.factor * found.std)


class Silent(Overconfident):
    """States no deviation."""

    factor = np.nan


@pytest.mark.parametrize("method", [Overconfident, Silent])
@pytest.mark.parametrize("n", [12, 40])
def test_intervals_hold_whatever_a_method_states(method: type[Overconfident], n: int) -> None:
    held, stated = [], []
    for seed in range(8):
        task = _task(n + 400, seed)
        fitted = method().fit(task.subset(np.arange(n)))
        others = task.subset(np.arange(n, n + 400))
        low, high = fitted.interval(others.archs)
        held.append(((low <= others.values) & (others.values <= high)).mean())
        prediction = fitted.predict(others.archs)
        stated.append((np.abs(prediction.mean - others.values) <= 1.96 * prediction.std).mean())
    assert np.mean(stated) < 0.5
    assert 0.90 <= np.mean(held) <= 0.99


def test_levels_are_nested_and_the_calibration_is_learned_once_for_each_fit() -> None:
    task = _task(60, 0)
    fitted = Overconfident().fit(task.subset(np.arange(30)))
    Overconfident.fits = 0
    wide, narrow = (fitted.interval(task.archs[30:], level) for level in (0.95, 0.5))
    assert Overconfident.fits == FOLDS
    assert (wide[0] < narrow[0]).all()
    assert (narrow[1] < wide[1]).all()
    again = fitted.fit(task.subset(np.arange(40))).interval(task.archs[40:])
    assert Overconfident.fits == 2 * FOLDS + 1
    assert not np.array_equal(again[0], wide[0][10:])
    assert [len(ends) for ends in fitted.interval(task.archs[:0])] == [0, 0]


def test_fewer_values_give_wider_intervals() -> None:
    widths = []
    for n in (6, 50):
        low, high = zip(
            *(Overconfident().fit(_task(n, s)).interval(_task(100, 99).archs) for s in range(5)), strict=True
        )
        widths.append(np.mean(np.array(high) - np.array(low)))
    assert widths[0] > 1.3 * widths[1]


def _widths(predicted: list[float], anywhere: float = 1.0) -> Values:
    """Widths at these deviations of what learned from thirty values, each missed by the deviation stated for it.

    Args:
        anywhere: the spread of the predictions over the space, beside that of the values.
    """
    values = np.linspace(-2.0, 2.0, 30)
    deviation = np.full(30, 0.8)
    left_out = Prediction(values + 0.8 * np.random.default_rng(0).standard_normal(30), deviation)
    middle = left_out.mean.mean()
    of_space = Prediction(middle + anywhere * (left_out.mean - middle), anywhere * deviation)
    spread = Spread.fit(values, left_out, "min", of_space)
    low, high = spread.interval(Prediction(np.zeros(len(predicted)), np.array(predicted)), 0.95)
    return high - low


def test_values_chosen_far_apart_do_not_widen_the_intervals_of_others() -> None:
    far, near = _widths([0.8, 0.2])
    assert near < 0.7 * far, "their residuals are large, and so are the deviations that are stated for them"
    (narrower,) = _widths([0.8], anywhere=0.8)
    assert narrower == pytest.approx(0.8 * far), "a space of less spread than the values"
    assert _widths([0.8], anywhere=1.5) == pytest.approx(far), "not the other way round"
    assert _widths([0.8], anywhere=0.1) == pytest.approx(0.6 * far), "it is only predicted"


def test_intervals_of_what_is_minimised_lie_about_the_predictions_too() -> None:
    values = np.linspace(1.0, 9.0, 12)
    spread = Spread.fit(values, Prediction(values + 0.1, np.full(12, 0.1)), "min")
    low, high = spread.interval(Prediction(np.array([1.5, 5.0, 8.5]), np.full(3, 0.1)), 0.95)
    assert (low + high) / 2 == pytest.approx([1.5, 5.0, 8.5])
    assert (high - low < 4.0).all()


def test_equal_networks_are_left_out_together_in_any_order() -> None:
    archs = np.repeat(Toy().sample(20, 0, unique=True), 2, axis=0)
    fold = folds(archs, FOLDS)
    assert np.array_equal(fold[::2], fold[1::2])
    assert np.bincount(fold).tolist() == [8] * FOLDS
    order = np.random.default_rng(0).permutation(len(archs))
    assert np.array_equal(folds(archs[order], FOLDS), fold[order])


def test_what_cannot_have_intervals_is_refused_in_a_line() -> None:
    task = _task(30, 0)
    fitted = Overconfident().fit(task)
    with pytest.raises(InvalidValue, match="between 0 and 1"):
        fitted.interval(task.archs, 95.0)
    few = Overconfident().fit(task.subset(np.array([0, 1, 2, 3, 3, 3])))
    with pytest.raises(InvalidValue, match="at least 5 networks; 4"):
        few.interval(task.archs)

    class Ranker(Overconfident):
        scale = "rank"

    with pytest.raises(Unsupported, match="only ranks"):
        Ranker().fit(task).interval(task.archs)


def test_a_method_that_is_calibrated_keeps_its_own() -> None:
    class Honest(Overconfident):
        calibrated = True

    task = _task(30, 0)
    fitted = Honest().fit(task)
    low, high = fitted.interval(task.archs)
    found = fitted.predict(task.archs)
    assert high == pytest.approx(found.mean + 1.96 * found.std, rel=1e-4)
    assert low == pytest.approx(found.mean - 1.96 * found.std, rel=1e-4)
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    measured = Task(CELLS, task.archs, task.values, "latency", "ms", "min", device="mine")
    latency = few.adapt(measured)
    assert latency.calibrated
    assert isinstance(latency, Predictor)


@pytest.mark.parametrize("noises", [[0.1], [0.03, 0.3]])
def test_gp_bma_leaves_each_value_out_in_closed_form(noises: list[float]) -> None:
    """Against posteriors that are computed from the other values, and weighed by the other values' evidence."""
    task = _task(14, 3)
    fitted = nastk.predictor("gp-bma", encoding="vec+counts", warp="identity", amplitudes=[0.9], noises=noises).fit(
        task
    )
    assert isinstance(fitted, gp_bma.GPBMA)
    z = fitted.warp_.forward(task.values)
    grams = [gp_bma._kernel(a, a) for a in fitted.x_]
    found = fitted._left_out()
    for i in (0, 5, 13):
        rest = np.delete(np.arange(14), i)
        means, variances, evidences = [], [], []
        for process in fitted.processes_:
            kernel = sum(share * gram for share, gram in zip(process.mix, grams, strict=True)) + gp_bma.MEAN_VARIANCE
            known = kernel[np.ix_(rest, rest)] + process.candidate.noise * np.eye(13)
            means.append(kernel[i, rest] @ np.linalg.solve(known, z[rest]))
            variances.append(kernel[i, i] - kernel[i, rest] @ np.linalg.solve(known, kernel[rest, i]))
            evidences.append(-0.5 * z[rest] @ np.linalg.solve(known, z[rest]) - 0.5 * np.linalg.slogdet(known)[1])
        share = np.exp(np.array(evidences) - max(evidences))
        share /= share.sum()
        mean = share @ means
        std = np.sqrt(share @ (np.array(variances) + np.array(means) ** 2) - mean**2)
        assert found.mean[i] == pytest.approx(task.values.mean() + task.values.std() * mean, rel=1e-6)
        assert found.std[i] == pytest.approx(task.values.std() * std, rel=1e-6)
