"""What a searcher believes: predictors of what is paid for, oracles of what is free, and what was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.history import Record
from nastk.oracles.base import Oracle
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.search.base import Constraint, Objective, Searcher
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class BeliefSearch(Searcher):
    """A searcher with a mean and a standard deviation of every objective of every architecture.

    Args:
        predictor, contexts: see `nastk.search.predictor.PredictorSearch`.
        measurements: how many evaluations objectives with a few-shot predictor get, where the budget does not say.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint],
        seed: int,
        budget: dict[str, int] | None,
        predictor: str | Predictor | Mapping[str, str | Predictor] | None,
        contexts: Mapping[str, Context] | None,
        measurements: int,
    ):
        super().__init__(space, objectives, constraints, seed, budget)
        self.contexts = dict(contexts or {})
        self.models = self._models(predictor)
        for name in self.few_shot:
            self.budget.setdefault(name, measurements)
        self._counts: dict[str, int] = {}
        self._fitted: dict[str, tuple[int, Predictor]] = {}
        self._free: dict[bytes, dict[str, Array]] = {}
        self._answers: dict[tuple[str, int, bytes], Prediction] = {}

    def _models(self, predictor: str | Predictor | Mapping[str, str | Predictor] | None) -> dict[str, Predictor]:
        from nastk.predictors.factory import default_predictor
        from nastk.predictors.factory import predictor as named

        given = dict(predictor) if isinstance(predictor, Mapping) else dict.fromkeys(self.expensive, predictor)
        for name in given:
            if name not in self.expensive:
                raise UnknownName("paid objective", name, self.expensive)
        directions, alone = {o.name: o.direction for o in self.objectives}, len(self.objectives) == 1
        models = {
            name: named(given.get(name) or default_predictor(self.space, directions[name], alone))
            for name in self.expensive
        }
        for name, model in models.items():
            if model.scale != "metric":
                raise InvalidValue(f"the predictor of {name} only ranks; a search needs one in the metric's units")
        return models

    @property
    def few_shot(self) -> list[str]:
        """Paid objectives that a few-shot predictor learns."""
        return [n for n in self.expensive if isinstance(self.models[n], FewShotPredictor)]

    @property
    def evaluated(self) -> list[str]:
        """Paid objectives that are evaluated on every proposal after the start."""
        return [n for n in self.expensive if n not in self.few_shot]

    @property
    def _evaluated_objectives(self) -> list[Objective]:
        return [o for o in self.objectives if o.name in self.evaluated]

    @property
    def _evaluated_columns(self) -> NDArray[np.int64]:
        return np.array([j for j, o in enumerate(self.objectives) if o.name in self.evaluated], dtype=np.int64)

    # ---- what was told

    def _tell(self, records: Sequence[Record]) -> None:
        for record in records:
            self._counts[record.objective] = self._counts.get(record.objective, 0) + 1

    def _paid_for(self, name: str) -> int:
        return self._counts.get(name, 0)

    def _results(self, name: str) -> int:
        """How many results a paid objective's predictor has to learn from, failures included."""
        return self._paid_for(name)

    def _told(self, arch: Archs) -> Array:
        """What is known of an architecture, ``(m,)``, NaN where nothing."""
        row = self._rows.get(np.ascontiguousarray(arch).tobytes())
        return np.full(len(self.objectives), np.nan) if row is None else np.array(self._values[row])

    def _known(self, name: str) -> tuple[Archs, Array]:
        """Architectures and values of one paid objective, failures left out."""
        column = self.values_[:, [o.name for o in self.objectives].index(name)]
        known = np.isfinite(column)
        return self.archs_[known], column[known]

    def _evaluated_archs(self) -> Archs:
        """Architectures on which every evaluated objective is known."""
        return self.archs_[np.isfinite(self.values_[:, self._evaluated_columns]).all(axis=1)]

    # ---- what is learned

    def _fit(self, name: str) -> Predictor:
        count = self._results(name)
        if name not in self._fitted or self._fitted[name][0] != count:
            objective = next(o for o in self.objectives if o.name == name)
            self._fitted[name] = count, self._learned(objective, *self._known(name))
        return self._fitted[name][1]

    def _learned(self, objective: Objective, archs: Archs, values: Array) -> Predictor:
        """The objective's predictor, fitted to these; one object may have been given for several: each fits a copy."""
        return self.models[objective.name].adapt(self._task(objective, archs, values))

    def _task(self, objective: Objective, archs: Archs, values: Array) -> Task:
        device = getattr(objective.oracle, "device", None)
        return Task(
            self.space, archs, values, objective.name, objective.unit, objective.direction,
            device=device if isinstance(device, str) else None, context=self.contexts.get(objective.name, Context()),
        )  # fmt: skip

    def estimate(self, archs: Archs) -> dict[str, Prediction]:
        """What the predictors say of each paid objective that has enough values to be learned."""
        enough = [n for n in self.expensive if len(self._known(n)[1]) >= 2]
        return {name: self._fit(name).predict(archs) for name in enough}

    # ---- what is believed

    def _beliefs(self, archs: Archs) -> tuple[Array, Array]:
        """Mean and standard deviation of every objective, ``(n, m)``; free objectives are asked, and are certain."""
        free = self._computed(archs)
        predictions = {name: self._answer(name, archs) for name in self.expensive}
        mean = np.empty((len(archs), len(self.objectives)))
        std = np.zeros_like(mean)
        for j, o in enumerate(self.objectives):
            if o.expensive:
                mean[:, j] = predictions[o.name].mean
                std[:, j] = np.nan_to_num(predictions[o.name].std, nan=0.0)
            else:
                mean[:, j] = free[o.name]
        return mean, std

    def _answer(self, name: str, archs: Archs) -> Prediction:
        """What a paid objective's predictor says; a few-shot predictor, which seldom learns, is not asked twice."""
        if name not in self.few_shot:
            return self._fit(name).predict(archs)
        key = name, self._paid_for(name), archs.tobytes()
        answer = self._answers.pop(key, None) or self._fit(name).predict(archs)
        if len(self._answers) > 8:
            self._answers.pop(next(iter(self._answers)))
        self._answers[key] = answer
        return answer

    def _computed(self, archs: Archs) -> dict[str, Array]:
        key = archs.tobytes()
        if key not in self._free:
            if len(self._free) > 4:
                self._free.pop(next(iter(self._free)))
            self._free[key] = {o.name: o.oracle(archs) for o in self.objectives if not o.expensive}
        return self._free[key]

    def _completed(self, archs: Archs) -> Array:
        """Values ``(n, m)``, paid where they were paid for and believed elsewhere."""
        if not len(archs):
            return np.empty((0, len(self.objectives)))
        mean, _ = self._beliefs(archs)
        told = np.array([self._told(arch) for arch in archs])
        return np.where(np.isfinite(told), told, mean)

    def _feasibility(self, mean: Array, std: Array) -> Array:
        probability = np.ones(len(mean))
        names = [o.name for o in self.objectives]
        for c in self.constraints:
            j = names.index(c.objective)
            margin = (c.bound - mean[:, j]) * (1.0 if c.relation == "<=" else -1.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                z = np.where(std[:, j] > 0, margin / std[:, j], np.where(margin >= 0, np.inf, -np.inf))
            probability *= norm.cdf(z)
        return probability
