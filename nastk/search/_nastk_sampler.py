"""nastk's searchers as a sampler of Optuna (Akiba et al., KDD 2019): ``from nastk.search import NastkSampler``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.samplers._base import _process_constraints_after_trial
from optuna.search_space import intersection_search_space
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nastk.errors import InvalidValue, Unsupported
from nastk.evaluation import Record
from nastk.oracles.base import FunctionOracle
from nastk.predictors.base import Predictor
from nastk.registry import SEARCHERS
from nastk.search.base import Constraint, Proposal, Searcher
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import torch
    from optuna.study import Study

Distributions = dict[str, BaseDistribution]

PROPOSED = "nastk:proposed"
"""System attribute of a trial with the parameters proposed for it, from which other workers know what is pending."""

WORST = "worst_constraint"
"""Name of the objective that holds the greatest of a trial's constraint values, in units of their medians, plus one;
feasible up to 1, a bound other than 0 because violations are relative to it."""

CLIPPED = 10.0
"""Constraint values are clipped to this many medians, or one extreme trial would dominate what is learned. A lower
value is more robust, and loses how far apart clearly infeasible trials are."""


class NastkSampler(BaseSampler):
    """Samples the parameters of an Optuna study by one of nastk's searchers.

    The parameters that all completed trials have in common, with the same distributions (Optuna's intersection search
    space), are proposed together; others, such as those of one branch of the objective, and all of the first trial, are
    sampled at random, or by `independent_sampler`. Categories are choices, and so are integers and stepped floats of at
    most `max_options` values; of wider ranges `grid` evenly spaced values are, in the logarithm where ``log=True``.
    Values that come from elsewhere (enqueued, random) are learned from as the nearest of these.

    Nothing is kept between trials: each proposal is made from the study's trials, the seed and the trial's number. A
    study that is resumed with the same seed continues as it would have, and parallel workers may share a seed. Failed
    and pruned trials count as tried, running and enqueued ones are not repeated; equal trials are averaged. Where
    nothing new is left to propose, parameters are sampled independently.

    Args:
        seed: random seed; None for one drawn at random.
        searcher: name of the searcher.
        predictor: of the objectives, for searchers that take one: a name or a predictor. By default that of
            the searcher, and for the searcher `predictor` gp on the values, numbers with their order.
        n_startup_trials: number of completed trials that are sampled independently before the searcher is asked, in
            place of its own initial design. By default only the first trial, then the searcher's own design.
        max_options: see above; at least 2.
        grid: see above; at least 2.
        independent_sampler: samples what the searcher does not.
        constraints_func: takes a finished trial and returns the values of the constraints, kept where 0 or less.
            Constraints told by ``trial.set_constraint`` count without it.
        options: further arguments of the searcher, such as ``{"start": 5}``.

    Raises:
        UnknownName: no such searcher.
        InvalidValue: `max_options` or `grid` is below 2, or `seed` or `n_startup_trials` below 0.

    Example::

        >>> study = optuna.create_study(sampler=NastkSampler(seed=0), direction="maximize")
        >>> study.optimize(objective, n_trials=50)
    """

    def __init__(
        self,
        seed: int | None = None,
        searcher: str = "predictor",
        predictor: str | Predictor | None = None,
        n_startup_trials: int | None = None,
        max_options: int = 32,
        grid: int = 16,
        independent_sampler: BaseSampler | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        if max_options < 2 or grid < 2:
            raise InvalidValue(f"max_options and grid must be at least 2; got {max_options} and {grid}")
        if min(seed or 0, n_startup_trials or 0) < 0:
            raise InvalidValue(f"seed and n_startup_trials must be 0 or more; got {seed} and {n_startup_trials}")
        known = inspect.signature(SEARCHERS.get(searcher)).parameters
        self.seed = int(np.random.default_rng(seed).integers(2**31)) if seed is None else seed
        self.searcher, self.n_startup_trials = searcher, n_startup_trials or 0
        self.max_options, self.grid = max_options, grid
        self.independent_sampler, self.constraints_func = independent_sampler, constraints_func
        self.options = dict(options or {})
        if predictor is not None:
            self.options["predictor"] = predictor
        if n_startup_trials is not None and "start" in known:
            self.options.setdefault("start", max(n_startup_trials, 2))
        self._stream = 0
        self._lock = Lock()
        self._space: tuple[Distributions, Parameters] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock())

    def reseed_rng(self) -> None:
        """Reseed what follows; the searcher's initial design stays that of the seed."""
        self._stream = int(np.random.default_rng().integers(1, 2**31))
        if self.independent_sampler is not None:
            self.independent_sampler.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        """The parameters that all completed trials have, except those with a single value."""
        common = intersection_search_space(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        return {name: d for name, d in common.items() if not d.single()}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        """The searcher's proposal; empty where it has none."""
        if not search_space:
            return {}
        with self._lock:
            trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            if sum(t.state == TrialState.COMPLETE for t in trials) < self.n_startup_trials:
                return {}
            space = self._parameters(search_space)
            searcher = self._make_searcher(study, space, [t for t in trials if t.state.is_finished()])
            searcher.load_state({"asks": trial.number + (self._stream << 32)})
            rows = [space.row(_known_parameters(t, search_space)) for t in trials if not t.state.is_finished()]
            under_way = np.array([row for row in rows if row is not None], dtype=np.int64).reshape(-1, space.d)
            proposals = searcher.ask(1, [Proposal(row, searcher.expensive) for row in under_way])
            if not proposals:
                return {}
            params = space.params(proposals[0].arch)
            noted = {name: float(search_space[name].to_internal_repr(value)) for name, value in params.items()}
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED, noted)
            return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, seeded by seed, trial number and parameter name; or `independent_sampler`'s."""
        sampler = self.independent_sampler
        if sampler is None:
            drawn = np.random.SeedSequence([self.seed, self._stream, trial.number, crc32(param_name.encode())])
            sampler = RandomSampler(seed=int(drawn.generate_state(1)[0]))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Call `independent_sampler`'s."""
        if self.independent_sampler is not None:
            self.independent_sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Note the values of the constraints."""
        if self.constraints_func is not None:
            _process_constraints_after_trial(self.constraints_func, study, trial, state)
        if self.independent_sampler is not None:
            self.independent_sampler.after_trial(study, trial, state, values)

    # ---- the searcher behind

    def _parameters(self, distributions: Distributions) -> Parameters:
        if self._space is None or self._space[0] != distributions:
            self._space = distributions, Parameters(distributions, self.max_options, self.grid)
        return self._space[1]

    def _make_searcher(self, study: Study, space: Parameters, trials: Sequence[FrozenTrial]) -> Searcher:
        """A searcher that is told the finished trials."""
        from nastk.predictors.gp import GP

        names = [f"value{j}" for j in range(len(study.directions))]
        objectives = [
            FunctionOracle(space, _refuse, name, direction="max" if d == StudyDirection.MAXIMIZE else "min")
            for name, d in zip(names, study.directions, strict=True)
        ]
        constraints = []
        if any(t.constraints for t in trials):
            names.append(WORST)
            objectives.append(FunctionOracle(space, _refuse, WORST))
            constraints.append(Constraint(WORST, "<=", 1.0))
        options = dict(self.options)
        if self.searcher == "predictor" and options.get("predictor") is None:
            options["predictor"] = GP("vec+statics" if space.numbers else "vec")
        searcher: Searcher = SEARCHERS.create(
            self.searcher, space, objectives, constraints=constraints, seed=self.seed, **options
        )
        searcher.tell(_records(space, trials, names))
        return searcher


class Parameters(SearchSpace):
    """Parameters of an Optuna study as choices; architectures are combinations of their values.

    Args:
        distributions: by name; the choices are in this order.
        max_options: integers and stepped floats of at most this many values keep them all.
        grid: how many evenly spaced values of a wider range are options.
    """

    name = "optuna"

    def __init__(self, distributions: Mapping[str, BaseDistribution], max_options: int = 32, grid: int = 16):
        self.distributions = dict(distributions)
        self.values = {name: _options(d, max_options, grid) for name, d in distributions.items()}
        self.choices = tuple(
            Choice(f"parameter {name}", tuple(repr(v) for v in values)) for name, values in self.values.items()
        )
        self.numbers = [j for j, d in enumerate(distributions.values()) if not isinstance(d, CategoricalDistribution)]

    def params(self, arch: Archs) -> dict[str, Any]:
        """The values that an architecture ``(d,)`` stands for, by name."""
        return {name: values[int(v)] for (name, values), v in zip(self.values.items(), arch, strict=True)}

    def row(self, params: Mapping[str, Any]) -> tuple[int, ...] | None:
        """The architecture nearest to these values; None where one is missing or no category of its parameter."""
        if not self.values.keys() <= params.keys():
            return None
        places = [_place(d, self.values[name], params[name]) for name, d in self.distributions.items()]
        return None if None in places else tuple(p for p in places if p is not None)

    def statics(self, archs: Archs, **options: Any) -> dict[str, NDArray[np.float64]]:
        """Where the value of each number stands in its range, 0 to 1, which tells models the order of its options."""
        return {self.choices[j].name: archs[:, j] / max(int(self.sizes[j]) - 1, 1) for j in self.numbers}

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        raise Unsupported("the parameters of an Optuna study are no network")


def _options(distribution: BaseDistribution, most: int, grid: int) -> list[Any]:
    """The values of one parameter that are proposed, in their order."""
    if isinstance(distribution, CategoricalDistribution):  # Optuna takes True and 1 for equal: the first of them
        return [v for i, v in enumerate(distribution.choices) if distribution.to_internal_repr(v) == i]
    if not isinstance(distribution, (IntDistribution, FloatDistribution)):
        raise Unsupported(f"NastkSampler takes categories, integers and floats; got {distribution}")
    low, high, step = distribution.low, distribution.high, distribution.step
    spaced = np.geomspace(low, high, grid) if distribution.log else np.linspace(low, high, grid)
    if step is None:
        return [min(max(float(v), low), high) for v in spaced]
    first, each = Decimal(str(low)), Decimal(str(step))  # 0.3, not 0.30000000000000004
    last = int((Decimal(str(high)) - first) // each)
    places = range(last + 1) if last < most else sorted({min(round((v - low) / step), last) for v in spaced.tolist()})
    kind = int if isinstance(distribution, IntDistribution) else float
    return [kind(first + place * each) for place in places]


def _place(distribution: BaseDistribution, options: Sequence[Any], value: Any) -> int | None:
    """The option nearest to a value, in the logarithm where the range is; None for an unknown category."""
    if isinstance(distribution, CategoricalDistribution):
        places = [distribution.to_internal_repr(option) for option in options]
        try:
            return places.index(distribution.to_internal_repr(value))
        except ValueError:
            return None
    scaled, wanted = np.array(options, dtype=np.float64), min(max(float(value), options[0]), options[-1])
    if getattr(distribution, "log", False):
        scaled, wanted = np.log(scaled), np.log(wanted)
    return int(np.argmin(np.abs(scaled - wanted)))


def _records(space: Parameters, trials: Sequence[FrozenTrial], names: Sequence[str]) -> list[Record]:
    """Results of each architecture: means over its completed trials, NaN where there are none.

    Args:
        space: of the architectures; a trial outside of it is ignored.
        trials: in their order.
        names: of the values of a trial; a further one is :data:`WORST`, unknown of a completed trial without.
    """
    scales = _scales(trials)
    found: dict[tuple[int, ...], list[list[float]]] = {}
    for trial in trials:
        row = space.row(trial.params)
        if row is None:
            continue
        completed = found.setdefault(row, [])
        if trial.state == TrialState.COMPLETE and trial.values is not None and np.isfinite(trial.values).all():
            excess = [np.clip(value / scales[name], -CLIPPED, CLIPPED) for name, value in trial.constraints.items()]
            completed.append([*trial.values, 1.0 + max(excess, default=np.nan)])
    records = []
    for row, completed in found.items():
        means = np.mean(completed, axis=0).tolist() if completed else [np.nan] * len(names)
        for name, value in zip(names, means, strict=False):
            if not completed:
                records.append(Record(row, name, value, status="failed"))
            elif np.isfinite(value):
                records.append(Record(row, name, value))
    return records


def _scales(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """The median magnitude of each constraint's values, by name; 1 where none is finite and other than 0."""
    values: dict[str, list[float]] = {}
    for trial in trials:
        for name, value in trial.constraints.items():
            values.setdefault(name, []).append(abs(value))
    known = {name: [v for v in found if 0 < v < np.inf] for name, found in values.items()}
    return {name: float(np.median(found)) if found else 1.0 for name, found in known.items()}


def _known_parameters(trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
    """Parameters known of a trial that is running or enqueued: as proposed, fixed by the user or set already."""
    noted = trial.system_attrs.get(PROPOSED, {})
    proposed = {name: search_space[name].to_external_repr(v) for name, v in noted.items() if name in search_space}
    return {**proposed, **trial.system_attrs.get("fixed_params", {}), **trial.params}


def _refuse(archs: Archs) -> NDArray[np.float64]:
    raise Unsupported("the objectives of an Optuna study are evaluated by its trials alone")
