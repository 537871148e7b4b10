"""A search space restricted to given members."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces.base import Archs, Graphs, SearchSpace, Seed

if TYPE_CHECKING:
    import networkx as nx
    import torch


class Pool(SearchSpace):
    """A space restricted to given members, for tables that hold a sample of it.

    Moves stay in the pool: a mutation is a random one of the nearest members, a neighbour a member at the smallest
    Hamming distance.

    Args:
        space: the space that the members belong to.
        archs: the members, ``(n, d)`` or texts; repeated rows are kept once, order is kept.
        name: by default ``<space>-pool``.

    Raises:
        InvalidValue: no members.
        InvalidArchitecture: one that does not belong to the space.
    """

    def __init__(self, space: SearchSpace, archs: Any, name: str | None = None):
        members = space.as_archs(archs)
        if not len(members):
            raise InvalidValue(f"a pool of {space.name} needs at least one architecture")
        _, first = np.unique(members, axis=0, return_index=True)
        self.space = space
        self.members = members[np.sort(first)]
        self.members.setflags(write=False)
        self._given, self.name = name, name or f"{space.name}-pool"
        self.choices, self.forms_differ = space.choices, space.forms_differ
        self.datasets = space.datasets  # type: ignore[misc]  # of this pool

    @cached_property
    def _place(self) -> dict[bytes, int]:
        return {row.tobytes(): i for i, row in enumerate(self.members)}

    @cached_property
    def _canonical_places(self) -> NDArray[np.int64]:
        """For each member, the index of the first isomorphic one."""
        first: dict[Hashable, int] = {}
        keys = self.space.keys(self.members)
        return np.array([first.setdefault(key, i) for i, key in enumerate(keys)], dtype=np.int64)

    def identity(self) -> dict[str, Any]:
        return {**self.space.identity(), "members": hashlib.sha256(self.members.tobytes()).hexdigest()[:16]}

    def source_code(self) -> Any:
        return self.space.source_code()

    @property
    def whole(self) -> SearchSpace:
        return self.space.whole

    def among(self, kept: NDArray[np.bool_]) -> Pool:
        """The pool of those members that are marked, ``(size,)``, under the same name."""
        return Pool(self.space, self.members[kept], self._given)

    @property
    def _called(self) -> str:
        return self._given or f"the pool of {self.whole.name}"

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def enumerable(self) -> bool:
        return True

    def enumerate(self) -> Archs:
        return self.members

    def is_valid(self, archs: Archs) -> NDArray[np.bool_]:
        rows = np.ascontiguousarray(archs, dtype=np.int64)
        return np.array([row.tobytes() in self._place for row in rows], dtype=bool)

    def index(self, archs: Archs) -> NDArray[np.int64]:
        try:
            rows = np.ascontiguousarray(archs, dtype=np.int64)
            return np.array([self._place[row.tobytes()] for row in rows], dtype=np.int64)
        except KeyError:
            raise InvalidArchitecture(f"an architecture is not a member of {self._called}") from None

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        return self.members[rng.integers(0, len(self.members), n)]

    def _distances(self, arch: Archs) -> NDArray[np.int64]:
        return (self.members != arch).sum(axis=1)

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        rng = np.random.default_rng(seed)
        children = np.asarray(archs).copy()
        if len(self.members) == 1:
            return children
        # A sample seldom holds one-step neighbours. Eight candidates per change keep children near the parent, yet
        # varied.
        nearest = min(len(self.members) - 1, 8 * n_changes)
        for i, arch in enumerate(children):
            distance = self._distances(arch) + rng.random(len(self.members))  # break ties at random
            distance[self._place[np.ascontiguousarray(arch).tobytes()]] = np.inf
            children[i] = self.members[rng.choice(np.argpartition(distance, nearest - 1)[:nearest])]
        return children

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        rng = np.random.default_rng(seed)
        child = np.where(rng.random(np.shape(a)) < 0.5, a, b)
        jitter = rng.random(len(self.members))
        return np.stack([self.members[np.argmin(self._distances(c) + jitter)] for c in child])

    def neighbours(self, arch: Archs) -> Archs:
        distance = self._distances(np.asarray(arch).ravel())
        others = distance > 0
        if not others.any():
            return self.members[:0]
        return self.members[distance == distance[others].min()]

    def canonical(self, archs: Archs) -> Archs:
        """The first isomorphic member."""
        return self.members[self._canonical_places[self.index(archs)]]

    def active(self, archs: Archs) -> NDArray[np.bool_]:
        return self.space.active(archs)

    def compiled(self, archs: Archs) -> Archs:
        return self.space.compiled(archs)

    def merged(self, archs: Archs) -> Archs:
        return self.space.merged(archs)

    def connected(self, archs: Archs) -> NDArray[np.bool_]:
        return self.space.connected(archs)

    def format(self, arch: Archs) -> str:
        return self.space.format(arch)

    def parse(self, text: str) -> Archs:
        return self.as_archs(self.space.parse(text))[0]

    def statics(self, archs: Archs, **options: Any) -> dict[str, NDArray[np.float64]]:
        return self.space.statics(archs, **options)

    def graph(self, arch: Archs) -> nx.DiGraph:
        return self.space.graph(arch)

    def graphs(self, archs: Archs) -> Graphs:
        return self.space.graphs(archs)

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        return self.space.build(arch, **options)

    @property
    def has_networks(self) -> bool:
        return self.space.has_networks

    def supernet(self, **options: Any) -> torch.nn.Module:
        return self.space.supernet(**options)

    def input_shape(self, **options: Any) -> tuple[int, ...]:
        return self.space.input_shape(**options)

    def vocabulary(self, **options: Any) -> int | None:
        return self.space.vocabulary(**options)
