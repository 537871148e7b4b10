"""Batched networks, one copy per member or device, which are the first dimension of every tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Sizes of a network.

    Args:
        kind: "gcn" over operation graphs, "mlp" over one-hot choices, or "cross-domain": no architecture encoder, the
            `extras` are the only features of an architecture.
        inputs: width of the one-hot choices, or number of operations of a node.
        hidden: widths of the layers between input and embedding.
        graph_layers, graph_width: of the GCN.
        embedding: width of the architecture's embedding.
        device: width of a device's vector; 0 for none.
        extras: width of looked-up features (proxies, latencies on other devices).
        head: widths of the layers over the concatenation of these.
    """

    kind: str
    inputs: int
    hidden: tuple[int, ...]
    graph_layers: int
    graph_width: int
    embedding: int
    device: int
    extras: int
    head: tuple[int, ...]


def initial(layout: Layout, members: int, generator: torch.Generator) -> Parameters:
    """Initial parameters, each with the members as its first dimension."""
    made: Parameters = {}

    def linear(name: str, width: int, out: int) -> None:
        bound = 1.0 / max(width, 1) ** 0.5
        made[f"{name}.w"] = (torch.rand((members, width, out), generator=generator) * 2 - 1) * bound
        made[f"{name}.b"] = (torch.rand((members, 1, out), generator=generator) * 2 - 1) * bound

    width = layout.inputs
    if layout.kind == "gcn":
        for i in range(layout.graph_layers):
            linear(f"graph{i}", width, layout.graph_width)
            width = layout.graph_width
    if layout.kind != "cross-domain":
        for i, out in enumerate((*layout.hidden, layout.embedding)):
            linear(f"encoder{i}", width, out)
            width = out
    else:
        width = 0
    linear("joint", width + layout.device + layout.extras, layout.head[0])
    for i, (a, b) in enumerate(zip(layout.head, (*layout.head[1:], 1), strict=True)):
        linear(f"head{i}", a, b)
    return made


def _linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    return torch.baddbmm(p[f"{name}.b"], x, p[f"{name}.w"])


def encode(p: Parameters, layout: Layout, x: Tensor, adjacency: Tensor | None) -> Tensor:
    """Embeddings ``(members, n, embedding)`` of architectures; empty ones for "cross-domain".

    Args:
        x: ``(members, n, inputs)`` one-hot choices, or ``(members, n, nodes + 1, inputs)``, see :func:`spread`.
        adjacency: ``(nodes + 1, nodes + 1)``, see :func:`with_global_node`.
    """
    m, n = x.shape[:2]
    if layout.kind == "cross-domain":
        return x.new_empty((m, n, 0))
    if layout.kind == "gcn":
        assert adjacency is not None
        nodes, width = len(adjacency), layout.graph_width
        h = x.transpose(1, 2).flatten(1, 2)  # nodes first: one product sums over neighbours
        for i in range(layout.graph_layers):
            if i:
                receivers = adjacency if i < layout.graph_layers - 1 else adjacency[-1:]  # only the global node is read
                h = torch.matmul(receivers, h.view(m, nodes, n * width)).view(m, len(receivers) * n, width)
            elif layout.graph_layers == 1:
                h = h[:, -n:]
            h = torch.relu(_linear(p, f"graph{i}", h))
        x = h
    for i in range(len(layout.hidden)):
        x = torch.relu(_linear(p, f"encoder{i}", x))
    last = _linear(p, f"encoder{len(layout.hidden)}", x)
    return torch.relu(last) if layout.kind == "mlp" else last


def forward(p: Parameters, layout: Layout, h: Tensor, devices: Tensor | None, extras: Tensor | None) -> Tensor:
    """Normalised latencies ``(members, n, d)`` of `n` architectures on `d` devices.

    Args:
        h: embeddings, see :func:`encode`.
        devices: ``(members, d, device)``.
        extras: ``(members, n, d or 1, extras)``.
    """
    w, at = p["joint.w"], h.shape[2]
    joint = torch.baddbmm(p["joint.b"], h, w[:, :at])[:, :, None]
    if layout.device:
        assert devices is not None
        joint = joint + (devices @ w[:, at : at + layout.device])[:, None]
        at += layout.device
    if layout.extras:
        assert extras is not None
        m, n, d, _ = extras.shape
        joint = joint + (extras.reshape(m, n * d, -1) @ w[:, at:]).reshape(m, n, d, -1)
    m, n, d, _ = joint.shape
    out = torch.relu(joint).reshape(m, n * d, -1)
    for i in range(len(layout.head)):
        out = _linear(p, f"head{i}", out)
        if i < len(layout.head) - 1:
            out = torch.relu(out)
    return torch.sigmoid(out).reshape(m, n, d)


def with_global_node(adjacency: NDArray[np.float64]) -> Tensor:
    """``(nodes + 1, nodes + 1)``: each node receives from its predecessors and itself; a global node, last, from all.

    Args:
        adjacency: ``(nodes, nodes)``, one where the row's node feeds the column's.
    """
    nodes = len(adjacency)
    full = np.eye(nodes + 1)
    full[:nodes, :nodes] += adjacency.T
    full[nodes] = 1.0
    return torch.tensor(full, dtype=torch.float32)


def spread(numbers: NDArray[np.int64], operations: int, adjacency: Tensor) -> Tensor:
    """Sums over each node's inputs in the first graph convolution, ``(n, nodes + 1, operations)``; without parameters.

    Args:
        numbers: operations of the nodes, ``(n, nodes)``; the global node has a share of each.
        operations: number of operations.
        adjacency: see :func:`with_global_node`.
    """
    one_hot = torch.nn.functional.one_hot(torch.tensor(numbers), operations).float()
    everything = one_hot.new_full((len(numbers), 1, operations), 1.0 / operations)
    return adjacency @ torch.cat([one_hot, everything], dim=1)


class Descent:
    """AdamW with a learning rate annealed to zero by a cosine, per epoch.

    Parameters are contiguous in memory, so that a step is one operation for all. Inside a ``with`` block, gradients
    flow to them and to nothing else.
    """

    def __init__(self, trained: Parameters, learning_rate: float, weight_decay: float, epochs: int):
        self._trained = trained
        self._flat = torch.cat([value.reshape(-1) for value in trained.values()])
        self._flat.grad = torch.zeros_like(self._flat)
        self._adam = torch.optim.AdamW([self._flat], lr=learning_rate, weight_decay=weight_decay, fused=True)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._adam, max(epochs, 1))

    def __enter__(self) -> Descent:
        assert self._flat.grad is not None
        at = 0
        for value in self._trained.values():
            here = slice(at, at + value.numel())
            value.data = self._flat[here].view(value.shape)
            value.requires_grad_(True)
            value.grad = self._flat.grad[here].view(value.shape)
            at += value.numel()
        return self

    def __exit__(self, *error: object) -> None:
        for value in self._trained.values():
            value.requires_grad_(False)
            value.grad = None
            value.data = value.data.clone()

    def descend(self, loss: Tensor) -> None:
        """One step."""
        loss.backward()
        self._adam.step()
        assert self._flat.grad is not None
        self._flat.grad.zero_()

    def anneal(self) -> None:
        """The end of an epoch."""
        self._schedule.step()
