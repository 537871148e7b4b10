"""Searchers of one objective: what each does that the others do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy import Toy, oracle

from nastk.encodings.base import Context
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.oracles.base import FunctionOracle
from nastk.predictors.ridge import Ridge
from nastk.registry import SEARCHERS
from nastk.search.predictor import PRIOR_START
from nastk.search.reinforce import _beyond_the_others
from nastk.spaces.base import Archs, Choice, SearchSpace
from nastk.study import Study


class Hill(SearchSpace):
    """Six choices of four options; the sum of the options is maximised."""

    name = "hill"
    choices = tuple(Choice(f"choice{i}", ("a", "b", "c", "d")) for i in range(6))

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


SPACE = Hill()


def height(archs: Archs) -> Any:
    return archs.sum(axis=1).astype(float)


def _goal() -> FunctionOracle:
    return FunctionOracle(SPACE, height, "height", direction="max")


def _run(name: str, budget: int, batch: int = 1, **options: Any) -> Archs:
    searcher = SEARCHERS.create(name, SPACE, [_goal()], seed=0, budget={"height": budget}, **options)
    history = Study(searcher, {"height": budget}, batch=batch).run().history
    return np.array([r.arch for r in history.records()])


def test_local_search_evaluates_all_neighbours_of_the_best_then_moves() -> None:
    archs = _run("local-search", 10 + 18 + 18, start=10)
    best = archs[:10][height(archs[:10]).argmax()]
    around = {a.tobytes() for a in SPACE.neighbours(best)}
    fresh = [a for a in archs[10:] if a.tobytes() in around]
    first = [a.tobytes() in around for a in archs[10 : 10 + len(fresh)]]
    assert all(first), "after the start come all neighbours of the best"
    assert height(archs[10 + len(fresh) :]).max() > height(archs[: 10 + len(fresh)]).max(), "and then it climbs on"


def test_evolution_draws_its_parents_from_the_youngest() -> None:
    archs = _run("regularised-evolution", 60, population=6, tournament=6)
    for i in range(6, 60):
        young = archs[max(0, i - 6) : i]
        best = young[height(young) == height(young).max()]
        assert (best != archs[i]).sum(axis=1).min() == 1, "a mutant of the best of the six youngest"
    assert height(archs[-10:]).mean() > height(archs[:10]).mean() + 1


class Counting(Ridge):
    """Remembers how much it was fitted to."""

    sizes: list[int] = []  # noqa: RUF012

    def fit(self, task: Any) -> Any:
        Counting.sizes.append(len(task))
        return super().fit(task)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("npnas", {20}), ("multi-predict", {10, 20, 30}), ("brp-nas", set(range(10, 40))), ("npenas", set(range(10, 40)))],
)
def test_when_a_predictor_is_fitted(name: str, sizes: set[int]) -> None:
    Counting.sizes = []
    archs = _run(name, 40, predictor=Counting())
    assert set(Counting.sizes) == sizes
    assert height(archs).max() >= 17 or name == "multi-predict", "an additive objective is easy for a linear model"


def test_brp_nas_takes_every_other_architecture_at_random() -> None:
    archs = _run("brp-nas", 40, predictor="ridge")
    top, drawn = height(archs[10::2]).mean(), height(archs[11::2]).mean()
    assert top > drawn + 3


def test_pnas_opens_choices_one_after_another() -> None:
    archs = _run("pnas", 60, predictor="ridge", start=6)
    opened = [(archs[: i + 1] > 0).any(axis=0).sum() for i in range(60)]
    assert opened[5] <= 3
    assert opened[59] == 6
    assert sorted(opened) == opened


def test_zero_cost_search_follows_the_vote() -> None:
    class Proxies:
        names = ("synflow", "useless")

        def __call__(self, archs: Archs) -> Any:
            return np.column_stack([height(archs), np.zeros(len(archs))])

    archs = _run("zero-cost", 10, contexts={"height": Context(proxies=Proxies())})
    assert height(archs).tolist() == sorted(height(SPACE.enumerate()))[::-1][:10]


def test_predictor_with_one_objective_finds_the_top() -> None:
    assert height(_run("predictor", 25)).max() == 18


def test_predictor_starts_at_what_its_prior_ranks_first() -> None:
    from nastk.predictors.gp_bma import GPBMA

    class Knows(GPBMA):
        def prior_score(self, space: SearchSpace, archs: Archs, context: Context) -> Any:
            return height(archs)

    archs = _run("predictor", 8, predictor=Knows())
    assert height(archs[:PRIOR_START]).min() >= np.sort(height(SPACE.enumerate()))[-round(0.01 * SPACE.size)]


def test_a_second_objective_needs_a_constraint() -> None:
    goals = [oracle("accuracy"), oracle("latency")]
    with pytest.raises(InvalidValue, match="constraint"):
        SEARCHERS.create("local-search", Toy(), goals)
    searcher = SEARCHERS.create(
        "bananas", Toy(), goals, constraints=["latency<=12"], seed=0, predictor="ridge", start=6,
        budget={"accuracy": 20, "latency": 20},
    )  # fmt: skip
    result = Study(searcher, {"accuracy": 20, "latency": 20}).run()
    best = searcher.recommend()
    assert len(best) == 1
    assert oracle("latency")(best)[0] <= 12
    assert len(result.history.records()) == 40


def test_reinforce_raises_the_chances_of_good_options() -> None:
    searcher = SEARCHERS.create("reinforce", SPACE, [_goal()], seed=0, budget={"height": 80})
    assert all(np.allclose(chances, 0.25) for chances in searcher.policy)
    history = Study(searcher, {"height": 80}).run().history
    archs = np.array([r.arch for r in history.records()])
    assert height(archs[-20:]).mean() > height(archs[:8]).mean() + 2
    assert np.mean([chances[3] for chances in searcher.policy]) > 0.5
    assert all(abs(chances.sum() - 1) < 1e-9 for chances in searcher.policy)


def _first(archs: Archs) -> Any:
    return archs[:, 0].astype(float)


def test_reinforce_rewards_what_is_at_the_limit() -> None:
    """TuNAS's absolute reward: a cost below the target is no better than one as far above."""
    goals = [_goal(), FunctionOracle(SPACE, lambda a: 1 + _first(a), "cost")]
    searcher = SEARCHERS.create("reinforce", SPACE, goals, ["cost<=2"], beta=-3.0)
    told = np.array([[option, 3, 0, 0, 0, 0] for option in range(4)])
    searcher.tell([Record(tuple(a.tolist()), o.name, float(o(a[None])[0])) for a in told for o in goals])
    _, rewards = searcher._rewards()
    assert rewards.argmax() == 1
    quality = np.array([0, 1, 2, 3]) / 3 - 1
    np.testing.assert_allclose(rewards, quality - 3.0 * np.array([0.5, 0.0, 0.5, 1.0]))


def test_reinforce_rewards_what_lies_beyond_the_others() -> None:
    costs = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.6, 0.7]])
    np.testing.assert_allclose(_beyond_the_others(costs), [0.5, 0.5, 0.2, -0.1])


def test_reinforce_learns_nothing_from_choices_that_are_not_made() -> None:
    """The toy's second choice does not matter where the first is "a"."""
    searcher = SEARCHERS.create("reinforce", Toy(), [oracle("accuracy")], seed=0)
    searcher.tell([Record((0, 0, i, i), "accuracy", float(i)) for i in range(3)])
    assert np.allclose(searcher.policy[1], 1 / 3)
    assert not np.allclose(searcher.policy[2], 1 / 3)
    searcher.tell([Record((1, 1, 1, 1), "accuracy", float("nan"))])
    _, rewards = searcher._rewards()
    assert rewards[3] == rewards.min() == rewards[0]


@pytest.mark.parametrize("option", [{"beta": 0.1}, {"learning_rate": 0.0}, {"momentum": 1.5}, {"entropy": -1.0}])
def test_reinforce_refuses_options_in_one_line(option: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match="reinforce needs beta <= 0"):
        SEARCHERS.create("reinforce", SPACE, [_goal()], **option)
