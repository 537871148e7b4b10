"""brp-nas: graph convolutional network from scratch on one device (Dudziak et al., BRP-NAS, NeurIPS 2020)."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.errors import InvalidValue
from nastk.predictors._multi_predict_network import spread, with_global_node
from nastk.predictors._op_graphs import OpGraphs
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs


class BrpNas(Predictor):
    """Four graph convolutions, the global node's features, a linear layer (Section 3, the latency predictor).

    It has seen no other device, and in the paper learns from 900 samples. With at least `validate` samples a tenth of
    them is kept for early stopping, as there; with fewer all of them train, and the training loss stops early.

    Args:
        width, layers: of the graph convolutions.
        dropout: after each.
        epochs, patience: at most, and without improvement at most.
        batch_size: the paper's is 1, which costs minutes; ranks differ little.
        learning_rate, weight_decay: of AdamW, annealed by a cosine.
        validate: samples from which on a tenth validates.
        seed: of initial weights, dropout, split and minibatches.
    """

    def __init__(
        self,
        width: int = 600,
        layers: int = 4,
        dropout: float = 0.002,
        epochs: int = 250,
        patience: int = 35,
        batch_size: int = 16,
        learning_rate: float = 4e-4,
        weight_decay: float = 5e-4,
        validate: int = 50,
        seed: int = 0,
    ):
        self.width, self.layers, self.dropout = width, layers, dropout
        self.epochs, self.patience, self.batch_size = epochs, patience, batch_size
        self.learning_rate, self.weight_decay, self.validate, self.seed = learning_rate, weight_decay, validate, seed

    def fit(self, task: Task) -> BrpNas:
        if not len(task):
            raise InvalidValue("brp-nas needs at least one architecture")
        self.task_ = task
        self.graphs_ = OpGraphs(task.space)
        self.adjacency_ = with_global_node(self.graphs_.adjacency)
        order = np.lexsort(task.archs.T)  # what is learned does not depend on the order of the samples
        values = task.values[order]
        self.scaling_ = float(values.mean()), float(values.std())
        self.network_: _Network | None = None
        if self.scaling_[1] == 0:
            return self
        x = self._input(task.archs[order])
        y = torch.tensor((values - self.scaling_[0]) / self.scaling_[1], dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = _Network(x.shape[2], self.width, self.layers, self.dropout, self.adjacency_)
            self._train(self.network_, x, y)
        return self

    def _input(self, archs: Archs) -> Tensor:
        return spread(self.graphs_(archs), len(self.graphs_.operations), self.adjacency_)

    def _train(self, network: _Network, x: Tensor, y: Tensor) -> None:
        shuffled = torch.randperm(len(y))
        kept = len(y) // 10 if len(y) >= self.validate else 0
        held, train = shuffled[:kept], shuffled[kept:]
        rate, decay = self.learning_rate, self.weight_decay
        adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.epochs, 1))
        best, since, state = np.inf, 0, deepcopy(network.state_dict())
        for _ in range(self.epochs):
            network.train()
            total = 0.0
            for rows in train[torch.randperm(len(train))].split(self.batch_size):
                loss = (network(x[rows]) - y[rows]).abs().sum()
                adam.zero_grad()
                loss.backward()
                adam.step()
                total += float(loss.detach())
            schedule.step()
            network.eval()
            if kept:
                with torch.no_grad():
                    total = float((network(x[held]) - y[held]).abs().sum())
            since += 1
            if total < best:
                best, since, state = total, 0, deepcopy(network.state_dict())
            if since > self.patience:
                break
        network.load_state_dict(state)
        network.eval()

    def predict(self, archs: Any) -> Prediction:
        """Mean in the metric's unit; no standard deviation (NaN)."""
        archs = self._checked(archs)
        centre, scale = self.scaling_
        parts: list[NDArray[np.float64]] = [np.empty(0)]
        with torch.no_grad():
            for start in range(0, len(archs), 1024):
                some = archs[start : start + 1024]
                if self.network_ is None:
                    parts.append(np.zeros(len(some)))
                else:
                    parts.append(self.network_(self._input(some)).double().numpy())
        mean = centre + scale * np.concatenate(parts)
        return Prediction(mean, np.full(len(mean), np.nan))


class _Network(nn.Module):
    def __init__(self, inputs: int, width: int, layers: int, dropout: float, adjacency: Tensor):
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        widths = [inputs, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Values ``(n,)`` of graphs ``(n, nodes, operations)`` whose first neighbourhood sums are taken already."""
        adjacency: Tensor = self.adjacency  # type: ignore[assignment]
        for i, layer in enumerate(self.layers):
            if i:
                x = adjacency @ x
            x = self.dropout(torch.relu(layer(x)))
        return self.out(x[:, -1])[:, 0]
