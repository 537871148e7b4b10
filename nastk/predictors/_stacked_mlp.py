"""Small perceptrons trained together: the weights of all members are one tensor."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.encodings.base import Encoding, encoding
from nastk.errors import InvalidValue
from nastk.predictors._normal_scores import Scale
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs


class StackedMLP(Predictor):
    """Perceptrons with ReLU on an encoding; the mean of the members, their spread as standard deviation.

    Features are standardised by the training data. The metric is learned as normal scores if higher is better
    (accuracies concentrate near the best), standardised otherwise.
    """

    members: int
    encoding: str
    width: int
    depth: int
    epochs: int
    learning_rate: float
    weight_decay: float
    seed: int
    device: str

    def fit(self, task: Task) -> StackedMLP:
        if not len(task):
            raise InvalidValue(f"{type(self).__name__} needs at least one architecture")
        self.task_ = task
        self.encoding_: Encoding = encoding(self.encoding).fit(task.space, task.context)
        task = task.subset(np.lexsort((task.values, *task.archs.T)))  # independent of the order of the samples
        features = self.encoding_.transform(task.archs)
        spread = features.std(axis=0)
        self.centre_, self.spread_ = features.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        self.scale_ = Scale.fit("auto", task.values, task.direction)
        x = self._tensor((features - self.centre_) / self.spread_)
        y = self._tensor(self.scale_.forward(task.values))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.weights_ = self._train(x, y)
        return self

    def _tensor(self, values: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def _train(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """AdamW on all data at once, the rate annealed by a cosine; the last layer starts at zero."""
        widths = [x.shape[1], *[self.width] * self.depth, 1]
        weights: list[Tensor] = []
        for a, b in pairwise(widths):
            bound = (3.0 / max(a, 1)) ** 0.5
            weights += [(torch.rand(self.members, a, b) * 2 - 1) * bound, torch.zeros(self.members, 1, b)]
        weights[-2].mul_(0.1)
        weights = [w.to(self.device).requires_grad_(True) for w in weights]
        adam = torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.epochs, 1))
        for _ in range(self.epochs):
            loss = self._loss(_forward(weights, x), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        return [w.detach() for w in weights]

    def _loss(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Loss of outputs ``(members, n)``, summed over the members."""
        return (found - wanted).square().mean(dim=1).sum()

    def _members(self, archs: Archs) -> NDArray[np.float64]:
        """Every member's output, ``(members, n)``, as normal scores."""
        if not len(archs):
            return np.empty((self.members, 0))
        x = self._tensor((self.encoding_.transform(archs) - self.centre_) / self.spread_)
        with torch.no_grad():
            return _forward(self.weights_, x).double().cpu().numpy()

    def predict(self, archs: object) -> Prediction:
        """Mean in the metric's unit and the members' spread; no standard deviation (NaN) for a single member."""
        found = self._members(self._checked(archs))
        mean = self.scale_.backward(found.mean(axis=0))
        if self.members == 1:
            return Prediction(mean, np.full(len(mean), np.nan))
        spread = found.std(axis=0, ddof=1)
        low, high = (self.scale_.backward(found.mean(axis=0) + s * spread) for s in (-1.0, 1.0))
        return Prediction(mean, (high - low) / 2.0)

    @property
    def relaxable(self) -> bool:  # type: ignore[override]
        """Whether the encoding has a relaxed form."""
        return encoding(self.encoding).relaxable

    def predict_relaxed(self, one_hot: Tensor) -> Tensor:
        if not self.relaxable:
            return super().predict_relaxed(one_hot)
        self._checked(np.empty((0, self.task_.space.d), dtype=np.int64))
        features = self.encoding_.transform_relaxed(one_hot.float())
        x = (features - self._tensor(self.centre_)) / self._tensor(self.spread_)
        return self.scale_.backward_relaxed(_forward(self.weights_, x).mean(0))


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    """Outputs ``(members, n)``."""
    h = x.expand(weights[0].shape[0], -1, -1)
    for i in range(0, len(weights), 2):
        h = torch.baddbmm(weights[i + 1], h, weights[i])
        if i < len(weights) - 2:
            h = torch.relu(h)
    return h[..., 0]
