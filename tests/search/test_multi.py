"""Searchers of several objectives that learn them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy import Toy, objectives, oracle

from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import hypervolume
from nastk.oracles.base import FunctionOracle
from nastk.predictors.ridge import Ridge
from nastk.registry import SEARCHERS
from nastk.search import nsganetv2
from nastk.search._multi import by_dominance
from nastk.search.mo_hdnas import diversity
from nastk.search.scalarised import linear, tchebycheff
from nastk.spaces.base import Archs, Choice, SearchSpace
from nastk.study import Study

SPACE = Toy()


def _run(name: str, budget: int, **options: Any) -> tuple[Any, Archs]:
    searcher = SEARCHERS.create(
        name, SPACE, objectives(), budget=dict.fromkeys(("accuracy", "latency"), budget), **options
    )
    history = Study(searcher, budget).run().history
    return searcher, np.array([r.arch for r in history.records() if r.objective == "accuracy"])


def test_order_by_dominance_is_by_fronts_then_by_crowding_then_by_violation() -> None:
    costs = np.array([[0.0, 4.0], [4.0, 0.0], [2.0, 2.0], [1.9, 2.2], [3.0, 3.0], [0.0, 0.0], [1.0, 1.0]])
    violation = np.array([0.0, 0, 0, 0, 0, 2, 1])
    order = by_dominance(costs, violation).tolist()
    assert set(order[:2]) == {0, 1}  # the ends of the front are loneliest
    assert set(order[2:4]) == {2, 3}
    assert order[4:] == [4, 6, 5]
    assert by_dominance(np.empty((0, 2))).tolist() == []


def test_nsganetv2_switches_to_the_surrogate_that_ranks_best(monkeypatch: pytest.MonkeyPatch) -> None:
    class Useless(Ridge):
        def predict(self, archs: Any) -> Any:
            answer = super().predict(archs)
            return type(answer)(-answer.mean, answer.std)

    useful = Ridge()
    monkeypatch.setattr(nsganetv2, "surrogates", lambda: (Useless(), useful))
    searcher, _ = _run("nsganetv2", 16, start=10, population=6, generations=2)
    assert type(searcher._model("accuracy")) is Ridge
    assert type(searcher._model("latency")) is Ridge


def test_nsganetv2_switches_nothing_where_a_predictor_is_given() -> None:
    searcher, _ = _run("nsganetv2", 14, start=10, population=6, generations=2, predictor={"latency": "ridge"})
    assert isinstance(searcher._model("latency"), Ridge)
    assert not isinstance(searcher._model("accuracy"), Ridge)


def test_ofa2_learns_from_its_random_sample_alone() -> None:
    searcher, archs = _run("ofa2", 16, predictor="ridge", population=6, generations=3)
    task = searcher._model("accuracy").task_
    assert np.array_equal(task.archs, archs[:8])


def test_ofa2_evaluates_the_predicted_front_first() -> None:
    searcher, archs = _run("ofa2", 12, predictor="ridge", population=10, generations=5)
    plan = searcher._plan
    known = set(SPACE.keys(archs[:6]))
    fresh = [key for key in SPACE.keys(plan) if key not in known]
    assert SPACE.keys(archs[6:7])[0] == fresh[0]


@pytest.mark.parametrize("algorithm", ["nsga2", "sms-emoa", "spea2"])
def test_ofa2_runs_on_several_algorithms(algorithm: str) -> None:
    assert len(_run("ofa2", 8, predictor="ridge", population=6, generations=2, algorithm=algorithm)[1]) == 8


def test_ofa2_names_its_algorithms() -> None:
    with pytest.raises(UnknownName, match="sms-emoa"):
        SEARCHERS.create("ofa2", SPACE, objectives(), algorithm="sms-emao")


def test_diversity_is_the_mean_distance_of_scaled_costs() -> None:
    found = diversity(np.array([[0.0], [10.0]]), np.array([[0.0], [5.0], [10.0]]))
    assert np.allclose(found, [0.5, 0.5])
    assert diversity(np.array([[5.0]]), np.array([[0.0], [5.0], [10.0]])) == pytest.approx(1 / 3)


def test_mo_hdnas_needs_a_hardware_cost() -> None:
    with pytest.raises(InvalidValue, match="hardware cost"):
        SEARCHERS.create("mo-hdnas", SPACE, [oracle("accuracy")])


def test_scalarisations_of_scaled_costs() -> None:
    costs, weights = np.array([[0.0, 1.0], [0.4, 0.4], [0.6, 0.6]]), np.array([0.5, 0.5])
    assert linear(costs, weights).tolist() == [0.5, 0.4, 0.6]
    assert np.allclose(tchebycheff(costs, weights), [0.5 + 0.025, 0.2 + 0.02, 0.3 + 0.03])


def test_mnasnet_rewards_what_is_to_be_maximised_at_a_target() -> None:
    searcher, archs = _run("scalarised:mnasnet", 20, predictor="ridge", constraints=["latency<=4"])
    assert len(archs) == 20
    assert (searcher.values_[10:, 1] <= 4).mean() > (searcher.values_[:10, 1] <= 4).mean()
    with pytest.raises(InvalidValue, match="maximises its first objective"):
        SEARCHERS.create("scalarised:mnasnet", SPACE, objectives()[::-1])


def test_scalarisations_are_named() -> None:
    with pytest.raises(UnknownName, match="tchebycheff"):
        SEARCHERS.create("scalarised:tchebichef", SPACE, objectives())


class Wide(SearchSpace):
    """Six choices of four options."""

    name = "wide"
    choices = tuple(Choice(f"choice{i}", ("a", "b", "c", "d")) for i in range(6))

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


WORTH, PRICE = np.array([1.0, 3.0, 2.0, 4.0, 1.0, 2.0]), np.array([4.0, 1.0, 3.0, 1.0, 2.0, 2.0])


def _volume(name: str, seed: int, **options: Any) -> float:
    """Hypervolume after 40 of 4,096 architectures."""
    wide = Wide()
    quality = FunctionOracle(wide, lambda a: np.sqrt(a @ WORTH), "quality", direction="max")
    cost = FunctionOracle(wide, lambda a: (a @ PRICE).astype(float), "cost")
    budget = {"quality": 40, "cost": 40}
    searcher = SEARCHERS.create(name, wide, [quality, cost], budget=budget, seed=seed, **options)
    Study(searcher, budget).run()
    return hypervolume(searcher.complete()[1], np.array([0.0, 3.0 * PRICE.sum()]))


@pytest.mark.parametrize("name", ["nsganetv2", "mo-bananas", "ofa2", "scalarised:tchebycheff"])
def test_learning_searchers_beat_random_search(name: str) -> None:
    options: dict[str, Any] = {"predictor": "ridge"}
    if name in ("nsganetv2", "ofa2"):
        options |= {"population": 20, "generations": 8}
    learned = [_volume(name, seed, **options) for seed in range(3)]
    assert np.mean(learned) > np.max([_volume("random", seed) for seed in range(3)])
