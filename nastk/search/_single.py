"""Shared by searchers of one objective: the first is optimised, the others are only constrained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle
from nastk.search.base import Constraint, Objective, Searcher
from nastk.spaces.base import Archs, SearchSpace


class SingleObjective(Searcher):
    """Optimises the first objective; every further one must have a constraint, and matters only for feasibility.

    Raises:
        InvalidValue: a second objective without a constraint.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        bound = {c.objective for c in self.constraints}
        for objective in self.objectives[1:]:
            if objective.name not in bound:
                raise InvalidValue(
                    f"{type(self).__name__} optimises {self.objectives[0].name} alone; give {objective.name} a "
                    f"constraint, such as {objective.name}<=10, or take a searcher of several objectives"
                )

    @property
    def optimised(self) -> int:
        return 1

    def recommend(self) -> Archs:
        """The best feasible architecture by the first objective, or else the least-violating one, ``(1, d)``."""
        archs, _, _ = self.ranked()
        return archs[:1]

    def ranked(self) -> tuple[Archs, NDArray[np.float64], NDArray[np.float64]]:
        """What is known completely, best first: architectures ``(m, d)``, costs ``(m,)`` and violations ``(m,)``.

        Feasible architectures come first, by cost to be minimised; the others follow by violation.
        """
        archs, costs, violation = self.complete()
        order = np.lexsort((costs[:, 0], violation))
        return archs[order], costs[order, 0], violation[order]
