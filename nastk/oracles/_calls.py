"""Calls of PyTorch's functions while a network runs, so that what is found does not depend on how it is written.

``nn.Conv2d``, ``functional.conv2d`` and ``torch.conv2d`` are one call here, as are ``x + y``, ``torch.add(x, y)`` and
``x.add(y)``. Modules are not looked at: one that is reused runs twice, one that does not run does not count.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
"""Functions that convolve an input with a weight."""
PRODUCTS = frozenset({"matmul", "mm", "bmm", "addmm", "einsum", "bilinear"})
"""Functions that are a linear layer where one operand is a parameter and another is not."""
ATTENTION = "multi_head_attention_forward"
"""Function of ``nn.MultiheadAttention``: several linear layers in one call, whose outputs are not seen."""
GATES = frozenset({
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish",
    "hardtanh",
})  # fmt: skip
"""Nonlinearities with two sides; their outputs' signs are the codes of the proxy nwot."""
NORMALISATIONS = frozenset({"batch_norm", "layer_norm", "group_norm", "rms_norm", "instance_norm"})
"""Functions that normalise their input."""

# Functions in C, whose signatures Python cannot read.
_SIGNATURES = {
    "batch_norm": ("input", "weight", "bias"),
    "clamp": ("input", "min", "max"),
    "clip": ("input", "min", "max"),
    "clamp_min": ("input", "min"),
    "threshold": ("input", "threshold", "value"),
    "embedding": ("weight", "input"),
    "linear": ("input", "weight", "bias"),
    **dict.fromkeys(CONVOLUTIONS, ("input", "weight", "bias")),
}


class Call:
    """One call.

    Attributes:
        name: of the function, the same for a method, an operator and the in-place form: "relu", "add".
        arguments: positional ones; for a method the object comes first.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any] | None):
        self.function, self.arguments, self.options = function, tuple(arguments), options or {}
        self.name = getattr(function, "__name__", "").strip("_")

    def run(self) -> Any:
        return self.function(*self.arguments, **self.options)

    def get(self, name: str) -> Any:
        """An argument by its name; None if it was not given or the function has none."""
        if name in self.options:
            return self.options[name]
        names = _signature(self.function) if isinstance(self.function, FunctionType) else _SIGNATURES.get(self.name, ())
        place = names.index(name) if name in names else len(self.arguments)
        return self.arguments[place] if place < len(self.arguments) else None

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments, those in lists included."""
        return [leaf for leaf in tree_leaves((self.arguments, self.options)) if isinstance(leaf, Tensor)]

    @property
    def written(self) -> Tensor | None:
        """The tensor that the call changes in place."""
        name = getattr(self.function, "__name__", "")
        in_place = (name.endswith("_") and not name.endswith("__")) or name == "__setitem__" or self.get("inplace")
        target = self.arguments[0] if in_place and self.arguments else self.options.get("out")
        return target if isinstance(target, Tensor) else None


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


@dataclass(eq=False)
class Layer:
    """One run of a convolution or linear layer.

    Args:
        weights: that it multiplies its input with, as :func:`whole` gives them; several for attention.
        biases: that it adds.
        channels: the output's channel dimension; None where the output is not seen.
        bias_size: elements of the output that a bias was added to.
        output: reference to the output.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    channels: int | None
    bias_size: int = 0
    output: Callable[[], Any] = field(default=lambda: None, repr=False)


class Layers(TorchFunctionMode):
    """Within the block, collects the layers that run.

    A bias may be the layer's own or a parameter that is added to its output in the next call.

    Attributes:
        found: runs of layers, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Layer] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func, args, kwargs)
        output = self.run(call)
        layer = _layer(call, output) or self._biased(call, output)
        if layer is not None:
            self.ran(layer, output)
        return output

    def run(self, call: Call) -> Any:
        """The result of a call; a subclass may look at it or return something else."""
        return call.run()

    def ran(self, layer: Layer, output: Any) -> None:
        """A layer ran, or a bias was added to the last one's output."""
        if not self.found or self.found[-1] is not layer:
            self.found.append(layer)

    def _biased(self, call: Call, output: Any) -> Layer | None:
        if call.name != "add" or not self.found or len(call.tensors) != 2 or not isinstance(output, Tensor):
            return None
        layer, (a, b) = self.found[-1], call.tensors
        before, bias = layer.output(), b if parameter(b) is not None else a
        # the same object, unless the bias was added in place
        if layer.biases or before is None or not (a is before or b is before) or parameter(bias) is None:
            return None
        layer.biases.append(bias)
        layer.output, layer.bias_size = weakref.ref(output), output.numel()
        return layer


def _layer(call: Call, output: Any) -> Layer | None:
    if call.name == ATTENTION:
        return _attention(call)
    if not isinstance(output, Tensor):
        return None
    if call.name in CONVOLUTIONS or call.name == "linear":
        weight, bias = call.get("weight"), call.get("bias")
        weights = [weight]
        channels: int | None = 1 if call.name in CONVOLUTIONS else -1
    elif call.name in PRODUCTS:
        found = _product(call)
        if found is None:
            return None
        weights, bias, channels = found
    else:
        return None
    biases = [] if bias is None else [bias]
    size = output.numel() if biases else 0
    return Layer([whole(w) for w in weights], biases, channels, size, weakref.ref(output))


def _product(call: Call) -> tuple[list[Tensor], Tensor | None, int | None] | None:
    """Weights, bias and channel dimension of a product of activations with a parameter."""
    operands, bias = call.tensors, None
    if call.name == "addmm":
        bias, *operands = operands
    if call.name == "bilinear":
        weights, bias = [call.get("weight")], call.get("bias")
    else:
        weights = [t for t in operands if parameter(t) is not None]
    if not weights or len(weights) == len(operands):
        return None
    if call.name in ("matmul", "mm", "addmm"):
        first = weights[0] is operands[0]
        return weights, bias, -2 if first and operands[1].ndim > 1 else -1
    return weights, bias, -1 if call.name == "bilinear" else None


def _attention(call: Call) -> Layer:
    names = ("in_proj", "q_proj", "k_proj", "v_proj", "out_proj")
    weights = [w for n in names if (w := call.get(f"{n}_weight")) is not None]
    width = int(call.get("embed_dim_to_check"))
    biases, size = [], 0
    for name, inputs in (("in_proj", ("query", "key", "value")), ("out_proj", ("query",))):
        if (bias := call.get(f"{name}_bias")) is not None:
            biases.append(bias)
            size += width * sum((x := call.get(i)).numel() // x.shape[-1] for i in inputs)
    return Layer(weights, biases, None, size)


def parameter(tensor: Tensor) -> nn.Parameter | None:
    """The parameter that a tensor is, or is a view of."""
    base = tensor if tensor._base is None else tensor._base
    return base if isinstance(base, nn.Parameter) else None


def whole(weight: Tensor) -> Tensor:
    """The parameter, where a weight is all of it in another form (``w.t()``); otherwise the weight itself.

    So a parameter that is used twice is one weight, and of a supernet's only the part counts that is used.
    """
    base = parameter(weight)
    return weight if base is None or weight.numel() < base.numel() else base
