"""A differentiable latency of pruned networks: a sum over layers, learned from measurements of whole networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nastk.errors import InvalidValue
from nastk.generators._pit_masks import LayerSize
from nastk.generators.pit import PIT

KINDS = ("convolution", "depthwise", "linear")
"""Layers whose multiply-adds have a time of their own."""


class LayerLatency:
    """Milliseconds as a sum of what layers do, for :class:`nastk.generators.PIT`'s `costs`.

    Multiply-adds of convolutions, of depthwise convolutions and of linear layers, elements that are written, and a
    constant, each with a time that is not negative (non-negative least squares on relative errors). What a removal
    changes is told by these alone: a processor whose time goes in steps of 8 channels is seen as smooth. ::

        latency = nastk.generators.LayerLatency.measured(net, example, milliseconds, networks=20)
        search = nastk.generators.PIT(net, example, limits={"latency": 1.5}, costs={"latency": latency}, steps=2000)

    Args:
        sizes: what is left of each layer, of two or more networks.
        ms: of each network, ``(n,)``.

    Attributes:
        rates: ms for each of :meth:`features`.

    Raises:
        InvalidValue: too few networks, or latencies that are not positive.
    """

    def __init__(self, sizes: Sequence[list[LayerSize]], ms: Sequence[float]):
        from scipy.optimize import nnls

        told = np.asarray(ms, dtype=np.float64)
        if len(told) < 2 or len(told) != len(sizes) or not (np.isfinite(told) & (told > 0)).all():
            raise InvalidValue(f"needs the positive latencies of two networks or more; got {told.tolist()[:5]}")
        seen = np.stack([self.features(each).detach().cpu().numpy().astype(np.float64) for each in sizes])
        self.rates = torch.tensor(nnls(seen / told[:, None], np.ones(len(told)))[0], dtype=torch.float32)

    @classmethod
    def measured(
        cls,
        network: nn.Module,
        example: Tensor,
        milliseconds: Callable[[nn.Module], float],
        networks: int = 20,
        seed: int = 0,
    ) -> LayerLatency:
        """Of a device, from measurements of networks that PIT may find.

        Args:
            network, example: as of :class:`nastk.generators.PIT`.
            milliseconds: measures a network on the device.
            networks: how many, drawn at random; the seed itself is one of them.
            seed: of the draw.

        Raises:
            InvalidValue: a latency that is not positive, or fewer than 2 networks.
        """
        search = PIT(network, example)
        sizes, ms = [], []
        for place in range(networks):
            if place:
                search.draw(seed * networks + place)
            with torch.no_grad():
                sizes.append(search.sizes())
            ms.append(float(milliseconds(search.export().eval())))
        return cls(sizes, ms)

    @staticmethod
    def features(sizes: Sequence[LayerSize]) -> Tensor:
        """What the times are of, ``(5,)``: see the class."""
        nothing = sizes[0].outputs * 0.0
        parts = [sum((size.flops for size in sizes if size.kind == kind), nothing) for kind in KINDS]
        written = sum((size.outputs * size.positions for size in sizes if size.kind != "normalisation"), nothing)
        return torch.stack([*parts, written, nothing + 1.0])

    def __call__(self, sizes: Sequence[LayerSize]) -> Tensor:
        """Milliseconds, differentiable in the masks."""
        features = self.features(sizes)
        return (features * self.rates.to(features.device)).sum()
