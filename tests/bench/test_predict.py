"""The benchmark of predictors: tidy rows, no value seen that is not paid for, baselines, resumed runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nastk.bench import predict as bench
from nastk.bench import predict_figures
from nastk.errors import InvalidValue, UnknownName
from nastk.predictors.base import Prediction

pytestmark = pytest.mark.data


def _run(journal: Path | None = None, **options: Any) -> bench.Predicted:
    settings: dict[str, Any] = {"sizes": [10, 20], "seeds": 2, "test": 300}
    return bench.carry_out([bench.plan(**{**settings, **options})], workers=1, journal=journal)[0]


def _scores(found: bench.Predicted, metric: str, n: int) -> dict[str, float]:
    return {r["method"]: r["mean"] for r in found.rows() if (r["metric"], r["samples"]) == (metric, n)}


def test_accuracies_with_baselines_and_resumed(nastk_home: object, tmp_path: Path, monkeypatch: Any) -> None:
    options: dict[str, Any] = {"dataset": "cifar10", "predictors": ["ridge", "gp@path-counts"]}
    found = _run(tmp_path / "runs.jsonl", **options)
    assert found.plan.methods == ("ridge", "gp@path-counts", "params", "flops", "votes")
    ranked = _scores(found, "spearman", 20)
    assert all(0.2 < v < 1 for v in ranked.values())
    assert _scores(found, "spearman", 10)["params"] == ranked["params"], "it learns nothing"
    covered = _scores(found, "covered95", 20)
    assert set(covered) <= {"ridge", "gp@path-counts"}
    assert all(0 < v <= 1 for v in covered.values())
    row = found.rows()[0]
    assert (row["objective"], row["device"], row["seeds"]) == ("test_accuracy", "", 2)
    monkeypatch.setattr(bench, "_scores", None)
    again = _run(tmp_path / "runs.jsonl", **options)
    assert json.dumps(again.rows()) == json.dumps(found.rows())


def test_a_method_changes_no_other_and_samples_are_never_tested(nastk_home: object, monkeypatch: Any) -> None:
    alone = _run(dataset="cifar10", predictors=["ridge"], seeds=1)
    seen: list[tuple[Any, Any]] = []
    learned = bench.named_predictor("ridge").__class__

    def predict(self: Any, archs: Any) -> Prediction:
        seen.append((self.task_.archs, archs))
        return original(self, archs)

    original = learned.predict
    monkeypatch.setattr(learned, "predict", predict)
    both = _run(dataset="cifar10", predictors=["gp", "ridge"], seeds=1)
    assert _scores(both, "spearman", 20)["ridge"] == _scores(alone, "spearman", 20)["ridge"]
    assert seen
    for samples, tested in seen:
        rows = {row.tobytes() for row in np.asarray(tested)}
        assert not any(row.tobytes() in rows for row in samples)


def test_latencies_learn_other_devices_and_never_the_target(nastk_home: object) -> None:
    sources = ["1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3"]
    sources += ["essential_ph_1", "samsung_s7", "titanx_1"]
    options: dict[str, Any] = {"objective": "latency", "sources": sources, "source_samples": 40, "seeds": 1}
    found = _run(
        devices=["fpga", "titanx_1"], predictors=["few-shot-gp-random", "lookup-table", "help"], sizes=[10], **options
    )
    job = next(
        job
        for job in found.plan.runs.values()
        if (job.method, job.problem.device) == ("few-shot-gp-random", "titanx_1")
    )
    assert "titanx_1" not in bench._sources(job)
    learned = bench._pretrained(job.problem, job.method, 0, bench._sources(job), 40)
    assert "titanx_1" not in learned.devices  # type: ignore[attr-defined]
    rows = [r for r in found.rows() if r["method"] == "few-shot-gp-random" and r["samples"] == 10]
    assert {r["device"] for r in rows} == {"fpga", "titanx_1", "*"}
    assert {r["source_measurements"] for r in rows} == {400}, "of ten sources for fpga"
    assert _scores(found, "spearman", 10)["few-shot-gp-random"] > 0.7
    assert "help with 10 samples" in found.reasons()
    errors = _scores(found, "median_error", 10)
    assert 0 < errors["few-shot-gp-random"] < 0.5
    assert errors["flops"] > errors["few-shot-gp-random"], "a straight line over FLOPs"
    assert "params" not in errors
    assert predict_figures.lines(found)[0]["samples"] == 10


def test_zero_cost_proxies_are_counted_and_vote(nastk_home: object) -> None:
    found = _run(dataset="cifar10", predictors=["gp-bma", "ridge@zcp"], with_proxies=True, seeds=1, sizes=[10])
    used = {r["method"]: r["proxies"] for r in found.rows()}
    assert used["ridge@zcp"] > 300 > used["params"] == 0
    ranked = bench.ranks([found], 10)
    assert set(ranked.methods) == {"gp-bma", "ridge@zcp", "votes", "params", "flops"}
    assert _scores(found, "spearman", 10)["votes"] > 0.6


def test_bad_input_is_refused_before_any_run(nastk_home: object) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ridge'"):
        _run(predictors=["rigde"])
    with pytest.raises(UnknownName, match="unknown encoding"):
        _run(predictors=["ridge@vecs"])
    with pytest.raises(InvalidValue, match="takes no encoding"):
        _run(predictors=["lookup-table@vec"], objective="latency:fpga")
    with pytest.raises(InvalidValue, match="votes tells nothing of latency:fpga"):
        _run(predictors=["votes"], objective="latency:fpga")
    with pytest.raises(InvalidValue, match="lookup-table tells nothing of test_accuracy"):
        _run(predictors=["lookup-table"])
    with pytest.raises(InvalidValue, match="at least one predictor"):
        _run(predictors=[])
    with pytest.raises(InvalidValue, match="samples from 2"):
        _run(sizes=[1])
    with pytest.raises(InvalidValue, match="use at most"):
        _run(sizes=[10_000])
    with pytest.raises(UnknownName, match="source device"):
        _run(objective="latency:fpga", sources=["nope"])
    with pytest.raises(UnknownName, match="metric"):
        _run(objective="nope")
