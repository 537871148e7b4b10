"""What spaces inherit, and that the conformance kit sees what is broken."""

import numpy as np
import pytest

import nastk
from nastk.errors import InvalidArchitecture, InvalidValue, Unsupported
from nastk.registry import SPACES
from nastk.testing import check_space


class Small(nastk.SearchSpace):
    """Two to four layers of one of three widths, whose second half must not be wider; no network."""

    name = "small"
    choices = (
        nastk.Choice("depth", ("2", "3", "4")),
        nastk.Choice("first", ("8", "16", "32")),
        nastk.Choice("second", ("8", "16", "32")),
    )

    @property
    def size(self):
        return 18

    def is_valid(self, archs):
        return archs[:, 2] <= archs[:, 1]

    def index(self, archs):
        places = {row.tobytes(): i for i, row in enumerate(self.enumerate())}
        return np.array([places[row.tobytes()] for row in np.ascontiguousarray(archs)])

    def build(self, arch, **options):
        raise Unsupported("small has no networks")


@pytest.mark.parametrize("name", [n for n, e in SPACES.entries.items() if not e.family])
def test_every_registered_space_keeps_the_contract(name: str):
    check_space(nastk.space(name), n=24)


def test_a_space_with_invalid_rows_keeps_the_contract():
    check_space(Small())


def test_a_pool_of_one_keeps_the_contract():
    check_space(nastk.Pool(Small(), [[0, 1, 1]]), n=4)


def test_options_named_by_digits_are_read_as_they_are_written():
    assert Small().parse("2_16_8").tolist() == [0, 1, 0]
    assert Small().parse("2,1,1").tolist() == [2, 1, 1]
    assert Small().parse("2_1_1").tolist() == [2, 1, 1]


def test_drawing_is_uniform_over_the_valid_rows():
    counts = np.bincount(Small().index(Small().sample(18_000, 0)), minlength=18)
    assert abs(counts - 1000).max() < 150


def test_a_row_that_is_not_valid_is_refused_by_its_text():
    with pytest.raises(InvalidArchitecture, match="4_8_32"):
        Small().as_archs([2, 0, 2])


def test_a_pool_refuses_what_it_does_not_hold():
    pool = nastk.Pool(Small(), Small().sample(5, 0))
    assert pool.size == len(np.unique(Small().sample(5, 0), axis=0))
    outside = next(a for a in Small().enumerate() if not pool.is_valid(a[None])[0])
    with pytest.raises(InvalidArchitecture):
        pool.as_archs(outside)


def test_an_empty_pool_is_refused():
    with pytest.raises(InvalidValue, match="at least one"):
        nastk.Pool(Small(), [])


# ---- the kit on broken spaces


class MutantsLeave(Small):
    def mutate(self, archs, seed=None, n_changes=1):
        children = super().mutate(archs, seed, n_changes)
        children[:, 1:] = [0, 2]
        return children


class MutantsStay(Small):
    def mutate(self, archs, seed=None, n_changes=1):
        return archs.copy()


class ParentsChange(Small):
    def mutate(self, archs, seed=None, n_changes=1):
        archs[:] = super().mutate(archs, seed, n_changes)
        return archs


class CanonicalWanders(Small):
    def canonical(self, archs):
        return np.stack([(archs[:, 0] + 1) % 3, archs[:, 1], archs[:, 2]], axis=1)


class CanonicalLooksAround(Small):
    def canonical(self, archs):
        return np.repeat(archs[:1], len(archs), axis=0)


class KeysForget(Small):
    def keys(self, archs):
        return [0] * len(archs)


class TextLoses(Small):
    def format(self, arch):
        return "_".join(["2", *super().format(arch).split("_")[1:]])


class ParsesAnything(Small):
    def parse(self, text):
        try:
            return super().parse(text)
        except InvalidArchitecture:
            return np.zeros(3, dtype=np.int64)


class ErrorsRamble(Small):
    def parse(self, text):
        try:
            return super().parse(text)
        except InvalidArchitecture as error:
            raise InvalidArchitecture(f"{error}\nand more") from None


class IsItsOwnNeighbour(Small):
    def neighbours(self, arch):
        return np.concatenate([super().neighbours(arch), np.asarray(arch)[None]])


class NeighboursTwice(Small):
    def neighbours(self, arch):
        return np.tile(super().neighbours(arch), (2, 1))


class DrawsAtWill(Small):
    def _sample(self, n, rng):
        return super()._sample(n, np.random.default_rng())


class DrawsTheSame(nastk.SearchSpace):
    name = "same"
    choices = tuple(nastk.Choice(f"c{i}", ("a", "b", "c", "d")) for i in range(5))
    build = Small.build

    def sample(self, n, seed=None, unique=False):
        return super().sample(n, 0, unique)


class DrawsInvalid(Small):
    def _sample(self, n, rng):
        return rng.integers(0, 3, (n, 3))


class Miscounts(Small):
    @property
    def size(self):
        return 27


class IndexIsOff(Small):
    def index(self, archs):
        return super().index(archs)[::-1]


class SizeIsFloat(Small):
    @property
    def size(self):
        return 18.0


class StaticsLookAround(Small):
    def statics(self, archs, **options):
        return {"params": np.arange(len(archs), dtype=float)}


class WrongCounts(Small):
    def statics(self, archs, **options):
        return {"params": np.full(len(archs), 7.0)}

    def build(self, arch, **options):
        import torch

        return torch.nn.Linear(3, 3)

    def input_shape(self, **options):
        return (3,)


class GraphTurns(Small):
    def graph(self, arch):
        graph = super().graph(arch)
        graph.add_edge("output", "input")
        return graph


class GraphWithoutLabels(Small):
    def graph(self, arch):
        graph = super().graph(arch)
        graph.add_node("bare")
        return graph


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (MutantsLeave, "mutate left the space"),
        (MutantsStay, "unchanged"),
        (ParentsChange, "mutate changes its argument"),
        (CanonicalWanders, "not idempotent"),
        (CanonicalLooksAround, "depends on its neighbours"),
        (KeysForget, "keys must be equal exactly"),
        (TextLoses, "round-trip"),
        (ParsesAnything, "must raise InvalidArchitecture"),
        (ErrorsRamble, "several lines"),
        (IsItsOwnNeighbour, "include the architecture itself"),
        (NeighboursTwice, "neighbours repeat"),
        (DrawsAtWill, "sample is not deterministic"),
        (DrawsTheSame, "does not advance the generator"),
        (DrawsInvalid, "sample left the space"),
        (Miscounts, "size is 27, but enumerate lists 18"),
        (IndexIsOff, "index is not the inverse"),
        (SizeIsFloat, "Python integer"),
        (StaticsLookAround, "statics 'params' of a row depends"),
        (WrongCounts, "statics says 7 params, the built network has 12"),
        (GraphTurns, "cycle"),
        (GraphWithoutLabels, "no op label"),
    ],
)
def test_the_kit_finds_what_is_broken(broken: type[nastk.SearchSpace], message: str):
    with pytest.raises(AssertionError, match=message):
        check_space(broken())
