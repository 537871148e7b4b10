"""Discretisers: what they draw, and how far their gradients are from the exact one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.relaxation.discretisers import DISCRETISERS, Exact, Score, StraightThrough, discretiser, join, split

SIZES = (3, 2, 4)


def members() -> torch.Tensor:
    """One-hots of all 24 architectures."""
    rows = list(itertools.product(*map(range, SIZES)))
    hot = [
        torch.nn.functional.one_hot(torch.tensor(column), s)
        for column, s in zip(zip(*rows, strict=True), SIZES, strict=True)
    ]
    return torch.cat(hot, 1).float()


def cost(one_hots: torch.Tensor) -> torch.Tensor:
    """Not linear in any choice, and with interactions."""
    weights = torch.sin(torch.arange(9.0) * 1.7).to(one_hots)
    pairs = torch.cos(torch.arange(81.0).reshape(9, 9)).to(one_hots)
    linear = one_hots @ weights
    return (linear + 1.5).square() + torch.einsum("...i,ij,...j->...", one_hots, pairs, one_hots)


def exact_gradient(logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_(True)
    Exact(members()).loss(logits, cost, SIZES).sum().backward()
    return logits.grad


def logits(rows: int = 1) -> torch.Tensor:
    return torch.sin(torch.arange(9.0) * 2.3 + 1)[None].repeat(rows, 1)


@pytest.mark.parametrize("name", ["reinmax", "st-gumbel", "straight-through"])
def test_the_forward_is_one_hot_and_follows_the_probabilities(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = discretiser(name)(logits(20_000).requires_grad_(True), SIZES, generator)
    assert drawn.requires_grad
    drawn = drawn.detach()
    assert torch.allclose(drawn, drawn.round(), atol=1e-5)
    assert torch.allclose(split(drawn, SIZES).sum(-1), torch.ones(20_000, 3), atol=1e-5)
    wanted = join(split(logits(), SIZES, -1e4).softmax(-1), SIZES)[0]
    assert torch.allclose(drawn.mean(0), wanted, atol=0.015)


@pytest.mark.parametrize("name", ["softmax", "dirichlet"])
def test_mixtures_are_on_the_simplex(name: str) -> None:
    mixed = discretiser(name)(logits(50), SIZES, torch.Generator().manual_seed(0))
    assert (mixed >= 0).all()
    assert torch.allclose(split(mixed, SIZES).sum(-1), torch.ones(50, 3), atol=1e-5)
    assert ((mixed > 1e-3) & (mixed < 1 - 1e-3)).any()


def test_the_exact_gradient_equals_finite_differences() -> None:
    exact = Exact(members().double())
    at = logits(2).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: exact.loss(x, cost, SIZES), (at,))
    # and the value is the plain expectation
    p = split(at[:1].detach(), SIZES, -1e4).softmax(-1)[0].numpy()
    total = 0.0
    for one_hot, row in zip(members().double(), itertools.product(*map(range, SIZES)), strict=True):
        total += float(cost(one_hot)) * np.prod([p[j, o] for j, o in enumerate(row)])
    assert exact.loss(at, cost, SIZES)[0].item() == pytest.approx(total)


def mean_gradient(name: str, rows: int = 200_000) -> torch.Tensor:
    at = logits(rows).requires_grad_(True)
    discretiser(name).loss(at, cost, SIZES, torch.Generator().manual_seed(1)).sum().backward()
    return at.grad.mean(0)


def test_reinmax_is_nearer_to_the_exact_gradient_than_plain_straight_through() -> None:
    exact = exact_gradient(logits())[0]
    reinmax, plain = ((mean_gradient(name) - exact).norm() for name in ("reinmax", "straight-through"))
    assert reinmax < 0.2 * plain  # the cost is quadratic, where Heun's method is exact but for the noise of the draws
    assert reinmax < 0.03 * exact.norm()


def test_the_score_function_is_unbiased_and_needs_no_gradient_of_the_cost() -> None:
    at = logits(50_000).requires_grad_(True)
    loss = Score(draws=4).loss(at, lambda one_hots: cost(one_hots).detach(), SIZES, torch.Generator().manual_seed(1))
    loss.sum().backward()
    exact = exact_gradient(logits())[0]
    assert (at.grad.mean(0) - exact).norm() < 0.05 * exact.norm()
    assert loss.mean().item() == pytest.approx(Exact(members()).loss(logits(), cost, SIZES).item(), abs=0.05)


def test_st_gumbel_with_a_low_temperature_keeps_a_gradient() -> None:
    at = logits(100).requires_grad_(True)
    made = discretiser("st-gumbel")
    made.temperature = 0.5
    made.loss(at, cost, SIZES, torch.Generator().manual_seed(1)).sum().backward()
    assert torch.isfinite(at.grad).all()
    assert at.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [n for n in DISCRETISERS if n != "exact"])
def test_a_seed_fixes_the_draw(name: str) -> None:
    losses = [discretiser(name).loss(logits(5), cost, SIZES, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*losses)


@pytest.mark.parametrize("name", [n for n in DISCRETISERS if n != "exact"])
def test_descent_finds_the_best_architecture(name: str) -> None:
    at = torch.zeros(16, 9, requires_grad=True)
    adam, generator = torch.optim.Adam([at], lr=0.1), torch.Generator().manual_seed(0)
    ours = torch.tensor([3.0, 1.0, 2.0, 0.0, 1.0, 5.0, 1.0, 0.5, 2.0])
    for _ in range(150):
        adam.zero_grad()
        discretiser(name).loss(at, lambda x: x @ ours, SIZES, generator).sum().backward()
        adam.step()
    best = split(at.detach(), SIZES, -1e4).argmax(-1)
    assert (best == torch.tensor([1, 0, 2])).all(1).float().mean() > 0.8


def test_split_and_join_are_inverse() -> None:
    flat = torch.arange(18.0).reshape(2, 9)
    assert torch.equal(join(split(flat, SIZES), SIZES), flat)
    assert torch.equal(join(split(flat, (3, 3, 3)), (3, 3, 3)), flat)
    assert split(flat, SIZES, -1.0)[0, 1].tolist() == [3.0, 4.0, -1.0, -1.0]


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(UnknownName, match="reinmax"):
        discretiser("reinmaxx")
    with pytest.raises(InvalidValue, match="enumerated"):
        discretiser("exact")
    with pytest.raises(InvalidValue, match="at least 2"):
        Score(1)
    with pytest.raises(Unsupported, match="relax"):
        Score()(logits(), SIZES)
    with pytest.raises(InvalidValue, match="9 logits for 7"):
        StraightThrough()(logits(), (3, 2, 2))
