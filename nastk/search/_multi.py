"""Shared by searchers that learn several objectives: sorting by dominance, evolution on predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.evaluation import Record
from nastk.oracles.predicted import Predicted
from nastk.search._dominance import by_dominance
from nastk.search._surrogate import Learner
from nastk.search.base import Objective
from nastk.spaces.base import Archs

Array = NDArray[np.float64]


class MultiObjectiveLearner(Learner):
    """Learns every expensive objective and computes the others."""

    def _predict_costs(self, archs: Archs) -> tuple[Array, Array, Array]:
        """Predicted costs to minimise ``(n, m)``, standard deviations ``(n, m)``, 0 where unknown, violations
        ``(n,)``."""
        values, std = self.models.moments(archs, self._learning_count())
        return values * self.signs, std, self.violation(values)

    def _mutants(self, n: int, parents: int, rng: np.random.Generator) -> Archs:
        archs, costs, violation = self.complete()
        best = archs[by_dominance(costs, violation)[:parents]]
        return self.space.mutate(best[rng.integers(0, len(best), n)], rng)

    def _evolve(
        self, algorithm: str, population: int, generations: int, start: Archs, rng: np.random.Generator
    ) -> tuple[Archs, Array, Array]:
        """Run one of pymoo's algorithms on the predictions, from the population `start`.

        Returns:
            All architectures visited ``(n, d)``, their predicted costs to minimise ``(n, m)`` and violations ``(n,)``.
        """
        from nastk.search.pymoo import PymooSearch

        predicted = [
            Objective(o.name, Predicted(self._model(o.name), self.space, o.name, o.unit, o.direction))
            if o.expensive
            else o
            for o in self.objectives
        ]
        algorithm = algorithm if len(predicted) > 1 else "ga"  # the others need two objectives
        seed = int(rng.integers(2**31))
        inner = PymooSearch(algorithm, self.space, predicted, self.constraints, seed=seed, population=population)
        found = start
        for generation in range(generations + 1):
            # Telling makes them known; the values are those of `Predicted`, a free oracle that the base class asks.
            inner.tell([Record(tuple(arch), predicted[0].name, 0.0) for arch in found.tolist()])
            if generation < generations:
                asked = [p.arch for p in inner.ask(population)]
                found = np.array(asked, dtype=np.int64).reshape(-1, self.space.d)
        return inner.complete()
