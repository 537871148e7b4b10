"""gcn, flan, npnas, deep-kernel and brp-nas' relation: what is special of each, and the kit with few epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_toys import Line, Wires

import nastk
from nastk.errors import InvalidValue
from nastk.metrics import kendall, spearman
from nastk.oracles.base import Values
from nastk.predictors import load
from nastk.predictors._normal_scores import Scale
from nastk.spaces.base import Archs
from nastk.testing import check_predictor, example_task

SPACE = nastk.space("nasbench201")
FAST: dict[str, dict[str, Any]] = {
    "gcn": {"epochs": 15, "width": 16, "members": 3},
    "flan": {"epochs": 5, "width": 16, "layers": 2, "encoding": "counts"},
    "npnas": {"epochs": 15, "width": 16, "members": 3, "threshold": 8.0},
    "brp-nas": {"epochs": 15, "width": 16, "relation": True},
}


@pytest.mark.parametrize("space", ["nasbench201", "fbnet"])
@pytest.mark.parametrize("name", FAST)
def test_keeps_the_contract(name: str, space: str) -> None:
    check_predictor(lambda: nastk.predictor(name, **FAST[name]), nastk.space(space))


@pytest.mark.parametrize("space", [Wires, Line])
@pytest.mark.parametrize("name", FAST)
def test_keeps_the_contract_where_edges_vary(name: str, space: type[nastk.SearchSpace]) -> None:
    options = {k: v for k, v in FAST[name].items() if k != "threshold"}
    check_predictor(lambda: nastk.predictor(name, **options), space())


def _accuracies(archs: Archs, tilt: float = 0.0) -> Values:
    """Like accuracies in per cent: each operation has its merit, early edges count more, the worst eighth are at 10."""
    merit = np.array([-2.0, 0.0, 0.6, 1.0, -0.4]) + tilt * np.array([0.5, -0.8, 0.3, -0.5, 1.0])
    edges = np.linspace(1.2, 0.8, SPACE.d)
    typical = merit[SPACE.enumerate()] @ edges
    quality = merit[archs] @ edges
    accuracy = 95.0 - 5.0 * np.exp(-(quality - typical.mean()) / typical.std())
    return np.where(quality < np.quantile(typical, 0.125), 10.0, accuracy)


def _task(n: int, seed: int, tilt: float = 0.0, **options: Any) -> nastk.Task:
    archs = SPACE.sample(n, seed, unique=True)
    return nastk.Task(SPACE, archs, _accuracies(archs, tilt), "test_accuracy", "%", "max", **options)


OTHERS = SPACE.sample(500, 77)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gcn", {"epochs": 40, "width": 32}),
        ("flan", {"epochs": 25, "width": 32}),
        ("npnas", {"epochs": 40, "width": 32}),
        ("brp-nas", {"epochs": 30, "width": 48}),
        ("deep-kernel", {}),
    ],
)
def test_orders_accuracies(name: str, options: dict[str, Any]) -> None:
    task = _task(60, 0)
    mean = nastk.predictor(name, **options).fit(task).predict(OTHERS).mean
    assert kendall(mean, _accuracies(OTHERS)) > 0.6
    assert np.median(np.abs(mean - _accuracies(OTHERS))) < 4.0


def test_seeds_differ_and_the_global_generator_is_left_alone() -> None:
    torch = pytest.importorskip("torch")
    task = _task(10, 0)
    state = torch.random.get_rng_state()
    first, second = (nastk.predictor("gcn", epochs=2, width=8, seed=s).fit(task).predict(OTHERS).mean for s in (0, 1))
    assert not np.array_equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


def test_gcn_members_disagree_more_far_from_the_samples() -> None:
    archs = SPACE.enumerate()
    archs = archs[archs[:, 0] == 0][:400:4]
    task = nastk.Task(SPACE, archs, _accuracies(archs), direction="max")
    model = nastk.predictor("gcn", epochs=30, width=32, warp="identity").fit(task)
    assert np.median(model.predict(OTHERS[OTHERS[:, 0] != 0]).std) > 1.5 * np.median(model.predict(archs).std)


def test_gcn_knows_how_far_it_is_off() -> None:
    prediction = nastk.predictor("gcn", epochs=40, width=32).fit(_task(60, 0)).predict(OTHERS)
    assert 0.4 < (np.abs(prediction.mean - _accuracies(OTHERS)) < prediction.std).mean() < 0.95


def test_flan_reads_a_supplementary_encoding() -> None:
    task = _task(30, 0)
    alone, joined = (
        nastk.predictor("flan", epochs=2, width=8, layers=1, encoding=e).fit(task).predict(OTHERS).mean
        for e in (None, "counts")
    )
    assert not np.allclose(alone, joined)
    with pytest.raises(InvalidValue, match="source of proxies"):
        nastk.predictor("flan", encoding="zcp").fit(task)
    with pytest.raises(InvalidValue, match="timesteps"):
        nastk.predictor("flan", timesteps=0).fit(task)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_npnas_puts_failures_beyond_the_threshold(direction: Any) -> None:
    archs = SPACE.sample(80, 0, unique=True)
    sign = 1.0 if direction == "max" else -1.0
    task = nastk.Task(SPACE, archs, sign * _accuracies(archs), direction=direction)
    model = nastk.predictor("npnas", epochs=40, width=32, threshold=sign * 60.0).fit(task)
    passes = model.passing(OTHERS) >= 0.5
    goodness = sign * model.predict(OTHERS).mean
    assert goodness[passes].min() >= 60.0 > goodness[~passes].max()
    assert (passes == (_accuracies(OTHERS) > 60.0)).mean() > 0.85
    automatic = nastk.predictor("npnas", epochs=2, width=8).fit(task)
    assert 10.0 < sign * automatic.threshold_ < 90.0


def test_npnas_without_failures_is_gcn() -> None:
    task = example_task(SPACE)
    one, two = (nastk.predictor(n, epochs=3, width=8).fit(task).predict(OTHERS).mean for n in ("npnas", "gcn"))
    assert np.array_equal(one, two)


def test_brp_nas_relates_accuracies_and_regresses_latencies() -> None:
    task = _task(20, 0)
    small: dict[str, Any] = {"epochs": 2, "width": 8}
    by_default = nastk.predictor("brp-nas", **small).fit(task).predict(OTHERS).mean
    assert np.array_equal(by_default, nastk.predictor("brp-nas", relation=True, **small).fit(task).predict(OTHERS).mean)
    assert not np.allclose(
        by_default, nastk.predictor("brp-nas", relation=False, **small).fit(task).predict(OTHERS).mean
    )
    latency = example_task(SPACE)
    fits = [nastk.predictor("brp-nas", relation=r, **small).fit(latency).predict(OTHERS).mean for r in (None, False)]
    assert np.array_equal(*fits)


def test_brp_nas_relation_learns_an_order_of_costs() -> None:
    archs = SPACE.sample(60, 0, unique=True)
    task = nastk.Task(SPACE, archs, 100.0 - _accuracies(archs), direction="min")
    mean = nastk.predictor("brp-nas", relation=True, epochs=30, width=48).fit(task).predict(OTHERS).mean
    assert spearman(mean, 100.0 - _accuracies(OTHERS)) > 0.7


def _pretrained() -> Any:
    sources = [_task(60, 10 + i, tilt=0.3 * i, dataset=f"data {i}") for i in range(4)]
    return nastk.predictor("deep-kernel", epochs=150).pretrain(sources)


def test_deep_kernel_learns_from_sources_and_is_stored(tmp_path: Path) -> None:
    few = _pretrained()
    task = _task(10, 0, tilt=-0.3, dataset="data new")
    truth = _accuracies(OTHERS, -0.3)
    adapted = few.adapt(task)
    assert not hasattr(few, "task_")
    prediction = adapted.predict(OTHERS)
    scratch = nastk.predictor("deep-kernel").fit(task).predict(OTHERS).mean
    assert spearman(prediction.mean, truth) > spearman(scratch, truth) + 0.05
    assert (prediction.std > 0).all()

    adapted.save(tmp_path / "adapted")
    assert np.allclose(load(tmp_path / "adapted").predict(OTHERS).mean, prediction.mean, rtol=1e-9)
    few.save(tmp_path / "few")
    again = load(tmp_path / "few").adapt(task).predict(OTHERS).mean
    assert np.allclose(again, prediction.mean, rtol=1e-9)

    with pytest.raises(InvalidValue, match="would leak"):
        few.adapt(_task(10, 0, dataset="data 1"))
    with pytest.raises(InvalidValue, match="cannot adapt to fbnet"):
        few.adapt(example_task(nastk.space("fbnet")))
    with pytest.raises(InvalidValue, match="at least 4"):
        nastk.predictor("deep-kernel").pretrain([_task(3, 0)])
    with pytest.raises(InvalidValue, match="at least one"):
        nastk.predictor("deep-kernel").pretrain([])


def test_scale_is_strictly_monotone_and_inverts() -> None:
    values = np.array([10.0, 10.0, 70.0, 90.0, 91.0, 91.5, 93.0])
    grid = np.linspace(-20.0, 120.0, 301)
    for kind in ("normal", "identity", "auto"):
        scale = Scale.fit(kind, values, "max")
        assert (np.diff(scale.forward(grid)) > 0).all()
        assert np.allclose(scale.backward(scale.forward(grid)), grid)
    with pytest.raises(InvalidValue, match="unknown warp"):
        Scale.fit("log", values, "max")
