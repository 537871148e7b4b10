"""Devices that are calculated from operators: what few-shot-gp knows of networks before anything is measured."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk.encodings._latency_blocks import LatencyBlocks
from nastk.errors import DataWarning
from nastk.metrics import spearman
from nastk.oracles.operators import operators
from nastk.predictors._calculated_devices import HARDWARE, calculated_devices
from nastk.predictors.base import Task
from nastk.predictors.few_shot_gp import ENOUGH, FewShotGP
from nastk.spaces.base import Archs, Choice, SearchSpace


class Net(nn.Module):
    """Width and kernels multiply; a network of one layer has no second kernel."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        width = nastk.choice("width", [4, 8, 16, 32])
        layers: list[nn.Module] = [nn.Conv2d(3, width, nastk.choice("kernel 1", [1, 3, 5]), padding="same")]
        for i in range(2, 2 + nastk.choice("further layers", [0, 1, 2])):
            layers.append(nn.Conv2d(width, width, nastk.choice(f"kernel {i}", [1, 3, 5]), padding="same"))
        self.body = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return nastk.space_of(Net)


def _device(space: SearchSpace, archs: Archs) -> np.ndarray:
    """A device that is none of the calculated ones: its own launch, rate and bandwidth, ms."""
    counts = np.stack([operators(space, arch) for arch in archs]).sum(axis=1)
    return (3.0 * counts[:, 0] + counts[:, 1] / 5e3 + counts[:, 2] / 2e4) / 1e3


def test_a_calculated_latency_is_told_for_networks_that_were_not_traced(space: SearchSpace) -> None:
    models = calculated_devices(space, {})
    assert models is not None
    assert models.names == tuple(f"calculated: {name}" for name in HARDWARE)
    archs = space.sample_networks(60, 9)
    products = np.array([operators(space, arch)[:, 1].sum() for arch in archs])
    predicted = models(archs)[:, models.names.index("calculated: multiply-adds")]
    assert spearman(predicted, products) > 0.97


def test_from_scratch_it_is_better_than_option_counts_alone(space: SearchSpace) -> None:
    archs = space.sample_networks(100, 4)
    truth = _device(space, archs)
    task = Task(space, archs[:8], truth[:8], "latency", "ms", device="mine")
    with_them, without = FewShotGP(), FewShotGP(calculated=False)
    error = {
        name: float(np.median(np.abs(few.adapt(task).predict(archs[8:]).mean / truth[8:] - 1)))
        for name, few in (("with", with_them), ("without", without))
    }
    assert error["with"] < 0.5 * error["without"], error


def test_many_measured_sources_need_none(space: SearchSpace) -> None:
    archs = space.sample_networks(40, 1)
    latency = _device(space, archs)

    def tasks(n: int) -> list[Task]:
        return [Task(space, archs, latency + i, "latency", "ms", device=f"d{i}") for i in range(n)]

    few = FewShotGP().pretrain(tasks(2))
    names = few.features(space)(archs).names
    width = dict(zip(names, few.features(space)(archs).blocks, strict=True))["sources"].shape[1]
    assert width == 2 + len(HARDWARE)
    many = FewShotGP().pretrain(tasks(ENOUGH)).features(space)(archs)
    assert dict(zip(many.names, many.blocks, strict=True))["sources"].shape[1] == ENOUGH


def test_a_choice_that_is_switched_off_tells_no_networks_apart(space: SearchSpace) -> None:
    names = [choice.name for choice in space.choices]
    archs = np.repeat(space.sample(1, 0), 3, axis=0)
    archs[:, names.index("further layers")] = 0
    archs[:, names.index("kernel 3")] = [0, 1, 2]
    for block in LatencyBlocks(space, calculated_devices(space, {}))(archs).blocks:
        assert block == pytest.approx(np.repeat(block[:1], 3, axis=0), abs=1e-12)
    traced = nastk.encoding("traced").fit(space).transform(archs)
    assert (traced == traced[0]).all()


class Unbuilt(SearchSpace):
    name = "unbuilt"
    choices = tuple(Choice(f"c{i}", ("a", "b", "c")) for i in range(4))


class Failing(Unbuilt):
    def input_shape(self, **_: Any) -> tuple[int, ...]:
        return (3, 8, 8)

    def build(self, arch: Archs, **_: Any) -> nn.Module:
        raise RuntimeError("no such network")


def test_a_space_without_networks_has_none_and_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert calculated_devices(Unbuilt(), {}) is None


def test_networks_that_fail_are_told_once_and_predictions_go_on() -> None:
    space = Failing()
    archs = space.sample(8, 0)
    task = Task(space, archs, 1.0 + archs.sum(axis=1), "latency", "ms", device="mine")
    with pytest.warns(DataWarning, match="0 of 81 random networks could be traced; the last failed with.*no such"):
        mine = FewShotGP().adapt(task)
    assert np.isfinite(mine.predict(space.sample(5, 1)).mean).all()
