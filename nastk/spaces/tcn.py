"""TCN: temporal convolutional networks whose layers choose what PIT's masks choose (Risso et al., arXiv 2301.10281)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.spaces._blocks import Blocks
from nastk.spaces._chains import chain
from nastk.spaces.base import Archs, Choice, Graphs

if TYPE_CHECKING:
    import networkx as nx
    import torch

CHANNELS = (2, 4, 8, 16, 24, 32)
"""Output channels of a layer."""
FIELDS = (1, 3, 5, 9, 17)
"""Steps that a layer looks back on, its own included."""
DILATIONS = (1, 2, 4, 8, 16)
"""Steps between the taps of a layer. One of more than its field less 1 would leave a single tap, and counts as that."""
LAYERS = 4
POOLED = (1,)
"""Layers, from 0, after which the mean of every two steps is taken."""

_CHOICES = 3
"""Choices of a layer, in this order: channels, receptive field, dilation."""
_OPERATIONS = tuple(f"c{c}_f{f}_d{d}" for c in CHANNELS for f in FIELDS for d in DILATIONS)
_LABELS = ("input", "output", *_OPERATIONS)


class TCN(Blocks):
    """Four causal convolutions in time, each with batch normalisation and a ReLU, the mean over time, a classifier.

    A layer chooses its channels, its receptive field and its dilation, so that its number of taps is
    ``(field - 1) / dilation + 1``. The space is this project's own; its choices are PIT's, and its largest network,
    :attr:`seed`, is a seed for it.
    """

    name = "tcn"
    per_block = _CHOICES
    choices = tuple(
        Choice(f"layer {i} {what}", tuple(f"{what[0]}{v}" for v in options), f"layer {i}")
        for i in range(1, LAYERS + 1)
        for what, options in (("channels", CHANNELS), ("field", FIELDS), ("dilation", DILATIONS))
    )

    @property
    def seed(self) -> Archs:
        """The largest network, ``(d,)``: all channels, the longest fields, all of their taps."""
        return np.array([len(CHANNELS) - 1, len(FIELDS) - 1, 0] * LAYERS, dtype=np.int64)

    def canonical(self, archs: Archs) -> Archs:
        """A dilation is the greatest with two taps where it is greater, and 1 where there is one tap."""
        by_layer = np.array(archs, dtype=np.int64).reshape(-1, LAYERS, _CHOICES)
        by_layer[:, :, 2] = np.minimum(by_layer[:, :, 2], by_layer[:, :, 1])  # fields are 2^i + 1, but for the first
        return by_layer.reshape(-1, self.d)

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """A chain: input, the layers ("c8_f5_d2": channels, receptive field, dilation), output."""
        import networkx as nx

        graph = nx.DiGraph()
        labels = [_LABELS[i] for i in self.graphs(np.reshape(arch, (1, -1))).operations[0]]
        graph.add_nodes_from((i, {"op": label}) for i, label in enumerate(labels))
        nx.add_path(graph, list(graph))
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The chains, with 6 nodes."""
        channels, fields, dilations = np.moveaxis(self.canonical(archs).reshape(-1, LAYERS, _CHOICES), 2, 0)
        operations = np.zeros((len(channels), LAYERS + 2), dtype=np.int64)
        operations[:, -1] = 1
        operations[:, 1:-1] = 2 + (channels * len(FIELDS) + fields) * len(DILATIONS) + dilations
        return Graphs(_LABELS, operations, chain(np.ones(operations.shape, dtype=bool)))

    # ---- counts

    def statics(
        self, archs: Archs, num_classes: int = 10, input_size: int = 128, in_channels: int = 1
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters, multiply-adds for one series, and the steps that the last layer's output depends on, ``(n,)``
        each: `params`, `flops`, `field`."""
        channels, field, dilation = self._by_layer(archs)
        taps = (field - 1) // dilation + 1
        reads = np.concatenate([np.full((len(channels), 1), in_channels), channels[:, :-1]], axis=1)
        weights = channels * reads * taps
        steps = np.array(_steps(input_size))
        classifier = (channels[:, -1] + 1) * num_classes
        apart = 2 ** np.array([sum(after < i for after in POOLED) for i in range(LAYERS)])
        pooled = sum(2**i for i in range(len(POOLED)))
        found = {
            "params": (weights + 2 * channels).sum(axis=1) + classifier,
            "flops": (weights * steps).sum(axis=1) + classifier,
            "field": 1 + ((field - 1) * apart).sum(axis=1) + pooled,
        }
        return {name: values.astype(np.float64) for name, values in found.items()}

    # ---- network

    def input_shape(self, input_size: int = 128, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        _steps(input_size)
        return (in_channels, input_size)

    def build(self, arch: Archs, num_classes: int = 10, input_size: int = 128, in_channels: int = 1) -> torch.nn.Module:
        """The network: ``(batch, in_channels, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._tcn_network import Network

        _steps(input_size)
        layers = np.stack(self._by_layer(self.as_archs(arch)), axis=2)[0].tolist()
        return Network(layers, in_channels, num_classes, POOLED)

    def _by_layer(self, archs: Archs) -> tuple[NDArray[np.int64], ...]:
        """Channels, receptive field and dilation of each layer, ``(n, 4)`` each."""
        chosen = np.moveaxis(self.canonical(archs).reshape(-1, LAYERS, _CHOICES), 2, 0)
        return tuple(np.array(options)[i] for options, i in zip((CHANNELS, FIELDS, DILATIONS), chosen, strict=True))


def _steps(input_size: int) -> list[int]:
    """Steps of each layer's output."""
    least = 2 ** len(POOLED)
    if not isinstance(input_size, int) or input_size < least:
        raise InvalidValue(f"tcn: input_size is a number of steps, {least} or more; got {input_size}")
    found = []
    for i in range(LAYERS):
        found.append(input_size)
        input_size //= 2 if i in POOLED else 1
    return found
