"""The precision as a choice of the search: measured in each, learned for each, an accuracy paid once a network."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk import run
from nastk.bench.own_device import check_predictor, means
from nastk.errors import InvalidValue, NastkError
from nastk.oracles import FunctionOracle, Latency, OfNetwork
from nastk.oracles.base import Oracle, exact
from nastk.predictors._per_precision import OfNetworks, PerPrecision
from nastk.predictors.base import Task
from nastk.runtimes.base import Runtime
from nastk.spaces.precisions import WithPrecision

SPACE = nastk.space("nasbench201")
BOTH = WithPrecision(SPACE, ("fp32", "int8"))


class Waiting(Runtime):
    """Waits a time that depends on network and precision; its answers in int8 are as far off as asked for."""

    name = "waiting"
    precisions = ("fp32", "int8")
    off = 0.0

    def describe(self) -> str:
        return "waiting 1"

    def _prepare(self, source: nn.Module, inputs: torch.Tensor):  # type: ignore[no-untyped-def]
        ms = float(source.weight.abs().sum()) * (0.5 if self.precision == "int8" else 1.0)
        answer = source(inputs)
        if self.precision == "int8":
            answer = answer + self.off * torch.randn(answer.shape, generator=torch.Generator().manual_seed(0))

        def wait() -> torch.Tensor:
            time.sleep(ms / 1000)
            return answer

        return wait


class FarOff(Waiting):
    off = 10.0


class Wrong(Waiting):
    def _prepare(self, source: nn.Module, inputs: torch.Tensor):  # type: ignore[no-untyped-def]
        answer = source(inputs) * 1.01
        return lambda: answer


class Weights(nastk.SearchSpace):
    """Networks of one layer, whose weights say how long they take."""

    name = "weights"
    choices = (nastk.Choice("ms", ("1", "2", "4")),)

    def build(self, arch, **options):  # type: ignore[no-untyped-def]
        layer = nn.Linear(2, 4, bias=False)
        with torch.no_grad():
            layer.weight.fill_([1, 2, 4][int(arch[0])] / 8)
            layer.weight[0] += 1e-3
        return layer

    def input_shape(self, **options):  # type: ignore[no-untyped-def]
        return (2,)


QUICK = {"rounds": 2, "builds": 1, "warmup": 0.0, "max_seconds": 0.05, "min_repeats": 4, "max_repeats": 8}


@pytest.mark.alone
def test_each_row_is_run_in_its_own_precision():
    space = WithPrecision(Weights(), ("fp32", "int8"))
    oracle = Latency(space, runtime=Waiting, precision="fp32,int8", **QUICK)
    found = oracle.measure_many(["4@fp32", "4@int8"])
    assert found[0].median > 1.2 * found[1].median
    assert oracle.source.count("waiting 1") == 2
    assert "waiting 1 or waiting 1 int8 (calibrated on random inputs)" in oracle.source
    assert oracle.describe()["precision"] == "fp32,int8"


def test_outputs_are_compared_and_far_ones_warned_of():
    space = WithPrecision(Weights(), ("fp32", "int8"))
    with pytest.warns(UserWarning, match=r"int8 .*the outputs of 1 of 1 networks are far from float32's"):
        found = Latency(space, runtime=FarOff, **QUICK).measure_many(["1@fp32", "1@int8"])
    assert found[0].agreement is not None
    assert found[0].agreement.difference < 1e-5
    assert found[1].agreement is not None
    assert found[1].agreement.cosine < 0.99


def test_float32_that_answers_something_else_is_a_failure_of_the_network():
    oracle = Latency(Weights(), runtime=Wrong, **QUICK)
    assert np.isnan(oracle(["1"])).all()
    assert "waiting 1 answers other outputs than PyTorch: greatest difference 1.0e-02" in oracle.reasons["1"]


def test_a_calibration_without_int8_is_refused():
    with pytest.raises(InvalidValue, match="calibration is of int8"):
        Latency(Weights(), runtime=Waiting, calibration=np.zeros((4, 2)))
    with pytest.raises(InvalidValue, match="the space chooses it, fp32 or int8"):
        Latency(WithPrecision(Weights(), ("fp32", "int8")), runtime=Waiting, precision="int8")


class TwoWays(Oracle):
    """Latencies of a known device: in int8 what has many convolutions is faster, in float32 what has few is. As int8 in
    ONNX Runtime and OpenVINO does, it pools each input once."""

    name, unit, few_shot, device = "latency", "ms", True, "mine"
    source = "measured on nothing"

    def __init__(self, space: WithPrecision = BOTH):
        self.space, self.asked = space, 0

    def _evaluate(self, archs, fidelity):  # type: ignore[no-untyped-def]
        self.asked += len(archs)
        networks = self.space.network_of(archs)
        heavy = (networks == 3).sum(axis=1) * 2.0 + (networks == 2).sum(axis=1) * 0.7
        overhead = 1.5 + (SPACE.merged(networks) == 4).sum(axis=1)
        return exact(np.where(archs[:, -1] == 1, overhead + 0.4 * heavy, 1.0 + heavy))


def accuracy(archs: np.ndarray) -> np.ndarray:
    return 80.0 + 2 * (archs == 3).sum(axis=1) + (archs == 2).sum(axis=1)


def test_a_search_measures_both_and_pays_an_accuracy_once_a_network():
    asked: list[bytes] = []

    def train(row: np.ndarray) -> float:
        asked.append(row.tobytes())
        return float(accuracy(row[None])[0])

    paid = FunctionOracle(SPACE, train, "accuracy", "%", "max", one_by_one=True, per_network=True)
    latency = TwoWays()
    result = nastk.search(BOTH, [paid, latency], budget=12, measurements=6, verify=4, seed=0)
    assert len(asked) == len(set(asked))
    assert {len(row) for row in asked} == {SPACE.d * 8}
    measured = [r.arch[-1] for r in result.history.records() if r.objective == "latency" and r.purpose == "search"]
    assert len(measured) == 12  # six of each precision, of which some are chosen later, where they are needed
    assert min(measured.count(0), measured.count(1)) >= 4
    assert any(text.endswith("@int8") for text in result.front["arch"])
    assert "of float32 whatever the precision" in next(
        r.source for r in result.history.records() if r.objective == "accuracy"
    )


def test_the_predicted_choice_is_the_faster_one():
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    (first,) = check_predictor(few, TwoWays(), adapt=10, test=50, runs=1, seed=0)
    rows = [*first, *means(first)]
    assert [row.get("precision") for row in rows] == ["fp32", "int8", "choice"] * 2
    by = {row["precision"]: row for row in rows[3:]}
    assert by["fp32"]["spearman"] > 0.9
    assert by["choice"]["told apart"] >= 20
    assert by["choice"]["faster chosen %"] >= 90


def test_one_precision_is_checked_as_before():
    class One(TwoWays):
        def __init__(self) -> None:
            self.space = SPACE  # type: ignore[assignment]

        def _evaluate(self, archs, fidelity):  # type: ignore[no-untyped-def]
            return exact(1.0 + (archs == 3).sum(axis=1) * 2.0 + (archs == 2).sum(axis=1) * 0.7)

    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    runs = list(check_predictor(few, One(), adapt=8, test=20, runs=2, seed=0))
    rows = [row for run in runs for row in run]
    rows += means(rows)
    assert [row["run"] for row in rows] == ["1", "2", "mean"]
    assert set(rows[0]) == {"run", "spearman", "median error %"}


def test_a_precision_without_measurements_is_said():
    few = PerPrecision(nastk.predictor("few-shot-gp", pretrained="nasbench201"))
    archs = BOTH.join(SPACE.sample(4, 0), [0, 0, 0, 1])
    with pytest.raises(InvalidValue, match="latency in int8 was measured of 1 networks"):
        few.adapt(Task(BOTH, archs, [1.0, 2.0, 3.0, 4.0], "latency", "ms"))


def test_models_of_the_network_do_not_see_the_precision():
    networks = SPACE.sample(20, 0)
    both = np.concatenate([BOTH.join(networks, 0), BOTH.join(networks[:5], 1)])
    values = accuracy(BOTH.network_of(both))
    fitted = OfNetworks(nastk.predictor("gp")).fit(Task(BOTH, both, values, "accuracy", "%", "max"))
    assert len(fitted.fitted_.task_) == len(np.unique(networks, axis=0))
    others = SPACE.sample(10, 1)
    one, other = (fitted.predict(BOTH.join(others, p)).mean for p in (0, 1))
    assert np.array_equal(one, other)


def test_the_description_makes_it_again(tmp_path: Path):
    description = run.describe(precision="fp32,int8", runtime="torch", objectives=["params", "latency"])
    assert description.objectives[1]["oracle"]["precision"] == "fp32,int8"
    with pytest.raises(NastkError, match="it has no int8"):
        run.compose(description)
    half = run.compose(run.describe(precision="fp32,bf16", objectives=["params", "latency"], measurements=3))
    assert isinstance(half.searcher.space, WithPrecision)
    assert isinstance(half.searcher.objectives[0].oracle, OfNetwork)
    assert half.budget == {"latency": 6}
