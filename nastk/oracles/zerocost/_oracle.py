"""Zero-cost proxies of a space's networks: as oracles, and as features of the ``zcp`` encoding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nastk.data.fetch import Store
from nastk.devices import torch_device
from nastk.errors import InvalidValue
from nastk.files import write_text
from nastk.oracles.base import Evaluation, Oracle
from nastk.oracles.zerocost._batch import describe, make_batch
from nastk.oracles.zerocost._pass import Loss
from nastk.oracles.zerocost._scores import Scores, named_proxies, zcp
from nastk.parallel import each
from nastk.spaces.base import Archs, SearchSpace

VERSION = 2
"""Increased when a definition changes, so that values cached under the old one are ignored."""
INITS = ("default", "kaiming")
"""Initial weights: as built, or normal by fan-in."""


@dataclass(frozen=True, eq=False)
class _Job:
    space: SearchSpace
    archs: Archs
    options: dict[str, Any]


class ZeroCost:
    """Proxies computed on the networks themselves; a source for ``nastk.Context(proxies=...)``.

    Args:
        space: whose networks.
        proxies: names; by default all.
        batch: "digits", "random", or images and labels.
        batch_size: of "digits" and "random".
        loss: of logits and labels; cross-entropy by default.
        init: "default" (the weights that the network is built with) or "kaiming" (normal, by fan-in).
        initialisations: number of initialisations to average over.
        seed: random seed of weights, batch and inputs.
        workers: processes, one thread each.
        device: where the networks run, "cpu" or "cuda" (each process moves its own network there).
        cache: keep values on disk, by architecture, setting and version; not with a custom loss, nor for a user's own
            space, whose networks may change under the same name.
        build_options: of `SearchSpace.build`.

    Attributes:
        names: of the ``k`` proxies.
        reasons: for architectures (as text) where a proxy has no value, why.

    Raises:
        UnknownName: no such proxy.
        InvalidValue: an `init` that does not exist, or no initialisation or image.
        Unsupported: the space builds no networks.
    """

    def __init__(
        self,
        space: SearchSpace,
        proxies: Sequence[str] | None = None,
        batch: Any = "digits",
        batch_size: int = 64,
        loss: Loss | None = None,
        init: str = "default",
        initialisations: int = 1,
        seed: int = 0,
        workers: int = 1,
        device: str = "cpu",
        cache: bool = True,
        **build_options: Any,
    ):
        if init not in INITS:
            raise InvalidValue(f"init must be {' or '.join(INITS)}; got {init!r}")
        if initialisations < 1 or batch_size < 1:
            raise InvalidValue("initialisations and batch_size must be at least 1")
        torch_device(device)
        space.need_networks("a zero-cost proxy")
        self.space = space.whole
        self.names = tuple(named_proxies(proxies))
        self.directions = {name: proxy.direction for name, proxy in named_proxies(proxies).items()}
        self.workers, self.build_options = workers, build_options
        self.data = describe(batch, batch_size)
        self.source = f"zero-cost on {self.data}, {initialisations} initialisation{'s' * (initialisations > 1)}"
        self._options = {
            "proxies": self.names,
            "batch": batch,
            "batch_size": batch_size,
            "loss": loss,
            "init": init,
            "initialisations": initialisations,
            "seed": seed,
            "device": device,
            "build_options": build_options,
        }
        self._known: dict[str, dict[str, float]] = {}
        self.reasons: dict[str, dict[str, str]] = {}
        self._file = self._cache_file() if cache and loss is None and _registered(space) else None
        shape, tokens = self.space.input_shape(**build_options), self.space.vocabulary(**build_options)
        make_batch(batch, 1, shape, 2, seed, tokens)  # fail early on an unsuitable batch
        if self._file is not None:
            self._read()

    # ---- values

    def __call__(self, archs: Any, progress: Callable[[int, int], None] | None = None) -> NDArray[np.float64]:
        """Proxies ``(n, k)``, NaN where one has no value (see :attr:`reasons`)."""
        rows = self.space.as_archs(archs)
        texts = self.space.format_all(rows) if len(rows) else []
        todo = [i for i, text in enumerate(texts) if set(self.names) - set(self._known.get(text, ()))]
        first = {texts[i]: i for i in reversed(todo)}
        size = max(1, min(8, len(first) // max(self.workers, 1)))
        places = list(first.values())
        jobs = [_Job(self.space, rows[places[i : i + size]], self._options) for i in range(0, len(places), size)]
        try:
            for job, scores in each(_compute, jobs, self.workers, progress):
                for text, found in zip(self.space.format_all(job.archs), scores, strict=True):
                    self._known.setdefault(text, {}).update(found.values)
                    if found.reasons:
                        self.reasons.setdefault(text, {}).update(found.reasons)
        finally:
            if jobs and self._file is not None:
                self._write()
        return np.array([[self._known[t][name] for name in self.names] for t in texts]).reshape(-1, len(self.names))

    def oracle(self, name: str) -> Oracle:
        """One proxy as a free oracle; its value is computed with all others of this source and cached."""
        from nastk.errors import UnknownName
        from nastk.oracles.zerocost._scores import table_name

        if table_name(name) not in self.names:
            raise UnknownName("proxy", name, self.names)
        return _Oracle(self, table_name(name))

    # ---- on disk

    def _cache_file(self) -> Path:
        facts = {**self._options, "batch": self.data, "version": VERSION, "space": self.space.name}
        facts = {k: v for k, v in facts.items() if k not in ("proxies", "loss", "device")}
        key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return Store().home / "zerocost" / f"{self.space.name}-{key}.json"

    def _read(self) -> None:
        assert self._file is not None
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            values = {
                text: {name: float("nan") if v is None else float(v) for name, v in row.items()}
                for text, row in content["values"].items()
            }
            reasons = {str(text): {str(k): str(v) for k, v in row.items()} for text, row in content["reasons"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # only a cache: unreadable values are computed again
        self._known, self.reasons = values, reasons

    def _write(self) -> None:
        assert self._file is not None
        values = {t: {n: v if np.isfinite(v) else None for n, v in row.items()} for t, row in self._known.items()}
        content = {"source": self.source, "values": values, "reasons": self.reasons}
        write_text(self._file, json.dumps(content) + "\n")


class _Oracle(Oracle):
    expensive = False

    def __init__(self, zero_cost: ZeroCost, name: str):
        self.zero_cost, self.name, self.space = zero_cost, name, zero_cost.space
        self.direction, self.source = zero_cost.directions[name], zero_cost.source

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        value = self.zero_cost(archs)[:, self.zero_cost.names.index(self.name)]
        return Evaluation(value, np.full(len(value), np.nan), np.zeros(len(value)))


def _compute(job: _Job) -> list[Scores]:
    return [_average(job.space, arch, job.options) for arch in job.archs]


def _average(space: SearchSpace, arch: Archs, options: dict[str, Any]) -> Scores:
    """Means over the initialisations; NaN for a proxy that lacks a value in one of them."""
    shape = space.input_shape(**options["build_options"])
    found = []
    for k in range(options["initialisations"]):
        seed = options["seed"] + k
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = space.build(arch, **options["build_options"])
            if options["init"] == "kaiming":
                model.apply(_kaiming)
        classes = int(options["build_options"].get("num_classes", 10))
        tokens = space.vocabulary(**options["build_options"])
        images, labels = make_batch(options["batch"], options["batch_size"], shape, classes, options["seed"], tokens)
        model = model.to(options["device"])
        known = labels if not isinstance(options["batch"], str) or _classifies(model, images, classes, tokens) else None
        found.append(zcp(model, images, known, options["proxies"], options["loss"], seed))
    names = list(found[0].values)
    reasons = {name: why for scores in reversed(found) for name, why in scores.reasons.items()}
    return Scores({name: float(np.mean([s.values[name] for s in found])) for name in names}, reasons)


def _classifies(model: nn.Module, images: torch.Tensor, classes: int, tokens: int | None) -> bool:
    """Whether the labels of a built-in batch suit the network: classes of images, or the next token of each."""
    device = next((p.device for p in model.parameters()), images.device)
    training = model.training
    with torch.no_grad():
        outputs = model.eval()(images[:1].to(device)).shape
    model.train(training)
    return len(outputs) == 3 if tokens is not None else len(outputs) == 2 and outputs[1] >= classes


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _registered(space: SearchSpace) -> bool:
    """Whether a space (or the whole space of a pool) is the registered one of its name."""
    from nastk.registry import SPACES

    whole = space.whole
    return whole.name in SPACES.names() and type(whole) is SPACES.get(whole.name)
