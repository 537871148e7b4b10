"""Evaluations in processes of their own: whatever one does to its process, it is a failure with a reason."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from effort import HANGS
from toy import Epochs, Toy, objectives

import nastk
from nastk.errors import DataWarning, InvalidValue, NastkError
from nastk.evaluation import Record
from nastk.oracles.base import Evaluation, FunctionOracle, Oracle
from nastk.search.base import Objective
from nastk.workers.base import Call, Limits, parse_size, size_in_words, time_in_words
from nastk.workers.factory import make_workers
from nastk.workers.isolated import Isolated, gpu_of, visible_gpus

WAYS = ("works", "hangs", "exits 0", "exits 3", "segfaults", "is killed", "sys.exit", "takes memory", "interrupts")
LIMITS = Limits.of(20.0, "700MB")  # a busy machine fills that much memory in less time
ARCH = np.zeros((1, 4), dtype=np.int64)


def ends(what: str) -> float:
    print(f"it {what}")
    if what == "hangs":
        time.sleep(10 * HANGS)
    if what.startswith("exits"):
        os._exit(int(what[-1]))
    if what == "segfaults":
        ctypes.string_at(0)
    if what == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sys.exit":
        sys.exit("bye")
    if what == "interrupts":
        raise KeyboardInterrupt
    held = []
    while what == "takes memory":
        held.append(np.ones(5_000_000))
    return 1.0


def one_of_the_ways(arch: Any) -> float:
    return ends(WAYS[3 * arch[0] + arch[1]])


def way(what: str) -> Any:
    number = WAYS.index(what)
    return np.array([[number // 3, number % 3, 0, 0]])


def called(function: Any, name: str = "value", archs: Any = ARCH, retries: int = 0) -> Call:
    oracle = FunctionOracle(Toy(), function, name, one_by_one=True)
    return Call(Objective.of(oracle), (), archs, None, "search", retries)


def has_ended(pid: int) -> bool:
    """Whether a process that was killed is gone, in a moment; one whose parent does not ask for it stays a zombie."""
    until = time.monotonic() + HANGS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def record(workers: Isolated, call: Call) -> Record:
    return workers.evaluate(call)[0][0]


@pytest.fixture
def one() -> Any:
    workers = Isolated(1, LIMITS)
    yield workers
    workers.close()


# ---- how evaluations end


def test_whatever_ends_a_process_is_a_failure_with_its_reason(one: Isolated) -> None:
    ways = called(one_of_the_ways)

    def reason(what: str) -> str:
        return record(one, Call(ways.objective, (), way(what), None)).reason

    assert reason("works") == ""
    assert reason("exits 0") == "its process ended itself with status 0; last output: it exits 0"
    assert reason("exits 3") == "its process ended itself with status 3; last output: it exits 3"
    assert reason("segfaults").startswith("its process was ended by SIGSEGV; last output: it segfaults")
    assert reason("is killed").startswith("its process was ended by SIGKILL (by the system, which had no memory left")
    assert reason("sys.exit") == "SystemExit: bye"
    assert reason("interrupts") == "KeyboardInterrupt"
    assert reason("takes memory") == "used more than 700 MB of memory; last output: it takes memory"
    assert reason("works") == ""


def test_an_evaluation_ends_at_its_time_with_all_that_it_started(tmp_path: Path) -> None:
    def starts_another(arch: Any) -> float:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
        (tmp_path / "pid").write_text(str(child.pid))
        child.wait()
        return 0.0

    workers = Isolated(1, Limits(timeout=4.0))
    try:
        found = record(workers, called(starts_another, retries=3))
    finally:
        workers.close()
    assert (found.status, found.reason, found.attempts) == ("failed", "ran longer than 4 s", 1)
    assert found.cost >= 4.0
    assert has_ended(int((tmp_path / "pid").read_text()))


def test_a_study_with_every_failure_among_its_first_ends_with_its_budget(tmp_path: Path) -> None:
    bad = {1: "hangs", 4: "takes memory", 9: "segfaults", 13: "exits 0"}

    def accuracy(arch: Any) -> float:
        with (tmp_path / "begun").open("a") as begun:
            begun.write("x")
            begun.flush()
            number = begun.tell()
        if number in bad:
            ends(bad[number])
        return float(arch.sum())

    goals = [FunctionOracle(Toy(), accuracy, "accuracy", "%", "max", one_by_one=True)]
    limits: dict[str, Any] = {"timeout": 8.0, "memory_limit": "600MB"}
    result = nastk.search(Toy(), goals, searcher="random", budget=25, workers=2, verify=0, retries=0, **limits)
    failed = [r for r in result.history.records() if r.status == "failed"]
    assert {r.reason.partition(";")[0] for r in failed} == {
        "ran longer than 8 s", "used more than 600 MB of memory", "its process was ended by SIGSEGV",
        "its process ended itself with status 0",
    }  # fmt: skip
    assert result.history.spent() == {"accuracy": 25}
    assert len({r.arch for r in result.history.records()}) == len(result.history) == 29


def test_what_may_pass_is_tried_again_in_another_process(tmp_path: Path) -> None:
    def works_in_the_end(arch: Any) -> float:
        with (tmp_path / "tries").open("a+") as tries:
            tries.write("x")
            tries.seek(0)
            if len(tries.read()) < 3:
                tries.close()
                os._exit(1)
        return 7.0

    workers = Isolated(1)
    try:
        found = record(workers, called(works_in_the_end, retries=2))
        assert (found.value, found.attempts) == (7.0, 3)
        (tmp_path / "tries").unlink()
        assert record(workers, called(works_in_the_end, retries=1)).status == "failed"
        (tmp_path / "tries").unlink()
    finally:
        workers.close()


def test_of_several_together_the_one_to_blame_fails(one: Isolated) -> None:
    archs = np.concatenate([way("works"), way("exits 3"), way("works")])
    found = one.evaluate(Call(called(one_of_the_ways).objective, (), archs, None, "search", 1))
    assert [records[0].status for records in found] == ["ok", "failed", "ok"]
    assert found[1][0].attempts == 2


def test_a_process_that_is_killed_while_it_does_nothing_is_replaced(one: Isolated) -> None:
    call = called(lambda arch: float(os.getpid()))
    first = record(one, call).value
    os.kill(int(first), signal.SIGKILL)
    assert has_ended(int(first))
    time.sleep(0.1)  # a pool sees that its process has ended a moment after the system does
    second = record(one, call)
    assert second.status == "ok"
    assert second.value != first


# ---- what is sent, and what comes back


def test_a_process_evaluates_again_and_again_and_keeps_what_was_loaded(one: Isolated) -> None:
    loaded: list[int] = []

    def counts(arch: Any) -> float:
        loaded.append(1)
        return len(loaded) + os.getpid() * 1000.0

    call = called(counts)
    first, second = (record(one, call).value for _ in range(2))
    assert second == first + 1
    assert not loaded, "it ran in another process"


def test_an_objective_that_cannot_be_sent_is_one_line() -> None:
    lock = threading.Lock()

    def locked(arch: Any) -> float:
        with lock:
            return 1.0

    goal = FunctionOracle(Toy(), locked, "value", one_by_one=True)
    with pytest.raises(NastkError, match=r"cannot be sent to a worker process.*lock"):
        nastk.search(Toy(), [goal], searcher="random", budget=2, workers=2)


class Gone(Oracle):
    space, name, unit, source = Toy(), "latency", "ms", "gone"

    def _evaluate(self, archs: Any, fidelity: float | None) -> Evaluation:
        warnings.warn("this device answers strangely", DataWarning, stacklevel=2)
        if archs.sum() > 2:
            raise InvalidValue("no such device")
        return Evaluation(np.ones(len(archs)), np.ones(len(archs)), np.ones(len(archs)))


def test_errors_of_nastk_end_the_run_and_warnings_reach_the_user(one: Isolated) -> None:
    call = Call(Objective.of(Gone()), (), ARCH, None)
    with pytest.warns(DataWarning, match="strangely"):
        assert record(one, call).value == 1.0
    with pytest.warns(DataWarning), pytest.raises(InvalidValue, match="no such device"):
        one.evaluate(Call(call.objective, (), ARCH + 2, None))


def test_what_evaluations_print_is_kept_in_files(tmp_path: Path) -> None:
    def prints(arch: Any) -> float:
        print("epoch 1 of 9")
        os.system("echo from a program")
        return 1.0

    workers = Isolated(1, logs=tmp_path / "logs")
    workers.evaluate(called(prints))
    workers.close()
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "epoch 1 of 9\nfrom a program\n"


# ---- searches


@pytest.mark.parametrize("searcher", ["random", "predictor"])
def test_isolation_alone_does_not_change_a_search(searcher: str) -> None:
    def found(**options: Any) -> list[Any]:
        result = nastk.search(Toy(), objectives(), searcher=searcher, budget=8, verify=2, **options)
        return [(r.arch, r.objective, r.value, r.purpose) for r in result.history.records()]

    assert found(timeout=float(HANGS)) == found()


@pytest.mark.parametrize("searcher", ["predictor", "pymoo:nsga2", "mo-asha"])
def test_processes_spend_the_same_budget_once(searcher: str) -> None:
    goals = [Epochs(), objectives()[1]] if searcher == "mo-asha" else objectives()
    options: dict[str, Any] = {"population": 8} if "pymoo" in searcher else {}
    result = nastk.search(Toy(), goals, searcher=searcher, budget=12, workers=3, verify=2, **options)
    records = result.history.records()
    assert len({r.key for r in records}) == len(records)
    assert all(r.status == "ok" for r in records)
    if searcher != "mo-asha":
        assert result.history.counts() == {"accuracy": 12, "latency": 12}


def test_the_front_is_verified_by_the_workers() -> None:
    def pid(arch: Any) -> float:
        return float(os.getpid()) + 0.001 * float(arch.sum())

    goals = [FunctionOracle(Toy(), pid, "pid", one_by_one=True), objectives()[1]]
    result = nastk.search(Toy(), goals, searcher="predictor", predictor="ridge", budget=8, workers=2, verify=4)
    checked = [r for r in result.history.records("verify") if r.objective == "pid"]
    assert os.getpid() not in {int(r.value) for r in checked}
    assert len(result.history.records("verify")) == len({r.key for r in result.history.records("verify")})


def test_when_the_coordinator_is_killed_its_processes_end(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import os, time, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import nastk\n"
        "from toy import Toy\n"
        "def slow(arch):\n"
        "    open(f'pid-{os.getpid()}', 'w').close()\n"
        "    time.sleep(1000)\n"
        "if __name__ == '__main__':\n"
        "    goal = nastk.FunctionOracle(Toy(), slow, 'value', one_by_one=True)\n"
        "    nastk.search(Toy(), [goal], searcher='random', budget=4, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, stderr=subprocess.PIPE)
    until = time.monotonic() + HANGS
    while len(list(tmp_path.glob("pid-*"))) < 2 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    workers = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    assert len(workers) == 2, process.communicate()
    process.kill()
    process.wait()
    assert all(map(has_ended, workers))


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import nastk\n"
        "from toy import objectives, Toy\n"
        "nastk.search(Toy(), objectives(), searcher='random', budget=4, workers=1)\n"
    )
    ended = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "under: if __name__ == '__main__':" in ended.stderr


# ---- GPUs, options


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert visible_gpus() == ["3", "5"]
    assert [gpu_of(visible_gpus(), i)["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["3", "5", "3"]
    assert gpu_of([], 0) == {}

    def number(arch: Any) -> float:
        time.sleep(0.05)
        return float(os.environ["CUDA_VISIBLE_DEVICES"])

    goal = FunctionOracle(Toy(), number, "gpu", one_by_one=True)
    result = nastk.search(Toy(), [goal], searcher="random", budget=30, workers=2)
    assert {r.value for r in result.history.records()} <= {3.0, 5.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "at least 1"),
        ({"workers": True}, "at least 1"),
        ({"timeout": 0}, "timeout is a number of more than 0"),
        ({"memory_limit": "4 apples"}, "such as 500MB or 4GB"),
        ({"memory_limit": -1.0}, "memory_limit is a number"),
        ({"dask": "local:2", "workers": 2}, "leave workers out"),
        ({"executor": Isolated(1), "timeout": 3}, "executor of your own"),
    ],
)
def test_workers_that_cannot_be_had_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        make_workers(**options)


def test_sizes_and_times_are_read_and_said() -> None:
    sizes = {"4GB": 4 * 10**9, "500 mb": 5 * 10**8, "1.5GiB": 3 * 2**29, "2000": 2000, "7k": 7000}
    assert {text: parse_size(text) for text in sizes} == sizes
    assert [size_in_words(n) for n in (4e9, 1.5e9, 5e8, 900)] == ["4 GB", "1.5 GB", "500 MB", "900 bytes"]
    assert [time_in_words(n) for n in (2, 60, 300, 3600, 28800)] == ["2 s", "60 s", "5 min", "1 h", "8 h"]


def test_a_result_can_be_verified_when_the_workers_are_gone() -> None:
    result = nastk.search(
        Toy(), objectives(), searcher="predictor", predictor="ridge", budget=6, workers=2, verify=0
    )  # fmt: skip
    table = result.verify(Toy().sample(10, 0))
    assert len(table)
    assert np.isfinite(table["measured"].astype(float)).all()
