"""Uniform random search without repeats (Li & Talwalkar, UAI 2019)."""

from __future__ import annotations

import numpy as np

from nastk.search.base import Proposal, Searcher
from nastk.spaces.base import Archs


class RandomSearch(Searcher):
    """Draws architectures uniformly, each network once, and evaluates all expensive objectives on it."""

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(arch, self.expensive) for arch in self.fresh_random(n, pending, rng)]
