"""Evaluations that were paid for once: other limits, objectives and searchers over the same storage; `nastk front`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy import TINY_SPACE, Epochs, Toy, accuracy, oracle

import nastk
from nastk.cli import run
from nastk.errors import InvalidValue, UnknownName
from nastk.metrics import nondominated
from nastk.search.base import Constraint
from nastk.spaces.base import Archs

pytestmark = pytest.mark.filterwarnings(
    "ignore:Began study", "ignore:.*known from study", "ignore:Reused", "ignore:No", "ignore:constraint"
)

LIMITS = ("latency<=6", "latency<=9", "latency<=14")


def counted(asked: list[Any]) -> nastk.Oracle:
    def evaluate(archs: Archs) -> Any:
        asked.extend(map(tuple, archs.tolist()))
        return accuracy(archs)

    evaluate.__wrapped__ = accuracy  # type: ignore[attr-defined]  # the same function, watched
    return oracle("accuracy", evaluate)


def paid(result: nastk.Result) -> int:
    return sum(result.history.counts("search").values())


def best(result: nastk.Result, limit: str) -> set[str]:
    """The feasible non-dominated architectures of all records, one of each network."""
    space, names = Toy(), ["accuracy", "latency"]
    values: dict[tuple[int, ...], dict[str, float]] = {}
    for r in result.history.records():
        values.setdefault(r.arch, {})[r.objective] = r.value
    archs = np.array([arch for arch, of in values.items() if len(of) == 2])
    archs = archs[space.distinct(archs)]
    table = np.array([[values[tuple(arch)][name] for name in names] for arch in archs.tolist()])
    kept = Constraint.parse(limit).violation(table[:, 1]) <= 0
    chosen = nondominated(table[kept] * np.array([-1.0, 1.0]))
    return {space.keys(row[None])[0].hex() for row in archs[kept][chosen]}  # type: ignore[attr-defined]


def keys(texts: Any) -> set[str]:
    return {key.hex() for key in Toy().keys(Toy().as_archs(list(texts)))}  # type: ignore[attr-defined]


@pytest.mark.parametrize("searcher", ["random", "predictor"])
def test_other_limits_over_one_study_evaluate_nothing_new(searcher: str, tmp_path: Path) -> None:
    asked: list[Any] = []
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": searcher, "budget": 15}
    first = nastk.search(Toy(), [counted(asked), oracle("latency")], **stored)
    assert len(asked) == 15
    for limit in LIMITS:
        found = nastk.search(Toy(), [counted(asked), oracle("latency")], **stored, constraints=limit, reuse=True)
        assert len(asked) == 15, "nothing was evaluated again"
        assert paid(found) == 0
        assert "15 of accuracy and 15 of latency from study 'nastk'" in " ".join(found.notes)
        assert keys(found.front["arch"]) == best(first, limit)
        answer = nastk.front(stored["storage"], "nastk", limit)
        assert keys(answer.table["arch"]) == best(first, limit)
        assert (answer.table["latency"] <= Constraint.parse(limit).bound).all()


def test_without_reuse_the_budget_is_beyond_what_others_know(tmp_path: Path) -> None:
    asked: list[Any] = []
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "random", "budget": 10}
    nastk.search(Toy(), [counted(asked), oracle("latency")], **stored)
    other = nastk.search(Toy(), [counted(asked), oracle("latency")], **stored, seed=1)
    assert paid(other) == 20
    assert "beyond the budget (--reuse" in " ".join(other.notes)


def test_a_larger_budget_and_another_objective_evaluate_what_is_missing(tmp_path: Path) -> None:
    asked: list[Any] = []
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "random"}
    nastk.search(Toy(), [counted(asked), oracle("latency")], budget=10, **stored)
    more = nastk.search(
        Toy(), [counted(asked), oracle("latency")], budget=14, constraints="latency<=9", reuse=True, **stored
    )
    assert more.history.counts() == {"accuracy": 4, "latency": 4}

    def energy(archs: Archs) -> Any:
        return 1.0 + archs.sum(axis=1)

    goals = [counted(asked), oracle("energy", energy, "min")]
    before = len(asked)
    other = nastk.search(Toy(), goals, budget=14, reuse=True, **stored)
    assert other.history.counts().get("accuracy", 0) == len(asked) - before == 0
    assert "10 of accuracy from study 'nastk'; 4 of accuracy from study 'nastk-2'" in " ".join(other.notes)


def test_what_a_study_was_not_charged_for_is_not_charged_where_it_is_reused(tmp_path: Path) -> None:
    stored: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/run.db", "searcher": "successive-halving", "budget": 6}
    first, second = Epochs(), Epochs()
    one = nastk.search(Toy(), [first], **stored)
    again = nastk.search(Toy(), [second], **stored, seed=1, reuse=True)
    assert first.asked
    assert not second.asked
    assert again.searcher.charged("accuracy") == one.searcher.charged("accuracy")


def test_reuse_needs_a_storage() -> None:
    with pytest.raises(InvalidValue, match="give its URL as storage"):
        nastk.search(Toy(), [oracle("accuracy")], budget=3, reuse=True)


# ---- the history asked


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One objective is evaluated on each proposal, one measured on some of these and others, one computed."""
    few = oracle("latency")
    few.few_shot = True
    goals = [oracle("accuracy"), few, oracle("size", lambda archs: 1.0 + archs.sum(axis=1), "min", expensive=False)]
    storage = f"sqlite:///{tmp_path_factory.mktemp('asked')}/run.db"
    nastk.search(Toy(), goals, budget=12, measurements=5, storage=storage, verify=3)
    return storage


def test_other_objectives_and_limits_on_what_is_not_shown(study: str) -> None:
    everything = nastk.front(study)
    assert "The others are left out." in everything.chart.notes[0], "some have no measured latency"
    sizes = nastk.front(study, objectives=["accuracy", "size"])
    assert "latency" not in sizes.table
    assert len(sizes.chart.evaluated) + len(sizes.chart.front) > len(everything.table)
    limited = nastk.front(study, objectives="accuracy", constraints="size<=4")
    assert list(limited.table["size"]) == [v for v in limited.table["size"] if v <= 4]
    assert [axis.name for axis in limited.chart.axes] == ["accuracy"]
    none = nastk.front(study, constraints="size<=0.5")
    assert not none.feasible
    assert "Nothing in the history keeps size<=0.5; showing the least-violating" in none.chart.notes[-1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"objectives": "acuracy"}, UnknownName, "did you mean 'accuracy'"),
        ({"constraints": "energy<=3"}, UnknownName, "known: accuracy, latency, size"),
        ({"constraints": "size"}, InvalidValue, "write name<=number"),
        ({"objectives": ["size", "size"]}, InvalidValue, "asked for twice"),
        ({"study": "nastq"}, UnknownName, "did you mean 'nastk'"),
        ({"space": "a.py:B"}, InvalidValue, "for predictions alone"),
        ({"predict": True}, InvalidValue, "cannot be predicted: the objective 'accuracy' is an object"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    study: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nastk.front(study, **arguments)


MINE = (
    TINY_SPACE
    + """
def accuracy(arch):
    open("asked.txt", "a").write("x")
    return 50.0 + 3.0 * float(arch.sum())
"""
)


def test_the_command_line_asks_and_searches_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_reuse.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_reuse", raising=False)
    search = ["search", "--space", "mine_reuse.py:Tiny", "--objective", "accuracy", "--objective", "params"]
    search += ["--accuracy", "mine_reuse.py:accuracy", "--searcher", "random", "--budget", "9"]
    assert run(["front"]) == 2
    assert "no folder of a search: nastk-out" in capsys.readouterr().err
    assert run(search) == 0
    files = ["--csv", "f.csv", "--json", "f.json", "--html", "f.html", "--png", "f.png"]
    assert run(["front", "--constraint", "params<=80", *files]) == 0
    table = pd.read_csv("f.csv", dtype={"depth": str})
    assert (table["params"] <= 80).all()
    assert set(table["depth"]) <= {"1", "2", "4"}
    assert [row["arch"] for row in json.loads(Path("f.json").read_text())] == list(table["arch"])
    assert "params&lt;=80" in Path("f.html").read_text()
    assert Path("f.png").stat().st_size > 1000
    capsys.readouterr()
    assert run(["front", "nastk-out/result.json", "--constraint", "params<=80", "--predict"]) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in table["arch"])
    assert run([*search, "--reuse", "--constraint", "params<=80"]) == 0
    assert "9 of accuracy from study 'nastk'" in capsys.readouterr().err
    assert len(Path("asked.txt").read_text()) == 9
    assert not Path("nastk-out/history-1.db").exists()
    assert list(pd.read_csv("nastk-out/front.csv")["arch"]) == list(table["arch"])
    assert run(["front"]) == 2
    assert "--study nastk or nastk-2" in capsys.readouterr().err
    assert run(["front", "--storage", "sqlite:///nastk-out/history.db", "--study", "nastk-2"]) == 0
    assert run(["front", "nastk-out", "--storage", "sqlite:///nastk-out/history.db"]) == 2
