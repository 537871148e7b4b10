"""The model card: what it says of objectives, of data and of the search."""

from __future__ import annotations

from typing import Any

import pytest

from nastk.deploy._card import as_markdown, objectives_of
from nastk.finished import FinishedSearch

CONTENT: dict[str, Any] = {
    "search": {
        "space": "nasbench201",
        "objectives": [
            {"name": "test_accuracy", "oracle": {"oracle": "table", "table": "nasbench201", "dataset": "cifar10"}},
            {"name": "latency", "oracle": {"oracle": "latency", "device": "this", "runtime": "onnx"}},
        ],
    },
    "objectives": [
        {"name": "test_accuracy", "unit": "%", "direction": "max", "kind": "table", "source": "table nasbench201"},
        {"name": "latency", "unit": "ms", "direction": "min", "kind": "measured", "source": "measured here"},
    ],
    "front": [
        {
            "arch": "A", "test_accuracy": 90.0, "test_accuracy_std": 0.5, "test_accuracy_source": "table",
            "latency": 4.0, "latency_std": None, "latency_source": "measured", "latency_p90": 4.4,
        }
    ],
    "history": [
        {"arch": "B", "objective": "latency", "status": "ok", "value": 9.0, "std": 0.0, "kind": "measured"},
        {"arch": "B", "objective": "latency", "status": "ok", "value": 8.0, "std": 1.0, "kind": "measured"},
        {"arch": "B", "objective": "test_accuracy", "status": "failed", "value": None},
    ],
    "measurement": {
        "front": [{"arch": "A", "latency": {"value": 4.0, "low": 3.9, "high": 4.1, "p50": 4.2, "p90": 4.4}}],
        "objectives": {"latency": {"trusted": False, "drift": 0.2}},
    },
}  # fmt: skip


def test_objectives_of_the_front_and_beyond() -> None:
    finished = FinishedSearch(CONTENT)
    accuracy, latency = objectives_of(finished, "A")
    assert (accuracy["value"], accuracy["unit"], accuracy["kind"]) == (90.0, "%", "table")
    assert accuracy["interval"] == pytest.approx([89.02, 90.98])
    assert latency["interval"] == [3.9, 4.1]
    assert latency["p90"] == 4.4
    assert latency["measurement"]["conditions"] == {"trusted": False, "drift": 0.2}
    assert latency["how"]["runtime"] == "onnx"
    accuracy, latency = objectives_of(finished, "B")
    assert (latency["value"], latency["kind"]) == (8.0, "measured"), "the last, which verified it"
    assert latency["interval"] == pytest.approx([6.04, 9.96])
    assert (accuracy["value"], accuracy["kind"], accuracy["interval"]) == (None, None, None)


@pytest.mark.parametrize("damaged", [3, [], {"front": 3}, {"front": [3], "objectives": 3}, {"front": [{"arch": "A"}]}])
def test_a_damaged_measurement_is_left_out(damaged: Any) -> None:
    finished = FinishedSearch({**CONTENT, "measurement": damaged})
    assert "measurement" not in objectives_of(finished, "A")[1]


def test_markdown_says_it_in_words() -> None:
    card = {
        "space": "nasbench201", "arch": "|a~0|", "choices": {"0-1": "none"}, "build": {},
        "objectives": objectives_of(FinishedSearch(CONTENT), "A"),
        "weights": {"origin": "The weights are random", "parameters": 1234},
        "input": {"shape": [1, 3, 32, 32], "type": "float32"}, "files": [], "checked_on": "4 random inputs",
        "data": [{"of": {"table": "nasbench201"}, "licences": ["MIT"]}],
        "search": {"command": "nastk search `x`", "versions": {"nastk": "0.1.0"}},
        "export": {"command": None, "versions": {"nastk": "0.1.0"}},
    }  # fmt: skip
    text = as_markdown(card)
    for line in (
        "| test_accuracy | 90 % | 89.02 to 90.98 | table | table nasbench201 |",
        "| latency | 4 ms | 3.9 to 4.1 | measured | measured here (p50 4.2, p90 4.4, not to be trusted: the machine "
        "was not quiet) |",
        "| table nasbench201 | MIT |",
        "- search: `nastk search 'x'` (nastk 0.1.0)",
        "- export: no command (Python) (nastk 0.1.0)",
        "The weights are random. 1,234 parameters.",
    ):
        assert line in text, line
