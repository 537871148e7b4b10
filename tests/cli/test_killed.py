"""``nastk search`` that is killed, asked to end or interrupted twice, with and without ``--storage``: nothing is lost.

Each run stops at a random moment and is started again. An evaluation is finished when the user's function returns;
every finished one must be in the history, once. With workers they, the search's own process (the coordinator) or both
are killed.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from effort import HANGS

SPACE = """
import os, time
import nastk

class Lots(nastk.SearchSpace):
    name = "lots"
    choices = tuple(nastk.Choice(f"choice {i}", ("a", "b", "c", "d")) for i in range(5))

    def build(self, arch, **options):
        raise NotImplementedError

    def statics(self, archs, **options):
        return {"params": (archs + 1.0).prod(axis=1), "flops": (archs**2).sum(axis=1) + 1.0}

def accuracy(arch):
    log = os.environ["LOG"]
    with open(log, "a+") as lines:
        lines.seek(0)
        if len(lines.readlines()) >= int(os.environ["STOP"]):
            time.sleep(1000)  # until it is killed, however late that comes
    time.sleep(0.02)
    with open(log, "a") as lines:
        lines.write(",".join(map(str, arch)) + "\\n")
    return 50.0 + float(arch.sum())
"""
SEARCH = ["search", "--space", "lots.py:Lots", "--accuracy", "lots.py:accuracy", "--objective", "accuracy"]
SEARCH += ["--objective", "params", "--searcher", "random", "--resume"]

KILLED, ENDED, TWICE = "SIGKILL", "SIGTERM", "Ctrl-C twice"


def finished(folder: Path) -> list[str]:
    log = folder / "log.txt"
    return log.read_text().split() if log.exists() else []


def recorded(database: Path) -> list[str]:
    """Architectures in a history, those included whose evaluation was killed twice; read without nastk."""
    if not database.exists():
        return []
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        try:
            rows = connection.execute("SELECT arch FROM nastk_records ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # killed before the tables were there
            rows = []
    connection.close()
    return [arch for (arch,) in rows]


def run(folder: Path, arguments: list[str], stop: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nastk", *SEARCH, *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "LOG": str(folder / "log.txt"), "STOP": str(stop)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background shell ignores it
    )  # fmt: skip


def survives(folder: Path, how: str, times: int, stored: bool) -> None:
    (folder / "lots.py").write_text(SPACE)
    database = folder / ("run.db" if stored else "nastk-out/history.db")
    budget = 4 * times + 6
    arguments = ["--budget", str(budget), *(["--storage", "sqlite:///run.db"] if stored else [])]
    chance = random.Random(f"{how} {stored}")
    repeated = 0
    for _ in range(times):
        enough, deadline = len(finished(folder)) + chance.randint(1, 4), time.monotonic() + HANGS
        process = run(folder, arguments, stop=enough + 3)
        while len(finished(folder)) < enough and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        assert process.poll() is None, process.communicate()
        process.send_signal({KILLED: signal.SIGKILL, ENDED: signal.SIGTERM, TWICE: signal.SIGINT}[how])
        if how == TWICE:
            time.sleep(chance.uniform(0, 0.01))
            process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=HANGS)
        assert process.returncode == {KILLED: -9, ENDED: 143, TWICE: 130}[how], error
        assert "Traceback" not in error
        done, kept = finished(folder), recorded(database)
        assert len(kept) == len(set(kept)), "an evaluation was recorded twice"
        lost = [arch for arch in done if arch not in kept]
        # Between the line in the log and the end of the user's function there is a moment that nobody can protect.
        assert lost in ([], done[-1:]), error
        repeated += len(lost)
    assert repeated <= 1 or how == KILLED
    process = run(folder, arguments, stop=10_000)
    out, error = process.communicate(timeout=HANGS)
    assert process.returncode == 0, error
    kept, done = recorded(database), finished(folder)
    said = re.search(r"(\d+) evaluations? failed", out)
    twice = int(said[1]) if said else 0
    assert len(kept) == len(set(kept)) == budget + twice
    assert set(done) <= set(kept)
    assert len(done) <= budget + repeated
    assert not twice or how == KILLED
    assert not [p.name for p in (folder / "nastk-out").iterdir() if p.name.startswith(".")]


@pytest.mark.long
@pytest.mark.parametrize("stored", [True, False], ids=["storage", "folder"])
@pytest.mark.parametrize(("how", "times"), [(KILLED, 15), (ENDED, 5), (TWICE, 5)])
def test_nothing_is_lost(tmp_path: Path, how: str, times: int, stored: bool) -> None:
    survives(tmp_path, how, times, stored)


@pytest.mark.parametrize(("how", "times"), [(KILLED, 2), (ENDED, 1), (TWICE, 1)])
def test_nothing_is_lost_by_a_few(tmp_path: Path, how: str, times: int) -> None:
    survives(tmp_path, how, times, stored=False)


# ---- with workers

WORKER, COORDINATOR, BOTH = "a worker", "the coordinator", "both"


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a search, which evaluate."""
    try:
        children = psutil.Process(process.pid).children()
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    except psutil.Error:
        return []


def begin_and_kill(folder: Path, process: subprocess.Popen[str], how: str, chance: random.Random) -> bool:
    """Wait for a few evaluations, and for a random moment; then kill. Whether there was anything to kill."""
    enough, deadline = len(finished(folder)) + chance.randint(1, 3), time.monotonic() + HANGS
    while len(finished(folder)) < enough and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.03))
    victims = workers_of(process)
    if how != COORDINATOR and victims:
        with suppress(psutil.Error):
            chance.choice(victims).kill()
    if how != WORKER:
        process.kill()
    return bool(victims) or how != WORKER


def survives_with_workers(folder: Path, how: str, times: int) -> None:
    """A search of a whole space, so that its front is that of an uninterrupted one, whatever the order."""
    choices = 3 if times < 10 else 4
    space = SPACE.replace("range(5)", f"range({choices})").replace("sleep(0.02)", "sleep(0.1)")
    (folder / "lots.py").write_text(space)
    database, size = folder / "run.db", 4**choices
    arguments = ["--budget", str(size), "--storage", "sqlite:///run.db", "--workers", "2"]
    chance = random.Random(how)
    process = run(folder, arguments, stop=100_000)
    killed = 0
    for _ in range(times):
        killed += begin_and_kill(folder, process, how, chance)
        if how != WORKER:
            process.communicate(timeout=HANGS)
            kept = recorded(database)
            assert len(kept) == len(set(kept)), "an evaluation was recorded twice"
            process = run(folder, arguments, stop=100_000)
    _, error = process.communicate(timeout=HANGS)
    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert killed > times // 2
    kept, done = recorded(database), finished(folder)
    assert len(kept) == len(set(kept)) == size
    assert set(done) <= set(kept), "a finished evaluation was lost"
    assert max(done.count(arch) for arch in done) <= 2, "what was in flight was repeated more than once"
    with sqlite3.connect(database) as connection:
        found = dict(connection.execute("SELECT arch, value FROM nastk_records WHERE status = 'ok'").fetchall())
        reasons = [reason for (reason,) in connection.execute("SELECT reason FROM nastk_records WHERE reason <> ''")]
    connection.close()
    assert all("SIGKILL" in reason or "the process ended 2 times" in reason for reason in reasons), reasons
    assert len(reasons) <= max(times // 3, 1), "being killed twice is bad luck"
    assert all(value == 50.0 + sum(map(int, arch.split(","))) for arch, value in found.items())


def test_a_few_kills_of_workers_and_coordinators_lose_nothing(tmp_path: Path) -> None:
    survives_with_workers(tmp_path, BOTH, 2)


@pytest.mark.long
@pytest.mark.parametrize("how", [WORKER, COORDINATOR, BOTH])
def test_kills_of_workers_and_coordinators_lose_nothing(tmp_path: Path, how: str) -> None:
    survives_with_workers(tmp_path, how, 30)
