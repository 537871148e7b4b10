"""Which channels of a network belong together, found in its graph: what mask-based pruning may remove, and where.

Two layers whose outputs are added share their channels; a concatenation puts groups side by side; a flattening repeats
each. Whatever is not understood keeps the channels that reach it, with the reason.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from nastk.errors import InvalidValue
from nastk.evaluation import reason_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

_PASSING_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.SELU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout,
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ZeroPad1d, nn.ZeroPad2d,
    nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d, nn.Upsample,
)  # fmt: skip
"""Modules whose channel c of the output depends on channel c of the input alone."""

_PASSING_FUNCTIONS = {
    torch.relu, torch.sigmoid, torch.tanh, torch.abs, torch.clone, torch.exp, torch.square, torch.neg,
    functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu, functional.silu,
    functional.mish, functional.hardswish, functional.hardsigmoid, functional.sigmoid, functional.tanh,
    functional.softplus, functional.selu, functional.dropout, functional.dropout1d, functional.dropout2d,
    functional.max_pool1d, functional.max_pool2d, functional.avg_pool1d, functional.avg_pool2d,
    functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool1d,
    functional.adaptive_max_pool2d, functional.interpolate, operator.neg, operator.abs,
}  # fmt: skip

_PASSING_METHODS = {
    "relu", "relu_", "sigmoid", "tanh", "abs", "contiguous", "clone", "float", "to", "exp", "square", "detach", "neg",
}  # fmt: skip

_ELEMENTWISE = {
    operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, torch.add, torch.sub,
    torch.mul, torch.div, torch.maximum, torch.minimum, "add", "add_", "sub", "mul", "mul_", "div",
}  # fmt: skip
"""Arithmetic of two tensors, channel by channel."""

_REDUCTIONS = {torch.mean, torch.sum, torch.amax, "mean", "sum", "amax"}
_CONCATENATIONS = {torch.cat, torch.concat, torch.concatenate}
_FLATTENINGS = {torch.flatten, torch.reshape, "flatten", "reshape", "view"}
_SQUEEZES = {torch.squeeze, torch.unsqueeze, "squeeze", "unsqueeze"}


@dataclass(eq=False)
class Group:
    """Channels that are kept or removed together with those of other layers.

    Args:
        size: number of channels.
        kept: why none of them can be removed; "" where they can.
    """

    size: int
    kept: str = ""
    _into: Group | None = None

    @property
    def root(self) -> Group:
        return self if self._into is None else self._into.root

    def keep(self, why: str) -> None:
        self.root.kept = self.root.kept or why

    def join(self, other: Group) -> None:
        mine, its = self.root, other.root
        if mine is not its:
            its._into = mine
            mine.kept = mine.kept or its.kept


@dataclass(frozen=True)
class Channels:
    """What the second dimension of a tensor is.

    Args:
        groups: side by side.
        repeat: places that each channel takes one after another, as after a flattening.
    """

    groups: tuple[Group, ...]
    repeat: int = 1

    def keep(self, why: str) -> None:
        for group in self.groups:
            group.keep(why)

    @property
    def sizes(self) -> list[int]:
        return [group.size for group in self.groups]


@dataclass
class Layer:
    """A convolution, a linear layer or a batch normalisation of the network.

    Args:
        name: of the module.
        module: itself.
        reads: the channels of its input.
        writes: those of its output; the same groups as `reads` where it takes each channel alone.
        positions: elements of its output for each channel of one example, such as time steps.
        padding: name of a module that does nothing but pad this layer's input with zeros, if there is one.
    """

    name: str
    module: nn.Module
    reads: Channels
    writes: Channels
    positions: int
    padding: str = ""

    @property
    def depthwise(self) -> bool:
        return isinstance(self.module, CONVOLUTIONS) and self.module.groups > 1

    @property
    def own_forward(self) -> bool:
        """Whether its class is a user's, with a forward pass of its own."""
        plain = nn.Conv1d if isinstance(self.module, nn.Conv1d) else nn.Conv2d
        return isinstance(self.module, CONVOLUTIONS) and type(self.module).forward is not plain.forward


@dataclass
class Structure:
    """The layers of a network, in the order in which they run."""

    layers: list[Layer] = field(default_factory=list)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*CONVOLUTIONS, nn.Linear, *NORMS)) or super().is_leaf_module(m, module_qualified_name)


def structure_of(network: nn.Module, example: Tensor) -> Structure:
    """The layers of a network and the groups of their channels.

    Args:
        network: takes one tensor; not modified.
        example: a batch of its inputs, ``(b, channels, ...)``.

    Raises:
        InvalidValue: its graph cannot be traced, or it fails on the example.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # of the user's forward pass, traced with stand-ins for tensors
        raise InvalidValue(
            f"the forward pass of {type(network).__name__} cannot be traced by torch.fx: {reason_of(error)}; it must "
            "not depend on values of tensors"
        ) from error
    traced = fx.GraphModule(network, graph)
    training = [(module, module.training) for module in network.modules()]
    try:
        traced.eval()
        with torch.no_grad():
            ShapeProp(traced).propagate(example)
    except Exception as error:
        raise InvalidValue(f"{type(network).__name__} fails on the example: {reason_of(error)}") from error
    finally:
        for module, mode in training:
            module.training = mode
    return _Reading(traced).found


class _Reading:
    """One walk over the graph."""

    def __init__(self, traced: fx.GraphModule):
        self.modules = dict(traced.named_modules())
        self.channels: dict[fx.Node, Channels] = {}
        self.found = Structure()
        self.calls: dict[str, int] = {}
        for node in traced.graph.nodes:
            if node.op == "call_module":
                self.calls[node.target] = self.calls.get(node.target, 0) + 1
        for node in traced.graph.nodes:
            made = self._read(node)
            if made is not None:
                self.channels[node] = made

    def _read(self, node: fx.Node) -> Channels | None:
        if node.op == "output":
            self._keep(node, "it reaches the output")
            return None
        if node.op == "placeholder":
            return self._fresh(node, "an input")
        if node.op == "call_module":
            return self._module(node)
        if node.op in ("call_function", "call_method"):
            return self._operation(node)
        return None

    # ---- modules

    def _module(self, node: fx.Node) -> Channels | None:
        module, reads = self.modules[str(node.target)], self._of(node.args[0] if node.args else None)
        if reads is None:
            return self._unknown(node, type(module).__name__)
        if isinstance(module, (*CONVOLUTIONS, nn.Linear, *NORMS)):
            return self._layer(node, module, reads)
        if isinstance(module, _PASSING_MODULES) or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            return reads
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim in (-1, _dims(node.args[0]) - 1):
            return self._flattened(node, reads)
        return self._unknown(node, type(module).__name__)

    def _layer(self, node: fx.Node, module: nn.Module, reads: Channels) -> Channels | None:
        shape = _shape(node)
        name = str(node.target)
        if isinstance(module, NORMS):
            writes = reads
            if reads.repeat > 1:
                reads.keep(f"{name} normalises each of its places for itself")
        elif isinstance(module, nn.Linear):
            if len(shape) != 2:
                return self._unknown(node, f"a linear layer on {len(shape)} dimensions")
            writes = Channels((Group(shape[1]),))
        elif module.groups == 1:
            writes = Channels((Group(shape[1]),))
        elif module.groups == module.in_channels == module.out_channels and reads.repeat == 1:
            writes = reads
        else:
            reads.keep(f"{name} is a grouped convolution")
            writes = Channels((Group(shape[1], "a grouped convolution"),))
        if self.calls[name] > 1:
            for side in (reads, writes):
                side.keep(f"{name} is called {self.calls[name]} times")
            if any(layer.name == name for layer in self.found.layers):
                return writes
        self.found.layers.append(
            Layer(name, module, reads, writes, math.prod(shape[2:]), self._padding(node.args[0], module))
        )
        return writes

    def _padding(self, before: Any, module: nn.Module) -> str:
        """The name of a module that pads the input of this layer, and of nothing else, with zeros."""
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            return ""
        made, name = self.modules[str(before.target)], str(before.target)
        alone = self.calls[name] == 1 and isinstance(module, nn.Conv1d)
        return name if alone and isinstance(made, (nn.ConstantPad1d, nn.ZeroPad1d)) and made.value == 0 else ""

    # ---- functions and methods

    def _operation(self, node: fx.Node) -> Channels | None:
        target: Any = node.target
        first = self._of(node.args[0] if node.args else None)
        if target in _CONCATENATIONS:
            return self._concatenation(node)
        if target in _ELEMENTWISE:
            return self._elementwise(node)
        if first is None:
            return self._unknown(node, _called(target))
        if target in _PASSING_FUNCTIONS or target in _PASSING_METHODS:
            return first
        if target in _REDUCTIONS and 0 not in (axes := _axes(node)) and 1 not in axes and axes:
            return first
        if target in _FLATTENINGS and _is_flattening(node):
            return self._flattened(node, first)
        if target in _SQUEEZES and _shape(node)[:2] == _shape(node.args[0])[:2]:
            return first
        if target is functional.pad and len(_option(node, 1, "pad", ())) <= 2 * (_dims(node.args[0]) - 2):
            return first
        if target is operator.getitem and _keeps_channels(node.args[1], _dims(node.args[0])):
            return first
        if target in (getattr, "size", "dim"):
            return None  # a shape
        return self._unknown(node, _called(target))

    def _concatenation(self, node: fx.Node) -> Channels | None:
        parts = [self._of(part) for part in node.args[0]]  # type: ignore[union-attr]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or _option(node, 1, "dim", 0) not in (1, 1 - _dims(node)):
            return self._unknown(node, "a concatenation")
        if len({part.repeat for part in known}) > 1:
            return self._unknown(node, "a concatenation of flattened and other tensors")
        return Channels(tuple(group for part in known for group in part.groups), known[0].repeat)

    def _elementwise(self, node: fx.Node) -> Channels | None:
        """Arithmetic of tensors of the same channels, or with numbers."""
        tensors = [a for a in node.args if isinstance(a, fx.Node) and (_is_tensor(a) or a.op == "get_attr")]
        if not tensors:
            return None  # of sizes
        known = [self._of(t) for t in tensors]
        single = [t.op == "get_attr" and math.prod(_shape(t)) == 1 for t in tensors]
        both = [k for k, alone in zip(known, single, strict=True) if not alone]
        if any(k is None for k in both) or any(_dims(t) != _dims(node) for t, s in zip(tensors, single) if not s):  # noqa: B905
            return self._unknown(node, "arithmetic with something else than channels")
        channels = [k for k in both if k is not None]
        if len(channels) == 2:
            a, b = channels
            if a.sizes != b.sizes or a.repeat != b.repeat:
                return self._unknown(node, "arithmetic of different channels")
            for one, other in zip(a.groups, b.groups, strict=True):
                one.join(other)
        return channels[0]

    def _flattened(self, node: fx.Node, channels: Channels) -> Channels:
        before, after = _shape(node.args[0]), _shape(node)
        return Channels(channels.groups, channels.repeat * (after[1] // before[1]))

    # ---- what is not understood

    def _unknown(self, node: fx.Node, what: str) -> Channels | None:
        self._keep(node, f"it reaches {what}")
        return self._fresh(node, f"made by {what}")

    def _keep(self, node: fx.Node, why: str) -> None:
        for before in node.all_input_nodes:
            if before in self.channels:
                self.channels[before].keep(why)

    def _fresh(self, node: fx.Node, why: str) -> Channels | None:
        if not _is_tensor(node) or _dims(node) < 2:
            return None
        return Channels((Group(_shape(node)[1], why),))

    def _of(self, argument: Any) -> Channels | None:
        return self.channels.get(argument) if isinstance(argument, fx.Node) else None


def _called(target: Any) -> str:
    return str(getattr(target, "__name__", target))


def _is_tensor(node: Any) -> bool:
    return isinstance(node, fx.Node) and hasattr(node.meta.get("tensor_meta"), "shape")


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape) if _is_tensor(node) else ()


def _dims(node: Any) -> int:
    return len(_shape(node))


def _option(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _axes(node: fx.Node) -> set[int]:
    """Dimensions that a reduction takes, from 0; all where it names none or drops the dimension in a way that is not
    plain."""
    named = _option(node, 1, "dim", None)
    dims = range(_dims(node.args[0]))
    if named is None:
        return set(dims)
    listed: Iterable[int] = (named,) if isinstance(named, int) else named
    return {axis % len(dims) for axis in listed}


def _is_flattening(node: fx.Node) -> bool:
    """Whether all but the first dimension become one, by a number that is not written down."""
    before, after = _shape(node.args[0]), _shape(node)
    whole = len(after) == 2 and after[:1] == before[:1] and len(before) >= 2
    if not whole:
        return False
    if node.target in (torch.flatten, "flatten"):
        return True
    sizes = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], (tuple, list)) else node.args[1:]
    return tuple(sizes)[-1:] == (-1,)


def _keeps_channels(index: Any, dims: int) -> bool:
    """Whether an index takes all examples and channels: ``x[:, :, :-2]`` or ``x[..., -1]``."""
    parts = index if isinstance(index, tuple) else (index,)
    if parts and parts[0] is Ellipsis:
        return len(parts) == 2 and dims > 2 and isinstance(parts[1], (slice, int))
    everything = slice(None)
    return len(parts) > 2 and parts[0] == everything and parts[1] == everything and Ellipsis not in parts[2:]


Masks = Callable[[Group], Tensor]
"""The mask ``(size,)`` of a group."""


def mask_of(channels: Channels, masks: Masks) -> Tensor:
    """The mask of the second dimension of a tensor, ``(size,)``."""
    found = torch.cat([masks(group) for group in channels.groups])
    return found.repeat_interleave(channels.repeat) if channels.repeat > 1 else found
