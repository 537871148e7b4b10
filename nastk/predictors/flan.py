"""flan: graph network that updates operations' embeddings, ranking loss (Akhauri & Abdelfattah, FLAN, ICML 2024)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.encodings.base import encoding, some_archs
from nastk.errors import InvalidValue
from nastk.predictors._graph_layers import Ensemble, mean_node, perceptron
from nastk.predictors._normal_scores import Scale, line
from nastk.predictors._op_graphs import GraphTensors, OpGraphs
from nastk.predictors._stacked_gcn import seeded
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs

Array = NDArray[np.float64]


class Flan(Predictor):
    """A forward pass along the edges, a backward pass against them that refines each operation's embedding, and again.

    Layers are the mean of dense graph flow and graph attention. A node's operation embedding is changed by a perceptron
    of itself and of what the backward pass brought to the node; the last forward pass is read at its mean node. The
    loss is the pairwise hinge over a batch. Scores are calibrated to the metric by a line to its warped values, so
    that the mean is in the metric's unit and ordered as the scores.

    Args:
        encoding: supplementary encoding that is joined before the head ("zcp", "counts", "statics+vec"), or None.
        operation_width, node_width, width: of the operations' and nodes' embeddings and of the layers.
        layers: graph layers of a pass.
        timesteps: forward passes; between two of them a backward pass refines the operations.
        head: widths of the head's hidden layers.
        dropout: in the head.
        epochs, batch_size: passes over the data, and samples a step.
        learning_rate, weight_decay: of AdamW, annealed by a cosine.
        margin: of the hinge.
        warp: "normal" (quantiles of a normal), "identity", or "auto": "normal" where more is better.
        seed: of initial weights, dropout and minibatches.
        device: torch device.
    """

    def __init__(
        self,
        encoding: str | None = None,
        operation_width: int = 32,
        node_width: int = 32,
        width: int = 64,
        layers: int = 3,
        timesteps: int = 2,
        head: tuple[int, ...] = (128, 128),
        dropout: float = 0.1,
        epochs: int = 50,
        batch_size: int = 20,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        margin: float = 0.1,
        warp: str = "auto",
        seed: int = 0,
        device: str = "cpu",
    ):
        self.encoding = encoding
        self.operation_width, self.node_width, self.width = operation_width, node_width, width
        self.layers, self.timesteps, self.head, self.dropout = layers, timesteps, head, dropout
        self.epochs, self.batch_size = epochs, batch_size
        self.learning_rate, self.weight_decay, self.margin = learning_rate, weight_decay, margin
        self.warp, self.seed, self.device = warp, seed, device

    def fit(self, task: Task) -> Flan:
        if not len(task):
            raise InvalidValue("flan needs at least one architecture")
        if self.timesteps < 1:
            raise InvalidValue(f"timesteps must be at least 1; got {self.timesteps}")
        self.task_ = task
        self.graphs_ = OpGraphs(task.space)
        self.warp_ = Scale.fit(self.warp, task.values, task.direction)
        self.supplement_ = None if self.encoding is None else encoding(self.encoding).fit(task.space, task.context)
        if self.supplement_ is not None:
            reference = self.supplement_.transform(some_archs(task.space))
            spread = reference.std(axis=0)
            self.scale_ = reference.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        self.network_: _Network | None = None
        self.line_ = 0.0, 1.0
        if np.ptp(task.values) == 0:
            return self
        order = np.lexsort((task.values, *task.archs.T))  # what is learned does not depend on the order of the samples
        archs, values = task.archs[order], task.values[order]
        inputs = self._inputs(archs, torch.float32)
        with seeded(self.seed, self.device), torch.device(self.device):
            self.network_ = _Network(self, self.graphs_, 0 if inputs[1] is None else inputs[1].shape[1])
            self._train(self.network_, *inputs, torch.tensor(self.warp_.forward(values), dtype=torch.float32))
        self.network_.double()
        scores, wanted = self._scores(archs), self.warp_.forward(values)
        self.line_ = line(scores, wanted)
        return self

    def _inputs(self, archs: Archs, dtype: torch.dtype) -> tuple[GraphTensors, Tensor | None]:
        """Graphs, and the standardised supplement ``(n, k)``."""
        graphs = self.graphs_(archs, dtype, self.device)
        if self.supplement_ is None:
            return graphs, None
        extras = (self.supplement_.transform(archs) - self.scale_[0]) / self.scale_[1]
        return graphs, torch.tensor(extras.clip(-5.0, 5.0), dtype=dtype, device=self.device)

    def _train(self, network: _Network, graphs: GraphTensors, extras: Tensor | None, values: Tensor) -> None:
        """Pairwise hinge over all pairs of a batch: a larger value is to score higher by the margin."""
        adam = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.epochs, 1))
        network.train()
        for _ in range(self.epochs):
            for rows in torch.randperm(len(values)).split(self.batch_size):
                above = values[rows][:, None] > values[rows]
                if not above.any():
                    continue
                scores = network(graphs.rows(rows), None if extras is None else extras[rows])
                hinge = torch.relu(self.margin - (scores[:, None] - scores))
                adam.zero_grad()
                (hinge * above).sum().div(above.sum()).backward()
                adam.step()
            schedule.step()
        network.eval()

    def _scores(self, archs: Archs) -> Array:
        assert self.network_ is not None
        parts = [np.empty(0)]
        with torch.no_grad(), torch.device(self.device):
            for start in range(0, len(archs), 1024):
                inputs = self._inputs(archs[start : start + 1024], torch.float64)
                parts.append(self.network_(*inputs).cpu().numpy())
        return np.concatenate(parts)

    def predict(self, archs: Any) -> Prediction:
        """Mean in the metric's unit; no standard deviation (NaN)."""
        archs = self._checked(archs)
        if self.network_ is None:
            mean = np.full(len(archs), self.task_.values[0])
        else:
            mean = self.warp_.backward(self.line_[0] + self.line_[1] * self._scores(archs))
        return Prediction(mean, np.full(len(mean), np.nan))


class _Network(nn.Module):
    """Scores of architectures: larger is a larger value of the metric."""

    def __init__(self, flan: Flan, graphs: OpGraphs, extras: int):
        super().__init__()
        operation, width = flan.operation_width, flan.width
        self.operations = nn.Embedding(len(graphs.operations), operation)
        self.nodes = nn.Parameter(torch.randn(graphs.nodes, flan.node_width))
        widths = [flan.node_width, *[width] * flan.layers]
        self.forth = nn.ModuleList(Ensemble(a, b, operation) for a, b in pairwise(widths))
        widths = [width] * (flan.layers + 1) if flan.timesteps > 1 else [width]
        self.back = nn.ModuleList(Ensemble(a, b, operation) for a, b in pairwise(widths))
        self.update = perceptron([width + operation, width, operation])
        self.supplement = perceptron([extras, width, width]) if extras else None
        self.head = perceptron([width + (width if extras else 0), *flan.head, 1], flan.dropout)
        self.timesteps = flan.timesteps

    def forward(self, graphs: GraphTensors, extras: Tensor | None) -> Tensor:
        """Scores ``(n,)`` of graphs and supplements ``(n, k)``."""
        against = graphs.edges
        along = against.transpose(-1, -2).contiguous()
        operations = self.operations(graphs.numbers)
        for step in range(self.timesteps):
            x = self.nodes.expand(len(operations), -1, -1)
            for layer in self.forth:
                x = layer(x, operations, along)
            if step < self.timesteps - 1:
                for layer in self.back:
                    x = layer(x, operations, against)
                operations = operations + self.update(torch.cat([operations, x], dim=2))
        read = mean_node(x, graphs.used)
        if self.supplement is not None:
            assert extras is not None
            read = torch.cat([read, self.supplement(extras)], dim=1)
        return self.head(read)[:, 0]
