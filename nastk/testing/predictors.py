"""Conformance kit of predictors: the contract of every predictor, third-party ones included."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.errors import InvalidValue, Unsupported
from nastk.predictors.base import FewShotPredictor, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace


def example_task(
    space: SearchSpace,
    n: int = 24,
    seed: int = 0,
    device: str | None = None,
    archs: Archs | None = None,
    tilt: float = 0.0,
) -> Task:
    """A latency-like task on a space: additive in the choices with a little noise, positive.

    Args:
        space: of the architectures.
        n: number of architectures, sampled with `seed` unless `archs` are given.
        device: name of the device, or None.
        tilt: how far the device differs from the standard one.
    """
    rng = np.random.default_rng(seed)
    archs = space.sample(min(n, space.size), rng, unique=True) if archs is None else archs
    weights = np.random.default_rng(99).uniform(0.1, 1.0, int(space.sizes.sum()))
    weights += 0.1 * tilt * np.random.default_rng(98).uniform(0.0, 1.0, len(weights))
    values = 1.0 + space.one_hot(archs) @ weights + 0.01 * rng.standard_normal(len(archs))
    return Task(space, archs, values, "latency", "ms", "min", device=device)


def check_predictor(make: Callable[[], Predictor], space: SearchSpace, seed: int = 0) -> None:
    """Test the contract of :class:`nastk.Predictor`; raises AssertionError with the violation.

    Args:
        make: builds a new predictor, the same each time.
        space: a space that the predictor supports.
        seed: random seed of the architectures and values.
    """
    few = isinstance(make(), FewShotPredictor)
    pretrained = make()
    if few:
        sources = [example_task(space, 40, seed + 1, device=f"source-{i}", tilt=i) for i in range(3)]
        assert pretrained.pretrain(sources) is pretrained, "pretrain must return the predictor itself"
        assert isinstance(pretrained, FewShotPredictor)
        assert pretrained.devices == ("source-0", "source-1", "source-2"), "devices must name the sources"
        task = example_task(space, seed=seed, archs=pretrained.choose(24, seed=seed))
    else:
        task = example_task(space, seed=seed)

    def fit(t: Task) -> Predictor:
        if few:
            return pretrained.adapt(t)
        predictor = make()
        fitted = predictor.fit(t)
        assert fitted is predictor, "fit must return the predictor itself"
        return fitted

    fitted = fit(task)
    others = space.sample(50, seed + 7)
    prediction = fitted.predict(others)
    assert prediction.mean.shape == (len(others),), f"mean has shape {prediction.mean.shape} for {len(others)}"
    assert prediction.std.shape == (len(others),), f"std has shape {prediction.std.shape} for {len(others)}"
    assert np.isfinite(prediction.mean).all(), "a mean is not finite"
    assert not (prediction.std < 0).any(), "a standard deviation is negative"
    assert fitted.predict(others[:0]).mean.shape == (0,), "no architectures must give no predictions"
    one = fitted.predict(others[3]).mean
    assert one.shape == (1,), "one row must give one prediction"
    assert np.allclose(one, prediction.mean[3], rtol=1e-6, atol=1e-9), "a prediction depends on the rest of the batch"
    text = fitted.predict(space.format(others[3])).mean
    assert np.allclose(text, one, rtol=1e-9), "text and row give different predictions"

    _check_equal_networks(fitted, space, others)
    _check_relaxed(fitted, space, space.as_networks(others))
    known = fitted.predict(task.archs).mean
    if fitted.scale == "metric":
        constant = np.abs(task.values - task.values.mean()).mean()
        assert np.abs(known - task.values).mean() <= constant * 1.001, "fits its own data worse than their mean"

    again = fit(task).predict(others)
    assert np.array_equal(again.mean, prediction.mean), "two fits of the same task differ"
    order = np.random.default_rng(seed).permutation(len(task))
    shuffled = fit(task.subset(order)).predict(others)
    close = np.abs(shuffled.mean - prediction.mean).max() <= 0.05 * np.ptp(task.values)
    assert close, "the fit depends on the order of the architectures"

    doubled = fit(task.subset(np.concatenate([np.arange(len(task)), [0, 0, 1]]))).predict(others)
    assert np.isfinite(doubled.mean).all(), "repeated architectures break the fit"

    draws = fitted.sample(others, 8, seed)
    assert draws.shape == (8, len(others)), f"sample gave shape {draws.shape}"
    assert np.array_equal(draws, fitted.sample(others, 8, seed)), "sample differs for the same seed"

    if not few:
        small = fit(task.subset([0])).predict(others)
        assert np.isfinite(small.mean).all(), "one architecture must be enough to fit"
        flat = fit(Task(space, task.archs, np.full(len(task), 3.0))).predict(others)
        assert np.allclose(flat.mean, 3.0, rtol=0.05), "equal values must give that value"
        _refuses(lambda: make().predict(others), "predicting before fit")
    else:
        _refuses(lambda: fit(task.subset([0])), "adapting to one measurement")
        _refuses(lambda: fit(Task(space, task.archs, np.full(len(task), 3.0), "latency")), "equal measurements")
        _refuses(lambda: fit(Task(space, task.archs, -task.values, "latency")), "negative measurements")
        leak = example_task(space, 10, seed, device="source-0")
        _refuses(lambda: fit(leak), "a target device that is a source device")
    broken = task.values.copy()
    broken[0] = np.nan
    _refuses(lambda: fit(Task(space, task.archs, broken)), "NaN values")

    if type(fitted).learned is not Predictor.learned or not few:
        with tempfile.TemporaryDirectory() as folder:
            fitted.save(Path(folder) / "saved")
            from nastk.predictors import load

            loaded = load(Path(folder) / "saved", space=space).predict(others)
        assert np.allclose(loaded.mean, prediction.mean, rtol=1e-9, atol=0), "saved and loaded predictions differ"


def _check_equal_networks(fitted: Predictor, space: SearchSpace, archs: Archs) -> None:
    """Isomorphic encodings of one network get one prediction, unless they are built from different operations."""
    networks = space.as_networks(archs)
    written, same = fitted.predict(archs), fitted.predict(networks)
    for what, a, b in (("mean", written.mean, same.mean), ("standard deviation", written.std, same.std)):
        # What an order of summation changes is no difference.
        equal = np.isclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)
        if not equal.all():
            i = int(np.argmin(equal))
            raise AssertionError(
                f"equal networks {space.format(archs[i])} and {space.format(networks[i])} get different predictions, "
                f"{what} {a[i]:g} and {b[i]:g}; predict what self._checked(archs) returns"
            )


def _check_relaxed(fitted: Predictor, space: SearchSpace, archs: Archs) -> None:
    """A relaxed form, if any, agrees at one-hots and has gradients; otherwise it raises."""
    import torch

    one_hot = torch.tensor(space.one_hot(archs), requires_grad=True)
    if not fitted.relaxable:
        try:
            fitted.predict_relaxed(one_hot)
        except Unsupported:
            return
        raise AssertionError("relaxable is false, yet predict_relaxed does not raise")
    found = fitted.predict_relaxed(one_hot)
    wanted = fitted.predict(archs).mean
    assert found.shape == wanted.shape, f"predict_relaxed gave shape {tuple(found.shape)} for {len(archs)} one-hots"
    close = np.allclose(found.detach().cpu().numpy(), wanted, rtol=1e-3, atol=1e-3 * np.ptp(wanted) + 1e-9)
    assert close, "predict_relaxed differs from predict at one-hots"
    found.sum().backward()
    assert one_hot.grad is not None, "no gradient flows through predict_relaxed"
    assert one_hot.grad.abs().sum() > 0, "the gradient of predict_relaxed vanishes"


def _refuses(action: Callable[[], object], what: str) -> None:
    try:
        action()
    except InvalidValue as error:
        message = str(error)
    else:
        raise AssertionError(f"{what} must raise InvalidValue")
    assert "\n" not in message, f"the error for {what} has several lines"
