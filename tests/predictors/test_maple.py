"""maple: what is its own, beyond the contract and the references that test_latency_methods.py has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.errors import InvalidValue, Unsupported
from nastk.predictors.base import Task
from nastk.predictors.maple import Maple
from nastk.testing import example_task


def _pretrained(described: bool = False, **options: Any) -> Maple:
    space = nastk.space("nasbench201")
    archs = space.sample(60, 0, unique=True)
    tasks = [_device(archs, i, described) for i in range(4)]
    return Maple(**{"epochs": 10, "transfer_epochs": 30} | options).pretrain(tasks)


def _device(archs: np.ndarray, i: int, described: bool = False) -> Task:
    space = nastk.space("nasbench201")
    made = example_task(space, archs=archs, tilt=4.0 * i)
    descriptor = np.array([1e6 * (1 + i), 2.0]) if described else None
    return Task(space, archs, made.values, "latency", "ms", "min", device=f"d{i}", descriptor=descriptor)


def test_the_target_counts_as_much_as_it_weighs() -> None:
    errors = []
    for weight in (0.0, 100.0):
        few = _pretrained(target_weight=weight)
        task = _device(few.choose(16, seed=0), 30)
        errors.append(np.abs(few.adapt(task).predict(task.archs).mean - task.values).mean())
    assert errors[1] < 0.5 * errors[0]


def test_a_clock_of_another_unit_changes_nothing_but_the_unit() -> None:
    few = _pretrained()
    task, others = _device(few.choose(14, seed=0), 9), nastk.space("nasbench201").sample(40, 5)
    seconds = Task(task.space, task.archs, task.values / 1000, "latency", "s", "min", device="d9")
    found, other = few.adapt(task).predict(others), few.adapt(seconds).predict(others)
    assert np.allclose(found.mean, 1000 * other.mean, rtol=1e-4)
    assert np.allclose(found.std, 1000 * other.std, rtol=1e-3)


def test_devices_may_be_measured_on_different_architectures() -> None:
    space = nastk.space("nasbench201")
    archs = space.sample(80, 0, unique=True)
    tasks = [_device(archs[: 60 + 10 * i], i) for i in range(3)]
    few = Maple(epochs=10, transfer_epochs=10).pretrain(tasks)
    assert torch.isnan(few.y_).sum() == 20 + 10
    assert np.isfinite(few.adapt(_device(few.choose(12, seed=0), 9)).predict(archs).mean).all()


def test_std_needs_more_than_one_member() -> None:
    others = nastk.space("nasbench201").sample(20, 5)
    for members, has in ((1, False), (3, True)):
        few = _pretrained(members=members)
        found = few.adapt(_device(few.choose(12, seed=0), 9)).predict(others)
        assert (found.mean > 0).all()
        assert (found.std > 0).all() if has else np.isnan(found.std).all()


def test_intervals_hold_what_they_say() -> None:
    few = _pretrained()
    others = nastk.space("nasbench201").sample(300, 5)
    truth = _device(others, 9).values
    found = few.adapt(_device(few.choose(20, seed=0), 9)).predict(others)
    assert np.mean(np.abs(truth - found.mean) < 1.96 * found.std) > 0.85
    error = np.sqrt(np.mean((found.mean - truth) ** 2))
    assert found.std.mean() < 2.0 * error, "intervals that hold anything say nothing"


def test_adapting_leaves_the_pretrained_one_alone_and_the_global_generators_too() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    few = _pretrained()
    weights = {name: value.clone() for name, value in few.network_.items()}
    few.adapt(_device(few.choose(12, seed=0), 9))
    assert all(torch.equal(weights[name], few.network_[name]) for name in weights)
    assert torch.equal(before, torch.get_rng_state())
    again = _pretrained()
    assert all(torch.equal(weights[name], again.network_[name]) for name in weights)
    assert not torch.equal(weights["0.w"], _pretrained(seed=1).network_["0.w"])


@pytest.mark.parametrize("described", [False, True])
def test_what_is_stored_predicts_and_adapts_to_the_same(described: bool, tmp_path: Path) -> None:
    few = _pretrained(described)
    task, others = _device(few.choose(14, seed=0), 9, described), nastk.space("nasbench201").sample(20, 5)
    mine = few.adapt(task)
    expected = mine.predict(others)
    mine.save(tmp_path / "mine")
    few.save(tmp_path / "few")
    found = nastk.predictors.load(tmp_path / "mine").predict(others)
    assert np.array_equal(found.mean, expected.mean)
    assert np.array_equal(found.std, expected.std)
    loaded = nastk.predictors.load(tmp_path / "few")
    assert isinstance(loaded, Maple)
    assert loaded.devices == few.devices
    assert np.array_equal(loaded.adapt(task).predict(others).mean, expected.mean)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    space = nastk.space("nasbench201")
    with pytest.raises(InvalidValue, match="pretrain"):
        Maple().adapt(example_task(space, 20))
    with pytest.raises(InvalidValue, match="pretrain"):
        Maple().choose(20, space=space)
    with pytest.raises(InvalidValue, match="members must be at least 1"):
        _pretrained(members=0)
    few = _pretrained()
    few.encoding = "vec+zcp"
    with pytest.raises(Unsupported, match="looked up"):
        few.save(tmp_path / "few")
