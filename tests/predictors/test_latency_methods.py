"""help, maple, nasflat and brp-nas: what is special of each, beyond the contract that the kit tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nastk
from nastk.errors import InvalidValue
from nastk.metrics import spearman
from nastk.predictors.base import FewShotPredictor, Task
from nastk.testing import check_predictor, example_task

QUICK: dict[str, dict[str, Any]] = {
    "help": {"episodes": 40},
    "maple": {"epochs": 10, "transfer_epochs": 40},
    "nasflat": {"epochs": 8, "transfer_epochs": 10},
    "brp-nas": {"epochs": 40, "width": 64},
}
"""Options with which each learns in a second."""


@pytest.mark.parametrize("space", ["nasbench201", "fbnet"])
@pytest.mark.parametrize("name", QUICK)
def test_keeps_the_contract(name: str, space: str) -> None:
    check_predictor(lambda: nastk.predictor(name, **QUICK[name]), nastk.space(space))


def _task(archs: np.ndarray, device: int, name: str | None = None) -> Task:
    """Latency (ms) of nasbench201 cells: each operation has a cost that the device sets, early edges count more."""
    space = nastk.space("nasbench201")
    cost = np.array([0.1, 0.4, 1.0, 2.0, 0.7]) * np.random.default_rng(device).uniform(0.5, 1.5, 5)
    values = 2.0 + np.linspace(1.2, 0.8, 6) @ cost[archs].T
    return Task(space, archs, values, "latency", "ms", "min", device=name or f"d{device}")


def _pretrained(name: str, **options: Any) -> FewShotPredictor:
    space = nastk.space("nasbench201")
    archs = space.sample(200, 0, unique=True)
    tasks = [_task(archs, device) for device in range(4)]
    made: FewShotPredictor = nastk.predictor(name, **QUICK[name] | options)
    return made.pretrain(tasks)


@pytest.mark.parametrize(("name", "options"), [("help", {"episodes": 150}), ("maple", {}), ("nasflat", {"epochs": 15})])
def test_what_was_learned_of_other_devices_helps(name: str, options: dict[str, Any]) -> None:
    few = _pretrained(name, **options)
    space = nastk.space("nasbench201")
    target, fresh = _task(few.choose(12, seed=0), 9), _task(space.sample(300, 10), 9)
    found = spearman(few.adapt(target).predict(fresh.archs).mean, fresh.values)
    alone = spearman(nastk.predictor("sklearn:KNeighborsRegressor").fit(target).predict(fresh.archs).mean, fresh.values)
    assert found > max(0.75, alone)


@pytest.mark.parametrize("name", ["help", "maple"])
def test_references_are_measured_first_and_missed_when_they_are_not(name: str) -> None:
    few = _pretrained(name)
    space = nastk.space("nasbench201")
    chosen = few.choose(14, seed=1)
    assert len(np.unique(chosen, axis=0)) == 14
    assert np.array_equal(chosen[:10], few.choose(10, seed=2)), "the references are the same for every device"
    assert not np.array_equal(chosen[10:], few.choose(14, seed=2)[10:])
    with pytest.raises(InvalidValue, match=r"3 of the 10 reference .* choose"):
        few.adapt(example_task(space, archs=chosen[3:], device="mine"))
    small = example_task(space, 5, device="d")
    with pytest.raises(InvalidValue, match=r"share 5 .* 10 references"):
        nastk.predictor(name, **QUICK[name]).pretrain([small])


def test_maple_takes_counters_instead_of_references() -> None:
    space = nastk.space("nasbench201")
    archs = space.sample(150, 0, unique=True)
    tasks = [
        Task(space, archs, (1.0 + i) * example_task(space, archs=archs).values, "latency", device=f"d{i}",
             descriptor=np.array([1e6 * (1.0 + i), 3.0]))
        for i in range(5)
    ]  # fmt: skip
    few = nastk.predictor("maple", epochs=40).pretrain(tasks[:4])
    assert not np.array_equal(few.choose(6, seed=1, space=space), few.choose(6, seed=2, space=space))
    described = Task(space, archs[:5], tasks[4].values[:5], "latency", device="new", descriptor=[5e6, 3.0])
    error = np.abs(few.adapt(described).predict(archs).mean / tasks[4].values - 1)
    assert np.median(error) < 0.15
    with pytest.raises(InvalidValue, match="the target needs one too"):
        few.adapt(Task(space, archs[:5], tasks[4].values[:5], "latency", device="new"))
    with pytest.raises(InvalidValue, match="d4 has no descriptor"):
        nastk.predictor("maple").pretrain([tasks[0], example_task(space, archs=archs, device="d4")])


def test_nasflat_takes_a_supplementary_encoding() -> None:
    space = nastk.space("nasbench201")
    few = _pretrained("nasflat", supplement="counts")
    adapted = few.adapt(_task(few.choose(10, seed=0), 9))
    assert np.isfinite(adapted.predict(space.sample(5, 3)).mean).all()
    assert np.isnan(adapted.predict(space.sample(5, 3)).std).all()


def test_brp_nas_learns_from_many_samples_and_stops_early() -> None:
    space = nastk.space("nasbench201")
    task, fresh = _task(space.sample(200, 0), 1), _task(space.sample(300, 10), 1)
    model = nastk.predictor("brp-nas", width=64, learning_rate=2e-3, epochs=60).fit(task)
    assert spearman(model.predict(fresh.archs).mean, fresh.values) > 0.9
