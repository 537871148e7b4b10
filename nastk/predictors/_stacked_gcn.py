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


def flows(adjacency: NDArray[np.float64]) -> Tensor:
    """What each node hears along and against the arrows, ``(2, nodes + 1, nodes + 1)``, rows summing to one.

    Both directions have self loops and a global node, last, that hears all nodes and is heard by none.

    Args:
        adjacency: ``(nodes, nodes)``, one where the row's node feeds the column's.
    """
    nodes = len(adjacency)
    both = np.tile(np.eye(nodes + 1), (2, 1, 1))
    both[0, :nodes, :nodes] += adjacency.T
    both[1, :nodes, :nodes] += adjacency
    both[:, nodes] = 1.0
    return torch.tensor(both / both.sum(axis=2, keepdims=True), dtype=torch.float32)


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
        adjacency: see :func:`flows`.
    """

    flows: Tensor

    def __init__(
        self,
        members: int,
        operations: int,
        width: int,
        layers: int,
        head: int,
        outputs: int,
        dropout: float,
        adjacency: NDArray[np.float64],
    ):
        super().__init__()
        self.members, self.operations, self.dropout = members, operations, dropout
        self.register_buffer("flows", flows(adjacency))
        widths = [operations, *[width] * layers]
        self.convolutions = nn.ParameterList(_uniform(members, a, 2 * b, 6.0 / a) for a, b in pairwise(widths))
        self.hidden = _uniform(members, width + 1, head, 6.0 / width)
        self.out = _uniform(members, head + 1, outputs, 1.0 / head)

    def forward(self, numbers: Tensor) -> Tensor:
        """Outputs ``(members, n, outputs)`` of operation numbers ``(members or 1, n, nodes)``, one row a member."""
        shared, count, _ = numbers.shape
        dtype = self.out.dtype
        x = nn.functional.one_hot(numbers, self.operations).to(dtype).transpose(1, 2)
        x = torch.cat([x, x.new_full((shared, 1, count, self.operations), 1.0 / self.operations)], dim=1)
        x = x.expand(self.members, -1, -1, -1)
        for i, weight in enumerate(self.convolutions):
            ways = weight.chunk(2, dim=2)
            last = i == len(self.convolutions) - 1
            x = 0.5 * (self._heard(x, self.flows[0], ways[0], last) + self._heard(x, self.flows[1], ways[1], last))
            x = nn.functional.dropout(x, self.dropout, self.training)
        x = torch.relu(_linear(x[:, -1], self.hidden))
        return _linear(nn.functional.dropout(x, self.dropout, self.training), self.out)

    @staticmethod
    def _heard(x: Tensor, flow: Tensor, weight: Tensor, last: bool) -> Tensor:
        """One direction of a convolution, ``(members, nodes, n, width)``; of the last only the global node's."""
        members, _, count, width = x.shape
        sums = (flow[-1:] if last else flow) @ x.reshape(members, len(flow), -1)
        return torch.relu(sums.reshape(members, -1, width) @ weight).reshape(members, -1, count, weight.shape[2])


def _uniform(members: int, inputs: int, outputs: int, square: float) -> nn.Parameter:
    """Weights drawn from ``(-sqrt(square), sqrt(square))``, ``(members, inputs, outputs)``."""
    return nn.Parameter((2.0 * torch.rand(members, inputs, outputs) - 1.0) * square**0.5)


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """A linear layer whose last row of weights is the bias."""
    return torch.baddbmm(weight[:, -1:], x, weight[:, :-1])


def train(
    network: StackedGcn,
    numbers: Tensor,
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
        numbers: ``(n, nodes)``.
        targets: ``(n,)``; for "binary" 0 or 1, and the network's output is a logit.
        epochs: passes over the data.
        batch_size: rows a step, at most.
        learning_rate: the highest.
        shown: which rows each member learns from, ``(members, n)``, one or zero; by default all.
    """
    count = len(targets)
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
            answers = network(numbers[rows])[..., 0]
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


def answers(network: StackedGcn, numbers: NDArray[np.int64], chunk: int = 1024) -> NDArray[np.float64]:
    """First output of every member, ``(members, n)``, for operation numbers ``(n, nodes)``."""
    parts = [np.empty((network.members, 0))]
    with torch.no_grad():
        for start in range(0, len(numbers), chunk):
            some = torch.tensor(numbers[start : start + chunk], device=network.flows.device)
            parts.append(network(some[None])[..., 0].double().cpu().numpy())
    return np.concatenate(parts, axis=1)
