"""PNAS: progressive widening from partial to whole architectures, guided by a predictor (Liu et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle
from nastk.search._surrogate import SurrogateSearch
from nastk.search.base import Constraint, Objective, Proposal
from nastk.search.models import Predictors
from nastk.spaces.base import Archs, SearchSpace


class PNAS(SurrogateSearch):
    """Choices are opened one after another; at each level the predictor screens all extensions of the best so far.

    The paper's partial architectures are cells of fewer blocks. Here a partial architecture has its first choices
    decided and the others as in `base`: level 1 holds every option of the first choices, a later level extends the best
    `beam` evaluated architectures by every option of one more choice. Each level gets an equal share of the budget.
    When all choices are open, extensions are neighbours of the best.

    Args:
        predictor, contexts, candidates: see :class:`SurrogateSearch`.
        start: architectures of the first level.
        beam: how many are extended.
        base: options of the undecided choices, ``(d,)``; by default the first option of each, or a random architecture
            where that is not valid.
        order: the choices in the order in which they are opened; by default their own.
    """

    default_predictor = "mlp-ensemble"

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        predictor: Predictors = None,
        contexts: Mapping[str, Context] | None = None,
        start: int = 10,
        candidates: int = 20_000,
        beam: int = 10,
        base: Archs | None = None,
        order: Sequence[int] | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, start, candidates)
        self.beam = beam
        self.order = list(range(space.d)) if order is None else list(order)
        if sorted(self.order) != list(range(space.d)):
            raise InvalidValue(f"order must hold each of the {space.d} choices once; got {self.order}")
        zero = np.zeros((1, space.d), dtype=np.int64)
        default = zero if space.is_valid(zero)[0] else space.sample(1, np.random.default_rng([seed, 6]))
        self.base = space.as_archs(default if base is None else base)[0]

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self._start() - len(self.archs_) - len(pending)
        if missing > 0:
            first = self._first_level(rng)
            fresh = first[self.unseen(first, pending)][: min(n, missing)]
            if len(fresh):
                return self.propose(fresh)
        return super()._ask(n, pending, rng)

    def _first_level(self, rng: np.random.Generator) -> Archs:
        """Every combination of the first k choices in random order, k the least that gives enough networks."""
        grown = self.base[None]
        for choice in self.order:
            grown = self._extend(grown, choice)
            if len(np.unique(self.space.canonical(grown), axis=0)) >= 2 * self._start():
                break
        return rng.permutation(grown)

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        best = self.ranked()[0][: self.beam]
        pool = np.concatenate([self._extend(best, choice) for choice in self.order[: max(self._level(), 1)]])
        pool = pool[self.unseen(pool, pending)]
        if not len(pool):
            pool = self._mutants(10 * n, self.beam, rng)
            pool = pool[self.unseen(pool, pending)]
        mean, _ = self._predict_cost(pool)
        return pool[np.argsort(mean, kind="stable")[:n]]

    def _level(self) -> int:
        """Number of choices that are open by now: they are opened evenly over the budget."""
        planned = min(self.budget.values(), default=100)
        share = len(self.archs_) / max(planned, 1)
        return min(
            self.space.d, self._first_level_depth() + int(share * 1.25 * (self.space.d - self._first_level_depth())) + 1
        )

    def _first_level_depth(self) -> int:
        """Number of choices that the first level opens."""
        grown = self.base[None]
        for k, choice in enumerate(self.order, 1):
            grown = self._extend(grown, choice)
            if len(np.unique(self.space.canonical(grown), axis=0)) >= 2 * self._start():
                return k
        return self.space.d

    def _extend(self, archs: Archs, choice: int) -> Archs:
        """Set one choice of each architecture to each of its options; invalid results are left out."""
        options = len(self.space.choices[choice])
        grown = np.repeat(archs, options, axis=0)
        grown[:, choice] = np.tile(np.arange(options), len(archs))
        return grown[self.space.is_valid(grown)]
