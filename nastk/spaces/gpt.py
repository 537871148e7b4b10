"""GPT: 10^12 decoder-only language models, the space s of HW-GPT-Bench (Sukthanker et al., NeurIPS 2024)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces._layered import Layered
from nastk.spaces.base import Archs, Choice, Graphs

if TYPE_CHECKING:
    import networkx as nx
    import torch

LAYERS = (10, 11, 12)
"""Numbers of layers."""
WIDTHS = (192, 384, 768)
"""Widths of the embedding."""
BIAS = ("False", "True")
"""Whether the linear layers of attention and of the perceptrons have biases."""
RATIOS = (2, 3, 4)
"""Width of a layer's perceptron, in widths of the embedding."""
HEADS = (4, 8, 12)
"""Attention heads of a layer."""
HEAD_SIZE = 64
"""Channels of a head, independent of the width of the embedding."""
DEEPEST = max(LAYERS)
"""Layers of a row, active or not."""
DATASETS = {"openwebtext": {"vocabulary": 50254, "block_size": 1024}}
"""Build options of the benchmark's data set."""

_RATIO = slice(3, 3 + DEEPEST)
"""Columns of the perceptron ratios."""
_HEAD = slice(3 + DEEPEST, 3 + 2 * DEEPEST)
"""Columns of the numbers of heads."""
_TEXT = re.compile(r"l(\d+)-e(\d+)-b(\w+)-m([\d,]+)-h([\d,]+)")
"""Text form of an architecture."""


class Settings(NamedTuple):
    """Decoded rows: layers, width, bias ``(n,)``; perceptron ratios, heads and active layers ``(n, 12)``."""

    layers: NDArray[np.int64]
    width: NDArray[np.int64]
    bias: NDArray[np.bool_]
    ratio: NDArray[np.int64]
    heads: NDArray[np.int64]
    active: NDArray[np.bool_]


class GPT(Layered):
    """Number of layers, width of the embedding, biases, and for each layer the perceptron's ratio and the heads.

    Layers beyond the number of layers are inactive: in canonical form they have the first options. There are
    3 * 3 * 2 * 9^12 rows and 3 * 2 * (9^10 + 9^11 + 9^12) different networks; samples are uniform over rows, so numbers
    of layers are equally likely.
    """

    name = "gpt"
    choices = (
        Choice("layers", tuple(map(str, LAYERS)), "network"),
        Choice("width", tuple(map(str, WIDTHS)), "network"),
        Choice("bias", BIAS, "network"),
        *(Choice(f"ratio {i}", tuple(f"m{r}" for r in RATIOS), "perceptrons") for i in range(1, DEEPEST + 1)),
        *(Choice(f"heads {i}", tuple(f"h{h}" for h in HEADS), "attention") for i in range(1, DEEPEST + 1)),
    )
    datasets = DATASETS
    by_layer = (_RATIO, _HEAD)

    def settings(self, archs: Archs) -> Settings:
        """The options of rows as numbers."""
        archs = np.asarray(archs)
        layers = np.array(LAYERS)[archs[:, 0]]
        active = np.arange(DEEPEST) < layers[:, None]
        ratio, heads = np.array(RATIOS)[archs[:, _RATIO]], np.array(HEADS)[archs[:, _HEAD]]
        return Settings(layers, np.array(WIDTHS)[archs[:, 1]], archs[:, 2] == 1, ratio, heads, active)

    # ---- members

    def _existing(self, archs: Archs) -> NDArray[np.bool_]:
        return self.settings(archs).active

    # ---- text and graph

    def format(self, arch: Archs) -> str:
        """Such as ``l10-e384-bTrue-m2,3,...-h12,4,...``, with all twelve layers, inactive ones included."""
        row = np.asarray(arch).reshape(1, -1)
        s = self.settings(row)
        ratios, heads = (",".join(map(str, values[0])) for values in (s.ratio, s.heads))
        return f"l{s.layers[0]}-e{s.width[0]}-b{s.bias[0]}-m{ratios}-h{heads}"

    def parse(self, text: str) -> Archs:
        """The row that a text names; ratios and heads of inactive layers may be left out."""
        row = self._parse_integers(text)
        if row is None:
            match = _TEXT.fullmatch(text.strip())
            if not match:
                raise InvalidArchitecture(
                    f"{text!r} is not a GPT of HW-GPT-Bench; write l10-e384-bTrue-m2,3,...-h12,4,... with a ratio and "
                    "a number of heads for each layer"
                )
            ratio, heads = ([int(v) for v in part.split(",") if v] for part in match.group(4, 5))
            row = self.from_settings(int(match[1]), int(match[2]), match[3], ratio, heads)
        return self.as_archs(row)[0]

    def from_settings(self, layers: int, width: int, bias: str | bool, ratio: list[int], heads: list[int]) -> Archs:
        """The row ``(27,)`` of a network with these settings.

        Raises:
            InvalidArchitecture: a value that is not an option, or too few ratios or heads.
        """
        row = [self._place("layers", layers, LAYERS), self._place("width", width, WIDTHS)]
        row.append(self._place("bias", str(bias), BIAS))
        for name, values, options in (("ratio", ratio, RATIOS), ("heads", heads, HEADS)):
            if len(values) not in (layers, DEEPEST):
                raise InvalidArchitecture(f"{self.name}: {len(values)} values of {name} for {layers} layers")
            places = [self._place(f"{name} {i}", value, options) for i, value in enumerate(values, 1)]
            row += places + [0] * (DEEPEST - len(places))
        return np.array(row, dtype=np.int64)

    def _place(self, name: str, value: Any, options: tuple[Any, ...]) -> int:
        if value not in options:
            raise InvalidArchitecture(f"{self.name}: {name} is {value}, must be one of {', '.join(map(str, options))}")
        return options.index(value)

    def graph(self, arch: Archs) -> nx.DiGraph:
        """A chain: input, embedding ("e384" or "e384_bias"), the active layers ("m3_h8"), output."""
        import networkx as nx

        s = self.settings(np.asarray(arch).reshape(1, -1))
        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        graph.add_node("embedding", op=f"e{s.width[0]}" + "_bias" * bool(s.bias[0]))
        for i in range(int(s.layers[0])):
            graph.add_node(f"layer {i + 1}", op=f"m{s.ratio[0, i]}_h{s.heads[0, i]}")
        graph.add_node("output", op="output")
        nx.add_path(graph, list(graph.nodes))
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The same chains; inactive layers are nodes without edges before the output."""
        archs = np.asarray(archs)
        s = self.settings(archs)
        embeddings = [f"e{w}{b}" for w in WIDTHS for b in ("", "_bias")]
        blocks = [f"m{r}_h{h}" for r in RATIOS for h in HEADS]
        labels = ("input", "output", "none", *embeddings, *blocks)
        operations = np.zeros((len(archs), DEEPEST + 3), dtype=np.int64)
        operations[:, 1] = 3 + 2 * archs[:, 1] + archs[:, 2]
        numbers = 3 + len(embeddings) + len(HEADS) * archs[:, _RATIO] + archs[:, _HEAD]
        operations[:, 2:-1] = np.where(s.active, numbers, 2)
        operations[:, -1] = 1
        adjacency = np.zeros((len(archs), DEEPEST + 3, DEEPEST + 3), dtype=bool)
        adjacency[:, 0, 1] = adjacency[:, 1, 2] = True
        rows = np.arange(len(archs))
        for i in range(1, DEEPEST):
            adjacency[:, 1 + i, 2 + i] = s.active[:, i]
        adjacency[rows, 1 + s.layers, -1] = True
        return Graphs(labels, operations, adjacency)

    # ---- counts

    def statics(
        self, archs: Archs, vocabulary: int = 50254, block_size: int = 1024, length: int = 64
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters (the benchmark's), multiply-adds of one sequence of `length` tokens, and layers, each ``(n,)``.

        Multiply-adds are those of linear layers, with their biases, and of attention over all pairs of tokens. The
        benchmark's `flops` are counted differently (see the notes of its column).
        """
        s = self.settings(archs)
        width, bias = s.width.astype(np.float64), s.bias.astype(np.float64)
        ratio, heads = (s.ratio * s.active).sum(axis=1), (s.heads * s.active).sum(axis=1)
        inner = heads * HEAD_SIZE
        weights = 4 * inner * width + 3 * ratio * width**2
        biases = bias * (3 * inner + s.layers * width + 2 * ratio * width + s.layers * width)
        attention = 2 * inner * length**2
        return {
            "params": 2 * vocabulary * width + (4 * s.layers + 2) * width + weights + biases,
            "flops": length * (vocabulary * width + weights + biases) + attention,
            "depth": s.layers.astype(np.float64),
        }

    # ---- network

    def input_shape(self, length: int = 64, **options: Any) -> tuple[int, ...]:
        """A sequence of tokens; inputs may be zeros of any numeric type."""
        return (length,)

    def vocabulary(self, vocabulary: int = 50254, **options: Any) -> int | None:
        return vocabulary

    def build(self, arch: Archs, vocabulary: int = 50254, block_size: int = 1024, length: int = 64) -> torch.nn.Module:
        """The network: tokens ``(batch, up to block_size)`` to logits ``(batch, tokens, vocabulary)``.

        `length` is only used by :meth:`statics` and :meth:`input_shape`.
        """
        from nastk.spaces._gpt_network import Network

        s = self.settings(self.as_archs(arch))
        n = int(s.layers[0])
        blocks = [(int(r), int(h)) for r, h in zip(s.ratio[0, :n], s.heads[0, :n], strict=True)]
        return Network(int(s.width[0]), blocks, bool(s.bias[0]), HEAD_SIZE, vocabulary, block_size)
