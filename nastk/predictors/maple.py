"""maple: one regressor over architecture and device descriptor, few-shot adapted (Abbasi et al., MAPLE, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.encodings.base import Context, encoding
from nastk.errors import InvalidValue, Unsupported
from nastk.predictors._reference_archs import (
    pick_references,
    reference_values,
)
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class Maple(FewShotPredictor):
    """Fully connected networks from (architecture, descriptor) to the logarithm of latency, for all devices at once.

    A device's descriptor is `Task.descriptor` (its hardware counters, as in the paper) if every task has one, else its
    latencies on reference architectures. Without counters, latency is relative to the references' geometric mean, so
    that only the shape is learned; the references must be measured: :meth:`choose` returns them first, :meth:`adapt`
    requires all of them. Adapting continues the training on the target's samples together with source samples, which
    have a smaller weight (Section 3.3).

    Args:
        encoding: of architectures.
        references: number of architectures that describe a device if there are no counters.
        members: networks of the ensemble, whose mean is the prediction. Each leaves out a fold of the target's samples;
            the std combines the error on these folds with the members' spread. A single member uses all samples and has
            no std.
        epochs, transfer_epochs: passes over the source samples, and steps of adapting.
        target_weight: of the target's samples against as many source samples in each step of adapting.
        width, layers: of the hidden layers.
        batch_size: architecture-device pairs per step.
        learning_rate, weight_decay: of AdamW, annealed by a cosine.
        seed: random seed of references, initial weights and minibatches.
    """

    needs_pretraining = True

    def __init__(
        self,
        encoding: str = "vec+counts",
        references: int = 10,
        members: int = 3,
        epochs: int = 60,
        transfer_epochs: int = 100,
        target_weight: float = 10.0,
        width: int = 128,
        layers: int = 3,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ):
        self.encoding, self.references, self.members = encoding, references, members
        self.epochs, self.transfer_epochs, self.target_weight = epochs, transfer_epochs, target_weight
        self.width, self.layers, self.batch_size = width, layers, batch_size
        self.learning_rate, self.weight_decay, self.seed = learning_rate, weight_decay, seed

    # ---- sources

    def pretrain(self, tasks: Sequence[Task]) -> Maple:
        """Learn all source devices.

        Raises:
            InvalidValue: no tasks, or tasks of several spaces; only some tasks have a descriptor, or descriptors
                have different lengths; fewer shared architectures than references; an option below 1.
        """
        for name in ("references", "members", "layers", "width", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be at least 1; got {getattr(self, name)}")
        self._check_sources(tasks)
        described = [task.descriptor is not None for task in tasks]
        if any(described) and not all(described):
            raise InvalidValue(f"{self.devices[described.index(False)]} has no descriptor, other devices have one")
        self.counters_ = all(described)
        self.references_ = tasks[0].archs[:0] if self.counters_ else pick_references(tasks, self.references, self.seed)
        raw = [self._descriptor(task) for task in tasks]
        if len({len(r) for r in raw}) > 1:
            raise InvalidValue("the devices' descriptors have different lengths")
        descriptors = np.stack(raw)
        spread = descriptors.std(axis=0)
        self.descriptor_scale_ = descriptors.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        archs = np.unique(np.concatenate([task.archs for task in tasks]), axis=0)
        place = {row.tobytes(): i for i, row in enumerate(archs)}
        targets = np.full((len(archs), len(tasks)), np.nan)
        for j, task in enumerate(tasks):
            targets[[place[row.tobytes()] for row in task.archs], j] = np.log(task.values) - self._level(task)
        self.target_scale_ = float(np.nanmean(targets)), float(np.nanstd(targets)) or 1.0
        self._encode(tasks[0].space, tasks[0].context, archs)
        self.y_ = torch.tensor((targets - self.target_scale_[0]) / self.target_scale_[1], dtype=torch.float32)
        self.d_ = self._scale(descriptors)
        generator = torch.Generator().manual_seed(self.seed)
        self.network_ = self._initial(self.x_.shape[1], self.d_.shape[1], generator)
        self._train(generator)
        return self

    def _encode(self, space: SearchSpace, context: Context, archs: Archs) -> None:
        """Prepare the encoding; features are standardised on the sources' architectures ``(n, d)``."""
        self.archs_, self.build_options_ = archs, context.build_options
        self.encoding_ = encoding(self.encoding).fit(space, context, archs)
        features = self.encoding_.transform(archs)
        spread = features.std(axis=0)
        self.feature_scale_ = features.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        self.x_ = self._input(archs)

    def _descriptor(self, task: Task) -> Array:
        """Descriptor of the device, ``(m,)``; logarithms of counters if they are positive."""
        if self.counters_:
            if task.descriptor is None:
                raise InvalidValue("the sources are described by Task.descriptor; the target needs one too")
            return np.sign(task.descriptor) * np.log1p(np.abs(task.descriptor))
        return np.log(reference_values(task, self.references_)) - self._level(task)

    def _level(self, task: Task) -> float:
        if self.counters_:
            return 0.0
        return float(np.log(reference_values(task, self.references_)).mean())

    def _scale(self, descriptors: Array) -> Tensor:
        centre, spread = self.descriptor_scale_
        return torch.tensor((descriptors - centre) / spread, dtype=torch.float32)

    def _input(self, archs: Archs) -> Tensor:
        centre, spread = self.feature_scale_
        return torch.tensor((self.encoding_.transform(archs) - centre) / spread, dtype=torch.float32)

    def _initial(self, features: int, described: int, generator: torch.Generator) -> dict[str, Tensor]:
        made = {}
        widths = [features + described, *[self.width] * self.layers, 1]
        for i, (a, b) in enumerate(pairwise(widths)):
            scale = (2.0 / a) ** 0.5 if b > 1 else (1.0 / a) ** 0.5
            made[f"{i}.w"] = torch.randn((self.members, a, b), generator=generator) * scale
            made[f"{i}.b"] = torch.zeros((self.members, 1, b))
        return made

    def _forward(self, p: dict[str, Tensor], x: Tensor, d: Tensor) -> Tensor:
        """Scaled logarithms ``(members, n, devices)`` from features ``(members, n, f)`` and ``(devices, m)``."""
        f = x.shape[2]
        w = p["0.w"]
        h = (x @ w[:, :f])[:, :, None] + (d @ w[:, f:])[:, None] + p["0.b"][:, None]
        m, n, devices, _ = h.shape
        h = torch.relu(h).reshape(m, n * devices, -1)
        for i in range(1, self.layers + 1):
            h = torch.baddbmm(p[f"{i}.b"], h, p[f"{i}.w"])
            h = torch.relu(h) if i < self.layers else h
        return h.reshape(m, n, devices)

    def _train(self, generator: torch.Generator) -> None:
        count, devices = self.y_.shape
        known = torch.isfinite(self.y_)
        y = torch.nan_to_num(self.y_)
        each = min(count, max(1, round(self.batch_size / devices)))
        steps = -(-count // each)
        adam, schedule = self._optimiser(self.network_, self.epochs * steps)
        for _ in range(self.epochs):
            order = torch.stack([torch.randperm(count, generator=generator) for _ in range(self.members)])
            for step in range(steps):
                rows = order[:, step * each : (step + 1) * each]
                error = (self._forward(self.network_, self.x_[rows], self.d_) - y[rows]) ** 2 * known[rows]
                adam.zero_grad()
                (error.sum() / known[rows].sum().clamp(min=1) * self.members).backward()
                adam.step()
                schedule.step()
        for value in self.network_.values():
            value.requires_grad_(False)

    def _optimiser(self, network: dict[str, Tensor], steps: int) -> tuple[Any, Any]:
        for value in network.values():
            value.requires_grad_(True)
        adam = torch.optim.AdamW(network.values(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        return adam, torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1))

    # ---- target

    def adapt(self, task: Task) -> Predictor:
        """A predictor of one device.

        Raises:
            InvalidValue: nothing was pretrained; a source device; fewer than two or unequal measurements; no descriptor
                where the sources have one; otherwise a reference architecture is not among the measured ones.
        """
        self._check_target(task)
        return _Adapted(self, task)

    # ---- on disk

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Networks and source samples, which adapting trains on again.

        Raises:
            Unsupported: the encoding looks up values that belong to the context.
        """
        self._check_pretrained()
        assert self.source_space is not None
        if {"zcp", "hwl"} & {term.strip() for term in self.encoding.split("+")}:
            raise Unsupported(f"maple with encoding {self.encoding} cannot be stored: its features are looked up")
        arrays: dict[str, NDArray[Any]] = {f"network.{name}": value.numpy() for name, value in self.network_.items()}
        arrays |= {
            "archs": self.archs_,
            "references": self.references_,
            "targets": self.y_.numpy(),
            "descriptors": self.d_.numpy(),
            "scale.target": np.array(self.target_scale_),
            "scale.descriptor": np.stack(self.descriptor_scale_),
        }
        space = self.source_space.whole.name
        facts = {"space": space, "devices": list(self.devices), "counters": self.counters_}
        return facts | {"build_options": self.build_options_}, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        space = space or (task.space if task else None)
        assert space is not None
        self.source_space, self.devices_, self.counters_ = space, tuple(facts["devices"]), bool(facts["counters"])
        self._encode(space, Context(build_options=facts["build_options"]), arrays["archs"])
        self.references_ = arrays["references"]
        self.y_, self.d_ = torch.tensor(arrays["targets"]), torch.tensor(arrays["descriptors"])
        centre, spread = arrays["scale.target"].tolist()
        self.target_scale_ = centre, spread
        self.descriptor_scale_ = arrays["scale.descriptor"][0], arrays["scale.descriptor"][1]
        self.network_ = {
            name.removeprefix("network."): torch.tensor(a) for name, a in arrays.items() if name.startswith("network.")
        }
        if task is None:
            return self
        return self.adapt(replace(task, descriptor=arrays.get("task.descriptor")))


class _Adapted(Predictor):
    """A device's latency: networks whose training was continued on its samples."""

    def __init__(self, few: Maple, task: Task):
        self.few = few
        self.fit(task)

    def fit(self, task: Task) -> _Adapted:
        few = self.few
        self.task_ = task
        self.level_ = few._level(task)
        self.device_ = few._scale(few._descriptor(task)[None])
        network = {name: value.clone() for name, value in few.network_.items()}
        centre, spread = few.target_scale_
        x = few._input(task.archs).expand(few.members, -1, -1)
        y = torch.tensor((np.log(task.values) - self.level_ - centre) / spread, dtype=torch.float32)[None, :, None]
        known = torch.isfinite(few.y_)
        source_y = torch.nan_to_num(few.y_)
        generator = torch.Generator().manual_seed(few.seed)
        adam, schedule = few._optimiser(network, few.transfer_epochs)
        seen = self._folds(task)
        for _ in range(few.transfer_epochs):
            rows = torch.randint(len(source_y), (few.members, len(task)), generator=generator)
            beside = (few._forward(network, few.x_[rows], few.d_) - source_y[rows]) ** 2 * known[rows]
            mine = (few._forward(network, x, self.device_) - y) ** 2 * seen
            adam.zero_grad()
            (few.members * (few.target_weight * mine.sum() / seen.sum() + beside.mean())).backward()
            adam.step()
            schedule.step()
        self.network_ = {name: value.requires_grad_(False) for name, value in network.items()}
        error = (few._forward(network, x, self.device_) - y) ** 2 * (1.0 - seen)
        self.misfit_ = float((error.sum() / (1.0 - seen).sum()).sqrt()) * spread if few.members > 1 else np.nan
        return self

    def _folds(self, task: Task) -> Tensor:
        """Ones where a member learns from a sample, ``(members, n, 1)``; each of several members leaves out a fold."""
        members = self.few.members
        if members == 1:
            return torch.ones((1, len(task), 1))
        fold = np.empty(len(task), dtype=np.int64)
        fold[np.lexsort(task.archs.T)] = np.arange(len(task)) % members
        return torch.tensor(fold != np.arange(members)[:, None], dtype=torch.float32)[:, :, None]

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        few = self.few
        centre, spread = few.target_scale_
        parts = []
        for start in range(0, len(archs), 4096):
            x = few._input(archs[start : start + 4096]).expand(few.members, -1, -1)
            parts.append(few._forward(self.network_, x, self.device_)[:, :, 0].double().numpy())
        z = np.concatenate(parts, axis=1) if parts else np.empty((few.members, 0))
        values = np.exp(np.clip(z * spread + centre + self.level_, -50.0, 50.0))
        mean = values.mean(axis=0)
        if few.members == 1:
            return Prediction(mean, np.full(len(mean), np.nan))
        return Prediction(mean, np.sqrt(values.var(axis=0, ddof=1) + (mean * self.misfit_) ** 2))

    @property
    def template(self) -> Predictor:
        return self.few

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The pretrained state and the samples; adapting again is quick and deterministic."""
        facts, arrays = self.few.learned()
        arrays |= {"task.archs": self.task_.archs.astype(np.int64), "task.values": self.task_.values}
        if self.task_.descriptor is not None:
            arrays["task.descriptor"] = self.task_.descriptor
        return facts, arrays
