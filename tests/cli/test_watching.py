"""Studies looked at while they run: deleted, served, exported to Optuna, and `nastk search --live`."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import optuna
import pytest
from effort import HANGS
from toy import TINY_SPACE, Epochs, Toy, oracle

import nastk
from nastk.cli import run
from nastk.cli.live import Picture
from nastk.errors import InvalidValue, StorageError
from nastk.evaluation import Record
from nastk.report.serve import HOST, StudyServer
from nastk.report.stored import chart_of_stored, duration, standing, text_of
from nastk.report.to_optuna import export
from nastk.run import compose, describe_objects
from nastk.search.base import Objective
from nastk.storage import open_history
from nastk.studies import read_study

URL = "sqlite:///run.db"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failing(archs: Any) -> Any:
    if archs[0, 3] == 2:
        raise RuntimeError("<b>no GPU</b>")
    return 60.0 + archs.sum(axis=1)


def searched(budget: int = 12, **more: Any) -> nastk.Result:
    """A search with failures, a free objective and a constraint."""
    goals = [oracle("accuracy", failing), oracle("latency", expensive=False)]
    constraints = ["latency<=14"]
    return nastk.search(
        Toy(), goals, constraints=constraints, searcher="random", budget=budget, storage=URL, retries=0, **more
    )


def page(server: StudyServer, path: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(HOST, server.server_address[1], timeout=HANGS)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status == 200:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    connection.close()
    return answer.status, text


@pytest.fixture
def serving(here: Path) -> Iterator[StudyServer]:
    searched()
    with StudyServer(URL) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# ---- delete


def test_a_study_is_deleted_only_when_it_is_meant(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    searched()
    count = len(read_study(URL, "nastk").records)
    line = ["study", "delete", "--storage", URL, "--study", "nastk"]
    assert run(line) == 2
    assert f"would delete study nastk with {count} evaluations for ever; if so, add --yes" in capsys.readouterr().err
    assert run([*line, "--yes"]) == 0
    assert capsys.readouterr().out == f"Deleted study nastk with {count} evaluations.\n"
    assert run(["study", "list", "--storage", URL]) == 0
    assert "no study yet" in capsys.readouterr().out


def test_a_running_study_is_shown_as_such_and_not_deleted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = open_history(URL, config={"space": "toy", "objectives": []})
    history.begin([((0, 1), "accuracy", None, "search")])
    by = f"process {os.getpid()}"
    assert run(["study", "list", "--storage", URL, "--json", "rows.json"]) == 0
    assert json.loads((here / "rows.json").read_text())[0]["run by"].startswith(f"{by} on ")
    assert run(["study", "show", "--storage", URL]) == 0
    said = capsys.readouterr().out
    assert f"Run by {by} (this process) on " in said
    assert "Evaluating: accuracy of 0,1." in said
    for line in (["study", "delete", "--storage", URL, "--study", "nastk", "--yes"], ["study", "retry"]):
        assert run([*line, *([] if "--storage" in line else ["--storage", URL])]) == 2
        assert f"study 'nastk': it is being run by {by}" in capsys.readouterr().err
    history.close()


# ---- what a database shows


def test_the_front_of_a_stored_study_is_that_of_its_search(here: Path) -> None:
    result = searched(20)
    chart = chart_of_stored(read_study(URL, "nastk"))
    assert {p.arch for p in chart.front} == set(result.front["arch"])
    assert chart.feasible
    assert all(p.shown["latency"].value <= 14 for p in chart.front)
    assert {p.shown["latency"].kind for p in chart.front} == {"computed"}
    assert {p.shown["accuracy"].kind for p in chart.front} == {"measured"}
    known = {p.arch for p in [*chart.front, *chart.evaluated] if "accuracy" in p.shown}
    assert len(known) == 20


def test_a_study_says_where_it_stands(here: Path) -> None:
    history = open_history(
        URL, config={"space": "toy", "objectives": [], "choices": [["a", "x", "y"]]},
        about={"goals": [{"name": "accuracy"}], "budget": {"accuracy": 9}},
    )  # fmt: skip
    assert "Nothing has been evaluated yet." in standing(read_study(URL, "nastk"))
    history.add([Record((0,), "accuracy", 1.0, time=1000.0)])
    history.add([Record((1,), "accuracy", float("nan"), time=1010.0, status="failed", reason="no GPU")])
    said = standing(read_study(URL, "nastk"), now=1100.0)
    assert said[0] == "Evaluations: 2 of 9 of accuracy."
    assert said[1].startswith(f"Run by process {os.getpid()} ")
    assert re.fullmatch(r"The last evaluation came at 1970-01-01 \d\d:16:50, 90 s ago\.", said[2])
    assert said[3] == "Failed: 1 (1 x accuracy: no GPU)."
    history.close()
    assert standing(read_study(URL, "nastk"))[1] == "No process runs it now."
    assert [duration(s) for s in (-3, 8, 600, 9000, 300_000)] == ["0 s", "8 s", "10 min", "2.5 h", "3.5 d"]


def test_architectures_are_written_as_their_space_does() -> None:
    space = nastk.space("nasbench201")
    arch = tuple(int(v) for v in space.sample(1, 0)[0])
    assert text_of(space.identity())(arch) == space.format(space.sample(1, 0)[0])
    own = Toy().identity()
    assert text_of(own)((0, 1, 2, 0)) == "a_b_c_a"
    assert text_of({"space": "mine.py:Evil", "choices": []})((0, 1)) == "0,1"
    assert text_of({**space.identity(), "choices": own["choices"]})((0, 1, 2, 0)) == "a_b_c_a"


# ---- serve


def test_pages_show_the_studies_and_reload(serving: StudyServer) -> None:
    status, listed = page(serving)
    assert status == 200
    assert '<a href="/?study=nastk">nastk</a>' in listed
    status, shown = page(serving, "/?study=nastk")
    assert status == 200
    for text in (listed, shown):
        assert "location.reload(); }, 10000)" in text
        assert not re.search(r'(src|href)="(https?:)?//', text), "something from elsewhere"
    assert "The last evaluation came at " in shown
    assert "&lt;b&gt;no GPU&lt;/b&gt;" in shown
    assert "<b>no GPU" not in shown
    chart = json.loads(re.search(r'id="data">(.*?)</script>', shown, re.S)[1])  # type: ignore[index]
    assert chart["front"]
    history = open_history(URL, config=json.loads(json.dumps(read_study(URL, "nastk").facts.identity)))
    history.add([Record((2, 2, 2, 0), "accuracy", 99.0)])
    assert "Run by process" in page(serving, "/?study=nastk")[1]
    history.close()


def test_pages_are_read_only_and_for_this_machine(serving: StudyServer) -> None:
    before = Path("run.db").read_bytes()
    assert serving.server_address[0] == "127.0.0.1"
    assert page(serving, "/?study=nope")[0] == 404
    assert page(serving, "/etc/passwd")[0] == 404
    assert page(serving, host="evil.example:80")[0] == 403
    assert page(serving, method="POST")[0] == 501
    assert Path("run.db").read_bytes() == before
    for file in Path().glob("run.db*"):
        file.unlink()
    status, text = page(serving)
    assert status == 503
    assert "no database" in text
    assert "location.reload()" in text


def test_one_study_can_be_served_alone_and_a_taken_port_is_said(here: Path) -> None:
    searched(3)
    with StudyServer(URL, "nastk") as server:
        assert "<h1>nastk: accuracy, latency of toy</h1>" in server.page("nastk")
        with pytest.raises(StorageError, match=r"cannot listen on port \d+: .*; give another one with --port"):
            StudyServer(URL, None, server.server_address[1])


# ---- export to Optuna


def exported(name: str = "nastk") -> optuna.Study:
    return optuna.load_study(study_name=name, storage="sqlite:///optuna.db")


def test_a_study_is_exported_as_optuna_has_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = searched(12)
    line = ["study", "export", "--storage", URL, "--optuna", "sqlite:///optuna.db"]
    assert run(line) == 0
    study, state = exported(), optuna.trial.TrialState
    failed = sum(row["count"] for row in result.failures)
    assert capsys.readouterr().out.startswith(f"{12 + failed} trials of study nastk: ")
    complete = study.get_trials(states=[state.COMPLETE])
    assert len(complete) == 12
    assert len(study.get_trials(states=[state.FAIL])) == failed > 0
    assert study.metric_names == ["accuracy", "latency"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    table = result.describe(result.searcher.archs_).set_index("arch")
    for trial in complete:
        arch = "_".join(trial.params[f"choice{i}"] for i in range(4))
        assert trial.user_attrs["arch"] == arch
        assert trial.values == [table.loc[arch, "accuracy"], table.loc[arch, "latency"]]
        assert trial.constraints == {"latency<=14": pytest.approx(trial.values[1] - 14)}
        assert trial.datetime_start <= trial.datetime_complete
    assert {t.user_attrs["accuracy failed"] for t in study.get_trials(states=[state.FAIL])} == {
        "RuntimeError: <b>no GPU</b>"
    }
    assert {t.user_attrs["arch"] for t in study.best_trials} == set(result.front["arch"])


def test_a_later_export_replaces_an_earlier_one_and_nothing_else(here: Path) -> None:
    searched(4)
    history = open_history(URL, config=read_study(URL, "nastk").facts.identity)  # as if it were running
    export(URL, "nastk", "sqlite:///optuna.db")
    history.close()
    searched(8)
    counts = export(URL, "nastk", "sqlite:///optuna.db")
    assert len(exported().trials) == sum(counts.values())
    assert counts["complete"] == 8
    optuna.create_study(study_name="mine", storage="sqlite:///optuna.db")
    with pytest.raises(InvalidValue, match="a study 'mine' that is no export of this one; give another --name"):
        export(URL, "nastk", "sqlite:///optuna.db", "mine")
    assert exported("mine").trials == []
    with pytest.raises(StorageError, match="in memory"):
        export(URL, "nastk", "sqlite://")


def test_short_trainings_are_intermediate_values(here: Path) -> None:
    result = nastk.search(Toy(), [Epochs()], searcher="successive-halving", budget=3, storage=URL)
    counts = export(URL, "nastk", "sqlite:///optuna.db")
    assert counts["pruned"] > 0
    assert counts["complete"] > 0
    records: dict[str, dict[float | None, float]] = {}
    for r in result.history.records():
        records.setdefault(Toy().format(r.arch), {})[r.fidelity] = r.value  # type: ignore[arg-type]
    for trial in exported().trials:
        mine = records[trial.user_attrs["arch"]]
        assert trial.intermediate_values == {int(f): v for f, v in mine.items() if f in (1.0, 3.0)}
        if trial.state.name == "COMPLETE":
            assert trial.value == mine.get(None, mine.get(9.0))


def test_some_objectives_only_are_no_complete_trial(here: Path) -> None:
    goals = [oracle("accuracy"), oracle("latency")]
    goals[1].few_shot = True
    nastk.search(Toy(), goals, budget=8, measurements=4, verify=0, storage=URL)
    counts = export(URL, "nastk", "sqlite:///optuna.db")
    assert counts["pruned"] >= 4
    pruned = next(t for t in exported().trials if t.state.name == "PRUNED")
    assert ("accuracy" in pruned.user_attrs) != ("latency" in pruned.user_attrs)


# ---- live


def test_a_picture_has_front_running_failures_and_time(here: Path) -> None:
    from rich.console import Console

    goals = [Objective.of(oracle("accuracy", failing)), Objective.of(oracle("latency", expensive=False))]
    search = compose(*describe_objects(Toy(), goals, "random", budget=9, verify=0), storage=URL)
    picture = Picture(search)
    picture.move(0, 9)
    assert "0 of 9 evaluations in 0 s" in picture.lines()[0]
    search.search(picture.move)
    picture.move(9, 9)
    history: Any = search.history
    history.begin([((0, 1, 2, 0), "accuracy", None, "search")])
    out = io.StringIO()
    Console(file=out, width=120).print(picture)
    said = out.getvalue()
    assert "9 of 9 evaluations in " in said
    assert "evaluating accuracy of a_b_c_a (0 s)" in said
    assert "x accuracy: RuntimeError: <b>no GPU</b>" in said
    for arch in search.result.front["arch"]:
        assert arch in said
    search.close()


LIVE = ["search", "--space", "tiny.py:Tiny", "--objective", "accuracy", "--objective", "params", "--searcher", "random"]
LIVE += ["--accuracy", "tiny.py:accuracy", "--budget", "6", "--live"]
TINY = TINY_SPACE
TINY += """
def accuracy(arch):
    return 50.0 + 3.0 * float(arch.sum())
"""


def test_live_is_for_terminals_alone(here: Path) -> None:
    (here / "tiny.py").write_text(TINY)
    command = [sys.executable, "-m", "nastk", *LIVE]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False)
    assert piped.returncode == 0, piped.stderr
    assert piped.stderr == ""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*command, "--out", "again"], stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(HANGS) == 0
    text = shown.decode()
    assert "of 6 evaluations in" in text
    assert "front so far" in text
