"""The base of searchers, the conformance kit over every registered one, and broken ones that the kit must find."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy import Toy, latency, objectives, oracle

from nastk.encodings.base import Context
from nastk.errors import DataWarning, InvalidValue, UnknownName
from nastk.evaluation import Record
from nastk.oracles.base import FunctionOracle
from nastk.predictors.base import Prediction
from nastk.registry import SEARCHERS
from nastk.search._single import SingleObjective
from nastk.search._surrogate import Learner
from nastk.search.base import Constraint, Objective, Proposal, Searcher
from nastk.search.optuna import SAMPLERS
from nastk.search.pareto_local_search import ParetoLocalSearch
from nastk.search.pymoo import ALGORITHMS
from nastk.search.random import RandomSearch
from nastk.search.scalarised import SCALARISATIONS
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace
from nastk.testing import check_searcher

SPACE = Toy()
POOL = Pool(SPACE, SPACE.sample(40, 1, unique=True))

# ---- the kit over everything


class _Proxies:
    """Three noisy views of the toy's choices."""

    names = ("jacov", "snip", "synflow")

    def __call__(self, archs: Archs) -> Any:
        weights = np.random.default_rng(0).uniform(0, 1, (int(SPACE.sizes.sum()), 3))
        return SPACE.one_hot(SPACE.canonical(archs)) @ weights


CHEAP: dict[str, dict[str, Any]] = {
    "predictor": {"predictor": "ridge", "start": 4, "directions": 32, "draws": 4},
    "multi-fidelity": {"predictor": "ridge", "start": 2},
    "modnas": {"steps": 30, "rays": 6, "every": 6},
    "nsganetv2": {"population": 6, "generations": 2},
    "ofa2": {"population": 6, "generations": 3},
    **{f"scalarised:{name}": {"predictor": "ridge"} for name in SCALARISATIONS},
    "zero-cost": {"contexts": {"toy0": Context(proxies=_Proxies())}},
}
DEAR = {"bananas", "mo-bananas", "npenas", "optuna:tpe"}
"""They take a second or so a proposal once they learn, which is after ten evaluations."""


def everyone() -> list[Any]:
    cases = []
    for name in SEARCHERS.names():
        families = {
            "pymoo:<algorithm>": ALGORITHMS,
            "optuna:<sampler>": SAMPLERS,
            "scalarised:<scalarisation>": SCALARISATIONS,
        }
        for full in [name.partition(":")[0] + f":{a}" for a in families[name]] if name in families else [name]:
            made = SEARCHERS.get(full)
            kind = made if isinstance(made, type) else object
            single = full in ("pymoo:ga", "optuna:cma-es") or issubclass(kind, SingleObjective)
            learns = issubclass(kind, Learner)
            options = {"population": 4} if full.startswith("pymoo:") else {"predictor": "ridge"} if learns else {}
            options |= CHEAP.get(full, {})
            goals = 1 if single else 2
            evaluations = 8 if full in ("predictor", "optuna:gp", "qlognehvi", "smac") else 14 if full in DEAR else 24
            packages = {"pymoo:age-moea2": "numba", "optuna:cma-es": "cmaes", "qlognehvi": "botorch", "smac": "smac"}
            needs = packages.get(full)
            missing = needs is not None and find_spec(needs) is None
            marks = [pytest.mark.skip(f"{needs} is not installed")] if missing else []
            marks += [pytest.mark.long] if full in ("qlognehvi", "smac") else []
            make = partial(SEARCHERS.get(full), **options)
            cases.append(pytest.param(make, goals, evaluations, id=full, marks=marks))
    return cases


@pytest.mark.parametrize("space", [SPACE, POOL], ids=lambda s: s.name)
@pytest.mark.parametrize(("make", "goals", "evaluations"), everyone())
def test_every_searcher_keeps_the_contract(
    make: Callable[..., Searcher], goals: int, evaluations: int, space: SearchSpace
) -> None:
    check_searcher(make, space, objectives=goals, evaluations=evaluations)


@pytest.mark.parametrize("make", [RandomSearch, ParetoLocalSearch, partial(SEARCHERS.get("pymoo:nsga3"), population=6)])
def test_three_objectives(make: Callable[..., Searcher]) -> None:
    check_searcher(make, SPACE, objectives=3)


@pytest.mark.parametrize("make", [RandomSearch, ParetoLocalSearch])
def test_one_objective(make: Callable[..., Searcher]) -> None:
    check_searcher(make, SPACE, objectives=1)


def test_a_suggestion_that_is_no_member_becomes_the_nearest_new_one() -> None:
    searcher = RandomSearch(POOL, [oracle("accuracy")])
    rng = np.random.default_rng(0)
    outside = next(a for a in SPACE.enumerate() if not POOL.is_valid(a[None])[0])
    pending, distances = POOL.members[:0], []
    for _ in range(len(POOL.members)):
        found = searcher.nearest_new(outside, pending, rng)
        if not len(found):
            break
        distances.append(int((found[0] != outside).sum()))
        pending = np.concatenate([pending, found])
    assert distances == sorted(distances)
    assert distances[0] == (POOL.members != outside).sum(axis=1).min()
    assert len(distances) == len(set(POOL.keys(POOL.members)))


def test_optuna_proposes_the_member_nearest_to_its_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = next(a for a in SPACE.enumerate() if not POOL.is_valid(a[None])[0])
    asked = []

    class Study:
        def ask(self, distributions: Any) -> Any:
            asked.append(distributions)
            return SimpleNamespace(params={str(j): int(v) for j, v in enumerate(outside)})

        def tell(self, trial: Any, state: Any) -> Any:
            return SimpleNamespace(system_attrs={})

    searcher = SEARCHERS.get("optuna:tpe")(POOL, [oracle("accuracy")])
    monkeypatch.setattr(type(searcher), "_study", lambda self, rng: Study())
    (proposal,) = searcher.ask(1)
    assert (proposal.arch != outside).sum() == (POOL.members != outside).sum(axis=1).min()
    assert len(asked) == 1, "another suggestion would hardly be a member either"


# ---- broken searchers


class Broken(RandomSearch):
    """Random search, to be broken in one way."""


class Repeats(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(a, self.expensive) for a in self.space.sample(n, rng)]


class RepeatsEqualNetworks(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        known = {a.tobytes() for a in np.concatenate([self.archs_, pending])}
        rest = [a for a in self.space.enumerate() if a.tobytes() not in known]
        return [Proposal(a, self.expensive) for a in rng.permutation(rest)[:n]]


class IgnoresPending(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return super()._ask(n, pending[:0], np.random.default_rng([self.seed, len(self.archs_)]))


class TooMany(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return super()._ask(n + 1, pending, rng)


class OutOfRange(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(p.arch + 2, p.objectives) for p in super()._ask(n, pending, rng)]


class NotInThePool(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal((p.arch + 1) % 3, p.objectives) for p in super()._ask(n, pending, rng)]


class Floats(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(p.arch.astype(float), p.objectives) for p in super()._ask(n, pending, rng)]


class WrongNames(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(p.arch, ("energy",)) for p in super()._ask(n, pending, rng)]


class PaysForFree(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        every = tuple(o.name for o in self.objectives)
        return [Proposal(p.arch, every) for p in super()._ask(n, pending, rng)]


class Peeks(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        proposals = super()._ask(n, pending, rng)
        for p in proposals:
            self.objectives[0].oracle(p.arch)
        return proposals


class Unseeded(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return super()._ask(n, pending, np.random.default_rng())


class SeedBlind(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return super()._ask(n, pending, np.random.default_rng(len(self.archs_)))


class Forgets(Broken):
    """Draws from a generator of its own, which `state` does not save."""

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        self._own = getattr(self, "_own", np.random.default_rng(self.seed))
        return super()._ask(n, pending, self._own)


class StateNotJson(Broken):
    def state(self) -> dict[str, Any]:
        return {**super().state(), "archs": self.archs_}


class GivesUp(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return super()._ask(n, pending, rng) if len(self.archs_) < 10 else []


class NeverEnds(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return super()._ask(n, pending, rng) or [Proposal(a, self.expensive) for a in self.space.sample(min(n, 1), rng)]


class StopsAtFailure(Broken):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [] if np.isnan(self.values_).any() else super()._ask(n, pending, rng)


class RecommendsFailures(Broken):
    def recommend(self) -> Archs:
        failed = np.isnan(self.values_).any(axis=1)
        return np.concatenate([super().recommend(), self.archs_[failed]])


class RecommendsEverything(Broken):
    def recommend(self) -> Archs:
        return self.complete()[0]


class RecommendsTheUnpaid(Broken):
    def recommend(self) -> Archs:
        return self.space.enumerate()[:1] if len(self.archs_) else self.archs_


class NeedsItsStart(Broken):
    def recommend(self) -> Archs:
        return super().recommend() if len(self.archs_) >= 5 else self.archs_[:0]


class MinimisesAll(Broken):
    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.signs = np.abs(self.signs)


class ClimbsTheWrongWay(ParetoLocalSearch):
    """Considers directions when it recommends, not when it moves."""

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        kept, self.signs = self.signs, np.abs(self.signs)
        try:
            return super()._ask(n, pending, rng)
        finally:
            self.signs = kept


class LearnsTheWrongWay(Broken):
    """A model of one objective that always picks the lowest prediction."""

    def estimate(self, archs: Archs) -> dict[str, Prediction]:
        names = [o.name for o in self.objectives if o.expensive]
        mean = latency(archs)
        return {n: Prediction(mean, np.zeros(len(archs))) for n in names} if len(self.archs_) > 1 else {}

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        if len(self.values_) < 12 or len(self.objectives) > 1:
            return super()._ask(n, pending, rng)
        rest = self.space.enumerate()
        rest = rest[self.unseen(rest, pending)]
        known = self.space.one_hot(self.archs_)
        weights = np.linalg.lstsq(known, self.values_[:, 0], rcond=None)[0]
        return [Proposal(a, self.expensive) for a in rest[np.argsort(self.space.one_hot(rest) @ weights)][:n]]


class IgnoresConstraints(Broken):
    def violation(self, values: Any) -> Any:
        return np.zeros(len(values))


BROKEN = {
    Repeats: "told or pending already|twice",
    RepeatsEqualNetworks: "told or pending already|twice",
    IgnoresPending: "told or pending already",
    TooMany: r"ask\(1\) returned 2",
    OutOfRange: "not a member",
    NotInThePool: "not a member",
    Floats: "must be integers",
    WrongNames: "energy",
    PaysForFree: "toy1",
    Peeks: "only the study may",
    Unseeded: "same seed",
    SeedBlind: "seed changes nothing",
    Forgets: "resumed",
    StateNotJson: "JSON",
    GivesUp: "stopped after 10",
    NeverEnds: "told or pending already|exhausted",
    StopsAtFailure: "with failures",
    RecommendsFailures: "failed",
    RecommendsEverything: "non-dominated|constraint",
    RecommendsTheUnpaid: "never evaluated",
    NeedsItsStart: "returned nothing",
    MinimisesAll: "non-dominated",
    ClimbsTheWrongWay: "maximising",
    LearnsTheWrongWay: "worse than the average",
    IgnoresConstraints: "constraint",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda c: c.__name__)
def test_the_kit_finds_broken_searchers(broken: type[Searcher]) -> None:
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_searcher(broken, POOL if broken is NotInThePool else SPACE)


# ---- objectives and constraints


@pytest.mark.parametrize(
    ("text", "bound"),
    [("latency<=10", 10.0), (" latency >= 1e-3", 1e-3), ("latency<=-.5", -0.5), ("latency<=+3", 3.0)],
)
def test_constraints_are_read(text: str, bound: float) -> None:
    assert Constraint.parse(text).bound == bound
    assert Constraint.parse(str(Constraint.parse(text))) == Constraint.parse(text)


@pytest.mark.parametrize(
    "text", ["latency", "latency<10", "latency<=", "latency<=ten", "<=10", "latency=<10", "a<=1<=2"]
)
def test_other_texts_are_no_constraints(text: str) -> None:
    with pytest.raises(InvalidValue, match="latency<=10"):
        Constraint.parse(text)


def test_a_constraint_on_something_else_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'latency'"):
        RandomSearch(SPACE, objectives(), constraints=["latenzy<=10"])


@pytest.mark.parametrize(("text", "meant"), [("accuracy>=0.9", "accuracy>=90"), ("accuracy<=1", "accuracy<=100")])
def test_a_fraction_as_bound_of_percentages_is_named(text: str, meant: str) -> None:
    of = FunctionOracle(SPACE, lambda archs: archs.sum(axis=1), "accuracy", "%", "max")
    with pytest.warns(DataWarning, match=f"accuracy is in %; .* Is {meant} meant?"):
        RandomSearch(SPACE, [of], constraints=[text])


@pytest.mark.filterwarnings("error")
def test_other_bounds_pass_in_silence() -> None:
    of = FunctionOracle(SPACE, lambda archs: archs.sum(axis=1), "accuracy", "%", "max")
    RandomSearch(
        SPACE, [of, FunctionOracle(SPACE, latency, "latency", "ms")], constraints=["accuracy>=90", "latency<=0.9"]
    )


def test_violation_is_in_units_of_the_bound() -> None:
    search = RandomSearch(SPACE, objectives(), constraints=["accuracy>=80", "latency<=10"])
    values = np.array([[80.0, 10.0], [60.0, 5.0], [90.0, 15.0], [40.0, 20.0]])
    assert search.violation(values).tolist() == [0.0, 0.25, 0.5, 1.5]


def test_a_search_needs_objectives() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        RandomSearch(SPACE, [])


# ---- what was told


def told(*records: Record) -> RandomSearch:
    search = RandomSearch(SPACE, objectives())
    search.tell(records)
    return search


def test_an_architecture_is_complete_when_every_objective_is_known() -> None:
    a, b = (0, 0, 0, 1), (1, 0, 0, 0)
    search = told(Record(a, "latency", 2.0), Record(b, "accuracy", 70.0), Record(a, "other", 9.0))
    assert search.archs_.tolist() == [list(a), list(b)]
    assert np.array_equal(search.values_, [[np.nan, 2.0], [70.0, np.nan]], equal_nan=True)
    assert len(search.recommend()) == 0
    search.tell([Record(a, "accuracy", 65.0)])
    assert search.values_.tolist()[0] == [65.0, 2.0]
    assert search.recommend().tolist() == [list(a)]


def test_what_was_told_cannot_be_changed_from_outside() -> None:
    search = told(Record((0, 0, 0, 1), "latency", 2.0))
    with pytest.raises(ValueError, match="read-only"):
        search.values_[0, 0] = 1.0


def test_many_records_are_kept() -> None:
    archs = SPACE.enumerate()
    search = RandomSearch(SPACE, [oracle("accuracy"), oracle("latency", expensive=False)])
    for i, arch in enumerate(archs):
        search.tell([Record(tuple(arch.tolist()), "accuracy", float(i))])
    assert np.array_equal(search.archs_, archs)
    assert np.array_equal(search.values_[:, 0], np.arange(81.0))
    assert np.array_equal(search.values_[:, 1], latency(archs))


def test_unseen_knows_isomorphic_networks() -> None:
    search = told(Record((0, 2, 0, 1), "latency", 2.0))
    archs = np.array([[0, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1], [1, 2, 0, 1], [0, 0, 0, 0]])
    assert search.unseen(archs).tolist() == [1, 3, 4]
    assert search.unseen(archs, pending=np.array([[0, 2, 0, 0]])).tolist() == [1, 3]


def test_an_objective_keeps_its_oracles_direction() -> None:
    objective = Objective.of(oracle("accuracy"))
    assert (objective.direction, objective.sign, objective.expensive, objective.unit) == ("max", -1.0, True, "%")
