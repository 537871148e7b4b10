"""Several graph convolutional networks, batched in one tensor and trained together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.predictors._op_graphs import GraphTensors, OpGraphs
from nastk.spaces.base import Archs


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed the generators of the CPU and of `device`; restores both afterwards."""
    kind = torch.device(device)
    with torch.random.fork_rng(devices=[] if kind.type == "cpu" else [kind], device_type=_generator(kind.type)):
        torch.manual_seed(seed)
        yield


def _generator(kind: str) -> str:
    """The device type whose generators `torch.random.fork_rng` saves in addition to the CPU's."""
    return "cuda" if kind == "cpu" else kind


def flows(graphs: GraphTensors) -> GraphTensors:
    """Graphs with normalised message passing along and against the edges, ``([n,] 2, nodes + 1, nodes + 1)``.

    Rows sum to one. Both directions have self loops and a global node, last, that receives from all nodes but padding
    and sends to none.
    """
    edges, used = graphs.adjacency, graphs.used
    nodes = edges.shape[-1]
    both = torch.eye(nodes + 1, dtype=edges.dtype, device=edges.device).repeat(*edges.shape[:-2], 2, 1, 1)
    both[..., 0, :nodes, :nodes] += edges.transpose(-1, -2)
    both[..., 1, :nodes, :nodes] += edges
    both[..., nodes, :nodes] = 1.0 if used is None else used[:, None].to(edges.dtype)
    return graphs._replace(adjacency=both / both.sum(dim=-1, keepdim=True))


class StackedGcn(nn.Module):
    """Graph convolutions in both directions, the global node's features, two linear layers; one network per member.

    ``x' = (relu(A x W) + relu(B x V)) / 2`` with the two flows A and B (Wen et al., Neural Predictor, 2020).

    Args:
        members: number of networks, with independent weights.
        operations: number of operations.
        width, layers: of the graph convolutions.
        head: width of the hidden linear layer.
        outputs: of each network.
        dropout: after each hidden layer.
    """

    def __init__(
        self,
        members: int,
        operations: int,
        width: int,
        layers: int,
        head: int,
        outputs: int,
        dropout: float,
    ):
        super().__init__()
        self.members, self.operations, self.dropout = members, operations, dropout
        widths = [operations, *[width] * layers]
        self.convolutions = nn.ParameterList(_uniform(members, a, 2 * b, 6.0 / a) for a, b in pairwise(widths))
        self.hidden = _uniform(members, width + 1, head, 6.0 / width)
        self.out = _uniform(members, head + 1, outputs, 1.0 / head)

    def forward(self, graphs: GraphTensors) -> Tensor:
        """Outputs ``(members, n, outputs)``.

        Args:
            graphs: see :func:`flows`, with ``(members or 1, n)`` in place of ``n``, one row per member.
        """
        shared = graphs.used is None
        x = nn.functional.one_hot(graphs.numbers, self.operations).to(self.out.dtype)
        x = torch.cat([x, x.new_full((*x.shape[:2], 1, self.operations), 1.0 / self.operations)], dim=2)
        x = (x.transpose(1, 2).contiguous() if shared else x).expand(self.members, -1, -1, -1)
        aggregate = self._aggregate_shared if shared else self._aggregate
        for i, weight in enumerate(self.convolutions):
            # Of the last layer only the global node is read.
            rows = graphs.adjacency[..., -1:, :] if i == len(self.convolutions) - 1 else graphs.adjacency
            (along, against), halves = rows.unbind(-3), weight.chunk(2, dim=2)
            x = 0.5 * (aggregate(x, along, halves[0]) + aggregate(x, against, halves[1]))
            x = nn.functional.dropout(x, self.dropout, self.training)
        x = torch.relu(_linear(x[:, -1] if shared else x[:, :, -1], self.hidden))
        return _linear(nn.functional.dropout(x, self.dropout, self.training), self.out)

    @staticmethod
    def _aggregate_shared(x: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
        """One direction of a convolution, ``(members, nodes, n, width)``: one product sums over all graphs' nodes."""
        members, nodes, count, width = x.shape
        sums = flow @ x.reshape(members, nodes, -1)
        return torch.relu(sums.reshape(members, -1, width) @ weight).reshape(members, -1, count, weight.shape[2])

    @staticmethod
    def _aggregate(x: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
        """One direction of a convolution, ``(members, n, nodes, width)``, if each graph has its own edges."""
        sums = flow @ x
        return torch.relu(sums.flatten(1, 2) @ weight).reshape(*sums.shape[:3], weight.shape[2])


def _uniform(members: int, inputs: int, outputs: int, square: float) -> nn.Parameter:
    """Weights drawn from ``(-sqrt(square), sqrt(square))``, ``(members, inputs, outputs)``."""
    return nn.Parameter((2.0 * torch.rand(members, inputs, outputs) - 1.0) * square**0.5)


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """A linear layer whose last row of weights is the bias."""
    return torch.baddbmm(weight[:, -1:], x, weight[:, :-1])


def train(
    network: StackedGcn,
    graphs: GraphTensors,
    targets: Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    loss: Literal["absolute", "squared", "binary"] = "squared",
    shown: Tensor | None = None,
) -> None:
    """Train all members, each on its own minibatches, by AdamW with warm-up and cosine annealing.

    Args:
        graphs: of `n` architectures.
        targets: ``(n,)``; for "binary" 0 or 1, and the network's output is a logit.
        epochs: passes over the data.
        batch_size: maximum number of rows per step.
        learning_rate: the peak rate.
        shown: the rows that each member learns from, ``(members, n)``, one or zero; by default all.
    """
    count = len(targets)
    graphs = flows(graphs)
    adam = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    steps = epochs * -(-count // batch_size)
    warm = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda i: min((i + 1) / warm, 0.5 * (1 + np.cos(np.pi * max(i - warm, 0) / max(steps - warm, 1))))
    )
    network.train()
    for _ in range(epochs):
        shuffled = torch.rand(network.members, count, device=targets.device).argsort(dim=1)
        for rows in shuffled.split(batch_size, dim=1):
            outputs = network(graphs.rows(rows))[..., 0]
            wanted = targets[rows]
            if loss == "binary":
                errors = nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
            else:
                errors = (outputs - wanted).abs() if loss == "absolute" else (outputs - wanted) ** 2
            if shown is not None:
                errors = errors * shown.gather(1, rows)
            adam.zero_grad()
            errors.mean(dim=1).sum().backward()
            adam.step()
            schedule.step()
    network.eval()


def outputs_of(network: StackedGcn, graphs: OpGraphs, archs: Archs, chunk: int = 1024) -> NDArray[np.float64]:
    """First output of every member, ``(members, n)``, for architectures ``(n, d)``."""
    parts = [np.empty((network.members, 0))]
    weights = network.out
    with torch.no_grad():
        for start in range(0, len(archs), chunk):
            some = flows(graphs(archs[start : start + chunk], weights.dtype, weights.device))
            one = torch.arange(len(some.numbers), device=weights.device)[None]
            parts.append(network(some.rows(one))[..., 0].double().cpu().numpy())
    return np.concatenate(parts, axis=1)
