"""npnas: graph networks, a classifier of failures and a regressor (Wen et al., Neural Predictor, ECCV 2020)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nastk.errors import InvalidValue
from nastk.predictors._op_graphs import OpGraphs
from nastk.predictors._stacked_gcn import StackedGcn, outputs_of, seeded, train
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.predictors.gcn import Gcn as _Gcn


class Npnas(Predictor):
    """Two stages: a classifier of whether an architecture's value is in the reasonable range, and a regressor within
    it.

    The first stage is an ensemble of graph networks with a logistic output, the second is that of ``gcn``, trained only
    on samples in the range. Predictions of rejected architectures are worse than the threshold, those of accepted ones
    at least as good. Without samples beyond the threshold there is no first stage.

    Args:
        threshold: worst value in the reasonable range, in the metric's unit; None: Tukey's outer fence, 3
            interquartile ranges beyond the worse quartile of the samples.
        members: networks of each stage.
        width, layers, head, dropout: see ``gcn``.
        epochs, batch_size, learning_rate, weight_decay: of either stage, see ``gcn``.
        warp: of the second stage, see ``gcn``.
        seed: random seed of initial weights, dropout and minibatches.
        device: torch device.
    """

    def __init__(
        self,
        threshold: float | None = None,
        members: int = 5,
        width: int = 64,
        layers: int = 3,
        head: int = 64,
        dropout: float = 0.0,
        epochs: int = 100,
        batch_size: int = 20,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        warp: str = "auto",
        seed: int = 0,
        device: str = "cpu",
    ):
        self.threshold, self.members = threshold, members
        self.width, self.layers, self.head, self.dropout = width, layers, head, dropout
        self.epochs, self.batch_size = epochs, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.warp, self.seed, self.device = warp, seed, device

    def fit(self, task: Task) -> Npnas:
        if not len(task):
            raise InvalidValue("npnas needs at least one architecture")
        self.task_ = task
        self.sign_ = 1.0 if task.direction == "max" else -1.0
        goodness = self.sign_ * task.values
        if self.threshold is None:
            low, high = np.quantile(goodness, [0.25, 0.75])
            fence = float(low - 3.0 * (high - low))
        else:
            fence = self.sign_ * self.threshold
        passes = goodness >= fence
        self.graphs_ = OpGraphs(task.space)
        self.classifier_: StackedGcn | None = None
        if passes.any() and not passes.all():
            self.threshold_ = self.sign_ * fence
            failed = task.values[~passes]
            self.failed_ = float(failed.mean()), float(failed.std())
            self._classify(task, passes)
        else:
            passes[:] = True
        self.regressor_ = _Gcn(
            self.members,
            self.width,
            self.layers,
            self.head,
            self.dropout,
            self.epochs,
            self.batch_size,
            self.learning_rate,
            self.weight_decay,
            warp=self.warp,
            seed=self.seed,
            device=self.device,
        ).fit(replace(task.subset(passes), std=None))
        return self

    def _classify(self, task: Task, passes: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        order = np.lexsort((task.values, *task.archs.T))  # independent of the order of the samples
        graphs = self.graphs_(task.archs[order], device=self.device)
        targets = torch.tensor(passes[order], dtype=torch.float32, device=self.device)
        with seeded(self.seed, self.device):
            self.classifier_ = StackedGcn(
                self.members,
                len(self.graphs_.operations),
                self.width,
                self.layers,
                self.head,
                1,
                self.dropout,
            ).to(self.device)
            train(
                self.classifier_,
                graphs,
                targets,
                self.epochs,
                self.batch_size,
                self.learning_rate,
                self.weight_decay,
                "binary",
            )
        self.classifier_.double()

    def passing(self, archs: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Probability of being in the reasonable range, ``(n,)``: the mean of the first stage's members."""
        archs = self._checked(archs)
        if self.classifier_ is None:
            return np.ones(len(archs))
        logits = outputs_of(self.classifier_, self.graphs_, archs)
        return (0.5 * (1.0 + np.tanh(0.5 * logits))).mean(axis=0)

    def predict(self, archs: Any) -> Prediction:
        """Mean and standard deviation in the metric's unit.

        For accepted architectures, mean and spread of the second stage, no worse than the threshold. For rejected ones,
        the mean is interpolated by their probability of passing between that of the failed samples and the threshold,
        and the standard deviation is that of the failed samples.
        """
        archs = self._checked(archs)
        answer = self.regressor_.predict(archs)
        if self.classifier_ is None:
            return answer
        chance = self.passing(archs)
        passes = chance >= 0.5
        kept = self.sign_ * np.maximum(self.sign_ * answer.mean, self.sign_ * self.threshold_)
        rejected = self.failed_[0] + chance * (self.threshold_ - self.failed_[0])
        return Prediction(np.where(passes, kept, rejected), np.where(passes, answer.std, self.failed_[1]))
