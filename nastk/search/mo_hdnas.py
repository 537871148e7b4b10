"""MO-HDNAS: evolution that also maximises how much a network's hardware cost differs (Sinha et al., CVPR-W 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle
from nastk.search._multi import by_dominance
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class MOHDNAS(Searcher):
    """NSGA-II on quality, hardware costs, and the diversity of hardware costs in the population (arXiv 2404.12403).

    The paper's quality is the similarity of representations to a reference network; here it is the first objective,
    whatever that is: a free oracle of similarity, a zero-cost proxy, or an expensive accuracy. The diversity of
    an architecture is the mean distance of its hardware costs, scaled to [0, 1], from those of the population.

    Args:
        population: its size; by default a fifth of the budget, 10 to 20.
        mutated: share of children that are mutated after crossover.

    Raises:
        InvalidValue: fewer than two objectives; the first is quality, the others are hardware costs.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        population: int | None = None,
        mutated: float = 1.0,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if len(self.objectives) < 2:
            raise InvalidValue("mo-hdnas takes quality and at least one hardware cost; got one objective")
        if population is None:
            population = min(max(min(self.budget.values(), default=100) // 5, 10), 20)
        if population < 2:
            raise InvalidValue(f"a population needs at least 2 architectures; got {population}")
        self.population, self.mutated = population, mutated

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self.population - len(self.archs_) - len(pending)
        archs, costs, violation = self.complete()
        if missing > 0 or len(archs) < 2:
            return self.propose(self.fresh_random(min(n, max(missing, 1)), pending, rng))
        order = self._rank(costs, violation)[: self.population]

        def children(k: int) -> Archs:
            parents = archs[order[rng.integers(0, len(order), (2, 2, k)).min(axis=0)]]  # tournaments of two
            bred = self.space.crossover(parents[0], parents[1], rng)
            changed = rng.random(k) < self.mutated
            bred[changed] = self.space.mutate(bred[changed], rng)
            return bred

        return self.propose(self.fresh_from(children, n, pending, rng, tries=30))

    def _rank(self, costs: Array, violation: Array) -> NDArray[np.int64]:
        """Order of the evaluated architectures: by fronts of all objectives and the diversity in the last
        population."""
        spread = diversity(costs[:, 1:], costs[-self.population :, 1:])
        return by_dominance(np.column_stack([costs, -spread]), violation)


def diversity(costs: Array, population: Array) -> Array:
    """Mean distance ``(n,)`` of hardware costs ``(n, k)`` from the population's ``(p, k)``, each scaled to [0, 1]."""
    everything = np.concatenate([costs, population])
    width = np.maximum(np.ptp(everything, axis=0), 1e-12)
    distances: Array = np.abs(costs[:, None] - population) / width
    return np.asarray(distances.mean(axis=(1, 2)))
