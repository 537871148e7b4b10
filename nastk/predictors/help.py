"""help: meta-learned latency predictor, devices described by reference latencies (Lee et al., HELP, NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.errors import InvalidValue
from nastk.predictors._graph_layers import encode_graphs
from nastk.predictors._multi_predict_network import Layout, Parameters, initial
from nastk.predictors._op_graphs import OpGraphs
from nastk.predictors._reference_archs import (
    pick_references,
    reference_values,
)
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]


class Help(FewShotPredictor):
    """Meta-SGD over devices (Sections 3.2 to 3.4): initial weights, a step size per weight, and a modulator per device.

    A device is described by its min-max normalised latencies on the reference architectures. From these, one network
    computes an embedding that is concatenated with the architecture's, another a Gaussian that scales the last layers'
    weights. Two inner gradient steps on the support samples adapt all weights; the outer loss, on query samples, is
    differentiated through them.

    The references must be measured: :meth:`choose` returns them first, and :meth:`adapt` requires all of them.

    Args:
        references: number of architectures that describe a device.
        episodes: outer steps; by default 2,000 for cells and 4,000 for chains.
        meta_batch: devices per step.
        support, query: samples per device in an episode.
        inner_steps: gradient steps, in training and in adapting.
        inner_rate: initial step size of every weight.
        learning_rate: of the outer Adam; the paper uses 1e-4, the tuned rerun by NASFLAT's authors 1e-3.
        modulation: scale of the modulator's Gaussian.
        divergence: weight of its Kullback-Leibler divergence from a standard normal.
        draws: samples of the modulator that a prediction averages.
        width, graph_layers: of the encoder.
        seed: random seed of references, initial weights and episodes.
    """

    needs_pretraining = True

    def __init__(
        self,
        references: int = 10,
        episodes: int | None = None,
        meta_batch: int = 8,
        support: int = 10,
        query: int = 200,
        inner_steps: int = 2,
        inner_rate: float = 1e-3,
        learning_rate: float = 1e-3,
        modulation: float = 0.01,
        divergence: float = 0.1,
        draws: int = 10,
        width: int = 100,
        graph_layers: int = 4,
        seed: int = 0,
    ):
        self.references, self.episodes, self.meta_batch = references, episodes, meta_batch
        self.support, self.query, self.inner_steps, self.inner_rate = support, query, inner_steps, inner_rate
        self.learning_rate, self.modulation, self.divergence, self.draws = learning_rate, modulation, divergence, draws
        self.width, self.graph_layers, self.seed = width, graph_layers, seed

    # ---- sources

    def pretrain(self, tasks: Sequence[Task]) -> Help:
        """Learn the initial weights, their step sizes and the modulator.

        Raises:
            InvalidValue: no tasks, tasks of several spaces, or fewer shared architectures than references; an option
                out of its range.
        """
        counts = ("meta_batch", "support", "query", "inner_steps", "draws", "width", "graph_layers")
        for name, least in (("references", 2), *((name, 1) for name in counts)):
            if getattr(self, name) < least:
                raise InvalidValue(f"{name} must be at least {least}; got {getattr(self, name)}")
        self._check_sources(tasks)
        self.references_ = pick_references(tasks, self.references, self.seed)
        self._network(tasks[0].space)
        generator = torch.Generator().manual_seed(self.seed)
        start = self._initial(generator)
        rates = {name: torch.full_like(value, self.inner_rate) for name, value in start.items() if _adapts(name)}
        inputs = [self._input(task.archs) for task in tasks]
        values = [torch.tensor(_min_max(task.values), dtype=torch.float32) for task in tasks]
        devices = torch.tensor(
            np.stack([_min_max(reference_values(task, self.references_)) for task in tasks]), dtype=torch.float32
        )
        learned = [*start.values(), *rates.values()]
        for value in learned:
            value.requires_grad_(True)
        adam = torch.optim.Adam(learned, lr=self.learning_rate, fused=True)
        episodes = self.episodes or (2000 if self.layout_.kind == "gcn" else 4000)
        for _ in range(episodes):
            chosen = torch.randperm(len(tasks), generator=generator)[: self.meta_batch].tolist()
            rows = [torch.randperm(len(values[j]), generator=generator)[: self.support + self.query] for j in chosen]
            least = min(len(r) for r in rows)
            x = torch.stack([inputs[j][r[:least]] for j, r in zip(chosen, rows, strict=True)])
            y = torch.stack([values[j][r[:least]] for j, r in zip(chosen, rows, strict=True)])
            cut = min(self.support, least // 2)
            state, divergence = self._task_state(start, devices[chosen], generator)
            state = self._inner(state, rates, x[:, :cut], y[:, :cut], devices[chosen], create_graph=True)
            out = self._forward(state, x[:, cut:], devices[chosen])
            loss = ((out - y[:, cut:]) ** 2).mean() + self.divergence * divergence
            adam.zero_grad()
            loss.backward()
            adam.step()
        for value in learned:
            value.requires_grad_(False)
        self.start_, self.rates_ = start, rates
        return self

    def _network(self, space: SearchSpace) -> None:
        graphs = OpGraphs(space)
        cell = not graphs.chain
        self.graphs_ = graphs if cell else None
        self.receivers_ = graphs.receivers if cell else None
        inputs = len(graphs.operations) if cell else int(space.sizes.sum())
        kind = "gcn" if cell else "mlp"
        hidden = () if cell else (self.width,)
        self.layout_ = Layout(kind, inputs, hidden, self.graph_layers, self.width, self.width, 0, 0, (1,))

    def _initial(self, generator: torch.Generator) -> Parameters:
        w = self.width
        made = {n: v for n, v in initial(self.layout_, 1, generator).items() if n.startswith(("graph", "encoder"))}
        r = self.references
        sizes = {
            "device0": (r, w),
            "device1": (w, w),
            "head0": (2 * w, 2 * w),
            "head1": (2 * w, 2 * w),
            "head2": (2 * w, 1),
            "z0": (r, r),
            "z1": (r, r),
            "z2": (r, 2 * 3 * (2 * w + 1)),
        }
        for name, (width, out) in sizes.items():
            bound = 1.0 / width**0.5
            made[f"{name}.w"] = (torch.rand((1, width, out), generator=generator) * 2 - 1) * bound
            made[f"{name}.b"] = (torch.rand((1, 1, out), generator=generator) * 2 - 1) * bound
        return made

    def _input(self, archs: Archs) -> Tensor:
        if self.graphs_ is not None:
            return self.graphs_.convolved(archs)
        assert self.source_space is not None
        return torch.tensor(self.source_space.one_hot(archs), dtype=torch.float32)

    def _task_state(self, start: Parameters, devices: Tensor, generator: torch.Generator) -> tuple[Parameters, Tensor]:
        """Weights ``(devices, ...)`` before the inner steps, and the modulator's divergence."""
        count = len(devices)
        h = devices[:, None]
        for i in range(3):
            h = h @ start[f"z{i}.w"] + start[f"z{i}.b"]
            h = torch.relu(h) if i < 2 else h
        mean, log = h.chunk(2, dim=2)
        log = log.clamp(-10.0, 4.0)
        z = mean + (0.5 * log).exp() * torch.randn(mean.shape, generator=generator)
        divergence = 0.5 * (mean**2 + log.exp() - log - 1.0).mean()
        state = {name: value.expand(count, -1, -1) for name, value in start.items() if _adapts(name)}
        for i, part in enumerate(z.chunk(3, dim=2)):
            scale = 1.0 + self.modulation * part
            state[f"head{i}.w"] = state[f"head{i}.w"] * scale[:, :, :-1].transpose(1, 2)
            state[f"head{i}.b"] = state[f"head{i}.b"] * scale[:, :, -1:]
        return state, divergence

    def _inner(
        self, state: Parameters, rates: Parameters, x: Tensor, y: Tensor, devices: Tensor, create_graph: bool
    ) -> Parameters:
        """The weights after the inner gradient steps; weights are separate per device, so one summed loss serves
        all."""
        for _ in range(self.inner_steps):
            loss = ((self._forward(state, x, devices) - y) ** 2).mean(dim=1).sum()
            names = list(state)
            gradients = torch.autograd.grad(loss, [state[n] for n in names], create_graph=create_graph)
            state = {n: state[n] - rates[n] * g for n, g in zip(names, gradients, strict=True)}
            if not create_graph:
                state = {n: v.detach().requires_grad_(True) for n, v in state.items()}
        return state

    def _forward(self, state: Parameters, x: Tensor, devices: Tensor) -> Tensor:
        """Normalised latencies ``(devices, n)``."""
        h = torch.relu(encode_graphs(state, self.layout_, x, self.receivers_))
        d = devices[:, None]
        for i in range(2):
            d = torch.relu(torch.baddbmm(state[f"device{i}.b"], d, state[f"device{i}.w"]))
        h = torch.cat([h, d.expand(-1, h.shape[1], -1)], dim=2)
        for i in range(3):
            h = torch.baddbmm(state[f"head{i}.b"], h, state[f"head{i}.w"])
            h = torch.relu(h) if i < 2 else h
        return h[:, :, 0]

    # ---- target

    def adapt(self, task: Task) -> Predictor:
        """A predictor of one device.

        Raises:
            InvalidValue: nothing was pretrained; a source device; fewer than two or unequal measurements; a reference
                architecture is not among the measured ones, or all references are equally fast.
        """
        self._check_target(task)
        return _Adapted(self, task)

    # ---- on disk

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        self._check_pretrained()
        assert self.source_space is not None
        arrays = {f"start.{name}": value.numpy() for name, value in self.start_.items()}
        arrays |= {f"rate.{name}": value.numpy() for name, value in self.rates_.items()}
        facts = {"space": self.source_space.whole.name, "devices": list(self.devices)}
        return facts, arrays | {"references": self.references_}

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        space = space or (task.space if task else None)
        assert space is not None
        self.source_space, self.devices_ = space, tuple(facts["devices"])
        self._network(space)
        self.references_ = arrays["references"]
        self.start_, self.rates_ = (
            {name.removeprefix(part): torch.tensor(a) for name, a in arrays.items() if name.startswith(part)}
            for part in ("start.", "rate.")
        )
        return self if task is None else self.adapt(task)


def _adapts(name: str) -> bool:
    return not name.startswith("z")


def _min_max(values: Array) -> Array:
    return (values - values.min()) / max(float(np.ptp(values)), 1e-12)


class _Adapted(Predictor):
    """A device's latency: the weights after the inner steps, for several draws of the modulator."""

    def __init__(self, few: Help, task: Task):
        self.few = few
        self.fit(task)

    def fit(self, task: Task) -> _Adapted:
        few = self.few
        self.task_ = task
        described = _min_max(reference_values(task, few.references_))
        self.device_ = torch.tensor(described, dtype=torch.float32).expand(few.draws, -1)
        generator = torch.Generator().manual_seed(few.seed)
        x = few._input(task.archs).expand(few.draws, *few._input(task.archs).shape)
        y = torch.tensor(_min_max(task.values), dtype=torch.float32).expand(few.draws, -1)
        state, _ = few._task_state(few.start_, self.device_, generator)
        state = {name: value.clone().requires_grad_(True) for name, value in state.items()}
        state = few._inner(state, few.rates_, x, y, self.device_, create_graph=False)
        self.state_ = {name: value.detach() for name, value in state.items()}
        return self

    def predict(self, archs: Any) -> Prediction:
        """Mean in the metric's unit over the modulator's draws; no standard deviation (NaN)."""
        archs = self._checked(archs)
        parts = []
        with torch.no_grad():
            for start in range(0, len(archs), 2048):
                x = self.few._input(archs[start : start + 2048])
                parts.append(
                    self.few._forward(self.state_, x.expand(self.few.draws, *x.shape), self.device_).mean(dim=0)
                )
        z = torch.cat(parts).double().numpy() if parts else np.empty(0)
        low, span = float(self.task_.values.min()), float(np.ptp(self.task_.values))
        return Prediction(np.maximum(low + span * z, 0.1 * low), np.full(len(z), np.nan))

    @property
    def template(self) -> Predictor:
        return self.few

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The pretrained state and the samples; adapting again is quick and deterministic."""
        facts, arrays = self.few.learned()
        return facts, arrays | {"task.archs": self.task_.archs.astype(np.int64), "task.values": self.task_.values}
