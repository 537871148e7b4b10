"""A search space whose architectures also choose the number format that their network runs in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces.base import Archs, Choice, Graphs, SearchSpace, Seed

if TYPE_CHECKING:
    import networkx as nx
    import torch

MARK = "@"
"""Before the precision in a text form: ``<architecture>@int8``."""


PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""Number formats that a network can be run in; int8 is static post-training quantisation of weights and activations."""


def read_precisions(text: str) -> str:
    """A precision, or several with commas between, without blanks and in the order of :data:`PRECISIONS`.

    Raises:
        InvalidValue: an unknown one, or one twice.
    """
    found = [part.strip() for part in text.split(",")]
    for name in found:
        if name not in PRECISIONS:
            raise InvalidValue(f"precision {text!r}: {name!r} is none of {', '.join(PRECISIONS)}")
    if len(set(found)) < len(found):
        raise InvalidValue(f"precision {text!r} names one twice")
    return ",".join(name for name in PRECISIONS if name in found)


def in_precisions(space: SearchSpace, precisions: str) -> SearchSpace:
    """The space with a choice of these precisions, such as "fp32,int8"; the space itself where it is only one."""
    if "," not in precisions or isinstance(space.whole, WithPrecision):
        return space
    return WithPrecision(space, read_precisions(precisions).split(","))


class WithPrecision(SearchSpace):
    """A space with one more choice: the precision that a network is run in.

    Its networks are those of the space, in float32; what measures them (`nastk.oracles.Latency`) runs them in the
    precision of their row, and what does not depend on it (`nastk.oracles.OfNetwork`) leaves the choice out.

    Args:
        space: of the networks.
        precisions: of which a row chooses one, such as ``("fp32", "int8")``.

    Raises:
        InvalidValue: fewer than two precisions, one twice or unknown, or a space that chooses one already.
    """

    def __init__(self, space: SearchSpace, precisions: Sequence[str]):
        names = [precisions] if isinstance(precisions, str) else list(precisions)
        if len(names) < 2 or len(set(names)) < len(names):
            raise InvalidValue(f"a choice of precision needs two different ones; got {', '.join(names) or 'none'}")
        if unknown := [name for name in names if name not in PRECISIONS]:
            raise InvalidValue(f"precision {unknown[0]!r} is none of {', '.join(PRECISIONS)}")
        if isinstance(space.whole, WithPrecision):
            raise InvalidValue(f"{space.name} chooses its precision already")
        self.networks, self.precisions = space, tuple(precisions)
        self.name = f"{space.name} in {' or '.join(precisions)}"
        self.choices = (*space.choices, Choice("precision", self.precisions, "precision"))
        self.forms_differ = space.forms_differ
        self.datasets = space.datasets  # type: ignore[misc]  # of this space

    def network_of(self, archs: Archs) -> Archs:
        """Rows of the networks in their own space, ``(n, d - 1)``."""
        return np.ascontiguousarray(np.asarray(archs)[..., :-1])

    def precision_of(self, archs: Archs) -> list[str]:
        """Precision of each row of ``(n, d)``."""
        return [self.precisions[int(row[-1])] for row in np.atleast_2d(archs)]

    def join(self, networks: Archs, precision: Any) -> Archs:
        """Rows of this space, from those of networks ``(n, d - 1)`` and numbers of precisions, ``(n,)`` or one."""
        column = np.broadcast_to(np.asarray(precision, dtype=np.int64), len(networks))
        return np.column_stack([networks, column])

    def in_each(self, networks: Archs) -> Archs:
        """Rows of networks ``(n, d - 1)`` in every precision, those of one network side by side."""
        count = len(self.precisions)
        return self.join(np.repeat(networks, count, axis=0), np.tile(np.arange(count), len(networks)))

    def _through(self, archs: Archs, change: Any) -> Archs:
        """The rows with their networks' part changed."""
        archs = np.atleast_2d(archs)
        return self.join(change(self.network_of(archs)), archs[:, -1])

    # ---- what it is

    @property
    def whole(self) -> SearchSpace:
        return self if self.networks.whole is self.networks else WithPrecision(self.networks.whole, self.precisions)

    def identity(self) -> dict[str, Any]:
        return {**self.networks.identity(), "precisions": list(self.precisions)}

    def source_code(self) -> Any:
        return self.networks.source_code()

    @property
    def size(self) -> int:
        return self.networks.size * len(self.precisions)

    @property
    def enumerable(self) -> bool:
        return self.networks.enumerable

    def enumerate(self) -> Archs:
        return self.in_each(self.networks.enumerate())

    def index(self, archs: Archs) -> NDArray[np.int64]:
        return self.networks.index(self.network_of(archs)) * len(self.precisions) + np.asarray(archs)[:, -1]

    def is_valid(self, archs: Archs) -> NDArray[np.bool_]:
        return self.networks.is_valid(self.network_of(archs))

    def canonical(self, archs: Archs) -> Archs:
        return self._through(archs, self.networks.canonical)

    def active(self, archs: Archs) -> NDArray[np.bool_]:
        of_network = self.networks.active(self.network_of(archs))
        return np.concatenate([of_network, np.ones((len(of_network), 1), dtype=bool)], axis=1)

    def compiled(self, archs: Archs) -> Archs:
        return self._through(archs, self.networks.compiled)

    def merged(self, archs: Archs) -> Archs:
        return self._through(archs, self.networks.merged)

    def connected(self, archs: Archs) -> NDArray[np.bool_]:
        return self.networks.connected(self.network_of(archs))

    def keys(self, archs: Archs) -> list[Hashable]:
        return list(zip(self.networks.keys(self.network_of(archs)), np.asarray(archs)[:, -1].tolist(), strict=True))

    def format(self, arch: Archs) -> str:
        arch = np.asarray(arch).ravel()
        return f"{self.networks.format(arch[:-1])}{MARK}{self.precisions[int(arch[-1])]}"

    def parse(self, text: str) -> Archs:
        network, mark, precision = text.strip().rpartition(MARK)
        row = None if mark else self._parse_integers(text)
        if row is None:
            if precision not in self.precisions or not mark:
                known = " or ".join(MARK + p for p in self.precisions)
                raise InvalidArchitecture(f"{self.name}: {text!r} does not end with its precision, {known}")
            row = np.append(self.networks.parse(network), self.precisions.index(precision))
        return self.as_archs(row)[0]

    # ---- moves

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        return self.join(self.networks._sample(n, rng), rng.integers(len(self.precisions), size=n))

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """As of the networks' space, or now and then of the precision alone."""
        rng = np.random.default_rng(seed)
        parents = np.atleast_2d(archs)
        children = self.join(self.networks.mutate(self.network_of(parents), rng, n_changes), parents[:, -1])
        turned = rng.random(len(parents)) < n_changes / self.d
        children[turned] = parents[turned]
        shift = rng.integers(1, len(self.precisions), int(turned.sum()))
        children[turned, -1] = (children[turned, -1] + shift) % len(self.precisions)
        return children

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        rng = np.random.default_rng(seed)
        networks = self.networks.crossover(self.network_of(a), self.network_of(b), rng)
        either = rng.random(len(networks)) < 0.5
        return self.join(networks, np.where(either, np.asarray(a)[:, -1], np.asarray(b)[:, -1]))

    def neighbours(self, arch: Archs) -> Archs:
        arch = np.asarray(arch).ravel()
        others = [p for p in range(len(self.precisions)) if p != arch[-1]]
        near = self.join(self.networks.neighbours(arch[:-1]), arch[-1])
        return np.concatenate([near, self.join(np.repeat(arch[None, :-1], len(others), axis=0), others)])

    # ---- the networks

    def statics(self, archs: Archs, **options: Any) -> dict[str, NDArray[np.float64]]:
        return self.networks.statics(self.network_of(archs), **options)

    def graph(self, arch: Archs) -> nx.DiGraph:
        """The network's graph, whatever the precision."""
        return self.networks.graph(np.asarray(arch).ravel()[:-1])

    def graphs(self, archs: Archs) -> Graphs:
        """The networks' graphs, whatever the precision."""
        return self.networks.graphs(self.network_of(archs))

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        """The network in float32; what runs it converts it."""
        return self.networks.build(np.asarray(arch).ravel()[:-1], **options)

    @property
    def has_networks(self) -> bool:
        return self.networks.has_networks

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        return self.networks.input_shape(**options)

    def vocabulary(self, **options: Any) -> int | None:
        return self.networks.vocabulary(**options)
