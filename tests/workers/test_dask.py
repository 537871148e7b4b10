"""Evaluations on a Dask cluster: workers that end, come and are not there."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import HANGS, until
from toy import Toy, objectives

import nastk
from nastk.errors import InvalidValue, NastkError
from nastk.oracles.base import FunctionOracle
from nastk.search.base import Objective
from nastk.workers.base import Call, Limits

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

from nastk.workers.dask import OnDask  # noqa: E402  it needs the extra

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def arch(number: int) -> Any:
    return np.array([[number // 27 % 3, number // 9 % 3, number // 3 % 3, number % 3]])


def call(function: Callable[[Any], float], number: int = 0, retries: int = 0) -> Call:
    oracle = FunctionOracle(Toy(), function, "accuracy", "%", "max", one_by_one=True)
    return Call(Objective.of(oracle), (), arch(number), None, "search", retries)


def test_two_of_four_workers_that_are_killed_cost_nothing(tmp_path: Path) -> None:
    def accuracy(row: Any) -> float:
        with (tmp_path / "begun").open("a") as begun:
            begun.write(",".join(map(str, row)) + "\n")
        time.sleep(0.2)
        return float(row.sum())

    def begun() -> list[str]:
        return (tmp_path / "begun").read_text().split() if (tmp_path / "begun").exists() else []

    killed: list[str] = []

    def kill(done: float, total: float, name: str) -> None:
        """After five evaluations one of those that evaluate, and five later another."""
        if name and len(killed) < 2 and done >= 5 * (len(killed) + 1):
            # not the one that has the evaluation of the first: the second time it would have failed
            busy = {job.address for job in list(cluster._running) if not job.deaths}
            for address, pid in cluster._client.run(os.getpid).items():
                if address in busy:  # none is in the moment in which all are between two evaluations
                    os.kill(pid, signal.SIGKILL)
                    killed.append(address)
                    break

    cluster = OnDask("local:4")
    try:
        assert cluster.count == 4
        assert cluster.here
        goals = [FunctionOracle(Toy(), accuracy, "accuracy", "%", "max", one_by_one=True)]
        result = nastk.search(Toy(), goals, searcher="random", budget=20, executor=cluster, progress=kill)
    finally:
        cluster.close()
    records = result.history.records()
    assert len(killed) == 2
    assert result.history.counts() == {"accuracy": 20}
    assert [r.status for r in records] == ["ok"] * 20
    assert len({r.arch for r in records}) == 20
    assert {",".join(map(str, r.arch)) for r in records} == set(begun())
    assert max(begun().count(line) for line in begun()) <= 2, "begun evaluations are repeated once"


def test_one_worker_evaluates_in_processes_and_may_die_and_come_back(tmp_path: Path) -> None:
    def ends(row: Any) -> float:
        print("going to end")
        os._exit(4)

    def hangs(row: Any) -> float:
        (tmp_path / "hangs").write_text(str(os.getpid()))
        time.sleep(10 * HANGS)
        return 0.0

    cluster = OnDask("local:1", Limits(timeout=3.0))
    try:
        found = cluster.evaluate(call(ends, retries=1))[0][0]
        assert found.reason == "its process ended itself with status 4; last output: going to end"
        assert found.attempts == 2
        assert cluster.evaluate(call(hangs))[0][0].reason == "ran longer than 3 s"
        cluster.limits = Limits()
        (tmp_path / "hangs").unlink()
        answer = cluster.submit(call(hangs))
        for _ in range(2):  # twice: then it has failed
            until((tmp_path / "hangs").exists)
            (tmp_path / "hangs").unlink()
            os.kill(next(iter(cluster._client.run(os.getpid).values())), signal.SIGKILL)
        found = answer.result(HANGS)[0][0]
        assert (found.status, found.attempts) == ("failed", 2)
        assert "its Dask worker ended 2 times during this evaluation" in found.reason
        assert cluster.evaluate(call(lambda row: 3.0))[0][0].value == 3.0
        bad = FunctionOracle(Toy(), lambda row: 1.0, "x", one_by_one=True, fidelities=(1, 2))
        with pytest.raises(InvalidValue, match="has fidelities 1, 2"):
            cluster.evaluate(Call(Objective.of(bad), (), arch(0), 3.0))
    finally:
        cluster.close()


def test_a_cluster_of_ones_own_may_get_its_workers_later() -> None:
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=2, processes=False, dashboard_address=None, memory_limit=0
    ) as cluster:
        with pytest.warns(UserWarning, match="no workers yet"):
            workers = OnDask(cluster)
        try:
            assert workers.count == 1
            answer = workers.submit(call(lambda row: 2.0))
            assert not answer.done()
            cluster.scale(1)
            assert answer.result(HANGS)[0][0].value == 2.0
            until(lambda: workers.count == 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = nastk.search(Toy(), objectives(), searcher="random", budget=6, executor=workers)
            assert result.history.counts() == {"accuracy": 6, "latency": 6}
        finally:
            workers.close()


@pytest.mark.parametrize("address", ["local:x", "somewhere", "local:0"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidValue, match="dask"):
        OnDask(address)


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.workers.dask.CONNECT", 0.5)
    with pytest.raises(NastkError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        nastk.search(Toy(), objectives(), searcher="random", budget=2, dask="tcp://127.0.0.1:1")
