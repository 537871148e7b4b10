"""The supernet and the search that trains it in turns with a hypernetwork."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import nastk
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.generators.supernet import SupernetGenerator, Target
from nastk.spaces.nasbench201 import CONV1, CONV3, NONE, POOL, SKIP

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
@pytest.mark.parametrize("method", ["reinmax", "score", "softmax"])
def test_each_step_moves_its_own_network_alone(method, combination):
    search = generator(method=method, combination=combination)
    search.begin(DEVICES)
    search.normalise_errors(images())
    weights, phi = copies(search.supernet_), copies(search.hypernetwork_)
    search.hypernetwork_step(images())
    assert not any(changed(search.supernet_, weights))
    assert all(changed(search.hypernetwork_, phi))
    assert all(parameter.requires_grad for parameter in search.supernet_.parameters())
    phi = copies(search.hypernetwork_)
    search.weight_step(images(seed=1))
    assert not any(changed(search.hypernetwork_, phi))
    assert any(changed(search.supernet_, weights))


def test_a_single_path_trains_what_is_on_it_alone():
    search = generator(decay=0.0)
    search.begin(DEVICES[:1])
    search.discretiser.relaxes = False
    with torch.no_grad():
        search.hypernetwork_.tables.copy_((one_hot(np.full(6, CONV1)) * 100).expand_as(search.hypernetwork_.tables))
    edge = search.supernet_.features[2].edges[3]
    before, norm = edge.kernel.weight.detach().clone(), edge.norm3.weight.detach().clone()
    search.weight_step(images())
    moved = (edge.kernel.weight != before).any(0).any(0)
    assert moved.tolist() == [[False, False, False], [False, True, False], [False, False, False]]
    assert torch.equal(edge.norm3.weight, norm)


def test_a_short_search_learns_the_images_and_what_each_device_is_slow_at():
    train, valid = images(48), images(48, seed=1)
    search = generator(epochs=40, hypernetwork_rate=0.1, hypernetwork_options={"anchors": 11})
    search.fit(train, valid, DEVICES)
    assert len(search.epochs_) == 40
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
        ({"method": "exact"}, Unsupported, "whole space"),
        ({"combination": "median"}, UnknownName, "'mean' or 'mgda'"),
        ({"method": "reinmix"}, UnknownName, "reinmax"),
    ):
        with pytest.raises(error, match=text):
            generator(**options)
    with pytest.raises(InvalidValue, match="at least one device"):
        generator().fit(images(), images(), [])
    with pytest.raises(InvalidValue, match="a label each"):
        generator().fit((torch.zeros(1, 1, 8, 8), torch.zeros(1)), images(), DEVICES)
    search = generator()
    search.begin(DEVICES)
    with pytest.raises(InvalidValue, match="two weights"):
        search.propose(DEVICES[0].embedding, np.array([[0.5, -0.5]]))
    with pytest.raises(InvalidValue, match="embedding"):
        search.propose(np.zeros(4), np.array([[0.5, 0.5]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_it_trains_on_cuda():
    search = generator(device="cuda").fit(images(), images(seed=1), DEVICES)
    assert np.isfinite(search.epochs_[-1].validation)
    assert search.propose(DEVICES[0].embedding, np.array([[0.5, 0.5]])).shape == (1, 6)
