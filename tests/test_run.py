"""One way into a search: asked on the command line, in Python or by a description, it is the same search."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, objectives, oracle

import nastk
from nastk import cli, run
from nastk.errors import InvalidValue, UnknownName
from nastk.result import Result
from nastk.search.random import RandomSearch
from nastk.storage import open_history

COMMAND = ["search", "--dataset", "cifar10", "--device", "pixel3"]


def _in_python(budget: int, **options: Any) -> Result:
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    goals = [table.oracle("test_accuracy"), table.oracle("latency", device="pixel3")]
    return nastk.search(table.space, goals, budget=budget, seed=0, **options)


def _rows(result: Result) -> list[tuple[Any, ...]]:
    records = result.history.records()
    return [(r.arch, r.objective, r.value, r.fidelity, r.kind, r.source, r.purpose) for r in records]


@pytest.mark.data
def test_three_forms_of_one_search_give_the_same_records_and_the_same_front(nastk_home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    straight = _in_python(8)
    assert cli.run([*COMMAND, "--budget", "8", "--out", str(tmp_path), "--storage", url]) == 0
    written = json.loads((tmp_path / "result.json").read_text())
    assert [row["arch"] for row in written["front"]] == list(straight.front["arch"])
    assert [row["latency"] for row in written["front"]] == list(straight.front["latency"])
    # The command's study is finished in Python: the same settings open it, and nothing is evaluated again.
    resumed = _in_python(8, storage=url)
    assert _rows(resumed) == _rows(straight)
    # So does the description that was written beside the front.
    described = run.compose(run.SearchDescription.from_dict(written["search"]), storage=url)
    described.search()
    assert _rows(described.verify()) == _rows(straight)
    described.close()


@pytest.mark.data
def test_a_study_begun_by_the_command_is_finished_in_python(nastk_home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    assert cli.run([*COMMAND, "--budget", "7", "--verify", "0", "--out", str(tmp_path), "--storage", url]) == 0
    began = _rows(Result(RandomSearch(Toy(), objectives()), open_history(url, config=_stored_config(tmp_path))))
    finished = _in_python(9, storage=url, verify=0)
    assert _rows(finished)[: len(began)] == began
    assert finished.history.counts() == {"test_accuracy": 9, "latency": 10}


def _stored_config(folder: Path) -> dict[str, Any]:
    with sqlite3.connect(folder / "run.db") as database:
        found: dict[str, Any] = json.loads(database.execute("SELECT config FROM nastk_studies").fetchone()[0])
    return found


@pytest.mark.data
def test_names_and_objects_describe_the_same_search(nastk_home: Path) -> None:
    named = run.describe(dataset="cifar10", device="pixel3", constraints=["accuracy>=90"], predictors=["accuracy=gp"])
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    goals = [table.oracle("test_accuracy"), table.oracle("latency", device="pixel3")]
    given, _ = run.describe_objects(
        table.space,
        [nastk.Objective.of(o) for o in goals],
        constraints=["test_accuracy>=90"],
        predictor={"test_accuracy": nastk.predictor("gp")},
    )
    assert named.constraints == ("test_accuracy>=90",)
    one, other = (run.compose(d, o) for d, o in ((named, None), (given, run.Objects(table.space))))
    assert one.identity == other.identity


def test_a_description_is_json() -> None:
    described = run.describe(objectives=["flops", "latency"], constraints=["latency<=10"], verify=0, seed=3)
    again = run.SearchDescription.from_dict(json.loads(json.dumps(described.to_dict())))
    assert json.dumps(again.to_dict()) == json.dumps(described.to_dict())
    composed = run.compose(again)
    assert [o.name for o in composed.searcher.objectives] == ["flops", "latency"]
    assert composed.searcher.few_shot == ["latency"]
    assert composed.budget == {"latency": 10}
    assert composed.batch == 10, "measurements alone take turns"


def test_an_object_that_a_description_cannot_make_again_is_said() -> None:
    described, _ = run.describe_objects(Toy(), [nastk.Objective.of(o) for o in objectives()])
    with pytest.raises(InvalidValue, match="'accuracy' is an object"):
        run.compose(described, run.Objects(Toy()))


def test_another_predictor_object_is_another_study(tmp_path: Path) -> None:
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "budget": 4}
    nastk.search(Toy(), objectives(), predictor=nastk.predictor("ridge"), **stored)
    nastk.search(Toy(), objectives(), predictor="ridge", **stored)  # by name it is the same
    with pytest.raises(InvalidValue, match="predictors was"):
        nastk.search(
            Toy(), objectives(), predictor=nastk.predictor("ridge", encoding="counts"), study="nastk", **stored
        )


def test_a_history_of_ones_own_is_a_storage() -> None:
    mine = nastk.History()
    result = nastk.search(Toy(), objectives(), searcher="random", budget=3, storage=mine)
    assert result.history is mine
    assert len(mine) == 6
    assert nastk.search(Toy(), objectives(), searcher="random", budget=3, storage=mine).history.counts() == {
        "accuracy": 3,
        "latency": 3,
    }


@pytest.mark.parametrize(("budget", "names", "batch"), [(50, 2, 5), (20, 2, 2), (4, 2, 1), (50, 1, 1)])
def test_the_default_batch(budget: int, names: int, batch: int) -> None:
    goals = [nastk.Objective.of(o) for o in objectives()[:names]]
    assert run.compose(*run.describe_objects(Toy(), goals, budget=budget, predictor="ridge")).batch == batch


def test_the_front_is_verified_beyond_the_budget_and_settled() -> None:
    goals = objectives()
    goals[1].few_shot = True
    result = nastk.search(Toy(), goals, budget=16, measurements=5, verify=4, seed=1)
    assert result.history.counts() == {"accuracy": 16, "latency": 5}
    assert 0 < len(result.history.records("verify")) <= 4
    assert result.proposed is not None
    assert len(result.front_archs) <= len(result.proposed)
    known = [r for r in result.history.records() if r.objective == "latency"]
    rows = {r.arch for r in known}
    values = result.front[["accuracy", "latency"]].to_numpy()[[tuple(a) in rows for a in result.front_archs]]
    better = (values[:, None, 0] >= values[:, 0]) & (values[:, None, 1] <= values[:, 1])
    assert (better.sum(axis=0) == 1).all(), "something dominated by a measured one is left in the front"
    unverified = nastk.search(Toy(), goals, budget=16, measurements=5, verify=0, seed=1)
    assert not unverified.history.records("verify")


def test_without_measurements_no_objective_is_learned_from_few() -> None:
    goals = objectives()
    goals[1].few_shot = True
    result = nastk.search(Toy(), goals, budget=6, measurements=None)
    assert result.history.counts() == {"accuracy": 6, "latency": 6}


def test_a_database_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    history = open_history(url, config={})
    history.add(
        [nastk.Record((0, 0, 0, 0), "latency", 1.0, source="table toy"), nastk.Record((1, 0, 0, 0), "latency", 2.0)]
    )
    history.close()
    with sqlite3.connect(tmp_path / "run.db") as old:
        old.execute("ALTER TABLE nastk_records DROP COLUMN kind")
    assert [r.kind for r in open_history(url, config={}).records()] == ["table", "measured"]


def test_records_say_what_sort_of_value_they_hold() -> None:
    goals = [oracle("accuracy"), oracle("latency", expensive=False)]
    result = nastk.search(Toy(), goals, searcher="random", budget=3)
    assert {r.kind for r in result.history.records()} == {"measured"}
    assert set(result.front["latency_source"]) == {"computed"}
    assert np.isfinite(result.front["latency"]).all()


@pytest.mark.parametrize(
    "wrong", [{"verify": -1}, {"measurements": 1}, {"batch": 0}, {"verify": 1.5}, {"seed": -1}, {"seed": None}]
)
def test_numbers_that_cannot_be_used_are_refused_before_anything_is_evaluated(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=f"{next(iter(wrong))} is a whole number"):
        nastk.search(Toy(), objectives(), searcher="random", budget=2, **wrong)


def test_a_bound_is_kept_exactly() -> None:
    bound = 1234567.125
    described = run.describe(objectives=["flops", "latency"], constraints=[f"flops<={bound}"])
    assert described.constraints == (f"flops<={bound}",)
    assert str(nastk.Constraint("latency", "<=", 10.0)) == "latency<=10"
    exact = nastk.Constraint("latency", "<=", 0.1 + 0.2)
    assert nastk.Constraint.parse(str(exact)) == exact


def test_numpy_integers_are_integers() -> None:
    result = nastk.search(
        Toy(),
        objectives(),
        searcher="random",
        budget=np.int64(3),
        seed=np.int64(1),
        verify=np.int64(0),  # type: ignore[arg-type]
    )
    assert len(result.history) == 6


def test_one_oracle_and_one_constraint_need_no_list() -> None:
    result = nastk.search(Toy(), oracle("latency"), "random", constraints="latency<=8", budget=3)  # type: ignore[arg-type]
    assert [o.name for o in result.objectives] == ["latency"]
    assert [str(c) for c in result.constraints] == ["latency<=8"]


def test_a_description_that_is_no_description_is_one_line() -> None:
    fine = run.describe(objectives=["flops", "latency"]).to_dict()
    with pytest.raises(UnknownName, match="did you mean 'budget'"):
        run.SearchDescription.from_dict({**fine, "budgt": 3})
    with pytest.raises(InvalidValue, match="lacks its objectives"):
        run.SearchDescription.from_dict({"space": "nasbench201"})
    misspelt = {**fine, "objectives": [{"name": "flops", "oracle": {"oracle": "cuont"}}]}
    with pytest.raises(UnknownName, match=r"kind of oracle of the objective 'flops'.*did you mean 'count'"):
        run.compose(run.SearchDescription.from_dict(misspelt))


def test_a_predictor_object_that_a_description_cannot_make_again_is_said() -> None:
    described = run.describe(objectives=["flops", "latency"])
    own = run.SearchDescription.from_dict({**described.to_dict(), "predictors": {"latency": "gp(encoding='vec')"}})
    with pytest.raises(InvalidValue, match=r"predictor of latency.*cannot make again"):
        run.compose(own)


def test_a_result_of_python_is_one_for_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = nastk.search(Toy(), objectives(), searcher="random", budget=4)
    result.to_json(tmp_path / "mine.json")
    assert json.loads((tmp_path / "mine.json").read_text())["search"]["searcher"] == "random"
    assert cli.run(["report", str(tmp_path / "mine.json")]) == 0
    assert "toy: accuracy against latency" in capsys.readouterr().out


def _slow_or_failing(failures: int = 0, seconds: float = 0.0) -> nastk.Oracle:
    """The toy's latency, of which the first evaluations fail or each takes a while, learned from few."""
    answers, begun = oracle("latency"), []

    def evaluate(archs: Any) -> Any:
        begun.append(1)
        time.sleep(seconds)
        if len(begun) <= failures:
            raise RuntimeError("device lost")
        return answers.function(archs)

    found = oracle("latency", evaluate)
    found.few_shot = True
    return found


@pytest.mark.parametrize("failures", [1, 2, 4])
def test_failed_measurements_do_not_end_a_search(failures: int) -> None:
    goals = [oracle("accuracy"), _slow_or_failing(failures)]
    result = nastk.search(Toy(), goals, budget=8, measurements=4, verify=0, batch=2, retries=0)
    assert result.history.counts()["accuracy"] == 8
    failed = [r for r in result.history.records() if r.status == "failed"]
    assert {r.reason for r in failed} == {"RuntimeError: device lost"}
    assert len(failed) == failures


def test_measurements_that_take_longer_than_accuracies_are_waited_for() -> None:
    goals = [oracle("accuracy"), _slow_or_failing(seconds=0.1)]
    with ThreadPoolExecutor(6) as pool:
        result = nastk.search(Toy(), goals, budget=10, measurements=6, verify=0, executor=pool, workers=6)
    assert result.history.counts() == {"accuracy": 10, "latency": 6}


@pytest.mark.data
def test_a_predictor_named_for_all_leaves_free_columns_of_a_table_alone(nastk_home: Path) -> None:
    described = run.describe(
        dataset="cifar10", device="pixel3", objectives=["accuracy", "nwot", "latency"], predictors=["gp"]
    )
    assert described.predictors == {"test_accuracy": "gp", "latency": "gp"}
    assert run.compose(described).searcher.expensive == ("test_accuracy", "latency")


@pytest.mark.data
def test_an_objective_on_a_device_of_its_own_is_that_of_the_option(nastk_home: Path) -> None:
    of_option = run.describe("nasbench201", "cifar10", "pixel3", ("accuracy", "latency"), ("latency<=3",))
    own = run.describe("nasbench201", "cifar10", "this", ("accuracy", "latency:pixel3"), ("latency:pixel3<=3",))
    assert own == of_option
    assert run.describe("nasbench201", "cifar10", "raspi4", ("latency:pixel3", "latency")).objectives[0] == {
        **of_option.objectives[1], "name": "latency-pixel3",
    }  # fmt: skip


@pytest.mark.data
def test_search_and_bench_search_read_one_text_as_one_objective(nastk_home: Path) -> None:
    from nastk.bench.problems import problems

    table = nastk.benchmark("nasbench201", dataset="cifar10")
    for text in ("latency:pixel3", "val_accuracy@12", "max:energy:edgegpu", "min:nwot"):
        (problem,) = problems("nasbench201", "cifar10", [text], devices=[])
        (theirs,) = (goal.oracle(table) for goal in problem.goals)
        described = run.describe("nasbench201", "cifar10", objectives=(text, "test_accuracy"), verify=0)
        ours = run.compose(described).searcher.objectives[0].oracle
        archs = table.space.sample(5, seed=0)
        np.testing.assert_array_equal(ours(archs), theirs(archs))
        assert (ours.direction, ours.expensive, ours.fidelity) == (theirs.direction, theirs.expensive, theirs.fidelity)


@pytest.mark.data
def test_objectives_of_one_metric_are_told_apart_by_device_or_epochs(nastk_home: Path) -> None:
    described = run.describe(
        "nasbench201", "cifar10", "this", ("latency:pixel3", "latency:raspi4", "val_accuracy@12", "val_accuracy@200"),
        ("latency-pixel3<=3", "latency:raspi4<=9"), predictors=("latency:pixel3=gp", "val_accuracy@12=ridge"),
    )  # fmt: skip
    names = ["latency-pixel3", "latency-raspi4", "val_accuracy-12", "val_accuracy-200"]
    assert [entry["name"] for entry in described.objectives] == names
    assert described.constraints == ("latency-pixel3<=3", "latency-raspi4<=9")
    assert described.predictors == {"latency-pixel3": "gp", "val_accuracy-12": "ridge"}
    with pytest.raises(UnknownName, match="unknown objective 'latency'; did you mean 'latency:"):
        run.describe(
            "nasbench201", "cifar10", "this", ("latency:pixel3", "latency:raspi4"), constraints=("latency<=3",)
        )


def test_an_own_function_is_evaluated_at_the_epochs_of_its_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train_at.py").write_text("def train(arch, epochs):\n    return float(epochs)\n")
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"accuracy": "train_at.py:train", "epochs": (5, 50), "searcher": "random"}
    for text, epochs in (("accuracy@5", 5.0), ("accuracy", None)):
        described = run.describe("nasbench201", objectives=(text,), **options)
        assert described.objectives[0]["fidelity"] == epochs
    with pytest.raises(InvalidValue, match="--epochs has no 7"):
        run.describe("nasbench201", objectives=("accuracy@7",), **options)
