"""Studies and results: budgets, failures, interruption, resuming, parallel evaluation, fronts, files."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import wraps
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from effort import HANGS
from toy import Toy, accuracy, latency, objectives, oracle

import nastk
from nastk.errors import DataWarning, InvalidValue, NastkError, StorageError, UnknownName
from nastk.evaluation import Record
from nastk.history import History
from nastk.oracles.base import FunctionOracle, Oracle
from nastk.predictors.ridge import Ridge
from nastk.report.summary import Summary
from nastk.search.base import Objective, Proposal, Searcher
from nastk.search.random import RandomSearch
from nastk.spaces.base import Archs
from nastk.study import HOPELESS, Study

SPACE = Toy()


class Scripted(Searcher):
    """Proposes a given list in order; remembers the records told."""

    def __init__(self, script: list[tuple[Any, tuple[str, ...]]], goals: list[Oracle] | None = None, **options: Any):
        super().__init__(goals[0].space if goals else SPACE, goals or objectives(), **options)
        self.script, self.told = list(script), []  # type: ignore[var-annotated]

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        taken, self.script = self.script[:n], self.script[n:]
        return [Proposal(np.array(arch), names) for arch, names in taken]

    def _tell(self, records: Any) -> None:
        self.told += [(r.arch, r.objective) for r in records]


BOTH = ("accuracy", "latency")


def evaluated(history: History) -> list[tuple[tuple[int, ...], str]]:
    return [(r.arch, r.objective) for r in history.records()]


# ---- budgets


def test_each_objective_is_evaluated_as_often_as_the_budget_says() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=12)
    assert result.history.counts() == {"accuracy": 12, "latency": 12}
    result = nastk.search(SPACE, objectives(), searcher="random", budget={"accuracy": 9, "latency": 5})
    assert result.history.counts() == {"accuracy": 9, "latency": 5}


def test_a_batch_beyond_the_budget_is_trimmed() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=7, batch=5)
    assert result.history.counts() == {"accuracy": 7, "latency": 7}
    archs = {r.arch for r in result.history.records()}
    assert len(archs) == 7


def test_a_budget_beyond_the_space_ends_with_the_space() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=500)
    assert result.history.counts() == {"accuracy": 63, "latency": 63}  # 81 less 27 - 9 isomorphic encodings


def test_free_objectives_cost_nothing() -> None:
    result = nastk.search(SPACE, [oracle("accuracy"), oracle("latency", expensive=False)], searcher="random", budget=6)
    assert result.history.counts() == {"accuracy": 6}
    assert set(result.front["latency_source"]) == {"computed"}


def test_where_everything_is_free_the_budget_counts_architectures() -> None:
    goals = [oracle("accuracy", expensive=False), oracle("latency", expensive=False)]
    result = nastk.search(SPACE, goals, searcher="random", budget=9)
    assert len({r.arch for r in result.history.records()}) == 9
    assert len(result.front)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (-1, "0 or more"),
        (2.5, "whole number"),
        ({"accuracy": 3}, "latency"),
        ({"accuracy": 3, "latency": 3, "energy": 1}, "energy"),
    ],
)
def test_a_budget_that_cannot_be_used_is_refused(budget: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nastk.search(SPACE, objectives(), searcher="random", budget=budget)


def test_a_study_without_any_budget_is_refused() -> None:
    with pytest.raises(InvalidValue, match="how many evaluations of accuracy, latency"):
        Study(RandomSearch(SPACE, objectives()))


def test_a_numpy_budget_is_a_budget() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=np.int64(4))  # type: ignore[arg-type]
    assert result.history.counts() == {"accuracy": 4, "latency": 4}


# ---- nothing twice


def test_repeated_proposals_are_not_evaluated_twice() -> None:
    script = [([0, 0, 0, 0], BOTH), ([0, 0, 0, 0], BOTH), ([1, 0, 0, 0], ("latency",)), ([1, 0, 0, 0], BOTH)]
    result = Study(Scripted(script), 10).run()
    a, b = (0, 0, 0, 0), (1, 0, 0, 0)
    assert evaluated(result.history) == [(a, "accuracy"), (a, "latency"), (b, "latency"), (b, "accuracy")]


def test_repeats_within_a_batch_are_evaluated_once() -> None:
    script = [([0, 0, 0, 0], BOTH), ([0, 0, 0, 0], BOTH), ([1, 0, 0, 0], BOTH)]
    assert len(Study(Scripted(script), 10, batch=3).run().history) == 4


@pytest.mark.parametrize("threads", [False, True])
def test_a_value_of_the_network_is_not_evaluated_again_on_an_isomorphic_encoding(threads: bool) -> None:
    cells = nastk.space("nasbench201")
    written = cells.parse("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|skip_connect~1|none~2|")
    plain = cells.canonical(written[None])[0]
    assert not np.array_equal(written, plain)
    asked: list[tuple[str, tuple[int, ...]]] = []

    def answer(name: str) -> Any:
        def value(arch: Archs) -> float:
            asked.append((name, tuple(arch.tolist())))
            return float(arch.sum())

        return value

    accuracy = nastk.FunctionOracle(cells, answer("accuracy"), "accuracy", one_by_one=True, per_network=True)
    latency = nastk.FunctionOracle(cells, answer("latency"), "latency", one_by_one=True)
    searcher = Scripted([(written, BOTH), (plain, BOTH)], [accuracy, latency])
    history = History()
    with ThreadPoolExecutor(1) as pool:
        Study(searcher, 2, history, executor=pool if threads else None).run()
    assert [name for name, _ in asked].count("accuracy") == 1
    assert [name for name, _ in asked].count("latency") == 2
    again = history.find(plain, "accuracy", None)
    assert again is not None
    assert (again.value, again.cost, again.source) == (float(written.sum()), 0.0, "an equal network")


def test_a_searcher_that_only_repeats_itself_ends_the_run() -> None:
    class Stuck(Searcher):
        def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
            return [Proposal(np.zeros(4, dtype=np.int64), self.expensive)] * n

    assert len(Study(Stuck(SPACE, objectives()), 10).run().history) == 2


def test_fidelities_are_different_evaluations() -> None:
    class Epochs(Oracle):
        space, name, direction, source, fidelities = SPACE, "accuracy", "max", "toy", (12.0, 200.0)

        def _evaluate(self, archs: Archs, fidelity: float | None) -> Any:
            return nastk.Evaluation(*[np.full(len(archs), float(fidelity or 200))] * 3)

    class Twice(Searcher):
        def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
            return [Proposal(np.zeros(4, dtype=np.int64), self.expensive, f) for f in (12.0, None, 12.0)]

    history = Study(Twice(SPACE, [Epochs()]), 10).run().history
    assert [(r.fidelity, r.value) for r in history.records()] == [(12.0, 12.0), (None, 200.0)]


# ---- records, progress


def test_records_describe_each_evaluation() -> None:
    begun = time.time()
    history = nastk.search(SPACE, objectives(), searcher="random", budget=3).history
    for record in history.records():
        truth = {"accuracy": accuracy, "latency": latency}[record.objective](np.array([record.arch]))
        assert record.value == truth[0]
        assert record.status == "ok"
        assert record.source == f"function {record.objective}"
        assert record.cost >= 0
        assert begun <= record.time <= time.time()


def test_progress_counts_to_the_total() -> None:
    seen: list[tuple[int, int, str]] = []
    nastk.search(SPACE, objectives(), searcher="random", budget=3, progress=lambda *a: seen.append(a))
    assert [s[0] for s in seen] == list(range(7))
    assert {s[1] for s in seen} == {6}
    assert [s[2] for s in seen] == ["", *BOTH, *BOTH, *BOTH]


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for searcher in ("random", "pareto-local-search", "pymoo:nsga2"):
        nastk.search(SPACE, objectives(), searcher=searcher, budget=40)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


# ---- failures


def test_an_evaluation_that_raises_is_a_failed_record_and_the_run_continues() -> None:
    def sometimes(archs: Archs) -> Any:
        if archs[0, 3] == 1:
            raise RuntimeError("out of memory\nsecond line")
        return latency(archs)

    result = nastk.search(SPACE, [oracle("accuracy"), oracle("latency", sometimes)], searcher="random", budget=30)
    failed = [r for r in result.history.records() if r.status == "failed"]
    assert {r.reason for r in failed} == {"RuntimeError: out of memory second line"}
    assert all(np.isnan(r.value) and r.arch[3] == 1 and r.objective == "latency" for r in failed)
    assert {r.attempts for r in failed} == {2}, "out of memory may pass: it is tried again"
    assert result.history.counts() == {"accuracy": 30, "latency": 30}
    assert result.history.spent() == {"accuracy": 30, "latency": 30 - len(failed)}
    assert not any(text.endswith("_b") for text in result.front["arch"])


def test_a_value_that_is_not_finite_has_failed() -> None:
    for value in (np.nan, np.inf, -np.inf):
        goals = [oracle("accuracy"), oracle("latency", lambda a, v=value: np.where(a[:, 3] == 1, v, latency(a)))]
        records = nastk.search(SPACE, goals, searcher="random", budget=20).history.records()
        bad = [r for r in records if r.arch[3] == 1 and r.objective == "latency"]
        assert bad
        assert all(r.status == "failed" and np.isnan(r.value) for r in bad)


class Gone(FunctionOracle):
    """An oracle that finds out itself that it can evaluate no more, after `after` records."""

    def __init__(self, history: History, after: int):
        super().__init__(SPACE, latency, "latency", "ms")
        self.history, self.after = history, after

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Any:
        if len(self.history) >= self.after:
            raise InvalidValue("no such device")
        return super()._evaluate(archs, fidelity)


def test_an_error_of_the_oracle_ends_the_run_and_keeps_earlier_evaluations() -> None:
    history = History()
    searcher = RandomSearch(SPACE, [oracle("accuracy"), Gone(history, 5)])
    with pytest.raises(InvalidValue, match="no such device"):
        Study(searcher, 10, history).run()
    assert len(history) == 5


def test_an_error_of_nastk_in_a_function_of_the_user_is_that_evaluations_failure() -> None:
    def uses_nastk(archs: Archs) -> Any:
        if archs[0, 0] == 1:
            SPACE.parse("no such architecture")
        return latency(archs)

    goals = [oracle("accuracy"), oracle("latency", uses_nastk)]
    result = nastk.search(SPACE, goals, searcher="random", budget=12)
    (failure,) = result.failures
    assert failure["reason"].startswith("InvalidArchitecture: ")
    assert failure["of"] == 12


def broken(archs: Archs) -> Any:
    raise RuntimeError("no GPU")


def test_when_everything_fails_the_run_stops_and_says_why() -> None:
    history = History()
    searcher = RandomSearch(SPACE, [oracle("accuracy"), oracle("latency", broken)])
    with pytest.raises(NastkError, match="no GPU"):
        Study(searcher, 50, history).run()
    assert history.counts()["latency"] == HOPELESS


def test_a_resumed_run_gives_up_again_after_as_many_failures() -> None:
    history = History()
    for total in (HOPELESS, 2 * HOPELESS):
        searcher = RandomSearch(SPACE, [oracle("accuracy"), oracle("latency", broken)])
        with pytest.raises(NastkError, match="no GPU"):
            Study(searcher, 50, history).run()
        assert history.counts()["latency"] == total


def test_failures_after_a_success_do_not_stop_the_run() -> None:
    calls = []

    def mostly(archs: Archs) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("no GPU")
        return latency(archs)

    goals = [oracle("accuracy"), oracle("latency", mostly)]
    result = nastk.search(SPACE, goals, searcher="random", budget=20, retries=0, count_failures=True)
    assert len(calls) == 20
    assert len(result.front) == 1


# ---- interruption and resuming


def interrupting(after: int) -> Any:
    calls = []

    @wraps(latency)  # it is the same function: an identity looks through what wraps
    def function(archs: Archs) -> Any:
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return latency(archs)

    return function


SEARCHERS = ["random", "pareto-local-search", "pymoo:nsga2", "pymoo:spea2"]


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize(("batch", "after"), [(1, 1), (1, 17), (4, 17), (4, 30)])
def test_an_interrupted_run_resumes_as_if_nothing_had_happened(
    tmp_path: Path, searcher: str, batch: int, after: int
) -> None:
    options: dict[str, Any] = {"population": 8} if "pymoo" in searcher else {}
    whole = nastk.search(SPACE, objectives(), searcher=searcher, budget=34, batch=batch, **options)
    stored = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": searcher, "budget": 34, "batch": batch, **options}
    goals = [oracle("accuracy"), oracle("latency", interrupting(after))]
    goals[1].source = "function latency"
    with pytest.raises(KeyboardInterrupt):
        nastk.search(SPACE, goals, **stored)
    resumed = nastk.search(SPACE, objectives(), **stored)
    assert evaluated(resumed.history) == evaluated(whole.history)
    assert list(resumed.front["arch"]) == list(whole.front["arch"])


def test_a_larger_budget_resumes_a_finished_run(tmp_path: Path) -> None:
    stored = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "random"}
    first = nastk.search(SPACE, objectives(), budget=5, **stored)
    second = nastk.search(SPACE, objectives(), budget=8, **stored)
    assert evaluated(second.history)[:10] == evaluated(first.history)
    assert second.history.counts() == {"accuracy": 8, "latency": 8}
    assert nastk.search(SPACE, objectives(), budget=3, **stored).history.counts() == second.history.counts()


@pytest.mark.parametrize("change", [{"seed": 1}, {"searcher": "pareto-local-search"}, {"constraints": ["latency<=9"]}])
def test_another_search_under_the_same_name_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "random", "budget": 3}
    nastk.search(SPACE, objectives(), **stored)
    named = {**stored, **change, "study": "nastk"}
    with pytest.raises(InvalidValue, match="another study name"):
        nastk.search(SPACE, objectives(), **named)
    nastk.search(SPACE, objectives(), **{**named, "study": "other"})


def test_an_option_of_the_searcher_tells_studies_apart(tmp_path: Path) -> None:
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "pareto-local-search", "budget": 3}
    nastk.search(SPACE, objectives(), start=2, **stored)
    with pytest.raises(InvalidValue, match="'start': 2"):
        nastk.search(SPACE, objectives(), start=3, study="nastk", **stored)


def test_a_database_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nastk.storage import DurableHistory

    def full(*_: Any) -> None:
        raise StorageError("cannot use it: disk is full")

    monkeypatch.setattr(DurableHistory, "_store", full)
    with pytest.raises(StorageError, match="full"):
        nastk.search(SPACE, objectives(), searcher="random", budget=3, storage=f"sqlite:///{tmp_path}/run.db")


# ---- in parallel


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("workers", [1, 3, 8])
def test_threads_spend_the_same_budget_once(searcher: str, workers: int) -> None:
    under_way, most, lock = [0], [0], threading.Lock()
    rng = np.random.default_rng(0)
    together = threading.Event()  # the first waits for a second, which comes if they are evaluated in parallel
    if workers == 1 or searcher != "random":
        together.set()

    def slow(archs: Archs) -> Any:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            if most[0] > 1:
                together.set()
            pause = rng.uniform(0, 0.003)
        together.wait(HANGS)
        time.sleep(pause)
        with lock:
            under_way[0] -= 1
        return latency(archs)

    goals = [oracle("accuracy", lambda a: 100.0 - slow(a)), oracle("latency", slow)]
    options: dict[str, Any] = {"population": 8} if "pymoo" in searcher else {}
    with ThreadPoolExecutor(workers) as pool:
        result = nastk.search(
            SPACE, goals, searcher=searcher, budget=30, executor=pool, workers=workers, **options
        )  # fmt: skip
    assert result.history.counts() == {"accuracy": 30, "latency": 30}
    archs = list(dict.fromkeys(r.arch for r in result.history.records()))
    assert len(set(SPACE.keys(np.array(archs)))) == len(archs) == 30
    assert most[0] <= workers
    if workers > 1 and searcher == "random":
        assert most[0] > 1


def test_processes_evaluate_too() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        result = nastk.search(SPACE, objectives(), searcher="random", budget=6, executor=pool, workers=2)
    assert result.history.counts() == {"accuracy": 6, "latency": 6}


def test_a_parallel_run_that_fails_keeps_finished_evaluations() -> None:
    history = History()
    searcher = RandomSearch(SPACE, [oracle("accuracy"), Gone(history, 6)])
    with ThreadPoolExecutor(3) as pool, pytest.raises(InvalidValue, match="no such device"):
        Study(searcher, 30, history, executor=pool, workers=3).run()
    assert 6 <= len(history) < 20
    resumed = RandomSearch(SPACE, objectives())
    Study(resumed, 30, history).run()
    assert history.counts() == {"accuracy": 30, "latency": 30}
    values = resumed.values_[: len(resumed.archs_)]
    assert np.isfinite(values).all()  # proposals that were open when the run failed were completed


def test_a_worker_that_dies_is_one_line() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(NastkError, match="worker"):
        nastk.search(SPACE, [oracle("latency", dies)], searcher="random", budget=3, executor=pool)


def dies(archs: Archs) -> Any:
    import os

    os._exit(3)


# ---- arguments


def test_unknown_searchers_and_options_are_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        nastk.search(SPACE, objectives(), searcher="randm")
    with pytest.raises(InvalidValue, match="population"):
        nastk.search(SPACE, objectives(), searcher="random", population=3)
    with pytest.raises(InvalidValue, match="oracles"):
        nastk.search(SPACE, ["latency"], searcher="random")  # type: ignore[list-item]
    with pytest.raises(InvalidValue, match="at least 1"):
        nastk.search(SPACE, objectives(), searcher="random", batch=0)
    with pytest.raises(UnknownName, match="energy"):
        nastk.search(SPACE, objectives(), searcher="random", constraints=["energy<=1"])
    with pytest.raises(InvalidValue, match="different names"):
        nastk.search(SPACE, [oracle("latency"), oracle("latency")], searcher="random")


# ---- results


def true_front() -> set[str]:
    archs = SPACE.enumerate()
    costs = np.column_stack([-accuracy(archs), latency(archs)])
    worse = (costs[:, None] >= costs).all(axis=2) & (costs[:, None] > costs).any(axis=2)
    return set(SPACE.format_all(SPACE.canonical(archs[~worse.any(axis=1)])))


def test_the_front_of_the_whole_space_is_the_true_one() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=100)
    found = SPACE.format_all(SPACE.canonical(SPACE.as_archs(list(result.front["arch"]))))
    costs = result.front[["accuracy", "latency"]].to_numpy()
    assert set(found) <= true_front()
    assert len(np.unique(costs, axis=0)) == len(costs)
    archs = SPACE.parse(next(iter(true_front())))[None]
    assert latency(archs)[0] in set(result.front["latency"])


def test_the_front_has_one_row_per_architecture_sorted_by_the_last_objective() -> None:
    front = nastk.search(SPACE, objectives(), searcher="random", budget=30).front
    columns = ["arch", "index", "accuracy", "accuracy_std", "accuracy_source"]
    columns += ["latency", "latency_std", "latency_source"]
    assert list(front.columns) == columns
    assert (front["latency"].diff().dropna() > 0).all()
    assert (front["accuracy"].diff().dropna() > 0).all()
    assert set(front["accuracy_source"]) == {"measured"}
    assert list(front["index"]) == list(SPACE.index(SPACE.as_archs(list(front["arch"]))))


def test_constraints_hold_or_the_least_infeasible_is_shown() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=40, constraints=["latency<=8", "accuracy>=70"])
    assert result.feasible
    assert (result.front["latency"] <= 8).all()
    assert (result.front["accuracy"] >= 70).all()
    assert set(result.front["violation"]) == {0.0}
    never = nastk.search(SPACE, objectives(), searcher="random", budget=40, constraints=["latency<=0.5"])
    assert not never.feasible
    assert len(never.front) == 1
    told = [r.value for r in never.history.records() if r.objective == "latency"]
    assert never.front["latency"][0] == min(told)
    assert never.front["violation"][0] == pytest.approx((min(told) - 0.5) / 0.5)


def test_an_empty_search_has_an_empty_front() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=0, constraints=["latency<=8"])
    assert len(result.front) == 0
    assert not result.feasible
    assert "accuracy" in result.front.columns


def test_hypervolume_is_in_the_objectives_units() -> None:
    searcher = Scripted([([0, 0, 0, 0], BOTH)])
    result = Study(searcher, 1).run()
    assert result.front["accuracy"][0] == 60.0
    assert result.hypervolume([50.0, 3.0]) == pytest.approx(10.0 * 2.0)  # accuracy 60 of 50, latency 1 of 3


def test_files_are_whole(tmp_path: Path) -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=12)
    result.to_json(tmp_path / "deep" / "run.json")
    result.to_csv(tmp_path / "front.csv")
    content = json.loads((tmp_path / "deep" / "run.json").read_text())
    assert len(content["front"]) == len(result.front)
    assert len(content["history"]) == 24
    assert content["evaluations"] == {"accuracy": 12, "latency": 12}
    back = pd.read_csv(tmp_path / "front.csv")
    pd.testing.assert_frame_equal(back[["arch", "latency"]], result.front[["arch", "latency"]])
    with pytest.raises(StorageError):
        result.to_csv("/proc/front.csv")


def test_report_and_plot_write_files(tmp_path: Path) -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=12)
    result.report(tmp_path / "front.html")
    result.plot(tmp_path / "front.png")
    assert "latency" in (tmp_path / "front.html").read_text()
    assert (tmp_path / "front.png").read_bytes()[:4] == b"\x89PNG"


# ---- verification


class Believing(RandomSearch):
    """Evaluates accuracies only and predicts that every latency is 7 ms."""

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(p.arch, ("accuracy",)) for p in super()._ask(n, pending, rng)]

    def estimate(self, archs: Archs) -> Any:
        return {"latency": nastk.Prediction(np.full(len(archs), 7.0), np.full(len(archs), 0.5))}

    def recommend(self) -> Archs:
        return self.archs_[:3]


def test_verify_evaluates_values_that_were_only_predicted() -> None:
    history = History()
    result = Study(Believing(SPACE, objectives()), {"accuracy": 4, "latency": 0}, history).run()
    assert set(result.front["latency_source"]) == {"predicted"}
    assert set(result.front["latency"]) == {7.0}
    assert set(result.front["latency_std"]) == {0.5}
    table = result.verify()
    assert list(table["predicted"]) == [7.0] * 3
    truth = latency(SPACE.as_archs(list(table["arch"])))
    assert np.allclose(table["measured"], truth)
    assert np.allclose(table["error"], 7.0 / truth - 1.0)
    assert history.counts() == {"accuracy": 4}
    assert history.counts("verify") == {"latency": 3}
    assert set(result.front["latency_source"]) == {"measured"}
    assert (result.front["latency"].diff().dropna() >= 0).all()
    assert result.to_dict()["verification"][0]["predicted"] == 7.0


def test_verify_again_evaluates_nothing_and_says_the_same() -> None:
    history = History()
    result = Study(Believing(SPACE, objectives()), {"accuracy": 4, "latency": 0}, history).run()
    first = result.verify()
    pd.testing.assert_frame_equal(result.verify(), first)
    again = Study(Believing(SPACE, objectives()), {"accuracy": 4, "latency": 0}, history).run()
    pd.testing.assert_frame_equal(again.verify(), first)
    assert history.counts("verify") == {"latency": 3}


def test_verify_has_nothing_to_do_where_everything_was_evaluated() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=5)
    assert len(result.verify()) == 0
    assert result.history.counts("verify") == {}


def test_a_verification_that_fails_is_unknown() -> None:
    result = Study(
        Believing(SPACE, [oracle("accuracy"), oracle("latency", broken)]), {"accuracy": 4, "latency": 0}
    ).run()
    assert result.verify()["measured"].isna().all()
    assert set(result.front["latency_source"]) == {"predicted"}


def test_records_told_from_outside_count_as_known() -> None:
    history = History()
    history.add([Record((0, 0, 0, 0), name, 5.0) for name in BOTH])
    searcher = RandomSearch(SPACE, [Objective.of(o) for o in objectives()])
    result = Study(searcher, 100, history).run()
    assert result.history.counts() == {"accuracy": 63, "latency": 63}


# ---- retries, and what a failure costs


class Flaky:
    """A function that fails at each architecture's first `times` calls."""

    def __init__(self, times: int, error: Exception):
        self.times, self.error = times, error
        self.calls: dict[tuple[int, ...], int] = {}

    def __call__(self, archs: Archs) -> Any:
        for arch in map(tuple, archs.tolist()):
            self.calls[arch] = self.calls.get(arch, 0) + 1
            if self.calls[arch] <= self.times:
                raise self.error
        return accuracy(archs)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ConnectionError("reset"), MemoryError()])
def test_a_transient_failure_is_tried_again(error: Exception) -> None:
    flaky = Flaky(1, error)
    result = nastk.search(SPACE, [oracle("accuracy", flaky)], searcher="random", budget=6)
    assert set(flaky.calls.values()) == {2}
    assert [(r.status, r.attempts) for r in result.history.records()] == [("ok", 2)] * 6
    assert not result.failures


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), KeyError("x"), ZeroDivisionError()])
def test_a_failure_that_would_come_again_is_not_tried_again(error: Exception) -> None:
    flaky = Flaky(9, error)
    with pytest.raises(NastkError, match=type(error).__name__):
        nastk.search(SPACE, [oracle("accuracy", flaky)], searcher="random", budget=6, storage=History())
    assert set(flaky.calls.values()) == {1}


@pytest.mark.parametrize(("retries", "tried"), [(0, 1), (1, 2), (3, 4)])
def test_retries_are_the_users_choice(retries: int, tried: int) -> None:
    flaky = Flaky(99, RuntimeError("CUDA out of memory"))
    with pytest.raises(NastkError, match="all 5 evaluations of accuracy failed"):
        nastk.search(
            SPACE, [oracle("accuracy", flaky)], searcher="random", budget=6, retries=retries, storage=History()
        )
    assert set(flaky.calls.values()) == {tried}


def at_random(archs: Archs) -> Any:
    """Fails for a quarter of the networks, good and bad ones."""
    if SPACE.canonical(archs)[0] @ [3, 5, 7, 11] % 4 == 0:
        raise RuntimeError("CUDA out of memory")
    return accuracy(archs)


@pytest.mark.parametrize("searcher", [*SEARCHERS, "predictor", "mo-bananas"])
def test_failures_are_counted_replaced_and_charged_only_by_choice(searcher: str) -> None:
    goals = [oracle("accuracy", at_random), oracle("latency")]
    options: dict[str, Any] = {"predictor": "ridge"} if searcher in ("predictor", "mo-bananas") else {}
    found = nastk.search(SPACE, goals, searcher=searcher, budget=12, batch=1, **options)
    (row,) = found.failures
    assert row["reason"] == "RuntimeError: CUDA out of memory"
    assert row["of"] - row["count"] == 12
    assert found.history.spent() == {"accuracy": 12, "latency": 12}
    assert len(found.searcher.complete()[0]) == 12, "each success of one objective is of a network with the other"
    charged = nastk.search(SPACE, goals, searcher=searcher, budget=12, batch=1, count_failures=True, **options)
    assert charged.history.counts() == {"accuracy": 12, "latency": 12}
    assert 0 < sum(r["count"] for r in charged.failures) < 12


def test_failures_are_replaced_in_parallel_too() -> None:
    goals = [oracle("accuracy", at_random), oracle("latency")]
    with ThreadPoolExecutor(4) as pool:
        found = nastk.search(SPACE, goals, searcher="random", budget=12, executor=pool, workers=4)
    assert found.history.spent() == {"accuracy": 12, "latency": 12}
    assert len(found.searcher.complete()[0]) == 12


def test_what_was_skipped_after_a_failure_is_evaluated_when_it_is_tried_again(tmp_path: Path) -> None:
    from nastk.studies import retry

    def sometimes(archs: Archs) -> Any:
        if (tmp_path / "no GPU").exists() and archs[0, 0] == 0:
            raise RuntimeError("no GPU")
        return accuracy(archs)

    goals = [oracle("accuracy", sometimes), oracle("latency")]
    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random"}
    (tmp_path / "no GPU").touch()
    first = nastk.search(SPACE, goals, budget=9, **stored)
    failed = [r.arch for r in first.history.records() if r.status == "failed"]
    assert failed
    assert retry(tmp_path / "run.db", "nastk") == len(failed)
    (tmp_path / "no GPU").unlink()
    second = nastk.search(SPACE, goals, budget=9, **stored)
    assert len(second.searcher.complete()[0]) == 9 + len(failed)
    assert set(failed) <= {tuple(a) for a in second.searcher.complete()[0].tolist()}


def test_short_trainings_that_fail_are_not_charged() -> None:
    def train(archs: Archs, epochs: float) -> Any:
        return at_random(archs) - 1.0 / epochs

    goal = FunctionOracle(SPACE, train, "accuracy", "%", "max", fidelities=(1, 9))
    for searcher in ("successive-halving", "mo-asha", "multi-fidelity"):
        found = nastk.search(SPACE, [goal], searcher=searcher, budget=4, seed=1)
        records = [r for r in found.history.records() if r.status == "ok"]
        assert found.failures
        assert 3.0 < sum((r.fidelity or 9.0) / 9.0 for r in records) <= 4.0, searcher


def test_a_search_that_fails_too_often_stops_and_says_so() -> None:
    def once(archs: Archs) -> Any:
        if len(made) > 0:
            raise RuntimeError("no GPU")
        made.append(1)
        return accuracy(archs)

    made: list[int] = []
    result = nastk.search(SPACE, [oracle("accuracy", once)], searcher="random", budget=8, retries=0)
    assert result.history.counts() == {"accuracy": 1 + 8}
    assert "Stopped: 8 evaluations of accuracy failed" in result.notes[0]


def test_fewer_failures_than_a_hopeless_run_are_said_too() -> None:
    with pytest.raises(NastkError, match="all 3 evaluations of latency failed; last: RuntimeError: no GPU"):
        nastk.search(
            SPACE, [oracle("accuracy"), oracle("latency", broken)], searcher="random", budget=3, storage=History(),
            count_failures=True,
        )  # fmt: skip


def test_a_failed_latency_leaves_the_accuracy(tmp_path: Path) -> None:
    """A predictor completes it; the summary names what cannot be compared."""

    def lost(archs: Archs) -> Any:
        if archs[0, 3] == 2:
            raise RuntimeError("device lost")
        return latency(archs)

    for searcher, options in (("random", {}), ("predictor", {"predictor": "ridge"})):
        goals = [oracle("accuracy"), oracle("latency", lost)]
        result = nastk.search(SPACE, goals, searcher=searcher, budget=20, verify=0, **options)
        failed = {r.arch for r in result.history.records() if r.status == "failed"}
        assert failed
        known = {r.arch: r.value for r in result.history.records() if r.objective == "accuracy"}
        assert failed <= set(known)
        front = {tuple(a) for a in result.front_archs.tolist()}
        said = " ".join(Summary(result).chart.notes)
        lacking = [r.arch for r in result.history.records() if r.status == "failed" and r.arch not in front]
        assert all(SPACE.format(arch) in said for arch in lacking[:5])
        if searcher == "predictor" and (shown := failed & front):
            table = result.front.set_index("arch").loc[[SPACE.format(a) for a in shown]]
            assert set(table["latency_source"]) == {"predicted"}


def test_a_free_objective_without_a_value_is_said() -> None:
    def lost(archs: Archs) -> Any:
        return np.where(archs[:, 3] == 2, np.nan, latency(archs))

    goals = [oracle("accuracy"), oracle("latency", lost, expensive=False)]
    result = nastk.search(SPACE, goals, searcher="random", budget=20)
    (row,) = result.failures
    assert (row["objective"], row["reason"], row["of"]) == ("latency", "no value", 20)
    assert row["count"] == sum(arch[3] == 2 for arch in result.searcher.archs_) > 0
    said = " ".join(Summary(result).chart.notes)
    assert f"Failed: {row['count']} of 20 of latency: {row['count']} x no value." in said
    assert "Not compared with the others: " in said


def test_percentages_that_look_like_fractions_are_named_soon_and_in_the_end() -> None:
    def fraction(archs: Archs) -> Any:
        return accuracy(archs) / 100.0

    with pytest.warns(DataWarning, match="Every value of accuracy is between 0 and 1") as warned:
        result = nastk.search(SPACE, [oracle("accuracy", fraction), oracle("latency")], searcher="random", budget=6)
    assert len(warned) == 1
    assert any("return 93.1 and not 0.931" in note for note in result.notes)
    assert not nastk.search(SPACE, objectives(), searcher="random", budget=6).notes


def test_when_one_objective_fails_too_often_nothing_else_is_spent_on_its_networks() -> None:
    def seldom(archs: Archs) -> Any:
        if archs[0, 1] != 0:
            raise ValueError("no")
        return accuracy(archs)

    result = nastk.search(SPACE, [oracle("accuracy", seldom), oracle("latency")], searcher="random", budget=8)
    known = {r.arch for r in result.history.records() if r.objective == "accuracy" and r.status == "ok"}
    assert {r.arch for r in result.history.records() if r.objective == "latency"} <= known
    assert any("Stopped: 8 evaluations of accuracy failed" in note for note in result.notes)


def test_a_budget_that_is_not_spent_is_said() -> None:
    result = nastk.search(SPACE, objectives(), searcher="random", budget=500)
    assert [note.split(" evaluations of ")[0] for note in result.notes] == ["63 of the budget of 500"] * 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (12345.0, "12345 % is no accuracy, which is from 0 to 100 %"),
        (-5, "-5 % is no accuracy, which is from 0 to 100 %"),
        (True, "TypeError: the function of accuracy returned True, and not a number"),
        ("9_0.5", "TypeError: the function of accuracy returned '9_0.5', and not a number"),
        (float("inf"), "inf is no finite number"),
    ],
)
def test_an_accuracy_that_is_impossible_has_failed(value: Any, reason: str) -> None:
    goal = FunctionOracle(SPACE, lambda arch: value, "accuracy", "%", "max", one_by_one=True)
    history = History()
    with pytest.raises(NastkError, match="all 5 evaluations of accuracy failed"):
        nastk.search(SPACE, [goal], searcher="random", budget=5, storage=history, retries=0)
    assert {r.reason for r in history.records()} == {reason}


def test_a_panic_of_a_library_is_a_failure() -> None:
    class Panic(BaseException):
        pass

    def panics(archs: Archs) -> Any:
        if archs[0, 0] == 1:
            raise Panic("index out of bounds")
        return accuracy(archs)

    result = nastk.search(SPACE, [oracle("accuracy", panics)], searcher="random", budget=9)
    assert {row["reason"] for row in result.failures} == {"Panic: index out of bounds"}


def test_a_function_that_returns_nothing_is_said() -> None:
    goal = FunctionOracle(SPACE, lambda arch: None, "accuracy", "%", "max", one_by_one=True)
    with pytest.raises(NastkError, match="the function of accuracy returned None, and not a number: has it a return"):
        nastk.search(SPACE, [goal], searcher="random", budget=5, storage=History())


def test_a_seed_that_some_libraries_refuse_is_refused() -> None:
    with pytest.raises(InvalidValue, match="seed is a whole number of at most 4294967295"):
        nastk.search(SPACE, objectives(), searcher="random", budget=3, seed=2**32)


def test_an_evaluation_may_exit_or_move_and_nothing_else_changes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def rude(archs: Archs) -> Any:
        os.chdir(tmp_path / "elsewhere")
        if archs[0, 0] == 1:
            sys.exit("cannot go on")
        return accuracy(archs)

    result = nastk.search(SPACE, [oracle("accuracy", rude)], searcher="random", budget=9, storage="sqlite:///run.db")
    assert {r["reason"] for r in result.failures} == {"SystemExit: cannot go on"}
    assert os.getcwd() == str(tmp_path)
    assert [p.name for p in tmp_path.glob("*.db")] == ["run.db"]
    assert not list((tmp_path / "elsewhere").iterdir())


# ---- without storage


def test_what_was_evaluated_is_kept_when_a_search_in_memory_ends_with_an_error(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    class Wrong(Ridge):
        def fit(self, task: Any) -> Any:
            raise RuntimeError("singular matrix")

    with pytest.raises(RuntimeError, match="singular") as raised:
        nastk.search(SPACE, objectives(), predictor=Wrong(), budget=10)
    (note,) = raised.value.__notes__
    assert "storage='sqlite:///nastk-history.db'" in note
    kept = len(
        nastk.search(SPACE, objectives(), budget=0, predictor=Ridge(), storage="sqlite:///nastk-history.db").history
    )
    assert f"{kept} evaluations are kept" in note
    with pytest.raises(RuntimeError, match="singular") as raised:
        nastk.search(SPACE, objectives(), predictor=Wrong(), budget=10)
    assert "nastk-history-1.db" in raised.value.__notes__[0]
