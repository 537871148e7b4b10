"""The SuperTransformer: shared weights that learn translations, and the loss of a network with them."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sentences import sentence_pairs, write_pairs

import nastk
from nastk.cli import run
from nastk.data.sentence_pairs import tokens
from nastk.errors import DataError, InvalidValue, UnknownName
from nastk.oracles.translation import TranslationLoss
from nastk.spaces.hat import HAT
from nastk.supernets._super_transformer import SuperTransformer

SPACE = HAT()


def test_it_learns_and_every_network_has_slices_of_its_weights() -> None:
    pairs = tokens(sentence_pairs(), vocabulary=60, length=8)
    made = SuperTransformer(SPACE, pairs, steps=8, batch=16, random=0, rate=1e-2, shrink=64)
    assert len(made.validation[0]) == round(0.2 * len(pairs))
    both = [np.concatenate([a.numpy(), b.numpy()]) for a, b in zip(made.learned, made.validation, strict=True)]
    for mine, given in zip(both, (pairs.source, pairs.target), strict=True):  # no pair is in both, none is missing
        assert sorted(map(bytes, mine)) == sorted(map(bytes, given))
    before = len(list(made.shared.parameters()))
    learned = made.train().loss(made.largest)
    assert learned < math.log(pairs.vocabulary) - 0.5  # untrained: that of guessing
    shapes = [tuple(p.shape) for p in made.shared.parameters()]
    losses = [made.loss(arch) for arch in SPACE.sample(2, 0)]
    assert all(0 < loss < math.log(pairs.vocabulary) for loss in losses)
    assert len(set(losses)) == 2
    assert before == 0
    assert [tuple(p.shape) for p in made.shared.parameters()] == shapes
    assert made.loss(made.largest) == learned


def test_the_oracle_trains_once_and_refuses_other_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    files = write_pairs(tmp_path, sentence_pairs()[:120])
    loss = TranslationLoss(SPACE, *files, steps=1, batch=4, shrink=64, random=0)
    archs = SPACE.sample(2, 1)
    first = loss(archs)
    assert np.isfinite(first).all()
    assert loss(archs).tolist() == first.tolist()
    assert loss.identity() != TranslationLoss(SPACE, *files, steps=2).identity()
    monkeypatch.setattr(torch.optim, "Adam", None)  # it is kept: another oracle, or process, reads it
    assert TranslationLoss.described(SPACE, loss.describe())(archs).tolist() == first.tolist()
    assert pickle.loads(pickle.dumps(loss))(archs).tolist() == first.tolist()
    with pytest.raises(UnknownName, match="batch"):
        TranslationLoss(SPACE, *files, bacth=4)
    with pytest.raises(InvalidValue, match="hold other sentences now"):
        TranslationLoss.described(SPACE, {**loss.describe(), "hash": "0"})
    kept = loss.supernet.folder / "supernet.safetensors"
    kept.write_bytes(kept.read_bytes()[:-8])
    with pytest.raises(DataError, match="is damaged, or no SuperTransformer"):
        TranslationLoss.described(SPACE, loss.describe())(archs)
    with pytest.raises(InvalidValue, match="of the space hat"):
        TranslationLoss(nastk.space("gpt"), *files)
    with pytest.raises(InvalidValue, match="at least 1 step"):
        SuperTransformer(SPACE, loss.pairs, steps=0)


def test_a_search_takes_sentence_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    files = write_pairs(tmp_path, sentence_pairs()[:60])
    line = ["search", "--space", "hat", "--pairs", *files, "--supernet-steps", "1", "--objective", "accuracy"]
    line += ["--objective", "params", "--searcher", "random", "--budget", "3", "--constraint", "accuracy<=20"]
    assert run([*line, "--out", "first"]) == 0
    said = capsys.readouterr()
    assert "training the SuperTransformer of" in said.err
    result = json.loads(Path("first/result.json").read_text())
    assert result["supernet"]["method"] == "super-transformer"
    assert {row["objective"] for row in result["history"]} >= {"validation_loss"}
    assert {row["kind"] for row in result["history"] if row["objective"] == "validation_loss"} == {"estimate"}
    assert any("no network was trained alone" in note for note in result["notes"])
    assert run([*line, "--out", "second"]) == 0
    assert "is kept in" in capsys.readouterr().err
    again = json.loads(Path("second/result.json").read_text())
    assert [row["value"] for row in again["history"]] == [row["value"] for row in result["history"]]
