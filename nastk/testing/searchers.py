"""Conformance kit of searchers: the contract of every searcher, third-party ones included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import signature
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.oracles.base import Direction, Evaluation, Oracle, exact
from nastk.predictors.base import FewShotPredictor, Predictor, Task
from nastk.search.base import Objective, Proposal, Searcher
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace

Make = Callable[..., Searcher]

RUNGS = (1.0, 3.0, 9.0)
"""Fidelities of the first toy objective, for searchers that need them."""
SPIED = "spied"
"""Device that is searched for where the kit tries to leak its values."""


class _Spy(Oracle):
    """A conflicting toy objective; if expensive, only the kit may evaluate it."""

    source = "toy"
    unit = ""

    def __init__(self, space: SearchSpace, number: int, direction: Direction, expensive: bool = True):
        self.space, self.name, self.direction, self.expensive = space, f"toy{number}", direction, expensive
        hot = int(space.sizes.sum())
        shared = np.random.default_rng(90).uniform(0.0, 1.0, hot)
        own = np.random.default_rng(91 + number).uniform(0.0, 1.0, hot)
        self._weights = own + (shared if number % 2 == 0 else 1.0 - shared)
        self._noise = np.random.default_rng(80 + number).uniform(0.0, 1.0, hot)
        self.open = False

    def cost(self, archs: Archs) -> NDArray[np.float64]:
        """The cost to minimise, for either direction; equal for isomorphic encodings."""
        return 1.0 + self.space.one_hot(self.space.canonical(archs)) @ self._weights

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        assert self.open or not self.expensive, "the searcher evaluates an expensive oracle itself; only the study may"
        cost = self.cost(archs)
        if fidelity is not None:
            assert fidelity in self.fidelities, f"the searcher asks for {fidelity}; fidelities are {self.fidelities}"
            off = self.space.one_hot(self.space.canonical(archs)) @ self._noise
            cost = cost + (1.0 - fidelity / self.fidelities[-1]) * off
        return exact(cost if self.direction == "min" else -cost)


class _Bench:
    """A searcher on toy objectives, with all its proposals and records."""

    def __init__(
        self,
        make: Make,
        space: SearchSpace,
        directions: Sequence[Direction],
        seed: int,
        budget: int,
        constraints: Sequence[str] = (),
        free: Sequence[int] = (),
    ):
        self.space = space
        self.oracles = {f"toy{i}": _Spy(space, i, d, i not in free) for i, d in enumerate(directions)}
        if needs_fidelities(make):
            self.oracles["toy0"].fidelities = RUNGS
        goals = [Objective.of(o) for o in self.oracles.values()]
        self.expensive = [o.name for o in goals if o.expensive]
        self.goals = {o.name: o for o in goals}
        self.staged = [name for name, o in self.oracles.items() if len(o.fidelities)]
        limits = dict.fromkeys(self.expensive, budget)
        self.searcher = make(space, goals, constraints=constraints, seed=seed, budget=limits)
        self.records: list[Record] = []

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Proposals, checked against the contract."""
        proposals = self.searcher.ask(n, pending)
        assert isinstance(proposals, list), f"ask returned a {type(proposals).__name__}, must be a list of Proposal"
        assert len(proposals) <= n, f"ask({n}) returned {len(proposals)} proposals"
        for p in proposals:
            assert isinstance(p, Proposal), f"ask returned a {type(p).__name__} among its proposals"
            arch = np.asarray(p.arch)
            assert arch.shape == (self.space.d,), f"a proposal has shape {arch.shape}, must be ({self.space.d},)"
            assert arch.dtype.kind in "iu", f"a proposal is {arch.dtype}, must be integers"
            within = ((arch >= 0) & (arch < self.space.sizes)).all() and self.space.is_valid(arch[None])[0]
            assert within, f"a proposal is not a member of the space: {arch.tolist()}"
            assert p.objectives, "a proposal names no objective"
            assert set(p.objectives) <= set(self.expensive), (
                f"a proposal names {sorted(set(p.objectives) - set(self.expensive))}; "
                f"expensive objectives are {self.expensive}"
            )
            assert len(set(p.objectives)) == len(p.objectives), "a proposal names an objective twice"
        asked = self.evaluations(proposals)
        assert len(set(asked)) == len(asked), "ask proposes a network twice (by canonical form)"
        known = {(self.space.keys(np.array([r.arch]))[0], r.objective, r.fidelity) for r in self.records}
        known |= set(self.evaluations(pending))
        assert not known & set(asked), "ask proposes a network that is told or pending already"
        return proposals

    def keys(self, proposals: Iterable[Proposal]) -> list[object]:
        archs = np.array([p.arch for p in proposals], dtype=np.int64).reshape(-1, self.space.d)
        return list(self.space.keys(archs))

    def evaluations(self, proposals: Sequence[Proposal]) -> list[tuple[object, str, float | None]]:
        """The evaluations in proposals: network, objective and fidelity."""
        keys = self.keys(proposals)
        return [(k, o, self.fidelity(p, o)) for p, k in zip(proposals, keys, strict=True) for o in p.objectives]

    def fidelity(self, proposal: Proposal, objective: str) -> float | None:
        return self.goals[objective].at(proposal.fidelity)

    def evaluate(
        self, arch: Archs, objectives: Iterable[str], failed: bool = False, fidelity: float | None = None
    ) -> list[Record]:
        row = tuple(int(v) for v in arch)
        records = []
        for name in objectives:
            oracle = self.oracles[name]
            oracle.open = True
            at = self.goals[name].at(fidelity)
            value = float("nan") if failed else float(oracle.evaluate(arch, at).value[0])
            oracle.open = False
            status: Literal["ok", "failed"] = "failed" if failed else "ok"
            records.append(Record(row, name, value, fidelity=at, status=status, reason="x" if failed else ""))
        return records

    def answer(self, proposal: Proposal, failed: bool = False) -> list[Record]:
        return self.evaluate(proposal.arch, proposal.objectives, failed, proposal.fidelity)

    def tell(self, records: Sequence[Record]) -> None:
        self.records += records
        self.searcher.tell(records)

    def told(self) -> Archs:
        """Architectures evaluated (at the target fidelity, if there are fidelities), in the order told."""
        records = [r for r in self.records if r.fidelity is None and (r.objective in self.staged or not self.staged)]
        return np.array(list(dict.fromkeys(r.arch for r in records)), dtype=np.int64).reshape(-1, self.space.d)

    def run(self, evaluations: int) -> list[tuple[list[int], float | None]]:
        """Ask and tell one by one; the architectures and fidelities in the order proposed."""
        rows: list[tuple[list[int], float | None]] = []
        for _ in range(10 * evaluations):
            proposals = self.ask(1)
            if not proposals or len(rows) == evaluations:
                break
            rows += as_rows(proposals[:1])
            self.tell(self.answer(proposals[0]))
        return rows

    def front(self, archs: Archs) -> set[object]:
        """Canonical keys of those on the true front; ties are all on it."""
        costs: NDArray[np.float64] = np.column_stack([o.cost(archs) for o in self.oracles.values()])
        others = costs[:, None]
        worse = np.all(others >= costs, axis=2) & np.any(others > costs, axis=2)
        return set(self.space.keys(archs[~np.any(worse, axis=1)]))

    def mean_cost(self, archs: Archs) -> float:
        return float(np.mean([o.cost(archs).mean() for o in self.oracles.values()]))


def as_rows(proposals: Sequence[Proposal]) -> list[tuple[list[int], float | None]]:
    return [([int(v) for v in p.arch], p.fidelity) for p in proposals]


def unbound(make: Make) -> Make:
    """A searcher's class without the options that are bound to it."""
    while isinstance(make, partial):
        make = make.func
    return make


def needs_fidelities(make: Make) -> bool:
    """Whether a searcher, as a class or with options bound to it, needs an objective with fidelities."""
    return bool(getattr(unbound(make), "needs_fidelities", False))


def check_searcher(
    make: Make,
    space: SearchSpace,
    objectives: int = 2,
    evaluations: int = 24,
    seed: int = 0,
) -> None:
    """Test the contract of :class:`nastk.Searcher`; raises AssertionError with the violation.

    Args:
        make: the class, or a callable that takes ``(space, objectives, constraints=, seed=, budget=)``. If it has a
            true attribute `needs_fidelities`, the first toy objective has fidelities.
        space: a small space that can be enumerated.
        objectives: of the toy problems; 1 for single-objective searchers.
        evaluations: of each of the about ten searches.
        seed: random seed.
    """
    evaluations = min(evaluations, len(set(space.keys(space.enumerate()))) // 2)
    directions: list[Direction] = ["min", "max", "min"][:objectives]  # type: ignore[assignment]

    def bench(**changes: object) -> _Bench:
        settings: dict[str, object] = {"directions": directions, "seed": seed, "budget": evaluations, **changes}
        where = settings.pop("space", space)
        return _Bench(make, where, **settings)  # type: ignore[arg-type]

    _check_capabilities(make)
    _check_leaks(make, space, directions, seed)
    _check_determinism(bench, evaluations)
    _check_batches(bench, evaluations)
    _check_failures(bench, evaluations)
    _check_state(bench, evaluations)
    _check_directions(bench, space, directions, seed, evaluations)
    _check_constraints(bench, space, evaluations, seed)
    _check_small_budgets(bench)
    _check_free(bench, objectives, evaluations)
    _check_exhaustion(bench, space, seed)
    if needs_fidelities(make):
        _check_fidelities(bench)


def _check_capabilities(make: Make) -> None:
    """What the class says that it takes is what its constructor takes."""
    made = unbound(make)
    if not (isinstance(made, type) and issubclass(made, Searcher)):
        return
    takes = signature(made).parameters
    reads = made.learns or made.reads_contexts
    for argument, attribute, said in (
        ("predictor", "learns", made.learns),
        ("contexts", "learns or reads_contexts", reads),
        ("trainings", "needs_fidelities", made.needs_fidelities),
        ("front_size", "thins_front", made.thins_front),
    ):
        assert said == (argument in takes), (
            f"{made.__name__}.{attribute} is {said}, but its constructor "
            f"{'takes' if argument in takes else 'does not take'} {argument!r}"
        )
    assert made.learns or not made.learns_few_shot, f"{made.__name__}.learns_few_shot without learns"


class _Knowing(FewShotPredictor):
    """A few-shot predictor that has learned from the device :data:`SPIED`."""

    def __init__(self, space: SearchSpace):
        self.source_space, self.devices_ = space, (SPIED,)

    def pretrain(self, tasks: Sequence[Task]) -> FewShotPredictor:
        return self

    def adapt(self, task: Task) -> Predictor:
        raise AssertionError("the searcher evaluated something before it refused a predictor that leaks")


class _Latencies:
    """Latencies on :data:`SPIED`, as a context holds them."""

    names = (SPIED,)

    def __call__(self, archs: Archs) -> NDArray[np.float64]:
        raise AssertionError("the searcher looked up latencies of the device that is searched for")


def _check_leaks(make: Make, space: SearchSpace, directions: Sequence[Direction], seed: int) -> None:
    """A searcher that learns refuses, when it is made, what has seen the device that is searched for."""
    if not getattr(unbound(make), "learns", False):
        return
    oracles = [_Spy(space, i, d) for i, d in enumerate(directions)]
    if needs_fidelities(make):
        oracles[0].fidelities = RUNGS
    for oracle in oracles:
        oracle.device = SPIED
    last = oracles[-1].name
    options: dict[str, dict[str, object]] = {
        "a predictor that learned from": {"predictor": {last: _Knowing(space)}},
        "a context with latencies of": {"contexts": {last: Context(latencies=_Latencies())}},
    }
    for what, given in options.items():
        refusal = ""
        try:
            make(space, oracles, seed=seed, budget={o.name: 10 for o in oracles}, **given)
        except InvalidValue as error:
            refusal = str(error)
        assert refusal, f"the searcher accepts {what} the device that is searched for; its values would leak"
        assert "leak" in refusal, f"the searcher refuses {what} the target device for another reason: {refusal}"


def _check_determinism(bench: Callable[..., _Bench], evaluations: int) -> None:
    first = bench()
    empty = first.searcher.recommend()
    assert empty.shape == (0, first.space.d), f"recommend before anything was told has shape {empty.shape}"
    rows = first.run(evaluations)
    assert len(rows) == evaluations, f"the searcher stopped after {len(rows)} of {evaluations} evaluations"
    assert bench().run(evaluations) == rows, "the same seed gives other proposals"
    if not first.searcher.estimate(first.space.sample(1, 0)):  # a model may choose the same for any seed
        others = [bench(seed=s).run(evaluations) for s in (1, 2)]
        assert any(o != rows for o in others), "the seed changes nothing"
    told = {tuple(int(v) for v in a) for a in first.told()}
    archs = first.searcher.recommend()
    assert len(archs), "recommend returned nothing after a search"
    assert len(first.space.distinct(archs)) == len(archs), "recommend returned a network twice"
    assert all(tuple(int(v) for v in a) in told for a in archs) or first.searcher.estimate(archs), (
        "recommend returned an architecture that was never evaluated"
    )


def _check_batches(bench: Callable[..., _Bench], evaluations: int) -> None:
    """Results of several proposals arrive late, in another order, one objective at a time."""
    one = bench()
    assert one.ask(0) == [], "ask(0) must return nothing"
    rng = np.random.default_rng(5)
    waiting: list[Proposal] = []
    done = 0
    while done < evaluations:
        waiting += one.ask(4, waiting)
        assert waiting, "ask returned nothing although most of the space is left"
        late = waiting.pop(int(rng.integers(len(waiting))))
        for record in reversed(one.answer(late)):
            one.tell([record])
        done += 1
    other = bench()
    unasked = other.space.sample(6, 3, unique=True)
    other.tell([r for a in unasked for r in other.evaluate(a, other.expensive)])
    other.run(4)


def _check_failures(bench: Callable[..., _Bench], evaluations: int) -> None:
    one = bench()
    failed: set[object] = set()
    done = 0
    for i in range(20 * evaluations):
        proposals = one.ask(1)
        if not proposals or done == evaluations:
            break
        bad = i < 4 or i % 3 == 0
        if bad:
            failed.update(one.keys(proposals))
        one.tell(one.answer(proposals[0], bad))
        done += 1
    assert done == evaluations, f"with failures the searcher stopped after {done} of {evaluations} evaluations"
    recommended = one.searcher.recommend()
    assert len(recommended), "recommend returned nothing after a search with failures"
    assert not failed & set(one.space.keys(recommended)), "recommend returned an architecture that failed"
    hopeless = bench()
    for _ in range(6):
        for proposal in hopeless.ask(1):
            hopeless.tell(hopeless.answer(proposal, True))
    assert not len(hopeless.searcher.recommend()), "recommend returned something although everything failed"


def _check_state(bench: Callable[..., _Bench], evaluations: int) -> None:
    for after in (1, evaluations // 2, evaluations - 1):
        one = bench()
        one.run(after)
        try:
            text = json.dumps(one.searcher.state())
        except (TypeError, ValueError) as error:
            raise AssertionError(f"state is not JSON: {error}") from error
        resumed = bench()
        resumed.tell(one.records)
        resumed.searcher.load_state(json.loads(text))
        expected = as_rows(one.ask(2))
        found = as_rows(resumed.ask(2))
        assert found == expected, f"resumed after {after} evaluations, the searcher proposes something else"
    bare = bench()
    bare.tell(one.records)
    bare.run(2)  # the search must also continue from a history without a state


def _check_directions(
    bench: Callable[..., _Bench], space: SearchSpace, directions: Sequence[Direction], seed: int, evaluations: int
) -> None:
    """The same costs, minimised or as negative values maximised, give the same front and the same search."""
    mirrored: list[Direction] = ["max" if d == "min" else "min" for d in directions]
    members = space.enumerate()
    _, first = np.unique(space.canonical(members), axis=0, return_index=True)
    distinct = members[np.sort(first)]
    archs = distinct[np.random.default_rng(seed).permutation(len(distinct))[: len(distinct) // 2]]
    proposals = []
    for these in (directions, mirrored):
        one = bench(directions=these)
        one.tell([r for a in archs for r in one.evaluate(a, one.expensive)])
        recommended = one.searcher.recommend()
        assert set(space.keys(recommended)) == one.front(archs), (
            f"told everything, recommend is not the non-dominated front (directions {', '.join(these)})"
        )
        learns = bool(one.searcher.estimate(archs[:1]))
        proposals.append(as_rows(one.ask(2)))
    assert learns or proposals[0] == proposals[1], "maximising the negative proposes something else than minimising"
    if learns:
        for direction in ("min", "max"):
            single = bench(directions=[direction])
            single.tell([r for a in archs for r in single.evaluate(a, single.expensive)])
            chosen = np.array([p.arch for p in single.ask(4)], dtype=np.int64).reshape(-1, space.d)
            if len(chosen):  # some methods propose every second one at random
                better = sorted(single.mean_cost(arch[None]) for arch in chosen)[: (len(chosen) + 1) // 2]
                average = single.mean_cost(members)
                assert np.mean(better) < average, f"to {direction}imise, it proposes worse than the average"


def _check_constraints(bench: Callable[..., _Bench], space: SearchSpace, evaluations: int, seed: int) -> None:
    oracle = next(iter(bench().oracles.values()))
    costs = np.sort(oracle.cost(space.enumerate()))
    bound = float(np.quantile(costs, 0.4))
    sign = 1.0 if oracle.direction == "min" else -1.0
    relation = "<=" if oracle.direction == "min" else ">="
    one = bench(constraints=[f"{oracle.name}{relation}{sign * bound:.9f}"])
    one.run(evaluations)
    told = one.told()
    found = one.searcher.recommend()
    assert len(found), "recommend returned nothing under a constraint"
    if (oracle.cost(told) <= bound).any():
        assert (oracle.cost(found) <= bound + 1e-6).all(), "recommend violates a constraint that others satisfy"
    never = bench(constraints=[f"{oracle.name}{relation}{sign * (costs[0] - 1.0):.9f}"])
    never.run(evaluations)
    told = never.told()
    least = never.searcher.recommend()
    assert len(least) == 1, f"if nothing is feasible, recommend must return one architecture; got {len(least)}"
    assert oracle.cost(least)[0] <= oracle.cost(told).min() + 1e-9, "recommend is not the least-violating architecture"


def _check_small_budgets(bench: Callable[..., _Bench]) -> None:
    for budget in (1, 2):
        one = bench(budget=budget)
        assert len(one.run(budget)) == budget, f"a budget of {budget} is not spent"
        assert len(one.searcher.recommend()), f"recommend returned nothing after a budget of {budget}"


def _check_free(bench: Callable[..., _Bench], objectives: int, evaluations: int) -> None:
    """The searcher evaluates a free objective itself and never proposes it."""
    if objectives < 2:
        return
    one = bench(free=[1])
    one.run(evaluations)
    known = one.told()
    found = set(one.space.keys(one.searcher.recommend()))
    assert found, "recommend returned nothing with a free objective"
    assert found <= one.front(known), "with a free objective, recommend is not non-dominated"


def _check_exhaustion(bench: Callable[..., _Bench], space: SearchSpace, seed: int) -> None:
    pool = Pool(space, space.sample(min(7, space.size), seed, unique=True))
    networks = set(pool.keys(pool.enumerate()))
    one = bench(space=pool, budget=100)
    met: set[object] = set()
    for _ in range(100):
        proposals = one.ask(3)
        if not proposals:
            break
        met.update(one.keys(proposals))
        for p in proposals:
            one.tell(one.answer(p))
    assert not proposals, "ask goes on although the space is exhausted"
    assert met == networks, f"ask stopped after {len(met)} of {len(networks)} networks"


def _check_fidelities(bench: Callable[..., _Bench]) -> None:
    """Architectures known only at a low fidelity are neither recommended nor proposed at that fidelity again."""
    one = bench()
    archs = one.space.sample(6, 3, unique=True)
    one.tell([r for a in archs for r in one.evaluate(a, one.expensive, fidelity=RUNGS[0])])
    assert not len(one.searcher.recommend()), "recommend returned an architecture known only at a low fidelity"
    for record in reversed([r for a in archs[:2] for r in one.evaluate(a, one.staged)]):
        one.tell([record])
    recommended = set(one.space.keys(one.searcher.recommend()))
    assert recommended <= one.front(archs[:2]), "recommend compares values of a low fidelity"
    one.run(10)
    low = [r.fidelity for r in one.records if r.objective in one.staged]
    assert set(low) > {None}, "every proposal is at the highest fidelity"
