"""Counting: the contract, counts, and density maps."""

from __future__ import annotations

import pytest
import torch

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.counting import Counting
from nastk.testing import check_space

SPACE = Counting()
TEXT = "conv3+conv1+conv3+conv3_d2|conv3+conv1+conv5|e1d1+e2d1"


def test_keeps_the_contract_of_spaces() -> None:
    check_space(SPACE, n=24, input_size=16, in_channels=3)


def test_size_and_text() -> None:
    assert SPACE.size == 3**7 * 2**3
    assert SPACE.format(SPACE.parse(TEXT)) == TEXT
    assert SPACE.format(SPACE.usual) == "conv3+conv3+conv3+conv3|conv3+conv3+conv3|e1d1+e2d2"
    for old, new in (("conv5", "conv7"), ("|e1d1+e2d1", ""), ("e2d1", "e1d1"), ("conv3_d2|", "conv3_d2+")):
        with pytest.raises(InvalidArchitecture):
            SPACE.parse(TEXT.replace(old, new))


def test_counts_are_those_of_the_networks() -> None:
    archs = SPACE.sample(8, 0)
    told = SPACE.statics(archs, input_size=24, in_channels=3)
    for i, arch in enumerate(archs):
        counted = count_network(SPACE.build(arch, input_size=24, in_channels=3), (3, 24, 24))
        assert {name: told[name][i] for name in counted} == counted


def test_maps_have_half_the_side() -> None:
    assert SPACE.build(SPACE.usual, input_size=24)(torch.zeros(2, 1, 24, 24)).shape == (2, 1, 12, 12)
    with pytest.raises(InvalidValue, match="multiple of 8"):
        SPACE.build(SPACE.usual, input_size=20)


def test_a_path_that_is_off_carries_nothing() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 16, 16)
    without = SPACE.build(SPACE.parse(TEXT.replace("e1d1+e2d1", "none")), input_size=16).eval()
    with_path = SPACE.build(SPACE.parse(TEXT.replace("e1d1+e2d1", "e1d1")), input_size=16).eval()
    left = with_path.load_state_dict(without.state_dict(), strict=False)
    assert all(name.startswith("skips.e1d1") for name in left.missing_keys)
    assert not left.unexpected_keys
    assert not torch.equal(without(x), with_path(x))
