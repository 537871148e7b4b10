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
"""Sampled architectures whose graphs decide whether edges differ in a space and whether graphs branch: more miss fewer
rare graphs, but take longer."""


class GraphTensors(NamedTuple):
    """Graphs of `n` architectures.

    Args:
        numbers: operations of the nodes, ``(n, nodes)``.
        adjacency: ``(nodes, nodes)`` of all graphs, or ``(n, nodes, nodes)``; one where the row's node feeds the
            column's.
        used: false for padding, ``(n, nodes)``; None if all graphs have the same edges and no padding.
    """

    numbers: Tensor
    adjacency: Tensor
    used: Tensor | None

    def rows(self, chosen: Tensor) -> GraphTensors:
        """A selection of the graphs; all fields but a shared adjacency get the shape of `chosen` in place of ``n``."""
        if self.used is None:
            return self._replace(numbers=self.numbers[chosen])
        return GraphTensors(self.numbers[chosen], self.adjacency[chosen], self.used[chosen])


class OpGraphs:
    """The graphs of a space as tensors, from `SearchSpace.graphs`.

    If edges do not depend on the architecture there is one adjacency matrix for all, which is faster.

    Args:
        space: the space.

    Attributes:
        operations: labels of all operations; a node's number is its index in this list.
        nodes: number of nodes, padding included.
        adjacency: ``(nodes, nodes)`` that all graphs share, one where the row's node feeds the column's; None if their
            edges differ.
        chain: whether no graph branches.
    """

    def __init__(self, space: SearchSpace):
        self.space = space.whole
        graphs = self.space.graphs(self.space.sample(SAMPLED, seed=0))
        first, output, *others = graphs.labels
        self.operations = [first, *others, output]  # stored predictors and published figures depend on this order
        self._number = np.array([self.operations.index(label) for label in graphs.labels])
        self.nodes = graphs.operations.shape[1]
        self.chain = not graphs.branch
        self.adjacency: NDArray[np.float64] | None = None
        if (graphs.adjacency == graphs.adjacency[0]).all() and graphs.used.all():
            self.adjacency = graphs.adjacency[0].astype(np.float64)

    def __call__(
        self, archs: Archs, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> GraphTensors:
        """The graphs of `archs` ``(n, d)``; the adjacency has type `dtype`."""
        graphs = self.space.graphs(archs)
        numbers = torch.tensor(self._number[graphs.operations], device=device)
        if self.adjacency is not None and (graphs.adjacency == self.adjacency).all():
            return GraphTensors(numbers, torch.tensor(self.adjacency, dtype=dtype, device=device), None)
        adjacency = torch.tensor(graphs.adjacency, dtype=dtype, device=device)
        return GraphTensors(numbers, adjacency, torch.tensor(graphs.used, device=device))

    @property
    def receivers(self) -> Tensor | None:
        """`adjacency` with a global node, ``(nodes + 1, nodes + 1)``; see `with_global_node`."""
        return None if self.adjacency is None else with_global_node(self.adjacency)

    def convolved(self, archs: Archs) -> Tensor:
        """Sums over each node's inputs in a first graph convolution with a global node, ``(n, nodes + 1, operations)``.

        If edges differ, each node's row of :attr:`receivers` follows: ``(n, nodes + 1, operations + nodes + 1)``.
        :func:`unpack` separates the two.
        """
        graphs = self(archs)
        numbers = graphs.numbers.numpy()
        if graphs.used is None:
            return spread(numbers, len(self.operations), with_global_node(graphs.adjacency.double().numpy()))
        receivers = torch.eye(self.nodes + 1).repeat(len(numbers), 1, 1)
        receivers[:, :-1, :-1] += graphs.adjacency.transpose(1, 2)
        receivers[:, -1, :-1] = graphs.used.float()
        return torch.cat([spread(numbers, len(self.operations), receivers), receivers], dim=2)


def unpack(x: Tensor, operations: int, shared: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features of the nodes, and the message-passing adjacency (`shared` if `x` has none); see
    :meth:`OpGraphs.convolved`."""
    if x.shape[-1] > operations:
        return x[..., :operations], x[..., operations:]
    assert shared is not None
    return x, shared
