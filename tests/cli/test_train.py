"""``nastk search --train``: accuracies, and other metrics, by the user's own command."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from nastk.cli import run

OWN = """
import nastk

class Rows(nastk.SearchSpace):
    name = "rows"
    choices = (nastk.Choice("width", ("16", "32", "64")), nastk.Choice("depth", ("1", "2", "3")))

def train(row, epochs):
    return 60.0 + float(row.sum()) + epochs / 10
"""
TRAIN = """#!/bin/sh
# arch, folder: a checkpoint is the number of epochs; each epoch that is trained is logged
done=$(cat "$2/done" 2>/dev/null || echo 0)
for e in $(seq 1 "$done"); do echo "{\\"epoch\\": $e, \\"accuracy\\": 6$e, \\"f1\\": 0.$e}"; done
for e in $(seq $((done + 1)) 9); do
  echo "$1 $e" >> trained
  echo "$e" > "$2/new" && mv "$2/new" "$2/done"
  echo "{\\"epoch\\": $e, \\"accuracy\\": 6$e, \\"f1\\": 0.$e}"
  sleep 0.01
done
sleep 600
"""
COMMAND = "./train.sh {arch} {folder}"
SEARCH = ["search", "--space", "own.py:Rows", "--objective", "accuracy"]
SHORT = ["--epochs", "1,3", "--searcher", "mo-asha", "--budget", "2"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "own.py").write_text(OWN)
    (folder / "train.sh").write_text(TRAIN)
    (folder / "train.sh").chmod(0o755)
    return folder


def records(database: str = "out/history.db") -> list[tuple[str, str, str, float]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute("select arch, objective, fidelity, value from nastk_records order by id").fetchall()
    finally:
        connection.close()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not Path("out").exists()
    return said


def test_a_command_is_an_oracle_of_several_metrics_and_fidelities(here: Path) -> None:
    asked = [*SEARCH, "--objective", "max:f1", "--constraint", "f1>=0.1", "--train", COMMAND, *SHORT]
    assert run([*asked, "--out", "out"]) == 0
    epochs = Path("trained").read_text().splitlines()
    lasting = {arch for arch, objective, fidelity, _ in records() if fidelity == ""}
    assert {(f, v) for _, o, f, v in records() if o == "accuracy"} == {("1.0", 61.0), ("", 63.0)}
    assert {(f, v) for _, o, f, v in records() if o == "f1"} == {("1.0", 0.1), ("", 0.3)}
    assert sum(line.endswith(" 2") for line in epochs) >= len(lasting), "the best are trained on"
    assert len(set(epochs)) == len(epochs), "from their checkpoints"
    [folder] = (here / "out" / "history.db-networks").iterdir()
    assert len(list(folder.iterdir())) == len({arch for arch, *_ in records()})
    result = json.loads(Path("out/result.json").read_text())
    assert {o["name"]: (o["unit"], o["direction"]) for o in result["objectives"]} == {
        "accuracy": ("%", "max"),
        "f1": ("", "max"),
    }


def test_a_table_of_a_file_has_the_limits_too(here: Path) -> None:
    lines = ['space = "own.py:Rows"', 'objective = ["accuracy"]', 'searcher = "random"', "budget = 2", 'out = "out"']
    Path("hangs.sh").write_text("#!/bin/sh\necho waiting\nsleep 600\n")
    Path("hangs.sh").chmod(0o755)
    table = ["[train]", 'command = ["./hangs.sh", "{arch}"]', "timeout = 0.2", "retries = 0"]
    Path("run.toml").write_text("\n".join([*lines, *table]))
    assert run(["search", "--config", "run.toml"]) == 2
    result = sqlite3.connect("out/history.db").execute("select distinct reason, attempts from nastk_records").fetchall()
    assert result == [("the command gave no answer within 0.2 s: waiting", 1)]
    Path("run.toml").write_text("\n".join([*lines, "train = \"sh -c 'echo 70' {arch}\""]))
    assert run(["search", "--config", "run.toml"]) == 0


def test_a_search_goes_on_in_the_same_folders_and_a_new_one_in_others(here: Path) -> None:
    asked = [*SEARCH, "--train", COMMAND, *SHORT[:4], "--out", "out"]
    assert run([*asked, "--budget", "1"]) == 0
    first = Path("trained").read_text().splitlines()
    assert run([*asked, "--budget", "2", "--resume"]) == 0
    longer = Path("trained").read_text().splitlines()
    assert longer[: len(first)] == first
    assert len(set(longer)) == len(longer) > len(first)
    assert run([*asked, "--budget", "1"]) == 0
    files = {p.name.removesuffix("-wal").removesuffix("-shm") for p in (here / "out").glob("history*")}
    assert files == {"history-1.db", "history-1.db-networks", "history.db", "history.db-networks"}
    assert Path("trained").read_text().splitlines() == [*longer, *first], "a new search trains anew"


def test_the_same_search_in_python_goes_on_with_it(here: Path) -> None:
    import nastk

    asked = [*SEARCH, "--train", "./train.sh {arch} {folder}", "--epochs", "1,3", "--searcher", "random"]
    assert run([*asked, "--budget", "2", "--out", "out"]) == 0
    space = nastk.space("own.py:Rows")
    program = nastk.oracles.TrainingCommand(space, COMMAND, fidelities=(1, 3))
    result = nastk.search("own.py:Rows", [program], "random", budget=3, storage="sqlite:///out/history.db")
    assert len({arch for arch, *_ in records()}) == 3
    assert result.history.spent() == {"accuracy": 3}
    trained = Path("trained").read_text().splitlines()
    assert len(trained) == len(set(trained))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train", "./train.sh {arch} {epochs}"], "uses {epochs}: say how many, such as --epochs 5,50"),
        (["--train", "./train.sh {arhc}"], "did you mean '{arch}'"),
        (["--train", "./train.sh"], "does not say which network it trains"),
        (["--train", "./nosuch.sh {arch}"], "there is no program"),
        (["--train", "./train.sh '{arch}"], "no closing quotation"),
        (["--train", " "], "--train is empty"),
        (["--train", COMMAND, "--accuracy", "own.py:train"], "both of your own trainings; leave one out"),
        (["--train", COMMAND, "--objective", "f1"], "write max:f1 or min:f1"),
        (["--train", COMMAND, "--objective", "max:f1:phone"], "does not depend on a device"),
        (["--train", COMMAND, "--objective", "min:accuracy"], "accuracy is always maximised"),
        (["--train", COMMAND, "--objective", "max:f1@7", "--epochs", "1,3"], "--epochs has no 7"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = arguments if "min:accuracy" in arguments else [*SEARCH[3:], *arguments]
    assert words in refused(capsys, *SEARCH[:3], *asked, "--searcher", "random", "--out", "out")


def test_a_command_that_no_objective_needs_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "search", "--space", "nasbench201", "--objective", "params", "--train", COMMAND)
    assert "--train ./train.sh '{arch}' '{folder}': no objective is measured by it; leave it out" in said


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("train = 3", "train must be a text or a table; got 3"),
        ("[train]\nline = 'x'", "unknown key of [train] 'line'"),
        ("[train]\ntimeout = 3", "[train] needs a command"),
        ("[train]\ncommand = './train.sh {arch}'\ntimeout = '3h'", "timeout is a number of seconds above 0; got '3h'"),
        ("[train]\ncommand = [3]", "command is a list of texts; got [3]"),
    ],
)
def test_what_cannot_be_used_in_a_file_is_refused(table: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text(f"space = 'own.py:Rows'\nobjective = ['accuracy']\n{table}\n")
    assert words in refused(capsys, "search", "--config", "run.toml", "--out", "out")
    assert os.listdir() != []
