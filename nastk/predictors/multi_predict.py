"""multi-predict: one network for all devices, fine-tuned on a few samples (Akhauri & Abdelfattah, AutoML 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nastk.encodings.base import Context, Encoding, encoding
from nastk.errors import InvalidValue
from nastk.predictors._multi_predict_network import Layout, Parameters, forward, initial, optimiser
from nastk.predictors._op_graphs import OpGraphs
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces.base import Archs, Pool, SearchSpace, Seed

Array = NDArray[np.float64]


class MultiPredict(FewShotPredictor):
    """Transfer learning over devices (Section 3; hyper-parameters of Table 15).

    An architecture's embedding and a device's vector go through a common head to the latency, min-max normalised within
    each device. A new device is learned by fine-tuning a copy on its samples.

    Args:
        representation: of a device. "table": a learned row each; a new device starts with the row of the source that
            ranks its samples most alike (Eq. 1). "index": binary digits of its number. "sample": its latencies on as
            many reference architectures as the vector is wide, which :meth:`choose` puts first.
        encoding: "vec", "zcp", "hwl", or "vec" joined with one of them by "+". Without "vec" the network is the
            cross-domain one, and :meth:`adapt` takes tasks of other spaces.
        members: networks that are trained side by side; their mean predicts, their spread is the uncertainty.
        epochs, transfer_epochs: passes over the source samples, and over the target's.
        batch_size: architecture-device pairs a step; the target's samples are one batch.
        learning_rate, transfer_learning_rate, weight_decay: of AdamW, annealed by a cosine.
        loss: "l1" (the authors' code) or "mse" (the paper's text).
        freeze_encoder: fine-tune the head and the device's row only, as in the authors' later code.
        align: scale the target by a line through the source's predictions of the samples, so that fine-tuning starts
            from their scale; False: by the samples' own minimum and maximum.
        device_width, embedding_width: of a device's vector and an architecture's embedding.
        graph_width, graph_layers: of the GCN, for cells.
        hidden_width, hidden_layers: of the fully connected layers after it, 200 wide, or of the MLP, 100 wide.
        head: widths of the layers over embedding and vector together.
        cross_width, cross_layers: of the cross-domain network.
        scratch_epochs: steps of a predictor that was never pretrained.
        seed: of initial weights and minibatches.

    Without :meth:`pretrain`, :meth:`adapt` trains from scratch (the baseline of Figures 6 and 7).
    """

    def __init__(
        self,
        representation: Literal["table", "sample", "index"] = "table",
        encoding: str = "vec",
        members: int = 1,
        epochs: int = 250,
        transfer_epochs: int = 50,
        batch_size: int = 128,
        learning_rate: float = 4e-4,
        transfer_learning_rate: float = 1e-3,
        weight_decay: float = 5e-4,
        loss: Literal["l1", "mse"] = "l1",
        freeze_encoder: bool = True,
        align: bool = True,
        device_width: int = 8,
        embedding_width: int = 30,
        graph_width: int = 200,
        graph_layers: int = 4,
        hidden_width: int | None = None,
        hidden_layers: int = 2,
        head: tuple[int, ...] = (1000,),
        cross_width: int = 256,
        cross_layers: int = 3,
        scratch_epochs: int = 250,
        seed: int = 0,
    ):
        if representation not in ("table", "sample", "index"):
            raise InvalidValue(f"representation must be table, sample or index; got {representation!r}")
        if loss not in ("l1", "mse"):
            raise InvalidValue(f"loss must be l1 or mse; got {loss!r}")
        self.representation, self.encoding, self.members = representation, encoding, members
        self.epochs, self.transfer_epochs, self.batch_size = epochs, transfer_epochs, batch_size
        self.learning_rate, self.transfer_learning_rate = learning_rate, transfer_learning_rate
        self.weight_decay, self.loss = weight_decay, loss
        self.freeze_encoder, self.align = freeze_encoder, align
        self.device_width, self.embedding_width = device_width, embedding_width
        self.graph_width, self.graph_layers = graph_width, graph_layers
        self.hidden_width, self.hidden_layers, self.head = hidden_width, hidden_layers, head
        self.cross_width, self.cross_layers = cross_width, cross_layers
        self.scratch_epochs, self.seed = scratch_epochs, seed

    # ---- sources

    def pretrain(self, tasks: Sequence[Task]) -> MultiPredict:
        self._check_sources(tasks)
        archs = np.unique(np.concatenate([task.archs for task in tasks]), axis=0)
        place = {row.tobytes(): i for i, row in enumerate(archs)}
        targets = np.full((len(archs), len(tasks)), np.nan)
        for j, task in enumerate(tasks):
            low, span = task.values.min(), max(float(np.ptp(task.values)), 1e-12)
            targets[[place[row.tobytes()] for row in task.archs], j] = (task.values - low) / span
        self.features_ = _Features(self, tasks[0].space, archs, [task.context for task in tasks])
        self.layout_ = self.features_.layout(len(tasks))
        generator = torch.Generator().manual_seed(self.seed)
        self.network_ = initial(self.layout_, self.members, generator)
        self.references_ = archs[:0]
        trained = dict(self.network_)
        vectors = self._source_vectors(tasks, generator)
        if self.representation == "table" and vectors is not None:
            trained["devices"] = vectors
        self._train(trained, vectors, archs, targets, generator)
        return self

    def _source_vectors(self, tasks: Sequence[Task], generator: torch.Generator) -> Tensor | None:
        """Vectors of the source devices, ``(members, devices, device_width)``; learned ones are what is returned."""
        width = self.layout_.device
        self.vectors_ = None
        if not width:
            return None
        if self.representation == "table":
            self.vectors_ = torch.randn((self.members, len(tasks), width), generator=generator)
        elif self.representation == "index":
            self.vectors_ = self._repeat(np.stack([_digits(i, width) for i in range(len(tasks))]))
        else:
            shared = set.intersection(*({row.tobytes() for row in task.archs} for task in tasks))
            common = np.array([row for row in tasks[0].archs if row.tobytes() in shared])
            if len(common) < width:
                raise InvalidValue(f"the source devices share {len(common)} architectures; 'sample' needs {width}")
            rng = np.random.default_rng(self.seed)
            self.references_ = common[rng.choice(len(common), width, replace=False)]
            self.vectors_ = self._repeat(np.stack([self._sample_vector(task) for task in tasks]))
        return self.vectors_

    def _repeat(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).expand(self.members, *values.shape).clone()

    def _sample_vector(self, task: Task) -> Array:
        rows = {row.tobytes(): value for row, value in zip(task.archs, task.values, strict=True)}
        missing = sum(row.tobytes() not in rows for row in self.references_)
        if missing:
            raise InvalidValue(
                f"{missing} of the {len(self.references_)} reference architectures are not among the measured ones; "
                "measure what choose(n) names"
            )
        low, span = task.values.min(), max(float(np.ptp(task.values)), 1e-12)
        return np.array([(rows[row.tobytes()] - low) / span for row in self.references_])

    def _train(
        self, trained: Parameters, vectors: Tensor | None, archs: Archs, targets: Array, generator: torch.Generator
    ) -> None:
        count, devices = targets.shape
        x, extras = self.features_(archs)
        known = torch.tensor(np.isfinite(targets), dtype=torch.float32)
        y = torch.tensor(np.nan_to_num(targets), dtype=torch.float32)
        whole = bool(np.isfinite(targets).all())
        each = min(count, max(1, round(self.batch_size / devices)))
        steps = -(-count // each)
        for value in trained.values():
            value.requires_grad_(True)
        adam, schedule = optimiser(trained, self.learning_rate, self.weight_decay, self.epochs)
        for _ in range(self.epochs):
            order = torch.stack([torch.randperm(count, generator=generator) for _ in range(self.members)])
            for step in range(steps):
                rows = order[:, step * each : (step + 1) * each]
                batch = None if extras is None else extras[rows]
                out = forward(self.network_, self.layout_, x[rows], self.features_.adjacency, vectors, batch)
                error = out - y[rows]
                error = error.abs() if self.loss == "l1" else error**2
                if not whole:
                    error = error * known[rows]
                adam.zero_grad()
                error.sum().backward()
                adam.step()
            schedule.step()
        for value in trained.values():
            value.requires_grad_(False)

    # ---- target

    def choose(
        self,
        n: int,
        seed: Seed = 0,
        space: SearchSpace | None = None,
        candidates: Archs | None = None,
        context: Context | None = None,
    ) -> Archs:
        """Random architectures; with "sample", the reference architectures first."""
        references = getattr(self, "references_", np.empty((0, 0), dtype=np.int64))
        if not len(references):
            return super().choose(n, seed, space, candidates, context)
        known = {row.tobytes() for row in references}
        enough = n + len(references) if candidates is None else min(n + len(references), len(candidates))
        others = super().choose(enough, seed, space, candidates, context)
        fresh = np.array([row for row in others if row.tobytes() not in known]).reshape(-1, references.shape[1])
        return np.concatenate([references, fresh])[:n]

    def adapt(self, task: Task) -> Predictor:
        self._check_target(task, another_space="vec" not in self.encoding.split("+"))
        return _Adapted(self, task)


class _Features:
    """What the network reads of architectures: one-hot choices or operation numbers, and looked-up extras."""

    def __init__(self, few: MultiPredict, space: SearchSpace, archs: Archs, contexts: Sequence[Context]):
        self.few = few
        self.space = space.space if isinstance(space, Pool) else space
        names = few.encoding.split("+")
        if "vec" in names and names[0] != "vec":
            raise InvalidValue(f"write the encoding with vec first, such as vec+zcp; got {few.encoding!r}")
        self.graphs: OpGraphs | None = None
        self.adjacency: Tensor | None = None
        if "vec" in names:
            names = names[1:]
            self.kind = "mlp"
            graphs = OpGraphs(self.space)
            if graphs.adjacency.sum() > graphs.nodes - 1:  # a cell, not a chain
                self.kind, self.graphs = "gcn", graphs
                self.adjacency = _with_global_node(graphs.adjacency)
        else:
            self.kind = "cross-domain"
        self.encodings: list[Encoding] = []
        self.names: tuple[str, ...] = ()
        self.scale: tuple[Array, Array] | None = None
        if names:
            same = all(context is contexts[0] for context in contexts)
            self.encodings = [encoding("+".join(names)).fit(space, c, archs) for c in contexts[: 1 if same else None]]
            self.names = tuple(self.encodings[0].names_)
            values = np.concatenate([self._looked_up(e, archs) for e in self.encodings])
            known = np.maximum(np.isfinite(values).sum(axis=0), 1)
            centre = np.nansum(values, axis=0) / known
            spread = np.sqrt(np.nansum((values - centre) ** 2, axis=0) / known)
            self.scale = centre, np.where(spread > 1e-9, spread, 1.0)
            self.unknown = [np.isnan(self._looked_up(e, archs)).all(axis=0) for e in self.encodings]

    @staticmethod
    def _looked_up(fitted: Encoding, archs: Archs) -> Array:
        """Features ``(n, k)``; a column that tells nothing (a source task's own device) is NaN."""
        values = fitted.transform(archs)
        return np.where(np.ptp(values, axis=0) > 0, values, np.nan)

    def layout(self, devices: int) -> Layout:
        few = self.few
        cross = self.kind == "cross-domain"
        inputs = len(self.graphs.operations) if self.graphs else 0 if cross else int(self.space.sizes.sum())
        width = few.hidden_width or (200 if self.graphs else 100)
        return Layout(
            self.kind,
            inputs,
            () if cross else (width,) * few.hidden_layers,
            few.graph_layers,
            few.graph_width,
            few.embedding_width,
            0 if cross and devices == 1 else few.device_width,
            0 if self.scale is None else len(self.scale[0]),
            (few.cross_width,) * few.cross_layers if cross else few.head,
        )

    def __call__(self, archs: Archs) -> tuple[Tensor, Tensor | None]:
        """``(n, ...)`` and ``(n, devices or 1, extras)``."""
        if self.graphs is not None:
            x = torch.tensor(self.graphs(archs))
        elif self.kind == "mlp":
            x = torch.tensor(self.space.one_hot(archs), dtype=torch.float32)
        else:
            x = torch.zeros((len(archs), 1))
        if self.scale is None:
            return x, None
        centre, spread = self.scale
        values = np.stack(
            [
                np.where(unknown, 0.0, (e.transform(archs) - centre) / spread)
                for e, unknown in zip(self.encodings, self.unknown, strict=True)
            ],
            axis=1,
        )
        return x, torch.tensor(values, dtype=torch.float32)


def _digits(number: int, width: int) -> Array:
    return np.array([(number >> bit) & 1 for bit in reversed(range(width))], dtype=np.float64)


def _with_global_node(adjacency: Array) -> Tensor:
    """Each node sums over its predecessors and itself; a global node, last, over all."""
    nodes = len(adjacency)
    full = np.eye(nodes + 1)
    full[:nodes, :nodes] += adjacency.T
    full[nodes] = 1.0
    return torch.tensor(full, dtype=torch.float32)


class _Adapted(Predictor):
    """A device's latency: a fine-tuned copy of the network."""

    def __init__(self, few: MultiPredict, task: Task):
        self.few = few
        self.fit(task)

    def fit(self, task: Task) -> _Adapted:
        few = self.few
        self.task_ = task
        scratch = few.source_space is None
        generator = torch.Generator().manual_seed(few.seed)
        if scratch:
            self.features_ = _Features(few, task.space, task.archs, [task.context])
            self.layout_ = self.features_.layout(1)
            self.network_ = initial(self.layout_, few.members, generator)
            self.vector_ = None if not self.layout_.device else torch.zeros((few.members, 1, self.layout_.device))
        else:
            self.features_, self.layout_ = self._target_features(task), few.layout_
            self.network_ = {name: value.clone() for name, value in few.network_.items()}
            self.vector_ = self._vector(task)
        x, extras = self._input(task.archs)
        low, span = float(task.values.min()), float(np.ptp(task.values)) or 1.0
        if few.align and not scratch:
            with torch.no_grad():
                out = forward(self.network_, self.layout_, x, self.features_.adjacency, self.vector_, extras)
            before = out.mean(dim=0)[:, 0].double().numpy()
            slope = np.cov(before, task.values)[0, 1] / max(before.var(ddof=1), 1e-12)
            if few.align == "moments":
                slope = task.values.std() / max(before.std(), 1e-3)
            if slope > 0:
                low, span = float(task.values.mean() - slope * before.mean()), float(slope)
        self.scaling_ = low, span
        y = torch.tensor((task.values - low) / span, dtype=torch.float32)[None, :, None]
        trained = dict(self.network_)
        if few.freeze_encoder and not scratch:
            trained = {name: value for name, value in trained.items() if not name.startswith(("graph", "encoder"))}
        if self.vector_ is not None and few.representation == "table":
            trained["device"] = self.vector_
        for value in trained.values():
            value.requires_grad_(True)
        epochs = few.scratch_epochs if scratch else few.transfer_epochs
        adam, schedule = optimiser(trained, few.transfer_learning_rate, few.weight_decay, epochs)
        for _ in range(epochs):
            out = forward(self.network_, self.layout_, x, self.features_.adjacency, self.vector_, extras)
            error = (out - y).abs() if few.loss == "l1" else (out - y) ** 2
            adam.zero_grad()
            error.sum().backward()
            adam.step()
            schedule.step()
        for value in trained.values():
            value.requires_grad_(False)
        return self

    def _target_features(self, task: Task) -> _Features:
        """The sources' features; in another space, scaled anew on architectures whose features cost nothing there."""
        source = self.few.features_
        assert self.few.source_space is not None
        if task.space.choices == self.few.source_space.choices:
            if not source.encodings:
                return source
            mine = _Features(self.few, task.space, task.archs, [task.context])
            mine.scale = source.scale
        else:
            known = task.space.sample(min(1000, task.space.size), seed=0, unique=True)
            mine = _Features(self.few, task.space, known, [task.context])
        if len(mine.names) != len(source.names):
            raise InvalidValue(
                f"the target has {len(mine.names)} features, the sources had {len(source.names)}; "
                "use the same proxies and the same other devices"
            )
        return mine

    def _vector(self, task: Task) -> Tensor | None:
        few, width = self.few, self.layout_.device
        if not width:
            return None
        if few.representation == "index":
            return few._repeat(_digits(len(few.devices), width)[None])
        if few.representation == "sample":
            return few._repeat(few._sample_vector(task)[None])
        assert few.vectors_ is not None
        from scipy.stats import rankdata

        x, extras = self._input(task.archs)
        with torch.no_grad():
            wide = None if extras is None else extras.expand(-1, -1, len(few.devices), -1)
            out = forward(self.network_, self.layout_, x, self.features_.adjacency, few.vectors_, wide)
        truth = rankdata(task.values)
        best = []
        for member in out.mean(dim=0, keepdim=True).expand(few.members, -1, -1).numpy():
            ranks = np.apply_along_axis(rankdata, 0, member)
            spread = ranks.std(axis=0) * truth.std()
            products = ((ranks - ranks.mean(axis=0)) * (truth - truth.mean())[:, None]).mean(axis=0)
            best.append(int(np.argmax(products / np.maximum(spread, 1e-9))))
        return torch.stack([few.vectors_[m, j : j + 1] for m, j in enumerate(best)]).clone()

    def _input(self, archs: Archs) -> tuple[Tensor, Tensor | None]:
        x, extras = self.features_(archs)
        members = self.few.members
        x = x.expand(members, *x.shape)
        return x, None if extras is None else extras.expand(members, *extras.shape)

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        parts = []
        with torch.no_grad():
            for start in range(0, len(archs), 4096):
                x, extras = self._input(archs[start : start + 4096])
                out = forward(self.network_, self.layout_, x, self.features_.adjacency, self.vector_, extras)
                parts.append(out[:, :, 0].double().numpy())
        members = np.concatenate(parts, axis=1) if parts else np.empty((self.few.members, 0))
        low, span = self.scaling_
        values = low + span * members
        std = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        return Prediction(values.mean(axis=0), std)

    @property
    def template(self) -> Predictor:
        return self.few
