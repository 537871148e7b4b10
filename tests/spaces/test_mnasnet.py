"""MnasNet: the contract, EfficientNet-B0 as a member, and counts and network against the benchmark's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.mnasnet import BLOCKS, MnasNet, layer
from nastk.testing import check_space

SPACE = MnasNet()
B0 = "e1_k3_l1_se|e6_k3_l2_se|e6_k5_l2_se|e6_k3_l3_se|e6_k5_l3_se|e6_k5_l4_se|e6_k3_l1_se"
"""EfficientNet-B0 (Tan & Le, ICML 2019, Table 1)."""


def test_a_pool_of_it_keeps_the_contract_of_spaces() -> None:
    check_space(nastk.Pool(SPACE, SPACE.sample(30, 1)), input_size=32, num_classes=10)


def test_has_the_papers_size() -> None:
    assert SPACE.size == (3 * 2 * 3 * 2) ** 6 * (3 * 2 * 4 * 2)
    assert [len(c) for c in SPACE.choices] == [3, 2, 3, 2] * 5 + [3, 2, 4, 2] + [3, 2, 3, 2]


def test_holds_efficientnet_b0_with_its_published_parameters() -> None:
    arch = SPACE.parse(B0)
    assert SPACE.format(arch) == B0
    assert SPACE.statics(arch[None])["params"] == 5_288_548
    with torch.device("meta"):
        network = SPACE.build(arch)
        assert count_network(network, SPACE.input_shape())["params"] == 5_288_548
        assert [len(block) for block in network.blocks] == [1, 2, 2, 3, 3, 4, 1]


@pytest.mark.parametrize("old_new", [("e1", "e3"), ("l4", "l5"), ("k5", "k7"), ("_se|", "|"), ("l1_se", "l4_se")])
def test_a_text_of_another_space_is_refused(old_new: tuple[str, str]) -> None:
    with pytest.raises(InvalidArchitecture) as refused:
        SPACE.parse(B0.replace(*old_new))
    assert "\n" not in str(refused.value)


def test_images_without_pixels_are_refused() -> None:
    for use in (SPACE.input_shape, lambda **o: SPACE.build(SPACE.parse(B0), **o)):
        with pytest.raises(InvalidValue, match="positive number of pixels"):
            use(input_size=0)


def test_layers_keep_their_names_whatever_other_blocks_choose() -> None:
    """A supernet shares what is called the same."""
    texts = (B0, B0.replace("l2", "l1"))
    deep, shallow = (SPACE.build(SPACE.parse(text), input_size=32).state_dict() for text in texts)
    assert set(shallow) < set(deep)
    assert all(shallow[name].shape == deep[name].shape for name in shallow)


def test_every_choice_makes_a_difference() -> None:
    archs = SPACE.sample(20, 0)
    assert SPACE.active(archs).all()


def _source_macs(arch: np.ndarray) -> int:
    """Multiply-adds as the benchmark counts them: four a normalised element, two an element that is pooled."""
    side, total = 112, 27 * 32 * 112**2 + 4 * 32 * 112**2
    for block, (e, k, layers, squeezed) in enumerate(arch.reshape(BLOCKS, 4).tolist()):
        for place in range(layers + 1):
            made = layer(block, place, (1, 4, 6)[e], (3, 5)[k], bool(squeezed))
            after = -(-side // made.stride)
            inside = made.c_inside
            if e:
                total += (made.c_in + 4) * inside * side**2
            total += (made.kernel**2 + 4) * inside * after**2 + (inside + 4) * made.c_out * after**2
            if squeezed:
                total += 2 * inside * made.c_squeezed + inside * (after**2 + 1)
            side = after
    return total + (320 + 4) * 1280 * side**2 + 1280 * (side**2 + 1) + 1280 * 1000


@pytest.mark.data
def test_counts_are_the_tables_for_every_network(fetched: Callable[..., Path]) -> None:
    table = nastk.benchmark("mnasnet", home=fetched("accel-nasbench"))
    archs = table.space.enumerate()
    assert archs.shape == (5125, 28)
    assert np.array_equal(SPACE.statics(archs)["params"], table.values("params"))
    counted = np.array([_source_macs(arch) for arch in archs])
    np.testing.assert_allclose(counted, table.values("macs"), rtol=1e-7)


@pytest.mark.data
def test_built_networks_have_the_tables_parameters(fetched: Callable[..., Path]) -> None:
    table = nastk.benchmark("mnasnet", home=fetched("accel-nasbench"))
    archs = table.space.enumerate()
    rows = np.random.default_rng(0).choice(len(archs), 40, replace=False)
    for arch, expected in zip(archs[rows], table.values("params")[rows], strict=True):
        with torch.device("meta"):
            network = SPACE.build(arch)
        assert sum(p.numel() for p in network.parameters()) == expected
