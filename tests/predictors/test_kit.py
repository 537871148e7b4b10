"""Every registered predictor keeps the contract, and broken ones are found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graph_toys import Line, Wires

import nastk
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors.base import Prediction
from nastk.predictors.ridge import Ridge
from nastk.registry import PREDICTORS
from nastk.testing import check_predictor

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
