"""The supernet and the search that trains it in turns with a hypernetwork."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from failing import REASONS, Failing
from torch.nn import functional

import nastk
from nastk import cli
from nastk.errors import DataError, InvalidValue, UnknownName, Unsupported
from nastk.generators import SupernetGenerator, Target
from nastk.oracles.training import Training
from nastk.reproduce import supernet_demo as demo
from nastk.reproduce.supernet_devices import Setting, additive, blend, embed
from nastk.spaces.nasbench201 import CONV1, CONV3, NONE, POOL, SKIP
from nastk.testing import check_oracle

SPACE = nastk.space("nasbench201")
OPTIONS = {"input_size": 8, "channels": 4, "cells_per_stage": 1, "in_channels": 1, "num_classes": 3}
CELL = np.array([CONV1, CONV3, SKIP, POOL, CONV1, CONV3])


def one_hot(arch) -> torch.Tensor:
    return torch.as_tensor(SPACE.one_hot(np.atleast_2d(arch))[0], dtype=torch.float32)


def images(n=24, seed=0):
    """Three classes that a small network tells apart: a bar in one of three places."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    pictures = 0.3 * torch.randn(n, 1, 8, 8, generator=generator)
    for i, label in enumerate(labels):
        pictures[i, 0, :, int(label) * 3] += 2.0
    return pictures, labels


def ms_of_convolutions(slow: float):
    """A device on which every 3x3 convolution takes 1 ms and every 1x1 one `slow`."""
    cost = torch.zeros(6, 5)
    cost[:, CONV3], cost[:, CONV1] = 1.0, slow
    return lambda hot: 0.5 + hot @ cost.flatten()


DEVICES = [
    Target("a", np.array([0.0, 0.5, 1.0]), ms_of_convolutions(0.2)),
    Target("b", np.array([1.0, 0.0, 0.3]), ms_of_convolutions(0.9)),
]


def generator(**options) -> SupernetGenerator:
    return SupernetGenerator(SPACE, **{"epochs": 2, "batch": 12, "references": 4, **OPTIONS, **options})


# ---- the supernet


def test_the_1x1_convolution_is_the_centre_of_the_3x3_kernel():
    edge = SPACE.supernet(**OPTIONS).features[2].edges[0]
    x = torch.randn(5, 4, 8, 8)
    alone = functional.batch_norm(
        functional.conv2d(x.relu(), edge.kernel.weight[:, :, 1, 1][:, :, None, None]), None, None, training=True
    )
    assert torch.allclose(edge.operate(x, CONV1), alone, atol=1e-6)
    with torch.no_grad():
        border = torch.ones(3, 3, dtype=torch.bool)
        border[1, 1] = False
        edge.kernel.weight[:, :, border] += 1.0
    assert torch.allclose(edge.operate(x, CONV1), alone, atol=1e-6)
    assert not torch.allclose(edge.operate(x, CONV3), functional.batch_norm(x, None, None, training=True), atol=0.1)


@pytest.mark.parametrize("arch", [CELL, np.array([NONE, SKIP, CONV3, NONE, NONE, POOL]), np.zeros(6, dtype=int)])
def test_a_path_a_one_hot_and_the_built_network_with_its_weights_agree(arch):
    torch.manual_seed(0)
    supernet = SPACE.supernet(**OPTIONS).train()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    network = supernet.hand_over(SPACE.build(arch, **OPTIONS), arch).train()
    x = torch.randn(6, 1, 8, 8)
    assert torch.allclose(supernet(x, arch), network(x), atol=1e-5)
    assert torch.allclose(supernet(x, one_hot(arch)), network(x), atol=1e-5)


def test_the_supernet_has_the_skeleton_of_the_network():
    supernet, network = SPACE.supernet(**OPTIONS), SPACE.build(np.full(6, CONV3), **OPTIONS)
    norms = 6 * 2 * (4 + 8 + 16)  # a second normalisation on each edge of three cells
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    assert count(supernet) == count(network) + norms


def test_a_mixture_gives_every_operation_its_gradient():
    torch.manual_seed(0)
    supernet = SPACE.supernet(**OPTIONS)
    hot = one_hot(CELL).requires_grad_()
    x, y = images()
    functional.cross_entropy(supernet(x, hot), y).backward()
    slopes = hot.grad.view(6, 5)
    assert (slopes[:, NONE] == 0).all(), "nothing adds nothing"
    assert (slopes[:, 1:] != 0).all()
    moved = one_hot(CELL)
    moved[4] += 1e-2
    lower = one_hot(CELL)
    lower[4] -= 1e-2
    with torch.no_grad():
        difference = functional.cross_entropy(supernet(x, moved), y) - functional.cross_entropy(supernet(x, lower), y)
    assert float(difference) / 2e-2 == pytest.approx(float(hot.grad[4]), rel=0.1, abs=1e-3)


def test_other_spaces_say_that_they_have_no_supernet():
    with pytest.raises(Unsupported, match="fbnet has no supernet"):
        nastk.space("fbnet").supernet()


# ---- the search


def copies(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def changed(module, before):
    return [not torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True)]


@pytest.mark.parametrize("combination", ["mean", "mgda"])
@pytest.mark.parametrize("discretiser", ["reinmax", "score", "softmax"])
def test_each_step_moves_its_own_network_alone(discretiser, combination):
    search = generator(discretiser=discretiser, combination=combination)
    search.trained.begin(SPACE, DEVICES, search.problem)
    search.trained.normalise_errors(images())
    weights, phi = copies(search.supernet_), copies(search.hypernetwork_)
    search.trained.hypernetwork_step(images())
    assert not any(changed(search.supernet_, weights))
    assert all(changed(search.hypernetwork_, phi))
    assert all(parameter.requires_grad for parameter in search.supernet_.parameters())
    phi = copies(search.hypernetwork_)
    search.trained.weight_step(images(seed=1))
    assert not any(changed(search.hypernetwork_, phi))
    assert any(changed(search.supernet_, weights))


def test_a_single_path_trains_what_is_on_it_alone():
    search = generator(decay=0.0)
    search.trained.begin(SPACE, DEVICES[:1], search.problem)
    search.trained.discretises.relaxes = False
    with torch.no_grad():
        search.hypernetwork_.tables.copy_((one_hot(np.full(6, CONV1)) * 100).expand_as(search.hypernetwork_.tables))
    edge = search.supernet_.features[2].edges[3]
    before, norm = edge.kernel.weight.detach().clone(), edge.norm3.weight.detach().clone()
    search.trained.weight_step(images())
    moved = (edge.kernel.weight != before).any(0).any(0)
    assert moved.tolist() == [[False, False, False], [False, True, False], [False, False, False]]
    assert torch.equal(edge.norm3.weight, norm)


def test_a_short_search_learns_the_images_and_what_each_device_is_slow_at():
    train, valid = images(48), images(48, seed=1)
    search = generator(epochs=25, learning_rate=0.1, network_options={"anchors": 11})
    search.fit(train, valid, DEVICES)
    assert len(search.epochs_) == 25
    assert search.epochs_[-1].training < 0.5 * search.epochs_[0].training
    anything = SPACE.sample(50, seed=0)
    for device in DEVICES:
        fast = search.sample(device.embedding, np.array([[0.0, 1.0]]), 20)
        ms = [device.latency(torch.as_tensor(SPACE.one_hot(a)).float()).mean().item() - 0.5 for a in (fast, anything)]
        assert ms[0] < 0.6 * ms[1], "all weight on latency must be faster than chance"
    assert search.propose(np.array([0.5, 0.5, 0.5]), np.array([[0.3, 0.7], [3.0, 7.0]])).shape == (2, 6)


def test_the_seed_fixes_everything():
    runs = [generator(seed=seed).fit(images(), images(seed=1), DEVICES) for seed in (3, 3, 4)]
    logits = [run.logits(DEVICES[0].embedding, np.array([[0.5, 0.5]])) for run in runs]
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])
    assert runs[0].epochs_[0] == runs[1].epochs_[0] or np.isnan(runs[0].epochs_[0].validation)
    archs = SPACE.sample(3, seed=0)
    assert np.array_equal(*(run.cross_entropies(archs, images()) for run in runs[:2]))


def test_what_cannot_be_used_is_named():
    for options, error, text in (
        ({"epochs": 0}, InvalidValue, "at least 1 epoch"),
        ({"discretiser": "exact"}, Unsupported, "whole space"),
        ({"combination": "median"}, UnknownName, "'mean' or 'mgda'"),
        ({"discretiser": "reinmix"}, UnknownName, "reinmax"),
    ):
        with pytest.raises(error, match=text):
            generator(**options)
    with pytest.raises(InvalidValue, match="at least one device"):
        generator().fit(images(), images(), [])
    with pytest.raises(InvalidValue, match="one label each"):
        generator().fit((torch.zeros(1, 1, 8, 8), torch.zeros(1)), images(), DEVICES)
    search = generator()
    search.trained.begin(SPACE, DEVICES, search.problem)
    with pytest.raises(InvalidValue, match="two weights"):
        search.propose(DEVICES[0].embedding, np.array([[0.5, -0.5]]))
    with pytest.raises(InvalidValue, match="embedding"):
        search.propose(np.zeros(4), np.array([[0.5, 0.5]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_it_trains_on_cuda():
    search = generator(device="cuda").fit(images(), images(seed=1), DEVICES)
    assert np.isfinite(search.epochs_[-1].validation)
    assert search.propose(DEVICES[0].embedding, np.array([[0.5, 0.5]])).shape == (1, 6)


# ---- the demonstration


def test_digits_are_split_without_overlap_and_scaled_by_the_training_images():
    pictures, labels = demo.load_images(None)
    assert pictures.shape == (1797, 1, 8, 8)
    parts = demo.split_images(pictures, labels, 100, 50, seed=0)
    assert [len(y) for _, y in parts] == [100, 50, 1647]
    assert float(parts[0][0].mean()) == pytest.approx(0, abs=1e-5)
    assert float(parts[0][0].std()) == pytest.approx(1, abs=1e-3)
    together = torch.cat([y for _, y in parts])
    assert sorted(together.tolist()) == sorted(labels.tolist())
    again = demo.split_images(pictures, labels, 100, 50, seed=0)
    assert torch.equal(parts[1][0], again[1][0])
    assert not torch.equal(parts[1][1], demo.split_images(pictures, labels, 100, 50, seed=1)[1][1])
    with pytest.raises(InvalidValue, match="must be left for the test"):
        demo.split_images(pictures, labels, 1000, 796, seed=0)


def test_an_images_file_may_hold_any_labels(tmp_path):
    np.savez(tmp_path / "ok.npz", images=np.zeros((6, 8, 8)) + np.arange(6)[:, None, None], labels=[7, 7, 3, 3, 9, 9])
    pictures, labels = demo.load_images(tmp_path / "ok.npz")
    assert pictures.shape == (6, 1, 8, 8)
    assert labels.tolist() == [1, 1, 0, 0, 2, 2]


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"images": np.zeros((4, 8, 6)), "labels": np.arange(4)}, "size, size"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.arange(3)}, "labels"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.zeros(4)}, "two classes"),
        ({"images": np.full((4, 8, 8), np.nan), "labels": np.arange(4)}, "finite"),
        ({"pictures": np.zeros((4, 8, 8))}, "images"),
    ],
)
def test_a_bad_images_file_is_one_line_and_status_2(arrays, text, tmp_path, capsys):
    np.savez(tmp_path / "bad.npz", **arrays)
    assert cli.run(["reproduce", "supernet", "--images", str(tmp_path / "bad.npz")]) == 2
    told = capsys.readouterr()
    assert text in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_settings_are_read_and_named_the_same_way():
    for text in ("torch:1:64", "onnx:2:1", "cuda:256"):
        assert str(Setting.parse(text)) == text
    for text in ("torch", "torch:1", "torch:0:1", "tpu:1:1", "cuda:1:1", "onnx:a:1"):
        with pytest.raises(InvalidValue, match="write torch"):
            Setting.parse(text)


def test_an_additive_latency_is_found_exactly():
    archs, others = SPACE.sample(60, seed=0), SPACE.sample(20, seed=1)
    truth = lambda cells: ms_of_convolutions(0.3)(torch.as_tensor(SPACE.one_hot(cells)).float()).numpy()  # noqa: E731
    model = additive(SPACE, archs, truth(archs).astype(float))
    assert model.predict(others).mean == pytest.approx(truth(others), abs=1e-3)


def test_a_device_between_two_others_is_explained_by_both():
    a, b = np.array([1.0, 2.0, 3.0, 5.0]), np.array([4.0, 1.0, 2.0, 2.0])
    assert blend(0.5 * a + 2.0 * b + 0.1, [a, b]) == pytest.approx([0.5, 2.0, 0.1], abs=1e-6)
    assert embed(a).tolist() == [0.0, 0.25, 0.5, 1.0]


def test_a_training_is_repeatable_kept_and_another_with_another_seed(tmp_path):
    parts = images(24), images(24, seed=1), images(30, seed=2)
    options = {"epochs": 15, "batch": 12, "folder": tmp_path, **OPTIONS}
    oracle = Training(SPACE, *parts, **options)
    archs = np.array([CELL, np.zeros(6, dtype=int), np.full(6, CONV3)])
    first = oracle.evaluate(archs)
    assert first.value[1] > 50, "a network without connections cannot tell three classes apart"
    assert first.value[2] < 20
    assert oracle.train(CELL).test == Training(SPACE, *parts, **{**options, "folder": None}).train(CELL).test
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 3
    kept = folder / ("-".join(map(str, CELL)) + ".json")
    kept.write_text('{"validation": 1.25, "test": 2.5, "seconds": 3.0}')
    assert Training(SPACE, *parts, **options).train(CELL).test == 2.5
    assert Training(SPACE, *parts, **options, seed=1).train(CELL).test != 2.5
    kept.write_text("{}")
    with pytest.raises(DataError, match="remove it"):
        Training(SPACE, *parts, **options).train(CELL)
    check_oracle(oracle, archs[1:])


def test_a_network_that_cannot_be_trained_has_a_reason_and_the_others_have_their_errors():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, 8, 8, generator=generator), torch.arange(20) % 10
    space = Failing()
    oracle = Training(space, (x, y), (x, y), (x, y), epochs=1, batch=10)
    texts = [text for text in space.choices[0].options if text != "several"]
    values = oracle.evaluate(texts).value
    assert {text for text, value in zip(texts, values, strict=True) if np.isnan(value)} == set(REASONS)
    assert all(oracle.reasons[text].startswith(reason) for text, reason in REASONS.items())


def test_the_logits_of_several_outputs_are_trained():
    x, y = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10
    plain, several = (
        Training(Failing(), (x, y), (x, y), (x, y), epochs=2, batch=10).evaluate(["plain", "several"]).value
    )
    assert several == plain


def test_the_best_layer_is_trained_first_and_all_are_used_in_the_end():
    costs = np.array([[0.1, 0.8], [0.8, 0.1], [0.5, 0.5], [0.6, 0.6], [0.95, 0.95]])
    frame = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert set(demo._layers(costs, frame, 3)) == {0, 1, 2}
    assert sorted(demo._layers(costs, frame, 9)) == [0, 1, 2, 3, 4]


def test_a_short_demonstration_runs_and_repeats(tmp_path, monkeypatch):
    def measured(space, setting, archs, options, folder=None, progress=None):
        """Latencies that this machine's load has no part in."""
        counts = (archs == CONV3).sum(axis=1) + setting.batch * (archs == CONV1).sum(axis=1) / 10
        return 1.0 + counts.astype(float)

    monkeypatch.setattr(demo, "measure", measured)
    plan = demo.Plan(
        training=30, validation=30, epochs=2, trainings=2, channels=4, measurements=12, scored=12, folder=str(tmp_path),
        devices=(Setting.parse("torch:1:1"), Setting.parse("torch:1:8")), held_out=Setting.parse("torch:1:4"),
    )  # fmt: skip
    found = demo.run(plan, workers=1)
    devices = {row["device"] for row in found.rows}
    assert devices == {"torch:1:1", "torch:1:8", "torch:1:4", "train", "unseen"}
    volumes = [row for row in found.rows if row["metric"] == "hypervolume"]
    assert all(0 <= row["mean"] <= 1 and row["seeds"] == 1 for row in volumes)
    paid = {row["method"]: row["samples"] for row in volumes if row["device"] == "train"}
    assert {method: paid[method] for method in ("supernet", "random", "pymoo:nsga2")} == dict.fromkeys(
        ("supernet", "random", "pymoo:nsga2"), 2
    )
    assert (paid["random, more"], paid["pymoo:nsga2, more"], paid["random, in all"]) == (3, 3, 6)
    assert found.in_all["random, in all"] == 6
    assert found.in_all["supernet"] <= 6
    more = {row["method"]: row["mean"] for row in volumes if row["device"] == "train"}
    assert all(np.isfinite(list(more.values())))
    assert found.predicted["torch:1:4"] > 0.99, "a blend of two additive devices is additive"
    again = demo.run(plan, workers=1)
    assert [row["mean"] for row in again.rows] == [row["mean"] for row in found.rows]
    assert [title for title, _ in demo.tables(found)]
    assert len(demo.notes(found)) == 7
    assert demo.draw(found, tmp_path) == "supernet-fronts.png"
    assert (tmp_path / "supernet-fronts.png").stat().st_size > 10_000
