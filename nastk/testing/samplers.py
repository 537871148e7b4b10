"""Conformance kit of samplers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nastk.encodings.base import LatencySource
from nastk.errors import InvalidValue
from nastk.samplers.base import Sampler
from nastk.spaces.base import Archs, SearchSpace


class _Sources:
    names = ("first", "second")

    def __init__(self, space: SearchSpace):
        self.space = space
        self.weights = np.random.default_rng(0).uniform(0.1, 1.0, (int(space.sizes.sum()), 2))

    def __call__(self, archs: Archs) -> np.ndarray:
        return 1.0 + self.space.one_hot(archs) @ self.weights


def check_sampler(make: Callable[[], Sampler], space: SearchSpace) -> None:
    """Test the contract of :class:`nastk.Sampler`; raises AssertionError with the violation.

    Args:
        make: builds a new sampler, the same each time.
        space: a space that the sampler supports, of 60 architectures or more.
    """
    sources: LatencySource = _Sources(space)
    some = space.sample(60, 5, unique=True)
    for n in (1, 2, 7, 20):
        chosen = make().choose(n, space, seed=3, sources=sources)
        assert chosen.shape == (n, space.d), f"{chosen.shape} for {n} architectures"
        assert space.is_valid(chosen).all(), "an architecture is not a member of the space"
        assert len(np.unique(chosen, axis=0)) == n, "an architecture was chosen twice"
        assert np.array_equal(chosen, make().choose(n, space, seed=3, sources=sources)), "differs for the same seed"
        assert np.array_equal(make().choose(n, space, seed=np.random.default_rng(3), sources=sources), chosen), (
            "a generator and its seed differ"
        )
        inside = {row.tobytes() for row in some}
        among = make().choose(n, space, candidates=some, seed=1, sources=sources)
        assert {row.tobytes() for row in among} <= inside, "chose outside the candidates"
    everything = make().choose(len(some), space, candidates=some, sources=sources)
    assert len(np.unique(everything, axis=0)) == len(some), "all candidates must be possible to choose"
    _refuses(lambda: make().choose(61, space, candidates=some, sources=sources), "more than there are candidates")
    _refuses(lambda: make().choose(0, space, sources=sources), "no architectures")
    if make().needs_sources:
        _refuses(lambda: make().choose(5, space), "no sources")


def _refuses(action: Callable[[], object], what: str) -> None:
    try:
        action()
    except InvalidValue:
        return
    raise AssertionError(f"{what} must raise InvalidValue")
