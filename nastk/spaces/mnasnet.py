"""MnasNet: 10^11 mobile networks (Tan et al., CVPR 2019), in the form of Accel-NASBench (Ahmad et al., DAC 2024)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.spaces._blocks import Blocks
from nastk.spaces._chains import chain
from nastk.spaces._mobilenetv3_shapes import Layer
from nastk.spaces._sides import checked_size, stage_sides
from nastk.spaces.base import Archs, Choice, Graphs

if TYPE_CHECKING:
    import networkx as nx
    import torch

EXPANSIONS = (1, 4, 6)
"""Channels inside a layer per input channel (Ahmad et al., arXiv 2404.08005, Appendix B, as are the next three)."""
KERNELS = (3, 5)
"""Sides of the depthwise convolutions."""
LAYERS = (3, 3, 3, 3, 3, 4, 3)
"""Most layers of each of the seven blocks; the least is 1."""
SQUEEZE = ("plain", "se")
"""Whether the layers of a block have squeeze-and-excitation."""
STEM = 32
"""Channels of the stem (EfficientNet-B0: Tan & Le, ICML 2019, Table 1, as are the next three)."""
WIDTHS = (16, 24, 40, 80, 112, 192, 320)
"""Output channels of each block."""
STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first layer of each block; the stem has another 2."""
HEAD = 1280
"""Channels of the last 1x1 convolution."""
REDUCTION = 4
"""Factor by which squeeze-and-excitation reduces the input channels of a layer."""
DATASETS: dict[str, dict[str, Any]] = {"ImageNet": {"num_classes": 1000, "input_size": 224}}
"""Build options of data sets."""

BLOCKS = len(WIDTHS)
_CHOICES = 4
"""Choices of a block, in this order: expansion, kernel, layers, squeeze-and-excitation."""
_LAYER_LABELS = tuple(
    f"b{b}_e{e}_k{k}_{s}" for b in range(BLOCKS) for e in EXPANSIONS for k in KERNELS for s in SQUEEZE
)
"""Graph labels of layers by block, expansion, kernel and squeeze-and-excitation."""
_LABELS = ("input", "output", "none", *_LAYER_LABELS)
"""All labels of graphs."""
_BLOCK_OF = np.repeat(np.arange(BLOCKS), LAYERS)
"""Block of each of the 22 layers that a network has at most."""
_PLACE_OF = np.concatenate([np.arange(most) for most in LAYERS])
"""Its place within the block."""


def layer(block: int, place: int, expansion: int, kernel: int, squeezed: bool) -> Layer:
    """A layer of a block, both counted from 0, with its block's choices."""
    before = STEM if block == 0 else WIDTHS[block - 1]
    c_in = before if place == 0 else WIDTHS[block]
    stride = STRIDES[block] if place == 0 else 1
    return Layer(c_in, c_in * expansion, c_in // REDUCTION if squeezed else 0, WIDTHS[block], kernel, stride)


def _choices() -> tuple[Choice, ...]:
    expansions, kernels = tuple(f"e{e}" for e in EXPANSIONS), tuple(f"k{k}" for k in KERNELS)
    return tuple(
        Choice(f"block {b} {what}", options, f"block {b}")
        for b, most in enumerate(LAYERS)
        for what, options in (
            ("expansion", expansions),
            ("kernel", kernels),
            ("layers", tuple(f"l{n}" for n in range(1, most + 1))),
            ("squeeze", SQUEEZE),
        )
    )


class MnasNet(Blocks):
    """Seven blocks of one to three (the sixth: four) equal inverted residuals between EfficientNet-B0's stem and head.

    Each block chooses the expansion, the kernel and the number of its layers, and whether they have
    squeeze-and-excitation; all rows are different networks, 36^6 * 48 of them. Layers with expansion 1 have no 1x1
    convolution before the depthwise one.

    Activations are EfficientNet's, SiLU and a sigmoid gate; the benchmark's files do not say which it had.
    """

    name = "mnasnet"
    per_block = _CHOICES
    datasets = DATASETS
    choices = _choices()

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """A chain: input, the layers ("b2_e6_k5_se": block, expansion, kernel, squeeze-and-excitation), output."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        for block, (expansion, kernel, layers, squeezed) in enumerate(_by_block(arch)[0].tolist()):
            label = f"b{block}_e{EXPANSIONS[expansion]}_k{KERNELS[kernel]}_{SQUEEZE[squeezed]}"
            graph.add_nodes_from((f"block {block} layer {i}", {"op": label}) for i in range(1, layers + 2))
        graph.add_node("output", op="output")
        nx.add_path(graph, list(graph))
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The chains, with 24 nodes: input, as many layers as each block has at most, output."""
        expansion, kernel, layers, squeezed = np.moveaxis(_by_block(archs)[:, _BLOCK_OF], 2, 0)
        kind = ((_BLOCK_OF * len(EXPANSIONS) + expansion) * len(KERNELS) + kernel) * len(SQUEEZE) + squeezed
        there = layers >= _PLACE_OF
        operations = np.zeros((len(there), len(_BLOCK_OF) + 2), dtype=np.int64)
        operations[:, -1] = _LABELS.index("output")
        operations[:, 1:-1] = np.where(there, _LABELS.index(_LAYER_LABELS[0]) + kind, _LABELS.index("none"))
        return Graphs(_LABELS, operations, chain(np.pad(there, ((0, 0), (1, 1)), constant_values=True)))

    # ---- counts

    def statics(
        self, archs: Archs, num_classes: int = 1000, input_size: int = 224, in_channels: int = 3
    ) -> dict[str, NDArray[np.float64]]:
        """Counts of the network for one image, each ``(n,)``.

        `params`, equal to the table's; `flops`, the multiply-adds of convolutions and classifier with their biases (the
        table's `macs` also count normalisation and pooling, and no biases); `depth`, the number of layers.
        """
        blocks = _by_block(archs)
        params, flops = _block_counts(input_size)
        chosen = (np.arange(BLOCKS), *np.moveaxis(blocks, 2, 0))
        first, *_, last = stage_sides(checked_size("mnasnet", input_size), STRIDES)
        stem, head, classifier = 9 * in_channels * STEM, WIDTHS[-1] * HEAD, (HEAD + 1) * num_classes
        return {
            "params": stem + 2 * STEM + head + 2 * HEAD + classifier + params[chosen].sum(axis=1),
            "flops": stem * first**2 + head * last**2 + classifier + flops[chosen].sum(axis=1),
            "depth": (blocks[:, :, 2] + 1).sum(axis=1).astype(np.float64),
        }

    # ---- network

    def input_shape(self, input_size: int = 224, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        return (in_channels, checked_size("mnasnet", input_size), input_size)

    def build(
        self, arch: Archs, num_classes: int = 1000, input_size: int = 224, in_channels: int = 3
    ) -> torch.nn.Module:
        """The network: ``(batch, in_channels, input_size, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._mnasnet_network import Network

        checked_size("mnasnet", input_size)
        blocks = [
            [layer(b, i, EXPANSIONS[e], KERNELS[k], bool(s)) for i in range(layers + 1)]
            for b, (e, k, layers, s) in enumerate(_by_block(self.as_archs(arch))[0].tolist())
        ]
        return Network(blocks, in_channels, STEM, HEAD, num_classes)


def _by_block(archs: Archs) -> NDArray[np.int64]:
    """The choices of each block, ``(n, 7, 4)``."""
    return np.asarray(archs, dtype=np.int64).reshape(-1, BLOCKS, _CHOICES)


@lru_cache(maxsize=8)
def _block_counts(input_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parameters and multiply-adds by block and its four choices, each ``(7, 3, 2, 4, 2)``."""
    sides = stage_sides(checked_size("mnasnet", input_size), STRIDES)
    params, flops = np.zeros((2, BLOCKS, len(EXPANSIONS), len(KERNELS), max(LAYERS), len(SQUEEZE)))
    for place in np.ndindex(params.shape):
        block, e, k, layers, squeezed = place
        for i in range(layers + 1):
            made = layer(block, i, EXPANSIONS[e], KERNELS[k], bool(squeezed))
            params[place] += made.params
            flops[place] += made.flops(sides[block] if i == 0 else sides[block + 1])
    return params, flops
