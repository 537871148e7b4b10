"""help: what is its own, beyond the contract and the references that test_latency_methods.py has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.errors import InvalidValue
from nastk.predictors.base import Task
from nastk.predictors.help import Help
from nastk.testing import example_task


def _pretrained(space: str = "nasbench201", **options: Any) -> Help:
    s = nastk.space(space)
    archs = s.sample(60, 0, unique=True)
    tasks = [example_task(s, archs=archs, device=f"d{i}", tilt=4.0 * i) for i in range(4)]
    return Help(**{"episodes": 30, "support": 6, "query": 30} | options).pretrain(tasks)


def _target(few: Help, n: int = 14, tilt: float = 9.0) -> Task:
    assert few.source_space is not None
    return example_task(few.source_space, archs=few.choose(n, seed=0), device="mine", tilt=tilt)


@pytest.mark.parametrize("space", ["nasbench201", "fbnet"])
def test_inner_gradient_is_that_of_each_device_alone(space: str) -> None:
    few = _pretrained(space, episodes=1)
    assert few.source_space is not None
    x = few._input(few.source_space.sample(7, 3)).expand(2, *([-1] * (3 if space == "nasbench201" else 2)))
    y, devices = torch.rand(2, 7), torch.rand(2, 10)
    names = few.rates_.keys()

    def adapted(rows: slice) -> dict[str, torch.Tensor]:
        size = len(devices[rows])
        state = {n: few.start_[n].expand(size, -1, -1).clone().requires_grad_(True) for n in names}
        return few._inner(state, few.rates_, x[rows], y[rows], devices[rows], create_graph=False)

    both, second = adapted(slice(0, 2)), adapted(slice(1, 2))
    for name in names:
        assert torch.allclose(both[name][1], second[name][0], atol=1e-6)
    assert not torch.allclose(both["head0.w"][0], both["head0.w"][1], atol=1e-6)


def test_step_sizes_are_learned_through_the_inner_steps() -> None:
    few = _pretrained()
    rates = torch.cat([rate.flatten() for rate in few.rates_.values()])
    assert rates.std() > 1e-4, "step sizes stayed at what they started from"
    assert not any(name.startswith("z") for name in few.rates_), "the modulator is the devices', not adapted"


def test_more_steps_fit_the_samples_better() -> None:
    few = _pretrained(episodes=100)
    task = _target(few)

    def error() -> float:
        return float(np.square(few.adapt(task).predict(task.archs).mean - task.values).mean())

    adapted = error()
    few.inner_steps = 0
    assert adapted < error()


def test_a_clock_of_another_unit_changes_nothing_but_the_unit() -> None:
    few = _pretrained()
    task, others = _target(few), nastk.space("nasbench201").sample(40, 5)
    seconds = Task(task.space, task.archs, task.values / 1000, "latency", "s", "min", device="mine")
    found, other = few.adapt(task).predict(others).mean, few.adapt(seconds).predict(others).mean
    assert np.allclose(found, 1000 * other, rtol=1e-4)
    assert (other > 0).all()


def test_adapting_leaves_the_pretrained_one_alone() -> None:
    few = _pretrained()
    before = {name: value.clone() for name, value in few.start_.items()}
    others = nastk.space("nasbench201").sample(20, 5)
    first = few.adapt(_target(few)).predict(others).mean
    few.adapt(_target(few, tilt=20.0))
    assert all(torch.equal(before[name], few.start_[name]) for name in before)
    assert np.array_equal(first, few.adapt(_target(few)).predict(others).mean)


def test_the_global_generators_are_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _pretrained()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = _pretrained()
    assert all(torch.equal(first.start_[name], second.start_[name]) for name in first.start_)
    other = _pretrained(seed=1)
    assert not torch.equal(first.start_["head0.w"], other.start_["head0.w"])


def test_references_alone_are_enough_and_candidates_are_kept_to() -> None:
    few = _pretrained()
    space = nastk.space("nasbench201")
    assert np.isfinite(few.adapt(_target(few, 10)).predict(space.sample(9, 1)).mean).all()
    candidates = np.concatenate([few.references_, space.sample(6, 4, unique=True)])
    known = {row.tobytes() for row in candidates}
    chosen = few.choose(14, seed=0, candidates=candidates)
    assert {row.tobytes() for row in chosen} <= known
    assert len(np.unique(chosen, axis=0)) == 14
    with pytest.raises(InvalidValue, match="only"):
        few.choose(20, seed=0, candidates=candidates)


@pytest.mark.parametrize("space", ["nasbench201", "fbnet"])
def test_a_stored_pretraining_adapts_to_the_same(space: str, tmp_path: Path) -> None:
    few = _pretrained(space)
    few.save(tmp_path / "few")
    loaded = nastk.predictors.load(tmp_path / "few")
    assert isinstance(loaded, Help)
    assert loaded.devices == few.devices
    others = nastk.space(space).sample(20, 5)
    found = loaded.adapt(_target(few)).predict(others).mean
    assert np.array_equal(found, few.adapt(_target(few)).predict(others).mean)
    with pytest.raises(InvalidValue, match="d1 is one of the source devices"):
        loaded.adapt(example_task(nastk.space(space), archs=few.choose(12, seed=0), device="d1"))


def test_what_cannot_be_is_refused() -> None:
    space = nastk.space("nasbench201")
    with pytest.raises(InvalidValue, match="pretrain"):
        Help().adapt(example_task(space, 20))
    with pytest.raises(InvalidValue, match="pretrain"):
        Help().choose(20, space=space)
    with pytest.raises(InvalidValue, match="references must be at least 2"):
        _pretrained(references=1)
    with pytest.raises(InvalidValue, match="support must be at least 1"):
        _pretrained(support=0)
