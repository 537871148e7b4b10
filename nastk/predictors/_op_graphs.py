"""Architectures as operation graphs for graph networks: operation numbers of the nodes, and the edges between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.predictors._multi_predict_network import spread, with_global_node
from nastk.spaces.base import Archs, SearchSpace

SAMPLED = 1000
"""Architectures whose graphs tell whether edges differ in a space, and whether graphs branch."""


class GraphTensors(NamedTuple):
    """Graphs of `n` architectures.

    Args:
        numbers: operations of the nodes, ``(n, nodes)``.
        edges: ``(nodes, nodes)`` of all graphs, or ``(n, nodes, nodes)``; one where the row's node feeds the column's.
        used: false for padding, ``(n, nodes)``; None where all graphs have the same edges and no padding.
    """

    numbers: Tensor
    edges: Tensor
    used: Tensor | None

    def rows(self, chosen: Tensor) -> GraphTensors:
        """Some of the graphs; all fields but shared edges get the shape of `chosen` in place of ``n``."""
        if self.used is None:
            return self._replace(numbers=self.numbers[chosen])
        return GraphTensors(self.numbers[chosen], self.edges[chosen], self.used[chosen])


class OpGraphs:
    """The graphs of a space as tensors, from `SearchSpace.graphs`.

    Where edges do not depend on the architecture there is one adjacency matrix for all, which is faster.

    Args:
        space: the space.

    Attributes:
        operations: labels of all operations; a node's number is its place in this list.
        nodes: how many, padding included.
        adjacency: ``(nodes, nodes)`` that all graphs share, one where the row's node feeds the column's; None if they
            differ in their edges.
        chain: whether no graph branches.
    """

    def __init__(self, space: SearchSpace):
        self.space = space.whole
        graphs = self.space.graphs(self.space.sample(SAMPLED, seed=0))
        first, output, *others = graphs.labels
        self.operations = [first, *others, output]  # stored predictors and published figures rest on this order
        self._number = np.array([self.operations.index(label) for label in graphs.labels])
        self.nodes = graphs.operations.shape[1]
        self.chain = not graphs.branch
        self.adjacency: NDArray[np.float64] | None = None
        if (graphs.adjacency == graphs.adjacency[0]).all() and graphs.used.all():
            self.adjacency = graphs.adjacency[0].astype(np.float64)

    def __call__(
        self, archs: Archs, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> GraphTensors:
        """The graphs of `archs` ``(n, d)``; edges are of type `dtype`."""
        graphs = self.space.graphs(archs)
        numbers = torch.tensor(self._number[graphs.operations], device=device)
        if self.adjacency is not None and (graphs.adjacency == self.adjacency).all():
            return GraphTensors(numbers, torch.tensor(self.adjacency, dtype=dtype, device=device), None)
        edges = torch.tensor(graphs.adjacency, dtype=dtype, device=device)
        return GraphTensors(numbers, edges, torch.tensor(graphs.used, device=device))

    @property
    def receivers(self) -> Tensor | None:
        """`adjacency` with a global node, ``(nodes + 1, nodes + 1)``; see `with_global_node`."""
        return None if self.adjacency is None else with_global_node(self.adjacency)

    def convolved(self, archs: Archs) -> Tensor:
        """What reaches each node in a first graph convolution with a global node, ``(n, nodes + 1, operations)``.

        Where edges differ, each node's row of :attr:`receivers` follows: ``(n, nodes + 1, operations + nodes + 1)``.
        :func:`unpacked` takes both apart.
        """
        graphs = self(archs)
        numbers = graphs.numbers.numpy()
        if graphs.used is None:
            return spread(numbers, len(self.operations), with_global_node(graphs.edges.double().numpy()))
        receivers = torch.eye(self.nodes + 1).repeat(len(numbers), 1, 1)
        receivers[:, :-1, :-1] += graphs.edges.transpose(1, 2)
        receivers[:, -1, :-1] = graphs.used.float()
        return torch.cat([spread(numbers, len(self.operations), receivers), receivers], dim=2)


def unpacked(x: Tensor, operations: int, shared: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features of the nodes, and who receives from whom (`shared` if `x` does not say it); `x` is as convolved."""
    if x.shape[-1] > operations:
        return x[..., :operations], x[..., operations:]
    assert shared is not None
    return x, shared
