"""Rounds of trainings: each learns from those before it, and the best of what was trained is taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nastk.data.images import ImageData, data_of
from nastk.errors import InvalidValue
from nastk.generators import MTLRounds
from nastk.problems import MultiTask
from nastk.spaces.base import Archs
from nastk.spaces.mtl_fusion import MTLFusion

SMALL = MTLFusion((2, 2), (4, 4), reach=0)
WIDE = MTLFusion((2, 2), (4, 4, 4))


def data(n: int = 32) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        labels = torch.randint(2, (n, 2), generator=generator)
        parts.append((torch.randn((n, 1, 8, 8), generator=generator), labels))
    return data_of(*parts, problem=MultiTask({"one": "classification", "two": "classification"}))


class Priced(MTLRounds):
    """Losses are sums of prices of the open paths, with some luck."""

    prices = np.array([0.3, -0.2, 0.1, -0.4, 0.2, 0.1, -0.1, 0.5, -0.3, 0.2])

    def _train(self, archs: Archs, data: ImageData) -> None:
        luck = np.random.default_rng(len(self.losses_)).normal(0.0, 0.02, (len(archs), self.repeats))
        self.candidates_ = np.concatenate([self.candidates_, archs])
        self.losses_ = np.concatenate([self.losses_, (archs @ self.prices)[:, None] + luck])


def test_rounds_learn_what_paths_add() -> None:
    first = Priced(WIDE, rounds=(14,), seed=1).fit(data())
    found = Priced(WIDE, rounds=(14, 3, 3), seed=1).fit(data())
    assert len(np.unique(found.candidates_, axis=0)) == 20
    assert np.array_equal(found.candidates_[:14], first.candidates_)
    least = np.minimum(Priced.prices, 0.0).sum()
    assert found.arch @ Priced.prices < least + 0.15 < first.arch @ Priced.prices
    assert np.corrcoef(found.effects, Priced.prices)[0, 1] > 0.95
    assert found.best == found.losses_.mean(axis=1).argmin()


def test_trains_side_by_side_and_keeps_the_networks() -> None:
    seen: list[tuple[int, int]] = []
    search = MTLRounds(
        SMALL, epochs=1, batch=16, rounds=(3, 2), repeats=2, seed=4, progress=lambda *done: seen.append(done)
    )
    found = search.fit(data())
    assert seen[-1] == (8, 8)
    assert found.losses_.shape == (5, 2)
    assert len(np.unique(found.candidates_, axis=0)) == 5
    x, y = data().validation.tensors()
    problem = data().problem
    for place in range(5):
        for i, network in enumerate(found.networks(place)):
            loss = problem.loss(problem.read(network(x)), y).item()
            assert loss == pytest.approx(found.losses_[place, i], rel=1e-4)
    kept = found.losses_.copy()
    assert np.array_equal(search.fit(data()).losses_, kept), "forgets what it trained before"


def test_rounds_that_cannot_be_are_refused() -> None:
    for rounds in ((), (0, 3), (1,), (10, 7)):
        with pytest.raises(InvalidValue, match="rounds are positive"):
            MTLRounds(SMALL, rounds=rounds)


def test_backbones_without_an_output_for_each_class_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"backbones of \(2, 1\) outputs do not fit the tasks"):
        MTLRounds(MTLFusion((2, 1), (4, 4), reach=0), epochs=1, rounds=(2,)).fit(data())
