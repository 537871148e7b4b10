"""Parts of a generator: hypernetworks, preferences, scalarisations, normalisation, gradients of several devices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nastk.errors import InvalidValue, UnknownName
from nastk.generators import rays
from nastk.relaxation.device_gradients import combine, frank_wolfe
from nastk.relaxation.hypernetworks import HYPERNETWORKS, hypernetwork
from nastk.relaxation.normalisation import Normalisation
from nastk.relaxation.preferences import SimplexGrid, dirichlet, simplex_grid
from nastk.relaxation.scalarisations import SCALARISATIONS, scalarisation

# ---- preferences


@pytest.mark.parametrize(("n", "m"), [(24, 2), (24, 3), (2, 3), (5, 1), (24, 5)])
def test_rays_are_distinct_points_of_the_simplex(n: int, m: int) -> None:
    points = rays(n, m)
    assert points.shape == (n, m)
    assert (points >= 0).all()
    assert np.allclose(points.sum(1), 1)
    assert m == 1 or len(np.unique(points.round(6), axis=0)) == n


def test_two_objectives_have_rays_at_equal_angles() -> None:
    points = rays(24)
    angles = np.arctan2(points[:, 1], points[:, 0])
    assert np.allclose(np.diff(angles), np.pi / 2 / 23, atol=1e-6)


@pytest.mark.parametrize("concentration", [1.0, 0.5])
def test_dirichlet_draws_have_its_moments(concentration: float) -> None:
    drawn = dirichlet(50_000, 3, torch.Generator().manual_seed(0), concentration)
    assert torch.allclose(drawn.sum(1), torch.ones(50_000), atol=1e-5)
    assert torch.allclose(drawn.mean(0), torch.full((3,), 1 / 3), atol=0.01)
    variance = (1 / 3) * (2 / 3) / (3 * concentration + 1)
    assert torch.allclose(drawn.var(0), torch.full((3,), variance), rtol=0.05)


@pytest.mark.parametrize(("m", "divisions"), [(2, 100), (3, 12), (4, 5), (1, 1)])
def test_any_preference_is_the_mean_of_its_anchors(m: int, divisions: int) -> None:
    grid = SimplexGrid(m, divisions)
    anchors = torch.as_tensor(grid.anchors, dtype=torch.float32)
    assert torch.allclose(anchors.sum(1), torch.ones(len(grid)))
    points = torch.cat([dirichlet(500, m, torch.Generator().manual_seed(0)), anchors])
    rows, weights = grid(points)
    assert (weights >= -1e-5).all()
    assert torch.allclose((anchors[rows] * weights[..., None]).sum(1), points, atol=1e-4)
    near = (anchors[rows] - points[:, None]).abs().amax((1, 2))
    assert (near[weights.min(1).values > 1e-3] <= 1.001 / divisions).all()


def test_the_grid_is_the_finest_that_fits() -> None:
    assert [len(simplex_grid(m, 101)) for m in (1, 2, 3, 4)] == [1, 101, 91, 84]


# ---- hypernetworks


@pytest.mark.parametrize("name", HYPERNETWORKS)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_fresh_hypernetwork_is_nearly_undecided_and_learns_every_parameter(name: str, m: int) -> None:
    torch.manual_seed(0)
    made = hypernetwork(name, m, 10, 30)
    preferences, devices = dirichlet(2000, m), torch.rand(4, 10).repeat(500, 1)
    logits = made(preferences, devices)
    assert logits.shape == (2000, 30)
    assert logits.abs().max() < 0.3
    (logits**2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


@pytest.mark.parametrize("name", ["bank", "smooth"])
def test_logits_are_continuous_in_the_preference_and_differ_by_device(name: str) -> None:
    torch.manual_seed(0)
    made = hypernetwork(name, 2, 10, 30, scale=1.0)
    first = torch.linspace(0, 1, 20_001)
    preferences = torch.stack([first, 1 - first], 1)
    logits = made(preferences, torch.full((len(first), 10), 0.3))
    jumps = (logits[1:] - logits[:-1]).abs().amax()
    assert jumps < 0.05 * (logits.amax(0) - logits.amin(0)).max()
    other = made(preferences, torch.linspace(0, 1, 10).expand(len(first), 10))
    assert (other - logits).abs().mean() > 0.01


def test_the_bank_has_the_size_of_the_papers() -> None:
    made = hypernetwork("bank", 2, 10, 30)
    assert sum(p.numel() for p in made.parameters()) == 152_000


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownName, match="bank"):
        hypernetwork("banc", 2, 10, 30)
    with pytest.raises(UnknownName, match="linear"):
        scalarisation("lineal")
    with pytest.raises(UnknownName, match="mean"):
        combine(torch.ones(2, 2), "meen")
    with pytest.raises(UnknownName, match="cdf"):
        Normalisation.fit(np.ones((1, 3)), "zscore")
    with pytest.raises(InvalidValue, match="at least one ray"):
        rays(0)


# ---- scalarisations


def test_scalarisations_by_hand() -> None:
    costs, preferences = torch.tensor([[0.2, 0.6]]), torch.tensor([[0.75, 0.25]])
    assert scalarisation("linear")(costs, preferences).item() == pytest.approx(0.3)
    assert scalarisation("tchebycheff")(costs, preferences).item() == pytest.approx(0.15 + 0.05 * 0.3)
    smooth = scalarisation("smooth-tchebycheff", smoothness=1e-3, share=0.0)
    assert smooth(costs, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("name", SCALARISATIONS)
def test_scalarisations_grow_with_every_cost(name: str) -> None:
    costs, preferences = torch.rand(100, 3).requires_grad_(True), dirichlet(100, 3)
    scalarisation(name)(costs, preferences).sum().backward()
    assert (costs.grad > 0).all()


# ---- normalisation


def test_a_cdf_maps_costs_to_the_share_that_is_cheaper() -> None:
    rng = np.random.default_rng(0)
    costs = np.stack([rng.lognormal(0, 1, 5000), rng.normal(5, 2, 5000)])
    mapped = Normalisation.fit(costs, "cdf")(torch.as_tensor(costs, dtype=torch.float32)).numpy()
    shares = (costs.argsort(1).argsort(1) + 0.5) / 5000
    assert np.abs(mapped - shares).max() < 0.02


def test_min_max_maps_the_ends_to_0_and_1() -> None:
    fitted = Normalisation.fit(np.array([[3.0, 7.0, 5.0]]), "min-max")
    assert np.allclose(fitted(torch.tensor([[3.0, 5.0, 7.0]])), [[0, 0.5, 1]], atol=1e-4)


@pytest.mark.parametrize("how", ["cdf", "min-max"])
def test_normalisation_increases_everywhere_and_equals_finite_differences(how: str) -> None:
    rng = np.random.default_rng(0)
    fitted = Normalisation.fit(np.concatenate([rng.normal(size=500), np.zeros(300)])[None], how)  # with ties
    points = torch.linspace(-6, 6, 1001)[None].requires_grad_(True)
    fitted(points).sum().backward()
    assert (points.grad > 0).all()
    at = torch.tensor([[-7.3, -0.91, 0.52, 1.7, 8.1]])
    at.requires_grad_(True)
    fitted(at).sum().backward()
    step = 1e-3
    with torch.no_grad():
        slopes = (fitted(at + step) - fitted(at - step)) / (2 * step)
    assert torch.allclose(at.grad, slopes, rtol=0.05)


def test_normalisation_refuses_what_is_not_finite() -> None:
    with pytest.raises(InvalidValue, match="finite"):
        Normalisation.fit(np.array([[1.0, np.nan]]))


# ---- gradients of several devices


@pytest.mark.parametrize("seed", range(8))
def test_frank_wolfe_meets_the_optimality_conditions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(13, rng.integers(3, 60))) + rng.normal(size=1)
    gram = vectors @ vectors.T
    w = frank_wolfe(gram)
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(1)
    slopes, level = gram @ w, w @ gram @ w
    assert (slopes >= level - 1e-5 * gram.max()).all()  # no vector would shorten the combination
    assert np.allclose(slopes[w > 1e-6], level, atol=1e-4 * gram.max())  # those used are all alike


def test_frank_wolfe_of_two_vectors_is_the_closed_form() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.5, 2.0])
    pair = np.stack([a, b])
    share = np.clip((b - a) @ b / ((a - b) @ (a - b)), 0, 1)
    assert frank_wolfe(pair @ pair.T) == pytest.approx([share, 1 - share], abs=1e-5)


def test_mgda_descends_for_every_device_at_the_mean_length() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 40, generator=generator) * torch.tensor([1.0, 1, 1, 5, 10, 20])[:, None] + 0.3
    direction = combine(gradients, "mgda")
    assert (gradients @ direction > 0).all()
    assert direction.norm().item() == pytest.approx(gradients.norm(dim=1).mean().item(), rel=1e-4)
    assert torch.allclose(combine(gradients, "mean"), gradients.mean(0))


def test_opposite_gradients_stop() -> None:
    assert combine(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]), "mgda").norm() < 1e-6
