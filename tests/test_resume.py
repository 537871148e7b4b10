"""A search killed without warning, again and again, loses nothing that was recorded and evaluates nothing twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from effort import HANGS
from toy import Toy, objectives

import nastk

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


def start(folder: Path, searcher: str, budget: int, stop: int) -> subprocess.Popen[bytes]:
    """A search that goes on until `stop` evaluations are paid for, and then waits."""
    arguments = [f"sqlite:///{folder}/run.db", str(folder / "log.txt"), searcher, str(budget), str(stop)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], env=environment, stderr=subprocess.PIPE)


def evaluated(folder: Path) -> list[str]:
    log = folder / "log.txt"
    return log.read_text().splitlines() if log.exists() else []


def recorded(folder: Path) -> list[str]:
    """The records in the database, read without nastk."""
    with sqlite3.connect(folder / "run.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT objective, arch FROM nastk_records ORDER BY id").fetchall()
    connection.close()
    return [f"{objective} {arch}" for objective, arch in rows]


@pytest.mark.long
@pytest.mark.parametrize("searcher", ["random", "pareto-local-search", "pymoo:nsga2"])
def test_ten_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, searcher: str) -> None:
    survives(tmp_path, searcher, kills=10, budget=45)


def test_two_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    survives(tmp_path, "pymoo:nsga2", kills=2, budget=20)


def survives(tmp_path: Path, searcher: str, kills: int, budget: int) -> None:
    chance = random.Random(searcher)
    before: list[str] = []
    for _ in range(kills):
        enough, deadline = len(evaluated(tmp_path)) + chance.randint(0, 8), time.monotonic() + HANGS
        process = start(tmp_path, searcher, budget, stop=enough + 6)
        while len(evaluated(tmp_path)) < enough and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.008))
        assert process.poll() is None, process.communicate()[1].decode()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not (tmp_path / "run.db").exists():
            continue  # killed before it began
        try:
            now = recorded(tmp_path)
        except sqlite3.OperationalError:  # killed before the tables were there
            continue
        assert now[: len(before)] == before, "a record was lost"
        before = now
    process = start(tmp_path, searcher, budget, stop=10 * budget)
    _, error = process.communicate(timeout=HANGS)
    assert process.returncode == 0, error.decode()

    final = recorded(tmp_path)
    assert final[: len(before)] == before
    assert len(final) == len(set(final)) == 2 * budget
    assert set(evaluated(tmp_path)) == set(final)
    assert len(evaluated(tmp_path)) <= len(final) + kills  # at most the one running at each kill is repeated
    whole = nastk.search(Toy(), objectives(), searcher=searcher, budget=budget, batch=3).history
    assert len(whole) == len(final)
    assert final == [f"{r.objective} {','.join(map(str, r.arch))}" for r in whole.records()]
