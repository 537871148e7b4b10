"""A search that has ended, read from its folder."""

import json

import pandas as pd
import pytest
import toy

import nastk
from nastk.errors import DataError, InvalidArchitecture, InvalidValue, UnknownName
from nastk.finished import FinishedSearch, read_search

ROWS = [
    {"arch": "0-0", "index": 0, "accuracy": 80.0, "accuracy_source": "measured", "latency-pi5": 2.0},
    {"arch": "0-1", "index": 1, "accuracy": 90.0, "accuracy_source": "measured", "latency-pi5": 8.0},
    {"arch": "1-1", "index": 2, "accuracy": 90.0, "accuracy_source": "measured", "latency-pi5": 7.0},
    {"arch": "2-2", "index": 3, "accuracy": 95.0, "accuracy_source": "measured", "latency-pi5": None},
]


def content(**changed):
    objectives = [
        {"name": "accuracy", "unit": "%", "direction": "max", "expensive": True, "source": "a function"},
        {"name": "latency-pi5", "unit": "ms", "direction": "min", "expensive": True, "source": "measured"},
    ]
    search = {
        "space": "nasbench201",
        "objectives": [
            {"name": "accuracy", "fidelity": None, "oracle": {"oracle": "function", "function": "f.py:f"}},
            {"name": "latency-pi5", "fidelity": None, "oracle": {"oracle": "command", "device": "pi5"}},
        ],
    }
    return {"search": search, "space": "nasbench201", "objectives": objectives, "front": ROWS, **changed}


@pytest.fixture
def finished(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(content()))
    return read_search(tmp_path)


def test_reads_the_folder_or_its_file(tmp_path, finished):
    assert finished.path == tmp_path / "result.json"
    assert read_search(tmp_path / "result.json").content == finished.content
    assert finished.space.name == "nasbench201"
    assert [(o.name, o.unit, o.direction, o.kind) for o in finished.objectives] == [
        ("accuracy", "%", "max", "measured"),
        ("latency-pi5", "ms", "min", "measured"),
    ]
    assert list(finished.front["arch"]) == [row["arch"] for row in ROWS]
    assert finished.networks is None


def test_folders_of_networks_move_with_the_file(tmp_path):
    made = content()
    made["objectives"][0]["networks"] = "/gone/nastk-out/history.db-networks/0123"
    (tmp_path / "result.json").write_text(json.dumps(made))
    assert read_search(tmp_path).networks == tmp_path / "history.db-networks/0123"


def test_picks_the_best_within_limits(finished):
    assert finished.pick("accuracy")["arch"] == "2-2"
    assert finished.pick("accuracy, latency<=8")["arch"] == "0-1"
    assert finished.pick("accuracy, latency, latency<=8")["arch"] == "1-1"
    assert finished.pick("latency-pi5")["arch"] == "0-0"
    assert finished.pick("latency, accuracy>=85")["arch"] == "1-1"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("latency<=8", InvalidValue, "say what is to be the best"),
        ("", InvalidValue, "say what is to be the best"),
        ("accuracy, latency<=1", InvalidValue, "latency-pi5 is 2 to 8 ms there"),
        ("accuracy, latency<=8, accuracy>=99", InvalidValue, "that keeps the other limits"),
        ("acuracy", UnknownName, "did you mean 'accuracy'"),
        ("accuracy, energy<=1", UnknownName, "unknown objective 'energy'"),
        ("accuracy, latency<8", InvalidValue, "name<=number"),
    ],
)
def test_says_why_nothing_is_picked(finished, text, error, says):
    with pytest.raises(error, match=says):
        finished.pick(text)


def test_reads_an_architecture(finished):
    row = finished.arch(7)
    assert (finished.arch("7") == row).all()
    assert (finished.arch(finished.space.format(row)) == row).all()
    with pytest.raises(InvalidArchitecture):
        finished.arch("nonsense")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"search": None}, "does not say what was searched"),
        ({"search": {"space": "nasbench201"}}, "lacks its objectives"),
        ({"search": {"space": 3, "objectives": []}}, "no space or objectives"),
        ({"objectives": 3}, "no list"),
        ({"objectives": []}, "no objectives"),
        ({"objectives": [{"name": "accuracy", "direction": "up"}]}, "no name or no direction"),
        ({"front": {"arch": "1"}}, "no list"),
        ({"front": [{"accuracy": 1.0, "latency-pi5": 1.0}]}, "no architectures"),
        ({"front": [{"arch": "0-0", "accuracy": 1.0}]}, "has no latency-pi5"),
        ({"front": [{"arch": "0-0", "accuracy": "high", "latency-pi5": 1.0}]}, "is no number"),
    ],
)
def test_damaged_results_are_refused(tmp_path, changed, says):
    (tmp_path / "result.json").write_text(json.dumps(content(**changed)))
    with pytest.raises(DataError, match=says):
        read_search(tmp_path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no result\.json"):
        read_search(tmp_path)
    with pytest.raises(DataError, match="cannot read"):
        read_search(tmp_path / "none.json")
    for text in ("{", "[]", "3"):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(DataError, match="result"):
            read_search(tmp_path)


def test_a_space_that_is_no_name_can_be_given(tmp_path):
    made = content()
    made["search"]["space"] = "Net"
    (tmp_path / "result.json").write_text(json.dumps(made))
    with pytest.raises(InvalidValue, match="--space"):
        _ = read_search(tmp_path).space
    assert read_search(tmp_path, "nasbench201").space.name == "nasbench201"
    made["search"]["space"] = "gone.py:Net"
    (tmp_path / "result.json").write_text(json.dumps(made))
    with pytest.raises(InvalidValue, match="relative paths begin where the search ran"):
        _ = read_search(tmp_path).space


def test_a_search_in_memory(tmp_path):
    space = toy.Toy()
    cost = nastk.FunctionOracle(space, lambda archs: archs.sum(axis=1), "cost")
    value = nastk.FunctionOracle(space, lambda archs: archs[:, 0] * 1.0, "value", direction="max")
    result = nastk.search(space, [value, cost], searcher="random", budget=5, verify=0)
    found = FinishedSearch.of(result)
    assert found.space is space
    assert list(found.front["arch"]) == list(result.front["arch"])
    pd.testing.assert_series_equal(found.front["cost"], result.front["cost"])
    result.to_json(tmp_path / "result.json")
    assert list(read_search(tmp_path, space).front["arch"]) == list(result.front["arch"])
