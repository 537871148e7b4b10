"""The exact Gaussian process core: against the textbook's formulas written out, in both libraries."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from nastk.gaussian import (
    Observations,
    explained_variance,
    greedy_design,
    left_out_residuals,
    variance_reduction,
)

RNG = np.random.default_rng(0)
X, ASKED = RNG.normal(size=(9, 3)), RNG.normal(size=(5, 3))
NOISE = 0.1


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((a[:, None] - b) ** 2).sum(axis=2))


K, CROSS, PRIOR = kernel(X, X) + NOISE * np.eye(9), kernel(ASKED, X), kernel(ASKED, ASKED)
VALUES = RNG.multivariate_normal(np.zeros(9), K)
COVARIANCE = PRIOR - CROSS @ np.linalg.inv(K) @ CROSS.T


@pytest.mark.parametrize("kind", ["numpy", "inverted", "torch"])
def test_mean_variance_and_evidence_are_the_textbooks(kind: str) -> None:
    def array(a: np.ndarray) -> np.ndarray:
        return torch.tensor(a) if kind == "torch" else a  # type: ignore[return-value]

    observations = Observations.of(array(K))
    if kind == "inverted":
        observations = observations.inverted()
    posterior = observations.condition(array(VALUES))
    assert np.allclose(posterior.mean(array(CROSS)), CROSS @ np.linalg.solve(K, VALUES))
    assert np.allclose(posterior.variance(array(CROSS), array(PRIOR.diagonal().copy())), COVARIANCE.diagonal())
    evidence = observations.log_evidence(array(np.stack([VALUES, 2 * VALUES], axis=1)))
    exact = [multivariate_normal(np.zeros(9), K).logpdf(v) for v in (VALUES, 2 * VALUES)]
    assert np.allclose(np.asarray(evidence) - 4.5 * np.log(2 * np.pi), exact)
    again = pickle.loads(pickle.dumps(posterior))
    assert np.array_equal(again.mean(array(CROSS)), posterior.mean(array(CROSS)))


@pytest.mark.parametrize("torch_", [False, True])
def test_draws_have_the_posterior_mean_and_covariance_where_it_is_singular_too(torch_: bool) -> None:
    asked = np.concatenate([ASKED, ASKED[:2]])
    k, cross, prior, values = K, kernel(asked, X), kernel(asked, asked), VALUES
    if torch_:
        k, cross, prior, values = (torch.tensor(a) for a in (k, cross, prior, values))
    draws = Observations.of(k).condition(values).draw(cross, prior, 40_000, np.random.default_rng(1))
    assert np.allclose(draws[:, :2], draws[:, 5:], atol=1e-6)
    assert np.allclose(draws[:, :5].mean(axis=0), CROSS @ np.linalg.solve(K, VALUES), atol=0.02)
    assert np.allclose(np.cov(draws[:, :5].T), COVARIANCE, atol=0.02)


def test_a_batch_of_tensors_is_each_of_them_and_gradients_flow() -> None:
    noise = torch.tensor([0.1, 0.5], dtype=torch.float64, requires_grad=True)
    covariance = torch.tensor(kernel(X, X)) + noise[:, None, None] * torch.eye(9, dtype=torch.float64)
    values = torch.tensor(np.stack([VALUES, -VALUES]))[..., None]
    evidence = Observations.of(covariance).log_evidence(values)
    assert evidence.shape == (2, 1)
    for i, each in enumerate((0.1, 0.5)):
        alone = Observations.of(kernel(X, X) + each * np.eye(9)).log_evidence(values[i].numpy())
        assert np.allclose(evidence[i].detach(), alone)
    evidence.sum().backward()
    assert (noise.grad != 0).all()


def test_leaving_one_out_is_fitting_without_it() -> None:
    inverse = np.linalg.inv(K)
    residuals = left_out_residuals(inverse @ VALUES, inverse.diagonal())
    for i in range(9):
        rest = np.arange(9) != i
        cross = K[i, rest]
        assert residuals[i] == pytest.approx(VALUES[i] - cross @ np.linalg.solve(K[np.ix_(rest, rest)], VALUES[rest]))
    assert np.allclose(explained_variance(CROSS, inverse), PRIOR.diagonal() - COVARIANCE.diagonal())


def test_each_pick_is_the_one_after_which_the_summed_variance_is_least() -> None:
    candidates = kernel(np.concatenate([X, ASKED]), np.concatenate([X, ASKED]))

    def left(rows: list[int]) -> float:
        cross = candidates[:, rows]
        noisy = candidates[np.ix_(rows, rows)] + NOISE * np.eye(len(rows))
        return float(np.trace(candidates - cross @ np.linalg.solve(noisy, cross.T)))

    before = candidates.copy()
    chosen = list(greedy_design(4, candidates, NOISE))
    assert np.array_equal(candidates, before)
    for i in range(4):
        others = [j for j in range(len(candidates)) if j not in chosen[:i]]
        assert chosen[i] == min(others, key=lambda j: left([*chosen[:i], j]))
    assert variance_reduction(candidates, NOISE)[chosen[0]] == pytest.approx(np.trace(candidates) - left(chosen[:1]))


def test_what_is_avoided_is_chosen_only_where_too_little_else_is_there() -> None:
    avoided = np.array([True] * 6 + [False] * 3)
    assert set(greedy_design(3, K, NOISE, avoided=avoided)) == {6, 7, 8}
    assert len(set(greedy_design(9, K, NOISE, avoided=avoided))) == 9
    largest = np.diag(np.arange(1.0, 10.0))
    assert list(greedy_design(3, largest, NOISE, lambda covariance, noise: covariance.diagonal().copy())) == [8, 7, 6]
