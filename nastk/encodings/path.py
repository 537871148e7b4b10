"""path: which sequences of operations lead from input to output (White et al., BANANAS, AAAI 2021)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nastk.encodings._graphs import CUT, Edges, Graphs
from nastk.encodings.base import Context, Encoding, Features, some_archs
from nastk.errors import Unsupported
from nastk.spaces.base import Archs, SearchSpace

MOST_PATHS = 5000
"""Most paths that are listed; beyond, time and memory grow combinatorially, and path-counts is the alternative."""
SAMPLE = 4000
"""Sampled architectures that decide the features: more miss fewer rare paths, but fit slower."""
LONG = 6
"""Chains with more operations are encoded by single operations and pairs: their whole sequences would seldom recur."""


class Path(Encoding):
    """One feature per sequence of operations, 1 if a path of the operation graph has this sequence.

    Sequences are those that occur in a sample of the space, the most frequent ones if there are many. A blocking
    operation (:data:`~nastk.encodings._graphs.CUT`) removes its paths; identities stay in the sequence, as in the
    paper. For long chains, whose only path is the whole architecture, the sequences are single operations and adjacent
    pairs.

    Args:
        most: maximum number of sequences.
    """

    def __init__(self, most: int = 512):
        self.most = most

    def fit(self, space: SearchSpace, context: Context | None = None, archs: Archs | None = None) -> Path:
        """Raises:
        Unsupported: the graphs have too many paths, or too long ones.
        """
        self.graphs_ = Graphs(space)
        some = some_archs(space)
        if len(some) > SAMPLE:
            some = some[np.random.default_rng(0).choice(len(some), SAMPLE, replace=False)]
        graphs = space.graphs(some)
        self.pairs_ = graphs.operations.shape[1] > LONG + 2 and not graphs.branch
        codes = self._codes(some)
        words, counts = np.unique(codes[codes >= 0], return_counts=True)
        frequent = np.sort(np.argsort(-counts, kind="stable")[: self.most])
        self.words_ = words[frequent]
        self.names_ = [self._reading(int(word)) for word in self.words_]
        return self

    def transform(self, archs: Archs) -> Features:
        found = np.zeros((len(archs), len(self.words_)))
        if len(archs):
            codes = self._codes(archs)
            place = np.searchsorted(self.words_, codes).clip(max=len(self.words_) - 1)
            known = (self.words_[place] == codes) & (codes >= 0)
            rows = np.nonzero(known)[0]
            found[rows, place[known]] = 1.0
        return found

    def _codes(self, archs: Archs) -> NDArray[np.int64]:
        """A number for each path's sequence, -1 where the path is blocked or missing, ``(n, paths)``."""
        operations, edges = self.graphs_(archs)
        cut = np.isin(operations, [i for i, label in enumerate(self.graphs_.labels) if label in CUT])
        there = {(a, b): where for a, b, where in edges}
        last = operations.shape[1] - 1
        if self.pairs_:
            walks = [(list(edge), [edge[1]]) for edge in there if edge[1] < last]
            walks += [(list(edge), list(edge)) for edge in there if edge[0] > 0 and edge[1] < last]
        else:
            walks = [(path, path[1:-1]) for path in _paths(edges, last + 1)]
        base = len(self.graphs_.labels) + 1
        longest = max((len(inside) for _, inside in walks), default=0)
        if longest * np.log2(base) > 62:
            raise Unsupported(f"a path has {longest} operations of {base - 1}; path-counts needs no list of them")
        codes = np.full((len(archs), len(walks)), -1)
        for k, (walk, inside) in enumerate(walks):
            code = np.zeros(len(archs), dtype=np.int64)
            open_ = np.ones(len(archs), dtype=bool)
            for node in inside:
                code = code * base + operations[:, node] + 1
                open_ &= ~cut[:, node]
            for edge in pairwise(walk):
                where = there[edge]
                open_ &= True if where is None else where
            codes[:, k] = np.where(open_, code, -1)
        return codes

    def _reading(self, word: int) -> str:
        base, labels = len(self.graphs_.labels) + 1, []
        while word:
            labels.append(self.graphs_.labels[word % base - 1])
            word //= base
        return " > ".join(reversed(labels)) or "nothing between"


def _paths(edges: Edges, nodes: int) -> list[list[int]]:
    """Every path from the first node to the last, as node numbers."""
    following: list[list[int]] = [[] for _ in range(nodes)]
    for a, b, _ in edges:
        following[a].append(b)
    found, open_ = [], [[0]]
    while open_:
        path = open_.pop()
        if path[-1] == nodes - 1:
            found.append(path)
        open_ += [[*path, b] for b in following[path[-1]]]
        if len(found) + len(open_) > MOST_PATHS:
            raise Unsupported(f"the graphs have more than {MOST_PATHS} paths; path-counts needs no list of them")
    return sorted(found)
