"""brp-nas: graph convolutional network from scratch, pairwise for accuracy (Dudziak et al., BRP-NAS, NeurIPS 2020)."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nastk.errors import InvalidValue
from nastk.predictors._normal_scores import Scale, line
from nastk.predictors._op_graphs import OpGraphs, unpack
from nastk.predictors._stacked_gcn import seeded
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs


class BrpNas(Predictor):
    """Four graph convolutions, the global node's features, a linear layer (Section 3, the latency predictor).

    It is not pretrained on other devices; the paper uses 900 samples. With at least `validate` samples, a tenth is held
    out for early stopping, as in the paper; with fewer, all are used and early stopping watches the training loss.

    For accuracies it is the paper's binary relation: a linear layer and a softmax on the concatenated features of two
    architectures decide which is better, over all ordered pairs of a batch. The score is the log-odds of winning,
    averaged over opponents and both positions; a line to the warped metric gives the mean. The relation uses all
    samples and no early stopping.

    Args:
        width: of the graph convolutions; by default the paper's 600, and 96 for the relation.
        layers: of the graph convolutions.
        dropout: after each; by default 0.002, and 0.02 for the relation (paper: 0.2).
        epochs, patience: maximum, and maximum without improvement (the relation runs all `epochs`, by default 100).
        batch_size: the paper uses 1 for latency, which takes minutes; ranks differ little.
        learning_rate, weight_decay: of AdamW, annealed by a cosine; by default 4e-4, and 4e-3 for the relation.
        validate: fewest samples for holding out a tenth.
        seed: random seed of initial weights, dropout, split and minibatches.
        relation: whether to learn which of two is better; None: for metrics where higher is better.
        device: torch device.
    """

    def __init__(
        self,
        width: int | None = None,
        layers: int = 4,
        dropout: float | None = None,
        epochs: int | None = None,
        patience: int = 35,
        batch_size: int = 16,
        learning_rate: float | None = None,
        weight_decay: float = 5e-4,
        validate: int = 50,
        seed: int = 0,
        relation: bool | None = None,
        device: str = "cpu",
    ):
        self.width, self.layers, self.dropout = width, layers, dropout
        self.epochs, self.patience, self.batch_size = epochs, patience, batch_size
        self.learning_rate, self.weight_decay, self.validate, self.seed = learning_rate, weight_decay, validate, seed
        self.relation, self.device = relation, device

    def fit(self, task: Task) -> BrpNas:
        if not len(task):
            raise InvalidValue("brp-nas needs at least one architecture")
        self.task_ = task
        self.graphs_ = OpGraphs(task.space)
        self.network_: _Network | None = None
        self.line_: tuple[float, float] | None = None
        relate = task.direction == "max" if self.relation is None else self.relation
        # Sorted, so that the fit does not depend on the order of the samples.
        order = np.lexsort((task.values, *task.archs.T) if relate else task.archs.T)
        values = task.values[order]
        self.scaling_ = float(values.mean()), float(values.std())
        if self.scaling_[1] == 0:
            return self
        x = self._input(task.archs[order])
        width = self.width or (96 if relate else 600)
        dropout = (0.02 if relate else 0.002) if self.dropout is None else self.dropout
        kind = _Relation if relate else _Network
        with seeded(self.seed, self.device):
            self.network_ = kind(self.graphs_, width, self.layers, dropout).to(self.device)
            if isinstance(self.network_, _Relation):
                self._train_relation(self.network_, x, torch.tensor(values, device=self.device))
            else:
                y = torch.tensor((values - self.scaling_[0]) / self.scaling_[1], dtype=torch.float32)
                self._train(self.network_, x, y.to(self.device))
        if relate:
            self.warp_ = Scale.fit("auto", values, task.direction)
            self.line_ = line(self._outputs(task.archs[order]), self.warp_.forward(values), task.direction)
        return self

    def _input(self, archs: Archs) -> Tensor:
        return self.graphs_.convolved(archs).to(self.device)

    def _train_relation(self, network: _Relation, x: Tensor, values: Tensor) -> None:
        """Cross-entropy over the ordered pairs of a batch; ties are left out."""
        better = values if self.task_.direction == "max" else -values
        epochs = 100 if self.epochs is None else self.epochs
        rate = 4e-3 if self.learning_rate is None else self.learning_rate
        adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=self.weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(epochs, 1))
        network.train()
        for _ in range(epochs):
            for rows in torch.randperm(len(values)).split(self.batch_size):
                first, second = torch.nonzero(better[rows][:, None] != better[rows], as_tuple=True)
                if not len(first):
                    continue
                features = network.features(x[rows])
                wins = (better[rows][first] < better[rows][second]).long()
                adam.zero_grad()
                nn.functional.cross_entropy(network.compare(features, features)[first, second], wins).backward()
                adam.step()
            schedule.step()
        network.eval()
        network.double()

    def _train(self, network: _Network, x: Tensor, y: Tensor) -> None:
        shuffled = torch.randperm(len(y))
        kept = len(y) // 10 if len(y) >= self.validate else 0
        held, train = shuffled[:kept], shuffled[kept:]
        rate, decay = 4e-4 if self.learning_rate is None else self.learning_rate, self.weight_decay
        epochs = 250 if self.epochs is None else self.epochs
        adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(epochs, 1))
        best, since, state = np.inf, 0, deepcopy(network.state_dict())
        for _ in range(epochs):
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
        if self.line_ is None:
            mean = self.scaling_[0] + self.scaling_[1] * self._outputs(archs)
        else:
            mean = self.warp_.backward(self.line_[0] + self.line_[1] * self._outputs(archs))
        return Prediction(mean, np.full(len(mean), np.nan))

    def _outputs(self, archs: Archs) -> NDArray[np.float64]:
        """The network's standardised values, or the relation's scores, ``(n,)``."""
        parts: list[NDArray[np.float64]] = [np.empty(0)]
        with torch.no_grad():
            for start in range(0, len(archs), 1024):
                some = archs[start : start + 1024]
                if self.network_ is None:
                    parts.append(np.zeros(len(some)))
                else:
                    parts.append(self.network_(self._input(some)).double().cpu().numpy())
        return np.concatenate(parts)


class _Network(nn.Module):
    def __init__(self, graphs: OpGraphs, width: int, layers: int, dropout: float):
        super().__init__()
        self.register_buffer("receivers", graphs.receivers)
        self.operations = len(graphs.operations)
        widths = [self.operations, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 1)

    def features(self, x: Tensor) -> Tensor:
        """The global node's features ``(n, width)``; `x` is as in :meth:`forward`."""
        shared: Tensor | None = self.receivers  # type: ignore[assignment]
        x, receivers = unpack(x, self.operations, shared)
        for i, layer in enumerate(self.layers):
            if i:
                x = receivers @ x
            x = self.dropout(torch.relu(layer(x)))
        return x[:, -1]

    def forward(self, x: Tensor) -> Tensor:
        """Values ``(n,)`` of graphs from `OpGraphs.convolved`."""
        return self.out(self.features(x))[:, 0]


class _Relation(_Network):
    """Which of two graphs is better."""

    def __init__(self, graphs: OpGraphs, width: int, layers: int, dropout: float):
        super().__init__(graphs, width, layers, dropout)
        self.out = nn.Linear(2 * width, 2)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits ``(n, m, 2)`` that the first or the second is better, of features ``(n, width)``, ``(m, width)``."""
        left, right = self.out.weight.chunk(2, dim=1)
        return (first @ left.T)[:, None] + (second @ right.T)[None] + self.out.bias

    def forward(self, x: Tensor) -> Tensor:
        """Log-odds of winning ``(n,)``, averaged over both positions, up to a constant that depends on the opponents.

        The last layer is linear, so the opponents do not affect differences between architectures.
        """
        left, right = self.out.weight.chunk(2, dim=1)
        features = self.features(x.to(left.dtype))
        return 0.5 * features @ (left[0] - left[1] - right[0] + right[1])
