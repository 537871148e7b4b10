"""Proxies of one network, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nastk.data.proxies import PROXIES as SUITE_ZERO
from nastk.errors import InvalidValue, UnknownName, Unsupported
from nastk.evaluation import reason_of
from nastk.oracles.zerocost._pass import Loss, Pass
from nastk.oracles.zerocost.base import Proxy, Undefined
from nastk.outputs import AmbiguousOutput, Logits
from nastk.problems import CLASSIFICATION, MultiTask, Problem
from nastk.problems import problem as named_problem
from nastk.registry import PROXIES
from nastk.spaces._networks import initialise, is_lazy


@dataclass(frozen=True)
class Scores:
    """Values of the proxies of a network.

    Args:
        values: by name; NaN where a proxy has no value.
        reasons: why a proxy has no value, by name.
        output: name or position of the output that was taken for the logits, where the network returns several.
    """

    values: dict[str, float]
    reasons: dict[str, str] = field(default_factory=dict)
    output: str = ""


def table_name(name: str) -> str:
    """A proxy's name as tables write it: ``epe_nas``."""
    return name.replace("-", "_")


def named_proxies(names: Sequence[str] | None = None) -> dict[str, Proxy]:
    """Proxies by their names in tables; the thirteen of NAS-Bench-Suite-Zero, which tables and priors know, if None.

    Raises:
        UnknownName: no such proxy.
    """
    known = {table_name(name): name for name in PROXIES.names()}
    found: dict[str, Proxy] = {}
    for name in SUITE_ZERO if names is None else names:
        if table_name(name) not in known and ":" not in name:
            raise UnknownName("proxy", name, known)
        found[table_name(name)] = PROXIES.create(known.get(table_name(name), name))
    if not found:
        raise InvalidValue("name at least one proxy")
    return found


def zcp(
    model: nn.Module,
    images: Any,
    labels: Any = None,
    proxies: Sequence[str] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    classes: int | None = None,
    output: int | str | None = None,
    problem: str | Problem = CLASSIFICATION,
) -> Scores:
    """Zero-cost proxies of any network that maps images or tokens to logits; the network is not modified.

    Lazy modules are the exception: a forward pass gives them their shapes and weights first.

    Args:
        model: on a CPU or CUDA device (some proxies need double precision, which Apple's devices lack), with its
            initial random weights.
        images: ``(b, channels, height, width)``, tokens ``(b, t)``, or any input of the network.
        labels: classes, ``(b,)``, or ``(b, t)`` where there are logits for each token; by default the images
            (or tokens) are assigned to the classes in turn.
        proxies: names; by default the thirteen of NAS-Bench-Suite-Zero.
        loss: of logits and labels; by default cross-entropy, whose classes are the last dimension of ``(b, classes)``
            and ``(b, t, classes)``, and the second of ``(b, classes, height, width)``.
        seed: random seed of weights and inputs (zen).
        classes: number of classes, by which the logits are found where the network returns several tensors.
        output: position or name of the logits among them, such as ``1``, ``"logits"`` or ``"heads.0"``. Without it, the
            logits are the output of that name, or the only one that `classes` and `labels` fit.
        problem: whose loss it is by default, see :mod:`nastk.problems`; another one than classification needs `labels`.

    Raises:
        UnknownName: no such proxy.
        InvalidValue: no images, or of several outputs none or more than one may be the logits.
    """
    wanted = named_proxies(proxies)
    model = getattr(model, "_orig_mod", model)  # of torch.compile, whose calls cannot be seen
    parameter = next(model.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    images = torch.as_tensor(images).to(device)
    if images.ndim < 2 or not len(images):
        raise InvalidValue(f"a batch has at least two dimensions and one image; got shape {tuple(images.shape)}")
    if loss is None:
        loss = loss_of(problem)
        if labels is None and loss is not _cross_entropy:
            raise InvalidValue(f"proxies of networks for {named_problem(problem).name} need labels")
    if labels is not None:
        labels = torch.as_tensor(labels).to(device)
        if labels.shape[0] != len(images):
            raise InvalidValue(f"{len(images)} images but {labels.shape[0]} labels")
    needs = frozenset().union(*(p.needs for p in wanted.values()))
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout, and weights of lazy modules
        if is_lazy(model):
            initialise(model, images[:2])
        find = _logits(labels, classes, output)
        with Pass(model, images, labels, loss, needs, generator, find) as run:
            for alone in (False, True):
                if alone:
                    run.forget()
                for name, proxy in wanted.items():
                    if proxy.alone == alone:
                        values[name], reason = _value(proxy, run)
                        if reason:
                            reasons[name] = reason
            chosen = run.output
    return Scores({name: values[name] for name in wanted}, reasons, chosen)


def _logits(labels: Tensor | None, classes: int | None, output: int | str | None) -> Logits:
    if labels is None or labels.is_floating_point() or not labels.numel():
        return Logits(classes, output)
    return Logits(classes, output, int(labels.max()) + 1, labels.ndim + 1)


def loss_of(problem: str | Problem) -> Loss:
    """The loss of a problem, of outputs and labels.

    Raises:
        Unsupported: it reads several outputs, and proxies see one.
    """
    found = named_problem(problem)
    if isinstance(found, MultiTask):
        raise Unsupported("proxies see one output of a network; give a loss of it, or one of the tasks")
    return _cross_entropy if found.name == CLASSIFICATION.name else found.loss


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.ndim == 3:
        logits, labels = logits.flatten(0, 1), labels.flatten()
    return torch.nn.functional.cross_entropy(logits, labels)


def _value(proxy: Proxy, run: Pass) -> tuple[float, str]:
    try:
        value = proxy(run)
    except AmbiguousOutput:
        raise
    except Undefined as error:
        return math.nan, str(error)
    except Exception as error:  # the network's, whatever it is
        return math.nan, f"failed: {reason_of(error)}"
    return (value, "") if math.isfinite(value) else (math.nan, f"it is {value}")
