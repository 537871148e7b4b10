"""A pruned network without masks: plain modules, whose weights are slices of the masked ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nastk.generators._pit_channels import NORMS, Layer
from nastk.generators._pit_masks import MaskedLayer, TapMask


def write_layer(network: nn.Module, layer: Layer, reads: Tensor, writes: Tensor, taps: TapMask | None) -> None:
    """Put the slice of a layer in its place.

    Args:
        network: a copy of the masked network; modified.
        layer: as it was found.
        reads, writes: which input and output channels are kept, booleans.
        taps: the mask of its taps, None where all are kept.
    """
    made: Any = network.get_submodule(layer.name)
    if isinstance(made, NORMS):
        _slice_norm(made, writes)
        return
    if isinstance(made, MaskedLayer):
        made = made.layer
    if isinstance(made, nn.Linear):
        _put(network, layer.name, _linear(made, reads, writes))
    elif layer.own_forward:
        _put(network, layer.name, _of_own_class(made, layer, reads, writes))
    else:
        _put(network, layer.name, _convolution(network, made, layer, reads, writes, taps))


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)


def _slice_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, kept: Tensor) -> None:
    norm.num_features = int(kept.sum())
    for name in ("weight", "bias"):
        if (value := getattr(norm, name)) is not None:
            setattr(norm, name, nn.Parameter(value.detach()[kept].clone(), value.requires_grad))
    for name in ("running_mean", "running_var"):
        if (value := getattr(norm, name)) is not None:
            setattr(norm, name, value[kept].clone())


def _linear(before: nn.Linear, reads: Tensor, writes: Tensor) -> nn.Linear:
    weight = before.weight.detach()[writes][:, reads]
    made = nn.Linear(weight.shape[1], weight.shape[0], before.bias is not None, weight.device, weight.dtype)
    _fill(made, weight, before.bias, writes)
    return made.train(before.training)


def _fill(made: Any, weight: Tensor, bias: Tensor | None, writes: Tensor) -> None:
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None:
            made.bias.copy_(bias.detach()[writes])


def _channels_of(before: Any, layer: Layer, reads: Tensor, writes: Tensor) -> tuple[Tensor, int, int]:
    """The weight without the removed channels, how many it reads, and the number of groups."""
    weight: Tensor = before.weight.detach()[writes]
    if not layer.depthwise:
        weight = weight[:, reads]
        return weight, weight.shape[1], 1
    groups = before.groups if len(weight) == before.out_channels else len(weight)
    return weight, weight.shape[1] * groups, groups


def _of_own_class(before: Any, layer: Layer, reads: Tensor, writes: Tensor) -> nn.Module:
    """A convolution of a user's class, with fewer channels."""
    weight, inputs, groups = _channels_of(before, layer, reads, writes)
    bias = before.bias
    before.in_channels, before.out_channels, before.groups = inputs, len(weight), groups
    before.weight = nn.Parameter(weight.clone())
    if bias is not None:
        before.bias = nn.Parameter(bias.detach()[writes].clone())
    found: nn.Module = before
    return found


def _convolution(
    network: nn.Module, before: Any, layer: Layer, reads: Tensor, writes: Tensor, taps: TapMask | None
) -> nn.Module:
    """A convolution of fewer channels and taps; padded on the left by as much less as its oldest taps reached back."""
    weight, inputs, groups = _channels_of(before, layer, reads, writes)
    padding, dilation, cut = before.padding, before.dilation, 0
    if taps is not None:
        count, step = taps.kept()
        cut = (weight.shape[2] - 1 - (count - 1) * step) * before.dilation[0]
        weight = weight[:, :, taps().detach() > 0]
        dilation = (before.dilation[0] * step if count > 1 else 1,)
    left = 0
    if cut:
        left, right = _padded(before)
        outside: Any = network.get_submodule(layer.padding) if layer.padding else None
        if outside is not None and outside.padding[0] >= cut:
            outside.padding = (outside.padding[0] - cut, outside.padding[1])
        else:
            left -= cut
        padding = (right,) if left == right else (0,)
    kind: Any = nn.Conv1d if isinstance(before, nn.Conv1d) else nn.Conv2d
    made: nn.Module = kind(
        inputs, len(weight), tuple(weight.shape[2:]), before.stride, padding, dilation, groups, before.bias is not None,
        before.padding_mode, weight.device, weight.dtype,
    )  # fmt: skip
    _fill(made, weight, before.bias, writes)
    made.train(before.training)
    if cut and left != right:
        return nn.Sequential(nn.ConstantPad1d((left, right), 0.0), made)
    return made


def _padded(convolution: nn.Conv1d) -> tuple[int, int]:
    """Zeros that a convolution adds before and after its input."""
    if convolution.padding == "valid":
        return 0, 0
    if convolution.padding == "same":
        total = convolution.dilation[0] * (convolution.kernel_size[0] - 1)
        return total // 2, total - total // 2
    return int(convolution.padding[0]), int(convolution.padding[0])
