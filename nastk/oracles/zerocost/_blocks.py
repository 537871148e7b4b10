"""The blocks of a network and the features between them, which the proxies of AZ-NAS compare (Lee & Ham, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
SMALL = 1e-8
"""Keeps the logarithm finite at an eigenvalue of zero, as in the authors' code."""


@dataclass(frozen=True, eq=False)
class Feature:
    """What a block gives to the next one.

    Args:
        value: ``(b, ...)``.
        edge: its place in the graph.
        channels: the channel dimension.
    """

    value: Tensor
    edge: GradientEdge
    channels: int

    def rows(self, values: Tensor) -> Tensor:
        """Values of this shape as ``(b * places, channels)``."""
        return values.movedim(self.channels, -1).flatten(0, -2)

    @cached_property
    def entropy(self) -> float:
        """Entropy of the shares that the eigenvalues of the channels' covariance over all places have in their sum.

        NaN where the feature is the same everywhere.
        """
        rows = self.rows(self.value).double()
        rows = rows - rows.mean(dim=0)
        found = torch.linalg.eigvalsh(rows.T @ rows / len(rows)).clamp(min=0.0)
        shares = found / found.sum()
        return float(-(shares * torch.log(shares + SMALL)).sum())


class Blocks:
    """Within the ``with`` block, keeps the features between the blocks that run.

    Args:
        model: whose blocks.
        channels: the channel dimension by a tensor's number of dimensions, as it is known when a block has run; that
            of the first block's input by then at the latest.

    Attributes:
        features: the input of the first block and the outputs of all, in the order of the runs; those with places.
    """

    def __init__(self, model: nn.Module, channels: Mapping[int, int]):
        self._blocks, self._channels = blocks(model), channels
        self._hooks: list[RemovableHandle] = []
        self._unknown = False
        self.features: list[Feature] = []

    def __enter__(self) -> Blocks:
        for block in self._blocks:
            self._hooks += [block.register_forward_pre_hook(self._begin), block.register_forward_hook(self._end)]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, _: nn.Module, inputs: Any) -> None:
        if not self.features:
            self._keep(inputs)

    def _end(self, _: nn.Module, __: Any, output: Any) -> None:
        if len(self.features) == 1 and self._unknown:  # tokens are embedded, and no layer had run
            (first,), self._unknown = self.features, False
            self.features = [replace(first, channels=self._channels.get(first.value.ndim, 1))]
        self._keep(output)

    def _keep(self, given: Any) -> None:
        found = next((leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)), None)
        if found is None or found.ndim < 3 or found.grad_fn is None:  # images have none
            return
        value = found.detach().clone()  # what follows may work in place
        if not self.features:
            self._unknown = found.ndim not in self._channels
        self.features.append(Feature(value, get_gradient_edge(found), self._channels.get(found.ndim, 1)))


def blocks(model: nn.Module) -> list[nn.Module]:
    """The modules at the top of a network that are made of others: its cells.

    Containers of such modules are opened; where there is only one, it is looked into.
    """
    found = list(_composite(model))
    while len(found) == 1 and (inner := list(_composite(found[0]))):
        found = inner
    return found


def _composite(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        inner = [bool(list(grandchild.children())) for grandchild in child.children()]
        if type(child) in _CONTAINERS and any(inner):
            yield from _composite(child)
        elif inner:
            yield child
