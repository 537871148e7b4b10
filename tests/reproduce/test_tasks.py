"""The comparisons of MTL-NAS and of counting: figures by hand, and small runs from start to end."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nastk.data.digit_scenes import digit_scenes
from nastk.errors import InvalidValue
from nastk.generators._mtl_together import train_together
from nastk.reproduce import counting, mtl, mtl_figures


def test_the_mean_best_of_random_draws() -> None:
    validation, test = [0.3, 0.1, 0.4, 0.2], [1.0, 2.0, 3.0, 4.0]
    draws = [min(some, key=validation.__getitem__) for some in itertools.combinations(range(4), 3)]
    assert mtl.best_of(validation, test, 3) == pytest.approx(np.mean([test[i] for i in draws]))
    assert mtl.best_of(validation, test, 1) == pytest.approx(2.5)
    assert mtl.best_of(validation, test, 4) == 2.0


def test_subsets_are_others_than_none_and_all() -> None:
    space = mtl.MTLFusion()
    some = mtl.subsets(20)
    counts = space.as_archs(some).sum(axis=1)
    assert len(set(some)) == 20
    assert counts.min() > 0
    assert counts.max() < space.d
    assert mtl.subsets(20) == some


def test_mtl_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtl, "PREFERENCES", mtl.PREFERENCES[1:3])
    monkeypatch.setattr(mtl, "DRAWS", 1)
    monkeypatch.setattr(mtl, "ROUNDS", (3, 2))
    monkeypatch.setattr(mtl, "SEARCHES", 2)
    monkeypatch.setattr(mtl, "TRIED", (3, 5))
    monkeypatch.setattr(mtl, "OF_RANDOM", {3: "three", 5: "five"})
    small = {"count": 9, "training": 60, "validation": 1600, "epochs": 2, "batch": 30}
    found = mtl.run(1, out=tmp_path / "out", workers=1, first_seed=3, **small)
    kept = (tmp_path / "out" / "runs.jsonl").read_text()
    assert mtl.run(1, out=tmp_path / "out", workers=1, first_seed=3, **small).networks == found.networks
    assert (tmp_path / "out" / "runs.jsonl").read_text() == kept
    methods = [row["method"] for row in found.networks]
    assert methods.count("subset") == 9
    assert methods.count("mtl-nas") == methods.count("mtl-nas, trained alone") == mtl.SEARCHES
    assert methods.count("generator") == 2
    rows = {(row["method"], row["metric"]): row["mean"] for row in mtl.rows_of(found)}
    tests = [row["test_loss"] for row in found.of(method="subset")]
    assert rows["best subset by the test itself", "test_loss"] == pytest.approx(min(tests))
    above = 100 * (rows["mtl-nas", "test_loss"] / rows["all paths", "test_loss"] - 1)
    assert rows["mtl-nas against all paths", "percent_above"] == pytest.approx(above)
    ahead, expected, rounds = (found.of(method=name)[0] for name in (mtl.LOOK_AHEAD, mtl.EXPECTED, mtl.IN_ROUNDS))
    assert ahead["validation_loss"] <= expected["validation_loss"]
    opened = mtl.MTLFusion().parse(expected["arch"])
    assert opened.tolist() == [int(effect < 0) for effect in ahead["effects"]]
    assert rows[mtl.IN_ROUNDS, "test_loss"] == pytest.approx(rounds["test_loss"])
    error = found.of(method="all paths")[0]["test_width_error"]
    assert rows["all paths", "test_width_error"] == pytest.approx(error)
    assert 0 < error < 3, "deviations of the training part"
    archs = [row["arch"] for row in found.of(method="mtl-nas, trained alone")]
    assert sorted(archs) == sorted(row["arch"] for row in found.of(method="mtl-nas"))
    best = min(found.of(method="mtl-nas, trained alone"), key=lambda row: row["validation_loss"])
    assert rows[mtl.BEST_FOUND, "test_loss"] == pytest.approx(best["test_loss"])
    plan = mtl.Plan(3, mtl.SUBSET, tuple(archs[:1]), **small)
    once, again = (replace(plan, seed=seed, repeats=1) for seed in (3, 3 + mtl.APART))
    data = plan.data()
    each = [mtl._trained(some, data)[0]["test_loss"] for some in (once, again)]
    assert found.of(method="no paths")[0]["test_loss"] == pytest.approx(np.mean(each))
    assert each[0] != each[1]
    assert len(mtl.tables(mtl.rows_of(found))) == 4
    assert (tmp_path / mtl_figures.draw(found, tmp_path)).stat().st_size > 10_000
    with pytest.raises(InvalidValue):
        mtl.run(1, 4)


def test_counting_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "PYRAMIDS", ((2, 4), (8,)))
    small = {"trainings": 2, "training": 20, "validation": 10, "test": 10, "epochs": 1, "batch": 10}
    found = counting.run(1, out=tmp_path / "out", workers=1, **small)
    kept = (tmp_path / "out" / "runs.jsonl").read_text()
    assert counting.run(1, out=tmp_path / "out", workers=1, **small).networks == found.networks
    losses, whole = (
        [(row["method"], row["metric"], row["mean"]) for row in counting.rows_of(some)]
        for some in (counting.run(1, 0, tmp_path / "out", 1, **small), found)
    )
    assert losses == whole[: len(losses)]
    assert len(losses) < len(whole), "no searches"
    assert (tmp_path / "out" / "runs.jsonl").read_text() == kept
    assert [row["part"] for row in found.networks] == ["losses"] * 3 + ["random"] * 2 + ["predictor"] * 2
    best = min(found.networks[1:3], key=lambda row: row["validation"])
    assert all(row["pyramid"] == best["pyramid"] for row in found.networks[3:])
    rows = {(row["method"], row["metric"]): row["mean"] for row in counting.rows_of(found)}
    lower = 100 * (1 - best["test"] / found.networks[0]["test"])
    assert rows["pyramid, sides by validation, against the error alone", "percent_lower"] == pytest.approx(lower)
    assert (tmp_path / counting.draw(found, tmp_path, **small)).stat().st_size > 10_000
    other = counting.run(1, 0, tmp_path / "out", 1, first_seed=1, **small)
    assert {row["seed"] for row in other.networks} == {1}
    for wrong in ({"trainings": 1}, {"off": -0.1}):
        with pytest.raises(InvalidValue):
            counting.run(1, **wrong)


def test_scenes_hold_as_many_digits_as_their_maps_say() -> None:
    data = digit_scenes(30, 5, 5, side=40, most=4, sizes=(8, 12), seed=1)
    canvases, maps = data.training.source.images, data.training.labels
    counts = maps.flatten(1).sum(1)
    assert canvases.shape == (30, 1, 40, 40)
    assert maps.shape == (30, 1, 20, 20)
    assert float((counts - counts.round()).abs().max()) < 1e-4
    assert set(counts.round().int().tolist()) == {1, 2, 3, 4}
    alone = counts.round() == 1
    ink = canvases[alone, 0].double()
    centre = (ink.sum(1) * torch.arange(40)).sum(1) / ink.sum((1, 2))
    found = (maps[alone, 0].sum(1) * (torch.arange(20) * 2 + 0.5)).sum(1)
    assert float((centre - found).abs().max()) < 2.5, "the bell is where the digit is"
    same = digit_scenes(30, 5, 5, side=40, most=4, sizes=(8, 12), seed=1)
    assert same.identity == data.identity
    for options in ({"most": 0}, {"side": 33}, {"sizes": (6, 40)}, {"off": 1.0}):
        with pytest.raises(InvalidValue):
            digit_scenes(4, 4, 4, **options)


def test_marks_off_the_centres_move_the_bells_and_nothing_else() -> None:
    exact, off = (digit_scenes(300, 5, 5, most=1, sizes=(10, 10), seed=1, off=each) for each in (0.0, 0.2))
    assert torch.equal(exact.training.source.images[:1], off.training.source.images[:1])
    maps = off.training.labels
    assert float((maps.flatten(1).sum(1) - 1).abs().max()) < 1e-4, "one each"
    images = off.training.source.images[:, 0].double()
    centres, marks = (
        torch.stack([(some.sum(3 - axis) * at).sum(1) / some.sum((1, 2)) for axis in (1, 2)])
        for some, at in ((images, torch.arange(24)), (maps[:, 0].double(), torch.arange(12) * 2 + 0.5))
    )
    apart = (marks - centres).std(1)
    assert 1.6 < float(apart.min()) <= float(apart.max()) < 2.6, "a fifth of ten pixels, and the ink's own centre"


def test_networks_trained_together_are_as_if_alone() -> None:
    space, data = mtl.MTLFusion(), mtl.Plan(0, mtl.SUBSET, second="parity", training=40, validation=20).data()
    options = {"epochs": 3, "batch": 20, "rate": 0.01, "decay": 0.0, "seed": 1}
    archs = space.as_archs(mtl.subsets(3))
    together = train_together(space, archs, data, **options)
    for arch, network in zip(archs, together, strict=True):
        alone = train_together(space, arch[None], data, **options)[0]
        assert sum(p.numel() for p in network.parameters()) == space.statics(arch[None])["params"][0]
        for a, b in zip(alone.state_dict().values(), network.state_dict().values(), strict=True):
            assert float((a - b).abs().max()) < 2e-3
    first, second = (network.state_dict()["heads.0.weight"] for network in together[:2])
    assert float((first - second).abs().max()) > 1e-2, "each has weights of its own"
