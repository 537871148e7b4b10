"""A user's function that tells values on its way, and keeps files of its networks."""

from __future__ import annotations

import math
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, accuracy, latency, oracle

import nastk
from nastk.errors import DataWarning, InvalidValue
from nastk.evaluation import evaluate
from nastk.history import History
from nastk.oracles import FunctionOracle, TrainingStopped
from nastk.oracles.own_function import accuracy_function
from nastk.search.base import Objective
from nastk.search.mo_asha import MOASHA
from nastk.search.multi_fidelity import MultiFidelitySearch
from nastk.search.random import RandomSearch
from nastk.spaces.precisions import in_precisions
from nastk.study import Study
from nastk.testing import check_oracle

SPACE = Toy()
ARCH = np.array([2, 0, 1, 0])
EPOCHS = (1, 3, 9)


def after(arch: Any, epochs: float) -> float:
    """The toy's accuracy after some of nine epochs."""
    return float(accuracy(np.reshape(arch, (1, -1)))[0]) - 3.0 * (9 - epochs)


def yields(arch: Any) -> Iterator[tuple[int, float]]:
    for epoch in range(1, 100):
        yield epoch, after(arch, epoch)


def reports(arch: Any, report: Any) -> None:
    for epoch in range(1, 100):
        report(epoch, after(arch, epoch))


def resumes(arch: Any, folder: str) -> Iterator[tuple[int, float]]:
    """Trains on from its checkpoint, and logs each epoch that it trains."""
    checkpoint, log = Path(folder, "epoch"), Path(folder, "log")
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    yield from ((epoch, after(arch, epoch)) for epoch in range(1, done + 1))
    for epoch in range(done + 1, 100):
        with log.open("a") as file:
            file.write(f"{epoch}\n")
        checkpoint.write_text(str(epoch))
        yield epoch, after(arch, epoch)


def of(function: Any, fidelities: Any = EPOCHS, **options: Any) -> FunctionOracle:
    given = {"one_by_one": True, "fidelities": fidelities, "per_network": True, **options}
    return FunctionOracle(SPACE, function, "accuracy", "%", "max", **given)


def reason(function: Any, fidelities: Any = EPOCHS) -> str:
    record = evaluate(Objective.of(of(function, fidelities)), ARCH, None)
    assert record.status == "failed"
    return record.reason


# ---- values on the way


@pytest.mark.parametrize("function", [yields, reports, resumes])
def test_such_a_function_keeps_the_contract_of_oracles(function: Any, tmp_path: Path) -> None:
    found = of(function, folder=tmp_path)
    check_oracle(found, SPACE.sample(4, seed=0))
    check_oracle(pickle.loads(pickle.dumps(found)), SPACE.sample(4, seed=0))


@pytest.mark.parametrize("function", [yields, reports])
def test_a_training_ends_at_its_fidelity_and_tells_the_lower_ones(function: Any) -> None:
    found = of(function)
    archs = SPACE.sample(3, seed=1)
    for epochs, lower in ((9, [1, 3]), (3, [1]), (1, [])):
        answer = found.evaluate(archs, epochs)
        np.testing.assert_allclose(answer.value, [after(a, epochs) for a in archs])
        assert list(answer.lower) == lower
        for f, told in answer.lower.items():
            np.testing.assert_allclose(told.value, [after(a, f) for a in archs])
            assert told.cost.tolist() == [0.0] * 3


def test_what_comes_after_the_last_value_does_not_run_but_finally_does() -> None:
    ran = []

    def tells(arch: Any) -> Iterator[tuple[int, float]]:
        try:
            yield 1, 50.0
            ran.append("on")
            yield 2, 60.0
        finally:
            ran.append("finally")

    assert of(tells, (1, 2)).evaluate(ARCH, 1).value == 50.0
    assert ran == ["finally"]

    def reports_too(arch: Any, report: Any) -> None:
        try:
            report(1, 50.0)
            ran.append("on")
        except Exception:
            ran.append("an exception")
        except TrainingStopped:
            ran.append("stopped")
            raise

    assert of(reports_too, (1, 2)).evaluate(ARCH, 1).value == 50.0
    assert ran == ["finally", "stopped"]


def test_the_fidelity_goes_to_the_argument_epochs_wherever_it_stands() -> None:
    seen = []

    def named(arch: Any, folder: str = "none", *, epochs: int, report: Any) -> float:
        seen.append((folder, epochs))
        return 50.0 + epochs

    def second(arch: Any, length: int, report: Any) -> float:
        return 50.0 + length

    assert of(named).evaluate(ARCH, 3).value == 53.0
    assert seen == [("none", 3)], "an argument with a default keeps it where no folder is said"
    assert of(second).evaluate(ARCH, 3).value == 53.0


def test_a_returned_number_is_the_value_where_none_was_told_at_the_fidelity() -> None:
    def both(arch: Any, epochs: int, report: Any) -> float:
        for epoch in range(1, epochs):
            report(epoch, 50.0 + epoch)
        return 70.0

    def ends(arch: Any, epochs: int) -> Any:
        yield 1, 51.0
        return 70.0

    answer = of(both).evaluate(ARCH)
    assert (answer.value, answer.lower[3].value) == (70.0, 53.0)
    assert of(ends).evaluate(ARCH).value == 70.0


def test_without_fidelities_the_last_value_counts() -> None:
    def three(arch: Any) -> Iterator[tuple[int, float]]:
        yield from ((e, 50.0 + e) for e in (1, 2, 3))

    answer = of(three, ()).evaluate(ARCH)
    assert (answer.value, answer.lower) == (53.0, {})


def told(*values: Any) -> Any:
    """A function that yields these."""
    return lambda arch: (value for value in values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "TypeError: the function of accuracy yielded nothing"),
        ([(1, 50.0), (3, math.nan)], "ValueError: the value at epoch 3 is nan, which is no finite number"),
        ([(1, math.inf)], "ValueError: the value at epoch 1 is inf, which is no finite number"),
        ([(1, None)], "TypeError: the value at epoch 1 is 'None', not a number"),
        ([(1, True)], "TypeError: the value at epoch 1 is 'True', not a number"),
        ([(2, 50.0), (1, 50.0)], "ValueError: epoch 1 came after epoch 2: epochs ascend"),
        ([(2, 50.0), (2, 50.0)], "ValueError: epoch 2 came after epoch 2: epochs ascend"),
        ([(1, 50.0), (3, 60.0)], "ValueError: the training ended at epoch 3, before 9"),
        ([(10, 50.0)], "ValueError: there is no value at epoch 9: epoch 10 was the first; does its folder hold"),
        ([(8, 50.0), (10, 50.0)], "ValueError: there is no value at epoch 9: epoch 10 followed 8"),
        ([50.0], "TypeError: the function yielded '50.0'; write: yield epoch, value"),
        ([("one", 50.0)], "TypeError: an epoch is 'one', not a number"),
    ],
)
def test_values_that_cannot_be_used_are_failures(values: list[Any], words: str) -> None:
    def yielding(arch: Any) -> Any:
        yield from values

    assert reason(yielding).startswith(words)
    if values and all(isinstance(v, tuple) for v in values):

        def reporting(arch: Any, report: Any) -> None:
            for value in values:
                report(*value)

        assert reason(reporting).startswith(words)

        def hides_it(arch: Any, report: Any) -> float:
            for value in values:
                try:
                    report(*value)
                except (TypeError, ValueError):
                    break
            else:
                raise ValueError(words.partition(": ")[2])
            return 70.0

        assert reason(hides_it).startswith(words), "what was told before its end is not forgotten"


def test_a_function_that_reports_nothing_says_so() -> None:
    def silent(arch: Any, report: Any) -> None:
        pass

    assert reason(silent) == "TypeError: the function of accuracy reported nothing"


def test_an_error_of_the_training_is_its_reason() -> None:
    def breaks(arch: Any) -> Iterator[tuple[int, float]]:
        yield 1, 50.0
        raise RuntimeError("no memory")

    assert reason(breaks) == "RuntimeError: no memory"


# ---- functions of a file, as the command line brings them

FILE = """
import torch

def network_yields(network):
    for epoch in range(1, 100):
        yield epoch, float(sum(p.sum() for p in network.parameters()).detach()) % 40 + epoch

def network_epochs(network, folder, epochs):
    return float(sum(p.sum() for p in network.parameters()).detach()) % 40 + epochs

def plain(row):
    return 50.0

def needs(row, epochs, report):
    return 50.0
"""


def test_functions_of_a_network_may_yield_and_have_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "own.py"
    file.write_text(FILE)
    space = nastk.space("nasbench201")
    first = accuracy_function(space, f"{file}:network_yields", (2, 5), 3)
    second = accuracy_function(space, f"{file}:network_epochs", (2, 5), 3)
    second.folder = str(tmp_path / "runs")
    assert first.evaluate(7).value == second.evaluate(7).value
    assert first.evaluate(7).lower[2].value == second.evaluate(7, 2).value, "the same weights from the random seed"
    assert first.needs_folder, "for its weights"
    assert not accuracy_function(space, f"{file}:network_yields", (2, 5), 3, weights=False).needs_folder
    assert second.needs_folder


def test_a_function_that_cannot_be_ended_at_epochs_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FILE)
    with pytest.raises(InvalidValue, match="does not take `epochs` as its second argument, yields no `epoch, accuracy"):
        accuracy_function(SPACE, f"{file}:plain", (5,), 0)
    with pytest.raises(InvalidValue, match="takes `epochs`: say for how many"):
        accuracy_function(SPACE, f"{file}:needs", (), 0)


# ---- folders


def test_a_network_has_one_folder_at_every_fidelity_whatever_its_encoding(tmp_path: Path) -> None:
    found = of(resumes, folder=tmp_path / "runs")
    same = np.array([[0, 0, 1, 1], [0, 2, 1, 1]])
    assert len(set(SPACE.keys(same))) == 1
    for fidelity in EPOCHS:
        found.evaluate(same, fidelity)
    assert os.listdir(tmp_path / "runs") == ["0-0-1-1"]
    assert (tmp_path / "runs" / "0-0-1-1" / "log").read_text().split() == [str(e) for e in range(1, 10)]
    assert os.path.isabs(found.network_folder(ARCH))


def test_a_long_row_has_a_short_name(tmp_path: Path) -> None:
    class Long(nastk.SearchSpace):
        name = "long"
        choices = tuple(nastk.Choice(f"c{i}", ("a", "b")) for i in range(300))

    names = {
        Path(FunctionOracle(Long(), resumes, "accuracy", folder=tmp_path).network_folder(a)).name
        for a in Long().sample(3, 0)
    }
    assert len(names) == 3
    assert {len(name) for name in names} == {16}


def test_outside_of_a_search_the_folder_has_to_be_said() -> None:
    with pytest.raises(InvalidValue, match="evaluate it in a search, or say where, such as folder='runs'"):
        of(resumes).evaluate(ARCH)


def epochs_trained(root: Path) -> Counter[str]:
    return Counter({log.parent.name: len(log.read_text().split()) for log in root.glob("*/*/log")})


@pytest.mark.parametrize("kind", [MOASHA, MultiFidelitySearch])
def test_promoted_networks_train_on_from_their_checkpoints(kind: Any, tmp_path: Path) -> None:
    """With an objective that has no fidelities beside it: each epoch of a network is trained once."""
    goals = [of(resumes, folder=tmp_path / "all" / "runs"), oracle("latency")]
    history = Study(kind(SPACE, goals, seed=0, trainings=4.0), None, History()).run().history
    longest: dict[str, float] = {}
    for record in history.records():
        if record.objective == "accuracy":
            name = Path(goals[0].network_folder(np.array(record.arch))).name
            assert record.value == pytest.approx(after(record.arch, record.fidelity or 9))
            longest[name] = max(longest.get(name, 0), record.fidelity or 9)
    assert {1, 9} <= set(longest.values())
    assert epochs_trained(tmp_path / "all") == longest
    assert {r.fidelity for r in history.records() if r.objective == "latency"} == {None}
    keys = [(r.arch, r.objective, r.fidelity) for r in history.records()]
    assert len(keys) == len(set(keys))


def test_values_on_the_way_are_recorded_without_a_charge() -> None:
    history = Study(RandomSearch(SPACE, [of(yields)]), 4, History()).run().history
    assert history.spent() == {"accuracy": 4}
    found = Counter((r.fidelity, r.charged, r.cost > 0) for r in history.records())
    assert found == {(None, True, True): 4, (1, False, False): 4, (3, False, False): 4}
    assert all(r.value == pytest.approx(after(r.arch, r.fidelity or 9)) for r in history.records())


def test_searchers_learn_from_values_on_the_way() -> None:
    search = RandomSearch(SPACE, [of(yields)])
    Study(search, 2, History()).run()
    archs, fidelities, values = search.lower("accuracy")
    assert fidelities.tolist() == [1, 3, 1, 3]
    np.testing.assert_allclose(values, [after(a, f) for a, f in zip(archs, fidelities, strict=True)])
    assert search.charged("accuracy") == {None: 2}


def test_fractions_are_asked_about_though_several_values_come_at_once() -> None:
    def fractions(arch: Any) -> Iterator[tuple[int, float]]:
        yield from ((e, 0.5 + 0.01 * e) for e in range(1, 10))

    with pytest.warns(DataWarning, match="between 0 and 1, as of fractions"):
        Study(RandomSearch(SPACE, [of(fractions, (1, 9))]), 2, History()).run()


# ---- where a search keeps them


def test_a_sqlite_history_has_them_beside_it_for_all_its_studies(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'run.db'}"
    result = nastk.search(SPACE, [of(resumes)], "mo-asha", trainings=2.0, storage=storage)
    root = tmp_path / "run.db-networks"
    assert any(str(root) in note for note in result.notes)
    [own] = root.iterdir()
    before = epochs_trained(root)
    with pytest.warns(UserWarning, match="known from study"):
        nastk.search(SPACE, [of(resumes)], "mo-asha", trainings=2.0, storage=storage, seed=1)
    assert list(root.iterdir()) == [own], "the other study knows what was trained here, and has its checkpoints"
    assert epochs_trained(root) >= before
    assert max(epochs_trained(root).values()) == 9
    with pytest.warns(UserWarning, match="Began study"):
        nastk.search(SPACE, [of(other_resumes)], "random", budget=1, storage=storage)
    assert len(list(root.iterdir())) == 2, "the networks of another function are others"


def other_resumes(arch: Any, folder: str) -> Iterator[tuple[int, float]]:
    return resumes(arch, folder)


def test_a_result_counts_for_no_fidelity_that_the_function_does_not_know() -> None:
    def early(arch: Any, report: Any) -> float:
        report(1, 50.0)
        return 70.0

    def unaware(arch: Any, folder: str = "none") -> float:
        return 70.0

    assert reason(early) == "ValueError: the training ended at epoch 1, before 9"
    assert reason(unaware).endswith("the function of accuracy takes no `epochs`, and yields no `epoch, value`")
    assert of(unaware, ()).evaluate(ARCH).value == 70.0


def test_a_history_in_memory_has_a_new_folder_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = of(resumes)
    for _ in range(2):
        nastk.search(SPACE, [found], "random", budget=2)
    assert sorted(os.listdir(tmp_path)) == ["nastk-networks", "nastk-networks-1"]
    assert epochs_trained(tmp_path / "nastk-networks") == epochs_trained(tmp_path / "nastk-networks-1")


def test_they_are_kept_with_what_is_rescued_of_a_search_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def stop(done: float, total: float, name: str) -> None:
        if done >= 1:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        nastk.search(SPACE, [of(resumes)], "mo-asha", trainings=2.0, progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nastk-history.db", "nastk-history.db-networks"]
    before = epochs_trained(tmp_path / "nastk-history.db-networks")
    nastk.search(SPACE, [of(resumes)], "mo-asha", trainings=2.0, storage="sqlite:///nastk-history.db")
    assert max(epochs_trained(tmp_path / "nastk-history.db-networks").values()) == 9, "no epoch is trained twice"
    assert before


def test_a_new_history_says_that_there_are_files_of_an_earlier_one(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'run.db'}"
    nastk.search(SPACE, [of(resumes)], "random", budget=1, storage=storage)
    for file in tmp_path.glob("run.db*"):
        if file.is_file():
            file.unlink()
    with pytest.warns(UserWarning, match="holds what earlier trainings kept, and this history nothing"):
        nastk.search(SPACE, [of(resumes)], "random", budget=1, storage=storage)


def test_worker_processes_use_the_folders_that_the_search_chose(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        storage = f"sqlite:///{tmp_path / 'run.db'}"
        nastk.search(
            SPACE, [of(resumes), oracle("latency", latency)], "mo-asha", trainings=3.0, storage=storage,
            executor=pool, workers=2,
        )  # fmt: skip
    trained = epochs_trained(tmp_path / "run.db-networks")
    assert max(trained.values()) == 9
    assert len(trained) > 3


def test_a_search_that_chooses_precisions_trains_each_network_once(tmp_path: Path) -> None:
    space = in_precisions(SPACE, "fp32,int8")
    from nastk.oracles.of_network import OfNetwork

    found = OfNetwork(of(resumes), space)
    nastk.search(space, [found], "random", budget=3, storage=f"sqlite:///{tmp_path / 'run.db'}")
    assert set(epochs_trained(tmp_path / "run.db-networks").values()) == {9}
