"""Dense layers over small graphs for graph networks (Akhauri & Abdelfattah, NASFLAT, MLSys 2024; FLAN, ICML 2024)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from nastk.predictors._multi_predict_network import Layout, Parameters, encode
from nastk.predictors._op_graphs import unpacked


class DenseGraphFlow(nn.Module):
    """Convolution whose messages are gated by the operation: ``sigmoid(op W_o) * (A x W) + x W_s + b``.

    Args:
        inputs, outputs: widths of the nodes.
        operation: width of the operation embeddings.
    """

    def __init__(self, inputs: int, outputs: int, operation: int):
        super().__init__()
        self.message = nn.Linear(inputs, outputs, bias=False)
        self.own = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(operation, outputs)

    def forward(self, x: Tensor, operations: Tensor, adjacency: Tensor) -> Tensor:
        """Nodes ``(n, nodes, outputs)``; row i of `adjacency` ``([n,] nodes, nodes)`` has what feeds node i."""
        return torch.sigmoid(self.gate(operations)) * self.message(adjacency @ x) + self.own(x)


class GraphAttention(nn.Module):
    """Attention along the edges, gated by the operation, with layer normalisation."""

    def __init__(self, inputs: int, outputs: int, operation: int):
        super().__init__()
        self.value = nn.Linear(inputs, outputs, bias=False)
        self.sender, self.receiver = nn.Linear(outputs, 1, bias=False), nn.Linear(outputs, 1, bias=False)
        self.gate = nn.Linear(operation, outputs)
        self.normal = nn.LayerNorm(outputs)

    def forward(self, x: Tensor, operations: Tensor, adjacency: Tensor) -> Tensor:
        """As :meth:`DenseGraphFlow.forward`; a node also attends to itself."""
        v = self.value(x)
        scores = nn.functional.leaky_relu(self.receiver(v) + self.sender(v).transpose(1, 2), 0.2)
        seen = (adjacency + torch.eye(adjacency.shape[-1])) > 0
        weights = torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=2)
        return self.normal(torch.sigmoid(self.gate(operations)) * (weights @ v))


class Ensemble(nn.Module):
    """Mean of both kinds of layer, then ReLU."""

    def __init__(self, inputs: int, outputs: int, operation: int):
        super().__init__()
        self.flow = DenseGraphFlow(inputs, outputs, operation)
        self.attention = GraphAttention(inputs, outputs, operation)

    def forward(self, x: Tensor, operations: Tensor, adjacency: Tensor) -> Tensor:
        both = self.flow(x, operations, adjacency) + self.attention(x, operations, adjacency)
        return torch.relu(0.5 * both)


def mean_node(x: Tensor, used: Tensor | None) -> Tensor:
    """Mean of the nodes ``(n, width)`` of `x` ``(n, nodes, width)``, of those that are `used` ``(n, nodes)``."""
    if used is None:
        return x.mean(dim=1)
    return (x * used[:, :, None]).sum(dim=1) / used.sum(dim=1, keepdim=True).clamp(min=1)


def encode_graphs(p: Parameters, layout: Layout, x: Tensor, adjacency: Tensor | None) -> Tensor:
    """`encode`, which also takes graphs that differ in their edges.

    Args:
        x: see `encode`; where edges differ, as `OpGraphs.convolved` gives it, after the members.
        adjacency: the shared one, see `encode`.
    """
    if layout.kind != "gcn" or x.shape[-1] == layout.inputs:
        return encode(p, layout, x, adjacency)
    members, count = x.shape[:2]
    h, receivers = unpacked(x, layout.inputs, None)
    for i in range(layout.graph_layers):
        heard = receivers[:, :, -1:] if i == layout.graph_layers - 1 else receivers  # only the global node is read
        h = heard @ h if i else h[:, :, -heard.shape[2] :]
        h = torch.relu(torch.baddbmm(p[f"graph{i}.b"], h.flatten(1, 2), p[f"graph{i}.w"]))
        h = h.view(members, count, heard.shape[2], layout.graph_width)
    return encode(p, replace(layout, graph_layers=0), h, x.new_ones((1, 1)))


def perceptron(widths: list[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths with ReLU (and dropout) between them."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(a, b))
        if i < len(widths) - 2:
            layers += [nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers)
