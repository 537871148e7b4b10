"""The lease of a study: one process runs it, a second one is told, and one that lost it writes nothing more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from effort import until
from toy import Toy, accuracy, objectives, oracle

import nastk
from nastk.database import LEASES, STATES, STUDIES, Database, seconds_of
from nastk.errors import StudyHeld, UnknownName
from nastk.evaluation import Record
from nastk.lease import OLD, Holder, machine_of
from nastk.storage import DurableHistory, open_history
from nastk.studies import delete, find_study, read_study, retry, studies

HOLDS = """
import sys
from nastk.storage import open_history
history = open_history(sys.argv[1], config={})
print("held", flush=True)
sys.stdin.readline()
"""


def record(i: int, objective: str = "accuracy", **more: Any) -> Record:
    return Record((i, 0, 0, 0), objective, float(i), **more)


def holding(url: str) -> subprocess.Popen[str]:
    """Another process that holds the lease of the study."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def opened(url: str) -> DurableHistory:
    history = open_history(url, config={})
    assert isinstance(history, DurableHistory)
    return history


def change(url: str, **values: Any) -> None:
    """Change the lease, as another machine or the time would."""
    found = Database(url)
    found.within(lambda c: c.execute(sa.update(LEASES).values(**values)))
    found.close()


def elsewhere(url: str, age: float = 0.0) -> None:
    """The lease is that of a process of another machine, whose last heartbeat was a while ago."""
    opened(url).close()
    found = Database(url)

    def hold(connection: sa.Connection) -> None:
        beat = seconds_of(connection) - age
        row = {"study": 1, "run": "another", "host": "far", "process": 1, "machine": "far/boot 1"}
        connection.execute(sa.insert(LEASES).values(**row, since=beat, beat=beat))

    found.within(hold)
    found.close()


# ---- refused, or not


def test_a_second_process_is_refused_and_told_who_runs_the_study(url: str) -> None:
    with holding(url) as process:
        with pytest.raises(StudyHeld) as raised:
            opened(url)
        said = str(raised.value)
        assert said.startswith(f"study 'nastk' in {url.partition('?')[0]}")
        assert f" is being run by process {process.pid} on {os.uname().nodename} since 20" in said
        assert "last heartbeat" in said
        assert "give another --study" in said
        assert "\n" not in said
        held = find_study(url, "nastk").holder
        assert held is not None
        assert held.process == process.pid
        for change_it in (retry, delete):
            with pytest.raises(StudyHeld, match=f"study 'nastk': it is being run by process {process.pid}"):
                change_it(url, "nastk")
        process.communicate("\n")
    opened(url).close()
    assert find_study(url, "nastk").holder is None


def test_a_search_is_refused_before_it_evaluates_anything(tmp_path: Path) -> None:
    calls: list[int] = []

    def counted(archs: Any) -> Any:
        calls.append(len(archs))
        return accuracy(archs)

    def search() -> nastk.Result:
        return nastk.search(Toy(), [oracle("accuracy", counted)], searcher="random", budget=3, storage=storage)

    storage = tmp_path / "run.db"
    search()
    found = Database(storage)
    found.within(
        lambda c: c.execute(
            sa.insert(LEASES).values(study=1, run="x", host="far", process=1, machine="far 1", since=0, beat=4e9)
        )
    )
    found.close()
    before = len(calls)
    with pytest.raises(StudyHeld, match="process 1 on far"):
        search()
    assert len(calls) == before
    assert not list(tmp_path.glob("*unsaved*"))


def test_what_is_gone_is_taken_over_at_once_where_one_can_see_it(url: str) -> None:
    process = holding(url)
    process.send_signal(signal.SIGKILL)
    until(lambda: not machine_of(process.pid).split(" ")[1])  # ended, though nobody has asked for its status
    history = opened(url)
    process.communicate()
    history.add([record(1)])
    assert history.notes == []
    history.close()


def test_a_process_that_stopped_long_ago_loses_the_lease_and_writes_nothing(url: str) -> None:
    slept = opened(url)
    slept.add([record(1)], {"asks": 1})
    slept.begin([record(2).key])
    slept._lease.forget()  # a process that is stopped sends no heartbeat
    slept._lease._ended.clear()
    change(url, beat=0.0, machine="far 1", host="far")
    other = opened(url)
    assert other.notes[0].startswith(f"Took over study 'nastk' from process {os.getpid()} on far since ")
    assert other.is_suspect(record(2).key)
    other.begin([record(2).key])
    for write in (lambda: slept.add([record(2)], {"asks": 2}), lambda: slept.begin([record(3).key])):
        with pytest.raises(StudyHeld, match="no longer this process's: it is now run by process") as raised:
            write()
        assert "ends without another record" in str(raised.value)
    slept.abandon()  # is no word on what the other one has begun
    assert [key for key, *_ in read_study(url, "nastk").running] == [(2, 0, 0, 0)]
    other.add([record(4)], {"asks": 3})
    other.close()
    again = opened(url)  # what the first one had evaluated is not lost
    assert [r.arch[0] for r in again.records()] == [1, 4, 2]
    assert again.state() == {"asks": 3}
    assert again.notes[0].startswith("Took in 1 evaluation from ")


@pytest.mark.parametrize(("age", "free"), [(OLD / 2, False), (-1000.0, False), (2 * OLD, True)])
def test_a_lease_of_another_machine_is_old_by_the_clock_of_the_database(url: str, age: float, free: bool) -> None:
    elsewhere(url, age)
    if free:
        assert "process 1 on far" in opened(url).notes[0]
    else:
        with pytest.raises(StudyHeld, match="process 1 on far"):
            opened(url)


def test_a_heartbeat_renews_the_lease(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.lease.BEAT", 0.05)
    history = opened(url)
    change(url, beat=0.0)
    until(lambda: (held := find_study(url, "nastk").holder) is not None and held.age < OLD)
    history.close()


@pytest.mark.parametrize(
    ("machine", "process", "run", "gone"),
    [
        (machine_of(os.getpid()), os.getpid(), "of an earlier life", True),
        (machine_of(os.getppid()), os.getppid(), "x", False),
        (f"{machine_of(os.getpid()).split(' ')[0]} 5", os.getppid(), "x", True),  # the number has come again
        (f"{machine_of(os.getpid()).split(' ')[0]}/other 5", os.getppid(), "x", False),  # in another container
    ],
    ids=["this process", "its parent", "number again", "another container"],  # the same in each worker of pytest
)
def test_whether_a_process_is_gone(machine: str, process: int, run: str, gone: bool) -> None:
    assert Holder(run, "here", process, machine, 0.0, 1.0).is_gone is gone


def test_a_history_that_is_dropped_is_no_holder(url: str) -> None:
    opened(url).add([record(1)])
    assert len(opened(url)) == 1


def test_a_result_is_verified_after_its_search_and_holds_nothing(tmp_path: Path) -> None:
    goals = objectives()
    goals[1].few_shot = True
    storage = tmp_path / "run.db"
    result = nastk.search(Toy(), goals, budget=8, measurements=4, verify=0, storage=storage)
    result.verify()
    assert result.history.records("verify")
    assert find_study(storage, "nastk").holder is None
    again = nastk.search(Toy(), goals, budget=8, measurements=4, verify=0, storage=storage)
    assert len(again.history) == len(result.history)


# ---- what waits, and what does not


def test_cheap_records_are_written_together_and_soon(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nastk.lease.BEAT", 1e6)  # what waits does not wait for a heartbeat
    history = opened(url)
    commits: list[int] = []
    sa.event.listen(history._database._engine, "commit", lambda _: commits.append(1))
    for i in range(100):
        history.add([record(i, kind="table")], {"asks": i})
    assert len(commits) < 100  # a busy machine may need more than one time span
    until(lambda: len(read_study(url, "nastk").records) == 100)
    history.add([record(100, kind="table")], {"asks": 100})
    history.add([record(101)], {"asks": 101})
    assert len(read_study(url, "nastk").records) == 102, "a measurement waits for nothing"
    history.add([record(102, kind="table")], {"asks": 102})
    history.close()
    assert opened(url).state() == {"asks": 102}


def test_cheap_records_of_a_run_that_ends_early_are_written(tmp_path: Path) -> None:
    class Looked(nastk.FunctionOracle):
        @property
        def kind(self) -> Any:
            return "table"

    def value(archs: Any) -> Any:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(1)
        return accuracy(archs)

    done: list[int] = []
    goal = Looked(Toy(), value, "accuracy", "%", "max")
    with pytest.raises(KeyboardInterrupt):
        nastk.search(Toy(), [goal], searcher="random", budget=9, storage=tmp_path / "run.db")
    assert len(read_study(tmp_path / "run.db", "nastk").records) == 7


def test_of_the_state_only_what_changed_is_written(url: str) -> None:
    history = opened(url)
    written: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "nastk_states" in statement and not statement.startswith("SELECT"):
            written.append(str(parameters))

    asked: list[Any] = []
    sa.event.listen(history._database._engine, "before_cursor_execute", note)
    for i in range(20):
        asked.append([[i, i], {"told": f'number {i}, ["quoted"]'}])
        history.add([record(i)], {"asks": i // 10, "asked": asked, "brackets": [[1, 2]], "open": [[i]] * (i % 3)})
        assert not any(f"number {i - 1}," in text for text in written if f"number {i}," in text), "written again"
    assert sum("'brackets'" in text for text in written) == 1
    assert history.state() is not None
    history.close()
    again = opened(url)
    assert again.state() == {"asks": 1, "asked": asked, "brackets": [[1, 2]], "open": [[19]]}
    again.add([record(20)], {"asks": 2, "asked": asked[1:]})
    again.close()
    assert opened(url).state() == {"asks": 2, "asked": asked[1:]}


def test_a_state_of_an_earlier_version_is_read_and_moved(url: str) -> None:
    opened(url).close()
    found = Database(url)
    found.within(lambda c: c.execute(sa.update(STUDIES).values(state='{"asks": 7, "open": [[[0], ["a"], null]]}')))
    history = opened(url)
    assert history.state() == {"asks": 7, "open": [[[0], ["a"], None]]}
    history.close()
    assert found.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(STATES)).scalar_one()) == 2
    assert opened(url).state() == {"asks": 7, "open": [[[0], ["a"], None]]}
    found.close()


def test_a_commit_whose_answer_is_lost_is_not_made_twice(url: str) -> None:
    history = opened(url)
    lost: list[int] = []

    def lose(connection: sa.Connection) -> None:
        if not lost:
            lost.append(1)
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    history.add([record(1)], {"asks": 1, "asked": [1]})
    sa.event.listen(history._database._engine, "commit", lose)
    with pytest.warns(UserWarning, match="closed the connection unexpectedly; trying again"):
        history.add([record(2)], {"asks": 2, "asked": [1, 2], "new": 0})
    history.close()
    again = opened(url)
    assert [r.arch[0] for r in again.records()] == [1, 2]
    assert again.state() == {"asks": 2, "asked": [1, 2], "new": 0}


# ---- looked at and deleted


def test_a_study_is_deleted_alone(url: str) -> None:
    for name in ("one", "two"):
        history = open_history(url, name, {"a": name})
        history.begin([record(1).key])
        history.add([record(0)], {"asks": 1})
        history.close()
    assert delete(url, "one") == 1
    assert [(facts.name, facts.evaluations) for facts in studies(url)] == [("two", {"accuracy": 1})]
    assert len(open_history(url, "one", {"a": "new"})) == 0
    with pytest.raises(UnknownName, match="did you mean 'two'"):
        delete(url, "twoo")


def test_values_that_are_computed_are_kept_for_those_that_look_on(tmp_path: Path) -> None:
    goals = [oracle("accuracy"), oracle("latency", expensive=False)]
    storage = tmp_path / "run.db"
    for budget in (3, 6):
        result = nastk.search(Toy(), goals, searcher="random", budget=budget, storage=storage)
    found = read_study(storage, "nastk")
    assert [(g.name, g.unit, g.direction, g.expensive) for g in found.goals] == [
        ("accuracy", "%", "max", True), ("latency", "ms", "min", False),
    ]  # fmt: skip
    assert found.budget == {"accuracy": 6}
    table = result.describe(result.searcher.archs_).set_index("arch")
    assert len(found.archs) == len(table) == 6
    for arch in found.archs:
        row = table.loc[Toy().format(arch)]
        assert found.values(arch) == {"accuracy": row["accuracy"], "latency": row["latency"]}
