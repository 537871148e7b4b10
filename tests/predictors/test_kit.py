"""Every registered predictor keeps the contract, and broken ones are found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graph_toys import Line, Wires
from torch import nn

import nastk
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor
from nastk.predictors.ridge import Ridge
from nastk.registry import ENCODINGS, PREDICTORS
from nastk.testing import check_predictor, example_task

TRAINED = {"multi-predict", "help", "maple", "nasflat", "brp-nas", "gcn", "flan", "npnas", "transfer-mlp"}
"""Networks, which the tests of their own run through the kit with fewer epochs."""
NAMES = [n for n in PREDICTORS.names() if ":" not in n and n not in TRAINED]
FROM_SKLEARN = ["sklearn:RandomForestRegressor", "sklearn:BayesianRidge"]


@pytest.mark.parametrize("name", [*NAMES, *FROM_SKLEARN])
def test_keeps_the_contract_on_nasbench201(name: str) -> None:
    check_predictor(lambda: nastk.predictor(name), nastk.space("nasbench201"))


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contract_on_fbnet(name: str) -> None:
    check_predictor(lambda: nastk.predictor(name), nastk.space("fbnet"))


FEW_SHOT: dict[str, dict[str, Any]] = {
    "nasflat": {"epochs": 5, "width": 16, "head": (16,)},
    "help": {"episodes": 150, "width": 32, "query": 20},
    "multi-predict": {"epochs": 60, "graph_width": 16, "hidden_width": 16, "head": (32,), "network": "gcn"},
}


@pytest.mark.parametrize("space", [Wires, Line])
@pytest.mark.parametrize("name", FEW_SHOT)
def test_few_shot_graph_networks_keep_the_contract_where_edges_vary(name: str, space: type[nastk.SearchSpace]) -> None:
    check_predictor(lambda: nastk.predictor(name, **FEW_SHOT[name]), space())


class Conditional(nn.Module):
    """Half of the rows hold choices that the network does not make."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        width = nastk.choice("width", [8, 16])
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3)]
        for i in range(nastk.choice("depth", [1, 2, 3])):
            side = nastk.choice(f"kernel {i}", [3, 5])
            layers += [nn.Conv2d(width, width, side, padding="same"), nastk.choice(f"act {i}", [nn.ReLU, nn.GELU])()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class Sums:
    """Looked-up values that depend on what is written, of any architecture."""

    names = ("sum", "first")

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        return np.stack([1.0 + archs.sum(axis=1), 2.0 + archs[:, 0]], axis=1)


TWINS = {"own": lambda: nastk.space_of(Conditional), "nasbench-macro": lambda: nastk.space("nasbench-macro")}
"""Spaces of which some rows are one network."""

QUICK: dict[str, dict[str, Any]] = {
    "brp-nas": {"epochs": 5, "width": 16},
    "flan": {"epochs": 5, "width": 16, "layers": 2, "encoding": "counts"},
    "gcn": {"epochs": 5, "width": 16, "members": 2},
    "help": {"episodes": 10, "width": 16},
    "maple": {"epochs": 3, "transfer_epochs": 3},
    "multi-predict": {"epochs": 5, "graph_width": 16, "hidden_width": 16, "head": (32,)},
    "nasflat": {"epochs": 3, "width": 16, "head": (16,)},
    "npnas": {"epochs": 5, "width": 16, "members": 2},
    "transfer-mlp": {"epochs": 5},
}


def fitted(name: str, space: nastk.SearchSpace, **options: Any) -> Predictor:
    """A predictor of this name, on example values of a space."""
    made = nastk.predictor(name, **{**QUICK.get(name, {}), **options})
    context = nastk.Context(proxies=Sums(), latencies=Sums())

    def task(archs: np.ndarray, device: str, tilt: float = 0.0) -> nastk.Task:
        example = example_task(space, archs=archs, device=device, tilt=tilt)
        return nastk.Task(space, archs, example.values, "latency", "ms", device=device, context=context)

    if isinstance(made, FewShotPredictor):
        made.pretrain([task(space.sample_networks(40, 0), f"source-{i}", i) for i in range(3)])
        return made.adapt(task(made.choose(20, space), "target"))
    return made.fit(task(space.sample(24, 0), "target"))


def unlike(space: nastk.SearchSpace) -> tuple[np.ndarray, np.ndarray]:
    """Two encodings of each of some networks."""
    archs = space.sample(60, 3)
    networks = space.canonical(archs)
    differ = (archs != networks).any(axis=1)
    assert differ.sum() >= 20
    return archs[differ], networks[differ]


@pytest.mark.parametrize("space", TWINS)
@pytest.mark.parametrize("name", [n for n in [*PREDICTORS.names(), "sklearn:RandomForestRegressor"] if "<" not in n])
def test_equal_networks_get_equal_predictions(name: str, space: str) -> None:
    twins = TWINS[space]()
    if name == "flops" and not twins.statics(twins.sample(1, 0)):
        pytest.skip("a space without FLOPs")
    one, other = unlike(twins)
    model = fitted(name, twins)
    a, b = model.predict(one), model.predict(other)
    assert a.mean == pytest.approx(b.mean, rel=1e-6)
    assert a.std == pytest.approx(b.std, rel=1e-6, nan_ok=True)
    assert model.quantile(one, 1.0) == pytest.approx(model.quantile(other, 1.0), rel=1e-6)


ENCODED = [n for n in ENCODINGS.names() if "<" not in n and n != "traced"]  # that one builds all 6,561 networks


@pytest.mark.parametrize("name", [*ENCODED, "canonical:vec", "quantiles:zcp"])
def test_equal_networks_get_equal_predictions_with_every_encoding(name: str) -> None:
    twins = TWINS["nasbench-macro"]()
    one, other = unlike(twins)
    model = fitted("gp", twins, encoding=name)
    assert model.predict(one).mean == pytest.approx(model.predict(other).mean, rel=1e-6)


def test_twins_teach_a_predictor_one_architecture() -> None:
    space = TWINS["own"]()
    (one, *_), (other, *_) = unlike(space)
    task = nastk.Task(space, np.stack([one, other]), [1.0, 3.0])
    assert np.array_equal(task.archs[0], task.archs[1])
    assert nastk.predictor("ridge").fit(task).predict(one).mean == pytest.approx([2.0])


class _Written(Ridge):
    """Predicts what is written, not the network."""

    def predict(self, archs):  # type: ignore[no-untyped-def]
        x = self.task_.space.one_hot(self.task_.space.as_archs(archs))
        return Prediction(x @ np.sqrt(np.arange(x.shape[1])), np.zeros(len(x)))


def test_the_kit_finds_predictors_that_tell_equal_networks_apart() -> None:
    with pytest.raises(AssertionError, match=r"equal networks .* get different predictions"):
        check_predictor(_Written, nastk.space("nasbench-macro"))


def test_architectures_to_measure_are_different_networks() -> None:
    space = TWINS["own"]()
    everything = space.enumerate()
    count = len(set(space.keys(everything)))
    for chosen in (
        nastk.predictor("ridge").choose(20, space),
        nastk.predictor("ridge").choose(20, space, candidates=everything),
        space.sample_networks(count, 0),
    ):
        assert len(set(space.keys(chosen))) == len(chosen)
    with pytest.raises(InvalidValue, match=f"only {count}"):
        space.sample_networks(count + 1, 0)


def test_names_and_options_are_checked() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ridge'"):
        nastk.predictor("rige")
    with pytest.raises(UnknownName, match="did you mean 'RandomForestRegressor'"):
        nastk.predictor("sklearn:RandomForestRegresor").fit(_task())
    with pytest.raises(InvalidValue, match="colour"):
        nastk.predictor("ridge", colour="red")
    with pytest.raises(UnknownName, match="nasbench201"):
        nastk.predictor("few-shot-gp", pretrained="nasbench20")
    with pytest.raises(InvalidValue, match="sklearn:LinearRegression"):
        nastk.predictor("sklearn:LinearRegression", colour="red").fit(_task())


def _task() -> nastk.Task:
    space = nastk.space("nasbench201")
    return nastk.Task(space, space.sample(8, 0), np.arange(8.0))


class _Forgetful(Ridge):
    """Predicts with noise that depends on the call."""

    def predict(self, archs):  # type: ignore[no-untyped-def]
        answer = super().predict(archs)
        return Prediction(answer.mean + np.random.default_rng().normal(size=len(answer.mean)), answer.std)


class _Wide(Ridge):
    def predict(self, archs):  # type: ignore[no-untyped-def]
        answer = super().predict(archs)
        return Prediction(answer.mean[:, None], answer.std)


class _Swallows(Ridge):
    """Takes NaN for zero instead of refusing it, through the back door of a task that it changes."""

    def fit(self, task):  # type: ignore[no-untyped-def]
        super().fit(task)
        return Ridge().fit(task)


class _Orders(Ridge):
    """Learns from the order of the architectures."""

    def fit(self, task):  # type: ignore[no-untyped-def]
        slope = np.linspace(-1, 1, len(task)) * np.ptp(task.values) * np.sign(task.values[0] - task.values[-1])
        shifted = nastk.Task(task.space, task.archs, task.values + slope)
        super().fit(shifted)
        self.mean_ += float(task.values[0])
        return self


class _Certain(Ridge):
    def predict(self, archs):  # type: ignore[no-untyped-def]
        answer = super().predict(archs)
        return Prediction(answer.mean, -answer.std)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (_Forgetful, "depends on the rest of the batch|differ"),
        (_Wide, "shape"),
        (_Swallows, "itself"),
        (_Orders, "order|worse"),
        (_Certain, "negative"),
    ],
)
def test_the_kit_finds_broken_predictors(broken: type[Ridge], what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        check_predictor(broken, nastk.space("nasbench201"))
