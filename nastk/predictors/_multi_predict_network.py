"""Networks with one copy a member or device: all of them side by side in one tensor, whose first dimension they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        kind: "gcn" over operation graphs, "mlp" over one-hot choices, or "cross-domain": no architecture encoder, all
            that is known of an architecture are its `extras`.
        inputs: width of the one-hot choices, or number of operations of a node.
        hidden: widths of the layers between input and embedding.
        graph_layers, graph_width: of the GCN.
        embedding: width of the architecture's embedding.
        device: width of a device's vector; 0 for none.
        extras: width of looked-up features (proxies, latencies on other devices).
        head: widths of the layers over all of these together.
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
    """Fresh parameters, each with the members as its first dimension."""
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
    """Embeddings ``(members, n, embedding)`` of architectures.

    Args:
        x: ``(members, n, inputs)`` one-hot choices, or operation numbers ``(members, n, nodes)`` of graphs.
        adjacency: ``(nodes + 1, nodes + 1)`` see :func:`with_global_node`.
    """
    if layout.kind == "gcn":
        assert adjacency is not None
        m, n, nodes = x.shape
        first = p["graph0.w"]
        table = torch.cat([first, first.mean(dim=1, keepdim=True)], dim=1)  # the global node's own operation
        numbers = torch.cat([x, x.new_full((m, n, 1), layout.inputs)], dim=2).reshape(m, -1)
        h = torch.stack([t[i] for t, i in zip(table, numbers, strict=True)]).reshape(m, n, nodes + 1, -1)
        h = torch.relu(adjacency @ h + p["graph0.b"][:, None])
        for i in range(1, layout.graph_layers):
            if i == layout.graph_layers - 1:  # only the global node is read
                h = _linear(p, f"graph{i}", adjacency[-1] @ h)
            else:
                flat = _linear(p, f"graph{i}", (adjacency @ h).reshape(m, n * (nodes + 1), -1))
                h = flat.reshape(m, n, nodes + 1, -1)
            h = torch.relu(h)
        x = h
    for i in range(len(layout.hidden)):
        x = torch.relu(_linear(p, f"encoder{i}", x))
    last = _linear(p, f"encoder{len(layout.hidden)}", x)
    return torch.relu(last) if layout.kind == "mlp" else last


def forward(
    p: Parameters, layout: Layout, x: Tensor, adjacency: Tensor | None, devices: Tensor | None, extras: Tensor | None
) -> Tensor:
    """Normalised latencies ``(members, n, d)`` of `n` architectures on `d` devices.

    Args:
        x: see :func:`encode`; for "cross-domain" only its shape is read.
        devices: ``(members, d, device)``.
        extras: ``(members, n, d or 1, extras)``.
    """
    w, b = p["joint.w"], p["joint.b"]
    joint = b[:, None]
    at = 0
    if layout.kind != "cross-domain":
        h = encode(p, layout, x, adjacency)
        at = layout.embedding
        joint = joint + (h @ w[:, :at])[:, :, None]
    if layout.device:
        assert devices is not None
        joint = joint + (devices @ w[:, at : at + layout.device])[:, None]
        at += layout.device
    if layout.extras:
        assert extras is not None
        m, n, d, _ = extras.shape
        joint = joint + (extras.reshape(m, n * d, -1) @ w[:, at:]).reshape(m, n, d, -1)
    m, n, d, _ = joint.shape
    h = torch.relu(joint).reshape(m, n * d, -1)
    for i in range(len(layout.head)):
        h = _linear(p, f"head{i}", h)
        if i < len(layout.head) - 1:
            h = torch.relu(h)
    return torch.sigmoid(h).reshape(m, n, d)


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


@contextmanager
def optimiser(trained: Parameters, learning_rate: float, weight_decay: float, epochs: int) -> Iterator[Descent]:
    """Lets gradients flow to the trained parameters, and to no others, until it is left."""
    for value in trained.values():
        value.requires_grad_(True)
    try:
        yield Descent(trained, learning_rate, weight_decay, epochs)
    finally:
        for value in trained.values():
            value.requires_grad_(False)
            value.grad = None


class Descent:
    """AdamW with a learning rate that falls to zero along a cosine, by epochs."""

    def __init__(self, trained: Parameters, learning_rate: float, weight_decay: float, epochs: int):
        self._adam = torch.optim.AdamW(trained.values(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._adam, max(epochs, 1))

    def descend(self, loss: Tensor) -> None:
        """One step."""
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()

    def anneal(self) -> None:
        """The end of an epoch."""
        self._schedule.step()
