"""transfer-mlp: network on proxies that moves between spaces (Akhauri & Abdelfattah, Multi-Predict, AutoML 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from nastk.encodings.base import Encoding, encoding, some_archs
from nastk.errors import InvalidValue
from nastk.predictors._normal_scores import Scale, rank_places
from nastk.predictors._proxy_quantiles import proxy_names, proxy_quantiles
from nastk.predictors.base import Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace

BATCH = 128


class TransferMLP(Predictor):
    """Multi-Predict's network for transfer between spaces (Section 4, Table 14): perceptron with a sigmoid output.

    On proxies (``encoding="zcp"``) it is pretrained on tasks of any spaces and fine-tuned on the new one; on any other
    encoding it learns from scratch, which is the paper's baseline. Proxies are quantiles within their space (the paper
    scales by their least and greatest value, which one outlier spoils); those that a space lacks are at the middle.
    Targets are places among the known values.

    Args:
        encoding: "zcp", or terms joined by ``+`` to learn from scratch on.
        without: proxies that are not looked at.
        width, depth: of the network.
        epochs, learning_rate: of learning from scratch (the paper's).
        source_epochs, source_rate: of pretraining; the paper's 250 and 4e-3 fit the source too closely.
        fine_epochs, fine_rate: of fine-tuning; the paper's 50 and 4e-4 hardly move the network.
        seed: of weights and minibatches.
        device: torch device.
    """

    def __init__(
        self,
        encoding: str = "zcp",
        without: tuple[str, ...] = (),
        width: int = 128,
        depth: int = 4,
        epochs: int = 250,
        learning_rate: float = 4e-3,
        source_epochs: int = 60,
        source_rate: float = 1e-3,
        fine_epochs: int = 100,
        fine_rate: float = 1e-3,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.encoding, self.without, self.width, self.depth = encoding, without, width, depth
        self.epochs, self.learning_rate = epochs, learning_rate
        self.source_epochs, self.source_rate = source_epochs, source_rate
        self.fine_epochs, self.fine_rate, self.seed, self.device = fine_epochs, fine_rate, seed, device

    start_: nn.Sequential | None = None
    proxies_: tuple[str, ...] = ()

    def pretrain(self, tasks: Sequence[Task]) -> TransferMLP:
        """Learn from tasks of any spaces with proxies; returns itself.

        Raises:
            InvalidValue: no tasks, one without proxies, or an encoding that belongs to one space.
        """
        if self.encoding != "zcp":
            raise InvalidValue(f"transfer-mlp moves between spaces on zcp only, not on {self.encoding}")
        self.proxies_ = tuple(name for name in proxy_names(tasks) if name not in self.without)
        x = np.concatenate([_fill(proxy_quantiles(t, self.proxies_, t.archs, t.archs)) for t in tasks])
        y = np.concatenate([rank_places(task) for task in tasks])
        self.start_ = self._train(None, x, y, self.source_epochs, self.source_rate)
        return self

    def adapt(self, task: Task) -> TransferMLP:
        return copy(self).fit(task)

    def fit(self, task: Task) -> TransferMLP:
        if not len(task):
            raise InvalidValue("transfer-mlp needs at least one architecture")
        if self.encoding == "zcp" and not self.proxies_:
            self.proxies_ = tuple(name for name in proxy_names([task]) if name not in self.without)
        self.task_ = task
        self.encoding_: Encoding | None = None
        if self.encoding != "zcp":
            self.encoding_ = encoding(self.encoding).fit(task.space, task.context)
        else:
            self.reference_ = some_archs(task.space)
            if len(self.reference_) > 4000:
                rows = np.random.default_rng(0).choice(len(self.reference_), 4000, replace=False)
                self.reference_ = self.reference_[rows]
        task = task.subset(np.lexsort((task.values, *task.archs.T)))
        self.scale_ = Scale.fit("normal", task.values, task.direction)
        epochs, rate = (self.epochs, self.learning_rate) if self.start_ is None else (self.fine_epochs, self.fine_rate)
        self.network_ = self._train(self.start_, self._input(task.archs), rank_places(task), epochs, rate)
        return self

    def _input(self, archs: Archs) -> NDArray[np.float64]:
        if self.encoding_ is not None:
            return self.encoding_.transform(archs)
        return _fill(proxy_quantiles(self.task_, self.proxies_, archs, self.reference_))

    def _train(
        self, start: nn.Sequential | None, x: NDArray[np.float64], y: NDArray[np.float64], epochs: int, rate: float
    ) -> nn.Sequential:
        """A network after `epochs` of L1 loss by AdamW, from a copy of `start` or from random weights."""
        inputs, wanted = (torch.as_tensor(a, dtype=torch.float32, device=self.device) for a in (x, y))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self._network(x.shape[1])
            if start is not None:
                network.load_state_dict(start.state_dict())
            adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=5e-4, fused=True)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(epochs, 1))
            for _ in range(epochs):
                for rows in torch.randperm(len(y)).split(BATCH):
                    loss = (network(inputs[rows])[:, 0] - wanted[rows]).abs().mean()
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
                schedule.step()
        return network

    def _network(self, inputs: int) -> nn.Sequential:
        widths = [inputs, *[self.width] * self.depth]
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(self.width, 1), nn.Sigmoid()).to(self.device)

    def predict(self, archs: Any) -> Prediction:
        """Mean in the metric's unit; no standard deviation (NaN)."""
        archs = self._checked(archs)
        if not len(archs):
            return Prediction(np.empty(0), np.empty(0))
        x: Tensor = torch.as_tensor(self._input(archs), dtype=torch.float32, device=self.device)
        with torch.no_grad():
            places = self.network_(x)[:, 0].double().cpu().numpy()
        sign = 1.0 if self.task_.direction == "max" else -1.0
        mean = self.scale_.backward(sign * ndtri(np.clip(places, 1e-6, 1 - 1e-6)))
        return Prediction(mean, np.full(len(mean), np.nan))

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        if self.start_ is None:
            return None
        arrays = {f"start.{name}": value.cpu().numpy() for name, value in self.start_.state_dict().items()}
        if hasattr(self, "task_"):
            arrays |= {"archs": self.task_.archs.astype(np.int64), "values": self.task_.values}
        return {"proxies": list(self.proxies_)}, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        self.proxies_ = tuple(facts["proxies"])
        self.start_ = self._network(len(self.proxies_))
        state = {k.removeprefix("start."): torch.as_tensor(v) for k, v in arrays.items() if k.startswith("start.")}
        self.start_.load_state_dict(state)
        return self if task is None else self.fit(replace(task, archs=arrays["archs"], values=arrays["values"]))


def _fill(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred quantiles, zero where missing."""
    return np.nan_to_num(2.0 * quantiles - 1.0)
