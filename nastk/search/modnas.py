"""MODNAS: a hypernetwork trained on predictors proposes the front and learns from it (Sukthanker et al., ICLR 2025)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm, qmc

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle
from nastk.search._multi import MultiObjectiveLearner
from nastk.search.base import Constraint, Objective
from nastk.search.models import Predictors
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from nastk.generators.pareto import ParetoGenerator

INFEASIBLE = 2.0
"""Penalty on every cost, in multiples of its range, times the relative violation of the constraints. Moderate, so that
gradients of the costs still guide the generator; a larger one enforces the constraints more strictly."""


class Modnas(MultiObjectiveLearner):
    """Propose, evaluate, refit, repeat: a `ParetoGenerator` for one device, trained anew every few results.

    Candidates are the architectures that the generator decodes from its preference rays, and samples around them; those
    with the largest expected hypervolume improvement are evaluated.

    Args:
        predictor, contexts, start, candidates: see :class:`nastk.search._surrogate.Learner`.
        every: predictors and generator are retrained after every `every` new results.
        rays, samples: number of preference rays of a proposal, and samples from each.
        steps, network, discretiser, scalarisation: see `nastk.generators.ParetoGenerator`.
        exploration: multiplies the predictors' standard deviations.

    Raises:
        InvalidValue: fewer than one result, ray or step.
    """

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
        every: int = 8,
        rays: int = 24,
        samples: int = 30,
        steps: int = 300,
        network: str = "bank",
        discretiser: str = "reinmax",
        scalarisation: str = "linear",
        exploration: float = 0.5,
    ):
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, start, candidates)
        if min(every, rays, steps) < 1:
            raise InvalidValue("modnas needs at least one result between fits, one ray and one step")
        self.every, self.rays, self.samples, self.steps = every, rays, samples, steps
        self.network, self.discretiser, self.scalarisation = network, discretiser, scalarisation
        self.exploration = exploration
        self._generators: dict[tuple[int, ...], ParetoGenerator] = {}
        self._normal = norm.ppf(qmc.Sobol(len(self.objectives), seed=seed).random(16).clip(1e-3, 1 - 1e-3))

    def _learning_count(self) -> int:
        """The first results up to a multiple of `every`; more until each expensive objective has two values."""
        told, start = len(self.archs_), self._start()
        count = start + (told - start) // self.every * self.every if told > start else told
        expensive = [o.expensive for o in self.objectives]
        known = np.isfinite(self.values_[:, expensive]).cumsum(axis=0).min(axis=1, initial=told)
        enough = np.flatnonzero(known >= 2)
        return min(max(count, int(enough[0]) + 1 if len(enough) else told), told)

    def _generator(self) -> ParetoGenerator:
        """The generator trained on the current predictors."""
        from nastk.generators.pareto import ParetoGenerator

        key = tuple(len(self.models.known(name, self._learning_count())[1]) for name in self.expensive)
        if key not in self._generators:
            generator = ParetoGenerator(
                self.space,
                {o.name: self._cost(j, o) for j, o in enumerate(self.objectives)},
                network=self.network,
                discretiser=self.discretiser,
                scalarisation=self.scalarisation,
                steps=self.steps,
                batch=16,
                seed=self.seed + sum(key),
            )
            self._generators = {key: generator.fit()}
        return self._generators[key]

    def _cost(self, column: int, objective: Objective) -> object:
        """Predicted cost of one objective, penalised by the predicted violation of the constraints."""
        from nastk.generators.costs import Cost

        if not self.constraints:
            source = self._model(objective.name) if objective.expensive else objective.oracle
            return Cost(self.space, source, objective.direction)

        def penalised(archs: Archs) -> np.ndarray:
            costs, _, violation = self._predict_costs(archs)
            return costs[:, column] + INFEASIBLE * violation * np.ptp(costs[:, column])

        return Cost(self.space, penalised)

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        from nastk.generators.decoding import greedy

        pool = self._generator().candidates(preferences=self.rays, samples=self.samples, seed=int(rng.integers(2**31)))
        pool = pool[self.unseen(pool, pending)]
        if not len(pool):
            return pool
        costs, std, violation = self._predict_costs(pool)
        _, known, broken = self.complete()
        taken = known[broken <= 0]
        if len(pending):
            taken = np.concatenate([taken, self._predict_costs(pending)[0]])
        everything = np.concatenate([taken, costs])
        low, width = everything.min(axis=0), np.maximum(np.ptp(everything, axis=0), 1e-12) * 1.1
        draws = costs + self.exploration * std * self._normal[:, None, :]
        draws = (draws - low) / width + np.where(violation > 0, np.inf, 0.0)[:, None]
        chosen = greedy(draws, n, taken=(taken - low) / width).tolist()
        rest = [i for i in np.lexsort((rng.random(len(pool)), violation)) if i not in chosen]
        return pool[[*chosen, *rest][:n]]
