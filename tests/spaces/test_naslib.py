"""NASLib's search spaces through the adapter, on a stand-in with the same interface: NASLib is on no package index."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nastk
from nastk.cli import run
from nastk.errors import InvalidValue, MissingExtra, UnknownName, Unsupported
from nastk.testing import check_space

SPEC: dict[str, Any] = {}
"""The compact form that the last parsed stand-in had."""


class StandIn(nn.Module):
    """What the adapter uses of NASLib's graphs; it is a network only after set_spec and parse, as theirs are."""

    def __init__(self, n_classes: int = 10):
        super().__init__()
        self.n_classes, self.spec = n_classes, None

    def set_spec(self, spec: Any, dataset_api: Any = None) -> None:
        assert self.spec is None, "NASLib's graphs take one architecture only"
        self.spec = spec

    def get_hash(self) -> Any:
        return self.spec

    def parse(self) -> None:
        SPEC["last"] = self.spec
        width = 1 + int(np.sum(np.concatenate([np.ravel(part) for part in self.spec])))
        self.network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, width))
        self.head = nn.Linear(width, self.n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.network(x))


class NasBench201SearchSpace(StandIn):
    """Six integers of 0 to 4; the sampler leaves some out, the iterator does not."""

    def get_arch_iterator(self, dataset_api: Any = None) -> Any:
        return itertools.product(range(5), repeat=6)

    def sample_random_architecture(self, dataset_api: Any = None) -> None:
        self.set_spec(np.random.randint(1, 5, size=6).tolist())  # noqa: NPY002


class TransBench101SearchSpaceMicro(StandIn):
    """Six integers of 0 to 3."""

    def get_arch_iterator(self, dataset_api: Any = None) -> Any:
        return itertools.product(range(4), repeat=6)


class NasBench301SearchSpace(StandIn):
    """Two cells of nested pairs; the list of architectures is in its tables."""

    def get_arch_iterator(self, dataset_api: Any = None) -> Any:
        return dataset_api["nb301_arches"]

    def sample_random_architecture(self, dataset_api: Any = None) -> None:
        cells = [[(int(n), np.random.randint(7)) for n in np.random.choice(4, 2, replace=False)] for _ in "nr"]  # noqa: NPY002
        self.set_spec(tuple(map(tuple, cells)))


class TransBench101SearchSpaceMacro(StandIn):
    """Its architectures differ in length."""

    def sample_random_architecture(self, dataset_api: Any = None) -> None:
        self.set_spec(tuple(range(np.random.randint(4, 7))))  # noqa: NPY002


@pytest.fixture
def naslib(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in, imported as ``naslib.search_spaces``."""
    package, module = ModuleType("naslib"), ModuleType("naslib.search_spaces")
    for kind in StandIn.__subclasses__():
        setattr(module, kind.__name__, kind)
    package.search_spaces = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "naslib", package)
    monkeypatch.setitem(sys.modules, "naslib.search_spaces", module)
    return module


@pytest.mark.parametrize("kind", ["NasBench201SearchSpace", "TransBench101SearchSpaceMicro", "NasBench301SearchSpace"])
def test_keeps_the_contract_of_spaces(naslib: ModuleType, kind: str) -> None:
    check_space(nastk.space(f"naslib:{kind}"), n=24)


def test_rows_of_nasbench201_are_our_own(naslib: ModuleType) -> None:
    space, ours = nastk.space("naslib:NasBench201SearchSpace"), nastk.space("nasbench201")
    assert np.array_equal(space.enumerate(), ours.enumerate())
    assert np.array_equal(space.index([[1] * 6, [2] * 6]), ours.index([[1] * 6, [2] * 6]))
    assert len(set(space.keys(space.enumerate()))) == 6466


def test_nasbench201_goes_to_naslib_by_its_edges_and_operations(naslib: ModuleType) -> None:
    text = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    space = nastk.space("naslib:NasBench201SearchSpace", n_classes=100)
    network = space.build(space.parse(text))
    # edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3; operations skip, none, 3x3, 1x1, pooling
    assert SPEC["last"] == (1, 0, 2, 3, 4, 1)
    assert isinstance(network, NasBench201SearchSpace)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 100)


def test_an_enumerable_space_is_here_whole(naslib: ModuleType) -> None:
    space = nastk.space("naslib:TransBench101SearchSpaceMicro")
    assert space.size == 4**6
    space.build(space.as_archs([3, 2, 1, 0, 3, 3])[0])
    assert SPEC["last"] == (3, 2, 1, 0, 3, 3)


def test_a_space_that_is_not_enumerable_is_a_seeded_sample(naslib: ModuleType) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    space, same = (nastk.space("naslib:NasBench301SearchSpace", members=50) for _ in range(2))
    other = nastk.space("naslib:NasBench301SearchSpace", members=50, seed=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert space.size == 50
    assert space.format_all(space.enumerate()) == same.format_all(same.enumerate())
    assert space.format_all(space.enumerate()) != other.format_all(other.enumerate())
    arch = space.enumerate()[7]
    space.build(arch)
    flat = [v for cell in SPEC["last"] for pair in cell for v in pair]
    assert flat == [int(c.options[v]) for c, v in zip(space.choices, arch, strict=True)]


def test_architectures_of_several_forms_are_refused(naslib: ModuleType) -> None:
    with pytest.raises(Unsupported, match="not all have one shape"):
        nastk.space("naslib:TransBench101SearchSpaceMacro")


def test_an_unknown_search_space_proposes_the_nearest(naslib: ModuleType) -> None:
    with pytest.raises(UnknownName, match="NasBench201SearchSpace"):
        nastk.space("naslib:NasBench201")


def test_an_option_that_the_class_lacks_is_an_error_of_the_user(naslib: ModuleType) -> None:
    with pytest.raises(InvalidValue, match="colour"):
        nastk.space("naslib:TransBench101SearchSpaceMicro", colour="red")


def test_without_naslib_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "naslib", None)
    with pytest.raises(MissingExtra, match="pip install git"):
        nastk.space("naslib:NasBench201SearchSpace")
    assert run(["zcp", "--space", "naslib:NasBench201SearchSpace", "--random", "2"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_family_is_listed_without_importing_naslib(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "spaces"]) == 0
    assert "naslib:<SearchSpace>" in capsys.readouterr().out


def test_a_search_over_naslibs_graphs(naslib: ModuleType) -> None:
    space = nastk.space("naslib:NasBench201SearchSpace")
    width = nastk.FunctionOracle(space, lambda archs: archs.sum(axis=1), "width", direction="max")
    result = nastk.search(space, [width, nastk.oracles.counts.Params(space)], searcher="random", budget=6)
    assert len(result.front)
