"""MTL-fusion: the contract, counts, and what paths do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.oracles.counts import count_network
from nastk.spaces.mtl_fusion import MTLFusion
from nastk.testing import check_space

SPACE = MTLFusion()
THREE = MTLFusion((3, 2, 5), (4, 6, 6), reach=2)


def test_keeps_the_contract_of_spaces() -> None:
    check_space(THREE, n=24, input_size=9, in_channels=3)


def test_paths_end_where_they_begin_or_later_within_reach() -> None:
    assert SPACE.d == 2 * (4 + 3)
    assert THREE.d == 6 * (3 + 2 + 1)
    assert {c.name for c in MTLFusion((2, 2), (4, 4), 0).choices} == {"a1b1", "b1a1", "a2b2", "b2a2"}
    assert all(0 <= end - begin <= 1 for _, _, begin, _, end in SPACE.edges)


def test_text() -> None:
    assert SPACE.format(SPACE.parse("a1b2+b3a3")) == "a1b2+b3a3"
    assert SPACE.parse("none").sum() == 0
    for text in ("a1b3", "a1a2", "a1b2+a1b2", "a1b2+none", "a1b2 b3a3"):
        with pytest.raises(InvalidArchitecture):
            SPACE.parse(text)


def test_counts_are_those_of_the_networks() -> None:
    archs = THREE.sample(6, 0)
    told = THREE.statics(archs, input_size=9, in_channels=2)
    for i, arch in enumerate(archs):
        counted = count_network(THREE.build(arch, input_size=9, in_channels=2), (2, 9, 9))
        assert {name: told[name][i] for name in counted} == counted
    assert told["paths"].tolist() == archs.sum(axis=1).tolist()


def test_a_task_depends_on_the_other_backbone_by_open_paths_only() -> None:
    x = torch.randn(4, 1, 8, 8)
    for text, reads in (("none", False), ("b1a2", True), ("a1b2", False)):
        network = SPACE.build(SPACE.parse(text)).eval()
        before = network(x)
        with torch.no_grad():
            network.stages[1][0][0].weight.mul_(-1)
        after = network(x)
        assert torch.equal(before[0], after[0]) is not reads
        assert not torch.equal(before[1], after[1])


def test_the_supernet_computes_what_each_network_does() -> None:
    torch.manual_seed(0)
    supernet, x = THREE.supernet(input_size=9).eval(), torch.randn(2, 1, 9, 9)
    for arch in THREE.sample(3, 1):
        own = supernet.hand_over(THREE.build(arch, input_size=9)).eval()(x)
        hot = torch.as_tensor(THREE.one_hot(arch[None])[0]).float()
        for some in (supernet(x, arch), supernet(x, hot)):
            assert [tuple(y.shape) for y in some] == [(2, 3), (2, 2), (2, 5)]
            for a, b in zip(own, some, strict=True):
                torch.testing.assert_close(a, b)
    half = torch.full((2 * THREE.d,), 0.5, requires_grad=True)
    sum(y.sum() for y in supernet(x, half)).backward()
    assert (half.grad[1::2] != 0).all(), "each gate has a gradient"


def test_features_begin_mixed_as_in_the_paper() -> None:
    network = SPACE.build(np.ones(SPACE.d))
    torch.testing.assert_close(network.own[0][2].weight[..., 0, 0], 0.9 * torch.eye(16))
    torch.testing.assert_close(network.paths["a2b3"][-1].weight[:8, :, 0, 0], 0.1 * torch.eye(8))
    assert network.paths["a2b3"][-1].weight[8:].abs().max() == 0


@pytest.mark.parametrize("options", [{"outputs": (10,)}, {"widths": ()}, {"reach": -1}, {"outputs": (10, 0)}])
def test_spaces_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(InvalidValue):
        MTLFusion(**options)
