"""Edge-TPU bottlenecks: the contract, published networks as members, groups, counts and what a supernet shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.edgetpu import KINDS, EdgeTPU
from nastk.supernets._sharing import SharedWeights

SPACE = EdgeTPU()
SMALL = {"input_size": 32, "num_classes": 10}
S = (
    "f64|f24|f48:fused_k3_e8,gc64_k3_e4|f64:fused_k3_e8,gc64_k3_e4,fused_k3_e4,gc64_k3_e4"
    "|f128:fused_k3_e8,dw_k3_e4,dw_k3_e4,dw_k3_e4|f160:dw_k3_e8,dw_k3_e4,dw_k3_e4,dw_k3_e4"
    "|f192:dw_k5_e8,dw_k5_e4,dw_k5_e4,dw_k5_e4|f256:dw_k5_e8"
)
"""MobileNetEdgeTPUv2 S, as published in TensorFlow's model garden."""
TINY = "f32|f16|f32:gc32_k3_e4|f48:dw_k3_e8|f80:fused_k3_e2,grouped64_k5_e2|f112:dw_k3_e2|f160:dw_k5_e8|f192:dw_k5_e8"


def test_size_is_that_of_its_choices() -> None:
    assert SPACE.size == 2 * 3**7 * (2 * 4**4) * (len(KINDS) * 2 * 3) ** 19
    assert len(KINDS) == 8


@pytest.mark.parametrize("text", [S, TINY])
def test_text_names_the_layers_that_exist(text: str) -> None:
    arch = SPACE.parse(text)
    assert SPACE.format(arch) == text
    assert np.array_equal(SPACE.canonical(arch[None])[0], arch)


def test_any_row_has_a_text_of_its_own() -> None:
    rows = np.random.default_rng(0).integers(0, SPACE.sizes, (20, SPACE.d))
    assert np.array_equal([SPACE.parse(SPACE.format(row)) for row in rows], rows)
    assert "f32n1:" in SPACE.format(SPACE.parse(TINY) + np.eye(SPACE.d, dtype=np.int64)[14])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("f64|f24", "f64"), ("f24", "f20"), ("gc64", "gc16"), ("_e4,", ","), ("f24", "f24:dw_k3_e4"),
        ("|f256:dw_k5_e8", "|f256:dw_k5_e8,dw_k5_e8"), ("f48:", "f48n3:"), ("f48:", "f48n0:"), ("f48:", "f48"),
    ],
)  # fmt: skip
def test_a_text_of_another_space_is_refused_in_one_line(old: str, new: str) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.parse(S.replace(old, new, 1))
    assert "\n" not in str(refused.value)


def test_images_without_pixels_are_refused() -> None:
    for use in (SPACE.input_shape, lambda **o: SPACE.build(SPACE.parse(S), **o)):
        with pytest.raises(InvalidValue, match="positive number of pixels"):
            use(input_size=0)


def test_groups_leave_each_its_size_and_equal_networks_have_one_row() -> None:
    with torch.device("meta"):
        network = SPACE.build(SPACE.parse(S))
    convolutions = [layer.convolution[0] for stage in network.stages for layer in stage]
    assert [c.groups for c in convolutions[:6]] == [1, 3, 1, 4, 1, 4]
    assert [c.out_channels // c.groups for c in convolutions[:6]] == [192, 64, 384, 64, 256, 64]
    assert all(c.groups == c.in_channels == c.out_channels for c in convolutions[7:])
    # 16 channels, 32 inside: one group whatever its size, and then it is fused
    wide = SPACE.parse(TINY.replace("gc32_k3_e4", "gc64_k3_e2"))[None]
    assert SPACE.format(SPACE.canonical(wide)[0]) == TINY.replace("gc32_k3_e4", "fused_k3_e2")
    for arch in SPACE.sample(200, 0):
        s = SPACE.settings(arch)
        assert (s.c_in % s.groups == 0)[(s.kinds > 0) & s.existing].all()


def test_counts_are_those_of_the_built_networks_also_where_a_row_is_not_canonical() -> None:
    rows = np.random.default_rng(1).integers(0, SPACE.sizes, (2, SPACE.d))
    statics = SPACE.statics(rows, **SMALL)
    assert np.array_equal(statics["params"], SPACE.statics(SPACE.canonical(rows), **SMALL)["params"])
    for i, row in enumerate(rows):
        with torch.device("meta"):
            counted = count_network(SPACE.build(row, **SMALL), SPACE.input_shape(**SMALL))
        assert counted == {name: statics[name][i] for name in counted}


def test_a_narrow_network_has_the_first_groups_of_a_wide_one() -> None:
    shared = SharedWeights(SPACE, **SMALL)
    wide, narrow = (SPACE.parse(TINY.replace("f48:dw_k3_e8", f"f{f}:dw_k3_e8,gc64_k3_e4")) for f in (80, 48))
    for arch in (wide, narrow):
        shared.network(arch)
    name = "stages.1.1.convolution.0.weight"
    many, few = shared.own_weights(wide)[name], shared.own_weights(narrow)[name]
    assert (len(many), len(few)) == (5 * 64, 3 * 64)
    assert torch.equal(few, many[: 3 * 64])
    sampled = SPACE.sample(3, 0)
    with torch.no_grad():
        assert all(torch.isfinite(shared(torch.zeros(2, 3, 32, 32), arch)).all() for arch in sampled)
    assert "Conv2d of groups of" in shared.unshared_summary
    assert isinstance(shared.materialise(sampled[0]), nn.Module)


def test_children_are_networks_of_their_own() -> None:
    archs = SPACE.sample(50, 3)
    for child, parent in zip(SPACE.mutate(archs, 0), archs, strict=True):
        assert SPACE.keys(child[None]) != SPACE.keys(parent[None])
    around = SPACE.neighbours(archs[0])
    assert len(set(SPACE.keys(around))) == len(around)
