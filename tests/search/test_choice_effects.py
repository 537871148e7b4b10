"""What each choice costs and gains: main effects, pairs, choices that do not matter, what is predicted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy import TINY_SPACE, Toy, oracle

import nastk
from nastk.cli import run
from nastk.errors import InvalidValue
from nastk.evaluation import Record
from nastk.search.choice_effects import ChoiceEffects, choice_effects
from nastk.search.random import RandomSearch
from nastk.spaces.base import Archs


class Blocks(nastk.SearchSpace):
    """Five choices of three options; `many` more make it too large to enumerate."""

    def __init__(self, many: int = 0):
        self.many = many
        self.name = "blocks"
        self.choices = tuple(nastk.Choice(f"layer {i}", ("a", "b", "c")) for i in range(5 + many))

    def build(self, arch: Archs, **options: Any) -> Any:
        raise NotImplementedError


def cost(archs: Archs) -> Any:
    """The options of layer i cost i each; the last ones of layers 1 and 2 cost 6 more together."""
    return archs[:, :5] @ np.arange(5.0) + 6.0 * ((archs[:, 1] == 2) & (archs[:, 2] == 2))


def gain(archs: Archs) -> Any:
    return 70.0 + archs[:, :5] @ np.array([0.0, 3.0, 0.0, 1.0, 2.0])


def effects_of(space: nastk.SearchSpace, **options: Any) -> ChoiceEffects:
    goals = [
        nastk.FunctionOracle(space, gain, "accuracy", "%", "max", False),
        nastk.FunctionOracle(space, cost, "latency", "ms", "min", False),
    ]
    return choice_effects(RandomSearch(space, goals), refits=2, **options)


def of(effects: ChoiceEffects, choice: str, column: str) -> list[float]:
    table = effects.options
    return list(table[table["choice"] == choice][column].round(9))


def test_effects_over_a_whole_space_are_exact() -> None:
    effects = effects_of(Blocks())
    assert of(effects, "layer 3", "latency_effect") == [-3.0, 0.0, 3.0]
    assert of(effects, "layer 3", "latency_low") == of(effects, "layer 3", "latency_high") == [-3.0, 0.0, 3.0]
    assert of(effects, "layer 0", "accuracy_effect") == [0.0, 0.0, 0.0]
    third = 6.0 / 9.0  # of what the pair adds, layer 1 alone explains its mean over layer 2
    assert np.allclose(of(effects, "layer 1", "latency_effect"), [-1 - third, -third, 1 + 2 * third])
    assert of(effects, "layer 4", "accuracy_per_ms")[1:] == [0.5, 0.5]
    assert np.isnan(of(effects, "layer 4", "accuracy_per_ms")[0])
    assert of(effects, "layer 0", "accuracy_share") == [0.0] * 3
    shares = effects.options.groupby("choice")["accuracy_share"].first()
    assert np.isclose(shares.sum(), 1.0)
    assert np.isclose(effects.explained["accuracy"], 1.0)
    assert effects.explained["latency"] < 0.999


def test_the_pair_that_interacts_is_found() -> None:
    for space in (Blocks(), Blocks(many=20)):
        pairs = effects_of(space).pairs
        first = pairs.iloc[0]
        assert (first["objective"], first["choice_a"], first["choice_b"]) == ("latency", "layer 1", "layer 2")
        assert (first["option_a"], first["option_b"]) == ("c", "c")
        assert first["effect"] == pytest.approx(6.0 * 4 / 9, rel=0.25)
        assert first["low"] <= first["share"] <= first["high"]
        assert not (pairs["objective"] == "accuracy").any(), "it is a sum"


def test_a_space_of_many_choices_is_sampled() -> None:
    effects = effects_of(Blocks(many=20))
    assert "2,000 random architectures" in effects.notes[0]
    assert np.allclose(of(effects, "layer 4", "accuracy_effect"), [-2.0, 0.0, 2.0], atol=1e-6)
    assert np.allclose(of(effects, "layer 4", "latency_effect"), [-4.0, 0.0, 4.0], atol=0.3)
    low, high = of(effects, "layer 4", "latency_low"), of(effects, "layer 4", "latency_high")
    assert all(lo <= hi for lo, hi in zip(low, high, strict=True))


def test_choices_count_where_they_make_a_difference() -> None:
    """The toy's second choice does not matter where its first is "a"."""
    goals = [oracle("latency", expensive=False)]
    effects = choice_effects(RandomSearch(Toy(), goals), refits=2)
    table = effects.options
    assert set(table[table["choice"] == "choice1"]["active"].round(3)) == {round(2 * 27 / (2 * 27 + 9), 3)}
    assert of(effects, "choice1", "latency_effect") == [-2.0, 0.0, 2.0]
    assert of(effects, "choice3", "latency_effect") == [-5.0, 0.0, 5.0]
    first = of(effects, "choice0", "latency_effect")
    assert first[1] - first[0] == pytest.approx(1.0 + 2.0), "with b the second choice begins to cost, 2 on average"


def test_what_is_predicted_is_called_so_and_has_intervals() -> None:
    goals = [oracle("accuracy"), oracle("latency", expensive=False)]
    result = nastk.search(Toy(), goals, budget=12, searcher="predictor", predictor="ridge", verify=0)
    effects = result.choice_effects(refits=3)
    assert [(o.name, o.kind, o.evaluations) for o in effects.objectives] == [
        ("accuracy", "estimate", 12),
        ("latency", "computed", 0),
    ]
    assert (effects.options["accuracy_low"] < effects.options["accuracy_high"]).any()
    assert (effects.options["latency_low"] == effects.options["latency_high"]).all()
    assert "accuracy (learned from 12 evaluations)" in effects.notes[0]
    worth = effects.options[effects.options["choice"] == "choice0"]["accuracy_effect"]
    assert worth.is_monotonic_increasing
    assert result.choice_effects(refits=3).options.equals(effects.options), "the same seed"


def test_an_objective_of_which_too_little_is_known_is_left_out() -> None:
    searcher = RandomSearch(Toy(), [oracle("accuracy"), oracle("latency", expensive=False)])
    searcher.tell([Record((0, 0, 0, 0), "accuracy", 60.0)])
    effects = choice_effects(searcher, refits=2)
    assert [o.name for o in effects.objectives] == ["latency"]
    assert "accuracy is left out" in effects.notes[-1]
    assert effects.trade is None
    with pytest.raises(InvalidValue, match="too little is known"):
        choice_effects(RandomSearch(Toy(), [oracle("accuracy")]))
    with pytest.raises(InvalidValue, match="at least 50 samples"):
        choice_effects(searcher, samples=3)


@pytest.mark.parametrize("space", [Blocks(), Blocks(many=50)])
def test_the_picture_is_drawn(space: nastk.SearchSpace, tmp_path: Path) -> None:
    nastk.report.write_choices(effects_of(space), tmp_path / "choices.png")
    assert (tmp_path / "choices.png").read_bytes().startswith(b"\x89PNG")


MINE = TINY_SPACE + "\ndef accuracy(arch):\n    return 50.0 + 3.0 * float(arch.sum())\n"


def test_the_command_opens_a_search_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_choices.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_choices", raising=False)
    search = ["search", "--space", "mine_choices.py:Tiny", "--objective", "accuracy", "--objective", "params"]
    assert run([*search, "--accuracy", "mine_choices.py:accuracy", "--predictor", "ridge", "--budget", "9"]) == 0
    capsys.readouterr()
    assert run(["choices", "--refits", "2", "--json", "rows.json"]) == 0
    said = capsys.readouterr().out
    assert "Predicted: accuracy (learned from 9 evaluations); known: params (computed)" in said
    assert "Written to nastk-out: choices.png, choices.csv, choice-pairs.csv" in said
    table = pd.read_csv("nastk-out/choices.csv", dtype={"option": str})
    assert list(table["choice"].unique()) == ["depth", "width", "kernel"]
    assert len(json.loads(Path("rows.json").read_text())) == len(table) == 9
    assert (table["params_kind"] == "computed").all()
    assert "params" in set(pd.read_csv("nastk-out/choice-pairs.csv")["objective"])
    result = json.loads(Path("nastk-out/result.json").read_text())
    result["history"][0]["arch"] = "9_9_9"
    Path("broken.json").write_text(json.dumps(result))
    assert run(["choices", "broken.json", "--out", "elsewhere"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "broken.json, evaluation 1" in line
    assert not Path("elsewhere").exists()
