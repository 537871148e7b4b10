"""How well supernets rank: every figure is there, trainings are kept, and ratings are scored as they should be."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk.bench import stand_alone
from nastk.bench import supernet as bench
from nastk.bench._journal import Journal
from nastk.bench.stand_alone import Trained, Trainings, images_of, space_of_setting, train
from nastk.bench.supernet import Rating, Truth, compare, figure, interval, networks_of, parse_supernet
from nastk.cli import run
from nastk.errors import InvalidValue, StorageError, UnknownName, Unsupported

TINY = Trainings("elastic:Staged", train_images=60, steps=2, batch=16)


def made_up(n: int = 40) -> Truth:
    space = nastk.space("nasbench201")
    rng = np.random.default_rng(0)
    accuracy = rng.normal(size=n)
    again = np.where(np.arange(n) < 10, accuracy, np.nan)
    return Truth(space, space.sample(n, 0), accuracy, again, accuracy, np.ones(n), rng.normal(size=n), 1.0, {})


def test_all_methods_have_their_figures_and_trainings_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = tmp_path / "out", tmp_path / "rows.json"
    monkeypatch.setattr(bench, "TWICE", 3)  # by default
    asked = ["params", "votes", "single-path@steps=2", "gp-bma", "gp-bma+single-path@steps=2"]
    line = ["bench", "supernet", "--space", TINY.space, "--train-images", "60", "--steps", "1", "--networks", "8"]
    line += ["--largest", "2", "--seeds", "2", "--samples", "3", "--workers", "1", "--methods", ",".join(asked)]
    assert run([*line, "--out", str(out), "--json", str(file)]) == 0
    shown = capsys.readouterr()
    assert "rank correlation of two trainings with different seeds" in shown.out
    assert "gp-bma+single-path@steps=2" in shown.out
    assert "trained alone for as many steps" in shown.out
    *rows, largest = json.loads(file.read_text())
    assert (largest["method"], largest["metric"], largest["seeds"]) == ("single-path@steps=2", bench.LARGEST, 2)
    assert largest["least"] <= largest["mean"]
    assert 0 < largest["reference"] < 100
    assert [row["method"] for row in rows if row["metric"] in ("spearman", "spearman_of_two_seeds")] == [
        "trainings",
        *asked,
    ]
    for name in asked:
        mine = [row for row in rows if row["method"] == name]
        assert [row["metric"] for row in mine] == list(bench.METRICS)
        told = [row["metric"] for row in mine if row["mean"] is not None]
        assert told == list(bench.METRICS[:4] if name == "params" else bench.METRICS), "nothing is left given itself"
        assert mine[0]["seeds"] == (1 if name == "params" else 2)
        assert mine[0]["low"] <= mine[0]["mean"] <= mine[0]["high"]
    spent = {row["method"]: (row["trainings"], row["seconds"]) for row in rows}
    assert spent["gp-bma"][0] == 3
    assert spent["gp-bma+single-path@steps=2"][1] > spent["single-path@steps=2"][1], "the supernet is paid for"
    lines = (out / stand_alone.FILE).read_text().splitlines()
    assert len(lines) == 8 + 3 + largest["trainings"]
    assert largest["trainings"] == 2 * largest["networks"]
    monkeypatch.setattr(stand_alone, "train", None)  # what is kept is not trained again
    assert run([*line, "--out", str(out), "--json", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text())[:-1]
    assert [row["mean"] for row in again] == [row["mean"] for row in rows]


def test_trainings_that_rank_noise_are_warned_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    monkeypatch.setattr(bench, "train_all", lambda setting, jobs, *rest: [Trained(rng.normal(), 1.0) for _ in jobs])
    line = ["--space", TINY.space, "--networks", "40", "--methods", "params", "--samples", "2"]
    assert run(["bench", "supernet", *line]) == 0
    assert "warning: below 0.8" in capsys.readouterr().err


def test_ratings_are_compared_with_the_mean_of_several_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def noted(setting: Trainings, jobs: list[tuple[tuple[int, ...], int]], *rest: Any) -> list[Trained]:
        seeds.extend(seed for _, seed in jobs)
        return [Trained(float(seed // bench.SECOND), 1.0) for _, seed in jobs]

    monkeypatch.setattr(bench, "train_all", noted)
    truth = bench.truth_of(TINY, networks=5, twice=3, repeats=2)
    assert len(set(seeds)) == len(seeds) == 2 * (5 + 3)
    assert truth.single.tolist() == [0.0] * 5
    assert truth.accuracy.tolist() == [0.5] * 5
    assert truth.again[:3].tolist() == [2.5] * 3
    assert np.isnan(truth.again[3:]).all()


def test_ratings_are_scored_over_the_networks_that_they_say_something_of() -> None:
    truth = made_up()
    assert truth.reliability == pytest.approx(1.0)
    values = truth.accuracy.copy()
    values[3] = np.nan
    assert figure("spearman", values, truth) == pytest.approx(1.0)
    assert figure("kendall", -values, truth) == pytest.approx(-1.0)
    assert figure("ndcg", values, truth) == pytest.approx(1.0)
    others = np.delete(truth.accuracy, 3)
    assert figure("best_of_top_ten", values, truth) == others.max()
    assert figure("best_of_top_ten", -values, truth) == np.sort(others)[9]
    given = replace(truth, params=truth.accuracy + 0.01)
    assert math.isnan(figure("partial_spearman", values, given)), "params explain all"
    noisy = Rating(truth.accuracy + np.random.default_rng(1).normal(size=40), 1.0)
    low, high = interval("spearman", [noisy], truth)
    assert -1 < low < figure("spearman", noisy.values, truth) < high < 1
    seen = np.arange(40)[:, None] * np.ones(5) / 40 + 1e-9  # every network once, in an order of its own
    drawn = np.random.default_rng(2).permuted(seen.T, axis=1)
    for metric in bench.WITH_INTERVAL:
        found = bench._resampled(metric, noisy.values, truth, drawn)
        assert found == pytest.approx(figure(metric, noisy.values, truth))


def test_networks_of_a_smaller_count_are_the_first_of_a_greater_one() -> None:
    space = nastk.space("nasbench201")
    many = networks_of(space, 150)
    assert np.array_equal(networks_of(space, 20), many[:20])
    assert len(space.distinct(many)) == 150
    staged, _ = space_of_setting(TINY)
    assert len(networks_of(staged, 81)) == 81
    with pytest.raises(InvalidValue, match="fewer than 82"):
        networks_of(staged, 82)


def test_images_are_divided_without_overlap() -> None:
    data = images_of(TINY)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [60, 500, 1237]
    x, _ = data.training.tensors()
    assert float(x.mean()) == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(InvalidValue, match="has 1,797 images; 1,500 to train on"):
        images_of(replace(TINY, train_images=1500))
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidValue, match="a positive learning rate; got 60, 2, 16 and"):
            replace(TINY, rate=wrong)


class Fails(nn.Module):
    """One option cannot be run."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(nastk.choice("inputs", [64, 32]), 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.wide(x.flatten(1))
        return found


def test_a_network_that_fails_is_a_record_with_its_reason(tmp_path: Path) -> None:
    setting = replace(TINY, space=f"{__file__}:Fails")
    found = [train((setting, (option,), 0)) for option in (0, 1)]
    assert np.isfinite(found[0].accuracy)
    assert not found[0].reason
    assert math.isnan(found[1].accuracy)
    assert "shapes" in found[1].reason
    file = tmp_path / stand_alone.FILE
    kept = Journal(file, stand_alone._written, stand_alone._read)
    kept.add({"arch": [1]}, found[1])
    with open(file, "a") as half:
        half.write('{"run": {"arch": [0]}')  # killed
    again = Journal(file, stand_alone._written, stand_alone._read)
    assert again[{"arch": [1]}].reason == found[1].reason
    assert {"arch": [0]} not in again
    again.add({"arch": [0]}, found[0])
    assert Journal(file, stand_alone._written, stand_alone._read)[{"arch": [0]}] == found[0]
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match="cannot use"):
        Journal(file, stand_alone._written, stand_alone._read)


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "train_all", None)
    with pytest.raises(UnknownName, match="sandwitch"):
        compare(TINY, ["sandwitch"])
    with pytest.raises(InvalidValue, match="single-path@steps=900"):
        compare(TINY, ["single-path@steps"])
    with pytest.raises(InvalidValue, match=r"at most half of all, .*got 10 of 15"):
        compare(TINY, ["params", "gp-bma"], networks=15)
    with pytest.raises(InvalidValue, match=r"3 to 15 \(all\) trained twice"):
        compare(TINY, ["params"], networks=15, twice=16)
    with pytest.raises(InvalidValue, match="steps of the supernet single-path is a whole number; got 'many'"):
        compare(TINY, ["single-path@steps=many"])
    with pytest.raises(UnknownName, match="option of the supernet single-path 'step'; did you mean 'steps'"):
        compare(TINY, ["single-path@step=3"])
    with pytest.raises(Unsupported, match="attributes `stem`, `stages`"):
        compare(replace(TINY, space="elastic:Elastic"), ["block-wise"])
    assert parse_supernet("a@x=1@y=.5@z=true@w=b") == ("a", {"x": 1, "y": 0.5, "z": True, "w": "b"})
