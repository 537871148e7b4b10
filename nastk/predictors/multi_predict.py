"""multi-predict: one network for all devices, fine-tuned on a few samples (Akhauri & Abdelfattah, AutoML 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from nastk.encodings.base import Context, Encoding, encoding
from nastk.errors import InvalidArchitecture, InvalidValue, Unsupported
from nastk.predictors._cache import Cache
from nastk.predictors._graph_layers import encode_graphs
from nastk.predictors._multi_predict_network import (
    Descent,
    Layout,
    Parameters,
    forward,
    initial,
)
from nastk.predictors._op_graphs import OpGraphs
from nastk.predictors._reference_archs import pick_references, reference_values
from nastk.predictors.base import FewShotPredictor, Prediction, Predictor, Task
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, SearchSpace

Array = NDArray[np.float64]

CHUNK = 2048
"""Architectures predicted at a time: memory against overhead."""

ENCODINGS = ("vec", "zcp", "hwl", "vec+zcp", "vec+hwl")
"""Encodings of the paper."""


class MultiPredict(FewShotPredictor):
    """Transfer learning over devices (Section 3; hyper-parameters of Table 15).

    A common head maps an architecture's embedding and a device's vector to the latency, min-max normalised within each
    source device by its own samples. A new device is learned by fine-tuning the pretrained network on its samples.
    Without :meth:`pretrain`, :meth:`adapt` trains from scratch (the baseline of Figures 6 and 7).

    Args:
        representation: of a device. "table": one learned row per device; a new device starts with the row of the source
            that correlates best with its samples in rank (Eq. 1; `initial_row`). "index": binary digits of its number.
            "sample": its latencies on `device_width` reference architectures, which :meth:`choose` returns first.
        initial_row: of a new device in the table, by what the sources are compared with it on its samples: "predicted",
            the network's predictions for each source, which cost nothing; or "measured", the sources' latencies of the
            same architectures, which the task's context must have (the paper's text, Eq. 1).
        encoding: "vec", "zcp", "hwl", or "vec" joined with one of them by "+". Without "vec" the network is the
            cross-domain one, and :meth:`adapt` takes tasks of other spaces.
        network: encoder of "vec": "gcn" over the operation graph, "mlp" over one-hot choices, "auto": the GCN if the
            graph branches.
        members: networks of the ensemble, trained together; predictions are their mean and spread, NaN for a single
            one.
        epochs, transfer_epochs: passes over the source samples, and over the target's.
        batch_size: architecture-device pairs per step; the target's samples are one batch.
        learning_rate, transfer_learning_rate, weight_decay: of AdamW, annealed to zero by a cosine.
        loss: "l1" (the authors' code) or "mse" (the paper's text).
        freeze_encoder: fine-tune the head and the device's vector only, as in one of the authors' two versions.
        align: scale the target's samples to the mean and spread of the pretrained network's predictions of them; False:
            scale them to [0, 1]. The authors use minimum and maximum over all architectures, which are unknown for a
            new device.
        device_width, embedding_width: of a device's vector and an architecture's embedding.
        graph_width, graph_layers: of the GCN; the authors' code has 4 layers, Table 15 says 3.
        hidden_width, hidden_layers: of the layers after the GCN (by default 200 wide), or of the MLP (100).
        head: widths of the layers over the concatenated embedding and vector.
        cross_width, cross_layers: of the cross-domain network's hidden layers (by default 256 wide for hwl, 128 for
            zcp).
        scratch_epochs: passes over the samples without pretraining.
        seed: random seed of initial weights and minibatches.

    Raises:
        InvalidValue: an invalid option.
    """

    def __init__(
        self,
        representation: Literal["table", "sample", "index"] = "table",
        encoding: Literal["vec", "zcp", "hwl", "vec+zcp", "vec+hwl"] = "vec",
        network: Literal["auto", "mlp", "gcn"] = "auto",
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
        cross_width: int | None = None,
        cross_layers: int = 3,
        scratch_epochs: int = 250,
        seed: int = 0,
        initial_row: Literal["predicted", "measured"] = "predicted",
    ):
        self.initial_row = initial_row
        self.representation, self.encoding, self.network, self.members = representation, encoding, network, members
        self.epochs, self.transfer_epochs, self.batch_size = epochs, transfer_epochs, batch_size
        self.learning_rate, self.transfer_learning_rate = learning_rate, transfer_learning_rate
        self.weight_decay, self.loss, self.freeze_encoder, self.align = weight_decay, loss, freeze_encoder, align
        self.device_width, self.embedding_width = device_width, embedding_width
        self.graph_width, self.graph_layers = graph_width, graph_layers
        self.hidden_width, self.hidden_layers, self.head = hidden_width, hidden_layers, head
        self.cross_width, self.cross_layers = cross_width, cross_layers
        self.scratch_epochs, self.seed = scratch_epochs, seed
        for name, value, options in (
            ("representation", representation, ("table", "sample", "index")),
            ("encoding", encoding, ENCODINGS),
            ("network", network, ("auto", "mlp", "gcn")),
            ("loss", loss, ("l1", "mse")),
            ("initial_row", initial_row, ("predicted", "measured")),
        ):
            if value not in options:
                raise InvalidValue(f"{name} must be one of {', '.join(options)}; got {value!r}")
        if members < 1 or device_width < 1 or not head:
            raise InvalidValue("members and device_width must be at least 1, and head needs a layer")

        self._kept: Cache[Tensor] = Cache(1)

    # ---- sources

    def pretrain(self, tasks: Sequence[Task]) -> MultiPredict:
        """Learn the source devices; the tasks may differ in their architectures.

        Raises:
            InvalidValue: no tasks, tasks of several spaces, or with "sample" fewer shared architectures than
                references.
        """
        self._check_sources(tasks)
        archs = np.unique(np.concatenate([task.archs for task in tasks]), axis=0)
        place = {row.tobytes(): i for i, row in enumerate(archs)}
        targets = np.full((len(archs), len(tasks)), np.nan)
        for j, task in enumerate(tasks):
            targets[[place[row.tobytes()] for row in task.archs], j] = _min_max(task.values, task.values)
        self.archs_ = archs
        self._kept = Cache(1)
        self.features_ = _Features(self, tasks[0].space, archs, [task.context for task in tasks])
        self.layout_ = self._layout(self.features_, len(tasks))
        self.references_ = archs[:0]
        generator = torch.Generator().manual_seed(self.seed)
        self.network_ = initial(self.layout_, self.members, generator)
        self.vectors_ = self._source_vectors(tasks, generator) if self.layout_.device else None
        trained = dict(self.network_)
        if self.vectors_ is not None and self.representation == "table":
            trained["devices"] = self.vectors_
        self._train(trained, archs, targets, generator)
        return self

    def _layout(self, features: _Features, devices: int) -> Layout:
        cross = features.kind == "cross-domain"
        width = self.hidden_width or (200 if features.kind == "gcn" else 100)
        across = self.cross_width or (256 if self.encoding == "hwl" else 128)
        return Layout(
            features.kind,
            features.inputs,
            () if cross else (width,) * self.hidden_layers,
            self.graph_layers,
            self.graph_width,
            self.embedding_width,
            0 if devices == 1 and (cross or self.source_space is None) else self.device_width,
            len(features.names),
            (across,) * self.cross_layers if cross else tuple(self.head),
        )

    def _source_vectors(self, tasks: Sequence[Task], generator: torch.Generator) -> Tensor:
        """Vectors of the source devices, ``(members, devices, device_width)``; initial ones for a table."""
        width = self.device_width
        if self.representation == "table":
            return torch.randn((self.members, len(tasks), width), generator=generator)
        if self.representation == "index":
            return self._repeat(np.stack([_digits(i, width) for i in range(len(tasks))]))
        self.references_ = pick_references(tasks, width, self.seed)
        return self._repeat(np.stack([self._sample_vector(task) for task in tasks]))

    def _repeat(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).expand(self.members, *values.shape).clone()

    def _expand(self, values: Tensor) -> Tensor:
        return values.expand(self.members, *values.shape)

    def _cached_embeddings(self, archs: Archs, features: _Features) -> Tensor:
        """Embeddings by the pretrained encoder, ``(members, n, embedding)``; the last ones are cached, since devices
        are often predicted for the same architectures."""
        key = archs.shape, archs.tobytes()
        return self._kept.find(key, lambda: _embed(self.network_, self.layout_, archs, features, self.members))

    def _sample_vector(self, task: Task) -> Array:
        return _min_max(reference_values(task, self.references_), task.values)

    def _train(self, trained: Parameters, archs: Archs, targets: Array, generator: torch.Generator) -> None:
        """Minibatches are random architectures with all their devices, so that each architecture is encoded once."""
        count = len(targets)
        x, extras = self.features_(archs), self.features_.extras(archs)
        known = torch.tensor(np.isfinite(targets), dtype=torch.float32)
        y = torch.tensor(np.nan_to_num(targets), dtype=torch.float32)
        whole = bool(known.all())
        each = min(count, max(1, round(self.batch_size / float(known.sum(dim=1).mean()))))
        with Descent(trained, self.learning_rate, self.weight_decay, self.epochs) as step:
            for _ in range(self.epochs):
                order = torch.stack([torch.randperm(count, generator=generator) for _ in range(self.members)])
                for start in range(0, count, each):
                    rows = order[:, start : start + each]
                    batch = None if extras is None else extras[rows]
                    h = encode_graphs(self.network_, self.layout_, x[rows], self.features_.receivers)
                    out = forward(self.network_, self.layout_, h, self.vectors_, batch)
                    error = self._error(out - y[rows])
                    step.descend((error if whole else error * known[rows]).sum())
                step.anneal()

    def _error(self, difference: Tensor) -> Tensor:
        return difference.abs() if self.loss == "l1" else difference.square()

    # ---- target

    def adapt(self, task: Task) -> Predictor:
        """A predictor of one device: a fine-tuned copy, or a network trained from scratch if nothing was pretrained.

        Raises:
            InvalidValue: a source device, fewer than two or unequal measurements; another space with an encoding that
                has "vec", or with other proxies or devices than the sources'; "sample" without its references.
        """
        self._check_target(task, another_space="vec" not in self.encoding.split("+"))
        return _Adapted(self, task)

    def _target_features(self, task: Task) -> _Features:
        """The features of a target task. Looked-up features are standardised as the sources' in their space; in another
        space, on architectures whose features are free."""
        if self.source_space is None:
            return _Features(self, task.space, _free_archs(task), [task.context])
        source = self.features_
        if not source.names:
            return source
        here = task.space.choices == self.source_space.choices
        mine = _Features(self, task.space, self.archs_ if here else _free_archs(task), [task.context])
        if len(mine.names) != len(source.names) or any(
            a != b for a, b in zip(mine.names, source.names, strict=True) if a and b
        ):
            raise InvalidValue(
                f"the target's context has {_shorten(mine.names)}, the sources' has {_shorten(source.names)}: "
                "give it the same proxies and devices in the same order"
            )
        if here:
            mine.scale = source.scale
        mine.unknown = [mine.unknown[0] | np.all(source.unknown, axis=0)]
        return mine

    # ---- on disk

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Networks and device vectors; only for "vec", since looked-up features belong to their context."""
        if self.encoding != "vec":
            raise Unsupported(
                f"multi-predict with encoding {self.encoding} cannot be stored: its features are looked up"
            )
        if self.source_space is None:
            return {"space": None, "devices": []}, {}
        arrays = {f"network.{name}": value.numpy() for name, value in self.network_.items()}
        if self.vectors_ is not None:
            arrays["vectors"] = self.vectors_.numpy()
        arrays["references"] = self.references_
        return {"space": self.source_space.name, "devices": list(self.devices)}, arrays

    def restore(
        self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], task: Task | None, space: SearchSpace | None
    ) -> Predictor:
        space = space or (task.space if task else None)
        if facts["devices"]:
            assert space is not None
            self.source_space, self.devices_ = space, tuple(facts["devices"])
            self.archs_ = np.empty((0, space.d), dtype=np.int64)
            self.features_ = _Features(self, space, self.archs_, [])
            self.layout_ = self._layout(self.features_, len(self.devices_))
            self.network_ = _tensors(arrays, "network.")
            self.vectors_ = torch.tensor(arrays["vectors"]) if "vectors" in arrays else None
            self.references_ = arrays["references"]
        if task is None:
            return self
        return _Adapted(self, task, arrays)


class _Features:
    """Inputs of the network: one-hot choices or operation numbers, and looked-up extras.

    Attributes:
        names: of the extras; "" for one that no context has.
        receivers: message-passing adjacency of the GCN, if all graphs have the same edges.
        scale: mean and spread of the extras, ``(k,)`` each.
        unknown: extras that are uninformative in a context (a source task's own device), ``(k,)`` each.
    """

    def __init__(self, few: MultiPredict, space: SearchSpace, archs: Archs, contexts: Sequence[Context]):
        self.space = space.whole
        names = few.encoding.split("+")
        self.kind, self.inputs = "cross-domain", 0
        self.receivers: Tensor | None = None
        if names[0] == "vec":
            names = names[1:]
            self.kind, self.inputs = "mlp", int(self.space.sizes.sum())
            graphs = None if few.network == "mlp" else OpGraphs(self.space)
            if graphs is not None and (few.network == "gcn" or not graphs.chain):
                self.kind, self.inputs, self._graphs = "gcn", len(graphs.operations), graphs
                self.receivers = graphs.receivers
        self.names: tuple[str, ...] = ()
        self.unknown: list[NDArray[np.bool_]] = []
        if not names:
            return
        distinct = list({id(context): context for context in contexts}.values())
        shared = len(distinct) == 1
        self._encodings: list[Encoding] = [
            encoding(names[0]).fit(space, context, archs) for context in (distinct if shared else contexts)
        ]
        looked_up = [fitted.transform(archs) for fitted in self._encodings]
        self.unknown = [np.ptp(values, axis=0) == 0 for values in looked_up]
        labels = [[n.removeprefix("latency ").strip() for n in fitted.names_] for fitted in self._encodings]
        self.names = tuple(next((n for n in column if n), "") for column in zip(*labels, strict=True))
        values = np.concatenate([np.where(gone, np.nan, v) for v, gone in zip(looked_up, self.unknown, strict=True)])
        known = np.maximum(np.isfinite(values).sum(axis=0), 1)
        centre = np.nansum(values, axis=0) / known
        deviation = np.sqrt(np.nansum((values - centre) ** 2, axis=0) / known)
        self.scale: tuple[Array, Array] = centre, np.where(deviation > 1e-9, deviation, 1.0)

    def __call__(self, archs: Archs) -> Tensor:
        """Input of the encoder, ``(n, ...)``; see :func:`encode_graphs`."""
        if self.kind == "gcn":
            return self._graphs.convolved(archs)
        if self.kind == "mlp":
            return torch.tensor(self.space.one_hot(archs), dtype=torch.float32)
        return torch.zeros((len(archs), 1))

    def extras(self, archs: Archs) -> Tensor | None:
        """Looked-up features, standardised, ``(n, contexts, k)``."""
        if not self.names:
            return None
        centre, deviation = self.scale
        columns = [
            np.where(gone, 0.0, (fitted.transform(archs) - centre) / deviation)
            for fitted, gone in zip(self._encodings, self.unknown, strict=True)
        ]
        return torch.tensor(np.stack(columns, axis=1), dtype=torch.float32)


class _Adapted(Predictor):
    """A device's latency in its unit: a fine-tuned copy of the network."""

    def __init__(self, few: MultiPredict, task: Task, arrays: dict[str, NDArray[Any]] | None = None):
        self.few = few
        if arrays is None:
            self.fit(task)
            return
        self.task_ = task
        self.features_ = few._target_features(task)
        self.layout_ = few.layout_ if few.source_space is not None else few._layout(self.features_, 1)
        self.network_ = _tensors(arrays, "adapted.")
        self.vector_ = torch.tensor(arrays["vector"]) if "vector" in arrays else None
        low, span, least = arrays["scaling"].tolist()
        self.scaling_ = low, span, least

    def fit(self, task: Task) -> _Adapted:
        few = self.few
        order = np.lexsort((task.values, *task.archs.T))
        self.task_ = task = task.subset(order)
        scratch = few.source_space is None
        self.features_ = few._target_features(task)
        generator = torch.Generator().manual_seed(few.seed)
        if scratch:
            self.layout_ = few._layout(self.features_, 1)
            self.network_, self.vector_ = initial(self.layout_, few.members, generator), None
        else:
            self.layout_ = few.layout_
            self.network_ = {name: value.clone() for name, value in few.network_.items()}
            h, extras = self._input(task.archs)
            self.vector_ = self._vector(task, h, extras)
        low, span = float(task.values.min()), float(np.ptp(task.values))
        # A few samples seldom include the extremes that min-max normalisation needs: match moments instead.
        if few.align and not scratch:
            with torch.no_grad():
                before = self._latencies(h, extras).double().mean(dim=0).numpy()
            span = float(task.values.std() / max(before.std(), 0.1))
            low = float(task.values.mean() - span * before.mean())
        self.scaling_ = low, span, float(task.values.min())
        y = torch.tensor((task.values - low) / span, dtype=torch.float32)
        frozen = self._keeps_encoder
        trained = {
            name: value for name, value in self.network_.items() if not frozen or name.startswith(("joint", "head"))
        }
        if self.vector_ is not None and few.representation == "table":
            trained["device"] = self.vector_
        epochs = few.scratch_epochs if scratch else few.transfer_epochs
        h, extras = self._input(task.archs)
        x = few._expand(self.features_(task.archs))
        with Descent(trained, few.transfer_learning_rate, few.weight_decay, epochs) as step:
            for _ in range(epochs):
                if not frozen:
                    h = encode_graphs(self.network_, self.layout_, x, self.features_.receivers)
                step.descend(few._error(self._latencies(h, extras) - y).sum())
                step.anneal()
        return self

    @property
    def _keeps_encoder(self) -> bool:
        """Whether the encoder is the pretrained one, without fine-tuning."""
        return self.few.source_space is not None and self.few.freeze_encoder

    def _vector(self, task: Task, h: Tensor, extras: Tensor | None) -> Tensor | None:
        """Initial vector of the new device, ``(members, 1, device_width)``."""
        few, width = self.few, self.layout_.device
        if not width:
            return None
        if few.representation == "index":
            return few._repeat(_digits(len(few.devices), width)[None])
        if few.representation == "sample":
            return few._repeat(few._sample_vector(task)[None])
        assert few.vectors_ is not None
        # Eq. 1: the source that has the highest Spearman correlation with the samples.
        values = self._measured(task) if few.initial_row == "measured" else self._predicted(h, extras)
        ranks = np.apply_along_axis(rankdata, 0, values)
        ranks = ranks - ranks.mean(axis=0)
        truth = rankdata(task.values)
        alike = (truth - truth.mean()) @ ranks / np.maximum(np.linalg.norm(ranks, axis=0), 1e-9)
        self.closest_ = few.devices[int(np.argmax(alike))]
        return few.vectors_[:, [int(np.argmax(alike))]].clone()

    def _predicted(self, h: Tensor, extras: Tensor | None) -> Array:
        """Latencies that the pretrained network predicts for each source device, ``(n, devices)``."""
        few = self.few
        with torch.no_grad():
            wide = None if extras is None else extras.expand(-1, -1, len(few.devices), -1)
            return forward(self.network_, self.layout_, h, few.vectors_, wide).mean(dim=0).numpy()

    def _measured(self, task: Task) -> Array:
        """Latencies on each source device by the task's context, ``(n, devices)``."""
        devices, source = self.few.devices, task.context.latencies
        lacking = [name for name in devices if source is None or name not in source.names]
        if source is None or lacking:
            raise InvalidValue(
                f"multi-predict with initial_row 'measured' needs a context with latencies of {_shorten(lacking)}: "
                "Context(latencies=nastk.benchmark(...).latency_source(devices))"
            )
        values = np.asarray(source(task.archs), dtype=np.float64)[:, [source.names.index(name) for name in devices]]
        return np.where(np.isfinite(values), values, np.nanmean(values, axis=0))

    def _input(self, archs: Archs) -> tuple[Tensor, Tensor | None]:
        """Embeddings ``(members, n, embedding)``, and extras ``(members, n, 1, k)``."""
        few = self.few
        if self._keeps_encoder:
            h = few._cached_embeddings(archs, self.features_)
        else:
            h = _embed(self.network_, self.layout_, archs, self.features_, few.members)
        extras = self.features_.extras(archs)
        return h, None if extras is None else few._expand(extras)

    def _latencies(self, h: Tensor, extras: Tensor | None) -> Tensor:
        """Normalised latencies ``(members, n)``."""
        return forward(self.network_, self.layout_, h, self.vector_, extras)[:, :, 0]

    def predict(self, archs: Any) -> Prediction:
        archs = self._checked(archs)
        h, extras = self._input(archs)
        parts = [np.empty((self.few.members, 0))]
        with torch.no_grad():
            for start in range(0, len(archs), CHUNK):
                here = slice(start, start + CHUNK)
                some = None if extras is None else extras[:, here]
                parts.append(self._latencies(h[:, here], some).double().numpy())
        low, span, least = self.scaling_
        values = np.maximum(low + span * np.concatenate(parts, axis=1), 0.1 * least)
        std = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        return Prediction(values.mean(axis=0), std)

    @property
    def template(self) -> Predictor:
        return self.few

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        facts, arrays = self.few.learned()
        arrays = {**arrays, **{f"adapted.{name}": value.numpy() for name, value in self.network_.items()}}
        if self.vector_ is not None:
            arrays["vector"] = self.vector_.numpy()
        arrays["scaling"] = np.array(self.scaling_)
        return facts, arrays


def _embed(network: Parameters, layout: Layout, archs: Archs, features: _Features, members: int) -> Tensor:
    """Embeddings of architectures, ``(members, n, embedding)``."""
    parts = []
    with torch.no_grad():
        for start in range(0, max(len(archs), 1), CHUNK):
            x = features(archs[start : start + CHUNK])
            parts.append(encode_graphs(network, layout, x.expand(members, *x.shape), features.receivers))
    return torch.cat(parts, dim=1)


def _min_max(values: Array, samples: Array) -> Array:
    """Values scaled so that the samples span 0 to 1."""
    return (values - samples.min()) / max(float(np.ptp(samples)), 1e-12)


def _digits(number: int, width: int) -> Array:
    """Binary digits of a number, most significant first, ``(width,)``."""
    return np.array([(number >> bit) & 1 for bit in reversed(range(width))], dtype=np.float64)


def _free_archs(task: Task, n: int = 1000) -> Archs:
    """At most `n` architectures of a task's space whose looked-up features need no measurement of the target: members
    of a pool, else random ones; the task's own if the context does not know random ones."""
    if isinstance(task.space, Pool):
        return task.space.sample(min(n, task.space.size), seed=0, unique=True)
    drawn = task.space.sample(min(n, task.space.size), seed=0, unique=True)
    try:
        for source in (task.context.latencies, task.context.proxies):
            if source is not None:
                source(drawn)
    except InvalidArchitecture:
        return task.archs
    return drawn


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _tensors(arrays: dict[str, NDArray[Any]], prefix: str) -> Parameters:
    return {name.removeprefix(prefix): torch.tensor(a) for name, a in arrays.items() if name.startswith(prefix)}
