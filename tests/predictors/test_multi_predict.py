"""multi-predict: the contract, device representations, features looked up, and moving between spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nastk
from nastk.encodings.base import Context
from nastk.errors import InvalidValue, Unsupported
from nastk.metrics import spearman
from nastk.predictors.base import Task
from nastk.predictors.multi_predict import MultiPredict
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace
from nastk.testing import check_predictor

SMALL: dict[str, Any] = {
    "epochs": 80, "learning_rate": 5e-3, "batch_size": 64,
    "graph_width": 32, "hidden_width": 32, "head": (64,), "cross_width": 32,
}  # fmt: skip
DEVICES = ("d1", "d2", "d3", "d4")


def _cost(space: SearchSpace, device: int) -> np.ndarray:
    """Milliseconds of each choice's options, one-hot: devices differ in their options' costs."""
    options = int(space.sizes[0])
    base = np.random.default_rng(0).permutation(np.linspace(0.1, 2.0, options))
    mine = base * np.random.default_rng(device).uniform(0.3, 1.7, options)
    return np.concatenate([mine * place for place in np.linspace(1.2, 0.8, space.d)])


def _latency(space: SearchSpace, archs: Archs, device: int) -> np.ndarray:
    return 2.0 + space.one_hot(archs) @ _cost(space, device)


class _Latencies:
    """Latencies on devices by number, in any space; keeps no target."""

    def __init__(self, space: SearchSpace, devices: tuple[int, ...]):
        self._space, self._devices = space, devices
        self.names = tuple(f"d{d}" for d in devices)

    def __call__(self, archs: Archs) -> np.ndarray:
        return np.stack([_latency(self._space, archs, d) for d in self._devices], axis=1)


def _task(space: SearchSpace, archs: Archs, device: int, context: Context | None = None) -> Task:
    values = _latency(space, archs, device)
    return Task(space, archs, values, "latency", "ms", device=f"d{device}", context=context or Context())


def _sources(space: SearchSpace, n: int = 120) -> list[Task]:
    archs = space.sample(n, 0, unique=True)
    return [_task(space, archs, d) for d in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def cell() -> SearchSpace:
    return nastk.space("nasbench201")


@pytest.fixture(scope="module")
def few(cell: SearchSpace) -> MultiPredict:
    return MultiPredict(**{**SMALL, "epochs": 250}).pretrain(_sources(cell, 200))


@pytest.mark.parametrize("name", ["nasbench201", "fbnet"])
@pytest.mark.parametrize(
    "options",
    [{}, {"members": 2, "representation": "index"}, {"representation": "sample", "loss": "mse"}],
    ids=["table", "index", "sample"],
)
def test_keeps_the_contract(name: str, options: dict[str, Any]) -> None:
    tuned = {"transfer_epochs": 200, "transfer_learning_rate": 5e-3}
    check_predictor(lambda: MultiPredict(**{**SMALL, "epochs": 150, **tuned, **options}), nastk.space(name))


def test_an_encoder_for_cells_and_one_for_chains(few: MultiPredict) -> None:
    chain = nastk.space("fbnet")
    assert few.layout_.kind == "gcn"
    tasks = _sources(chain, 12)
    assert MultiPredict(**{**SMALL, "epochs": 1}).pretrain(tasks).layout_.kind == "mlp"
    assert MultiPredict(**{**SMALL, "epochs": 1, "network": "gcn"}).pretrain(tasks).layout_.kind == "gcn"


def test_ten_measurements_rank_a_new_device(few: MultiPredict, cell: SearchSpace) -> None:
    everything = cell.enumerate()
    found = []
    for device in (11, 12, 13):
        archs = few.choose(10, seed=device)
        prediction = few.adapt(_task(cell, archs, device)).predict(everything)
        found.append(spearman(prediction.mean, _latency(cell, everything, device)))
        assert np.isnan(prediction.std).all()
    assert np.mean(found) > 0.85


def test_a_new_device_starts_from_the_source_that_ranks_its_samples_alike(few: MultiPredict, cell: SearchSpace) -> None:
    archs = cell.sample(200, 0, unique=True)
    for twin, name in zip((1, 2, 3, 4), DEVICES, strict=True):
        task = Task(cell, archs, 3.0 * _latency(cell, archs, twin) ** 2, "latency", "ms", device="mine")
        assert few.adapt(task).closest_ == name  # type: ignore[attr-defined]


def test_the_first_row_may_be_chosen_by_measured_latencies(cell: SearchSpace) -> None:
    archs = cell.sample(40, 0, unique=True)
    few = MultiPredict(**SMALL, initial_row="measured").pretrain([_task(cell, archs, d) for d in (1, 2, 3)])
    mine = cell.sample(100, 3, unique=True)
    for twin in (1, 2, 3):
        values = 3.0 * _latency(cell, mine, twin) ** 2
        context = _with_hwl(cell, (3, 1, 2, 9))  # in another order than the sources, and one more
        task = Task(cell, mine, values, "latency", "ms", device="mine", context=context)
        assert few.adapt(task).closest_ == f"d{twin}"  # type: ignore[attr-defined]
    for lacking in (Context(), _with_hwl(cell, (1, 2))):
        with pytest.raises(InvalidValue, match="needs a context with latencies of"):
            few.adapt(Task(cell, mine, values, "latency", "ms", device="mine", context=lacking))


def test_adapting_starts_anew_each_time(few: MultiPredict, cell: SearchSpace) -> None:
    archs = cell.sample(10, 3, unique=True)
    before = {name: value.clone() for name, value in few.network_.items()}
    first = few.adapt(_task(cell, archs, 11)).predict(archs).mean
    few.adapt(_task(cell, archs, 12))
    assert np.array_equal(few.adapt(_task(cell, archs, 11)).predict(archs).mean, first)
    assert all(torch.equal(few.network_[name], value) for name, value in before.items())
    assert not any(value.requires_grad for value in few.network_.values())


def test_what_is_fine_tuned(few: MultiPredict, cell: SearchSpace) -> None:
    task = _task(cell, cell.sample(10, 3, unique=True), 11)
    for freeze in (True, False):
        copy = MultiPredict(**SMALL, freeze_encoder=freeze)
        copy.__dict__.update({k: v for k, v in few.__dict__.items() if k not in ("freeze_encoder", "_kept")})
        mine = copy.adapt(task)
        same = {n for n, value in mine.network_.items() if torch.equal(value, few.network_[n])}  # type: ignore[attr-defined]
        assert same == ({n for n in few.network_ if n.startswith(("graph", "encoder"))} if freeze else set())


def test_the_seed_decides_and_the_global_state_does_not(cell: SearchSpace) -> None:
    tasks, archs = _sources(cell, 30), cell.sample(20, 9)

    def predicted(seed: int) -> np.ndarray:
        torch.manual_seed(np.random.default_rng().integers(1000))
        few = MultiPredict(**{**SMALL, "epochs": 3}, seed=seed).pretrain(tasks)
        return few.adapt(_task(cell, archs, 11)).predict(archs).mean

    assert np.array_equal(predicted(0), predicted(0))
    assert not np.array_equal(predicted(0), predicted(1))


def test_sources_may_differ_in_their_architectures(cell: SearchSpace) -> None:
    archs = cell.sample(200, 0, unique=True)
    tasks = [_task(cell, archs[40 * i : 40 * i + 80], d) for i, d in enumerate((1, 2, 3, 4))]
    mine = MultiPredict(**SMALL).pretrain(tasks).adapt(_task(cell, cell.sample(15, 4, unique=True), 11))
    everything = cell.enumerate()
    assert spearman(mine.predict(everything).mean, _latency(cell, everything, 11)) > 0.75
    with pytest.raises(InvalidValue, match="share 0 architectures"):
        MultiPredict(**SMALL, representation="sample").pretrain(tasks)


def test_reference_architectures_are_measured_first(cell: SearchSpace) -> None:
    few = MultiPredict(**{**SMALL, "epochs": 5}, representation="sample").pretrain(_sources(cell))
    chosen, other = few.choose(12, seed=1), few.choose(12, seed=2)
    assert np.array_equal(chosen[:8], few.references_)
    assert np.array_equal(other[:8], few.references_)
    assert len(np.unique(chosen, axis=0)) == 12
    assert not np.array_equal(chosen, other)
    assert np.array_equal(few.choose(10, candidates=cell.enumerate())[:8], few.references_)
    few.adapt(_task(cell, chosen, 11))
    with pytest.raises(InvalidValue, match="1 of the 8 reference architectures"):
        few.adapt(_task(cell, chosen[1:], 11))


def test_members_give_a_spread(cell: SearchSpace) -> None:
    few = MultiPredict(**SMALL, members=3).pretrain(_sources(cell))
    prediction = few.adapt(_task(cell, few.choose(10), 11)).predict(cell.sample(40, 2))
    assert (prediction.std > 0).all()


def test_predictions_are_positive(few: MultiPredict, cell: SearchSpace) -> None:
    archs = cell.sample(10, 3, unique=True)
    values = np.linspace(0.01, 100.0, 10)
    mean = few.adapt(Task(cell, archs, values, "latency", "ms", device="odd")).predict(cell.enumerate()).mean
    assert mean.min() >= 0.001


def test_stored_networks_predict_the_same(few: MultiPredict, cell: SearchSpace, tmp_path: Any) -> None:
    few.save(tmp_path / "few")
    task = _task(cell, cell.sample(10, 3, unique=True), 11)
    again = nastk.predictor("multi-predict", pretrained=str(tmp_path / "few"))
    assert again.devices == DEVICES
    assert np.array_equal(again.adapt(task).predict(task.archs).mean, few.adapt(task).predict(task.archs).mean)
    scratch = MultiPredict(**SMALL, scratch_epochs=5).adapt(task)
    scratch.save(tmp_path / "scratch")
    again = nastk.predictor("multi-predict", pretrained=str(tmp_path / "scratch"))
    assert np.allclose(again.predict(task.archs).mean, scratch.predict(task.archs).mean)


# ---- looked-up features


def _with_hwl(space: SearchSpace, others: tuple[int, ...], own: int | None = None) -> Context:
    return Context(latencies=_Latencies(space, tuple(d for d in others if d != own)))


def test_latencies_of_other_devices_are_features(cell: SearchSpace) -> None:
    archs, others = cell.sample(120, 0, unique=True), (5, 6, 7)
    context = _with_hwl(cell, others)
    few = MultiPredict(**SMALL, encoding="vec+hwl").pretrain([_task(cell, archs, d, context) for d in (1, 2, 3)])
    assert few.features_.names == ("d5", "d6", "d7")
    mine = few.adapt(_task(cell, cell.sample(10, 3, unique=True), 11, context))
    everything = cell.enumerate()
    assert spearman(mine.predict(everything).mean, _latency(cell, everything, 11)) > 0.8
    with pytest.raises(InvalidValue, match="same proxies and devices"):
        few.adapt(_task(cell, archs[:10], 11, _with_hwl(cell, (6, 5, 7))))
    with pytest.raises(InvalidValue, match="same proxies and devices"):
        few.adapt(_task(cell, archs[:10], 11, _with_hwl(cell, (5, 6))))
    with pytest.raises(Unsupported, match="looked up"):
        mine.save("nowhere")


class _OwnUnknown(_Latencies):
    """A source task's own device has no column."""

    def __init__(self, space: SearchSpace, devices: tuple[int, ...], own: int):
        super().__init__(space, devices)
        self.names = tuple("" if d == own else f"d{d}" for d in devices)
        self._column = devices.index(own)

    def __call__(self, archs: Archs) -> np.ndarray:
        values = super().__call__(archs)
        values[:, self._column] = np.nan
        return values


def test_a_source_device_is_not_its_own_feature(cell: SearchSpace) -> None:
    archs, sources = cell.sample(60, 0, unique=True), (1, 2, 3)
    tasks = [_task(cell, archs, d, Context(latencies=_OwnUnknown(cell, sources, d))) for d in sources]
    few = MultiPredict(**{**SMALL, "epochs": 5}, encoding="hwl").pretrain(tasks)
    assert few.features_.names == ("d1", "d2", "d3")
    extras = few.features_.extras(archs)
    assert extras is not None
    assert extras.shape == (60, 3, 3)
    assert (extras[:, [0, 1, 2], [0, 1, 2]] == 0).all()
    assert np.allclose(extras[:, 0, 1], extras[:, 2, 1])
    assert extras[:, 0, 1].std() > 0.9
    few.adapt(_task(cell, archs[:10], 11, _with_hwl(cell, sources)))


def test_a_predictor_moves_between_spaces_and_beats_one_from_scratch(cell: SearchSpace) -> None:
    chain, others = nastk.space("fbnet"), (5, 6, 7, 8, 9, 10)
    pool = Pool(chain, chain.sample(600, 1, unique=True))
    options: dict[str, Any] = {**SMALL, "epochs": 200, "encoding": "hwl", "scratch_epochs": 50}
    moved, fresh = [], []
    for device in (1, 2, 3, 4, 11, 12, 13):
        source = _task(cell, cell.sample(100, device, unique=True), device, _with_hwl(cell, others))
        few = MultiPredict(**options).pretrain([source])
        assert few.layout_.device == 0
        target = _task(pool, pool.members[10 * device :][:4], device, _with_hwl(chain, others))
        truth = _latency(chain, pool.members, device)
        moved.append(spearman(few.adapt(target).predict(pool.members).mean, truth))
        fresh.append(spearman(MultiPredict(**options).adapt(target).predict(pool.members).mean, truth))
    assert np.mean(moved) > max(np.mean(fresh), 0.6)


def test_cells_do_not_move_to_chains(few: MultiPredict) -> None:
    chain = nastk.space("fbnet")
    with pytest.raises(InvalidValue, match="cannot adapt to fbnet"):
        few.adapt(_task(chain, chain.sample(10, 0), 11))


def test_from_scratch(cell: SearchSpace) -> None:
    task = _task(cell, cell.sample(60, 3, unique=True), 11)
    mine = MultiPredict(**{**SMALL, "transfer_learning_rate": 3e-3}, scratch_epochs=100).adapt(task)
    everything = cell.enumerate()
    assert spearman(mine.predict(everything).mean, _latency(cell, everything, 11)) > 0.7
    with pytest.raises(InvalidValue, match="at least one source task"):
        MultiPredict(**SMALL).pretrain([])


@pytest.mark.parametrize(
    "wrong",
    [
        {"representation": "row"}, {"encoding": "zcp+vec"}, {"encoding": "statics"}, {"network": "cnn"},
        {"loss": "l2"}, {"members": 0}, {"head": ()},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        MultiPredict(**wrong)
