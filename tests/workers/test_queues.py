"""What is evaluated when: measurements have the machine, or their device, to themselves; time and cost run out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, accuracy, latency, objectives, oracle

import nastk
from nastk.errors import InvalidValue
from nastk.oracles.base import THIS_MACHINE, Evaluation, Oracle
from nastk.search.random import RandomSearch
from nastk.study import Study
from nastk.workers.isolated import Isolated


class Logged(Oracle):
    """An oracle that writes when its evaluations begin and end."""

    space = Toy()

    def __init__(self, name: str, log: Path, exclusive: str | None = None, together: int = 1, seconds: float = 0.02):
        self.name, self.log, self.exclusive, self.together, self.seconds = name, log, exclusive, together, seconds
        self.unit, self.source = "", "logged"

    def _evaluate(self, archs: Any, fidelity: float | None) -> Evaluation:
        self.write("begin")
        time.sleep(self.seconds)
        self.write("end")
        values = (latency if self.name != "accuracy" else accuracy)(archs)
        return Evaluation(values, np.zeros(len(archs)), np.full(len(archs), 2.0))

    def write(self, what: str) -> None:
        with self.log.open("a") as file:  # one write of a line: those of several processes are whole
            file.write(f"{self.name} {what}\n")


def beside(log: Path) -> tuple[set[tuple[str, ...]], int]:
    """Which objectives were evaluated at the same time, and how many at most."""
    running: list[str] = []
    found, most = set(), 0
    for line in log.read_text().splitlines():
        name, what = line.rsplit(" ", 1)
        if what == "begin":
            running.append(name)
            found.add(tuple(sorted(running)))
            most = max(most, len(running))
        else:
            running.remove(name)
    return found, most


@contextmanager
def pool(kind: str) -> Iterator[Any]:
    if kind == "threads":
        with ThreadPoolExecutor(3) as threads:
            yield threads
    else:
        workers = Isolated(3)
        yield workers
        workers.close()


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_nothing_runs_beside_a_measurement_on_this_machine(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    goals = [Logged("accuracy", log, seconds=0.05), Logged("latency", log, THIS_MACHINE, together=4)]
    with pool(kind) as workers:
        result = nastk.search(Toy(), goals, searcher="random", budget=16, executor=workers, workers=3)
    together, most = beside(log)
    assert result.history.counts() == {"accuracy": 16, "latency": 16}
    assert all(set(names) == {"latency"} for names in together if "latency" in names), together
    assert ("latency", "latency") not in together
    assert 1 < most <= 3
    assert log.read_text().count("latency begin") < 16, "several that wait are measured together"


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_device_does_one_thing_at_a_time_beside_trainings(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    goals = [Logged("accuracy", log, seconds=0.1), Logged("latency", log, "phone"), Logged("energy", log, "watch")]
    with pool(kind) as workers:
        result = nastk.search(Toy(), goals, searcher="random", budget=16, executor=workers, workers=3)
    together, _ = beside(log)
    assert result.history.counts() == dict.fromkeys(("accuracy", "latency", "energy"), 16)
    assert all(names.count("latency") <= 1 and names.count("energy") <= 1 for names in together)
    assert any({"accuracy", "latency"} <= set(names) for names in together)


def test_what_is_measured_here_says_so() -> None:
    from nastk.oracles.latency import Latency  # here, since worker processes import this file, and it imports PyTorch

    assert Latency.exclusive == THIS_MACHINE
    assert oracle("latency").exclusive is None


def test_a_free_worker_gets_something_new_at_once() -> None:
    """While the first evaluation is held up, one other worker evaluates all the rest."""
    others = threading.Event()
    count, lock = [0], threading.Lock()

    def slow(archs: Any) -> Any:
        with lock:
            count[0] += 1
            mine = count[0]
        if mine == 1:
            others.wait(600)
        elif mine == 10:
            others.set()
        return accuracy(archs)

    with ThreadPoolExecutor(2) as threads:
        goals = [oracle("accuracy", slow)]
        result = nastk.search(Toy(), goals, searcher="random", budget=10, executor=threads, workers=2)
    assert others.is_set()
    assert result.history.counts() == {"accuracy": 10}


# ---- time and cost


class Clock:
    """A clock that evaluations move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("threads", [False, True])
def test_no_evaluation_begins_after_the_time(threads: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock()
    monkeypatch.setattr("nastk.study.monotonic", clock)

    def slow(archs: Any) -> Any:
        clock.now += 10.0
        return accuracy(archs)

    goals = [oracle("accuracy", slow), oracle("latency")]
    storage = tmp_path / "run.db"
    options: dict[str, Any] = {"searcher": "predictor", "predictor": "ridge", "budget": 12, "storage": storage}
    with ThreadPoolExecutor(1) as one:
        how = {"executor": one} if threads else {}
        result = nastk.search(Toy(), goals, time=45.0, **options, **how)
        spent = result.history.counts()["accuracy"]
        assert spent in (4, 5)
        assert any(
            note.startswith(f"Time was up (45 s) after {spent} of 12 evaluations of accuracy") for note in result.notes
        )
        assert "The front was not verified: time was up." in result.notes
        assert not result.history.records("verify")
        result = nastk.search(Toy(), goals, **options, **how)
    assert result.history.counts() == {"accuracy": 12, "latency": 12}
    assert not any("Time was up" in note for note in result.notes)


def test_a_time_in_which_nothing_can_be_evaluated_gives_an_empty_result() -> None:
    result = nastk.search(Toy(), objectives(), budget=5, time=1e-9)
    assert not len(result.history)
    assert not len(result.front)


def test_the_seconds_of_all_evaluations_are_a_budget(tmp_path: Path) -> None:
    goals = [Logged("accuracy", tmp_path / "log", seconds=0.0)]  # each says that it took two seconds

    def found(**options: Any) -> Any:
        return nastk.search(Toy(), goals, searcher="random", budget=10, storage=tmp_path / "run.db", **options)

    result = found(cost=5.0)
    assert result.history.counts() == {"accuracy": 3}
    assert result.notes[-1].startswith("The evaluations took 6 s together, their limit after 3 of 10")
    assert found(cost=8.0).history.counts() == {"accuracy": 4}, "those of earlier runs count too"
    assert found().history.counts() == {"accuracy": 10}
    assert not any("their limit" in note for note in found(cost=5.0).notes), "nothing was left to do"


@pytest.mark.parametrize("name", ["time", "cost"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "8h", True])
def test_limits_that_cannot_be_used_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=f"{name} is a number of seconds"):
        Study(RandomSearch(Toy(), objectives()), 3, **{name: value})
