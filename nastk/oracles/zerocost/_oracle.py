"""Zero-cost proxies of a space's networks: as oracles, and as features of the ``zcp`` encoding."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nastk.data.fetch import Store
from nastk.data.images import ImageData
from nastk.devices import torch_device
from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.files import write_text
from nastk.oracles._fitting import options_for
from nastk.oracles.base import Evaluation, Oracle
from nastk.oracles.zerocost._batch import describe, draw, make_batch
from nastk.oracles.zerocost._pass import Loss
from nastk.oracles.zerocost._scores import Scores, loss_of, named_proxies, zcp
from nastk.outputs import AmbiguousOutput, Logits
from nastk.parallel import each
from nastk.problems import CLASSIFICATION
from nastk.spaces._networks import build_network
from nastk.spaces.base import Archs, SearchSpace

VERSION = 3
"""Increased when a definition changes, so that values cached under the old one are ignored."""
INITS = ("default", "kaiming")
"""Initial weights: as built, or normal by fan-in."""


class SeveralOutputs(UserWarning):
    """The networks return several tensors; says which one the proxies take for the logits."""


@dataclass(frozen=True, eq=False)
class _Job:
    space: SearchSpace
    archs: Archs
    options: dict[str, Any]


class ZeroCost:
    """Proxies computed on the networks themselves; a source for ``nastk.Context(proxies=...)``.

    Args:
        space: whose networks.
        proxies: names; by default the thirteen of NAS-Bench-Suite-Zero.
        batch: "digits", "random", or images and labels; or `nastk.data.images.ImageData`, of whose training part some
            are drawn: the networks are built to fit it then, unless there are `build_options`.
        batch_size: of "digits", "random" and `ImageData`.
        loss: of logits and labels; by default cross-entropy, or that of the problem of `ImageData`.
        init: "default" (the weights that the network is built with) or "kaiming" (normal, by fan-in).
        initialisations: number of initialisations to average over.
        seed: random seed of weights, batch and inputs.
        workers: processes, one thread each.
        device: where the networks run, "cpu" or "cuda" (each process moves its own network there).
        output: which output of the networks is their logits, where they return several; see :func:`nastk.zcp`. Without
            it, the only one with as many classes (`num_classes`, as given or as the space has it by default, else 10;
            for tokens the vocabulary).
        cache: keep values on disk, by architecture, setting and version; not with a custom loss, nor for a user's own
            space, whose networks may change under the same name.
        build_options: of `SearchSpace.build`.

    Attributes:
        names: of the ``k`` proxies.
        reasons: for architectures (as text) where a proxy has no value, why. A network that cannot be built or run has
            none, the others have theirs.
        outputs: for architectures (as text) whose networks return several tensors, which was taken for the logits.

    Raises:
        UnknownName: no such proxy.
        InvalidValue: an `init` that does not exist, or no initialisation or image.
        Unsupported: the space builds no networks.
    """

    live = True
    """Values are computed on networks, and take time; see `nastk.encodings.base.ProxySource`."""

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
        output: int | str | None = None,
        **build_options: Any,
    ):
        if init not in INITS:
            raise InvalidValue(f"init must be {' or '.join(INITS)}; got {init!r}")
        if initialisations < 1 or batch_size < 1:
            raise InvalidValue("initialisations and batch_size must be at least 1")
        torch_device(device)
        space.need_networks("a zero-cost proxy")
        self.space = space.whole
        named = batch if isinstance(batch, ImageData) else None
        if named is not None:
            build_options = build_options or options_for(self.space, named)
            if loss is None and named.problem.name != CLASSIFICATION.name:
                loss = loss_of(named.problem)
            batch = draw(named, batch_size, seed)
        self.names = tuple(named_proxies(proxies))
        self.directions = {name: proxy.direction for name, proxy in named_proxies(proxies).items()}
        self.workers, self.build_options = workers, build_options
        self.data = describe(batch, batch_size)
        if named is not None:
            self.data = f"{len(batch[0])} images of {named.name} ({named.identity})"
        self.source = f"zero-cost on {self.data}, {initialisations} initialisation{'s' * (initialisations > 1)}"
        if output is not None:
            self.source += f", logits {output}"
        self._options = {
            "proxies": self.names,
            "batch": batch,
            "batch_size": batch_size,
            "loss": loss,
            "init": init,
            "initialisations": initialisations,
            "seed": seed,
            "device": device,
            "output": output,
            "build_options": build_options,
        }
        self._known: dict[str, dict[str, float]] = {}
        self.reasons: dict[str, dict[str, str]] = {}
        self.outputs: dict[str, str] = {}
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
            for job, scores in self._computed(jobs, progress):
                for text, found in zip(self.space.format_all(job.archs), scores, strict=True):
                    self._keep(text, found)
        finally:
            if jobs and self._file is not None:
                self._write()
        return np.array([[self._known[t][name] for name in self.names] for t in texts]).reshape(-1, len(self.names))

    def _computed(
        self, jobs: list[_Job], progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[_Job, list[Scores]]]:
        """Each job with its scores; where a network ends its process, the others are computed in processes of their
        own."""
        done: list[_Job] = []
        try:
            for job, scores in each(_compute, jobs, self.workers, progress):
                done.append(job)
                yield job, scores
            return
        except BrokenProcessPool:
            left = [(job, i) for job in jobs if job not in done for i in range(len(job.archs))]
        for several, i in left:
            job = _Job(several.space, several.archs[i : i + 1], several.options)
            try:
                yield from each(_compute, [job], 1, fresh=True)
            except BrokenProcessPool:
                yield job, [_without(self.names, "failed: its process ended (killed, or out of memory)")]

    def _keep(self, text: str, found: Scores) -> None:
        self._known.setdefault(text, {}).update(found.values)
        if found.reasons:
            self.reasons.setdefault(text, {}).update(found.reasons)
        if found.output:
            if self._options["output"] is None and found.output not in self.outputs.values():
                message = f"of several outputs of the networks, {found.output!r} is taken for the logits"
                warnings.warn(f"{self.space.whole.name}: {message}", SeveralOutputs, stacklevel=2)
            self.outputs[text] = found.output

    def oracle(self, name: str) -> Oracle:
        """One proxy as a free oracle; its value is computed with all others of this source and cached."""
        from nastk.errors import UnknownName
        from nastk.oracles.zerocost._scores import table_name

        if table_name(name) not in self.names:
            raise UnknownName("proxy", name, self.names)
        return _Oracle(self, table_name(name))

    # ---- on disk

    @property
    def settings(self) -> dict[str, Any]:
        """What a value depends on besides the network and a loss, JSON-able."""
        facts = {**self._options, "batch": self.data, "version": VERSION}
        return {k: v for k, v in facts.items() if k not in ("proxies", "loss", "device")}

    def _cache_file(self) -> Path:
        facts = {**self.settings, "space": self.space.name}
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

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), **self.zero_cost.settings}

    @property
    def reasons(self) -> dict[str, str]:
        """For architectures (as text) without a value, why."""
        found = self.zero_cost.reasons.items()
        return {text: why[self.name] for text, why in found if self.name in why}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        value = self.zero_cost(archs)[:, self.zero_cost.names.index(self.name)]
        return Evaluation(value, np.full(len(value), np.nan), np.zeros(len(value)))


def _compute(job: _Job) -> list[Scores]:
    return [_scores(job.space, arch, job.options) for arch in job.archs]


def _scores(space: SearchSpace, arch: Archs, options: dict[str, Any]) -> Scores:
    """The proxies of one architecture; all NaN, with the reason, where its network cannot be built or run."""
    try:
        return _average(space, arch, options)
    except NastkError as error:
        if not isinstance(error, AmbiguousOutput):
            raise
        reason = str(error)
    except (Exception, SystemExit) as error:
        reason = f"failed: {reason_of(error)}"
    return _without(options["proxies"], reason)


def _without(proxies: Sequence[str], reason: str) -> Scores:
    return Scores(dict.fromkeys(proxies, float("nan")), dict.fromkeys(proxies, reason))


def _average(space: SearchSpace, arch: Archs, options: dict[str, Any]) -> Scores:
    """Means over the initialisations; NaN for a proxy that lacks a value in one of them."""
    build_options = options["build_options"]
    shape, tokens = space.input_shape(**build_options), space.vocabulary(**build_options)
    classes = int(build_options.get("num_classes", 10))
    find = Logits(_logit_count(space, build_options) if tokens is None else tokens, options["output"])
    found = []
    for k in range(options["initialisations"]):
        seed = options["seed"] + k
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_network(space, arch, **build_options)
            if options["init"] == "kaiming":
                model.apply(_kaiming)
        images, labels = make_batch(options["batch"], options["batch_size"], shape, classes, options["seed"], tokens)
        model = model.to(options["device"])
        built_in = isinstance(options["batch"], str)
        known = labels if not built_in or _classifies(model, images, find, classes, tokens) else None
        names, loss = options["proxies"], options["loss"]
        found.append(zcp(model, images, known, names, loss, seed, find.classes, find.output))
    names = list(found[0].values)
    reasons = {name: why for scores in reversed(found) for name, why in scores.reasons.items()}
    means = {name: float(np.mean([s.values[name] for s in found])) for name in names}
    return Scores(means, reasons, found[0].output)


def _logit_count(space: SearchSpace, build_options: dict[str, Any]) -> int:
    """Classes of the networks: as asked for, as the space makes them by default, or 10."""
    argument = inspect.signature(space.build).parameters.get("num_classes")
    default = argument.default if argument is not None and isinstance(argument.default, int) else 10
    return int(build_options.get("num_classes", default))


def _classifies(model: nn.Module, images: torch.Tensor, find: Logits, classes: int, tokens: int | None) -> bool:
    """Whether the labels of a built-in batch suit the network: classes of images, or the next token of each."""
    device = next((p.device for p in model.parameters()), images.device)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            outputs = find.choose(model.eval()(images[:1].to(device)))[1].shape
    except AmbiguousOutput:
        raise
    except Exception:
        return True  # the proxies that need a forward pass meet it again and give the reason
    finally:
        for module, mode in modes:
            module.training = mode
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
