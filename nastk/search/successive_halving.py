"""Successive halving: many short trainings, longer ones for the best of them (Jamieson & Talwalkar, AISTATS 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle
from nastk.search._rungs import ROUNDING, RungSearch, key_of
from nastk.search._single import SingleObjective
from nastk.search.base import Constraint, Objective, Proposal
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class SuccessiveHalving(RungSearch, SingleObjective):
    """A bracket of n random architectures is evaluated at the lowest rung, the best ceil(n / eta) of them at the next,
    the best ceil(n / eta^2) of those at the one after, and so on.

    A rung is complete before anything of it is promoted; while its last results are pending, nothing is proposed. When
    a bracket is done and budget is left, another starts with new architectures. Where the budget left does not cover
    all rungs, or the space has nothing new, the best that was left behind is promoted. The best at the highest rung is
    recommended.

    Args:
        rungs, eta, trainings: see :class:`RungSearch`.
        population: architectures of a bracket; by default as many as one bracket can hold within the budget, or eta to
            the number of rungs where no budget is known.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        rungs: Sequence[float] | None = None,
        eta: float = 3.0,
        trainings: float | None = None,
        population: int | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget, rungs, eta, trainings)
        if population is not None and population < 1:
            raise InvalidValue(f"a bracket needs at least one architecture; got population {population}")
        self.population = population
        self._brackets: list[tuple[int, int, int]] = []  # size, lowest rung, architectures started before

    def _best_first(self, costs: Array, violation: Array) -> NDArray[np.int64]:
        return np.lexsort((costs[:, 0], violation))

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        if self._brackets:
            proposals = self._continue_bracket(n, rng)
            if proposals is not None:
                return proposals
        size, lowest = self._plan()
        if lowest > 0 and (left_behind := self._promote_left_behind(n)):
            return left_behind
        proposals = self._start_new(min(n, size), lowest, rng)
        if not proposals:
            return self._promote_left_behind(n)
        self._brackets.append((size, lowest, len(self._begun)))
        return proposals

    def _plan(self) -> tuple[int, int]:
        """Size and lowest rung of the largest bracket within the budget left; size 0 where there is none."""
        left, count = self._budget_left(), len(self.rungs)
        most = min(self._room(), self.space.size, np.inf if self.population is None else self.population)
        if np.isinf(left):
            return int(min(most, self.population or round(self.eta**count))), 0
        for lowest in range(count):
            sizes = np.arange(1, int(max(min(most, left / self._price[lowest]), 0)) + 1)
            cost = sum(self._share(sizes, k - lowest) * self._price[k] for k in range(lowest, count))
            if size := int(np.sum(cost <= left)):
                return size, lowest
        return 0, 0

    def _share(self, size: Any, rungs: int) -> Any:
        """How many of a bracket of this size are promoted to `rungs` above its lowest."""
        return np.ceil(size / self.eta**rungs - ROUNDING)

    def _continue_bracket(self, n: int, rng: np.random.Generator) -> list[Proposal] | None:
        """Next proposals of the last bracket; an empty list while it waits for results, None when it is done."""
        size, lowest, before = self._brackets[-1]
        members = dict.fromkeys(list(self._begun)[before : before + size])
        awaited = [(key_of(p), self._rung(p.fidelity)) for p in self._awaited]
        new = [key for key, _ in awaited if key not in self._begun]
        missing = size - len(members) - len(new)
        if missing > 0 and (proposals := self._start_new(min(n, missing), lowest, rng)):
            return proposals
        if new:
            return []
        for rung in range(lowest, len(self.rungs) - 1):
            if any(key in members and at == rung for key, at in awaited):
                return []
            above = self._keys_above(rung)
            room = int(self._share(size, rung + 1 - lowest)) - sum(key in above for key in members)
            able = [key for key in self.ranking(rung) if key in members and key not in above]
            if able := able[: int(max(min(n, room, len(able), self._budget_left() / self._price[rung + 1]), 0))]:
                return self._promote(able, rung)
        return None

    def _promote_left_behind(self, n: int) -> list[Proposal]:
        """Promote the best that were left behind, one after another."""
        proposals: list[Proposal] = []
        while len(proposals) < n and (more := self._promote_best()):
            proposals += more
        return proposals

    def state(self) -> dict[str, Any]:
        return {**super().state(), "brackets": self._brackets}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._brackets = [(int(n), int(lowest), int(before)) for n, lowest, before in state.get("brackets", [])]
