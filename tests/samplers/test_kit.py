"""Every registered sampler keeps the contract, and works with every predictor's candidates."""

from __future__ import annotations

import numpy as np
import pytest

import nastk
from nastk.errors import UnknownName
from nastk.registry import SAMPLERS
from nastk.samplers.random import Random
from nastk.testing import check_sampler


@pytest.mark.parametrize("space", ["nasbench201", "fbnet"])
@pytest.mark.parametrize("name", SAMPLERS.names())
def test_keeps_the_contract(name: str, space: str) -> None:
    check_sampler(lambda: nastk.sampler(name), nastk.space(space))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        nastk.sampler("randm")


class _Twice(Random):
    def _pick(self, n, *rest):  # type: ignore[no-untyped-def]
        return np.zeros(n, dtype=np.int64)


def test_the_kit_finds_a_broken_sampler() -> None:
    with pytest.raises(AssertionError, match="twice"):
        check_sampler(_Twice, nastk.space("nasbench201"))


@pytest.mark.parametrize("name", ["a-optimal", "d-optimal"])
def test_designs_cover_more_than_chance(name: str) -> None:
    space = nastk.space("nasbench201")
    everything = space.one_hot(space.enumerate())

    def left(archs: np.ndarray) -> float:
        hot = space.one_hot(archs)
        return float(np.linalg.norm(everything[:, None] - hot[None], axis=2).min(axis=1).mean())

    random = np.mean([left(nastk.sampler("random").choose(10, space, seed=s)) for s in range(5)])
    chosen = np.mean([left(nastk.sampler(name).choose(10, space, seed=s)) for s in range(5)])
    assert chosen < random + 0.05
