"""Scalarisations: one weighted objective a proposal, learned by predictors (Knowles, ParEGO, TEVC 2006)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.oracles.base import Oracle
from nastk.search._multi import MultiObjectiveLearner
from nastk.search.base import Constraint, Objective
from nastk.search.models import Predictors
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

FAMILY = "scalarised:<scalarisation>"
"""The name under which lists show these searchers."""

MNASNET = -0.07
"""Exponent of the cost's ratio to its target (Tan et al., CVPR 2019, Section 3)."""


def linear(costs: Array, weights: Array) -> Array:
    """Weighted sum of costs scaled to [0, 1], ``(n, m)`` and ``(m,)`` to ``(n,)``; reaches convex parts of a front."""
    return np.asarray(costs @ weights)


def tchebycheff(costs: Array, weights: Array) -> Array:
    """Greatest weighted cost, plus a twentieth of the weighted sum: ParEGO's augmented function (Section II)."""
    return np.asarray((costs * weights).max(axis=1) + 0.05 * (costs @ weights))


SCALARISATIONS: dict[str, Callable[[Array, Array], Array]] = {"linear": linear, "tchebycheff": tchebycheff}
"""Scalarisations with drawn weights, by name; "mnasnet", whose targets are drawn, is apart."""


class Scalarised(MultiObjectiveLearner):
    """Each proposal minimises a scalarisation with weights of its own, drawn from the simplex.

    Each candidate is drawn from its own predictive distribution (independent Thompson sampling), and the one whose draw
    has the best scalarisation is evaluated. "mnasnet" is the reward of MnasNet, quality x product of (cost / target) ^
    -0.07: its targets are the bounds of constraints, and where an objective has none, they are drawn between the least
    and the greatest known.

    Args:
        scalarisation: linear, tchebycheff or mnasnet.
        predictor, contexts, start, candidates: see :class:`nastk.search._surrogate.Learner`.

    Raises:
        UnknownName: no such scalarisation.
        InvalidValue: mnasnet without a first objective to maximise and others to minimise.
    """

    def __init__(
        self,
        scalarisation: str,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        predictor: Predictors = None,
        contexts: Mapping[str, Context] | None = None,
        start: int = 10,
        candidates: int = 20_000,
    ):
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, start, candidates)
        if scalarisation not in (*SCALARISATIONS, "mnasnet"):
            raise UnknownName("scalarisation", scalarisation, (*SCALARISATIONS, "mnasnet"))
        directions = [o.direction for o in self.objectives]
        if scalarisation == "mnasnet" and directions != ["max"] + ["min"] * (len(directions) - 1):
            raise InvalidValue("scalarised:mnasnet maximises its first objective and minimises the others")
        self.scalarisation = scalarisation

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self._pool(pending, rng)
        if not len(pool):
            return pool
        costs, std, _ = self._predict_costs(pool)
        known = self.complete()[1]
        low, high = known.min(axis=0), known.max(axis=0)
        chosen: list[int] = []
        for _ in range(min(n, len(pool))):
            draw = costs + std * rng.standard_normal(costs.shape)
            if self.scalarisation == "mnasnet":
                score = -self._reward(draw, low, high, rng)
            else:
                scaled = (draw - low) / np.maximum(high - low, 1e-12)
                score = SCALARISATIONS[self.scalarisation](scaled, rng.dirichlet(np.ones(costs.shape[1])))
            score = np.where(self.violation(draw * self.signs) > 0, score + np.ptp(score) + 1.0, score)
            score[chosen] = np.inf
            chosen.append(int(np.argmin(score)))
        return pool[chosen]

    def _reward(self, costs: Array, low: Array, high: Array, rng: np.random.Generator) -> Array:
        bounds = {c.objective: c.bound for c in self.constraints if c.relation == "<="}
        reward = -costs[:, 0]
        for j, objective in enumerate(self.objectives[1:], 1):
            target = bounds.get(objective.name, rng.uniform(low[j], high[j]))
            reward = reward * (np.maximum(costs[:, j], 1e-12) / max(target, 1e-12)) ** MNASNET
        return reward
