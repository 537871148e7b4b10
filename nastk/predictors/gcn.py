"""gcn: graph convolutional ensemble from scratch on one metric (Wen et al., Neural Predictor, ECCV 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nastk.errors import InvalidValue
from nastk.predictors._normal_scores import Scale
from nastk.predictors._op_graphs import OpGraphs
from nastk.predictors._stacked_gcn import StackedGcn, answers, seeded, train
from nastk.predictors.base import Prediction, Predictor, Task

FOLDED = 4
"""Samples a member from which on each member leaves a fold of them out."""


class Gcn(Predictor):
    """Graph convolutions along and against the edges of the operation graph, read at a global node.

    The convolution is Neural Predictor's, the global node BRP-NAS's (Dudziak et al., NeurIPS 2020).
    Several networks with weights and minibatches of their own train together; their mean is the answer, their spread
    its standard deviation. With 4 samples a member or more (and 3 members), each leaves out a fold of the samples, and
    the spread is stretched to its errors there; with fewer it is the bare spread, which is too small.

    Args:
        members: networks.
        width, layers: of the graph convolutions.
        head: width of the hidden layer before the output.
        dropout: after each hidden layer.
        epochs, batch_size: passes over the data, and samples a step.
        learning_rate, weight_decay: of AdamW; the rate warms up and falls to zero along a cosine.
        loss: "absolute" or "squared", of the warped metric.
        warp: "normal" (quantiles of a normal), "identity", or "auto": "normal" where more is better.
        seed: of initial weights, dropout and minibatches.
        device: torch device.
    """

    def __init__(
        self,
        members: int = 5,
        width: int = 64,
        layers: int = 3,
        head: int = 64,
        dropout: float = 0.0,
        epochs: int = 100,
        batch_size: int = 20,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        loss: str = "squared",
        warp: str = "auto",
        seed: int = 0,
        device: str = "cpu",
    ):
        self.members, self.width, self.layers, self.head, self.dropout = members, width, layers, head, dropout
        self.epochs, self.batch_size = epochs, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.loss, self.warp, self.seed, self.device = loss, warp, seed, device

    def fit(self, task: Task) -> Gcn:
        if not len(task):
            raise InvalidValue("gcn needs at least one architecture")
        if self.loss not in ("absolute", "squared"):
            raise InvalidValue(f"unknown loss {self.loss!r}; known: absolute, squared")
        self.task_ = task
        self.graphs_ = OpGraphs(task.space)
        self.warp_ = Scale.fit(self.warp, task.values, task.direction)
        self.network_: StackedGcn | None = None
        self.stretch_ = 1.0
        if np.ptp(task.values) == 0:
            return self
        order = np.lexsort((task.values, *task.archs.T))  # what is learned does not depend on the order of the samples
        values = task.values[order]
        graphs = self.graphs_(task.archs[order], device=self.device)
        targets = torch.tensor(self.warp_.forward(values), dtype=torch.float32, device=self.device)
        shown = np.ones((self.members, len(values)))
        folds = np.random.default_rng(self.seed).permutation(len(values)) % self.members
        if self.members > 2 and len(values) >= FOLDED * self.members:
            shown[folds, np.arange(len(values))] = 0.0
        with seeded(self.seed, self.device):
            self.network_ = StackedGcn(
                self.members,
                len(self.graphs_.operations),
                self.width,
                self.layers,
                self.head,
                1,
                self.dropout,
            ).to(self.device)
            train(
                self.network_,
                graphs,
                targets,
                self.epochs,
                self.batch_size,
                self.learning_rate,
                self.weight_decay,
                "absolute" if self.loss == "absolute" else "squared",
                torch.tensor(shown, dtype=torch.float32, device=self.device),
            )
        self.network_.double()
        if not shown.all():
            scores = answers(self.network_, self.graphs_, task.archs[order])
            missed = scores[folds, np.arange(len(values))] - self.warp_.forward(values)
            spread = scores.std(axis=0, ddof=1)
            self.stretch_ = max(1.0, float(np.sqrt((missed**2).mean() / max((spread**2).mean(), 1e-12))))
        return self

    def predict(self, archs: Any) -> Prediction:
        """Mean and stretched spread of the members; half-width of the central 68 % in the metric's unit."""
        archs = self._checked(archs)
        if self.network_ is None:
            return Prediction(np.full(len(archs), self.task_.values[0]), np.zeros(len(archs)))
        scores = answers(self.network_, self.graphs_, archs)
        mean, spread = scores.mean(axis=0), self.stretch_ * scores.std(axis=0, ddof=1 if self.members > 1 else 0)
        low, high = self.warp_.backward(mean - spread), self.warp_.backward(mean + spread)
        return Prediction(self.warp_.backward(mean), (high - low) / 2)
