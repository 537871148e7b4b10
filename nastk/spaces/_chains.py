"""Graphs of networks that are a chain of layers, of which an architecture leaves some out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chain(used: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Adjacency ``(n, nodes, nodes)`` of chains through the nodes ``(n, nodes)`` that are used, in their order."""
    place = np.cumsum(used, axis=1)
    next_to: NDArray[np.bool_] = place[:, None, :] - place[:, :, None] == 1
    return np.asarray(used[:, :, None] & used[:, None, :] & next_to)
