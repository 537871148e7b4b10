"""Channels within the cells of NAS-Bench-101: what the space counts and its network is built from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def vertex_channels(matrix: NDArray[np.bool_], c_out: int) -> NDArray[np.int64]:
    """Output channels of the vertices of cells ``(n, v, v)``, ``(n, v)``; 0 for the input and for unused vertices.

    The channels of the output are shared evenly among the inner vertices that feed it, the first ones taking the
    remainder; any other inner vertex has the maximum of those that it feeds (the benchmark's supplement, S1).
    """
    n, v, _ = matrix.shape
    channels = np.zeros((n, v), dtype=np.int64)
    channels[:, -1] = c_out
    last = matrix[:, 1:-1, -1]
    shared = np.maximum(last.sum(axis=1), 1)
    extra = np.cumsum(last, axis=1) <= (c_out % shared)[:, None]
    channels[:, 1:-1] = np.where(last, (c_out // shared)[:, None] + extra, 0)
    for vertex in range(v - 2, 0, -1):
        fed = np.where(matrix[:, vertex, vertex + 1 : -1], channels[:, vertex + 1 : -1], 0).max(axis=1, initial=0)
        channels[:, vertex] = np.where(matrix[:, vertex, -1], channels[:, vertex], fed)
    return channels
