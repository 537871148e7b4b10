"""Several graph convolutional networks side by side in memory, trained together in one pass."""

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
    """Draw from generators with this seed on the CPU and on `device`; both are as before afterwards."""
    kind = torch.device(device)
    with torch.random.fork_rng(devices=[] if kind.type == "cpu" else [kind], device_type=_generator(kind.type)):
        torch.manual_seed(seed)
        yield


def _generator(kind: str) -> str:
    """The device type whose generators `torch.random.fork_rng` is to keep beside the CPU's."""
    return "cuda" if kind == "cpu" else kind


def flows(graphs: GraphTensors) -> GraphTensors:
    """What each node hears along and against the edges in place of the edges, ``([n,] 2, nodes + 1, nodes + 1)``.

    Rows sum to one. Both directions have self loops and a global node, last, that hears all nodes but padding and is
    heard by none.
    """
    edges, used = graphs.edges, graphs.used
    nodes = edges.shape[-1]
    both = torch.eye(nodes + 1, dtype=edges.dtype, device=edges.device).repeat(*edges.shape[:-2], 2, 1, 1)
    both[..., 0, :nodes, :nodes] += edges.transpose(-1, -2)
    both[..., 1, :nodes, :nodes] += edges
    both[..., nodes, :nodes] = 1.0 if used is None else used[:, None].to(edges.dtype)
    return graphs._replace(edges=both / both.sum(dim=-1, keepdim=True))


class StackedGcn(nn.Module):
    """Graph convolutions in both directions, the global node's features, two linear layers; one network a member.

    ``x' = (relu(A x W) + relu(B x V)) / 2`` with the two flows A and B (Wen et al., Neural Predictor, 2020).

    Args:
        members: networks side by side; their weights are independent.
        operations: how many operations there are.
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
            graphs: see :func:`flows`, with ``(members or 1, n)`` in place of ``n``, one row a member.
        """
        shared = graphs.used is None
        x = nn.functional.one_hot(graphs.numbers, self.operations).to(self.out.dtype)
        x = torch.cat([x, x.new_full((*x.shape[:2], 1, self.operations), 1.0 / self.operations)], dim=2)
        x = (x.transpose(1, 2).contiguous() if shared else x).expand(self.members, -1, -1, -1)
        heard = self._heard_alike if shared else self._heard
        for i, weight in enumerate(self.convolutions):
            rows = graphs.edges[..., -1:, :] if i == len(self.convolutions) - 1 else graphs.edges
            (along, against), directions = rows.unbind(-3), weight.chunk(2, dim=2)
            x = 0.5 * (heard(x, along, directions[0]) + heard(x, against, directions[1]))
            x = nn.functional.dropout(x, self.dropout, self.training)
        x = torch.relu(_linear(x[:, -1] if shared else x[:, :, -1], self.hidden))
        return _linear(nn.functional.dropout(x, self.dropout, self.training), self.out)

    @staticmethod
    def _heard_alike(x: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
        """One direction of a convolution, ``(members, nodes, n, width)``: one product sums over all graphs' nodes."""
        members, nodes, count, width = x.shape
        sums = flow @ x.reshape(members, nodes, -1)
        return torch.relu(sums.reshape(members, -1, width) @ weight).reshape(members, -1, count, weight.shape[2])

    @staticmethod
    def _heard(x: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
        """One direction of a convolution, ``(members, n, nodes, width)``, where each graph has its own edges."""
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
    """Train all members, each on minibatches of its own, by AdamW whose rate warms up, then falls along a cosine.

    Args:
        graphs: of `n` architectures.
        targets: ``(n,)``; for "binary" 0 or 1, and the network's output is a logit.
        epochs: passes over the data.
        batch_size: rows a step, at most.
        learning_rate: the highest.
        shown: which rows each member learns from, ``(members, n)``, one or zero; by default all.
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
            answers = network(graphs.rows(rows))[..., 0]
            wanted = targets[rows]
            if loss == "binary":
                errors = nn.functional.binary_cross_entropy_with_logits(answers, wanted, reduction="none")
            else:
                errors = (answers - wanted).abs() if loss == "absolute" else (answers - wanted) ** 2
            if shown is not None:
                errors = errors * shown.gather(1, rows)
            adam.zero_grad()
            errors.mean(dim=1).sum().backward()
            adam.step()
            schedule.step()
    network.eval()


def answers(network: StackedGcn, graphs: OpGraphs, archs: Archs, chunk: int = 1024) -> NDArray[np.float64]:
    """First output of every member, ``(members, n)``, for architectures ``(n, d)``."""
    parts = [np.empty((network.members, 0))]
    weights = network.out
    with torch.no_grad():
        for start in range(0, len(archs), chunk):
            some = flows(graphs(archs[start : start + chunk], weights.dtype, weights.device))
            one = torch.arange(len(some.numbers), device=weights.device)[None]
            parts.append(network(some.rows(one))[..., 0].double().cpu().numpy())
    return np.concatenate(parts, axis=1)
