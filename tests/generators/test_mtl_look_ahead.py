"""Look-ahead gates: their gradients against differences of whole trainings, and the trainings that they propose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nastk.data.images import ImageData, data_of
from nastk.errors import InvalidValue
from nastk.generators import MTLLookAhead
from nastk.generators._mtl_together import train_together
from nastk.generators.mtl_look_ahead import least_sums
from nastk.problems import CLASSIFICATION, MultiTask
from nastk.spaces.mtl_fusion import MTLFusion

SMALL = MTLFusion((2, 1), (4, 4), reach=0)


def data(n: int = 48) -> ImageData:
    """Noise with a bright or a dark corner; the tasks are which, and how bright the other corner is."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        labels = torch.randint(2, (n,), generator=generator).float()
        x = torch.randn((n, 1, 8, 8), generator=generator, dtype=torch.float32)
        x[:, :, :4, :4] += labels[:, None, None, None] * 2.0 - 1.0
        parts.append((x, torch.stack([labels, x[:, 0, 4:, 4:].mean((1, 2))], 1)))
    return data_of(*parts, problem=MultiTask({"one": "classification", "two": "regression"}))


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Watched(MTLLookAhead):
    """With other gates than one half, and what its trainings come to."""

    at: Tensor | None = None

    def gradients(self, some: ImageData) -> Watched:
        self.problem, self._done, self._total = some.problem, 0, 1
        self._differentiate(some)
        return self

    def _gates(self) -> Tensor:
        return super()._gates() if self.at is None else self.at

    def _loss(self, weights: list[Tensor], gates: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return super()._loss(weights, gates, x.to(gates.dtype), y.to(gates.dtype))

    def _at_the_end(self, state: Any, gates: Tensor, part: Any) -> Any:
        self.weights = [w.detach().clone() for w in state.weights]
        self.end = float(self._loss(state.weights, gates, *part.tensors()))
        return super()._at_the_end(state, gates, part)


@pytest.mark.usefixtures("double")
def test_gradients_are_differences_of_whole_trainings() -> None:
    some, settings = data(), {"epochs": 2, "batch": 24, "replicas": 2, "seed": 1}
    search = Watched(SMALL, **settings).gradients(some)
    assert search.effects_.shape == (2, SMALL.d)
    direction = torch.randn((2, SMALL.d), generator=torch.Generator().manual_seed(0))
    ends = []
    for step in (1e-6, -1e-6):
        moved = Watched(SMALL, **settings)
        moved.at = 0.5 + step * direction
        ends.append(moved.gradients(some).end)
    along = (ends[0] - ends[1]) / 2e-6
    assert (search.effects_ * direction.numpy()).sum() == pytest.approx(along, rel=1e-3, abs=1e-6)
    assert (search.at_fixed_weights_ * direction.numpy()).sum() != pytest.approx(along, rel=0.1)


def test_its_training_is_that_of_the_candidates() -> None:
    some, shape = data(), {"epochs": 1, "batch": 12, "rate": 1e-2, "decay": 1e-2, "seed": 5}
    search = Watched(SMALL, replicas=1, candidates=1, repeats=1, **shape)
    search.at = torch.ones(1, SMALL.d)
    search.gradients(some)
    (network,) = train_together(SMALL, np.ones((1, SMALL.d), dtype=np.int64), some, **shape)
    trained = dict(network.named_parameters())
    for name, weights in zip(search._names, search.weights, strict=True):
        torch.testing.assert_close(weights[0], trained[name], rtol=1e-3, atol=1e-4)


class Paid(MTLLookAhead):
    """Its loss has a price for each path, so that what should be found is known."""

    def _loss(self, weights: list[Tensor], gates: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return super()._loss(weights, gates, x, y) + (gates * torch.tensor([-3.0, 5.0, 7.0, -9.0])).sum()


def test_proposes_by_what_paths_add_and_takes_the_best_of_those_trained() -> None:
    seen: list[tuple[int, int]] = []
    search = Paid(
        SMALL, epochs=1, batch=16, replicas=2, candidates=3, repeats=2, seed=2, progress=lambda *done: seen.append(done)
    )
    found = search.fit(data())
    assert found.candidates_.tolist() == [[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1]]
    assert seen[-1] == (12, 12)
    assert len(seen) == 12
    assert found.losses_.shape == (3, 2)
    best = found.losses_.mean(axis=1).argmin()
    assert found.arch.tolist() == found.candidates_[best].tolist()
    x, y = data().validation.tensors()
    problem = data().problem
    for place in range(3):
        for i, network in enumerate(found.networks(place)):
            loss = problem.loss(problem.read(network(x)), y).item()
            assert loss == pytest.approx(found.losses_[place, i], rel=1e-4)
    better = found.networks()[int(found.losses_[best].argmin())]
    assert found.network() is better
    again = Paid(SMALL, epochs=1, batch=16, replicas=2, candidates=3, repeats=2, seed=2).fit(data())
    assert np.array_equal(again.losses_, found.losses_)


def test_subsets_come_by_their_sums() -> None:
    values = np.array([0.3, 0.1, 0.0, 0.7, 0.1])
    found = [tuple(sorted(places)) for places in least_sums(values)]
    every = [some for size in range(1, 6) for some in itertools.combinations(range(5), size)]
    assert sorted(found) == sorted(every)
    sums = [values[list(some)].sum() for some in found]
    assert np.allclose(sums, sorted(sums))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"2 backbones, and .* is for no tasks"):
        MTLLookAhead(SMALL).fit(replace(data(), problem=CLASSIFICATION))
    for options in ({"epochs": 0}, {"batch": 1}, {"candidates": 17}, {"rate": 0.0}, {"decay": -1.0}):
        with pytest.raises(InvalidValue):
            MTLLookAhead(SMALL, **options)
    with pytest.raises(InvalidValue, match="take a rate below"):
        MTLLookAhead(SMALL, epochs=2, rate=1e30, candidates=1, repeats=1).fit(data())
