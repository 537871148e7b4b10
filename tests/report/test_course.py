"""What a page tells of how a front came about."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import pytest
from toy import Toy, accuracy, latency, oracle

import nastk
from nastk.report.chart import Axis, Chart, Point, Value
from nastk.report.course import Limit, drawn, growth_of


def points(pairs: dict[str, tuple[float, float]]) -> list[Point]:
    return [Point(a, {"up": Value(u, "table"), "down": Value(d, "table")}) for a, (u, d) in pairs.items()]


AXES = [Axis("up", direction="max"), Axis("down", direction="min")]


def test_the_front_grows_to_all_of_it_and_what_breaks_a_limit_does_not_count() -> None:
    found = points({"a": (0.0, 10.0), "b": (5.0, 5.0), "c": (10.0, 9.0), "d": (9.0, 0.0)})
    growth = growth_of(found, ["a", "x", "b", "c", "d"], AXES)
    assert growth is not None
    assert growth.x == [1, 3, 4, 5, 5], "numbers of all architectures evaluated, those without values as well"
    assert growth.y == sorted(growth.y)
    assert growth.y[0] == 0
    assert growth.y[-1] == 100
    assert growth.y[1] == pytest.approx(100 * 0.25 / (0.9 * 1.0 + 0.1 * 0.1))
    limited = growth_of(found, ["a", "x", "b", "c", "d"], AXES, [Limit("down", ">=", 4.0)])
    assert limited is not None
    assert limited.x == [1, 3, 4, 5]
    assert growth_of(found, ["a"], AXES) is None


def test_of_one_objective_it_is_the_best_value() -> None:
    found = [Point(a, {"up": Value(v, "table")}) for a, v in {"a": 1.0, "b": 3.0, "c": 2.0}.items()]
    growth = growth_of(found, ["a", "b", "c"], AXES[:1])
    assert growth is not None
    assert (growth.x, growth.y) == ([1, 2, 3, 3], [1, 3, 3, 3])
    assert growth.label == "best up"


def test_a_network_goes_from_left_to_right() -> None:
    graph = nx.DiGraph([("input", "p"), ("input", "q"), ("p", "output"), ("q", "r"), ("r", "output")])
    found = drawn(graph)
    assert found is not None
    place = dict(zip(found.labels, found.columns, strict=True))
    assert place == {"input": 0, "p": 1, "q": 1, "r": 2, "output": 3}
    assert all(found.columns[a] < found.columns[b] for a, b in found.edges)
    assert len(found.edges) == 5
    assert drawn(nx.DiGraph([("a", "b"), ("b", "a")])) is None
    assert drawn(nx.path_graph(500, create_using=nx.DiGraph)) is None


def test_a_result_says_what_was_spent_and_what_failed() -> None:
    def failing(archs: Any) -> Any:
        if archs[0, 3] == 2:
            raise RuntimeError("out of memory")
        return accuracy(archs)

    goals = [oracle("accuracy", failing), oracle("latency", latency)]
    found = nastk.search(Toy(), goals, "random", budget=20, constraints=["latency<=22"], retries=0, verify=0)
    chart = found.chart()
    assert chart.limits == [Limit("latency", "<=", 22.0)]
    counts = found.history.counts()
    assert {s.objective: s.evaluated for s in chart.spent} == counts
    (failure,) = chart.failed
    assert (failure.objective, failure.count) == ("accuracy", sum(f["count"] for f in found.failures))
    assert "out of memory" in failure.reason
    assert all(p.graph is not None and len(p.graph.labels) == 6 for p in chart.front)
    assert all(p.graph is None for p in chart.evaluated)
    assert chart.growth is not None
    assert chart.growth.x[-1] == max(counts.values())
    again = Chart.from_dict(chart.to_dict())
    assert again.growth == chart.growth
    assert [p.graph for p in again.front] == [p.graph for p in chart.front]
    assert all(math.isfinite(s.seconds) or math.isnan(s.seconds) for s in again.spent)
