"""Operation graphs of many architectures at once, for encodings: nodes in topological order, edges between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nastk.spaces.base import Archs, SearchSpace

CUT = ("none", "zero", "zeroize")
"""Operations that block a path."""
FREE = ("input", "output", "skip_connect", "skip", "identity")
"""Identity operations; they do not count towards the length of a path."""

Edges = list[tuple[int, int, "NDArray[np.bool_] | None"]]
"""Source, target (later in topological order), and a mask of the architectures with this edge; None for all."""


class Graphs:
    """Operation numbers ``(n, nodes)`` of architectures, and all edges that any of them has.

    Nodes that an architecture does not use are labelled "none" and have no edges; see `SearchSpace.graphs`.

    Attributes:
        labels: of the operations, by number.
    """

    def __init__(self, space: SearchSpace):
        self.space = space
        self.labels = space.graphs(space.sample(1, seed=0)).labels

    def __call__(self, archs: Archs) -> tuple[NDArray[np.int64], Edges]:
        graphs = self.space.graphs(archs)
        matrices = graphs.adjacency[:1] if graphs.adjacency.strides[0] == 0 else graphs.adjacency
        always = np.asarray(matrices.all(axis=0))
        return graphs.operations, [
            (a, b, None if always[a, b] else matrices[:, a, b].copy())
            for a, b in np.argwhere(matrices.any(axis=0)).tolist()
        ]
