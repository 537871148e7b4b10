"""NSGANetV2: surrogates switched by cross-validation, NSGA-II on them, gaps filled (Lu et al., ECCV 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.metrics import kendall, nondominated
from nastk.oracles.base import Oracle
from nastk.predictors._autoregressive import adapted
from nastk.predictors.base import Predictor, Task
from nastk.predictors.sklearn import SklearnRegressor
from nastk.search._multi import MultiObjectiveLearner
from nastk.search.base import Constraint, Objective
from nastk.search.models import Models, Predictors
from nastk.spaces.base import Archs, SearchSpace


def surrogates() -> tuple[Predictor, ...]:
    """The paper's four: a perceptron, a regression tree, radial basis functions, a Gaussian process (Section 3.2)."""
    from nastk.predictors.gp import GP

    return (
        SklearnRegressor("MLPRegressor", solver="lbfgs", max_iter=200, alpha=0.01),
        SklearnRegressor("DecisionTreeRegressor", min_samples_leaf=2),
        SklearnRegressor("KernelRidge", kernel="rbf", alpha=0.01),
        GP(),
    )


class _AdaptiveSwitching(Models):
    """Models that select by cross-validation the predictors that the user did not give (the paper, Section 3.2)."""

    def __init__(self, searcher: NSGANetV2, predictor: Predictors, contexts: Mapping[str, Context] | None):
        super().__init__(searcher, predictor, contexts, lambda objective: "gp")
        given = predictor if isinstance(predictor, Mapping) else dict.fromkeys(self.templates, predictor)
        self._switched = [name for name in self.templates if given.get(name) is None]
        self._round, self._folds, self._seed = searcher.round, searcher.folds, searcher.seed
        self._best: dict[str, tuple[int, Predictor]] = {}

    def _fit(self, name: str, task: Task) -> Predictor:
        if name not in self._switched:
            return super()._fit(name, task)
        turn = len(task) // self._round
        if name not in self._best or self._best[name][0] != turn:
            first = task.subset(np.arange(min(max(turn * self._round, 2), len(task))))
            self._best[name] = turn, self._switch(first)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # perceptrons that were stopped early
            return adapted(self._best[name][1], task)

    def _conditions(self, name: str) -> bool:
        return name not in self._switched and super()._conditions(name)

    def _switch(self, task: Task) -> Predictor:
        """The surrogate whose held-out predictions have the highest rank correlation (Kendall)."""
        folds = np.random.default_rng([self._seed, 8]).permutation(len(task)) % min(self._folds, len(task))
        scores = []
        for model in (known := surrogates()):
            predicted = np.empty(len(task))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for fold in np.unique(folds):
                    held = folds == fold
                    predicted[held] = adapted(model, task.subset(~held)).predict(task.archs[held]).mean
            tau = kendall(predicted, task.values)
            scores.append(tau if np.isfinite(tau) else -1.0)
        return known[int(np.argmax(scores))]


class NSGANetV2(MultiObjectiveLearner):
    """Adaptive switching, and a choice of the predicted front that fills gaps (the paper, Algorithm 1).

    After every `round` evaluations, the surrogate of every expensive objective is selected anew by the rank correlation
    of cross-validation. NSGA-II runs on the surrogates from the evaluated architectures, and of its front those are
    evaluated that lie farthest, in the objectives but the first, from everything evaluated or chosen already.

    Args:
        predictor: of every expensive objective, or one by objective; an objective that has one is not switched.
        contexts, start, candidates: see :class:`nastk.search._surrogate.Learner` (the paper starts from 100).
        round: evaluations between switches (the paper: 8).
        folds: of the cross-validation.
        population, generations: of NSGA-II.
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
        start: int = 20,
        candidates: int = 20_000,
        round: int = 8,
        folds: int = 5,
        population: int = 40,
        generations: int = 20,
    ):
        if folds < 2:
            raise InvalidValue(f"cross-validation needs at least 2 folds; got {folds}")
        self.round, self.folds = round, folds
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, start, candidates)
        self.population, self.generations = population, generations

    def _make_models(self, predictor: Predictors, contexts: Mapping[str, Context] | None) -> Models:
        return _AdaptiveSwitching(self, predictor, contexts)

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        known, known_costs, _ = self.complete()
        pool, costs, violation = self._evolve("nsga2", self.population, self.generations, known, rng)
        fresh = self.unseen(pool, pending)
        pool, costs, violation = pool[fresh], costs[fresh], violation[fresh]
        if not len(pool):
            return pool
        kept = violation <= max(0.0, float(violation.min()))
        pool, costs = pool[kept], costs[kept]
        front = nondominated(costs)
        pool, costs = pool[front], costs[front]
        # Gaps are those along the other objectives, the hardware costs.
        others = slice(1, None) if costs.shape[1] > 1 else slice(None)
        everything = np.concatenate([costs, known_costs])
        width = np.maximum(np.ptp(everything, axis=0), 1e-12)
        places, taken = (costs / width)[:, others], (known_costs / width)[:, others]
        distance = np.full(len(pool), np.inf)
        if len(taken):
            distance = np.linalg.norm(places[:, None] - taken, axis=2).min(axis=1)
        chosen: list[int] = []
        while len(chosen) < min(n, len(pool)):
            distance[chosen] = -1.0
            chosen.append(int(np.argmax(distance)))
            distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
        return pool[chosen]
