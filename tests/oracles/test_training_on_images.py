"""Trainings on images: resumable, with fidelities, kept weights, and blind to the test part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk.data.images import ImageData, Part, read_images
from nastk.errors import DataError, InvalidValue, MissingExtra
from nastk.oracles import Recipe, Training
from nastk.oracles._fitting import options_for
from nastk.oracles._trainer import CHECKPOINT, DONE, train
from nastk.oracles._weights import load_weights, read_weights


class Net(nn.Module):
    """With dropout and statistics, so that every part of a checkpoint matters."""

    input_shape = (1, 6, 6)

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        width = nastk.choice("width", [2, 4])
        self.body = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16 * width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).flatten(1))


SPACE = nastk.space_of(Net)
EVERYTHING = Recipe(4, 16, "adamw", 0.01, warmup=0.5, smoothing=0.1, ema=0.9)


def images(n: int = 60, side: int = 6, classes: int = 3) -> ImageData:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    return read_images((rng.normal(size=(n, side, side)).astype(np.float32) + labels[:, None, None], labels))


DATA = images()


class Interrupted(Exception):
    """Stands for whatever ends a process between two epochs."""


def stop_at(epoch: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == epoch:
            raise Interrupted

    return progress


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = read_weights(folder)
    assert found is not None
    return found.state


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("recipe", [Recipe(4, 16), EVERYTHING, replace(EVERYTHING, mixed=True, ema=0.0)])
def test_an_interrupted_training_ends_as_if_it_had_not_been(recipe: Recipe, tmp_path: Path) -> None:
    whole, parted = (Training(SPACE, DATA, recipe=recipe, seed=5, folder=tmp_path / name) for name in "ab")
    arch = SPACE.as_archs("4")[0]
    first = train(whole.job(arch, (4,)))
    job = parted.job(arch, (4,))
    for epoch in (1, 3):
        with pytest.raises(Interrupted):
            train(job, stop_at(epoch), every=0.0)
        torch.manual_seed(epoch)  # the state outside has no part in it
        assert job.folder is not None
        assert (job.folder / CHECKPOINT).exists()
    second = train(job, every=0.0)
    assert first.errors == second.errors
    assert equal(weights(whole.job(arch, (4,)).folder), weights(job.folder))
    assert not (job.folder / CHECKPOINT).exists(), "nothing is left to train"
    assert train(job, stop_at(1)).network is None, "it is not trained again"


def test_outside_of_a_training_the_random_state_is_as_before() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    Training(SPACE, DATA, epochs=1).evaluate("2")
    assert torch.equal(before, torch.get_rng_state())


def test_a_longer_training_goes_on_with_a_shorter_one(tmp_path: Path) -> None:
    oracle = Training(SPACE, DATA, fidelities=(1, 3), batch=16, folder=tmp_path / "a")
    short = oracle.evaluate("4", 1)
    folder = Path(oracle.network_folder(SPACE.as_archs("4")[0]))
    assert (folder / CHECKPOINT).exists()
    long = oracle.evaluate("4", 3)
    direct = Training(SPACE, DATA, fidelities=(1, 3), batch=16, folder=tmp_path / "b").evaluate("4")
    assert long.value == direct.value
    assert direct.lower[1].value == short.value
    assert short.lower == {}
    assert read_weights(folder).facts["epochs"] == [3]
    with pytest.raises(InvalidValue, match="has fidelities 1, 3"):
        oracle.evaluate("4", 2)


def test_the_weights_that_are_kept_have_the_accuracy_that_was_told(tmp_path: Path) -> None:
    oracle = Training(SPACE, DATA, recipe=EVERYTHING, folder=tmp_path)
    value = oracle.evaluate("4").value[0]
    arch = SPACE.as_archs("4")[0]
    network = SPACE.build(arch)
    load_weights(network, read_weights(oracle.network_folder(arch)))
    x, y = DATA.validation.tensors()
    with torch.no_grad():
        assert 100.0 * float((network.eval()(x).argmax(1) == y).double().mean()) == pytest.approx(value)
    splits = json.loads((tmp_path / "splits.json").read_text())
    assert splits["hash"] == DATA.identity
    assert splits["splits"]["validation"]["indices"] == DATA.places["validation"][1]


class Unseen(Part):
    def batch(self, places: torch.Tensor) -> Any:
        raise AssertionError("the test part was looked at")


def test_the_test_part_is_never_looked_at() -> None:
    hidden = replace(DATA, test=Unseen(DATA.test.source, DATA.test.rows, DATA.test.labels))
    oracle = Training(SPACE, hidden, epochs=2)
    assert np.isfinite(oracle.evaluate(["2", "4"]).value).all()
    assert np.isnan(oracle.train("2").test)


def test_identities_hold_what_changes_a_value() -> None:
    kinds = [
        Training(SPACE, DATA, epochs=2), Training(SPACE, images(61), epochs=2), Training(SPACE, DATA, epochs=3),
        Training(SPACE, DATA, epochs=2, seed=1), Training(SPACE, DATA, recipe=Recipe(2, ema=0.5)),
    ]  # fmt: skip
    assert len({repr(oracle.identity()) for oracle in kinds}) == len(kinds)
    assert kinds[0].identity() == Training(SPACE, images(), epochs=2).identity()


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    Training(SPACE, DATA, epochs=1, folder=tmp_path).evaluate("2")
    with pytest.raises(DataError, match="holds a training with other settings"):
        Training(SPACE, DATA, epochs=2, folder=tmp_path).evaluate("2")
    done = Path(Training(SPACE, DATA, epochs=1, folder=tmp_path).network_folder(SPACE.as_archs("2")[0])) / DONE
    done.write_text("[]")
    with pytest.raises(DataError, match="remove it"):
        Training(SPACE, DATA, epochs=1, folder=tmp_path).evaluate("2")
    done.unlink()
    (done.parent / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match="is not the checkpoint of a training"):
        Training(SPACE, DATA, epochs=1, folder=tmp_path).evaluate("2")


def test_a_training_that_diverges_has_a_reason_and_the_others_their_values() -> None:
    oracle = Training(SPACE, DATA, epochs=2, rate=1e30)
    assert np.isnan(oracle.evaluate("4").value).all()
    assert "diverged" in oracle.reasons["4"]


def test_networks_are_built_for_the_images() -> None:
    assert options_for(SPACE, DATA) == {}
    assert options_for(SPACE, images(classes=5)) == {"num_classes": 5}
    assert options_for(nastk.space("nasbench201"), DATA) == {"num_classes": 3, "input_size": 6, "in_channels": 1}
    grey = images(side=32, classes=10)
    assert options_for(nastk.space("nasbench201"), grey) == {"in_channels": 1}
    assert options_for(nastk.space("fbnet"), grey) == {"num_classes": 10, "in_channels": 1}
    assert options_for(nastk.space("mobilenetv3"), grey) == {"num_classes": 10, "in_channels": 1, "input_size": 32}
    with pytest.raises(InvalidValue, match=r"of 1 x 6 x 6, and the images of arrays have 1 x 8 x 8.*resizes them"):
        options_for(SPACE, images(side=8))
    with pytest.raises(InvalidValue, match="take tokens"):
        options_for(nastk.space("gpt"), DATA)


class Ten(Net):
    def __init__(self) -> None:
        super().__init__(10)


def test_networks_of_other_classes_are_refused() -> None:
    with pytest.raises(InvalidValue, match="tell 10 classes, and arrays has 3"):
        Training(nastk.space_of(Ten), DATA)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimizer": "adam"}, "sgd or adamw"), ({"epochs": 0}, "at least 1 epoch"), ({"rate": 0}, "rate is a number"),
        ({"ema": 1.0}, "ema is a number from 0 to below 1"), ({"warmup": 30}, "warmup"), ({"smoothing": -1}, "smooth"),
        ({"augment": ("turn",)}, "there are crop, flip"), ({"momentum": 0}, "Nesterov"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_used_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        Recipe(**arguments)
    with pytest.raises(InvalidValue, match="no recipe"):
        Recipe.from_dict({"speed": 1})


def test_a_recipe_can_be_written_down() -> None:
    for recipe in (Recipe(), EVERYTHING, Recipe(7, rate=0.2, decay=0.0)):
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_augmentation_needs_torchvision(tmp_path: Path) -> None:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        with pytest.raises(MissingExtra, match="torchvision"):
            Recipe(augment=("crop",))
        return
    plain, changed = Recipe(2, 16), Recipe(2, 16, augment=("crop", "flip"))
    found = [
        train(Training(SPACE, DATA, recipe=recipe).job(SPACE.as_archs("4")[0], (2,))) for recipe in (plain, changed)
    ]
    states = [dict(outcome.network.state_dict()) for outcome in found if outcome.network is not None]
    assert not equal(*states)
    again = train(Training(SPACE, DATA, recipe=changed).job(SPACE.as_archs("4")[0], (2,)))
    assert again.network is not None
    assert equal(states[1], dict(again.network.state_dict()))


def test_a_training_can_be_sent_to_a_worker_process(tmp_path: Path) -> None:
    import cloudpickle

    oracle = Training(SPACE, DATA, epochs=1, batch=16)
    copy = cloudpickle.loads(cloudpickle.dumps(oracle))
    assert copy.evaluate("4").value == oracle.evaluate("4").value


class Plain(nn.Module):
    """Without what differs between shares of a batch."""

    input_shape = (1, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, nastk.choice("width", [4, 8])), nn.Tanh())
        self.head = nn.LazyLinear(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x))


@pytest.mark.long
def test_a_training_in_two_processes_is_that_of_one(tmp_path: Path) -> None:
    from nastk.oracles._distributed import train_in_processes

    one, two = (Training(nastk.space_of(Plain), images(100), batch=16, epochs=3, folder=tmp_path / n) for n in "ab")
    arch = one.space.as_archs("8")[0]
    alone = train(one.job(arch, (3,)))
    told: list[int] = []
    together = train_in_processes(two.job(arch, (3,)), 2, lambda done, total: told.append(done))
    assert told == [1, 2, 3]
    assert together.errors == alone.errors
    first, second = weights(one.job(arch, (3,)).folder), weights(two.job(arch, (3,)).folder)
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)
    with pytest.raises(InvalidValue, match="too small for 20 processes"):
        train_in_processes(two.job(arch, (3,)), 20)


def test_proxies_take_their_batch_from_the_training_part() -> None:
    proxies = nastk.oracles.ZeroCost(SPACE, ["params", "epe_nas"], batch=images(classes=5), batch_size=20)
    assert proxies.source.startswith("zero-cost on 20 images of arrays (")
    assert np.isfinite(proxies(SPACE.as_archs(["4"]))).all()
    assert proxies(["4"])[0, 0] == sum(
        p.numel() for p in SPACE.build(SPACE.as_archs("4")[0], num_classes=5).parameters()
    )
    with pytest.raises(InvalidValue, match="have 1 x 8 x 8"):
        nastk.oracles.ZeroCost(SPACE, ["params"], batch=images(side=8))
