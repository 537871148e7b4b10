"""A space that also chooses the precision of its networks."""

from __future__ import annotations

import numpy as np
import pytest

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._pool import Pool
from nastk.spaces.precisions import WithPrecision, in_precisions
from nastk.testing import check_space

SPACE = nastk.space("nasbench201")


@pytest.mark.parametrize("of", ["space", "pool"])
def test_it_keeps_the_contract_of_spaces(of: str):
    space = SPACE if of == "space" else Pool(SPACE, SPACE.sample(30, 0, unique=True))
    check_space(WithPrecision(space, ("fp32", "int8")))


def test_a_row_is_a_network_and_a_precision():
    space = WithPrecision(SPACE, ("fp32", "int8"))
    text = f"{SPACE.format([3] * 6)}@int8"
    row = space.parse(text)
    assert row.tolist() == [3] * 6 + [1]
    assert space.format(row) == text
    assert space.network_of(row[None]).tolist() == [[3] * 6]
    assert space.precision_of(row) == ["int8"]
    assert space.size == 2 * SPACE.size
    assert space.index(space.from_index([5, 31249])).tolist() == [5, 31249]


def test_precisions_of_one_network_are_different_and_equal_networks_are_equal():
    space = WithPrecision(SPACE, ("fp32", "int8"))
    equal = SPACE.sample(200, 0)
    a, b = space.keys(space.join(equal[:1], [0])), space.keys(space.join(equal[:1], [1]))
    assert a != b
    canonical = space.canonical(space.join(equal, 1))
    assert np.array_equal(canonical[:, :-1], SPACE.canonical(equal))


def test_moves_change_the_precision_too():
    space = WithPrecision(SPACE, ("fp32", "int8"))
    parents = space.sample(300, 0)
    children = space.mutate(parents, 1)
    turned = children[:, -1] != parents[:, -1]
    assert 0 < turned.sum() < 150
    assert ((children != parents).sum(axis=1) == 1).all()
    assert (space.neighbours(parents[0])[:, -1] != parents[0, -1]).sum() == 1


def test_identity_tells_precisions():
    one, other = (WithPrecision(SPACE, p).identity() for p in (("fp32", "int8"), ("fp32", "bf16")))
    assert one != other
    assert one != SPACE.identity()


def test_what_is_wrong_is_said():
    space = WithPrecision(SPACE, ("fp32", "int8"))
    with pytest.raises(InvalidArchitecture, match="does not end with its precision, @fp32 or @int8"):
        space.parse(SPACE.format([0] * 6))
    with pytest.raises(InvalidValue, match="two different ones; got fp32, fp32"):
        WithPrecision(SPACE, ("fp32", "fp32"))
    assert in_precisions(SPACE, "int8") is SPACE
    assert in_precisions(SPACE, "fp32, int8").choices[-1].options == ("fp32", "int8")
