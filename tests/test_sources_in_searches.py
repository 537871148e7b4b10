"""Searches for a device elsewhere measure networks here first, where no latency weights ship for the space."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nastk
from nastk import run
from nastk.cli import run as command_line
from nastk.errors import InvalidValue
from nastk.oracles import Command, CommandDevice
from nastk.oracles.counts import Count
from nastk.predictors import _local_sources
from nastk.run import Objects, SearchDescription, compose, describe
from nastk.spaces.base import Archs

NET = """
import nastk
from torch import nn


class Net(nn.Module):
    input_shape = (4,)

    def __init__(self):
        super().__init__()
        layers = []
        for i in range(4):
            layers += [nn.Linear(4, 4)] * nastk.choice(f"layers {i}", [1, 2, 3])
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x)
"""
SCRIPT = """#!/bin/sh
echo x >> calls
echo $(( $(echo "$1" | tr -d -c 123 | fold -w1 | paste -sd+ -) )) ms
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with a network and a device, and what is measured here: made up, and written down."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "phone.sh").write_text(SCRIPT)
    (tmp_path / "phone.sh").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    said: list[str] = []

    def in_settings(space: Any, settings: list[Any], **options: Any) -> Any:
        def measure(archs: Archs) -> dict[Any, Any]:
            said.extend(str(s) for s in settings)
            return {s: 1.0 + archs.sum(axis=1) for s in settings}

        oracles = {s: SimpleNamespace(reasons={}) for s in settings}
        return SimpleNamespace(measure=measure, oracles=oracles)

    monkeypatch.setattr(_local_sources, "InSettings", in_settings)
    monkeypatch.setattr(_local_sources, "SETTINGS", ("torch", "torch batch 8"))
    return said


def phone(space: Any) -> Command:
    return Command(space, CommandDevice("phone", ("./phone.sh", "{arch}"), repeats=1, folder=str(Path.cwd())))


def calls() -> int:
    return len(Path("calls").read_text().splitlines())


def test_a_search_for_another_device_learns_networks_measured_here(made: list[str]) -> None:
    space = nastk.space("net.py:Net")
    goals = [phone(space), Count(space, "params")]
    with pytest.warns(UserWarning, match=r"Measuring 81 networks here .* local_sources=0 leaves it out"):
        result = nastk.search(space, goals, measurements=5, verify=0, storage=Path("kept.db"))
    assert set(made) == {"torch", "torch batch 8"}
    spent = calls()
    assert 2 <= spent <= 5, "what was measured here counts against no budget"
    assert "81 networks measured here in 2 settings as sources." in result.notes
    assert result.description["local_sources"] == 81
    count = len(made)
    again = nastk.search(space, goals, measurements=5, verify=0, storage=Path("kept.db"))
    assert (len(made), calls()) == (count, spent), "a resumed search measures neither again"
    assert "81 networks measured here in 2 settings as sources, kept from before." in again.notes


def test_it_is_off_by_option_on_this_machine_and_where_weights_ship(made: list[str]) -> None:
    space = nastk.space("net.py:Net")
    for goal, asked in ((phone(space), 0), (nastk.oracles.Latency(space), None)):
        description, objects = run.describe_objects(space, [nastk.Objective.of(goal)], local_sources=asked)
        composed = compose(description, objects)
        assert composed.sources is None
        assert composed.description.local_sources == 0
        assert "local_sources" not in composed.identity
    shipped = nastk.space("nasbench201")
    description, objects = run.describe_objects(shipped, [nastk.Objective.of(phone(shipped))])
    assert compose(description, objects).sources is None


def test_asked_for_on_this_machine_the_setting_itself_is_no_source(made: list[str]) -> None:
    space = nastk.space("net.py:Net")
    goal = nastk.Objective.of(nastk.oracles.Latency(space, batch=8))
    description, objects = run.describe_objects(space, [goal], local_sources=40)
    composed = compose(description, objects)
    assert composed.sources is not None
    assert [str(s) for s in composed.sources.local.settings] == ["torch"]
    assert composed.identity["local_sources"] == 40


def test_an_object_of_the_user_stays_as_it_is(made: list[str]) -> None:
    space = nastk.space("net.py:Net")
    mine = nastk.predictor("few-shot-gp")
    nastk.search(space, [phone(space)], predictor=mine, measurements=4, verify=0)
    assert mine.devices == ()
    assert made == []
    with pytest.raises(InvalidValue, match="local sources are for few-shot-gp"):
        nastk.search(space, [phone(space)], predictor=mine, measurements=4, verify=0, local_sources=40)


def test_numbers_that_cannot_be_used_are_refused(made: list[str]) -> None:
    space = nastk.space("net.py:Net")
    for wrong in (-1, 1.5, True, 29):
        with pytest.raises(InvalidValue):
            nastk.search(space, [phone(space)], local_sources=wrong)
    with pytest.raises(InvalidValue, match="learns nothing"):
        nastk.search(space, [phone(space)], searcher="random", local_sources=40)
    with pytest.raises(InvalidValue, match="time limit"):
        nastk.search(space, [phone(space)], local_sources_time=-1)


def test_where_nothing_runs_here_the_search_goes_on_without(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def none(space: Any, settings: list[Any], **options: Any) -> Any:
        oracles = {
            s: SimpleNamespace(reasons=dict.fromkeys(space.format_all(space.enumerate()), "boom")) for s in settings
        }
        measure = lambda archs: {s: np.full(len(archs), np.nan) for s in settings}  # noqa: E731
        return SimpleNamespace(measure=measure, oracles=oracles)

    monkeypatch.setattr(_local_sources, "InSettings", none)
    space = nastk.space("net.py:Net")
    with pytest.warns(nastk.errors.DataWarning, match="no source device is torch: .*boom"):
        result = nastk.search(space, [phone(space)], measurements=4, verify=0)
    assert 2 <= calls() <= 4, "fewer where the fastest is known before"
    assert "no networks could be measured here as sources." in result.notes


def test_a_description_names_them_and_is_json(made: list[str]) -> None:
    line = "./phone.sh {arch}"
    asked = describe("net.py:Net", objectives=["latency"], device_command=line, local_sources=40, local_sources_time=90)
    again = SearchDescription.from_dict(json.loads(json.dumps(asked.to_dict())))
    assert (again.local_sources, again.local_sources_time) == (40, 90)
    composed = compose(again, Objects())
    assert composed.sources is not None
    assert composed.sources.local.networks == 40


def test_the_commands_say_what_they_measure_here(made: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    device = ["--space", "net.py:Net", "--device-command", "./phone.sh {arch}"]
    search = ["search", *device, "--objective", "latency", "--objective", "params", "--measurements", "4"]
    limited = ["--verify", "0", "--local-sources", "40", "--local-sources-time", "2m"]
    assert command_line([*search, *limited, "--out", "found"]) == 0
    told = capsys.readouterr()
    assert "measuring 40 networks here in torch, torch batch 8, as source devices: at most about 2 min" in told.err
    assert "40 networks measured here in 2 settings as sources" in told.out
    count = len(made)
    assert (
        command_line(["predict", *device, "--adapt", "4", "--local-sources", "40", "--local-sources-time", "2m"]) == 0
    )
    assert "networks measured here before" in capsys.readouterr().err
    assert len(made) == count
    assert command_line(["predict", *device, "--adapt", "4", "--local-sources", "0"]) == 0
    assert "here" not in capsys.readouterr().err
    for wrong in ("soon", "0", "-5m", "5 weeks", "nan"):
        assert command_line([*search, "--local-sources-time", wrong]) == 2
    assert "write a time such as 90s, 5m or 1h" in capsys.readouterr().err


def test_a_space_of_a_few_networks_needs_none(made: list[str]) -> None:
    Path("net.py").write_text(NET.replace("range(4)", "range(2)"))
    space = nastk.space("net.py:Net")
    description, objects = run.describe_objects(space, [nastk.Objective.of(phone(space))])
    assert compose(description, objects).sources is None


def test_a_wrong_architecture_is_said_before_anything_is_measured(
    made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    device = ["--space", "net.py:Net", "--device-command", "./phone.sh {arch}"]
    assert command_line(["predict", "5_5_5_5", *device]) == 2
    assert made == []
    assert not Path("calls").exists()
