"""Models of expensive objectives: one place that fits, predicts and refuses leaks; workers are sent none of it."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, objectives

import nastk
from nastk.errors import InvalidValue, UnknownName
from nastk.evaluation import evaluate
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.registry import SEARCHERS
from nastk.search._dominance import best_rows
from nastk.search.base import searcher_class
from nastk.search.models import GROWTH, RELEARNED, Models, learned_from
from nastk.search.random import RandomSearch
from nastk.spaces.base import Archs


class Mean(Predictor):
    """Predicts the mean; counts its fits, copies included."""

    fits: list[int] = []  # noqa: RUF012

    def fit(self, task: Task) -> Mean:
        self.fits.append(len(task))
        self.task_ = task
        return self

    def predict(self, archs: Any) -> Prediction:
        return Prediction(np.full(len(archs), self.task_.values.mean()), np.ones(len(archs)))


def _told(count: int) -> RandomSearch:
    searcher = RandomSearch(Toy(), objectives())
    _tell(searcher, Toy().sample(count, 0, unique=True))
    return searcher


def _tell(searcher: RandomSearch, archs: Archs) -> None:
    searcher.tell([evaluate(o, arch, None) for o in searcher.objectives for arch in archs])


def test_hyper_parameters_are_learned_from_first_values_that_are_nearly_all() -> None:
    for n in range(1, 3000):
        first = learned_from(n)
        assert first == n or (RELEARNED <= first <= n < first * GROWTH + 1)
    assert len({learned_from(n) for n in range(RELEARNED, 3000)}) < 40


def _of_cells(count: int) -> tuple[RandomSearch, Archs]:
    space = nastk.space("nasbench201")
    goals = [nastk.FunctionOracle(space, lambda a: 50.0 + np.sqrt(a.sum(axis=1)), "accuracy", "%", "max")]
    return RandomSearch(space, goals), space.sample_networks(count, 0)


def test_a_search_told_at_once_learns_what_one_told_step_by_step_has_learned() -> None:
    predicted = []
    for steps in ([128], [50, 100, 101, 104, 115, 128]):
        searcher, archs = _of_cells(128)
        models = Models(searcher, "gp", None, lambda objective: "gp")
        for last in steps:
            _tell(searcher, archs[len(searcher.archs_) : last])
            found = models.predict("accuracy", nastk.space("nasbench201").sample(20, 1))
        predicted.append(found)
    assert np.array_equal(predicted[0].mean, predicted[1].mean)
    assert np.array_equal(predicted[0].std, predicted[1].std)


def test_of_many_values_the_best_and_a_spread_of_the_others_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mean, "fits", [])
    monkeypatch.setattr(Mean, "most_in_search", 20)
    searcher, archs = _of_cells(90)
    _tell(searcher, archs)
    models = Models(searcher, {"accuracy": Mean()}, None, lambda objective: "ridge")
    task = models.fitted("accuracy").task_
    values = searcher.values_[:, 0]
    assert Mean.fits == [20]
    assert set(np.sort(values)[-10:]) <= set(task.values)
    assert np.sort(task.values)[0] < np.median(values)
    assert len(np.unique(task.archs, axis=0)) == 20


def test_with_several_objectives_the_best_are_the_first_fronts() -> None:
    costs = np.array([[0.0, 9.0], [9.0, 0.0], [5.0, 5.0], [6.0, 6.0], [1.0, 8.5], [9.0, 9.0]])
    assert set(best_rows(costs, 4)) == {0, 1, 2, 4}
    assert set(best_rows(costs, 5)) == {0, 1, 2, 3, 4}
    assert best_rows(costs[:, :1], 2).tolist() == [0, 4]


def test_a_fit_is_kept_until_there_is_more_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mean, "fits", [])
    searcher = _told(6)
    models = Models(searcher, {"accuracy": Mean()}, None, lambda objective: "ridge")
    assert models.fitted("accuracy") is models.fitted("accuracy")
    _tell(searcher, Toy().sample(20, 1, unique=True)[-3:])
    models.fitted("accuracy")
    models.fitted("accuracy", first=4)
    assert Mean.fits == [6, len(searcher.archs_), 4]


def test_the_object_that_was_given_is_not_fitted() -> None:
    given = Mean()
    models = Models(_told(5), given, None, lambda objective: "ridge")
    assert models.fitted("accuracy").predict(Toy().sample(2, 0)).mean[0] != models.fitted("latency").task_.values[0]
    assert not hasattr(given, "task_")


def test_tasks_know_device_and_data_set() -> None:
    accuracy, latency = objectives()
    accuracy.dataset, latency.device = "digits", "phone"
    searcher = RandomSearch(Toy(), [accuracy, latency])
    _tell(searcher, Toy().sample(4, 0, unique=True))
    models = Models(searcher, None, None, lambda objective: "ridge")
    tasks = {name: models.task(name, *models.known(name)) for name in ("accuracy", "latency")}
    assert (tasks["accuracy"].dataset, tasks["accuracy"].device) == ("digits", None)
    assert (tasks["latency"].device, tasks["latency"].direction, tasks["latency"].unit) == ("phone", "min", "ms")


def test_a_predictor_of_no_expensive_objective_is_refused() -> None:
    with pytest.raises(UnknownName, match="expensive objective"):
        Models(_told(2), {"latncy": "ridge"}, None, lambda objective: "ridge")


LEARN = sorted(name for name in SEARCHERS.names() if ":" not in name and searcher_class(name).learns)


@pytest.mark.data
@pytest.mark.parametrize("name", LEARN)
def test_the_target_device_among_the_sources_is_refused_by_every_searcher(nastk_home: Path, name: str) -> None:
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    latency = table.oracle("latency", device="pixel3")
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    source = latency.device = few.devices[0]  # type: ignore[attr-defined]
    goals = [table.oracle("test_accuracy"), latency]
    with pytest.raises(InvalidValue, match=f"learned from {source}.*leak"):
        nastk.search(
            table.space, goals, searcher=name, predictor={"latency": few}, constraints=["latency<=5"], budget=4
        )


@pytest.mark.data
def test_what_is_sent_to_a_worker_stays_small(nastk_home: Path) -> None:
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    goals = [table.oracle("test_accuracy"), table.oracle("latency", device="pixel3")]
    result = nastk.search(table.space, goals, budget=30, verify=0)
    assert result.history.counts() == {"test_accuracy": 30, "latency": 10}
    for objective in result.searcher.objectives:
        sent = pickle.dumps((evaluate, objective, result.searcher.archs_[0], None))
        assert len(sent) < 20_000
        function, *arguments = pickle.loads(sent)
        assert function(*arguments).value == objective.oracle(result.searcher.archs_[:1])[0]


@pytest.mark.data
def test_the_default_searcher_with_proxies_runs_in_worker_processes(nastk_home: Path) -> None:
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    goals = [table.oracle("test_accuracy"), table.oracle("latency", device="pixel3")]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        result = nastk.search(table.space, goals, budget=8, executor=pool, workers=2)
    assert result.history.counts() == {"test_accuracy": 8, "latency": 10}
    assert {r.status for r in result.history.records()} == {"ok"}
    assert {r.kind for r in result.history.records()} == {"table"}


def test_an_objective_that_cannot_be_sent_to_a_worker_says_so() -> None:
    local = nastk.FunctionOracle(Toy(), lambda archs: archs.sum(axis=1), "cost")
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(nastk.NastkError, match=r"cannot be sent to a worker process.*top level"),
    ):
        nastk.search(Toy(), [local], searcher="random", budget=2, executor=pool)
