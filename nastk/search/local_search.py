"""Local search: evaluates the neighbours of the best until none is better (White, Nolen & Savani, UAI 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nastk.oracles.base import Oracle
from nastk.search._single import SingleObjective
from nastk.search.base import Constraint, Objective, Proposal
from nastk.spaces.base import Archs, SearchSpace


class LocalSearch(SingleObjective):
    """Steepest descent from the best of some random architectures.

    All neighbours of the incumbent are evaluated, in random order; then the best of them becomes the incumbent. At a
    local optimum the search continues from the best architecture that has neighbours not evaluated yet, so that
    it needs no restart before the neighbourhoods of all good architectures are known.

    Args:
        start: random architectures at the beginning; 10 in the paper's code.
        query_all: evaluate all neighbours before moving, as the paper's main variant; otherwise move as soon as one is
            better, the paper's other variant, which takes fewer evaluations where neighbourhoods are large.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        start: int = 10,
        query_all: bool = True,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        self.start, self.query_all = start, query_all
        self._around: tuple[bytes, Archs] | None = None
        self._done: set[bytes] = set()
        self._centre: Archs | None = None

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self.start - len(self.archs_) - len(pending)
        if missing > 0:
            return self.propose(self.fresh_random(min(n, missing), pending, rng))
        chosen = np.empty((0, self.space.d), dtype=np.int64)
        for centre in self._centres():
            if len(chosen) == n:
                break
            around = self._neighbours(centre)
            around = around[self.unseen(around)]
            if not len(around):
                self._done.add(centre.tobytes())
                if self._centre is not None and centre.tobytes() == self._centre.tobytes():
                    self._centre = None
                continue
            if self.query_all and self._centre is None:
                self._centre = centre
            around = around[self.unseen(around, np.concatenate([pending, chosen]))]
            chosen = np.concatenate([chosen, rng.permutation(around)[: n - len(chosen)]])
        return self.propose(chosen if len(chosen) else self.fresh_random(n, pending, rng))

    def _centres(self) -> list[Archs]:
        """The incumbent, if its neighbours are being evaluated, then everything known, best first."""
        archs, _, _ = self.ranked()
        first = [] if self._centre is None else [self._centre]
        return first + [a for a in archs if a.tobytes() not in self._done]

    def _neighbours(self, arch: Archs) -> Archs:
        key = arch.tobytes()
        if self._around is None or self._around[0] != key:
            self._around = key, self.space.neighbours(arch)
        return self._around[1]

    def state(self) -> dict[str, object]:
        return {**super().state(), "centre": None if self._centre is None else self._centre.tolist()}

    def load_state(self, state: dict[str, object]) -> None:
        super().load_state(state)
        centre = state.get("centre")
        self._centre = None if centre is None else np.array(centre, dtype=np.int64)
