"""Which evaluations and studies are the same: changed spaces, functions, devices; what a study takes from others."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, accuracy, latency, objectives, oracle

import nastk
from nastk.code import code_of, identify
from nastk.identity import evaluation_identity
from nastk.search.base import Objective
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs


def digest(of: nastk.Oracle) -> str:
    return evaluation_identity(Objective.of(of)).digest


def counting(asked: list[Any], function: Any = accuracy) -> nastk.Oracle:
    def evaluate(archs: Archs) -> Any:
        asked.extend(map(tuple, archs.tolist()))
        return function(archs)

    evaluate.__wrapped__ = function  # type: ignore[attr-defined]  # the same function, watched
    return oracle("accuracy", evaluate)


# ---- spaces


class Widths(nastk.SearchSpace):
    name = "widths"

    def __init__(self, *options: str):
        self.choices = (nastk.Choice("width", options),)

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


def of_width(space: Widths) -> nastk.Oracle:
    value = {"16": 54.0, "32": 58.0, "64": 66.0}

    def widths(archs: Archs) -> Any:
        return [value[space.format(a)] for a in archs]

    return nastk.FunctionOracle(space, widths, "accuracy", "%", "max")


def test_reordered_options_are_another_study(tmp_path: Path) -> None:
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "random", "budget": 3}
    nastk.search(Widths("16", "32", "64"), [of_width(Widths("16", "32", "64"))], **stored)
    turned = Widths("64", "32", "16")
    with pytest.warns(UserWarning, match="the options of width were 16, 32, 64 and are 64, 32, 16"):
        result = nastk.search(turned, [of_width(turned)], **stored)
    assert result.front[["arch", "accuracy"]].to_numpy().tolist() == [["64", 66.0]]
    assert not any(r.study for r in result.history.records()), "nothing of the other space is used"


@pytest.mark.parametrize("other", [Widths("16", "32"), Widths("16", "32", "64", "128"), Widths("16", "32", "65")])
def test_a_space_with_other_options_has_another_identity(other: Widths) -> None:
    assert digest(of_width(other)) != digest(of_width(Widths("16", "32", "64")))
    assert digest(of_width(Widths("16", "32", "64"))) == digest(of_width(Widths("16", "32", "64")))


def test_options_of_a_space_are_part_of_its_identity() -> None:
    class Classes(Widths):
        def __init__(self, classes: int):
            super().__init__("16", "32", "64")
            self.classes = classes

    ten, hundred = Classes(10), Classes(100)
    before = ten.identity()
    assert before != hundred.identity()
    assert before["build"] == "{'classes': 10}"
    ten.sample(3, 0)
    ten.enumerate()
    assert ten.identity() == before == Classes(10).identity()


def test_a_pool_shares_evaluations_with_its_space_and_is_another_study() -> None:
    pool, other = Pool(Toy(), Toy().sample(5, 0)), Pool(Toy(), Toy().sample(6, 1))
    mine = [nastk.FunctionOracle(s, accuracy, "accuracy") for s in (Toy(), pool, other)]
    assert len({digest(o) for o in mine}) == 1
    assert pool.identity() != other.identity()


# ---- functions


def test_functions_of_one_name_are_told_apart_by_their_files(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / f"{name}_acc.py").write_text("def acc(arch):\n    return 1.0\n")
        found.append(nastk.registry.load_object(f"{tmp_path}/{name}_acc.py:acc"))
    assert identify(found[0]) != identify(found[1])
    for name in ("one_acc", "two_acc"):
        sys.modules.pop(name, None)


def test_what_a_function_closes_over_and_what_a_lambda_does_are_part_of_it() -> None:
    def scaled(factor: float) -> Any:
        def function(archs: Archs) -> Any:
            return factor * archs.sum()

        return function

    assert identify(scaled(2.0)) != identify(scaled(3.0))
    assert identify(scaled(2.0)) == identify(scaled(2.0))
    pair = [lambda a: a.sum(), lambda a: a.max()]
    assert identify(pair[0]) != identify(pair[1])
    assert identify(partial(latency, 1)) != identify(partial(latency, 2))


def test_what_an_object_and_the_defaults_of_a_function_hold_is_part_of_it() -> None:
    class Trainer:
        def __init__(self, dataset: str, **settings: float):
            self.dataset, self.settings, self.log = dataset, settings, []  # type: ignore[var-annotated]

        def train(self, archs: Archs) -> Any:
            self.log.append(1)
            return archs.sum()

        __call__ = train

    ten, hundred = Trainer("cifar10", lr=0.1), Trainer("cifar100", lr=0.1)
    assert identify(ten.train) != identify(hundred.train)
    assert identify(ten) != identify(hundred)
    assert identify(ten.train) != identify(Trainer("cifar10", lr=0.2).train)
    before = identify(ten.train)
    ten.train(np.zeros(3))
    assert identify(ten.train) == before, "a log is no setting"
    made = [lambda a, k=k: a * k for k in (1, 2)]
    assert identify(made[0]) != identify(made[1])
    assert identify(lambda a, k=(1, 2): a)["defaults"] == [[1, 2]]


def test_installed_code_has_no_version_and_a_users_file_has(tmp_path: Path) -> None:
    assert code_of(np.mean) is None
    assert code_of(type(nastk.space("nasbench201"))) is None
    (tmp_path / "mine_code.py").write_text("def acc(arch):\n    return 1.0\n")
    found = code_of(nastk.registry.load_object(f"{tmp_path}/mine_code.py:acc"))
    assert found is not None
    assert found.where == "mine_code.py"
    assert found.changed
    sys.modules.pop("mine_code", None)


def test_an_edited_function_is_a_warning_with_the_date(tmp_path: Path) -> None:
    file = tmp_path / "edited_acc.py"
    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random"}

    def search(budget: int) -> nastk.Result:
        function = nastk.registry.load_object(f"{file}:acc")
        return nastk.search(Toy(), [nastk.FunctionOracle(Toy(), function, "accuracy")], budget=budget, **stored)

    file.write_text("EPOCHS = 5\n\ndef acc(archs):\n    return EPOCHS + archs.sum(axis=1)\n")
    search(3)
    file.write_text("EPOCHS = 7\n\ndef acc(archs):\n    return EPOCHS + archs.sum(axis=1)\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))  # 2023-11-14
    with pytest.warns(UserWarning, match=r"edited: edited_acc\.py \(changed 2023-11-1\d .*3 of its evaluations"):
        result = search(5)
    assert result.history.counts() == {"accuracy": 5}
    assert any("2023-11-1" in note for note in result.notes)
    sys.modules.pop("edited_acc", None)


def test_failures_before_a_function_was_edited_no_longer_count(tmp_path: Path) -> None:
    file = tmp_path / "mended_acc.py"

    def search() -> nastk.Result:
        function = nastk.registry.load_object(f"{file}:acc")
        goal = nastk.FunctionOracle(Toy(), function, "accuracy")
        return nastk.search(Toy(), [goal], budget=6, searcher="random", storage=tmp_path / "run.db")

    file.write_text("def acc(archs):\n    return archz.sum(axis=1)\n")
    with pytest.raises(nastk.errors.NastkError, match="archz"):
        search()
    file.write_text("def acc(archs):\n    return archs.sum(axis=1)\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    with pytest.warns(UserWarning, match="5 evaluations that failed before the code was edited no longer count"):
        result = search()
    assert not result.failures
    assert result.history.counts() == {"accuracy": 6}
    sys.modules.pop("mended_acc", None)


# ---- studies of one storage


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"constraints": ["latency<=12"]},
        {"searcher": "pareto-local-search"},
        {"searcher": "pymoo:nsga2"},
        {"searcher": "predictor", "predictor": "ridge"},
    ],
    ids=lambda change: next(iter(change.values())),
)
@pytest.mark.filterwarnings("ignore:Began study", "ignore:.*known from study")
def test_another_search_uses_what_is_known_and_pays_its_own_budget(tmp_path: Path, change: dict[str, Any]) -> None:
    asked: list[Any] = []
    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random", "budget": 9}
    first = nastk.search(Toy(), [counting(asked), oracle("latency")], **stored)
    second = nastk.search(Toy(), [counting(asked), oracle("latency")], **{**stored, **change})
    assert len(asked) == len(set(asked)) == 18, "nothing known is evaluated again, and the budget is for new ones"
    known = [r for r in second.history.records() if r.study]
    assert {(r.arch, r.objective, r.value) for r in known} == {
        (r.arch, r.objective, r.value) for r in first.history.records()
    }
    assert {r.study for r in known} == {"nastk"}
    assert second.history.counts() == second.history.spent() == {"accuracy": 9, "latency": 9}


@pytest.mark.filterwarnings("ignore:Began study", "ignore:.*known from study")
def test_a_search_for_another_device_needs_no_new_accuracies(tmp_path: Path) -> None:
    asked: list[Any] = []
    slower = nastk.FunctionOracle(Toy(), lambda archs: 2.0 * latency(archs), "latency", "ms")
    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random"}
    nastk.search(Toy(), [counting(asked), oracle("latency")], budget=12, **stored)
    result = nastk.search(Toy(), [counting(asked), slower], budget={"accuracy": 0, "latency": 6}, **stored)
    assert len(asked) == 12
    assert sum(bool(r.study) for r in result.history.records() if r.objective == "accuracy") == 12
    assert not any(r.study for r in result.history.records() if r.objective == "latency")


@pytest.mark.filterwarnings("ignore:Began study", "ignore:.*known from study")
def test_a_failure_of_one_study_is_none_of_another(tmp_path: Path) -> None:
    def sometimes(archs: Archs) -> Any:
        if (tmp_path / "no GPU").exists() and archs[0, 0] == 0:
            raise RuntimeError("no GPU")
        return accuracy(archs)

    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random"}
    (tmp_path / "no GPU").touch()
    first = nastk.search(Toy(), [oracle("accuracy", sometimes)], budget=9, **stored)
    assert first.failures
    (tmp_path / "no GPU").unlink()
    second = nastk.search(Toy(), [oracle("accuracy", sometimes)], budget=9, seed=1, **stored)
    assert not second.failures
    assert sum(bool(r.study) for r in second.history.records()) == 9


def test_a_changed_budget_is_the_same_study(tmp_path: Path) -> None:
    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random"}
    nastk.search(Toy(), objectives(), budget=3, **stored)
    result = nastk.search(Toy(), objectives(), budget=6, **stored)
    assert result.history.counts() == {"accuracy": 6, "latency": 6}
    assert not result.notes


@pytest.mark.filterwarnings("ignore:Began study", "ignore:.*known from study")
def test_a_value_known_in_the_meantime_is_taken_over_when_a_study_is_resumed(tmp_path: Path) -> None:
    stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "random"}
    nastk.search(Toy(), objectives(), budget=4, **stored)
    nastk.search(Toy(), objectives(), budget=7, seed=1, **stored)
    again = nastk.search(Toy(), objectives(), budget=4, **stored)
    assert sum(bool(r.study) for r in again.history.records()) == 2 * 7
    assert again.history.spent() == {"accuracy": 4, "latency": 4}


@pytest.mark.filterwarnings("ignore:Began study", "ignore:.*known from study")
def test_fidelities_are_matched_by_what_they_are(tmp_path: Path) -> None:
    """A value at 50 epochs is the target of 5,50 and of no use where the target is 100."""

    def train(archs: Archs, epochs: float) -> Any:
        return accuracy(archs) - 10.0 / epochs

    def search(epochs: tuple[int, ...], **more: Any) -> nastk.Result:
        goal = nastk.FunctionOracle(Toy(), train, "accuracy", "%", "max", fidelities=epochs)
        stored: dict[str, Any] = {"storage": tmp_path / "run.db", "searcher": "successive-halving"}
        return nastk.search(Toy(), [goal], **{**stored, **more})

    first = search((5, 50), budget=4)
    same = search((5, 50, 200), budget=0, searcher="random")
    known = {(r.arch, r.fidelity): r.value for r in same.history.records() if r.study}
    assert known == {(r.arch, 50.0 if r.fidelity is None else r.fidelity): r.value for r in first.history.records()}
    other = search((5, 100), budget=0, searcher="random")
    assert {r.fidelity for r in other.history.records()} == {5.0}
