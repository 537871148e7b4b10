"""Weights that all networks of a space share."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from elastic import Elastic, Staged, same
from torch import nn

import nastk
from nastk.spaces._networks import recalibrate
from nastk.supernets._sharing import SharedWeights, kind_of, slices

SPACE = nastk.space_of(Elastic)


def arch(**choices: int) -> np.ndarray:
    """The largest architecture but for these choices, by their names with ``_`` for what is no letter or digit."""
    row = np.array([c.options.index(max(c.options, key=int)) for c in SPACE.choices])
    names = [c.name.replace(" ", "_").replace(".", "_") for c in SPACE.choices]
    for name, option in choices.items():
        row[names.index(name)] = option
    return row


def test_kernels_are_the_centre_and_channels_the_first_ones() -> None:
    assert slices((8, 6, 5, 5), (4, 3, 3, 1), kernel=True) == (slice(0, 4), slice(0, 3), slice(1, 4), slice(2, 3))
    assert slices((8, 6), (4, 3), kernel=False) == (slice(0, 4), slice(0, 3))
    shared = SharedWeights(SPACE)
    large, small = shared.own_weights(arch()), shared.own_weights(arch(kernel_0_0=0, width_0=0))
    assert same(small["body.0.weight"], shared.own_weights(arch())["body.0.weight"][:4, :, 1:2, 1:2])
    assert small["body.0.weight"].data_ptr() != 0
    assert large["body.0.weight"].shape == (8, 1, 3, 3)


def test_layers_that_a_depth_moves_in_a_list_keep_their_weights() -> None:
    shared = SharedWeights(SPACE)
    deep, shallow = shared.own_weights(arch()), shared.own_weights(arch(depth_0=0))
    assert same(deep["body.0.weight"], shallow["body.0.weight"])
    # the first layer of the second stage is the third of the deep network, and the second of the shallow one
    assert same(deep["body.6.weight"], shallow["body.3.weight"])
    assert same(deep["head.weight"], shallow["head.weight"])


def test_alternatives_and_widths_of_normalisation_have_weights_of_their_own() -> None:
    assert kind_of(nn.Conv2d(8, 8, 3, groups=8)) != kind_of(nn.Conv2d(8, 8, 3))
    assert kind_of(nn.BatchNorm2d(8)) != kind_of(nn.BatchNorm2d(4))
    assert kind_of(nn.Linear(8, 2), positions=4) != kind_of(nn.Linear(8, 2))
    assert kind_of(nn.Linear(8, 2)) == kind_of(nn.Linear(16, 2))
    assert kind_of(nn.MultiheadAttention(8, 2)) != kind_of(nn.MultiheadAttention(16, 2)), "not slices of one another"
    shared = SharedWeights(nastk.space_of(Staged))
    for row in nastk.space_of(Staged).enumerate()[:20]:
        shared.network(row)
    assert any("op 0.1" in name for name in shared.unshared)
    assert shared.unshared_summary.startswith("alternatives have their own weights in op 0.1 (")


def convolution(kernel: int, channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, kernel, padding="same"), nn.BatchNorm2d(channels))


class Operations(nn.Module):
    """An operation to choose, and a kernel."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        operation, other = (nastk.choice(n, {str(k): partial(convolution, k) for k in (3, 5)}) for n in ("op", "other"))
        kernel = nastk.choice("kernel", [3, 5])
        self.stem = nn.Conv2d(1, 4, kernel, padding="same")
        self.layers = nn.Sequential(operation(4), other(4))
        self.head = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.layers(self.stem(x)).mean((2, 3)))
        return found


def test_operations_that_are_alternatives_share_no_kernel_and_elastic_kernels_do() -> None:
    shared = SharedWeights(nastk.space_of(Operations))
    (small, large), other = (shared.parameters_of(np.array([op, 0, 1])) for op in (0, 1)), np.array([0, 1, 0])
    kernel, norm = "layers.0.0.weight", "layers.0.1.weight"
    assert small[kernel].shape[-1] == 3
    assert large[kernel].shape[-1] == 5
    assert shared.parameters_of(other)[kernel].shape[-1] == 3, "made by the same function as the choice after it"
    assert shared.parameters_of(other)["layers.1.0.weight"].shape[-1] == 5
    assert small[kernel] is not large[kernel]
    assert small[norm] is not large[norm]
    assert small["stem.weight"] is large["stem.weight"] is shared.parameters_of(other)["stem.weight"]
    assert small["head.weight"] is large["head.weight"]


def test_weights_grow_with_the_first_network_that_needs_more_and_keep_what_they_were() -> None:
    shared = SharedWeights(SPACE)
    small = arch(kernel_0_0=0, width_0=0)
    before = shared.own_weights(small)["body.0.weight"].detach().clone()
    told: list[bool] = []
    shared.grown = lambda parameter, new: told.append(new)
    shared.network(arch())
    assert same(shared.own_weights(small)["body.0.weight"], before)
    assert True in told
    assert False in told


def test_a_network_of_its_own_answers_as_the_shared_weights_do() -> None:
    shared = SharedWeights(SPACE)
    x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for row in SPACE.sample(4, 0):
        shared.network(row).train()
        network = shared.materialise(row).train()
        assert torch.allclose(shared(x, row), network(x), atol=1e-6)


def test_gradients_reach_the_slice_alone() -> None:
    shared = SharedWeights(SPACE)
    shared.network(arch())
    shared(torch.randn(4, 1, 8, 8), arch(kernel_0_0=0, width_0=0)).sum().backward()
    first = shared.parameters_of(arch())["body.0.weight"].grad
    assert first is not None
    outside = first.clone()
    outside[:4, :, 1:2, 1:2] = 0
    assert not outside.any()


def test_kernel_transforms_begin_as_the_centre_and_are_learned() -> None:
    plain, transformed = SharedWeights(SPACE), SharedWeights(SPACE, kernel_transforms=True)
    small = arch(kernel_0_1=0)
    for shared in (plain, transformed):
        shared.network(arch())
        shared.network(small)
    assert len(transformed.weights) == len(plain.weights) + 1, "one place and one smaller size"
    x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for row in (arch(), small):
        assert torch.allclose(plain(x, row), transformed(x, row), atol=1e-6)
    transformed(x, small).square().sum().backward()
    matrix = next(w for w in transformed.weights if w.shape == (1, 1))
    assert matrix.grad is not None
    assert matrix.grad.abs().sum() > 0
    with torch.no_grad():
        matrix.mul_(2.0)
    assert same(transformed.own_weights(small)["body.3.weight"], 2 * plain.own_weights(small)["body.3.weight"])
    assert same(transformed.own_weights(arch())["body.3.weight"], plain.own_weights(arch())["body.3.weight"])


def test_mobilenetv3_shares_layers_by_stage_whatever_the_depths_before_them() -> None:
    space = nastk.space("mobilenetv3")
    options = {"num_classes": 10, "width": 0.15, "input_size": 16, "in_channels": 1}
    shared = SharedWeights(space, **options)
    rows = {depth: np.array([depth] * 5 + [2] * 40 + [0]) for depth in (0, 2)}
    for row in rows.values():
        shared.network(row)
    deep, shallow = (dict(shared.own_weights(rows[depth])) for depth in (2, 0))
    # the first block, then 4 layers of stage 1 or 2; after all of them the last convolution
    assert same(deep["9.body.0.weight"], shallow["7.body.0.weight"])
    assert same(deep["25.weight"], shallow["15.weight"])
    assert shared.unshared == []
    assert shared.unshared_summary == "all weights of one name are shared"


def test_recalibration_is_the_mean_over_the_batches() -> None:
    norm = nn.BatchNorm2d(3, momentum=0.1)
    norm.running_mean.fill_(99.0)  # type: ignore[union-attr]
    batches = [torch.randn(8, 3, 4, 4) + 2.0, torch.randn(8, 3, 4, 4) - 1.0]
    recalibrate(nn.Sequential(norm), batches)
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in batches]).mean(dim=0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-6)  # type: ignore[arg-type]
    assert norm.momentum == 0.1
    assert not norm.training
