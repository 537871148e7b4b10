"""multi-fidelity: `predictor` with short trainings, which screen candidates for full ones and train the predictors.

What `predictor` proposes is trained briefly first, and in full if it still leads. The predictors learn from the short
trainings too, by the autoregressive model of Kennedy & O'Hagan (Biometrika 2000): the full value is a multiple of the
lower fidelity's, plus an independent difference.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.oracles.base import Oracle
from nastk.predictors._autoregressive import adapted
from nastk.predictors.base import Predictor, Task
from nastk.search._rungs import ROUNDING, Rungs
from nastk.search.base import Constraint, Objective, Proposal
from nastk.search.models import Predictors
from nastk.search.predictor import START, PredictorSearch
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

AHEAD = 3
"""Next best candidates that must have a short training before an architecture is trained in full. More of them make
full trainings safer, and spend more of the budget on short ones."""


class MultiFidelitySearch(PredictorSearch):
    """Model-based search on rungs of fidelities.

    An architecture starts at the lowest rung and is promoted by one rung each time that it is among the best by what is
    known then; before one reaches the top, the :data:`AHEAD` next best must have started. Where the predictors have no
    prior, :data:`START` architectures that are spread over the space start, and the best of them are promoted.
    Objectives without fidelities (a latency) are evaluated together with the full training, those with a few-shot
    predictor as in `predictor`. An evaluation costs the same whether its training begins from scratch or continues from
    a checkpoint that a lower fidelity left in the network's folder (:meth:`Oracle.network_folder`).

    Args:
        budget: evaluations of each expensive objective, those of all fidelities together.
        predictor, contexts, start, measurements: see :class:`PredictorSearch`; `start` counts full trainings. A
            predictor that learns from :attr:`Task.lower`, as gp-bma does, is given the short trainings; any other
            learns how full ones differ from a multiple of what it predicts of short ones.
        rungs, eta: fidelities; see :class:`RungSearch`.
        trainings: a budget in full trainings that replaces `budget`: an evaluation at fidelity f costs f / target of
            one.

    Raises:
        InvalidValue: no evaluated objective has two fidelities, or they do not have them in common; rungs, eta or
            trainings that cannot be used.
    """

    needs_fidelities = True
    thins_front = False

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Oracle | Objective],
        constraints: Sequence[str | Constraint] = (),
        seed: int = 0,
        budget: dict[str, int] | None = None,
        predictor: Predictors = None,
        contexts: Mapping[str, Context] | None = None,
        start: int | None = None,
        measurements: int = 10,
        rungs: Sequence[float] | None = None,
        eta: float = 3.0,
        trainings: float | None = None,
    ):
        super().__init__(
            space, objectives, constraints, seed, budget, predictor, contexts, start=start, measurements=measurements
        )
        self.staged, self.rungs, self._price = Rungs.of(self, rungs, eta, trainings)
        if learned := [name for name in self.staged if name in self.few_shot]:
            raise InvalidValue(f"{learned[0]} has a few-shot predictor, which cannot learn from short trainings")
        self.trainings = trainings
        if trainings is not None:
            self.budget |= dict.fromkeys(self.evaluated, int(trainings + ROUNDING))
            self.budget |= dict.fromkeys(self.staged, int(trainings / self._price[0] + ROUNDING))
        self._briefly: dict[str, list[dict[Hashable, Record]]] = {n: [{} for _ in self.rungs[1:]] for n in self.staged}
        self._failed_briefly: set[Hashable] = set()
        self._awaited: Sequence[Proposal] = ()
        self._lower_models: dict[str, tuple[int, Predictor | None]] = {}

    # ---- what was told

    def ask(self, n: int = 1, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        self._awaited = pending
        return super().ask(n, pending)

    def tell(self, records: Sequence[Record]) -> None:
        super().tell(records)
        for record in records:
            if record.objective in self.staged and record.fidelity in self.rungs[:-1]:
                key = self.space.keys(np.array([record.arch], dtype=np.int64))[0]
                self._briefly[record.objective][self.rungs.index(record.fidelity)][key] = record
                if not np.isfinite(record.value):
                    self._failed_briefly.add(key)
                    self._seen.add(key)

    def _results(self, name: str) -> int:
        return super()._results(name) + len(self._lower[name])

    def _evaluated_keys(self, pending: Archs) -> set[Hashable]:
        return super()._evaluated_keys(pending) | self._failed_briefly

    def _budget_left(self) -> float:
        """What is left of the budget after pending evaluations; infinite where there is none."""
        left = np.inf
        for name, spent in self._spending().items():
            awaited = sum(self._price_of(p.fidelity) for p in self._awaited if name in p.objectives)
            limit = self.budget.get(name, np.inf) if self.trainings is None else self.trainings
            left = min(left, limit - spent - awaited + ROUNDING)
        return float(left)

    def _spending(self) -> dict[str, float]:
        """Budget spent on each objective with fidelities."""
        spent = {name: self.charged(name) for name in self.staged}
        return {name: float(sum(n * self._price_of(f) for f, n in spent[name].items())) for name in self.staged}

    def _price_of(self, fidelity: float | None) -> float:
        """Price of an evaluation; 0 for a fidelity that is no rung, which this search did not evaluate."""
        at = self.rungs[-1] if fidelity is None else fidelity
        return float(self._price[self.rungs.index(at)]) if at in self.rungs else 0.0

    def progress(self) -> tuple[float, float] | None:
        return None if self.trainings is None else (round(max(self._spending().values()), 2), self.trainings)

    # ---- proposals

    def _plan_size(self) -> int:
        if self.trainings is None:
            return super()._plan_size() // len(self.rungs)
        return int(self.trainings / self._price.sum() + ROUNDING)

    @property
    def _has_prior(self) -> bool:
        return True  # where the predictors have no prior, short trainings say what is good

    def _first_archs(self, n: int) -> Archs:
        """As `predictor`; without a prior, the best of a spread design by short trainings."""
        if self._prior is not None or set(self.evaluated) != set(self.staged):
            return super()._first_archs(n)
        plan = self._spread_design(max(START, n))
        keys = self.space.keys(plan)
        begun = [self._briefly[name][0] for name in self.evaluated]
        left = [i for i, key in enumerate(keys) if not all(key in told for told in begun)]
        if left:
            return plan[left]
        told = [i for i, key in enumerate(keys) if key not in self._failed_briefly]
        if not told:
            return plan[:0]
        values = np.array([[known[keys[i]].value for known in begun] for i in told])
        scores = -self.signs[self._evaluated_columns] * values
        pool = plan[told]
        return pool[np.argsort(-scores[:, 0])[:n]] if self.single else self._front_by_scores(pool, scores, n)

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        chosen = self._climb(super()._ask(n, pending, rng))
        if any(self._is_full(p) for p in chosen) and self.models.can_learn(self.evaluated):
            waiting = np.concatenate([pending, [p.arch for p in chosen]])
            ahead = self._climb(super()._ask(AHEAD, waiting, rng))
            brief = [p for p in chosen + ahead if not self._is_full(p)]
            chosen = brief + [p for p in chosen if self._is_full(p)]
        return self._fit_budget(chosen[:n])

    def _is_full(self, proposal: Proposal) -> bool:
        return proposal.fidelity is None and any(name in self.staged for name in proposal.objectives)

    def _climb(self, proposals: list[Proposal]) -> list[Proposal]:
        """The same architectures, each at the lowest rung that it has not been evaluated at."""
        if not proposals:
            return []
        promoted = []
        for proposal, key in zip(proposals, self.space.keys(np.stack([p.arch for p in proposals])), strict=True):
            names = [name for name in self.staged if name in proposal.objectives]
            missing = [i for name in names for i, told in enumerate(self._briefly[name]) if key not in told]
            brief = Proposal(proposal.arch, tuple(names), self.rungs[min(missing)]) if missing else proposal
            promoted.append(brief)
        return promoted

    def _fit_budget(self, proposals: list[Proposal]) -> list[Proposal]:
        """As many proposals as the budget covers; the last of it is for full trainings, which alone are recommended."""
        left, full = self._budget_left(), self._price_of(None)
        affordable = []
        for p in proposals:
            price = self._price_of(p.fidelity)
            if p.fidelity is not None and left - price < full:
                p, price = Proposal(p.arch, tuple(self.evaluated)), full
            if any(name in self.staged for name in p.objectives):
                if price > left:
                    continue
                left -= price
            affordable.append(p)
        return affordable

    # ---- models

    def _lower_model(self, name: str) -> Predictor | None:
        """The predictor of an objective's lower fidelities, each rung learned with the one below as its
        `Task.lower`."""
        if name not in self.staged:
            return None
        count = len(self._lower[name])
        if self._lower_models.get(name, (-1, None))[0] != count:
            model: Predictor | None = self.models.lowest(name)
            for told in self._briefly[name]:
                known = [record for record in told.values() if np.isfinite(record.value)]
                if len(known) >= 2:
                    archs = np.array([record.arch for record in known], dtype=np.int64)
                    values = np.array([record.value for record in known])
                    task: Task = replace(self.models.task(name, archs, values), lower=model)
                    model = adapted(self.models.templates[name], task)
            self._lower_models[name] = count, model
        return self._lower_models[name][1]
