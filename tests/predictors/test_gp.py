"""gp: its evidence and gradient, what is conditioned on more values, single precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from scipy.stats import multivariate_normal

import nastk
from nastk.gaussian import Observations
from nastk.predictors import gp
from nastk.predictors._evidence import Kernel, LogNormal
from nastk.predictors.base import Task

RNG = np.random.default_rng(0)
X = [torch.tensor(RNG.normal(size=(12, k))) for k in (2, 3)]
Z = torch.tensor(RNG.normal(size=12))
THETA = np.log([0.5, 0.8, 1.2, 0.7, 0.3, 0.2, 0.05])


def _kernel() -> Kernel:
    return Kernel(*gp.GP._grams(X), 10.0, 1e-8)


def test_the_evidence_is_the_log_density_of_the_values() -> None:
    covariance = np.full((12, 12), 10.0) + (0.05 + 1e-8) * np.eye(12)
    for x, a, length, b in zip(X, (0.5, 0.8), (1.2, 0.7), (0.3, 0.2), strict=True):
        squared = ((x[:, None] - x) ** 2).sum(-1).numpy()
        covariance += a * np.exp(-squared / (2 * length**2)) + b * (x @ x.T).numpy()
    wanted = multivariate_normal(np.zeros(12), covariance).logpdf(Z.numpy())
    assert _kernel().log_evidence(THETA, Z)[0] == pytest.approx(wanted, abs=1e-8)


def test_the_gradient_is_that_of_the_evidence_and_ascending_it_helps() -> None:
    kernel = _kernel()
    error = check_grad(lambda t: kernel.log_evidence(t, Z)[0], lambda t: kernel.log_evidence(t, Z)[1], THETA)
    assert error < 1e-4
    prior = LogNormal(THETA, np.ones(7))
    found, value = kernel.most_probable(Z, prior, 40)
    assert value > kernel.log_evidence(THETA, Z)[0]
    slope = kernel.log_evidence(found, Z)[1] - (found - THETA)
    assert np.abs(slope).max() < 0.05


def _task(n: int) -> Task:
    space = nastk.space("nasbench201")
    weight = np.random.default_rng(1).uniform(0, 1, int(space.sizes.sum()))
    archs = space.sample_networks(n, 0)
    noise = 0.05 * np.random.default_rng(2).normal(size=n)
    return Task(space, archs, 50.0 + 5.0 * np.sqrt(space.one_hot(archs) @ weight) + noise, "accuracy", "%", "max")


@pytest.mark.parametrize("name", ["gp", "gp-bma"])
def test_conditioned_on_a_few_more_values_it_predicts_as_if_fitted_to_all(name: str) -> None:
    task, asked = _task(132), _task(200).archs[132:]
    base = nastk.predictor(name).fit(task.subset(np.arange(120)))
    whole, other = nastk.predictor(name).fit(task).predict(asked), base.conditioned(task).predict(asked)
    spread = task.values.std()
    assert other.mean == pytest.approx(whole.mean, abs=0.1 * spread)
    assert len(base.task_) == 120, "the fit that it is from stays as it was"
    nothing_new = base.conditioned(base.task_).predict(asked)
    assert nothing_new.mean == pytest.approx(base.predict(asked).mean, abs=1e-9 * spread)


@pytest.mark.parametrize("name", ["gp", "gp-bma"])
def test_single_precision_does_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, asked = _task(130), _task(200).archs[130:]
    found = []
    for most in (100, 10_000):
        monkeypatch.setattr(f"nastk.predictors.{name.replace('-', '_')}.SINGLE", most)
        found.append(nastk.predictor(name).fit(task).predict(asked))
    spread = task.values.std()
    assert found[0].mean == pytest.approx(found[1].mean, abs=1e-3 * spread)
    assert found[0].std == pytest.approx(found[1].std, abs=1e-3 * spread)
    assert not np.array_equal(found[0].mean, found[1].mean)


def test_an_ill_conditioned_covariance_stays_in_double_precision() -> None:
    good, bad = (Observations.of(np.ones((5, 5)) + noise * np.eye(5)) for noise in (0.1, 1e-9))
    assert good.condition(np.arange(5.0)).single() is not None
    assert bad.condition(np.arange(5.0)).single() is None
