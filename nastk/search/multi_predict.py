"""Multi-Predict search: the ten best predictions of each round (Akhauri & Abdelfattah, AutoML 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nastk.encodings.base import Context
from nastk.oracles.base import Oracle
from nastk.search._surrogate import SurrogateSearch
from nastk.search.base import Constraint, Objective
from nastk.search.models import Predictors
from nastk.spaces.base import Archs, SearchSpace


class MultiPredictSearch(SurrogateSearch):
    """Refits every `round` evaluations and evaluates the best predictions; purely greedy (the paper, Section 5).

    Args:
        predictor: the paper's is a multi-layer perceptron pretrained on other tasks, on zero-cost proxies:
            ``nastk.predictor("transfer-mlp").pretrain(tasks)``; by default it learns from scratch.
        contexts: context of the features by objective.
        start: random architectures before the first fit.
        candidates: score at most this many architectures where the whole space is scored.
        round: evaluations between fits.
    """

    default_predictor = "transfer-mlp"

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
        round: int = 10,
    ):
        super().__init__(space, objectives, constraints, seed, budget, predictor, contexts, start, candidates)
        self.round = round

    def _learning_count(self) -> int:
        start = self._start()
        return start + max(len(self.archs_) - start, 0) // self.round * self.round

    def _choose(self, n: int, pending: Archs, rng: np.random.Generator) -> Archs:
        pool = self._pool(pending, rng)
        mean, _ = self._predict_cost(pool)
        return pool[np.argsort(mean, kind="stable")[:n]]
