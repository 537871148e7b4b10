"""The shipped weights load, are small, hold no table values, and are as good as their notes say."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nastk
from nastk.encodings.base import Context
from nastk.metrics import spearman
from nastk.oracles.table import benchmark
from nastk.predictors.base import Task
from nastk.predictors.factory import WEIGHTS, weights
from nastk.predictors.few_shot_gp import FewShotGP
from nastk.predictors.gp_bma import GPBMA
from nastk.search.defaults import default_predictor, latency_predictor, learns_sources
from nastk.search.predictor import PredictorSearch
from nastk.weights.build import RECIPES

ACCURACY = ["cifar10", "cifar100", "ImageNet16-120"]
DEVICES = {"nasbench201": 27, "fbnet": 27, "mobilenetv3": 12, "gpt": 8, "mnasnet": 6}
PRIORS = {"transbench101-micro": 7, "transbench101-macro": 7}


def test_all_are_there_with_their_quality_and_checksums() -> None:
    shipped = weights()
    assert sorted(shipped) == sorted(RECIPES)
    for name, notes in shipped.items():
        assert notes["samples"] <= 900
        assert 0.8 < notes["held_out"]["spearman"] < 1.0
        assert all(len(checksum) == 64 for checksum in notes["data"].values())
        assert notes["command"].endswith(f"python -m nastk.weights.build {name}")
        assert set(notes["licences"].values()) <= {"MIT", "Apache-2.0", "none stated"}
        assert notes["licences"]
    assert sum(f.stat().st_size for f in WEIGHTS.iterdir() if f.suffix in (".json", ".safetensors")) < 1e6


@pytest.mark.parametrize("name", [n for n in RECIPES if not n.startswith(("gp-nasbench201-", "gp-bma-nasbench201"))])
def test_what_ships_is_better_on_what_was_left_out_than_nothing(name: str) -> None:
    """Rank correlation after as many measurements or trainings as the quality is stated for."""
    compared = dict(weights()[name]["held_out"]["compared"])
    compared.pop("figures")
    mine = compared.pop(name.removesuffix(f"-{weights()[name]['space']}"))
    assert mine
    assert compared
    for others in compared.values():
        for n in {"10", "25"} & {*others}:
            assert mine[n][0] > others[n][0], f"{name}, {n}"


def test_few_shot_knows_the_devices() -> None:
    for space, devices in DEVICES.items():
        few = nastk.predictor("few-shot-gp", pretrained=space)
        assert len(few.devices) == devices
        assert few.sources_(nastk.space(space).sample(5, 0)).shape == (5, devices)


def test_a_search_starts_from_what_ships_but_for_the_target() -> None:
    few = latency_predictor(nastk.space("gpt"), "v100")
    assert isinstance(few, FewShotGP)
    assert len(few.devices) < 8
    assert "v100" not in few.devices
    assert learns_sources(few), "graphics processors say little of other hardware: what is measured here joins them"
    assert not learns_sources(latency_predictor(nastk.space("fbnet")))
    for space, tasks in PRIORS.items():
        mine = default_predictor(nastk.space(space), "max", alone=False)
        assert isinstance(mine, GPBMA)
        own = [cells for cells in mine.related_ if cells.own(nastk.space(space))]
        assert [len(cells.tasks) for cells in own] == [tasks]
        assert np.isfinite(mine.prior_score(nastk.space(space), nastk.space(space).sample(20, 0), Context())).all()
        table = own[0].tasks[0]
        archs = nastk.space(space).sample(50, 0)
        without = mine.without_task(table).prior_score(nastk.space(space), archs, Context())
        goal = nastk.FunctionOracle(nastk.space(space), lambda a: a.sum(axis=1), "accuracy", "%", "max")
        goal.dataset = table
        told = PredictorSearch(nastk.space(space), [goal]).models.prior_scores(["accuracy"], archs)
        assert told is not None
        np.testing.assert_allclose(told[:, 0], without, err_msg="a search in its table is told no value")
        assert not np.allclose(without, mine.prior_score(nastk.space(space), archs, Context()))
    strict = default_predictor(nastk.space("nasbench201"), "max", alone=True)
    assert isinstance(strict, GPBMA)
    assert [cells.space.name for cells in strict.related_] == ["transbench101-micro"], "none of its own accuracies"
    shipped = nastk.predictor("gp-bma", pretrained="nasbench201")
    assert isinstance(shipped, GPBMA)
    assert [bool(prior.further) for prior in shipped.proxy_priors_] == [True, False]
    assert not any(prior.further for prior in strict.proxy_priors_), "they do not help to find the best"


@pytest.mark.data
@pytest.mark.parametrize("dataset", ACCURACY)
def test_accuracy_is_as_good_as_noted_and_no_value_is_stored(dataset: str, nastk_home: object) -> None:
    table = benchmark("nasbench201", dataset=dataset)
    truth = table.values("test_accuracy")
    shipped = nastk.predictor("gp", pretrained=f"nasbench201-{dataset}")
    fitted = table.space.index(shipped.archs_)
    held_out = np.setdiff1d(np.arange(len(truth)), fitted)
    assert len(truth) - len(held_out) == 900
    noted = weights()[f"gp-nasbench201-{dataset}"]["held_out"]
    mean = shipped.predict(table.space.from_index(held_out)).mean
    assert spearman(mean, truth[held_out]) == pytest.approx(noted["spearman"], abs=1e-3)
    assert np.median(np.abs(mean - truth[held_out])) == pytest.approx(noted["median_absolute_error"], abs=1e-3)
    text = (WEIGHTS / f"gp-nasbench201-{dataset}.json").read_text()
    assert "task.values" not in json.loads(text)
    stored = {name: np.asarray(v).ravel() for name, v in shipped.learned()[1].items()}
    for values in stored.values():
        if len(values) == 900:
            assert abs(np.corrcoef(values, truth[fitted])[0, 1]) < 0.9


@pytest.mark.data
def test_a_held_out_device_is_learned_from_ten_measurements(nastk_home: object) -> None:
    table = benchmark("nasbench201")
    truth = table.values("latency", device="eyeriss")
    few = nastk.predictor("few-shot-gp", pretrained="nasbench201").without(["eyeriss"], duplicates=0.995)
    archs = few.choose(10, seed=0)
    at = table.space.index(archs)
    mine = few.adapt(Task(table.space, archs, truth[at], "latency", "ms", device="eyeriss"))
    rest = np.setdiff1d(np.arange(len(truth)), at)
    assert spearman(mine.predict(table.space.from_index(rest)).mean, truth[rest]) > 0.97
