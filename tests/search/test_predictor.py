"""The predictor searcher: evaluations, proposals, and that it beats random search."""

from __future__ import annotations

from typing import Any

import failing
import numpy as np
import pytest
from toy import Toy, objectives, oracle

import nastk
from nastk.data.nasbench201 import SOURCE_DEVICES
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, UnknownName
from nastk.evaluation import Record
from nastk.metrics import ModnasProtocol, hypervolume, nondominated
from nastk.oracles.counts import Flops
from nastk.oracles.table import CountingOracle, benchmark
from nastk.predictors._adapted_latency import AdaptedLatency
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.predictors.ridge import Ridge
from nastk.search.candidates import best_encodings
from nastk.search.defaults import default_predictor
from nastk.search.predictor import (
    ALONE,
    ENCODINGS,
    EXPLORATION,
    LIVE_MUTANTS,
    LIVE_POOL,
    OPTIMISM_DECAY,
    OPTIMISM_START,
    PATIENCE,
    PATIENCE_RISE,
    PRIOR_EXPLORATION,
    PRIOR_FRONT_START,
    START,
    PredictorSearch,
)


def _quality(space: nastk.SearchSpace) -> nastk.FunctionOracle:
    weight = np.random.default_rng(1).uniform(0, 1, int(space.sizes.sum()))
    return nastk.FunctionOracle(space, lambda a: 50 + np.sqrt(space.one_hot(a) @ weight), "quality", "%", "max")


def _time(space: nastk.SearchSpace) -> nastk.FunctionOracle:
    weight = np.random.default_rng(2).uniform(0, 1, int(space.sizes.sum()))
    return nastk.FunctionOracle(space, lambda a: 1 + space.one_hot(a) @ weight, "latency", "ms")


def test_few_shot_objectives_get_their_measurements_and_the_others_the_budget() -> None:
    space = nastk.space("nasbench201")
    few = FewShotGP()
    result = nastk.search(
        space, [_quality(space), _time(space)], predictor={"latency": few, "quality": "ridge"}, budget=14,
        measurements=6, batch=4,
    )  # fmt: skip
    assert result.history.counts() == {"latency": 6, "quality": 14}
    first = [r.objective for r in result.history.records()][:4]
    assert first == ["latency"] * 4, "the design is measured first"
    evaluated = {r.arch for r in result.history.records() if r.objective == "quality"}
    assert {tuple(a) for a in result.front_archs.tolist()} <= evaluated
    assert {"predicted", "measured"} >= set(result.front["latency_source"])


def test_with_free_accuracy_only_latencies_are_evaluated_and_the_whole_space_is_the_pool() -> None:
    space = nastk.space("nasbench201")
    quality = _quality(space)
    quality.expensive = False
    result = nastk.search(space, [quality, _time(space)], predictor=FewShotGP(), measurements=8, front_size=9)
    assert result.history.counts() == {"latency": 8}
    assert 2 <= len(result.front) <= 9
    assert (result.front["quality_source"] != "predicted").all()


def _by_encoding(space: nastk.SearchSpace, latency_of_encodings: float) -> list[nastk.FunctionOracle]:
    """An accuracy of the network and a latency that differs by `latency_of_encodings` between its encodings."""
    weight = np.random.default_rng(1).uniform(0, 1, int(space.sizes.sum()))

    def quality(archs: np.ndarray) -> np.ndarray:
        return 50 + np.sqrt(space.one_hot(space.canonical(archs)) @ weight)

    def latency(archs: np.ndarray) -> np.ndarray:
        chance = (archs @ (7 ** np.arange(6)) % 101) / 101  # of the row alone
        return 5 + space.one_hot(archs) @ weight + latency_of_encodings * chance

    return [
        nastk.FunctionOracle(space, quality, "quality", "%", "max", per_network=True),
        nastk.FunctionOracle(space, latency, "latency", "ms"),
    ]


class Live:
    """Proxies that are computed on networks: the true quality; which networks were asked for is remembered."""

    live = True
    names = ("good",)

    def __init__(self, quality: nastk.FunctionOracle):
        self.quality, self.asked = quality, set[bytes]()

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        self.asked.update(row.tobytes() for row in np.asarray(archs))
        return self.quality(archs)[:, None]


def test_proxies_that_take_time_are_computed_for_few_networks() -> None:
    space = nastk.space("nasbench201")
    live = Live(_quality(space))
    nastk.search(space, [_quality(space)], predictor="gp-bma", budget=14, contexts={"quality": Context(proxies=live)})
    assert len(live.asked) <= LIVE_POOL + 40 + 14 * (LIVE_MUTANTS + 1)


def test_isomorphic_encodings_are_proposed_where_few_measurements_leave_it_open_which_is_faster() -> None:
    space = nastk.space("nasbench201")
    found = {}
    for name, predictor in (("few-shot", FewShotGP()), ("ridge", "ridge")):
        goals = _by_encoding(space, 2.0)
        asked = CountingOracle(goals[0])
        result = nastk.search(
            space, [asked, goals[1]], predictor={"quality": "gp", "latency": predictor}, budget=40, batch=4
        )
        evaluated = np.array([r.arch for r in result.history.records() if r.objective == "quality"])
        networks = len(set(space.keys(evaluated)))
        assert len(np.unique(evaluated, axis=0)) == len(evaluated)
        assert asked.count == networks, "an isomorphic encoding needs no training"
        found[name] = len(evaluated) - networks
    assert found["few-shot"] > 0
    assert found["ridge"] == 0


def test_rows_that_build_the_same_network_are_not_proposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    space = nastk.space("nasbench201")
    monkeypatch.setattr(space, "forms_differ", False)
    goals = _by_encoding(space, 2.0)
    result = nastk.search(space, goals, predictor={"quality": "gp", "latency": FewShotGP()}, budget=25, batch=4)
    evaluated = np.array([r.arch for r in result.history.records() if r.objective == "quality"])
    assert len(set(space.keys(evaluated))) == len(evaluated) == 25


def test_the_best_few_encodings_of_each_network_are_compared() -> None:
    rng = np.random.default_rng(0)
    networks, gain = rng.integers(0, 20, 500), rng.random(500)
    rows = best_encodings(networks, gain, ENCODINGS)
    assert (np.diff(gain[rows]) <= 0).all()
    for network in range(20):
        mine = np.flatnonzero(networks == network)
        assert set(rows[networks[rows] == network]) == set(mine[np.argsort(-gain[mine])[:ENCODINGS]])


def test_no_network_is_evaluated_twice_and_no_value_is_seen_without_an_evaluation() -> None:
    spies = [CountingOracle(o) for o in objectives()]
    result = nastk.search(Toy(), spies, predictor="ridge", budget=20, batch=3)
    keys = Toy().keys(result.searcher.archs_)
    assert len(set(keys)) == len(keys) == 20
    assert all(spy.count == 20 for spy in spies)


def test_it_finds_the_exact_front_of_a_small_space_before_random_does() -> None:
    space = Toy()
    everything = space.enumerate()
    costs = np.column_stack([-objectives()[0](everything), objectives()[1](everything)])
    reference = costs.max(axis=0)
    found = {}
    for searcher, options in (("predictor", {"predictor": "gp"}), ("random", {})):
        volumes = []
        for seed in range(3):
            result = nastk.search(space, objectives(), searcher=searcher, budget=16, seed=seed, **options)
            archs = result.searcher.archs_
            mine = np.column_stack([-objectives()[0](archs), objectives()[1](archs)])
            volumes.append(hypervolume(mine, reference) / hypervolume(costs, reference))
        found[searcher] = np.mean(volumes)
    assert found["predictor"] > found["random"]
    assert found["predictor"] > 0.97


class WithPrior(Ridge):
    """Its prior scores are the true qualities."""

    def prior_score(self, space, archs, context):  # type: ignore[no-untyped-def]
        return _quality(space)(archs)


def test_several_objectives_start_at_the_front_by_prior_scores() -> None:
    space = nastk.space("nasbench201")
    quality, time = _quality(space), _time(space)
    everything = space.enumerate()
    costs = np.column_stack([-quality(everything), time(everything)])
    worst, rng = costs.max(axis=0), np.random.default_rng(0)
    by_chance = np.mean([hypervolume(costs[rng.choice(len(costs), PRIOR_FRONT_START)], worst) for _ in range(20)])
    for expensive, least in ((False, 0.9 * hypervolume(costs, worst)), (True, by_chance)):
        time.expensive = expensive
        predictor = {"quality": WithPrior()} | ({"latency": FewShotGP()} if expensive else {})
        result = nastk.search(space, [quality, time], predictor=predictor, budget=12, batch=PRIOR_FRONT_START)
        first = np.array([r.arch for r in result.history.records() if r.objective == "quality"])[:PRIOR_FRONT_START]
        mine = np.column_stack([-quality(first), time(first)])
        assert len(set(space.keys(first))) == PRIOR_FRONT_START
        if not expensive:
            assert nondominated(np.concatenate([mine, costs]))[:PRIOR_FRONT_START].all(), "both are known exactly"
        assert hypervolume(mine, worst) > least


def test_the_front_by_prior_scores_keeps_constraints_on_known_values() -> None:
    space = nastk.space("nasbench201")
    quality, time = _quality(space), _time(space)
    time.expensive = False
    bound = float(np.quantile(time(space.enumerate()), 0.3))
    result = nastk.search(
        space, [quality, time], predictor=WithPrior(), constraints=[f"latency<={bound}"], budget=PRIOR_FRONT_START
    )
    assert (time(result.searcher.archs_) <= bound).all()


def test_with_a_prior_less_is_explored() -> None:
    space = nastk.space("nasbench201")
    for accuracy, same in (("gp-bma", [False, True]), ("gp", [True, False])):
        by_default = _evaluated_archs(space, accuracy, None)
        assert [_evaluated_archs(space, accuracy, e) == by_default for e in (EXPLORATION, PRIOR_EXPLORATION)] == same


def _evaluated_archs(space: nastk.SearchSpace, accuracy: str, exploration: float | None) -> list[tuple[int, ...]]:
    """Architectures that a search for quality, with this predictor, and multiply-adds evaluates."""
    model = default_predictor(space, "max", False) if accuracy == "gp-bma" else accuracy
    result = nastk.search(
        space, [_quality(space), Flops(space)], predictor=model, exploration=exploration, budget=24, batch=3, seed=2
    )
    return [r.arch for r in result.history.records()]


def test_every_alone_th_proposal_optimises_a_single_expensive_objective(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = nastk.space("nasbench201")
    asked: list[str] = []
    maximise = PredictorSearch._maximise_bound

    def followed(self, objective, n, pending, rng):  # type: ignore[no-untyped-def]
        asked.append(objective.name)
        return maximise(self, objective, n, pending, rng)

    monkeypatch.setattr(PredictorSearch, "_maximise_bound", followed)
    for batch in (1, 4, 5):
        asked.clear()
        budget = START + 4 * ALONE
        result = nastk.search(space, [_quality(space), _time(space)], predictor="ridge", budget=budget, batch=batch)
        assert sorted(asked) == ["latency"] * 2 + ["quality"] * 2
        assert len(set(space.keys(result.searcher.archs_))) == budget
    values = result.searcher.values_
    everything = space.enumerate()
    assert values[:, 0].max() == pytest.approx(_quality(space)(everything).max(), abs=0.05)
    assert values[:, 1].min() == pytest.approx(_time(space)(everything).min(), abs=0.05)


def test_proposals_for_one_objective_keep_the_constraints_on_the_others() -> None:
    space = nastk.space("nasbench201")
    quality = _quality(space)
    size = nastk.FunctionOracle(
        space, lambda a: quality(a) - 49, "size", "MB", expensive=False
    )  # the best are the largest
    bound = float(np.quantile(size(space.enumerate()), 0.05))
    result = nastk.search(
        space, [quality, size], predictor="ridge", constraints=[f"size<={bound}"], budget=START + 2 * ALONE, batch=ALONE
    )
    assert (size(result.searcher.archs_)[START:] <= bound).all()
    searcher = result.searcher
    screened = searcher._screen(searcher.objectives[0], np.random.default_rng(0))
    assert len(screened) == space.size, "the best by quality alone are too large"


def test_a_few_shot_predictor_is_asked_again_only_when_it_has_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    space = nastk.space("nasbench201")
    whole: list[int] = []
    predict = AdaptedLatency.predict

    def followed(self, archs):  # type: ignore[no-untyped-def]
        if len(archs) == space.size:
            whole.append(len(self.task_))
        return predict(self, archs)

    monkeypatch.setattr(AdaptedLatency, "predict", followed)
    models = {"quality": "ridge", "latency": FewShotGP()}
    nastk.search(space, [_quality(space), _time(space)], predictor=models, budget=40, batch=3)
    assert len(whole) == len(set(whole)) <= 4


def test_one_predictor_object_serves_several_objectives() -> None:
    space = Toy()
    result = nastk.search(space, objectives(), predictor=nastk.predictor("ridge"), budget=12, batch=4)
    known = result.searcher.archs_
    for goal in objectives():
        believed = result.searcher.estimate(known)[goal.name].mean
        assert np.abs(believed - goal(known)).mean() < 0.5 * goal(known).std()


def test_constraints_are_searched_for_and_kept() -> None:
    space = Toy()
    result = nastk.search(space, objectives(), predictor="ridge", constraints=["latency<=8"], budget=20, batch=2)
    assert result.feasible
    assert (result.front["latency"] <= 8).all()
    evaluated = np.array([r.value for r in result.history.records() if r.objective == "latency"])
    assert (evaluated[12:] <= 8).mean() > (oracle("latency")(space.enumerate()) <= 8).mean()


def test_constraints_that_nothing_keeps_give_the_least_infeasible() -> None:
    result = nastk.search(Toy(), objectives(), predictor="ridge", constraints=["latency<=0.5"], budget=12, batch=3)
    assert not result.feasible
    assert len(result.front) == 1
    assert result.front["latency"][0] == min(r.value for r in result.history.records() if r.objective == "latency")


def test_one_objective_and_three() -> None:
    space = Toy()
    single = nastk.search(space, [oracle("accuracy")], predictor="gp", budget=14, batch=2)
    assert single.front["accuracy"][0] == pytest.approx(oracle("accuracy")(space.enumerate()).max())
    third = nastk.FunctionOracle(space, lambda a: 10.0 - a.sum(axis=1), "memory", "MB", expensive=False)
    triple = nastk.search(space, [*objectives(), third], predictor="ridge", budget=12, batch=4)
    assert set(triple.front["memory_source"]) == {"computed"}


def test_the_bound_rises_again_where_nothing_better_is_found() -> None:
    space = Toy()
    archs = space.sample(40, 0, unique=True)

    def bound(values: np.ndarray, goals: list[nastk.FunctionOracle]) -> float:
        searcher = PredictorSearch(space, goals, predictor="ridge")
        for goal in goals:
            searcher.tell([Record(tuple(a), goal.name, v) for a, v in zip(archs.tolist(), values, strict=True)])
        return searcher._optimism(searcher.objectives[0])

    alone = objectives()[:1]
    better = np.arange(40.0)
    assert bound(better, alone) == OPTIMISM_START - 40 / OPTIMISM_DECAY
    twenty = np.where(better < 20, better, 0.0)
    assert bound(twenty, alone) == pytest.approx(bound(better, alone) + (20 - PATIENCE) / PATIENCE_RISE)
    assert bound(better[::-1], alone) == OPTIMISM_START, "to where it began"
    assert bound(better[::-1], objectives()) == bound(better, objectives()), "a front has many best"


def test_gp_bma_proposes_for_one_objective_after_five_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    learn = PredictorSearch._maximise_bound

    def spy(self: PredictorSearch, *args: Any) -> Any:
        seen.append(len(self.archs_))
        return learn(self, *args)

    monkeypatch.setattr(PredictorSearch, "_maximise_bound", spy)
    for predictor, start in (("gp-bma", 5), ("ridge", START)):
        seen.clear()
        nastk.search(Toy(), objectives()[:1], predictor=predictor, budget=21, batch=1)
        assert seen == list(range(start, 21))


def test_a_space_too_large_to_enumerate_is_searched_on_an_evolved_pool() -> None:
    space = nastk.space("fbnet")
    goals = [_quality(space), Flops(space)]
    volumes = {}
    for searcher, options in (("predictor", {"predictor": "ridge", "generations": 5}), ("random", {})):
        archs = nastk.search(space, goals, searcher=searcher, budget=30, batch=10, seed=0, **options).searcher.archs_
        costs = np.column_stack([-goals[0](archs), goals[1](archs) / 1e6])
        volumes[searcher] = hypervolume(costs, [-50.0, 150.0])
    assert volumes["predictor"] > volumes["random"]


def test_predictors_of_objectives_that_do_not_exist_or_only_rank_are_refused() -> None:
    class Ranker(nastk.Predictor):
        scale = "rank"

        def fit(self, task):  # type: ignore[no-untyped-def]
            return self

        def predict(self, archs):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    with pytest.raises(UnknownName, match="did you mean 'latency'"):
        PredictorSearch(Toy(), objectives(), predictor={"latncy": "gp"})
    with pytest.raises(InvalidValue, match="only ranks"):
        PredictorSearch(Toy(), objectives(), predictor=Ranker())


@pytest.mark.data
def test_on_a_real_table_it_beats_random_search(nastk_home: object) -> None:
    table = benchmark("nasbench201", dataset="cifar10")
    space, everything = table.space, table.space.enumerate()
    rows = np.random.default_rng(3).choice(len(everything), 900, replace=False)
    few = FewShotGP().pretrain(
        [Task(space, everything[rows], table.values("latency", device=d)[rows], device=d) for d in SOURCE_DEVICES]
    )
    protocol = ModnasProtocol(100 - table.values("test_accuracy"), table.values("latency", device="fpga"))
    volumes = {}
    for searcher, options in (("predictor", {"predictor": {"accuracy": "gp", "latency": few}}), ("random", {})):
        goals = [
            nastk.Objective("accuracy", table.oracle("test_accuracy")),
            nastk.Objective("latency", table.oracle("latency", device="fpga")),
        ]
        result = nastk.search(space, goals, searcher=searcher, budget=30, batch=5, seed=3, **options)
        evaluated = [r.arch for r in result.history.records() if r.objective == "accuracy"]
        volumes[searcher] = protocol.hypervolume(table.table.rows(np.array(evaluated)))
    assert volumes["predictor"] > 0.93 > volumes["random"]


def test_networks_without_a_value_of_a_free_objective_are_not_on_the_front() -> None:
    space = failing.Failing()
    objectives = [
        nastk.FunctionOracle(space, failing.accuracy, "accuracy", "%", "max", one_by_one=True),
        nastk.oracles.Params(space),
    ]
    front = nastk.search(space, objectives=objectives, searcher="predictor", budget=9, seed=0).front
    assert not set(front["arch"]) & (set(failing.REASONS) - {"shape"})
    assert np.isfinite(front[["accuracy", "params"]].to_numpy()).all()
    assert "dies" in set(front["arch"]), "the most accurate that can be built"
