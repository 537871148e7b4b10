"""Short trainings in the predictor-guided search: promotions, budgets, and predictors that learn from short
trainings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Epochs, Toy, accuracy, answers, evaluated, low, oracle

import nastk
from nastk.bench import search as search_bench
from nastk.errors import InvalidValue, Unsupported
from nastk.metrics import spearman
from nastk.oracles.base import Oracle
from nastk.predictors._autoregressive import Autoregressive, adapted
from nastk.predictors.base import Task
from nastk.search.base import Proposal
from nastk.search.multi_fidelity import AHEAD, MultiFidelitySearch
from nastk.study import Study

SPACE = Toy()


def search(**options: Any) -> MultiFidelitySearch:
    return MultiFidelitySearch(SPACE, [Epochs()], **{"predictor": "gp-bma", "seed": 1, **options})


def steps(searcher: MultiFidelitySearch, count: int) -> list[Proposal]:
    """`count` proposals, each answered before the next."""
    made: list[Proposal] = []
    for _ in range(count):
        made += searcher.ask(1)
        searcher.tell(answers(made[-1:]))
    return made


def few_shot(of: Oracle) -> Any:
    archs = SPACE.enumerate()[::4]
    tasks = [Task(SPACE, archs, of(archs) * factor, device=f"d{factor}") for factor in (1.0, 2.0, 3.0)]
    return nastk.predictor("few-shot-gp").pretrain(tasks)


def key(proposal: Proposal) -> Any:
    return SPACE.keys(proposal.arch[None])[0]


# ---- promotions


@pytest.mark.parametrize("goals", [[Epochs()], [Epochs(), oracle("latency")]], ids=["one", "two"])
def test_every_architecture_is_promoted_one_rung_at_a_time(goals: list[Oracle]) -> None:
    with ThreadPoolExecutor(4) as executor:
        made = MultiFidelitySearch(SPACE, goals, seed=1, predictor="ridge", trainings=12)
        history = Study(made, executor=executor, workers=4).run().history
    records = [r for r in history.records() if r.objective == "accuracy"]
    keys = SPACE.keys(np.array([r.arch for r in records]))
    order = [(k, r.fidelity) for k, r in zip(keys, records, strict=True)]
    for place, (network, fidelity) in enumerate(order[: len(order) * 2 // 3]):  # the rest is for full ones
        below = {3.0: 1.0, None: 3.0}.get(fidelity)
        assert below is None or (network, below) in order[:place]
    full = {r.arch for r in records if r.fidelity is None}
    assert {tuple(a.tolist()) for a in made.recommend()} <= full
    latencies = {r.arch for r in history.records() if r.objective == "latency"}
    assert latencies == (full if len(goals) == 2 else set()), "a latency is evaluated with the full training"


def test_the_next_best_start_before_one_is_trained_in_full() -> None:
    made = steps(search(rungs=[1, 9]), 40)
    started: set[Any] = set()
    finished: set[Any] = set()
    for proposal in made:
        if proposal.fidelity == 1.0:
            started.add(key(proposal))
        else:
            assert key(proposal) in started
            finished.add(key(proposal))
            assert len(finished) <= 2 or len(started - finished) >= AHEAD
    assert len(finished) > 4


def test_without_a_prior_a_spread_design_starts_and_its_best_are_promoted() -> None:
    made = steps(search(rungs=[1, 9], start=None), 12)
    assert [p.fidelity for p in made] == [1.0] * 10 + [None, None]
    brief = sorted(made[:10], key=lambda p: -Epochs().evaluate(p.arch, 1.0).value[0])
    assert [key(p) for p in made[10:]] == [key(p) for p in brief[:2]]


def test_a_failed_short_training_is_never_promoted() -> None:
    made = search(rungs=[1, 9])
    failed = set()
    for i in range(40):
        (proposal,) = made.ask(1)
        assert key(proposal) not in failed
        bad = proposal.fidelity == 1.0 and i % 3 == 0
        failed |= {key(proposal)} if bad else set()
        made.tell(answers([proposal], (lambda arch: float("nan")) if bad else None))
    assert failed
    assert len(made.archs_) > 2


def test_an_isomorphic_encoding_of_a_briefly_trained_network_is_not_started_again() -> None:
    made = search(rungs=[1, 9])
    steps(made, 14)
    encodings = SPACE.enumerate()
    keys = SPACE.keys(encodings)
    for proposal in steps(made, 20):
        if proposal.fidelity is None:
            started = {keys[int(i)] for i in SPACE.index(made.lower("accuracy")[0])}
            assert key(proposal) in started


@pytest.mark.parametrize("trainings", [1, 2, 7.5, 20])
def test_the_budget_of_full_trainings_is_spent_and_not_exceeded(trainings: float) -> None:
    history = nastk.search(SPACE, [Epochs()], searcher="multi-fidelity", trainings=trainings).history
    cost = sum((r.fidelity or 9.0) / 9.0 for r in history.records())
    assert trainings - 1.0 < cost <= trainings + 1e-6
    assert history.records()[-1].fidelity is None, "the last of the budget is for a full training"


def test_a_budget_of_evaluations_counts_every_fidelity() -> None:
    history = nastk.search(SPACE, [Epochs()], searcher="multi-fidelity", budget={"accuracy": 23}).history
    assert history.counts() == {"accuracy": 23}
    assert history.records()[-1].fidelity is None


def test_a_few_shot_latency_is_measured_as_without_short_trainings() -> None:
    few = few_shot(oracle("latency"))
    result = nastk.search(
        SPACE, [Epochs(), oracle("latency")], searcher="multi-fidelity", trainings=16, measurements=6, batch=1,
        predictor={"latency": few, "accuracy": "ridge"},
    )  # fmt: skip
    assert result.history.counts()["latency"] == 6
    assert any(r.fidelity == 1.0 for r in result.history.records())


def test_an_interrupted_run_resumes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "searcher": "multi-fidelity",
        "budget": {"accuracy": 24},
        "batch": 3,
        "seed": 3,
        "predictor": "ridge",
    }
    whole = nastk.search(SPACE, [Epochs()], **options)
    goal = Epochs()
    goal.interrupt_after = 13
    options["storage"] = f"sqlite:///{tmp_path}/run.db"
    with pytest.raises(KeyboardInterrupt):
        nastk.search(SPACE, [goal], **options)
    resumed = nastk.search(SPACE, [Epochs()], **options)
    assert evaluated(resumed.history) == evaluated(whole.history)


def test_short_trainings_save_full_ones() -> None:
    """The toy's short trainings rank nearly as its full ones do."""
    best = accuracy(SPACE.enumerate()).max()
    found = {}
    for name, options in {"random": {"budget": 8}, "multi-fidelity": {"trainings": 8}}.items():
        runs = [nastk.search(SPACE, [Epochs()], searcher=name, seed=seed, **options) for seed in range(4)]
        found[name] = sum(run.front["accuracy"].max() == best for run in runs)
    assert found["multi-fidelity"] == 4
    assert found["random"] < 3


@pytest.mark.data
def test_a_benchmark_compares_it_by_full_trainings(nastk_home: object) -> None:
    found = search_bench.compare(
        dataset="cifar10", searchers=["multi-fidelity"], budget=5, seeds=1, workers=1, objectives=["test_accuracy"]
    )
    (trace,) = found.traces.values()
    brief = trace.cost - np.arange(1, len(trace.cost) + 1)  # what short trainings cost before each full one
    assert (np.diff(brief) >= -1e-9).all()
    assert brief[0] == pytest.approx(0.06)
    assert len(trace.cost) >= 3
    assert trace.cost[-1] <= 5.0 + 1e-9


def test_a_few_shot_predictor_of_an_objective_with_fidelities_is_refused() -> None:
    with pytest.raises(InvalidValue, match="accuracy has a few-shot predictor"):
        search(predictor=few_shot(oracle("accuracy")))


# ---- what is learned


def briefly(archs: Any, sign: float = 1.0) -> Task:
    values = sign * Epochs().evaluate(archs, 1.0).value
    return Task(SPACE, archs, values, "accuracy", "%", "max")


def fully(archs: Any) -> Task:
    return Task(SPACE, archs, accuracy(archs), "accuracy", "%", "max")


@pytest.mark.parametrize("name", ["gp-bma", "ridge", "gp"])
def test_many_short_trainings_make_up_for_full_ones(name: str) -> None:
    archs = SPACE.sample(60, 2, unique=True)
    others = SPACE.enumerate()
    lower = nastk.predictor(name).fit(briefly(archs))
    task = fully(archs[:4])
    alone = nastk.predictor(name).fit(task).predict(others).mean
    both = adapted(nastk.predictor(name), Task(SPACE, task.archs, task.values, "accuracy", "%", "max", lower=lower))
    truth = accuracy(others)
    assert spearman(both.predict(others).mean, truth) > spearman(alone, truth) + 0.05
    assert np.isfinite(both.predict(others).std).all() or name == "ridge"


def test_short_trainings_that_mislead_cost_little() -> None:
    archs = SPACE.sample(40, 2, unique=True)
    lower = nastk.predictor("gp-bma").fit(briefly(archs, -1.0))
    task = fully(archs[:30])
    misled = nastk.predictor("gp-bma").fit(Task(SPACE, task.archs, task.values, "accuracy", "%", "max", lower=lower))
    alone = nastk.predictor("gp-bma").fit(task)
    others = SPACE.enumerate()
    truth = accuracy(others)
    found = spearman(misled.predict(others).mean, truth)
    assert found > spearman(alone.predict(others).mean, truth) - 0.1


def test_a_multiple_of_the_lower_fidelity_is_found() -> None:
    archs = SPACE.sample(40, 2, unique=True)
    lower = nastk.predictor("ridge").fit(briefly(archs))
    values = 3.0 * lower.predict(archs).mean + 5.0
    found = Autoregressive(nastk.predictor("ridge")).fit(
        Task(SPACE, archs, values, "accuracy", "%", "max", lower=lower)
    )  # fmt: skip
    assert found.slope_ == pytest.approx(3.0, abs=0.1)
    others = SPACE.enumerate()
    expected = 3.0 * lower.predict(others).mean + 5.0
    assert found.predict(others).mean == pytest.approx(expected, abs=0.02 * np.ptp(expected))


def test_a_predictor_fitted_with_short_trainings_is_not_saved_without_them(tmp_path: Path) -> None:
    archs = SPACE.sample(20, 2, unique=True)
    task = fully(archs)
    lower = nastk.predictor("gp-bma").fit(briefly(archs))
    fitted = nastk.predictor("gp-bma").fit(Task(SPACE, archs, task.values, direction="max", lower=lower))
    with pytest.raises(Unsupported, match="lower fidelity"):
        fitted.save(tmp_path / "fitted")
    assert not list(tmp_path.iterdir())


def test_short_trainings_alone_recommend_nothing() -> None:
    made = search()
    made.tell([low(a, 50.0 + i) for i, a in enumerate(SPACE.sample(5, 0, unique=True))])
    assert len(made.recommend()) == 0
    assert made.estimate(SPACE.enumerate()[:3]) == {}
