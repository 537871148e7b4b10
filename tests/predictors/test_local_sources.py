"""Networks measured on this machine as source devices: limits, failures, what is kept; few-shot-gp learns them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nastk
from nastk.errors import DataWarning, InvalidValue, NastkError, Unsupported
from nastk.oracles import _settings
from nastk.oracles._settings import InSettings, Setting
from nastk.predictors import _local_sources
from nastk.predictors._local_sources import LEAST, LocalSources, local_sources
from nastk.spaces.base import Archs

NET = """
import nastk
from torch import nn


class Net(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for i in range(4):
            width = nastk.choice(f"width {i}", [4, 8, 16])
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x).mean((2, 3))
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    file = tmp_path / "net.py"
    file.write_text(NET)
    return f"{file}:Net"


class Clock:
    """Stands for time and measurement: a network takes `cost` seconds in a setting, and its latency is made up."""

    def __init__(self) -> None:
        self.now, self.cost, self.measured = 0.0, 0.1, 0
        self.fails: tuple[str, ...] = ()
        self.slow = self.noise = ""
        self.interrupt_at = -1

    def monotonic(self) -> float:
        return self.now

    def in_settings(self, space: Any, settings: list[Setting], **options: Any) -> Any:
        oracles = {s: SimpleNamespace(reasons={}) for s in settings}

        def measure(archs: Archs) -> dict[Setting, Any]:
            if self.measured >= self.interrupt_at >= 0:
                raise KeyboardInterrupt
            found = {}
            for setting in settings:
                self.now += self.cost * len(archs) * (2 if str(setting) == self.slow else 1)
                self.measured += len(archs)
                found[setting] = 1.0 + archs.sum(axis=1) * (2.0 if setting.batch > 1 else 1.0)
                if str(setting) == self.noise:
                    found[setting] = np.random.default_rng(self.measured).lognormal(size=len(archs))
                if str(setting) in self.fails:
                    found[setting] = np.full(len(archs), np.nan)
                    oracles[setting].reasons.update(dict.fromkeys(space.format_all(archs), "no such operator"))
            return found

        return SimpleNamespace(measure=measure, oracles=oracles)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_local_sources, "InSettings", made.in_settings)
    monkeypatch.setattr(_local_sources, "time", made)
    return made


TWO = ["torch", "torch batch 2"]


def test_each_setting_is_a_source_device_of_the_same_networks(net: str, clock: Clock, tmp_path: Path) -> None:
    tasks = local_sources(net, 40, settings=TWO, folder=tmp_path / "kept")
    assert [(t.device, len(t), t.metric, t.unit) for t in tasks] == [
        ("here: torch", 40, "latency", "ms"), ("here: torch batch 2", 40, "latency", "ms"),
    ]  # fmt: skip
    assert (tasks[0].archs == tasks[1].archs).all()
    assert len(np.unique(tasks[0].archs, axis=0)) == 40
    assert tasks[0].values == pytest.approx(1.0 + tasks[0].archs.sum(axis=1))


def test_a_second_call_measures_nothing_and_a_changed_network_file_does(net: str, clock: Clock, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    first = local_sources(net, 40, settings=TWO, folder=folder)
    assert clock.measured == 80
    again = LocalSources(nastk.space(net), 40, settings=TWO, folder=folder)
    assert again.complete
    assert "measured here before" in again.plan()
    tasks = again.tasks()
    assert (clock.measured, again.measured) == (80, 0)
    assert "kept from before" in again.summary(tasks)
    assert (tasks[0].values == first[0].values).all()
    more = local_sources(net, 50, settings=TWO, folder=folder)
    assert len(more[0]) == 50
    assert clock.measured > 80
    before = clock.measured
    Path(net.removesuffix(":Net")).write_text(NET.replace("padding=1", "padding=2"))
    local_sources(net, 40, settings=TWO, folder=folder)
    assert clock.measured == before + 80


def test_the_time_limit_stops_and_is_not_spent_again(net: str, clock: Clock, tmp_path: Path) -> None:
    clock.cost = 0.1
    asked = {"settings": TWO, "folder": tmp_path / "kept"}
    with pytest.raises(NastkError, match="at least 30 are needed"):
        local_sources(net, 60, seconds=1.0, **asked)
    assert clock.now < 3.0
    tasks = local_sources(net, 60, seconds=10.0, **asked)
    assert all(LEAST <= len(t) < 60 for t in tasks)
    assert clock.now < 3.0 + 11.0
    done = clock.measured
    local_sources(net, 60, seconds=10.0, **asked)
    assert clock.measured == done, "what the limit left is not measured by the next call with the same limit"
    assert [len(t) for t in local_sources(net, 60, seconds=60.0, **asked)] == [60, 60]


def test_time_that_a_setting_does_not_need_is_the_next_ones(net: str, clock: Clock, tmp_path: Path) -> None:
    clock.cost, clock.slow = 0.045, "torch batch 4"  # less than 2 seconds of 3 for 40 networks, and less than 4
    tasks = local_sources(net, 40, seconds=9.0, settings=[*TWO, "torch batch 4"], folder=tmp_path / "kept")
    assert [len(t) for t in tasks] == [40, 40, 40]


def test_a_setting_that_runs_nothing_is_left_out_with_its_reason(net: str, clock: Clock, tmp_path: Path) -> None:
    clock.fails = ("torch batch 2",)
    with pytest.warns(DataWarning, match="no source device is torch batch 2: 0 of 40 .*no such operator"):
        tasks = local_sources(net, 40, settings=TWO, folder=tmp_path / "kept")
    assert [t.device for t in tasks] == ["here: torch"]
    assert clock.measured < 50, "what runs none of the first networks is not asked for the others"


def test_a_setting_of_noise_is_left_out(net: str, clock: Clock, tmp_path: Path) -> None:
    clock.noise = "torch batch 2"
    with pytest.warns(DataWarning, match="no source device is torch batch 2: its latencies are mostly noise"):
        tasks = local_sources(net, 60, settings=TWO, folder=tmp_path / "kept")
    assert [t.device for t in tasks] == ["here: torch"]


def test_ctrl_c_keeps_what_was_measured(net: str, clock: Clock, tmp_path: Path) -> None:
    clock.interrupt_at = 40
    asked = {"settings": TWO, "folder": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        local_sources(net, 60, **asked)
    done, clock.interrupt_at = clock.measured, -1
    tasks = local_sources(net, 60, **asked)
    assert [len(t) for t in tasks] == [60, 60]
    assert done >= 40
    assert clock.measured == 120


def test_a_damaged_file_is_said_and_measured_again(net: str, clock: Clock, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    local_sources(net, 40, settings=["torch"], folder=folder)
    file = next(folder.glob("*.json"))
    content = json.loads(file.read_text())
    content["ms"][next(iter(content["ms"]))] = -1.0
    for text in ("{", "[]", json.dumps(content)):
        file.write_text(text)
        with pytest.warns(DataWarning, match="cannot be read"):
            assert len(local_sources(net, 40, settings=["torch"], folder=folder)[0]) == 40


def test_what_cannot_be_used_is_refused(net: str, tmp_path: Path) -> None:
    space = nastk.space(net)
    for wrong in ({"networks": LEAST - 1}, {"networks": True}, {"seconds": 0}, {"seconds": float("nan")}):
        with pytest.raises(InvalidValue):
            LocalSources(space, folder=tmp_path, **wrong)
    for text in ("", "torch int4", "torch batch", "torch batch 2 3 threads"):
        with pytest.raises(InvalidValue, match="a setting is written like"):
            LocalSources(space, settings=[text], folder=tmp_path)
    with pytest.raises(NastkError, match="unknown runtime"):
        LocalSources(space, settings=["torhc"], folder=tmp_path)
    with pytest.raises(InvalidValue, match="has no int8"):
        LocalSources(space, settings=["torch int8"], folder=tmp_path)

    class WithoutNetworks(nastk.SearchSpace):
        name, choices = "plain", (nastk.Choice("a", tuple("abcdefg")), nastk.Choice("b", tuple("abcdefg")))

    with pytest.raises(Unsupported, match="builds none"):
        LocalSources(WithoutNetworks(), folder=tmp_path)


@pytest.mark.parametrize("text", ["torch", "onnx int8", "torch 2 threads", "torch bf16 3 threads batch 8"])
def test_a_setting_is_read_as_it_is_written(text: str) -> None:
    assert str(Setting.parse(text)) == text


# ---- live


def test_networks_are_really_measured_and_learned(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"rounds": 1, "warmup": 0.0, "min_repeats": 1, "max_repeats": 4, "max_seconds": 0.01}.items():
        monkeypatch.setitem(_settings.SHORT, name, value)
    monkeypatch.setattr(_local_sources, "LEAST_QUALITY", -2.0)  # other programs may use this machine
    tasks = local_sources(net, 30, settings=["torch batch 8", "torch"], folder=tmp_path / "kept")
    assert [len(t) for t in tasks] == [30, 30]
    few = nastk.predictor("few-shot-gp").pretrain(tasks)
    assert few.devices == ("here: torch batch 8", "here: torch")
    space = nastk.space(net)
    archs = few.choose(5, seed=0)
    device = nastk.Task(space, archs, 1.0 + archs.sum(axis=1), "latency", "ms", device="phone")
    others = space.sample(50, 1, unique=True)
    predicted = few.adapt(device).predict(others).mean
    assert predicted.shape == (50,)
    assert (predicted > 0).all()


def test_a_network_is_exported_once_for_all_settings_of_a_batch(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    exports = []
    real = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda *a, **k: (exports.append(1), real(*a, **k))[1])
    space = nastk.space(net)
    quick = {"rounds": 1, "builds": 1, "warmup": 0.0, "min_repeats": 1, "max_repeats": 2, "max_seconds": 0.01}
    measuring = InSettings(space, [Setting("onnx"), Setting("onnx", "int8"), Setting()], **quick)
    found = measuring.measure(space.sample(1, 0))
    assert len(exports) == 1
    assert [str(s) for s in found] == ["onnx", "onnx int8", "torch"]
    assert all((values > 0).all() for values in found.values())
