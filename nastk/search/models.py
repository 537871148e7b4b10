"""Models of the expensive objectives of a search: training data, predictors and cached predictions.

Every searcher that learns holds one :class:`Models`. Nothing else fits a predictor in a search, so that protection
against leaks is here, once: a predictor that learned from the device that is searched for is refused before anything
is evaluated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import DataWarning, InvalidValue, UnknownName
from nastk.predictors._autoregressive import adapted
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.predictors.factory import predictor as named
from nastk.search._dominance import best_rows
from nastk.search.base import LowerFidelity, Objective, Searcher
from nastk.spaces.base import Archs

Array = NDArray[np.float64]

Predictors = str | Predictor | Mapping[str, str | Predictor] | None
"""Predictors of the expensive objectives: a name or a predictor for all, or one by objective; None for the default."""

ANSWERS = 8
"""Predictions of few-shot predictors to cache: one proposal asks for the same few sets of candidates several times.
More would cost memory, an array of the candidates each, and save nothing."""

RELEARNED = 100
"""Values up to which a predictor learns anew at each: a fit takes little time, and each value tells much."""

GROWTH = 1.1
"""Beyond that, hyper-parameters are learned anew when there are so many times as many values."""

COMPUTED = 4
"""Sets of candidates of which the free objectives are remembered, for the same reason."""


class Models:
    """Predictors of a search's expensive objectives, fitted to what the searcher was told.

    A fit is kept until there are other results to learn from. One predictor object may serve several objectives: each
    fits a copy, and the object that was given stays as it was.

    Args:
        searcher: whose objectives and told values they are.
        predictor: of every expensive objective, or one by objective: a name or a predictor.
        contexts: context of the features by objective (source of proxies, build options).
        default: the predictor of an objective for which none is given.
        lower: of an objective's name, a predictor fitted to its lower fidelities, or None. It must be the same object
            until there are new results.

    Attributes:
        templates: the predictor of each expensive objective, as given: pretrained, perhaps, but not fitted.
        few_shot: names of the objectives that a few-shot predictor learns.

    Raises:
        UnknownName: no such predictor, or an objective that is not expensive.
        InvalidValue: a predictor learned from the device that is searched for, or a context holds its latencies; or
            an objective has a constraint, and its predictor only ranks.
    """

    def __init__(
        self,
        searcher: Searcher,
        predictor: Predictors,
        contexts: Mapping[str, Context] | None,
        default: Callable[[Objective], str | Predictor],
        lower: Callable[[str], Predictor | None] | None = None,
    ):
        self._searcher, self._lower = searcher, lower
        self._given_lower: dict[str, LowerFidelity] = {}
        self._learned_lower: dict[str, Predictor] = {}
        self._objectives = {o.name: o for o in searcher.objectives if o.expensive}
        self._columns = {o.name: j for j, o in enumerate(searcher.objectives)}
        self.contexts = dict(contexts or {})
        self._contexts = {name: self.contexts.get(name, Context()) for name in self._objectives}
        for name, objective in self._objectives.items():
            if (dataset := objective.oracle.dataset) is not None:
                self._contexts[name] = replace(self._contexts[name], dataset=dataset)
        given = dict(predictor) if isinstance(predictor, Mapping) else dict.fromkeys(self._objectives, predictor)
        for name in given:
            if name not in self._objectives:
                raise UnknownName("expensive objective", name, self._objectives)
        self.templates: dict[str, Predictor] = {
            name: named(given.get(name) or default(objective)) for name, objective in self._objectives.items()
        }
        self.few_shot = [name for name, model in self.templates.items() if isinstance(model, FewShotPredictor)]
        self._fits: dict[str, tuple[int, Predictor | None, Predictor]] = {}
        self._bases: dict[str, tuple[int, Predictor | None, Predictor]] = {}
        self._answers: dict[tuple[str, int, bytes], Prediction] = {}
        self._computed: dict[bytes, dict[str, Array]] = {}
        for name in self.templates:
            self._refuse_leaks(name)
        for c in searcher.constraints:
            if c.objective in self.templates and self.templates[c.objective].scale != "metric":
                raise InvalidValue(f"the predictor of {c.objective} only ranks; its constraint needs a metric's units")

    def _refuse_leaks(self, name: str) -> None:
        """Refuse a predictor or a context that has seen the device on which an objective is to be evaluated.

        A predictor that moves between spaces may know the same device from another space: that is no leak.
        """
        device, model = self._objectives[name].oracle.device, self.templates[name]
        if device is None:
            return
        if isinstance(model, FewShotPredictor) and device in model.devices:
            same = model.source_space is None or model.source_space.choices == self._searcher.space.choices
            if same:
                raise InvalidValue(
                    f"the predictor of {name} has learned from {device}, the device that is searched for, and would "
                    f"leak its values; leave it out of the sources, as few-shot-gp's .without([{device!r}]) does"
                )
        latencies = self.contexts.get(name, Context()).latencies
        if latencies is not None and device in latencies.names:
            raise InvalidValue(
                f"the context of {name} holds latencies of {device}, the device that is searched for: they would leak"
            )

    # ---- tasks

    def context(self, name: str) -> Context:
        """Where the features of an objective are looked up.

        It names the data set of the objective: a prior does without what it knows of that.
        """
        return self._contexts[name]

    def known(self, name: str, first: int | None = None) -> tuple[Archs, Array]:
        """Architectures ``(m, d)`` and values ``(m,)`` that were told of an objective, failures left out.

        Args:
            first: only of this many architectures, in the order first told.
        """
        column = self._searcher.values_[:first, self._columns[name]]
        known = np.isfinite(column)
        return self._searcher.archs_[: len(column)][known], column[known]

    def task(self, name: str, archs: Archs, values: Array) -> Task:
        """These values of an objective as a task, with its device and context."""
        objective = self._objectives[name]
        oracle = objective.oracle
        return Task(
            self._searcher.space, archs, values, name, objective.unit, objective.direction,
            dataset=oracle.dataset, device=oracle.device, context=self.context(name),
        )  # fmt: skip

    # ---- fits

    def fitted(self, name: str, first: int | None = None) -> Predictor:
        """The predictor of an objective, fitted to its values told (`first`: see :meth:`known`)."""
        archs, values = self.known(name, first)
        lower = self._lower_of(name)
        if name in self._fits:
            count, below, model = self._fits[name]
            if count == len(values) and below is lower:
                return model
        model = self._learn_told(name, archs, values)
        self._fits[name] = len(values), lower, model
        return model

    def extended(self, name: str, archs: Archs, values: Array) -> Predictor:
        """The predictor of an objective fitted to what was told and to these values; not kept."""
        told, known = self.known(name)
        return self._learn_told(name, told, known, archs, values)

    def _learn_told(
        self, name: str, archs: Archs, values: Array, more: Archs | None = None, added: Array | None = None
    ) -> Predictor:
        """A fit to values in the order told, and to others after them.

        With many, its hyper-parameters are those of the first ones (:data:`GROWTH`), so that they depend on the values
        alone, and a search that is resumed goes on as it would have.
        """
        if more is None or added is None:
            more, added = archs[:0], values[:0]
        whole = self._task_of(name, archs, values, more, added)
        n = learned_from(len(values))
        if n <= RELEARNED or not self._conditions(name):
            return self._fit(name, whole)
        base = self._base(name, archs[:n], values[:n])
        if n == len(values) and not len(added):
            return base
        return base.conditioned(whole) or self._fit(name, whole)

    def _conditions(self, name: str) -> bool:
        """Whether :meth:`Predictor.conditioned` spares the search the fit of an objective's predictor."""
        return self.templates[name].conditions

    def _base(self, name: str, archs: Archs, values: Array) -> Predictor:
        """The fit from whose hyper-parameters others start; kept until there is a later one."""
        lower = self._lower_of(name)
        if name not in self._bases or self._bases[name][:2] != (len(values), lower):
            task = self._task_of(name, archs, values, archs[:0], values[:0])
            self._bases[name] = len(values), lower, self._fit(name, task)
        return self._bases[name][2]

    def _task_of(self, name: str, archs: Archs, values: Array, more: Archs, added: Array) -> Task:
        """A task of values told, of which there may be more than the predictor takes, and of all others."""
        most = self.templates[name].most_in_search
        if most is not None and len(values) > most:
            rows = self._telling(name, archs, values, most)
            archs, values = archs[rows], values[rows]
        task = self.task(name, np.concatenate([archs, more]), np.concatenate([values, added]))
        return replace(task, lower=self._lower_of(name))

    def _telling(self, name: str, archs: Archs, values: Array, most: int) -> NDArray[np.int64]:
        """Rows, ascending, of `most` values: half of them are the best, where a search goes on; the others are spread
        over the rest, so that what is bad stays known.

        With several objectives the best are those of the first non-dominated fronts, by what was told and what
        few-shot predictors say.
        """
        costs = self.told_costs(archs)
        costs[:, self._columns[name]] = self._objectives[name].sign * values
        best = best_rows(costs[:, np.isfinite(costs).all(axis=0)], most // 2)
        others = np.setdiff1d(np.arange(len(values)), best)
        spread = others[np.linspace(0, len(others) - 1, most - len(best)).round().astype(np.int64)]
        return np.sort(np.concatenate([best, spread]))

    def told_costs(self, archs: Archs) -> Array:
        """Costs ``(n, m)`` to minimise: as told, by few-shot predictors where they were not; else NaN."""
        values = self._searcher.values_of(archs)
        for name in self.few_shot:
            if self.can_learn([name]):
                column = values[:, self._columns[name]]
                missing = ~np.isfinite(column)
                column[missing] = self.predict(name, archs[missing]).mean
        return values * self._searcher.signs

    def learn(self, name: str, archs: Archs, values: Array) -> Predictor:
        """The predictor of an objective fitted to these values, which need not be what was told; not kept."""
        return self._fit(name, replace(self.task(name, archs, values), lower=self._lower_of(name)))

    @contextmanager
    def believing(self, told: Mapping[str, tuple[Archs, Array]]) -> Iterator[None]:
        """For a while, predict these objectives by predictors fitted to these values instead of those told."""
        fits, answers = self._fits, self._answers
        learned = {name: self.learn(name, archs, values) for name, (archs, values) in told.items()}
        now = {name: (len(self.known(name)[1]), self._lower_of(name), model) for name, model in learned.items()}
        self._fits, self._answers = {**fits, **now}, {}
        try:
            yield
        finally:
            self._fits, self._answers = fits, answers

    def _lower_of(self, name: str) -> Predictor | None:
        found = self._lower(name) if self._lower else None
        return self.lowest(name) if found is None else found

    # ---- lower fidelities that cost nothing

    def use_lower(self, lower: Mapping[str, LowerFidelity]) -> None:
        """Learn from lower fidelities of expensive objectives, too.

        Raises:
            UnknownName: an objective that is not expensive.
            InvalidValue: the predictor of one only ranks, or is a few-shot predictor.
        """
        for name in lower:
            if name not in self.templates:
                raise UnknownName("expensive objective", name, self.templates)
            if self.templates[name].scale != "metric" or name in self.few_shot:
                what = "is a few-shot predictor" if name in self.few_shot else "only ranks"
                raise InvalidValue(f"the predictor of {name} {what}, and cannot learn from a lower fidelity")
        self._given_lower = dict(lower)
        self._learned_lower.clear()

    def lowest(self, name: str) -> Predictor | None:
        """The predictor of an objective's lower fidelity that :meth:`use_lower` was given; None where there is none.

        It learns from what is known before the search: to ask of each candidate would take longer than to predict it.
        """
        if name not in self._given_lower:
            return None
        if name not in self._learned_lower:
            given = self._given_lower[name]
            self._learned_lower[name] = adapted(self.templates[name], self.task(name, given.archs, given.values))
        return self._learned_lower[name]

    def lowest_costs(self, archs: Archs) -> Array | None:
        """Costs ``(n, m)`` to minimise by lower fidelities and free objectives; None where one has neither."""
        columns = []
        free = self.compute(archs)
        for name, j in self._columns.items():
            lower = self.lowest(name) if name in self.templates else None
            if name not in free and lower is None:
                return None
            columns.append(self._searcher.signs[j] * (free[name] if lower is None else lower.predict(archs).mean))
        return np.stack(columns, axis=1)

    def _fit(self, name: str, task: Task) -> Predictor:
        """For searchers that select a predictor by its data."""
        return adapted(self.templates[name], task)

    # ---- answers

    def can_learn(self, names: Iterable[str]) -> bool:
        """Whether each of these objectives has the two values without which no predictor can be fitted; of different
        size where a few-shot predictor learns them, which equal ones tell nothing."""
        values = {name: self.known(name)[1] for name in names}
        return all(len(v) >= 2 and (name not in self.few_shot or np.ptp(v) > 0) for name, v in values.items())

    def predict(self, name: str, archs: Archs, first: int | None = None) -> Prediction:
        """Mean and standard deviation of an objective, each ``(n,)``; `first`: see :meth:`known`.

        Predictions of few-shot predictors, which seldom get a new value, are cached for the candidates last asked
        about.
        """
        model = self.fitted(name, first)
        if name not in self.few_shot:
            return model.predict(archs)
        key = name, len(self.known(name, first)[1]), archs.tobytes()
        answer = self._answers.pop(key, None) or model.predict(archs)
        if len(self._answers) > ANSWERS:
            self._answers.pop(next(iter(self._answers)))
        self._answers[key] = answer
        return answer

    def interval(self, name: str, archs: Archs, first: int | None = None) -> tuple[Array, Array] | None:
        """Both ends, ``(n,)`` each, of 95 % intervals of an objective; `first`: see :meth:`known`.

        None where its predictor only ranks, or has too few values to tell; a warning says so where it cannot learn from
        a part of the values, as from equal ones.
        """
        model = self.fitted(name, first)
        if not model.has_intervals:
            return None
        try:
            return model.interval(archs)
        except InvalidValue as error:
            warnings.warn(f"the predictions of {name} have no intervals: {error}", DataWarning, stacklevel=2)
            return None

    def compute(self, archs: Archs) -> dict[str, Array]:
        """Values ``(n,)`` of the free objectives; the candidates last asked about are not computed twice."""
        key = archs.tobytes()
        if key not in self._computed:
            if len(self._computed) > COMPUTED:
                self._computed.pop(next(iter(self._computed)))
            free = [o for o in self._searcher.objectives if not o.expensive]
            self._computed[key] = {o.name: o.oracle(archs) for o in free}
        return self._computed[key]

    def moments(self, archs: Archs, first: int | None = None) -> tuple[Array, Array]:
        """Mean and standard deviation of every objective, ``(n, m)``: expensive ones predicted, free ones computed.

        The deviation is 0 where a value is certain, or a predictor has none.
        """
        free = self.compute(archs)
        mean = np.empty((len(archs), len(self._columns)))
        std = np.zeros_like(mean)
        for name, j in self._columns.items():
            if name in free:
                mean[:, j] = free[name]
            else:
                answer = self.predict(name, archs, first)
                mean[:, j], std[:, j] = answer.mean, np.nan_to_num(answer.std, nan=0.0)
        return mean, std

    def complete(self, archs: Archs) -> Array:
        """Values ``(n, m)`` of every objective, as told where they were evaluated and as predicted elsewhere."""
        if not len(archs):
            return np.empty((0, len(self._columns)))
        told = self._searcher.values_of(archs)
        return np.where(np.isfinite(told), told, self.moments(archs)[0])

    def known_values(self, archs: Archs) -> dict[str, Array]:
        """Values ``(n,)`` of the objectives that are known without an evaluation: free ones, and those that a few-shot
        predictor has learned by now."""
        learned = [name for name in self.few_shot if self.can_learn([name])]
        return self.compute(archs) | {name: self.predict(name, archs).mean for name in learned}

    def draw(self, archs: Archs, values: Array, n: int, rng: np.random.Generator, spread: float) -> list[Array]:
        """`n` draws of every objective, each ``(n_archs, m)``: those with a few-shot predictor jointly over the
        architectures, the others as in `values` ``(n_archs, m)``.

        Args:
            spread: factor on the draws' deviation from the mean.
        """
        draws = [values.copy() for _ in range(n)]
        for name in self.few_shot:
            if self.can_learn([name]):
                model = self.fitted(name)
                mean = model.predict(archs).mean
                for draw, drawn in zip(draws, mean + spread * (model.sample(archs, n, rng) - mean), strict=True):
                    draw[:, self._columns[name]] = drawn
        return draws

    def prior_scores(self, names: list[str], archs: Archs) -> Array | None:
        """How good architectures are by lower fidelities or the predictors' priors, before any value is known.

        Returns:
            Unitless scores ``(n, len(names))``, higher is better; None where an objective has no lower fidelity, and
            its predictor no prior, or it is minimised (a prior scores quality).
        """
        scores = []
        for name in names:
            if (lower := self.lowest(name)) is not None:
                scores.append(-self._objectives[name].sign * lower.predict(archs).mean)
                continue
            if self._objectives[name].direction == "min":
                return None
            space = self._searcher.space
            score = self.templates[name].prior_score(space, space.as_networks(archs), self.context(name))
            if score is None:
                return None
            scores.append(score)
        return np.stack(scores, axis=1) if scores else np.empty((len(archs), 0))


def learned_from(n: int) -> int:
    """From how many of `n` values, the first ones, hyper-parameters are learned: all of few, else a few less."""
    count = RELEARNED
    while int(count * GROWTH) <= n:
        count = int(count * GROWTH)
    return min(count, n) if n > RELEARNED else n
