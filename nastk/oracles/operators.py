"""What a network executes, operator by operator: kernels, multiply-adds and bytes moved, from a trace of its graph.

The network runs on PyTorch's meta device, where nothing is computed and no memory is taken, and every operator that it
calls is noted with the shapes of its tensors. So any network that PyTorch runs can be described, a user's own included,
and no code is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nastk.spaces._networks import blank_inputs, build_network, without_memory
from nastk.spaces.base import Archs, SearchSpace

KINDS = (
    "convolution", "pointwise convolution", "grouped convolution", "matrix product", "normalisation", "pooling",
    "copy", "reduction", "element-wise",
)  # fmt: skip
"""Kinds of operators that hardware runs at different speeds; what is none of the others is element-wise."""

QUANTITIES = ("kernels", "multiply-adds", "bytes")
"""What is counted of each kind: calls, multiply-adds, and bytes of all tensors that are read or written."""

_NO_WORK = frozenset({"_unsafe_view", "empty", "empty_like", "new_empty", "empty_strided"})
"""Other views, and memory that is asked for."""
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"})
_COPIES = frozenset({
    "cat", "stack", "clone", "copy", "copy_", "_to_copy", "constant_pad_nd", "pixel_shuffle", "index", "index_select",
    "gather", "embedding", "roll", "flip", "repeat", "fill", "fill_", "zeros", "zeros_like", "ones", "ones_like",
    "new_zeros", "arange",
})  # fmt: skip
_REDUCTIONS = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "argmax", "softmax", "_softmax", "_log_softmax", "var", "var_mean",
})  # fmt: skip
_SAME_SHAPE = frozenset({
    "relu", "relu_", "hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "sigmoid",
    "silu", "silu_", "gelu",
})  # fmt: skip
"""Functions of one tensor whose result has its shape: on the meta device PyTorch takes a millisecond to find that."""
_NORMALISATIONS = frozenset({"native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"})
"""Batch normalisation in evaluation mode, whose shapes take PyTorch even longer."""


class _Operators(TorchDispatchMode):
    """Within the block, counts the operators that run.

    Attributes:
        counts: ``(kinds, quantities)``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: NDArray[np.float64] = np.zeros((len(KINDS), len(QUANTITIES)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        result = _shape_of(name, args)
        if result is None:
            result = func(*args, **(kwargs or {}))
        if func.is_view or name in _NO_WORK:
            return result
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if written:
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *written))
            self.counts[KINDS.index(_kind(name, args))] += 1, _multiply_adds(name, args, written[0]), moved
        return result


def _shape_of(name: str, args: Any) -> Any:
    """The result of an operator on the meta device as far as its shape, where that is plain; else None."""
    x = args[0] if args else None
    if not isinstance(x, Tensor) or not x.is_meta:
        return None
    if name in _SAME_SHAPE:
        return x if name.endswith("_") else torch.empty_like(x)
    if name in _NORMALISATIONS:
        return torch.empty_like(x), x.new_empty(0), x.new_empty(0)
    return None


def _kind(name: str, args: Any) -> str:
    if name == "convolution":
        weight, groups = args[1], args[8]
        if groups > 1:
            return "grouped convolution"
        return "pointwise convolution" if all(size == 1 for size in weight.shape[2:]) else "convolution"
    if name in _PRODUCTS:
        return "matrix product"
    if "norm" in name:
        return "normalisation"
    if "pool" in name:
        return "pooling"
    if name in _COPIES:
        return "copy"
    return "reduction" if name in _REDUCTIONS else "element-wise"


def _multiply_adds(name: str, args: Any, result: Tensor) -> int:
    if name == "convolution":
        x, weight, transposed = args[0], args[1], args[6]
        # each input of a transposed convolution meets the kernel, else each output
        return int((x if transposed else result).numel() * weight[0].numel())
    if name in _PRODUCTS:
        matrices = [arg for arg in args if isinstance(arg, Tensor)][-2:]  # before them an addend
        return int(result.numel() * matrices[0].shape[-1])
    return 0


def operators(space: SearchSpace, arch: Archs, **build_options: Any) -> NDArray[np.float64]:
    """What the network of an architecture executes on one input, ``(kinds, quantities)``.

    Rows as :data:`KINDS`, columns as :data:`QUANTITIES`: calls, multiply-adds, bytes read and written (weights
    included). As written: what a compiler would fuse or leave out is counted.

    Args:
        space: whose network it is.
        arch: one architecture, ``(d,)``.
        build_options: of `SearchSpace.build`.

    Raises:
        Unsupported: the space builds no networks, or does not say what they take as input.
        Exception: whatever the network raises.
    """
    return without_memory(lambda: _counted(space, arch, build_options))


def _counted(space: SearchSpace, arch: Archs, build_options: dict[str, Any]) -> NDArray[np.float64]:
    network = build_network(space, arch, **build_options).eval()
    inputs = blank_inputs(space, 1, **build_options)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Operators() as traced:  # other attention is one opaque call
        network(inputs)
    return traced.counts
