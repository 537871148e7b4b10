"""Histories, in memory and in a database: nothing twice, nothing lost, one line for what goes wrong."""

from __future__ import annotations

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from effort import HANGS
from postgres import Server
from toy import Toy

from nastk.database import _postgres_driver, without_password
from nastk.errors import InvalidValue, StorageError, StudyHeld, UnknownName, installing
from nastk.evaluation import Identity, Record
from nastk.history import History
from nastk.parallel import Uninterrupted
from nastk.storage import open_history
from nastk.studies import retry, studies

FULL = Record((0, 1, 2, 0), "latency", 3.25, 0.125, 1.5, 108.0, "measured on x", time=5.0)
FAILED = Record((1, 1, 2, 0), "latency", math.nan, status="failed", reason="no GPU", time=6.0)
VERIFIED = Record((0, 1, 2, 0), "latency", 3.5, fidelity=108.0, purpose="verify", time=7.0)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.fresh()
    return None if request.param == "memory" else f"sqlite:///{tmp_path}/run.db"


def same(a: Record, b: Record) -> bool:
    return repr(a) == repr(b)  # NaN differs from itself


def one_line(raised: pytest.ExceptionInfo[StorageError]) -> str:
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_records_come_back_as_they_went_in(storage: str | None) -> None:
    history = open_history(storage)
    history.add([FULL, FAILED], {"asks": 3, "open": [[[0, 1], ["latency"], None]]})
    history.add([VERIFIED])
    history.close()
    if storage is not None:
        history = open_history(storage)
    assert all(same(a, b) for a, b in zip(history.records(), [FULL, FAILED, VERIFIED], strict=True))
    assert history.state() == {"asks": 3, "open": [[[0, 1], ["latency"], None]]}
    assert [r.purpose for r in history.records("verify")] == ["verify"]
    assert len(history) == 3


def test_counts_and_cost(storage: str | None) -> None:
    history = open_history(storage)
    history.add([FULL, FAILED, VERIFIED])
    assert history.counts() == {"latency": 2}
    assert history.counts("verify") == {"latency": 1}
    assert history.cost() == 1.5


def test_find_tells_fidelities_and_purposes_apart(storage: str | None) -> None:
    history = open_history(storage)
    history.add([FULL, VERIFIED])
    assert history.find([0, 1, 2, 0], "latency", 108) is not None
    assert history.find([0, 1, 2, 0], "latency", 108, "verify") is not None
    assert history.find([0, 1, 2, 0], "latency") is None
    assert history.find([0, 1, 2, 0], "accuracy", 108) is None


def test_nothing_is_recorded_twice_and_a_batch_is_all_or_none(storage: str | None) -> None:
    history = open_history(storage)
    history.add([FULL], {"asks": 1})
    with pytest.raises(InvalidValue, match="twice"):
        history.add([FAILED, FULL], {"asks": 2})
    with pytest.raises(InvalidValue, match="twice"):
        history.add([FAILED, FAILED])
    assert len(history) == 1
    assert history.state() == {"asks": 1}
    history.close()
    if storage is not None:
        assert len(open_history(storage)) == 1


def test_the_frame_has_texts_for_architectures(storage: str | None) -> None:
    history = open_history(storage)
    history.add([FULL, FAILED])
    frame = history.frame(Toy())
    assert list(frame["arch"]) == ["a_b_c_a", "b_b_c_a"]
    assert list(frame["status"]) == ["ok", "failed"]
    assert History().frame(Toy()).columns[0] == "arch"


# ---- databases


def test_one_database_holds_many_studies(url: str) -> None:
    first, second = open_history(url, "first", {"seed": 0}), open_history(url, "second", {"seed": 1})
    first.add([FULL])
    second.add([FULL, FAILED])
    first.close()
    second.close()
    assert len(open_history(url, "first", {"seed": 0})) == 1
    assert len(open_history(url, "second", {"seed": 1})) == 2


def test_another_configuration_is_refused_with_what_differs(url: str) -> None:
    open_history(url, config={"seed": 0, "space": "toy", "goals": (1, 2)})
    open_history(url, config={"space": "toy", "goals": [1, 2], "seed": 0})
    with pytest.raises(InvalidValue) as raised:
        open_history(url, "nastk", {"seed": 1, "space": "toy", "goals": (1, 2)})
    text = one_line(raised)  # type: ignore[arg-type]
    assert "seed was 0, now 1" in text
    assert "space" not in text
    assert "another study name" in text


def test_a_configuration_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="JSON"):
        open_history(f"sqlite:///{tmp_path}/run.db", config={"space": Toy()})


@pytest.mark.parametrize("url", ["run.db", "", "sqlite:run.db", "nosuch:///x", "://", "sqlite3:///x.db"])
def test_a_bad_url_says_what_a_good_one_is(url: str) -> None:
    with pytest.raises(StorageError, match=r"sqlite:///run\.db") as raised:
        open_history(url)
    one_line(raised)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StorageError) as raised:
        open_history("postgresql://me:secret@localhost:1/db")
    assert "secret" not in one_line(raised)


@pytest.mark.parametrize("place", ["missing/run.db", "folder", "/proc/run.db", "file/run.db"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=place) as raised:
        open_history(f"sqlite:///{tmp_path / place}")
    one_line(raised)


@pytest.mark.parametrize("content", [b"this is no database\n" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.db").write_bytes(content)
    with pytest.raises(StorageError, match=r"run\.db") as raised:
        open_history(f"sqlite:///{tmp_path}/run.db")
    one_line(raised)
    assert (tmp_path / "run.db").read_bytes() == content


def test_tables_of_another_program_are_one_line(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "run.db") as connection:
        connection.execute("CREATE TABLE nastk_studies (something TEXT)")
    with pytest.raises(StorageError, match=r"run\.db") as raised:
        open_history(f"sqlite:///{tmp_path}/run.db")
    one_line(raised)


def test_a_locked_database_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.database.BUSY", 0.1)
    monkeypatch.setattr("nastk.database.OUTAGE", 0.3)
    history = open_history(f"sqlite:///{tmp_path}/run.db")
    other = sqlite3.connect(tmp_path / "run.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with (
        pytest.warns(UserWarning, match="trying again"),
        pytest.raises(StorageError, match="another process") as raised,
    ):
        history.add([FULL])
    one_line(raised)
    assert len(history) == 0
    other.execute("ROLLBACK")
    other.close()
    history.close()
    again = open_history(f"sqlite:///{tmp_path}/run.db")
    assert [r.key for r in again.records()] == [FULL.key]
    assert again.notes == [f"Took in 1 evaluation from {tmp_path}/run.db.unsaved.jsonl."]
    assert not (tmp_path / "run.db.unsaved.jsonl").exists()


def test_a_full_disk_is_one_line_and_keeps_what_was_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.database.OUTAGE", 0.0)
    url = f"sqlite:///{tmp_path}/run.db"
    history = open_history(url)
    history.add([FULL], {"asks": 1})

    def no_room(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite takes the present size as the least

    history.close()
    sa.event.listen(history._database._engine, "connect", no_room)  # type: ignore[attr-defined]

    def fill() -> None:
        for i in range(1000):
            history.add([Record((i, 0, 0, 0), "latency", 1.0, reason="x" * 1000)], {"asks": 2 + i})

    with pytest.raises(StorageError, match="full") as raised:
        fill()
    one_line(raised)
    history.close()
    again = open_history(url)
    assert len(again) == len(history) + 1, "the evaluation that the disk had no room for is taken in"
    assert again.state() == history.state()


def test_a_kill_right_after_add_loses_nothing(url: str) -> None:
    code = (
        "import os, signal\nfrom nastk.evaluation import Record\nfrom nastk.storage import open_history\n"
        f"history = open_history({url!r})\n"
        "for i in range(5):\n    history.add([Record((i,), 'latency', 1.0)], {'asks': i})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), timeout=HANGS, check=False)
    assert done.returncode == -9
    history = open_history(url)
    assert [r.arch for r in history.records()] == [(i,) for i in range(5)]
    assert history.state() == {"asks": 4}


# ---- outages


def test_a_short_outage_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.database.BUSY", 0.05)
    history = open_history(f"sqlite:///{tmp_path}/run.db")
    other = sqlite3.connect(tmp_path / "run.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
    release.start()
    with pytest.warns(UserWarning, match=r"database is locked.*; trying again for 180 s"):
        history.add([FULL])
    release.join()
    other.close()
    history.close()
    assert [r.key for r in open_history(f"sqlite:///{tmp_path}/run.db").records()] == [FULL.key]


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, also in a process of a parallel test run, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_ends_the_wait_and_keeps_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.database.BUSY", 0.05)
    history = open_history(f"sqlite:///{tmp_path}/run.db")
    other = sqlite3.connect(tmp_path / "run.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    def record() -> None:
        with Uninterrupted():
            history.add([FULL])

    with pytest.warns(UserWarning, match="trying again"), pytest.raises(KeyboardInterrupt):
        record()
    other.close()
    history.close()
    assert [r.key for r in open_history(f"sqlite:///{tmp_path}/run.db").records()] == [FULL.key]


def test_records_of_an_outage_are_taken_in_once_and_by_their_study_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    monkeypatch.setattr("nastk.database.OUTAGE", 0.0)
    monkeypatch.setattr("nastk.database.BUSY", 0.05)
    one, two = open_history(url, "one"), open_history(url, "two")
    other = sqlite3.connect(tmp_path / "run.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for history in (one, two):
        with pytest.raises(StorageError, match=r"1 finished evaluation kept in .*run\.db\.unsaved\.jsonl"):
            history.add([FULL])
    other.close()
    one.close()
    two.close()
    assert len(open_history(url, "one")) == 1
    assert (tmp_path / "run.db.unsaved.jsonl").exists(), "the other study's record is still there"
    assert len(open_history(url, "two")) == 1
    assert not (tmp_path / "run.db.unsaved.jsonl").exists()
    assert len(open_history(url, "one")) == 1


@pytest.mark.parametrize("text", ["no json", "[1]", '{"study": "nastk"}', "\xff"])
def test_a_damaged_file_of_unsaved_records_is_one_line_and_stays(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.db.unsaved.jsonl"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(StorageError, match=r"cannot take in .*unsaved\.jsonl") as raised:
        open_history(f"sqlite:///{tmp_path}/run.db")
    one_line(raised)
    assert file.read_bytes() == text.encode("latin-1")


# ---- evaluations that end their process


def dying(url: str, keys: list[Any]) -> History:
    """What a study finds after a process that began these evaluations was killed."""
    code = (
        "import os, sys\nfrom nastk.storage import open_history\n"
        "open_history(sys.argv[1]).begin(eval(sys.argv[2]))\nos._exit(137)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, url, repr(keys)], timeout=HANGS, check=False)
    assert done.returncode == 137
    return open_history(url)


KEY = ((0, 1), "accuracy", None, "search")
OTHER = ((1, 1), "accuracy", None, "search")


def test_the_second_death_during_an_evaluation_fails_it(url: str) -> None:
    once = dying(url, [KEY, OTHER])
    assert once.is_suspect(KEY)
    assert once.is_suspect(OTHER)
    once.add([Record(OTHER[0], "accuracy", 1.0)])
    once.close()
    twice = dying(url, [KEY])
    (record,) = [r for r in twice.records() if r.status == "failed"]
    assert record.key == KEY
    assert record.reason == "the process ended 2 times during this evaluation (out of memory? killed?)"
    assert not record.charged
    twice.close()
    again = open_history(url)
    assert not again.is_suspect(OTHER)
    assert len(again) == 2


def test_an_evaluation_of_a_process_is_a_suspect_only_when_that_is_gone(url: str) -> None:
    code = (
        "import sys\nfrom nastk.storage import open_history\n"
        "open_history(sys.argv[1]).begin(eval(sys.argv[2]))\nprint('begun', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, url, repr([KEY])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        with pytest.raises(StudyHeld, match=f"is being run by process {process.pid} on "):
            open_history(url)
        process.kill()
    assert open_history(url).is_suspect(KEY)


def test_a_process_number_that_comes_again_is_another_process(url: str) -> None:
    """As in a container, where every run has the number 1, and where a worker ended and the process goes on."""
    open_history(url).begin([KEY])
    assert open_history(url).is_suspect(KEY)


def test_unsaved_records_of_another_study_of_the_same_name_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/run.db"
    monkeypatch.setattr("nastk.database.OUTAGE", 0.0)
    monkeypatch.setattr("nastk.database.BUSY", 0.05)
    history = open_history(url, None, {"a": 1}, {"latency": Identity("one space")})
    other = sqlite3.connect(tmp_path / "run.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="kept in"):
        history.add([FULL])
    other.close()
    (tmp_path / "run.db").unlink()
    assert len(open_history(url, None, {"a": 2}, {"latency": Identity("another space")})) == 0
    assert (tmp_path / "run.db.unsaved.jsonl").exists()


def test_an_abandoned_evaluation_is_no_suspect(url: str) -> None:
    history = open_history(url)
    history.begin([KEY])
    history.abandon()
    history.close()
    assert not open_history(url).is_suspect(KEY)


# ---- opening


def test_a_database_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"):
        with pytest.raises(StorageError, match=r"in memory and would keep nothing; write sqlite:///run\.db"):
            open_history(url)


def test_a_path_is_a_storage(tmp_path: Path) -> None:
    open_history(tmp_path / "odd ?#.db").add([FULL])
    assert len(open_history(tmp_path / "odd ?#.db")) == 1
    assert (tmp_path / "odd ?#.db").is_file()


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    history = open_history("sqlite:///run.db")
    history.close()
    monkeypatch.chdir(tmp_path / "a")
    history.add([FULL])
    assert not list((tmp_path / "a").iterdir())


def test_no_message_has_a_password(tmp_path: Path) -> None:
    for url in (
        "postgresql://localhost:1/db?user=me&password=secret",
        "postgresql://me:se@secret@localhost:1/db",
        "postgresql://me:secret@localhost:1/db",
        "nosuch://me:secret@host/db",
        "me:secret@host",
        "://me:secret@x",
    ):
        with pytest.raises(StorageError) as raised:
            open_history(url)
        assert "secret" not in str(raised.value), url
        assert without_password(f"nastk --storage {url} --seed 1").endswith("--seed 1")


@pytest.mark.parametrize(
    ("installed", "driver"),
    [({"psycopg"}, "psycopg"), ({"psycopg2"}, "psycopg2"), ({"psycopg", "psycopg2"}, "psycopg")],
)
def test_a_plain_url_of_postgresql_takes_the_driver_that_is_there(
    installed: set[str], driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nastk.database.find_spec", lambda name: object() if name in installed else None)
    assert _postgres_driver("postgresql://x") == f"postgresql+{driver}"


def test_without_a_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.database.find_spec", lambda name: None)
    with pytest.raises(
        StorageError, match=rf"needs the package psycopg: {re.escape(installing('postgres'))}"
    ) as raised:
        open_history("postgresql://me:secret@localhost:1/db")
    assert "secret" not in one_line(raised)


def test_a_name_that_cannot_be_printed_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="not printed"):
        open_history(tmp_path / "run.db", "\udcff")
    assert not list(tmp_path.iterdir())


OPEN = """
import sys
from nastk.storage import open_history
from nastk.evaluation import Record
print("ready", flush=True)
sys.stdin.readline()
history = open_history(sys.argv[1], sys.argv[2], {"seed": 0})
for i in range(10):
    history.begin([((i,), "accuracy", None, "search")])
    history.add([Record((i,), "accuracy", 1.0)], {"asks": i})
"""


def test_studies_that_are_opened_at_once_in_a_fresh_database_do_not_disturb_each_other(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, url, f"study {i}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, error = process.communicate(timeout=HANGS)
        assert process.returncode == 0, error
    assert [len(open_history(url, f"study {i}", {"seed": 0})) for i in range(4)] == [10] * 4


def test_one_study_opened_at_once_is_one_study(url: str) -> None:

    def opened(_: int) -> str:
        try:
            history = open_history(url, None, {"seed": 0})
        except StudyHeld as error:
            return str(error)
        histories.append(history)
        return "opened"

    histories: list[History] = []
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(opened, range(4)))
    assert said.count("opened") == 1, said
    assert all("study 'nastk'" in text and "is being run by process" in text for text in said if text != "opened")
    assert [facts.name for facts in studies(url)] == ["nastk"]


# ---- the studies of a storage


def test_failed_evaluations_are_forgotten_and_proposed_again(url: str) -> None:
    history = open_history(url)
    history.add([FULL, FAILED], {"asks": 3, "open": [[[0, 1, 2, 2], ["latency"], None]]})
    with pytest.raises(StudyHeld, match="cannot change study 'nastk': it is being run by process"):
        retry(url, "nastk")
    history.close()
    assert [(f.name, f.evaluations, sum(f.failures.values())) for f in studies(url)] == [("nastk", {"latency": 2}, 1)]
    assert retry(url, "nastk") == 1
    again = open_history(url)
    assert [r.key for r in again.records()] == [FULL.key]
    state = again.state()
    assert state is not None
    assert state["retry"] == [[list(FAILED.arch), ["latency"], FAILED.fidelity]]
    assert state["open"] == [[[0, 1, 2, 2], ["latency"], None]]
    assert state["asks"] == 3
    again.close()
    assert retry(url, "nastk") == 0
    with pytest.raises(UnknownName, match="nastk"):
        retry(url, "nastq")


def test_what_is_no_database_has_no_studies(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no database"):
        studies(f"sqlite:///{tmp_path}/missing.db")
    assert not (tmp_path / "missing.db").exists()
