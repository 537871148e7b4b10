"""Problems: losses and metrics by hand, and trainings, supernets and proxies of networks that do not classify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import nastk
from nastk.data.images import data_of
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.oracles import Training
from nastk.outputs import AmbiguousOutput
from nastk.problems import Classification, Density, MultiTask, Problem, problem
from nastk.spaces.tcn import TCN
from nastk.supernets.sandwich import Sandwich


def series(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sines of one frequency or another, and (class, frequency)."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.rand(n, generator=generator) * 2 + 1
    phase = torch.rand(n, 1, 1, generator=generator) * 6
    x = torch.sin(frequency[:, None, None] * torch.arange(24) * 0.3 + phase)
    return x, torch.stack([(frequency > 2).float(), frequency], 1)


def test_losses_and_metrics_are_those_by_hand() -> None:
    logits, classes = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 1])
    one = problem("classification")
    assert one.loss(logits, classes, 0.1) == functional.cross_entropy(logits, classes, label_smoothing=0.1)
    assert one.scores(logits, classes).tolist() == [True, True, False]
    assert one.badness(0.75) == 25.0
    assert one.value(25.0) == 75.0
    two = problem("regression")
    assert two.loss(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0])) == 2.5
    assert two.scores(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0])).tolist() == [1.0, 2.0]
    assert two.value(two.badness(1.5)) == 1.5
    three = problem("density")
    assert three.scores(torch.ones(2, 1, 2, 2), torch.zeros(2, 2, 2)).tolist() == [4.0, 4.0]
    four = problem("sequence")
    answers, wanted = torch.eye(3)[None].repeat(2, 1, 1), torch.tensor([[0, 1, 0], [0, -100, -100]])
    assert four.scores(answers, wanted).tolist() == pytest.approx([2 / 3, 1.0])
    counted = functional.cross_entropy(answers.flatten(0, 1)[[0, 1, 2, 3]], torch.tensor([0, 1, 0, 0]))
    assert float(four.loss(answers, wanted)) == pytest.approx(float(counted))


def test_tasks_are_added_and_their_badness_averaged() -> None:
    both = MultiTask({"parity": "classification", "size": "regression"}, {"size": 0.5})
    outputs = both.read({"size": torch.tensor([[1.0], [2.0]]), "parity": torch.tensor([[1.0, 0.0], [1.0, 0.0]])})
    targets = torch.tensor([[0.0, 1.0], [1.0, 4.0]])
    apart = functional.cross_entropy(outputs["parity"], torch.tensor([0, 1])) + 0.5 * 2.0
    assert float(both.loss(outputs, targets)) == pytest.approx(float(apart))
    assert both.scores(outputs, targets).tolist() == [0.0, (100.0 + 2.0) / 2]
    taught = both.mean_of([both.soften(outputs), both.soften(outputs)])
    assert float(both.distilled(outputs, taught)) < float(both.loss(outputs, targets))
    with pytest.raises(AmbiguousOutput, match="tasks are parity, size"):
        both.read(torch.zeros(2, 3))


def test_a_pyramid_adds_the_errors_of_regions() -> None:
    difference = torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    plain, wanted = Density(), torch.zeros(2, 5, 4)
    pooled = functional.avg_pool2d(difference, 2, ceil_mode=True)
    assert pooled.shape[-2:] == (3, 2)
    by_hand = difference.square().mean() + 0.5 * pooled.square().mean()
    assert float(Density([2], 0.5).loss(difference, wanted)) == pytest.approx(float(by_hand))
    total = difference.square().mean() + difference.mean((2, 3)).square().mean()
    assert float(Density([9]).loss(difference, wanted)) == pytest.approx(float(total)), (
        "the whole map, if it is smaller"
    )
    assert plain.identity() == "density" != Density([2]).identity()
    assert float(Density().loss(difference, wanted)) == pytest.approx(float(difference.square().mean()))
    with pytest.raises(InvalidValue):
        Density([1])


def test_names_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnknownName):
        problem("regresion")
    with pytest.raises(InvalidValue, match="do not fit"):
        problem("regression").loss(torch.zeros(4, 1), torch.zeros(4, 4))
    with pytest.raises(InvalidValue):
        MultiTask({"a": "regression"}, {"b": 1.0})


SPACE, ARCH = TCN(), "c8_f5_d2|c8_f5_d2|c8_f5_d2|c8_f3_d1"
OPTIONS: dict[str, Any] = {"input_size": 24, "num_classes": 1}


def regression(**options: Any) -> Training:
    parts = [(x, y[:, 1]) for x, y in (series(64, 0), series(32, 1), series(32, 2))]
    return Training(SPACE, *parts, epochs=25, batch=16, problem="regression", **options, **OPTIONS)


def test_a_network_learns_numbers_from_tensors(tmp_path: Path) -> None:
    oracle = regression(folder=tmp_path)
    assert (oracle.name, oracle.unit, oracle.direction) == ("mae", "", "min")
    found = oracle.evaluate(SPACE.parse(ARCH)[None]).value[0]
    spread = float((series(32, 1)[1][:, 1] - series(64, 0)[1][:, 1].mean()).abs().mean())
    assert found < 0.6 * spread
    classes = Training(SPACE, *[(x, y[:, 0].long()) for x, y in (series(64, 0), series(32, 1), series(32, 2))],
                       epochs=25, batch=16, folder=tmp_path, **OPTIONS)  # fmt: skip
    assert classes.name == "error"
    assert classes._fingerprint() != oracle._fingerprint()
    with pytest.raises(InvalidValue, match="smoothing"):
        Training(
            SPACE, *[series(8, i) for i in range(3)], recipe=nastk.oracles.Recipe(smoothing=0.1), problem="regression"
        )


def numbers() -> Any:
    return data_of(*[(x, y[:, 1]) for x, y in (series(64, 0), series(32, 1), series(32, 2))], problem="regression")


def test_data_bring_their_problem(tmp_path: Path) -> None:
    data = numbers()
    assert data.description.startswith("arrays: 64 training, 32 validation, 32 test series of 1 x 24 for regression")
    oracle = Training(SPACE, data, epochs=2, folder=tmp_path)
    assert oracle.build_options == {"num_classes": 1, "input_size": 24}
    assert oracle.direction == "min"
    assert 0 < oracle.evaluate(SPACE.parse(ARCH)[None]).value[0] < 3
    supernet = Sandwich(steps=4, batch=16, **oracle.build_options).fit(SPACE, data)
    judged = supernet.evaluate(SPACE.sample(2, 0))
    assert np.isfinite(judged.loss).all()
    assert np.isfinite(judged.accuracy).all()
    with pytest.raises(InvalidValue, match="targets"):
        data_of(series(8, 0), series(8, 1), (series(8, 2)[0], torch.zeros(7)))


def test_proxies_take_the_loss_of_a_problem() -> None:
    x, y = series(16, 0)
    torch.manual_seed(0)
    network = SPACE.build(SPACE.parse(ARCH), **OPTIONS)
    said = [
        nastk.zcp(network, x, y[:, 1] + shift, ["grad_norm"], problem="regression").values["grad_norm"]
        for shift in (0.0, 5.0)
    ]
    assert 0 < said[0] < said[1]
    with pytest.raises(InvalidValue, match="labels"):
        nastk.zcp(network, x, problem="regression")
    with pytest.raises(Unsupported):
        nastk.zcp(network, x, y, problem=MultiTask({"a": "regression"}))


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, nastk.choice("width", [4, 8]), 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()
        )
        self.parity, self.size = nn.LazyLinear(2), nn.LazyLinear(1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {"parity": self.parity(y), "size": self.size(y)}


def test_a_network_of_several_tasks_is_trained() -> None:
    space = nastk.space_of(Heads, input_shape=(1, 24))
    both = MultiTask({"parity": "classification", "size": "regression"})
    oracle = Training(space, data_of(*[series(32, i) for i in range(3)], problem=both), epochs=3)
    assert (oracle.name, oracle.direction) == ("badness", "min")
    found = oracle.evaluate(space.sample(1, 0))
    assert 0 < found.value[0] < 60, oracle.reasons


class Huber(Classification):
    """A problem of one's own."""

    name = "own"
    metric, unit, direction, scale, smooths = "mae", "Hz", "min", 1.0, False

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        return functional.huber_loss(outputs[:, 0], targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs[:, 0] - targets).abs()


def test_a_problem_of_ones_own() -> None:
    own: Problem = Huber()
    data = data_of(*[(x, y[:, 1]) for x, y in (series(16, 0), series(8, 1), series(8, 2))], problem=own)
    oracle = Training(SPACE, data, epochs=1, num_classes=1, input_size=24)
    assert (oracle.name, oracle.unit) == ("mae", "Hz")
    assert np.isfinite(oracle.evaluate(SPACE.sample(1, 0)).value[0]), oracle.reasons


def test_a_search_with_a_supernet_classifies() -> None:
    with pytest.raises(Unsupported, match="tells accuracies"):
        nastk.oracles.SupernetAccuracy(SPACE, numbers(), "single-path")
    with pytest.raises(Unsupported, match="judges by accuracy"):
        nastk.search(SPACE, nastk.oracles.Params(SPACE), supernet="single-path", data=numbers(), budget=2)
