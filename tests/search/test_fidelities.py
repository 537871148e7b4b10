"""Fidelities in searches: budgets, promotions, and their cost in a benchmark."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Epochs, Toy, accuracy, answers, evaluated, latency, low, oracle

import nastk
from nastk.bench import search as search_bench
from nastk.bench._journal import Journal
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.oracles.base import Oracle
from nastk.report.front import chart_of
from nastk.search.base import Objective, Proposal, Searcher
from nastk.search.mo_asha import MOASHA, crowding, epsilon_net
from nastk.search.multi_fidelity import MultiFidelitySearch
from nastk.search.random import RandomSearch
from nastk.search.successive_halving import SuccessiveHalving
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs
from nastk.study import Study
from nastk.testing import check_oracle, check_searcher

SPACE = Toy()
A, B, C = (0, 0, 0, 1), (1, 0, 0, 0), (1, 2, 0, 0)


# ---- what counts


def test_a_low_fidelity_never_enters_the_values_whatever_the_order() -> None:
    records = [low(A, 40.0), low(A, 60.0, 3.0), low(A, 80.0, 9.0), low(B, 50.0), low(A, 2.0, None, "latency")]
    for order in itertools.permutations(records):
        search = RandomSearch(SPACE, [Epochs(), oracle("latency")])
        search.tell(order)
        assert search.archs_.tolist() == [list(A)]
        assert search.values_.tolist() == [[80.0, 2.0]]
        assert search.recommend().tolist() == [list(A)]
        archs, fidelities, values = search.lower("accuracy")
        found = sorted((tuple(a.tolist()), f, v) for a, f, v in zip(archs, fidelities, values, strict=True))
        assert found == [(A, 1.0, 40.0), (A, 3.0, 60.0), (B, 1.0, 50.0)]


def test_an_architecture_known_at_a_low_fidelity_only_may_still_be_evaluated_in_full() -> None:
    search = RandomSearch(SPACE, [Epochs()])
    search.tell([low(A, float("nan")), low(B, 50.0)])
    assert len(search.complete()[0]) == len(search.recommend()) == len(search.archs_) == 0
    assert search.unseen(np.array([A, B])).tolist() == [0, 1]
    search.tell([low(A, 80.0, None)])
    assert search.recommend().tolist() == [list(A)], "a failed short training is no failure of the full one"


def test_the_target_is_the_objectives_then_the_oracles_then_the_highest() -> None:
    early = Epochs()
    early.fidelity = 3.0
    for objective, target in ((Objective("a", Epochs()), 9.0), (Objective("a", early), 3.0)):
        assert objective.target == target
        assert objective.is_target(None)
        assert objective.at(target) is objective.at(None) is None
        assert objective.at(1.0) == 1.0
    chosen = Objective("a", Epochs(), 3.0)
    assert (chosen.target, chosen.at(None), chosen.at(3.0), chosen.at(9.0)) == (3.0, 3.0, 3.0, 9.0)
    assert Objective.of(oracle("latency")).at(3.0) is None, "without fidelities it is evaluated as it stands"


def test_an_oracle_with_fidelities_answers_each_of_them() -> None:
    check_oracle(Epochs(), SPACE.sample(4, 0))
    broken = Epochs()
    broken.fidelities = (1.0, 2.0)
    broken.fidelity = 2.0
    broken._evaluate = lambda archs, fidelity: Epochs()._evaluate(archs, fidelity)  # type: ignore[method-assign]
    with pytest.raises(InvalidValue, match="got 2"):
        check_oracle(broken, SPACE.sample(4, 0))


# ---- the study


class Scripted(Searcher):
    """Proposes a given list."""

    def __init__(self, goals: Any, script: list[Proposal]):
        super().__init__(SPACE, goals)
        self.script = script

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        taken, self.script = self.script[:n], self.script[n:]
        return taken


def test_a_proposals_fidelity_is_of_the_objectives_that_have_some() -> None:
    both, arch = ("accuracy", "latency"), np.array(A)
    script = [Proposal(arch, both, f) for f in (1.0, 9.0, None, 1.0)]
    history = Study(Scripted([Epochs(), oracle("latency")], script), 10).run().history
    assert evaluated(history) == [(A, "accuracy", 1.0), (A, "latency", None), (A, "accuracy", None)]
    assert history.records()[0].value < history.records()[2].value == accuracy(np.array([A]))[0]


def test_an_objective_is_evaluated_and_shown_at_its_fidelity() -> None:
    result = nastk.search(SPACE, [Objective("accuracy", Epochs(), 3.0)], searcher="random", budget=5)
    assert {r.fidelity for r in result.history.records()} == {3.0}
    truth = Epochs().evaluate(result.front_archs, 3.0).value
    assert result.front["accuracy"].tolist() == truth.tolist()


def test_a_free_objective_is_asked_at_its_fidelity() -> None:
    free = Epochs()
    free.name, free.expensive = "early", False
    result = nastk.search(SPACE, [oracle("latency"), Objective("early", free, 1.0)], searcher="random", budget=5)
    assert result.searcher.values_[:, 1].tolist() == free.evaluate(result.searcher.archs_, 1.0).value.tolist()
    assert set(result.front["early"]) == set(free.evaluate(result.front_archs, 1.0).value)


def test_the_budget_counts_every_fidelity() -> None:
    script = [Proposal(np.array(a), ("accuracy",), f) for a in (A, B, C) for f in (1.0, 3.0)]
    history = Study(Scripted([Epochs()], script), 4).run().history
    assert evaluated(history) == [(a, "accuracy", f) for a in (A, B) for f in (1.0, 3.0)]


@pytest.mark.parametrize("searcher", ["successive-halving", "mo-asha"])
@pytest.mark.parametrize("after", [3, 17, 22, 29])
def test_an_interrupted_run_resumes_as_if_nothing_had_happened(tmp_path: Path, searcher: str, after: int) -> None:
    def goals(interrupt_after: int = 10**9) -> list[Oracle]:
        found: list[Oracle] = [Epochs(), oracle("latency")][: 1 + (searcher == "mo-asha")]
        found[0].interrupt_after = interrupt_after  # type: ignore[attr-defined]
        return found

    options: dict[str, Any] = {
        "searcher": searcher,
        "budget": dict.fromkeys(["accuracy", "latency"][: 1 + (searcher == "mo-asha")], 30),
        "batch": 4,
        "seed": 3,
    }
    whole = nastk.search(SPACE, goals(), **options)
    options["storage"] = f"sqlite:///{tmp_path}/run.db"
    with pytest.raises(KeyboardInterrupt):
        nastk.search(SPACE, goals(after), **options)
    resumed = nastk.search(SPACE, goals(), **options)
    assert evaluated(resumed.history) == evaluated(whole.history)
    assert resumed.history.counts()["accuracy"] == 30
    assert len({r.fidelity for r in resumed.history.records()}) == 3
    assert list(resumed.front["arch"]) == list(whole.front["arch"])


@pytest.mark.parametrize("searcher", [SuccessiveHalving, MOASHA])
def test_workers_evaluate_no_fidelity_before_the_one_below(searcher: type[Searcher]) -> None:
    goals = [Epochs(), oracle("latency")][: 1 + (searcher is MOASHA)]
    with ThreadPoolExecutor(4) as executor:
        made = searcher(SPACE, goals, seed=1, budget={o.name: 40 for o in goals})
        history = Study(made, executor=executor, workers=4).run().history
    order = [(r.arch, r.fidelity) for r in history.records() if r.objective == "accuracy"]
    assert len(order) == 40
    for place, (arch, fidelity) in enumerate(order):
        below = {3.0: 1.0, None: 3.0}.get(fidelity)
        assert below is None or (arch, below) in order[:place]
    top = {arch for arch, fidelity in order if fidelity is None}
    assert {tuple(a.tolist()) for a in made.recommend()} <= top


def test_pictures_and_fronts_show_full_trainings_alone() -> None:
    result = nastk.search(
        SPACE, [Epochs(), oracle("latency")], searcher="mo-asha", budget={"accuracy": 30, "latency": 30}
    )
    chart = chart_of(result)
    for point in [*chart.front, *chart.evaluated]:
        arch = SPACE.parse(point.arch)
        if "accuracy" in point.shown:
            assert point.shown["accuracy"].value == accuracy(np.array([arch]))[0]
    assert set(result.front["accuracy"]) == set(accuracy(result.front_archs))


# ---- successive halving


def halving(**options: Any) -> SuccessiveHalving:
    return SuccessiveHalving(SPACE, [Epochs()], **options)


def test_a_third_of_each_rung_is_promoted_and_then_a_new_bracket_starts() -> None:
    search = halving(population=9)
    rank = {}

    def value(arch: Archs) -> float:
        return rank.setdefault(arch.tobytes(), float([4, 8, 0, 6, 2, 7, 1, 5, 3][len(rank)]) if len(rank) < 9 else 0.0)

    first = search.ask(20)
    assert [p.fidelity for p in first] == [1.0] * 9
    search.tell(answers(first, value))
    second = search.ask(20)
    assert [rank[p.arch.tobytes()] for p in second] == [8, 7, 6]
    assert [p.fidelity for p in second] == [3.0] * 3
    search.tell(answers(second, lambda arch: -rank[arch.tobytes()]))
    third = search.ask(20)
    assert [(rank[p.arch.tobytes()], p.fidelity) for p in third] == [(6, 9.0)]
    assert len(search.recommend()) == 0
    search.tell(answers(third, lambda arch: 1.0))
    assert search.recommend().tolist() == [third[0].arch.tolist()]
    fresh = search.ask(20)
    assert [p.fidelity for p in fresh] == [1.0] * 9
    assert not {p.arch.tobytes() for p in fresh} & set(rank)


def test_nothing_is_promoted_before_its_rung_is_complete() -> None:
    search = halving(population=9)
    waiting = search.ask(20)
    rng = np.random.default_rng(0)
    while waiting:
        assert search.ask(4, waiting) == []
        search.tell(answers([waiting.pop(int(rng.integers(len(waiting))))]))
    two = search.ask(2)
    assert [p.fidelity for p in two] == [3.0, 3.0]
    one = search.ask(4, two)
    assert [p.fidelity for p in one] == [3.0]
    assert len({p.arch.tobytes() for p in two + one}) == 3
    search.tell(answers(two))
    assert search.ask(4, one) == []


@pytest.mark.parametrize(("budget", "plan"), [(24, (16, 6, 2)), (13, (9, 3, 1)), (3, (1, 1, 1)), (1, (0, 0, 1))])
def test_a_bracket_spends_the_budget(budget: int, plan: tuple[int, ...]) -> None:
    history = nastk.search(SPACE, [Epochs()], searcher="successive-halving", budget={"accuracy": budget}).history
    fidelities = [r.fidelity for r in history.records()]
    assert tuple(fidelities.count(f) for f in (1.0, 3.0, None)) == plan


def test_failures_are_never_promoted() -> None:
    search = halving(population=9)
    first = search.ask(9)
    search.tell(answers(first[:2]) + [low(p.arch, float("nan")) for p in first[2:]])
    second = search.ask(9)
    assert {p.arch.tobytes() for p in second} == {p.arch.tobytes() for p in first[:2]}
    search.tell([low(p.arch, float("nan"), 3.0) for p in second])
    assert {p.fidelity for p in search.ask(9)} == {1.0}
    assert len(search.recommend()) == 0


@pytest.mark.parametrize("make", [SuccessiveHalving, MOASHA])
def test_a_small_space_is_searched_to_its_end(make: type[Searcher]) -> None:
    pool = Pool(SPACE, SPACE.sample(7, 1, unique=True))
    networks = len(set(pool.keys(pool.enumerate())))
    goal = Epochs()
    goal.space = pool
    history = Study(make(pool, [goal], budget={"accuracy": 100})).run().history
    assert history.counts() == {"accuracy": 3 * networks}


def test_a_constrained_latency_is_evaluated_once_and_kept() -> None:
    goals = [Epochs(), oracle("latency")]
    result = nastk.search(
        SPACE, goals, searcher="successive-halving", constraints=["latency<=12"], budget={"accuracy": 30, "latency": 30}
    )
    started = [r for r in result.history.records() if r.fidelity == 1.0]
    assert result.history.counts() == {"accuracy": 30, "latency": len(started)}
    assert latency(result.front_archs).max() <= 12


def test_few_latencies_start_few_architectures() -> None:
    for searcher, more in (("mo-asha", []), ("successive-halving", ["latency<=12"])):
        goals = [Epochs(), oracle("latency")]
        budget = {"accuracy": 30, "latency": 6}
        history = nastk.search(SPACE, goals, searcher=searcher, constraints=more, budget=budget).history
        assert history.counts() == {"accuracy": 18, "latency": 6}, "all six reach the top, nothing else is started"


# ---- several objectives


def test_the_epsilon_net_takes_the_farthest_first() -> None:
    costs = np.array([[0.5, 0.5], [0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.8, 0.2]])
    assert epsilon_net(costs).tolist() == [1, 3, 0, 4, 2]
    assert epsilon_net(costs[:1]).tolist() == [0]


def test_crowding_takes_the_ends_and_then_the_least_crowded() -> None:
    costs = np.array([[0.5, 0.5], [0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.2, 0.8]])
    assert crowding(costs).tolist() == [1, 3, 0, 4, 2]


def told_to(search: MOASHA, points: list[tuple[float, float]]) -> list[Proposal]:
    """Start an architecture for each point, and tell its accuracy and latency."""
    waiting: list[Proposal] = []
    for _ in points:
        waiting += search.ask(1, waiting)
    assert {p.fidelity for p in waiting} == {1.0}
    for p, (a, t) in zip(waiting, points, strict=True):
        search.tell([low(p.arch, t, None, "latency")])
        search.tell([low(p.arch, a)])
    return waiting


def test_the_first_front_is_promoted_spread_out_then_the_second() -> None:
    search = MOASHA(SPACE, [Epochs(), oracle("latency")])
    points = [(90.0, 9.0), (89.0, 8.9), (50.0, 1.0), (70.0, 5.0), (60.0, 9.5), (49.0, 1.5), (40.0, 9.9), (30.0, 9.9)]
    started = told_to(search, [*points, (20.0, 9.95)])
    promoted = search.ask(3)
    places = [next(i for i, s in enumerate(started) if s.arch.tobytes() == p.arch.tobytes()) for p in promoted]
    assert places == [0, 2, 3], "the most accurate, the farthest from it, the farthest from both"
    assert [(p.objectives, p.fidelity) for p in promoted] == [(("accuracy",), 3.0)] * 3
    assert [p.fidelity for p in search.ask(1, promoted)] == [1.0], "a third is pending above: a new one starts"
    crowded = MOASHA(SPACE, [Epochs(), oracle("latency")], constraints=["latency<=8.95"], ranking="crowding")
    started = told_to(crowded, [*points, (20.0, 9.95)])
    places = [next(i for i, s in enumerate(started) if s.arch.tobytes() == p.arch.tobytes()) for p in crowded.ask(3)]
    assert set(places) == {1, 2, 3}, "infeasible architectures come last"


def test_promotion_does_not_wait_and_counts_failures() -> None:
    search = MOASHA(SPACE, [Epochs()])
    waiting: list[Proposal] = []
    for _ in range(5):
        waiting += search.ask(1, waiting)
    failed, good, fair, *rest = waiting
    search.tell([low(failed.arch, float("nan")), low(fair.arch, 40.0)])
    assert {p.fidelity for p in search.ask(2, [good, *rest])} == {1.0}
    search.tell([low(good.arch, 80.0)])
    (promoted,) = search.ask(1, rest)
    assert promoted.arch.tolist() == good.arch.tolist()
    assert promoted.fidelity == 3.0
    (other,) = search.ask(1, [*rest, promoted])
    assert other.fidelity == 1.0
    assert other.arch.tobytes() not in {p.arch.tobytes() for p in waiting}


def test_a_pending_latency_holds_back_its_architecture() -> None:
    search = MOASHA(SPACE, [Epochs(), oracle("latency")])
    first = search.ask(3)
    search.tell([low(p.arch, 50.0 + i) for i, p in enumerate(first)])
    assert {p.fidelity for p in search.ask(2, first)} == {1.0}
    search.tell([low(p.arch, 5.0, None, "latency") for p in first])
    assert search.ask(1)[0].arch.tolist() == first[2].arch.tolist()


def test_results_decide_and_not_their_order() -> None:
    archs = SPACE.enumerate()[::5]
    truth = Epochs()
    records = [low(a, float(truth.evaluate(a, 1.0).value[0])) for a in archs]
    records += [low(a, float(latency(a[None])[0]), None, "latency") for a in archs]
    chosen = []
    for seed in range(3):
        search = MOASHA(SPACE, [Epochs(), oracle("latency")])
        search.tell([records[i] for i in np.random.default_rng(seed).permutation(len(records))])
        chosen.append({p.arch.tobytes() for p in search.ask(5)})
    assert chosen[0] == chosen[1] == chosen[2]


# ---- budgets in full trainings


@pytest.mark.parametrize(("searcher", "trainings"), [("successive-halving", 10), ("mo-asha", 10), ("mo-asha", 1)])
def test_full_trainings_are_never_exceeded(searcher: str, trainings: int) -> None:
    goals = [Epochs(), oracle("latency")][: 1 + (searcher == "mo-asha")]
    history = nastk.search(SPACE, goals, searcher=searcher, trainings=trainings, batch=3).history
    cost = sum((r.fidelity or 9.0) / 9.0 for r in history.records() if r.objective == "accuracy")
    assert trainings - 1.0 < cost <= trainings + 1e-6
    assert any(r.fidelity is None for r in history.records() if r.objective == "accuracy")


# ---- what cannot be


@pytest.mark.parametrize(
    ("goals", "options", "message"),
    [
        ([oracle("latency")], {}, "latency has none"),
        ([Objective("accuracy", Epochs(), 1.0)], {}, "accuracy has 1$"),
        ([Epochs()], {"rungs": [1.0, 3.0]}, "the last 9"),
        ([Epochs()], {"rungs": [2.0, 9.0]}, "no fidelity 2; there are 1, 3, 9"),
        ([Epochs()], {"eta": 1}, "more than 1"),
        ([Epochs()], {"trainings": 0}, "above 0"),
    ],
)
def test_searches_that_cannot_be_halved_are_refused_in_one_line(goals: Any, options: Any, message: str) -> None:
    for make in (SuccessiveHalving, MOASHA, MultiFidelitySearch):
        with pytest.raises(InvalidValue, match=message) as caught:
            make(SPACE, goals, **options)
        assert "\n" not in str(caught.value)


def test_rungs_are_an_eta_apart_unless_they_are_named() -> None:
    many = Epochs()
    many.fidelities = (1.0, 2.0, 3.0, 4.0, 9.0)
    assert SuccessiveHalving(SPACE, [many]).rungs == (1.0, 3.0, 9.0)
    assert SuccessiveHalving(SPACE, [many], eta=2).rungs == (1.0, 2.0, 4.0, 9.0)
    assert SuccessiveHalving(SPACE, [many], eta=100).rungs == (1.0, 9.0)
    assert SuccessiveHalving(SPACE, [many], rungs=[2, 9]).rungs == (2.0, 9.0)


class RecommendsTheBriefly(SuccessiveHalving):
    def recommend(self) -> Archs:
        archs, _, values = self.lower(self.staged[0])
        return super().recommend() if len(self.archs_) else archs[np.isfinite(values)][:1]


class MixesFidelities(SuccessiveHalving):
    def tell(self, records: Any) -> None:
        super().tell([Record(r.arch, r.objective, r.value, status=r.status) for r in records])


class AsksAgain(SuccessiveHalving):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        archs = self.lower(self.staged[0])[0]
        return [Proposal(a, self.staged, 1.0) for a in archs[:n]] or super()._ask(n, pending, rng)


class OtherFidelities(SuccessiveHalving):
    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(p.arch, p.objectives, 2.0) for p in super()._ask(n, pending, rng)]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (RecommendsTheBriefly, "low fidelity|never evaluated"),
        (MixesFidelities, "low fidelity|never evaluated|stopped"),
        (AsksAgain, "told or pending"),
        (OtherFidelities, "asks for 2"),
    ],
)
def test_the_kit_finds_broken_searchers_of_fidelities(broken: type[Searcher], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_searcher(broken, SPACE, objectives=1)


# ---- the benchmark


@pytest.mark.data
def test_a_benchmark_evaluates_short_trainings_and_counts_full_ones(nastk_home: object, tmp_path: Path) -> None:
    journal = tmp_path / "runs.jsonl"
    found = search_bench.compare(
        dataset="cifar10", searchers=["random", "successive-halving"], budget=12, seeds=2, workers=1,
        objectives=["test_accuracy"], journal=journal,
    )  # fmt: skip
    (problem,) = found.problems
    plain, staged = (found.traces[problem, name, 0] for name in found.searchers)
    assert plain.cost.tolist() == list(range(1, 13))
    started, full = 30, 10  # 30 of 12 epochs and 10 of 200 are 11.8 trainings; 31 and 11 would be 12.86
    assert staged.cost.tolist() == pytest.approx([started * 12 / 200 + i + 1 for i in range(full)])
    assert found.staged
    assert np.isnan(found.values("regret", "successive-halving", problem, 2)).all()
    assert found.values("evaluations_to_best", "random", problem, 12).tolist() == [np.inf, np.inf]
    lines = journal.read_text().splitlines()
    old = json.loads(lines[0])
    del old["cost"]
    journal.write_text("\n".join([json.dumps(old), *lines[1:]]) + "\n")
    read = Journal(journal, search_bench._written, search_bench._read)
    assert len(read) == len(lines) - 1, "a line without costs is not read"


@pytest.mark.data
def test_a_benchmark_refuses_fidelities_that_do_not_exist(nastk_home: object) -> None:
    with pytest.raises(InvalidValue, match="val_accuracy has 12"):
        search_bench.compare(
            dataset="cifar10", searchers=["successive-halving"], budget=5, seeds=1, objectives=["val_accuracy"]
        )
