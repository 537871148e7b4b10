"""Shared by searchers that learn expensive objectives: random initial design, models, candidates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.oracles.base import Oracle, Values
from nastk.predictors.base import Prediction, Predictor
from nastk.search._dominance import by_dominance
from nastk.search._single import SingleObjective
from nastk.search.base import Constraint, LowerFidelity, Objective, Proposal, Searcher
from nastk.search.candidates import whole_space
from nastk.search.models import Models, Predictors
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

INFEASIBLE = 1e6
"""Penalty on predicted cost, in multiples of the candidates' range, times the relative violation. Large enough that all
but a negligible violation outweighs any difference in cost; a smaller penalty would trade feasibility for quality."""


LEADING = 1000
"""Random architectures of which those are evaluated first that lead by a lower fidelity; more find better ones."""


class Learner(Searcher):
    """Evaluates `start` random architectures, then those that :meth:`_choose` selects by the predictors' answers.

    Where every expensive objective has a lower fidelity (:meth:`Searcher.use_lower`), the first ones are those that
    lead by it and by the free objectives, and the predictors learn from it too.

    Args:
        predictor: of every expensive objective, or one by objective: a name or a predictor.
        contexts: context of the features by objective (source of proxies, build options).
        start: random architectures before the first fit.
        candidates: score at most this many architectures where the whole space is scored.

    Raises:
        UnknownName: no such predictor, or an objective that is not expensive.
        InvalidValue: a few-shot predictor that was not pretrained, or has learned from the device that is searched
            for.
    """

    learns = True
    uses_lower = True
    default_predictor = "gp"

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
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        if start < 2:
            raise InvalidValue(f"start is {start}; a predictor needs at least 2 architectures")
        self.start, self.candidates = start, candidates
        self.models = self._make_models(predictor, contexts)

    def _make_models(self, predictor: Predictors, contexts: Mapping[str, Context] | None) -> Models:
        return Models(self, predictor, contexts, lambda objective: self.default_predictor)

    @abstractmethod
    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        """Up to `n` new architectures, once every expensive objective has at least two values."""

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        missing = self._start() - len(self.archs_) - len(pending)
        if missing > 0:
            return self.propose(self.filled(self._leading(min(n, missing), pending), min(n, missing), pending, rng))
        if any(np.isfinite(column).sum() < 2 for column in self.values_.T):
            return self.propose(self.fresh_random(n, pending, rng))
        return self.propose(self.filled(self._choose(n, pending, rng), n, pending, rng))

    def _start(self) -> int:
        return max(2, min(self.start, min(self.budget.values(), default=10**9) // 2))

    def _leading(self, n: int, pending: Archs) -> Archs:
        """Up to `n` architectures that lead by lower fidelities; none where there are none."""
        return self._leaders[self.unseen(self._leaders, pending)[:n]]

    @cached_property
    def _leaders(self) -> Archs:
        """Architectures by lower fidelities and free objectives, best first; none where an objective has neither."""
        pool = whole_space(self.space, LEADING)
        if pool is None:
            pool = self.space.sample(LEADING, np.random.default_rng([self.seed, 9]))
        costs = self.models.lowest_costs(pool)
        if costs is None:
            return pool[:0]
        free = {o.name: costs[:, j] * self.signs[j] for j, o in enumerate(self.objectives) if not o.expensive}
        violation = np.zeros(len(pool))
        for c in self.constraints:
            if c.objective in free:  # a lower fidelity has another unit
                violation += c.violation(free[c.objective])
        return pool[by_dominance(costs, violation)]

    def use_lower(self, lower: Mapping[str, LowerFidelity]) -> None:
        self.models.use_lower(lower)

    # ---- models

    def _learning_count(self) -> int:
        """How many architectures, in the order told, are training data of the predictors."""
        return len(self.archs_)

    def _model(self, name: str) -> Predictor:
        """The predictor of one expensive objective, fitted to its training data."""
        return self.models.fitted(name, self._learning_count())

    def estimate(self, archs: Archs) -> dict[str, Prediction]:
        """What the predictors say of each expensive objective that has enough values to be learned."""
        return {name: self._model(name).predict(archs) for name in self._predicted()}

    def intervals(self, archs: Archs) -> dict[str, tuple[Values, Values]]:
        found = {name: self.models.interval(name, archs, self._learning_count()) for name in self._predicted()}
        return {name: ends for name, ends in found.items() if ends is not None}

    def _predicted(self) -> list[str]:
        """Objectives that are predicted in their unit, and have enough values to be learned."""
        units = [name for name, model in self.models.templates.items() if model.scale == "metric"]
        return [name for name in units if self.models.can_learn([name])]

    # ---- candidates

    def _pool(self, pending: Archs, rng: np.random.Generator) -> Archs:
        """Candidates: the whole space where it is small, else random architectures and mutants of the best."""
        pool = whole_space(self.space, self.candidates)
        if pool is None:
            half = self.candidates // 2
            pool = np.concatenate([self.space.sample(half, rng), self._mutants(half, 20, rng)])
        return pool[self.unseen(pool, pending)]

    @abstractmethod
    def _mutants(self, n: int, parents: int, rng: np.random.Generator) -> Archs:
        """`n` mutants of the `parents` best evaluated architectures."""


class SurrogateSearch(Learner, SingleObjective):
    """Learns one objective, and any expensive ones that are constrained."""

    default_predictor = "mlp-ensemble"

    def _predict_cost(self, archs: Archs) -> tuple[Array, Array]:
        """Predicted mean and standard deviation of the cost to minimise, penalised by predicted violation.

        Args:
            archs: ``(n, d)``.

        Returns:
            Two arrays ``(n,)``; the deviation is 0 where a predictor has none.
        """
        first = self.objectives[0]
        std = np.zeros(len(archs))
        if first.expensive:
            answer = self._model(first.name).predict(archs)
            mean, std = first.sign * answer.mean, np.nan_to_num(answer.std, nan=0.0)
        else:
            mean = first.sign * first.oracle(archs)
        if self.constraints:
            mean = mean + INFEASIBLE * self._predict_violation(archs) * max(float(np.ptp(mean)), 1.0)
        return mean, std

    def _predict_violation(self, archs: Archs) -> Array:
        """Predicted violation of the constraints, relative to their bounds, ``(n,)``."""
        values = np.zeros((len(archs), len(self.objectives)))
        for j, o in enumerate(self.objectives):
            if any(c.objective == o.name for c in self.constraints):
                values[:, j] = self._model(o.name).predict(archs).mean if o.expensive else o.oracle(archs)
        return self.violation(values)

    def _mutants(self, n: int, parents: int, rng: np.random.Generator) -> Archs:
        best = self.ranked()[0][:parents]
        return self.space.mutate(best[rng.integers(0, len(best), n)], rng)
