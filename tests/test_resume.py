"""A search killed without warning, or whose database is, loses nothing that was evaluated and records nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from effort import HANGS
from postgres import Server
from toy import Toy, objectives

import nastk
from nastk.database import Database

RUN = """
import sys, time
import nastk
from toy import Toy, accuracy, latency, oracle

def logged(name, function):
    def evaluate(archs):
        with open(sys.argv[2], "a+") as log:
            log.seek(0)
            if len(log.readlines()) >= int(sys.argv[5]):
                time.sleep(1000)  # until it is killed, however late that comes
        time.sleep(0.004)
        value = function(archs)
        with open(sys.argv[2], "a") as log:  # every evaluation, whether or not it came to be recorded
            log.write(name + " " + ",".join(str(v) for v in archs[0]) + "\\n")
        return value
    evaluate.__name__ = name
    return oracle(name, evaluate)

goals = [logged("accuracy", accuracy), logged("latency", latency)]
nastk.search(Toy(), goals, searcher=sys.argv[3], budget=int(sys.argv[4]), batch=3, storage=sys.argv[1])
"""


def start(folder: Path, url: str, searcher: str, budget: int, stop: int) -> subprocess.Popen[bytes]:
    """A search that goes on until `stop` evaluations are paid for, and then waits."""
    arguments = [url, str(folder / "log.txt"), searcher, str(budget), str(stop)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], env=environment, stderr=subprocess.PIPE)


def evaluated(folder: Path) -> list[str]:
    log = folder / "log.txt"
    return log.read_text().splitlines() if log.exists() else []


def recorded(url: str) -> list[str]:
    """The records in the database, read without nastk's history; none where there are no tables yet."""
    found = Database(url)

    def read(connection: sa.Connection) -> list[str]:
        if not sa.inspect(connection).has_table("nastk_records"):
            return []
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.exec_driver_sql("SELECT objective, arch FROM nastk_records ORDER BY id").fetchall()
        return [f"{objective} {arch}" for objective, arch in rows]

    try:
        return found.read(read)
    finally:
        found.close()


@pytest.mark.long
@pytest.mark.parametrize("searcher", ["random", "pareto-local-search", "pymoo:nsga2"])
def test_thirty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, url: str, searcher: str) -> None:
    survives(tmp_path, url, searcher, kills=30, budget=45)


def test_two_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, url: str) -> None:
    survives(tmp_path, url, "pymoo:nsga2", kills=2, budget=20)


def survives(tmp_path: Path, url: str, searcher: str, kills: int, budget: int) -> None:
    chance = random.Random(searcher)
    before: list[str] = []
    for _ in range(kills):
        # One more would be the evaluation that the last kill hit, and which the second kill fails.
        more = chance.choice([0, *range(2, max(2 * budget // kills, 2) + 1)])
        enough, deadline = len(evaluated(tmp_path)) + more, time.monotonic() + HANGS
        process = start(tmp_path, url, searcher, budget, stop=enough + 6)
        while len(evaluated(tmp_path)) < enough and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.008))
        assert process.poll() is None, process.communicate()[1].decode()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = recorded(url)
        assert now[: len(before)] == before, "a record was lost"
        before = now
    finishes(tmp_path, url, searcher, budget, before, interruptions=kills)


def finishes(folder: Path, url: str, searcher: str, budget: int, before: list[str], interruptions: int) -> None:
    """The search goes on to its end, as one that was never interrupted."""
    process = start(folder, url, searcher, budget, stop=10 * budget)
    _, error = process.communicate(timeout=HANGS)
    assert process.returncode == 0, error.decode()
    is_as_uninterrupted(folder, url, searcher, budget, before, interruptions)


def is_as_uninterrupted(
    folder: Path, url: str, searcher: str, budget: int, before: list[str], interruptions: int
) -> None:
    final = recorded(url)
    assert final[: len(before)] == before
    assert len(final) == len(set(final)) == 2 * budget
    assert set(evaluated(folder)) == set(final)
    # At most the one running at each interruption is repeated.
    assert len(evaluated(folder)) <= len(final) + interruptions
    whole = nastk.search(Toy(), objectives(), searcher=searcher, budget=budget, batch=3).history
    assert len(whole) == len(final)
    assert final == [f"{r.objective} {','.join(map(str, r.arch))}" for r in whole.records()]


@pytest.mark.long
@pytest.mark.parametrize("searcher", ["random", "pareto-local-search", "pymoo:nsga2"])
def test_a_server_that_restarts_five_times(tmp_path: Path, postgres: Server, searcher: str) -> None:
    outlives_restarts(tmp_path, postgres, searcher, restarts=5, budget=45)


def test_a_server_that_restarts(tmp_path: Path, postgres: Server) -> None:
    outlives_restarts(tmp_path, postgres, "random", restarts=1, budget=20)


def outlives_restarts(folder: Path, postgres: Server, searcher: str, restarts: int, budget: int) -> None:
    """The server is killed and started again during a search, which waits for it, and ends as if nothing had been."""
    url = postgres.fresh()
    process = start(folder, url, searcher, budget, stop=10 * budget)
    for i in range(1, restarts + 1):
        enough, deadline = i * 2 * budget // (restarts + 2), time.monotonic() + HANGS
        while len(evaluated(folder)) < enough and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        assert process.poll() is None, "the search ended before"
        postgres.restart()
    _, error = process.communicate(timeout=HANGS)
    assert process.returncode == 0, error.decode()
    assert error.decode().count("trying again for 180 s") >= 1, "no restart was noticed"
    is_as_uninterrupted(folder, url, searcher, budget, [], interruptions=0)
