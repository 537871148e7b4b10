"""Results list each network once, with what is known of it in whichever encoding it was evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import Toy, oracle

import nastk
from nastk.evaluation import Record
from nastk.history import History
from nastk.report.front import chart_of
from nastk.result import Result
from nastk.search.random import RandomSearch


def keys(texts: list[str]) -> list[object]:
    return Toy().keys(Toy().as_archs(texts)) if texts else []


def measured_front(**options: object) -> Result:
    """A front that is predicted from a few latencies over the whole space, half of which are other encodings."""
    latency = oracle("latency")
    latency.few_shot = True
    goals = [oracle("accuracy", expensive=False), latency]
    return nastk.search(Toy(), goals, budget=12, measurements=12, **options)


@pytest.mark.parametrize("verify", [0, 6])
def test_lists_hold_each_network_once(verify: int, tmp_path: Path) -> None:
    result = measured_front(verify=verify)
    result.to_csv(tmp_path / "front.csv")
    result.to_json(tmp_path / "result.json")
    saved = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    chart = chart_of(result, result.proposed)
    lists = {
        "front": list(result.front["arch"]),
        "front.csv": list(pd.read_csv(tmp_path / "front.csv")["arch"]),
        "result.json": [row["arch"] for row in saved["front"]],
        "the chart of result.json": [p["arch"] for p in saved["chart"]["front"]],
        "the chart": [p.arch for p in (*chart.front, *chart.evaluated)] + chart.cloud.archs,
    }
    for name, texts in lists.items():
        assert len(texts) > 3, name
        assert len(set(keys(texts))) == len(texts), f"{name} repeats a network"
    assert len(lists["the chart"]) == len(set(Toy().keys(Toy().enumerate())))


def test_a_front_shows_what_was_measured_of_a_network_in_another_encoding() -> None:
    result = measured_front(verify=0)
    values = {Toy().keys(np.array([r.arch]))[0]: r.value for r in result.history.records()}
    everything = Toy().enumerate()
    table = result.describe(everything)
    known = [key in values for key in keys(list(table["arch"]))]
    assert sum(known) > len(values), "some are measured in another encoding"
    for arch, value, source, there in zip(table["arch"], table["latency"], table["latency_source"], known, strict=True):
        assert source == ("measured" if there else "predicted")
        if there:
            assert value == values[keys([arch])[0]]


def test_equal_networks_that_were_both_told_stand_once_in_the_front() -> None:
    goals = [oracle("accuracy"), oracle("latency")]
    searcher = RandomSearch(Toy(), goals, budget={"accuracy": 4, "latency": 4})
    history = History()
    for arch in ((0, 0, 1, 1), (0, 2, 1, 1), (1, 1, 1, 1)):
        rows = np.array([arch])
        told = [Record(arch, o.name, float(o.function(rows)[0])) for o in (goals[0], goals[1])]
        history.add(told)
        searcher.tell(told)
    result = Result(searcher, history)
    assert result.front_archs.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert len(result.front) == 2


def test_values_of_a_network_are_known_in_every_encoding() -> None:
    searcher = RandomSearch(Toy(), [oracle("accuracy")], budget={"accuracy": 4})
    searcher.tell([Record((0, 2, 1, 1), "accuracy", 70.0)])
    found = searcher.values_of(np.array([[0, 2, 1, 1], [0, 0, 1, 1], [1, 0, 1, 1]]))
    assert found[:2, 0].tolist() == [70.0, 70.0]
    assert np.isnan(found[2, 0])
    assert searcher.one_of_each(np.array([[0, 0, 1, 1], [0, 2, 1, 1], [0, 1, 1, 1]])).tolist() == [[0, 2, 1, 1]]


def test_encodings_that_are_built_from_different_operations_stay_apart() -> None:
    space = nastk.space("nasbench201")
    everything = space.enumerate()
    assert len(space.distinct(everything)) == len(everything)
    assert np.array_equal(space.as_networks(everything[:50]), everything[:50])


def test_equal_measurements_do_not_end_a_search() -> None:
    latency = oracle("latency", lambda archs: np.full(len(archs), 7.0))
    latency.few_shot = True
    result = nastk.search(Toy(), [oracle("accuracy"), latency], budget=8, measurements=4, verify=0)
    assert result.history.counts() == {"accuracy": 8, "latency": 4}
