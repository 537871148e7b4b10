"""A user's typed program with every public name: mypy --strict checks it (see test_typing.py), nothing runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import nastk
from nastk.data.digit_scenes import digit_scenes
from nastk.data.digit_tasks import digit_tasks
from nastk.data.images import ImageData
from nastk.generators import Cost, Device, ParetoGenerator, load
from nastk.oracles import Count, Flops, Latency, Measurement, Params, Predicted, Training, ZeroCost
from nastk.oracles.table import Benchmark, TableOracle
from nastk.oracles.zerocost import Scores
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.search import NastkSampler
from nastk.search.base import Searcher
from nastk.search.random import RandomSearch
from nastk.spaces.mtl_fusion import MTLFusion

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


# ---- the README


def search_a_table() -> None:
    space = nastk.space("nasbench201")
    assert_type(space, nastk.SearchSpace)
    table = nastk.benchmark("nasbench201", dataset="cifar10")
    assert_type(table, Benchmark)
    assert_type(table.oracle("latency", device="pixel3"), TableOracle)
    assert_type(table.values("energy", dataset="cifar10", device="fpga"), Floats)
    result = nastk.search(
        table.space,
        objectives=[table.oracle("test_accuracy"), table.oracle("latency", device="pixel3")],
        searcher="predictor",
        budget=50,
        seed=0,
    )
    assert_type(result, nastk.Result)
    print(result.front)
    result.report("front.html")
    assert_type(nastk.export(result, pick="test_accuracy", format="onnx", untrained=True).files, list[Path])
    result.to_csv(Path("front.csv"))
    nastk.front("sqlite:///runs.db", constraints="latency<=5", objectives=["test_accuracy"]).to_csv("again.csv")
    assert_type(result.choice_effects(samples=500).explained, dict[str, float])
    assert_type(result.front_archs, Ints)
    assert_type(result.hypervolume([50.0, 20.0]), float)


def predict_this_machine() -> None:
    space = nastk.space("nasbench201")
    latency = nastk.oracles.Latency(space, device="this", threads=1, batch=1)
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
    assert_type(few, nastk.Predictor)
    mine = few.without(["pixel3"]).adapt(nastk.Task.measure(latency, few.choose(10, seed=0, space=space)))
    assert_type(mine, nastk.Predictor)
    assert_type(mine.predict(space.enumerate()).mean, Floats)
    assert_type(mine.interval(space.enumerate(), level=0.9), tuple[Floats, Floats])
    assert_type(mine.has_intervals, bool)
    mine.save("mine")
    assert_type(nastk.predictors.load("mine"), nastk.Predictor)
    if isinstance(few, FewShotGP):
        assert_type(few.devices, tuple[str, ...])
    if isinstance(few, nastk.FewShotPredictor):
        assert_type(few.pretrain([]), nastk.FewShotPredictor)


class Nearby(nastk.Predictor):
    """A predictor of one's own."""

    def __init__(self, decay: float = 0.3):
        self.decay = decay

    def fit(self, task: nastk.Task) -> Nearby:
        self.task_ = task
        return self

    def predict(self, archs: Any) -> nastk.Prediction:
        rows = self.task_.space.as_archs(archs)
        weights = self.decay ** (rows[:, None] != self.task_.archs).sum(axis=2)
        mean = weights @ self.task_.values / weights.sum(axis=1)
        return nastk.Prediction(mean, np.full(len(mean), np.nan))


class Net(nn.Module):
    """A space of one's own: a network with choices."""

    input_shape = (64,)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, nastk.choice("width", [16, 32]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


class Wide(nastk.SearchSpace):
    """A space of one's own: a class."""

    name = "wide"
    choices = (nastk.Choice("width", ("16", "32")), nastk.Choice("depth", ("1", "2", "3")))

    def build(self, arch: Ints, classes: int = 10) -> nn.Module:
        return nn.Linear(3, classes)


def spaces() -> None:
    own = nastk.space_of(Net)
    assert_type(own.build(own.sample(1, seed=0)[0]), nn.Module)
    wide = Wide()
    some = nastk.Pool(wide, wide.sample(4, seed=0))
    read: nastk.Pool = nastk.pool_of("mine.csv", values=["acc"]) if Path("mine.csv").exists() else some
    assert len(read.members)
    assert_type(some.enumerate(), Ints)
    assert_type(nastk.space(some), nastk.SearchSpace)


# ---- the other public names


def oracles(space: nastk.SearchSpace) -> list[nastk.Oracle]:
    mine = nastk.FunctionOracle(space, lambda archs: archs.sum(axis=1), "size", direction="min", expensive=False)
    answer = mine.evaluate(space.sample(3, seed=0))
    assert_type(answer, nastk.Evaluation)
    assert_type(answer.value, Floats)
    assert_type(mine(space.sample(3, seed=0)), Floats)
    fitted = Nearby().fit(nastk.Task(space, space.sample(5, seed=0), np.arange(5.0), "latency", "ms"))
    shown: list[type[Any]] = [Count, Latency, Measurement, Training]
    print(shown)
    proxies = ZeroCost(space, names=["nwot"])
    return [Params(space), Flops(space), Predicted(fitted, space, "latency", "ms"), proxies.oracle("nwot"), mine]


def proxies() -> None:
    scores = nastk.zcp(nn.Linear(3, 2), torch.zeros(4, 3), proxies=["synflow"])
    assert_type(scores, Scores)
    assert_type(scores.values["synflow"], float)


def encodings_and_samplers(space: nastk.SearchSpace, table: Benchmark) -> None:
    context = nastk.Context(proxies=table.proxy_source(), latencies=table.latency_source(["pixel2"]))
    vec = nastk.encoding("vec") + nastk.encoding("zcp")
    assert isinstance(vec, nastk.Encoding)
    assert_type(vec.fit(space, context).transform(space.sample(3, seed=0)), Floats)
    sampler = nastk.sampler("a-optimal")
    assert_type(sampler, nastk.Sampler)
    assert_type(sampler.choose(10, space, candidates=space.sample(50, seed=0), seed=1), Ints)


def by_hand(space: nastk.SearchSpace, oracle: nastk.Oracle) -> None:
    objective = nastk.Objective("accuracy", oracle)
    limit = nastk.Constraint.parse("latency<=10")
    assert_type(limit, nastk.Constraint)
    searcher = RandomSearch(space, [objective], constraints=[limit], seed=0)
    proposals = searcher.ask(2)
    assert_type(proposals, list[nastk.Proposal])
    searcher.tell([nastk.Record(tuple(int(v) for v in proposals[0].arch), "accuracy", 71.0)])
    study = nastk.Study(searcher, budget=5, history=nastk.History())
    try:
        assert_type(study.run(), nastk.Result)
    except nastk.NastkError as error:
        print(error)
    base: nastk.Searcher = searcher
    assert isinstance(base, Searcher)
    assert_type(base.intervals(base.archs_), dict[str, tuple[Floats, Floats]])


def modules(space: nastk.SearchSpace, result: nastk.Result) -> None:
    assert_type(nastk.metrics.spearman([1, 2], [2, 1]), float)
    assert_type(nastk.data.path("nasbench201.npz"), Path)
    nastk.report.write_html(result, "front.html")
    nastk.testing.check_predictor(Nearby, space)
    assert issubclass(nastk.errors.InvalidValue, nastk.NastkError)
    print(nastk.__version__, nastk.encodings, nastk.samplers, nastk.spaces)
    assert_type(nastk.local_sources(space, networks=30), list[nastk.Task])
    shipped = nastk.predictors.weights()
    assert_type(shipped, dict[str, dict[str, Any]])


def ships(result: nastk.Result) -> None:
    found = nastk.train(result, "digits", top=3, epochs=2, recipe={"ema": 0.99}, export=["onnx"])
    assert_type(found.rows(), list[dict[str, Any]])
    print(found.optimism(found.networks[0]), found.notes)


def generators(space: nastk.SearchSpace, accuracy: nastk.Predictor) -> None:
    generator = nastk.generators.ParetoGenerator(space, {"accuracy": accuracy, "latency": None})
    assert_type(generator.fit([Device("pixel2", {"latency": Nearby()})]), ParetoGenerator)
    print(generator.propose(Device("mine")), Cost, load)


def several_tasks(data: ImageData) -> torch.nn.Module:
    found = nastk.generators.MTLNAS(MTLFusion(outputs=(10, 2)), steps=300).fit(data)
    print(found.arch, found.probabilities, found.gap(data.test))
    ahead = nastk.generators.MTLLookAhead(MTLFusion(outputs=(10, 2)), epochs=9).fit(data)
    print(ahead.arch, ahead.effects, ahead.propose(3), ahead.networks(0))
    rounds = nastk.generators.MTLRounds(MTLFusion(outputs=(10, 2)), rounds=(7, 6, 6)).fit(data)
    print(rounds.arch, rounds.effects, rounds.best)
    return ahead.network()


def what_counting_is_judged_by() -> nastk.problems.Density:
    assert_type(digit_scenes(seed=1), ImageData)
    assert_type(digit_tasks("parity"), ImageData)
    return nastk.problems.Density(pyramid=(4, 8), weight=1.0)


def what_networks_are_judged_by() -> nastk.problems.Problem:
    assert_type(nastk.problems.problem("regression"), nastk.problems.Problem)
    return nastk.problems.MultiTask({"digit": "classification", "thickness": "regression"})


def optuna_sampler() -> NastkSampler:
    return NastkSampler(seed=0)
