"""The shipped weights load, are small, hold no table values, and are as good as their notes say."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nastk
from nastk.metrics import spearman
from nastk.oracles.table import benchmark
from nastk.predictors.base import Task
from nastk.predictors.factory import WEIGHTS, weights

ACCURACY = ["cifar10", "cifar100", "ImageNet16-120"]
LATENCY = ["nasbench201", "fbnet"]


def test_all_are_there_with_their_quality_and_checksums() -> None:
    shipped = weights()
    names = [f"few-shot-gp-{s}" for s in LATENCY] + [f"gp-nasbench201-{d}" for d in ACCURACY] + ["gp-bma-nasbench201"]
    assert sorted(shipped) == sorted(names)
    for notes in shipped.values():
        assert notes["samples"] <= 900
        assert 0.9 < notes["held_out"]["spearman"] < 1.0
        assert all(len(checksum) == 64 for checksum in notes["data"].values())
    assert sum(f.stat().st_size for f in WEIGHTS.iterdir() if f.suffix in (".json", ".safetensors")) < 5e6


def test_few_shot_knows_helps_27_devices() -> None:
    for space in LATENCY:
        few = nastk.predictor("few-shot-gp", pretrained=space)
        assert len(few.devices) == 27
        assert few.sources_(nastk.space(space).sample(5, 0)).shape == (5, 27)


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
