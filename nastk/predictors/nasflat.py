"""nasflat: graph network with operation-wise device embeddings, ranking loss (Akhauri & Abdelfattah, MLSys 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from nastk.encodings.base import Context, encoding
from nastk.predictors._graph_layers import Ensemble, mean_node, perceptron
from nastk.predictors._op_graphs import GraphTensors, OpGraphs
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class Nasflat(FewShotPredictor):
    """Two passes over the graph: the first updates the operations' embeddings, the second predicts.

    Every node reads its operation's embedding joined with the device's, so that a device can weigh each operation. The
    loss is the pairwise hinge over a batch of architectures on all devices, latencies min-max normalised within each.
    A new device starts with the embedding of the source that ranks its samples most alike; a copy of everything is
    then fine-tuned. Ranks are calibrated to the metric by a line through the samples' logarithms.

    Args:
        supplement: encoding that is joined before the head ("zcp", "statics" ...), or None.
        source_samples: architectures a source device that are used, at most.
        epochs, batch_size, learning_rate, weight_decay: of pretraining, AdamW annealed by a cosine to 1e-6.
        transfer_epochs, transfer_learning_rate: of fine-tuning; by default 40 and 3e-3 for cells, 30 and 1e-3 for
            chains.
        transfer_batch_size: samples of the target a step.
        margin: of the hinge.
        operation_width, device_width, node_width, width: of the embeddings and of the layers.
        update_layers, layers: graph layers of the first and of the second pass.
        head: widths of the head's hidden layers.
        dropout: in the head.
        seed: of initial weights, source samples and batches.
    """

    needs_pretraining = True

    def __init__(
        self,
        supplement: str | None = None,
        source_samples: int = 512,
        epochs: int = 150,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        transfer_epochs: int | None = None,
        transfer_learning_rate: float | None = None,
        transfer_batch_size: int = 16,
        margin: float = 0.1,
        operation_width: int = 40,
        device_width: int = 8,
        node_width: int = 48,
        width: int = 128,
        update_layers: int = 2,
        layers: int = 3,
        head: tuple[int, ...] = (200, 200, 200),
        dropout: float = 0.1,
        seed: int = 0,
    ):
        self.supplement, self.source_samples = supplement, source_samples
        self.epochs, self.batch_size = epochs, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.transfer_epochs, self.transfer_learning_rate = transfer_epochs, transfer_learning_rate
        self.transfer_batch_size, self.margin = transfer_batch_size, margin
        self.operation_width, self.device_width, self.node_width = operation_width, device_width, node_width
        self.width, self.update_layers, self.layers = width, update_layers, layers
        self.head, self.dropout, self.seed = head, dropout, seed

    def pretrain(self, tasks: Sequence[Task]) -> Nasflat:
        self._check_sources(tasks)
        rng = np.random.default_rng(self.seed)
        graphs = OpGraphs(tasks[0].space)
        self.chain_, self.graphs_ = graphs.chain, graphs
        parts, values, devices = [], [], []
        for j, task in enumerate(tasks):
            rows = rng.permutation(len(task))[: self.source_samples]
            parts.append(task.archs[rows])
            values.append(_min_max(task.values[rows]))
            devices.append(np.full(len(rows), j))
        archs = np.concatenate(parts)
        self.archs_ = np.unique(archs, axis=0)
        self._fit_supplement(tasks[0].space, tasks[0].context)
        extras = self._extras(archs, tasks[0].context)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = _Network(self, graphs, len(tasks), 0 if extras is None else extras.shape[1])
            _train(
                self.network_,
                (self._inputs(archs), torch.tensor(np.concatenate(devices)), extras),
                torch.tensor(np.concatenate(values), dtype=torch.float32),
                self.epochs,
                self.batch_size,
                self.learning_rate,
                self.weight_decay,
                self.margin,
            )
        return self

    def _inputs(self, archs: Archs) -> GraphTensors:
        """Graphs; of chains the nodes between input and output, each with an edge to itself alone: a chain's edges
        say nothing, and the published networks for FBNet have none."""
        graphs = self.graphs_(archs)
        if not self.chain_:
            return graphs
        inner = graphs.edges[..., 1:-1, 1:-1]
        used = None if graphs.used is None else graphs.used[:, 1:-1]
        return GraphTensors(graphs.numbers[:, 1:-1], torch.eye(inner.shape[-1]).expand_as(inner), used)

    def _fit_supplement(self, space: SearchSpace, context: Context) -> None:
        self.scale_: tuple[Array, Array] | None = None
        if self.supplement is None:
            return
        values = encoding(self.supplement).fit(space, context, self.archs_).transform(self.archs_)
        spread = values.std(axis=0)
        self.scale_ = values.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)

    def _extras(self, archs: Archs, context: Context) -> Tensor | None:
        if self.scale_ is None:
            return None
        assert self.source_space is not None
        assert self.supplement is not None
        values = encoding(self.supplement).fit(self.source_space, context, self.archs_).transform(archs)
        return torch.tensor((values - self.scale_[0]) / self.scale_[1], dtype=torch.float32)

    def adapt(self, task: Task) -> Predictor:
        self._check_target(task)
        return _Adapted(self, task)


def _min_max(values: Array) -> Array:
    return (values - values.min()) / max(float(np.ptp(values)), 1e-12)


class _Network(nn.Module):
    """Scores of (architecture, device) pairs: larger is slower."""

    def __init__(self, few: Nasflat, graphs: OpGraphs, devices: int, extras: int):
        super().__init__()
        nodes = graphs.nodes - 2 if few.chain_ else graphs.nodes
        self.chain = few.chain_
        self.devices = nn.Parameter(0.1 * torch.randn(devices, few.device_width))
        self.operations = nn.Embedding(len(graphs.operations), few.operation_width)
        self.nodes = nn.Parameter(torch.randn(nodes, few.node_width))
        operation = few.operation_width + few.device_width
        widths = [few.node_width, *[few.width] * few.update_layers]
        self.first = nn.ModuleList(Ensemble(a, b, operation) for a, b in pairwise(widths))
        self.summary = perceptron([few.width] * 4)
        self.update = perceptron([few.width + operation, 128, operation])
        widths = [few.node_width, *[few.width] * few.layers]
        self.second = nn.ModuleList(Ensemble(a, b, operation) for a, b in pairwise(widths))
        self.supplement = perceptron([extras, 128, 128, 48]) if extras else None
        self.head = perceptron([few.width + (48 if extras else 0), *few.head, 1], few.dropout)

    def forward(self, graphs: GraphTensors, devices: Tensor, extras: Tensor | None) -> Tensor:
        """Scores ``(n,)`` of graphs on devices ``(n, device_width)``."""
        count, nodes = graphs.numbers.shape
        adjacency = graphs.edges.transpose(-1, -2)
        operations = torch.cat([self.operations(graphs.numbers), devices[:, None].expand(-1, nodes, -1)], dim=2)
        x = self.nodes.expand(count, -1, -1)
        h = x
        for layer in self.first:
            h = layer(h, operations, adjacency)
        seen = self.summary(mean_node(h, graphs.used) if self.chain else h[:, -1])
        operations = self.update(torch.cat([operations, seen[:, None].expand(-1, nodes, -1)], dim=2))
        h = x
        for layer in self.second:
            h = layer(h, operations, adjacency)
        read = mean_node(h, graphs.used)
        if self.supplement is not None:
            assert extras is not None
            read = torch.cat([read, self.supplement(extras)], dim=1)
        return self.head(read)[:, 0]


def _train(
    network: _Network,
    inputs: tuple[GraphTensors, Tensor, Tensor | None],
    values: Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    margin: float,
) -> None:
    """Pairwise hinge over all pairs of a batch; `inputs` are graphs, device numbers and extras of the pairs."""
    graphs, devices, extras = inputs
    adam = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(epochs, 1), eta_min=1e-6)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(values)).split(batch_size):
            if len(rows) < 2:
                continue
            some = None if extras is None else extras[rows]
            scores = network(graphs.rows(rows), network.devices[devices[rows]], some)
            slower = values[rows][:, None] > values[rows]
            if not slower.any():
                continue
            hinge = torch.relu(margin - (scores[:, None] - scores))
            adam.zero_grad()
            (hinge * slower).sum().div(slower.sum()).backward()
            adam.step()
        schedule.step()
    network.eval()


class _Adapted(Predictor):
    """A device's latency: a fine-tuned copy of the network, calibrated on the samples."""

    def __init__(self, few: Nasflat, task: Task):
        self.few = few
        self.fit(task)

    def fit(self, task: Task) -> _Adapted:
        few = self.few
        self.task_ = task
        self.network_ = deepcopy(few.network_)
        order = np.lexsort(task.archs.T)  # what is learned does not depend on the order of the samples
        archs, values = task.archs[order], task.values[order]
        graphs, extras = few._inputs(archs), few._extras(archs, task.context)
        truth = rankdata(values)
        alike = []
        with torch.no_grad():
            for row in self.network_.devices:
                scores = self.network_(graphs, row.expand(len(archs), -1), extras).numpy()
                alike.append(np.corrcoef(rankdata(scores), truth)[0, 1] if np.ptp(scores) else -1.0)
            nearest = self.network_.devices[int(np.argmax(alike))]
            self.network_.devices = nn.Parameter(nearest[None].clone())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(few.seed)
            _train(
                self.network_,
                (graphs, torch.zeros(len(values), dtype=torch.int64), extras),
                torch.tensor(_min_max(values), dtype=torch.float32),
                few.transfer_epochs or (30 if few.chain_ else 40),
                few.transfer_batch_size,
                few.transfer_learning_rate or (1e-3 if few.chain_ else 3e-3),
                few.weight_decay,
                few.margin,
            )
        scores, logs = self._scores(archs), np.log(values)
        spread = float(scores.var())
        slope = float(((scores - scores.mean()) * (logs - logs.mean())).mean()) / spread if spread else 0.0
        self.line_ = float(logs.mean() - max(slope, 1e-6) * scores.mean()), max(slope, 1e-6)
        return self

    def _scores(self, archs: Archs) -> Array:
        extras = self.few._extras(archs, self.task_.context)
        parts = []
        with torch.no_grad():
            for start in range(0, len(archs), 1024):
                here = slice(start, start + 1024)
                device = self.network_.devices.expand(len(archs[here]), -1)
                some = None if extras is None else extras[here]
                parts.append(self.network_(self.few._inputs(archs[here]), device, some).double())
        return torch.cat(parts).numpy() if parts else np.empty(0)

    def predict(self, archs: Any) -> Prediction:
        """Mean in the metric's unit; no standard deviation (NaN)."""
        offset, slope = self.line_
        logs = np.log(self.task_.values)
        low, high = logs.min(), logs.max()
        room = 2.0 * (high - low)
        mean = np.exp(np.clip(offset + slope * self._scores(self._checked(archs)), low - room, high + room))
        return Prediction(mean, np.full(len(mean), np.nan))

    @property
    def template(self) -> Predictor:
        return self.few
