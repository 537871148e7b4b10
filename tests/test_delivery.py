"""What a search delivers is measured again at its end, keeps its limits, or says what comes nearest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, oracle

import nastk
from nastk.cli import run
from nastk.oracles.base import Evaluation, FunctionOracle
from nastk.report.summary import Summary
from nastk.result import Result
from nastk.search.base import Searcher
from nastk.search.delivery import ANCHORS, Measured, first_to_measure
from nastk.search.random import RandomSearch
from nastk.search.retrained import Retrained
from nastk.spaces.base import Archs, Choice


class Wide(Toy):
    """Four choices of five options, so that there is something near to every limit."""

    name = "wide"
    choices = tuple(Choice(f"choice{i}", ("a", "b", "c", "d", "e")) for i in range(4))

    def canonical(self, archs: Archs) -> Archs:
        return archs


def ms_of(archs: Archs) -> Any:
    """Latencies that are additive, from 1 to 12.4 ms."""
    return 1.0 + archs @ np.array([0.31, 0.53, 0.83, 1.19])


def quality(archs: Archs) -> Any:
    """Accuracies, with diminishing returns."""
    return 60.0 + 8.0 * np.sqrt(archs @ np.array([0.4, 0.5, 0.9, 1.1]))


class Machine(FunctionOracle):
    """Latencies of a machine whose speed is another at each measurement; a call measures networks together.

    Args:
        levels: how slow it is at each call; the last stays.
        sd: relative standard deviation of a value, which it also tells.
        interrupted: the call that Ctrl-C ends.
    """

    noisy, few_shot, together = True, True, 25

    def __init__(self, levels: Sequence[float] = (1.0,), sd: float = 0.01, interrupted: int = -1):
        super().__init__(Wide(), ms_of, "latency", "ms", "min")
        self.levels, self.sd, self.interrupted = levels, sd, interrupted
        self.calls: list[int] = []

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        call = len(self.calls)
        if call == self.interrupted:
            raise KeyboardInterrupt
        self.calls.append(len(archs))
        noise = np.random.default_rng(call).normal(0.0, self.sd, len(archs))
        ms = ms_of(archs) * self.levels[min(call, len(self.levels) - 1)] * np.exp(noise)
        said = {"p50": 1.1, "p90": 1.3, "trusted": self.sd < 0.05, "said": "steady"}
        return Evaluation(ms, ms * self.sd, np.full(len(ms), 0.1), details=[{**said, "p50": float(v)} for v in ms])


def search(machine: Machine, limit: float = 9.0, **options: Any) -> Result:
    """A front that is predicted from a few latencies; two calls measure these."""
    given = {"budget": 10, "measurements": 10, "verify": 6, **options}
    return nastk.search(Wide(), [ACCURACY, machine], constraints=[f"latency<={limit}"], **given)


ACCURACY = FunctionOracle(Wide(), quality, "accuracy", "%", "max", expensive=False)


def delivered_ms(result: Result) -> Any:
    return ms_of(result.front_archs)


def searched(machine: Machine, n: int, limit: float = 9.0) -> Result:
    """A front of 40 measured networks, measured again when the machine has become a quarter slower."""
    goals = [ACCURACY, machine]
    result = nastk.search(Wide(), goals, "random", constraints=[f"latency<={limit}"], budget=40, verify=0)
    machine.levels, machine.calls[:] = (1.25,), []
    result.settle(n)
    return result


def test_the_front_is_measured_again_together_and_each_value_is_of_then() -> None:
    machine = Machine()
    result = searched(machine, 6, limit=100.0)
    assert result.proposed is not None
    assert len(result.proposed) > 6
    assert machine.calls == [6], "in one go"
    for row in result.front.itertuples():
        last = result.history.find(Wide().parse(row.arch), "latency", purpose="verify")
        told = result.history.find(Wide().parse(row.arch), "latency")
        assert told is not None
        assert row.latency == (told if last is None else last).value


def test_what_breaks_a_limit_is_replaced_by_the_next_best() -> None:
    slower = Machine(levels=(1.0, 1.0, 1.1))  # at the end
    result = search(slower)
    promise = result.promise
    assert promise is not None
    assert promise.kept
    assert promise.broken, "some of the proposal breaks the limit at the new speed"
    assert 0 < promise.repairs <= 6
    assert (1.1 * delivered_ms(result) <= 9.0).all()
    assert set(result.front["latency_source"]) == {"measured"}
    proposed = {tuple(a) for a in (result.proposed if result.proposed is not None else [])}
    assert {tuple(a) for a in result.front_archs} - proposed, "a repair is in the front"
    everything = Wide().enumerate()
    best = quality(everything[1.1 * ms_of(everything) <= 9.0]).max()
    assert result.front["accuracy"].max() >= best - 2.0, "no tiny network takes their place"


def test_without_repair_it_is_left_out() -> None:
    machine = Machine(levels=(1.0, 1.0, 1.25))
    result = search(machine, verify=0)
    result.settle(6, repair=False)
    assert result.promise is not None
    assert result.promise.broken
    assert result.promise.repairs == 0
    assert (1.25 * delivered_ms(result) <= 9.0).all()


def test_near_the_limit_the_interval_decides() -> None:
    exact, rough = (search(Machine(sd=sd), limit=9.0) for sd in (0.001, 0.06))
    margin = 9.0 / (1 + 1.644 * 0.06)
    assert margin < delivered_ms(exact).max() <= 9.0
    assert rough.front["latency"].max() <= margin, "what is measured just within it may be more at another time"


def test_a_network_whose_measurement_failed_is_not_delivered_with_a_predicted_value() -> None:
    broken: set[tuple[int, ...]] = set()

    def ms(archs: Archs) -> Any:
        return np.where([tuple(a) in broken for a in archs.tolist()], np.nan, ms_of(archs))

    def front() -> set[tuple[int, ...]]:
        latency = FunctionOracle(Wide(), ms, "latency", "ms", "min")
        latency.few_shot = True
        result = nastk.search(Wide(), [ACCURACY, latency], budget=16, measurements=16, verify=0)
        measured = {tuple(r.arch) for r in result.history.records()}
        return {tuple(a) for a in result.front_archs.tolist()} & measured

    broken |= front()
    assert broken, "some of the front were measured"
    assert not front() & broken


def test_a_machine_that_became_slower_leaves_no_wider_margin() -> None:
    slower, faster = (search(Machine(levels=(1.0, 1.0, level))) for level in (1.3, 1 / 1.3))
    assert slower.front["latency"].max() > 9.0 * 0.96, "its own deviation of 1 % alone"
    assert faster.front["latency"].max() < 9.0 * 0.9, "it may be as slow again"


def test_what_was_measured_leads_to_others_in_a_space_too_large_to_be_looked_at_whole() -> None:
    result = search(Machine(), verify=0, candidates=100)
    searcher, archs = result.searcher, Wide().sample(30, np.random.default_rng(0), unique=True)
    before = searcher.estimate(archs)["latency"].mean

    def otherwise(archs: Archs) -> Any:
        return ms_of(archs[:, ::-1])

    def best(archs: Archs) -> float:
        return float(quality(archs[otherwise(archs) <= 6.0]).max())

    found = searcher.further({"latency": (archs, otherwise(archs))})
    assert best(found) == best(Wide().enumerate()) > best(searcher.alternatives())
    assert len(searcher.further({})) == 0
    assert (searcher.estimate(archs)["latency"].mean == before).all(), "what the search knows stays"
    whole = search(Machine(), verify=0).searcher
    assert len(whole.further({"latency": (archs, otherwise(archs))})) == 0, "all of the space is there already"


def test_where_nothing_keeps_the_limit_it_says_what_comes_nearest(tmp_path: Path) -> None:
    result = search(Machine(), limit=0.5)
    assert result.promise is not None
    assert not result.promise.kept
    assert not result.feasible
    (sentence,) = result.promise.missed
    assert sentence.startswith("Asked latency <= 0.5 ms; the fastest found measures ")
    assert len(result.front) == 1
    assert delivered_ms(result)[0] == 1.0
    notes = Summary(result).chart.notes
    assert sentence in notes
    assert not any("least-violating" in note for note in notes)
    result.to_json(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["measurement"]["missed"] == [sentence]


def test_what_may_break_the_limit_at_another_time_is_named() -> None:
    result = search(Machine(sd=0.06), limit=1.05)
    assert result.promise is not None
    assert not result.promise.kept
    assert "it is not certain to keep the limit" in result.promise.missed[0]


def test_the_measurement_stands_in_the_result() -> None:
    result = searched(Machine(), 6)
    found = result.measurement
    assert found is not None
    assert found["objectives"]["latency"] == {"trusted": True, "said": "steady"}
    assert abs(found["moved"]["latency"] - 0.25) < 0.1
    for row, ms in zip(found["front"], result.front["latency"], strict=True):
        of = row["latency"]
        if of["source"] == "search":
            assert 1.25 * ms < 9.0 * 0.97, "far from the limit at the speed of the end, too"
            continue
        assert of["source"] == "measured"
        assert of["value"] == of["p50"] == ms
        assert of["p90"] == 1.3
        assert of["low"] < ms < of["high"]
    assert sum(row["latency"]["source"] == "measured" for row in found["front"]) > 2
    notes = " ".join(Summary(result).chart.notes)
    assert "steady" in notes
    assert "slower than by the search" in notes
    assert "did not keep latency<=9 with 95 % confidence" in notes


@pytest.mark.parametrize("interrupted", [2, 3])
def test_an_interrupted_verification_goes_on(interrupted: int, tmp_path: Path) -> None:
    levels = (1.0, 1.0, 1.25)
    straight = search(Machine(levels))
    storage = f"sqlite:///{tmp_path}/run.db"
    with pytest.raises(KeyboardInterrupt):
        search(Machine(levels, interrupted=interrupted), storage=storage)
    machine = Machine((1.25,))
    resumed = search(machine, storage=storage)
    assert machine.calls, "what was interrupted is measured"
    assert resumed.promise is not None
    assert straight.promise is not None
    assert resumed.promise.kept
    assert resumed.promise.measured == straight.promise.measured
    again = Machine()
    third = search(again, storage=storage)
    assert again.calls == [], "what was measured at the end of this run is not measured again"
    assert third.measurement is not None
    assert third.measurement["front"] == (resumed.measurement or {})["front"], "p50 and p90 are in the history"


def test_what_was_measured_in_the_end_alone_is_in_the_front_of_the_history(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/run.db"
    result = search(Machine(), storage=storage)
    known = {record.arch for record in result.history.records()}
    assert known > {record.arch for record in result.history.records("search")}
    answer = nastk.front(storage)
    assert answer.chart.notes[0].startswith(f"{len(known)} of the {len(known)} architectures")


def test_a_search_without_measured_objectives_stays_as_it_was() -> None:
    few = oracle("latency")
    few.few_shot = True
    result = nastk.search(Toy(), [oracle("accuracy", expensive=False), few], budget=10, measurements=10, verify=6)
    assert result.promise is None
    assert result.measurement is None
    assert all(result.history.find(r.arch, "latency") is None for r in result.history.records("verify"))


def test_of_a_long_front_those_near_a_limit_and_its_ends_are_measured() -> None:
    searcher: Searcher = RandomSearch(Toy(), [oracle("accuracy"), oracle("latency")], constraints=["latency<=5"])
    ms = np.linspace(1.0, 20.0, 39)
    values = np.column_stack([60 + 10 * np.sqrt(ms), ms])
    rows = first_to_measure(searcher, values, np.full_like(values, 0.5), 9)
    assert len(rows) == 9
    assert {0, 38} <= set(rows.tolist())
    assert {7, 8, 9} <= set(rows.tolist()), "5 ms and its neighbours"


def test_proposals_that_are_not_measured_and_near_a_limit_are_left_out() -> None:
    machine = Machine()
    result = search(machine, verify=0, front_size=12)
    result.settle(4, repair=False)
    assert result.promise is not None
    assert result.proposed is not None
    assert len(result.proposed) > 4
    assert 4 <= result.promise.measured <= 4 + ANCHORS
    predicted = result.front[result.front["latency_source"] == "predicted"]
    assert (predicted["latency"] < 9.0 * 0.97).all()


def test_measured_has_one_row_an_architecture() -> None:
    result = search(Machine())
    found = result._measured_again(result.front_archs)
    assert isinstance(found, Measured)
    assert found.value.shape == (len(result.front_archs), 2)
    assert found.tried.all()


# ---- trainings with other seeds

LUCKY = """
import torch
import nastk


class Net(torch.nn.Module):
    input_shape = (4,)

    def __init__(self):
        super().__init__()
        choices = [nastk.choice(f"width {i}", [1, 2, 3, 4]) for i in range(3)]
        self.size, self.number = sum(choices), 100 * choices[0] + 10 * choices[1] + choices[2]
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)


def accuracy(network):
    return 70.0 + 0.1 * network.size + 2.0 * float(torch.randn(network.number)[-1])


def of_row(row):
    return 70.0
"""
"""Accuracies that are mostly luck: two points a training, other ones with each seed and of each network."""


def lucky(folder: Path, *more: str) -> dict[str, Any]:
    """The result of a search for the best of 40 accuracies."""
    (folder / "lucky.py").write_text(LUCKY, encoding="utf-8")
    words = ["search", "--space", f"{folder}/lucky.py:Net", "--accuracy", f"{folder}/lucky.py:accuracy"]
    words += ["--objective", "accuracy", "--searcher", "random", "--budget", "40", "--out", str(folder / "out")]
    assert run([*words, *more]) == 0
    content: dict[str, Any] = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    return content


def test_the_best_of_many_noisy_accuracies_is_too_good_by_what_other_seeds_say(tmp_path: Path) -> None:
    found = lucky(tmp_path, "--verify-seeds", "8")
    of = found["retrained"]["accuracy"]
    (row,) = of["rows"]
    size = sum(int(option) for option in row["arch"].split("_"))
    truth = 70.0 + 0.1 * size
    error = 2.0 / np.sqrt(8)
    assert len(row["values"]) == len(set(row["values"])) == 8
    assert row["search"] == found["front"][0]["accuracy"]
    assert of["too_good"] > 1.0, "the best of 40"
    assert abs(of["too_good"] - (row["search"] - truth)) < 3 * error
    assert abs(row["mean"] - truth) < 3 * error
    assert 0.7 < of["spread"] < 3.5
    assert of["of"] == 40
    (note,) = [note for note in found["chart"]["notes"] if "other seeds" in note]
    assert note.startswith("accuracy: the front trained again with 8 other seeds: the search's values were on average ")
    assert "points too good" in note
    more = lucky(tmp_path, "--verify-seeds", "9", "--resume")
    (again,) = more["retrained"]["accuracy"]["rows"]
    assert again["values"][:8] == row["values"], "what was trained is not trained again"
    assert more["evaluations"] == {"accuracy": 40}, "other seeds are beyond the budget"


def test_without_other_seeds_the_result_says_that_the_best_is_too_good(tmp_path: Path) -> None:
    found = lucky(tmp_path)
    assert found["retrained"] == {}
    assert any("the best of 40: such values are too good on average" in note for note in found["chart"]["notes"])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--accuracy", "{}/lucky.py:of_row", "--objective", "accuracy"], "is given no seed"),
        (["--objective", "params"], "no objective is trained"),
        (["--train", "echo 70 {{arch}}", "--objective", "accuracy"], "is given no seed"),
    ],
)
def test_other_seeds_are_refused_where_there_are_none(
    words: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lucky.py").write_text(LUCKY, encoding="utf-8")
    given = [word.format(tmp_path) for word in words]
    common = ["search", "--space", f"{tmp_path}/lucky.py:Net", "--searcher", "random", "--verify-seeds", "2"]
    assert run([*common, *given, "--out", str(tmp_path / "out")]) == 2
    assert reason in " ".join(capsys.readouterr().err.split())


def test_spread_and_bias_of_several_networks() -> None:
    found = Retrained.of_rows([("a", 80.0, [78.0, 79.0]), ("b", 90.0, [89.0, 89.0]), ("c", 70.0, [])], -1.0, 50)
    assert found.too_good == pytest.approx((1.5 + 1.0) / 2)
    assert found.spread == pytest.approx(np.sqrt(0.5 / 2))
    assert [row["mean"] for row in found.rows] == [78.5, 89.0, None]


def test_what_tells_the_speed_alone_is_neither_trained_nor_delivered() -> None:
    trained: list[tuple[int, ...]] = []

    def train(archs: Archs) -> Any:
        trained.extend(tuple(a) for a in archs.tolist())
        return quality(archs)

    accuracy = FunctionOracle(Wide(), train, "accuracy", "%", "max")
    machine = Machine(levels=(1.0, 1.0, 1.0, 1.0, 1.2))
    result = nastk.search(Wide(), [accuracy, machine], constraints=["latency<=9"], budget=12, measurements=6, verify=6)
    assert len(trained) == len(set(trained)) == 12, "the budget, and nothing more"
    assert result.promise is not None
    assert all(tuple(a) in set(trained) for a in result.front_archs.tolist())
    assert not result.history.counts("verify").get("accuracy")
    assert result.promise.measured > 0
