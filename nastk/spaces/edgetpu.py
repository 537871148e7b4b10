"""Edge-TPU: 10^38 mobile networks of depthwise, fused and group-convolution bottlenecks (Akin et al., 2204.14007)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces._chains import chain
from nastk.spaces._edgetpu_shapes import Bottleneck
from nastk.spaces._layered import Layered
from nastk.spaces._sides import checked_size, stage_sides
from nastk.spaces.base import Archs, Choice, Graphs

if TYPE_CHECKING:
    import networkx as nx
    import torch

STEMS = (32, 64)
"""Channels of the stem, a 5x5 convolution (MobileNetEdgeTPUv2 tiny and S; their published configurations, as are the
next two)."""
FILTERS = (
    (16, 24, 32), (32, 48, 64), (48, 64, 80), (80, 128, 160), (112, 160, 192), (160, 192, 240), (192, 256, 320),
)  # fmt: skip
"""Output channels of each stage: those of tiny, S and M."""
LAYERS = (2, 4, 4, 4, 4, 1)
"""Most bottlenecks of each stage after the first, which is one 1x1 convolution; the least is 1."""
STRIDES = (2, 2, 2, 1, 2, 1)
"""Stride of the first bottleneck of each of these stages; the stem has another 2."""
GROUP_SIZES = (32, 64, 128)
"""Channels inside a bottleneck for each group of a group convolution (published: 64, and 128 in L)."""
KINDS = ("dw", "fused", *(f"{family}{size}" for family in ("gc", "grouped") for size in GROUP_SIZES))
"""Bottlenecks: 1x1 expansion and depthwise convolution (dw); one convolution that expands (fused); the same in groups
(gc, the paper's GC-IBN); 1x1 expansion and group convolution (grouped). A 1x1 projection ends all of them."""
KERNELS = (3, 5)
"""Sides of the depthwise, full or group convolution."""
EXPANSIONS = (2, 4, 8)
"""Channels inside a bottleneck per input channel."""
HEAD = 1280
"""Channels of the last 1x1 convolution."""
DATASETS: dict[str, dict[str, Any]] = {"ImageNet": {"num_classes": 1000, "input_size": 224}}
"""Build options of data sets."""

STAGES = len(LAYERS)
_DEPTH = sum(LAYERS)
_STAGE = np.repeat(np.arange(STAGES), LAYERS)
"""Stage of each bottleneck that a network has at most."""
_PLACE = np.concatenate([np.arange(most) for most in LAYERS])
"""Its place within the stage."""
_FIRST_STRIDE = np.array(STRIDES)[_STAGE]

# Columns of a row.
_FILTERS = slice(1, 1 + len(FILTERS))
_LAYERS = slice(_FILTERS.stop, _FILTERS.stop + STAGES - 1)  # the last stage has one bottleneck
_KIND = slice(_LAYERS.stop, _LAYERS.stop + _DEPTH)
_KERNEL = slice(_KIND.stop, _KIND.stop + _DEPTH)
_EXPANSION = slice(_KERNEL.stop, _KERNEL.stop + _DEPTH)

_FUSED = KINDS.index("fused")
_IN_GROUPS = np.array([kind.startswith(("gc", "grouped")) for kind in KINDS])
_EXPANDS = np.array([kind.startswith(("dw", "grouped")) for kind in KINDS])
"""Kinds with a 1x1 expansion before the convolution."""
_SIZE = np.array([int("".join(filter(str.isdigit, kind)) or max(GROUP_SIZES)) for kind in KINDS])
"""Group size of each kind; of those without groups any."""
_WIDTH_LABELS = tuple(f"f{f}" for f in sorted({*STEMS, *(f for stage in FILTERS for f in stage)}))
_LAYER_LABELS = tuple(f"{kind}_k{k}_e{e}" for kind in KINDS for k in KERNELS for e in EXPANSIONS)
_LABELS = ("input", "output", "none", *_WIDTH_LABELS, *_LAYER_LABELS)
"""All labels of graphs."""
_STAGE_TEXT = re.compile(r"f(\d+)(?:n(\d+))?(?::([\w,]+))?")
"""A stage in a text form."""


class Settings(NamedTuple):
    """Decoded rows; those of bottlenecks that do not exist have no effect.

    Args:
        stem: channels, ``(n,)``.
        filters: output channels of the stages, ``(n, 7)``.
        kinds: indices into :data:`KINDS`, ``(n, 19)``, as are all that follow.
        kernels: sides of convolutions.
        c_in, c_inside, c_out: channels.
        groups: of the convolutions; 1 where they are full, the channels where they are depthwise.
        existing: which bottlenecks the network has.
    """

    stem: NDArray[np.int64]
    filters: NDArray[np.int64]
    kinds: NDArray[np.int64]
    kernels: NDArray[np.int64]
    c_in: NDArray[np.int64]
    c_inside: NDArray[np.int64]
    c_out: NDArray[np.int64]
    groups: NDArray[np.int64]
    existing: NDArray[np.bool_]


def _choices() -> tuple[Choice, ...]:
    layers = [(f"stage {s + 2} layer {i + 1}", f"stage {s + 2}") for s, most in enumerate(LAYERS) for i in range(most)]
    by_layer = (
        ("bottleneck", KINDS),
        ("kernel", tuple(f"k{k}" for k in KERNELS)),
        ("expansion", tuple(f"e{e}" for e in EXPANSIONS)),
    )
    return (
        Choice("stem", tuple(f"f{f}" for f in STEMS), "stem"),
        *(Choice(f"stage {s} filters", tuple(f"f{f}" for f in of), f"stage {s}") for s, of in enumerate(FILTERS, 1)),
        *(
            Choice(f"stage {s} layers", tuple(f"n{n}" for n in range(1, most + 1)), f"stage {s}")
            for s, most in enumerate(LAYERS[:-1], 2)
        ),
        *(Choice(f"{layer} {what}", options, stage) for what, options in by_layer for layer, stage in layers),
    )


class EdgeTPU(Layered):
    """A 5x5 stem, a 1x1 convolution, six stages of one to four bottlenecks, and a head; each chooses its channels.

    Each bottleneck chooses its kind (:data:`KINDS`), kernel and expansion. A group convolution has as many groups as
    divide its input channels and leave each at least the group size of the channels inside. Bottlenecks whose group
    sizes make the same groups are one network; with one group `gc` is `fused`. MobileNetEdgeTPUv2 S and tiny are
    members (no squeeze-and-excitation, ReLU).
    """

    name = "edgetpu"
    datasets = DATASETS
    choices = _choices()
    by_layer = (_KIND, _KERNEL, _EXPANSION)

    def settings(self, archs: Archs) -> Settings:
        """The options of rows as numbers."""
        archs = np.asarray(archs, dtype=np.int64).reshape(-1, self.d)
        filters = np.array(FILTERS)[np.arange(len(FILTERS)), archs[:, _FILTERS]]
        c_out = filters[:, 1:][:, _STAGE]
        c_in = np.where(_PLACE == 0, filters[:, :-1][:, _STAGE], c_out)
        inside = c_in * np.array(EXPANSIONS)[archs[:, _EXPANSION]]
        kinds = archs[:, _KIND]
        groups = np.where(_IN_GROUPS[kinds], _groups(c_in, inside, _SIZE[kinds]), 1)
        layers = np.pad(archs[:, _LAYERS], ((0, 0), (0, 1))) + 1
        return Settings(
            np.array(STEMS)[archs[:, 0]], filters, kinds, np.array(KERNELS)[archs[:, _KERNEL]], c_in, inside, c_out,
            np.where(kinds == 0, inside, groups), layers[:, _STAGE] > _PLACE,
        )  # fmt: skip

    # ---- members

    def _existing(self, archs: Archs) -> NDArray[np.bool_]:
        return self.settings(archs).existing

    def canonical(self, archs: Archs) -> Archs:
        """Bottlenecks that do not exist are of the first options; of group sizes that make the same groups the least
        is written, and `fused` for `gc` with one group."""
        archs = super().canonical(archs)
        s = self.settings(archs)
        kinds = s.kinds.copy()
        for family in ("gc", "grouped"):
            own = [i for i, kind in enumerate(KINDS) if kind.startswith(family)]
            for kind in reversed(own):
                same = np.isin(s.kinds, own) & (_groups(s.c_in, s.c_inside, _SIZE[kind]) == s.groups)
                kinds[same] = kind
        kinds[np.char.startswith(np.array(KINDS), "gc")[s.kinds] & (s.groups == 1)] = _FUSED
        archs[:, _KIND] = kinds
        return archs

    def neighbours(self, arch: Archs) -> Archs:
        """The other networks whose rows differ in exactly one choice, canonical, ``(m, d)``, each once."""
        around = super().neighbours(arch)
        return around[self.distinct(around)]

    # ---- text

    def format(self, arch: Archs) -> str:
        """Stem and stages joined by ``|``: ``f32|f16|f32:fused_k3_e8,gc64_k3_e4|...``.

        A row that has other options than the first for bottlenecks that do not exist names those too, and the number
        that exist: ``f32n1:fused_k3_e8,gc64_k3_e4``.
        """
        row = np.asarray(arch, dtype=np.int64).ravel()
        options = [choice.options[int(v)] for choice, v in zip(self.choices, row, strict=True)]
        existing, given = self._existing(row[None])[0], np.any([row[part] for part in self.by_layer], axis=0)
        parts = [options[0], options[_FILTERS.start]]
        for stage, most in enumerate(LAYERS):
            of = np.flatnonzero(stage == _STAGE)
            depth = int(existing[of].sum())
            whole = bool(given[of[depth:]].any())
            layers = [
                "_".join(options[part.start + i] for part in self.by_layer) for i in of[: most if whole else depth]
            ]
            parts.append(f"{options[_FILTERS.start + 1 + stage]}{f'n{depth}' * whole}:{','.join(layers)}")
        return "|".join(parts)

    def parse(self, text: str) -> Archs:
        """The row of a text as :meth:`format` writes it, or of 70 integers."""
        row = self._parse_integers(text)
        if row is None:
            stages = [_STAGE_TEXT.fullmatch(part) for part in text.strip().split("|")]
            if len(stages) != 2 + STAGES or not all(stages):
                raise self._wrong(text)
            row = np.zeros(self.d, dtype=np.int64)
            for i, match in enumerate(stages):
                assert match is not None
                filters, depth, layers = match.groups()
                row[i] = self._option(i, f"f{filters}")
                if (layers is None) != (i < 2) or (depth is not None and i < 2):
                    raise self._wrong(text)
                if layers is not None:
                    self._read_stage(row, i - 2, depth, layers.split(","), text)
        return self.as_archs(row)[0]

    def _read_stage(self, row: Archs, stage: int, depth: str | None, layers: list[str], text: str) -> None:
        """Write a stage's bottlenecks into a row."""
        most = LAYERS[stage]
        count = int(depth or len(layers))
        if not 1 <= count <= most or (depth is not None and len(layers) != most) or len(layers) > most:
            raise InvalidArchitecture(f"edgetpu: stage {stage + 2} has 1 to {most} bottlenecks; got {text[:200]!r}")
        if stage < STAGES - 1:
            row[_LAYERS.start + stage] = count - 1
        for i, layer in enumerate(layers, int(np.flatnonzero(stage == _STAGE)[0])):
            options = layer.split("_")
            if len(options) != len(self.by_layer):
                raise self._wrong(text)
            for part, option in zip(self.by_layer, options, strict=True):
                row[part.start + i] = self._option(part.start + i, option)

    def _wrong(self, text: str) -> InvalidArchitecture:
        return InvalidArchitecture(
            "edgetpu: expected the stem and seven stages, f32|f16|f32:fused_k3_e8,gc64_k3_e4|..., the last six with "
            f"their bottlenecks, or {self.d} integers; got {text[:200]!r}"
        )

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """A chain: input, the stem's channels ("f32"), each stage's channels and bottlenecks ("gc64_k3_e4"), output."""
        import networkx as nx

        (operations,) = self._operations(np.reshape(arch, (1, -1)))
        graph = nx.DiGraph()
        graph.add_nodes_from((i, {"op": _LABELS[op]}) for i, op in enumerate(operations) if _LABELS[op] != "none")
        nx.add_path(graph, list(graph))
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The chains, with 29 nodes: input, stem, stages with as many bottlenecks as they have at most, output."""
        operations = self._operations(archs)
        return Graphs(_LABELS, operations, chain(operations != _LABELS.index("none")))

    def _operations(self, archs: Archs) -> NDArray[np.int64]:
        """Labels of the nodes of the networks' graphs, ``(n, 29)``."""
        archs = self.canonical(np.reshape(archs, (-1, self.d)))
        s = self.settings(archs)
        widths = np.searchsorted([int(label[1:]) for label in _WIDTH_LABELS], np.column_stack([s.stem, s.filters]))
        widths += _LABELS.index(_WIDTH_LABELS[0])
        kind = (archs[:, _KIND] * len(KERNELS) + archs[:, _KERNEL]) * len(EXPANSIONS) + archs[:, _EXPANSION]
        layers = np.where(s.existing, kind + _LABELS.index(_LAYER_LABELS[0]), _LABELS.index("none"))
        parts = [np.zeros((len(archs), 1), dtype=np.int64), widths[:, :2]]
        for stage in range(STAGES):
            parts += [widths[:, [stage + 2]], layers[:, stage == _STAGE]]
        return np.concatenate([*parts, np.full((len(archs), 1), _LABELS.index("output"))], axis=1)

    # ---- counts

    def statics(
        self, archs: Archs, num_classes: int = 1000, input_size: int = 224, in_channels: int = 3
    ) -> dict[str, NDArray[np.float64]]:
        """Counts of the network for one image, each ``(n,)``.

        `params`; `flops`, the multiply-adds of convolutions and classifier with its biases; `depth`, the number of
        bottlenecks.
        """
        s = self.settings(archs)
        sides = np.array(stage_sides(checked_size("edgetpu", input_size), STRIDES), dtype=np.float64)
        after = sides[1:][_STAGE] ** 2
        before = np.where(_PLACE == 0, sides[:-1][_STAGE] ** 2, after)
        c_in, inside, c_out = (c.astype(np.float64) for c in (s.c_in, s.c_inside, s.c_out))
        expands = _EXPANDS[s.kinds]
        expansion = np.where(expands, c_in * inside, 0.0)
        convolution = s.kernels**2 * np.where(expands, inside, c_in) * inside / s.groups
        projection = inside * c_out
        normalisation = 2 * (np.where(expands, 2, 1) * inside + c_out)
        params = (expansion + convolution + projection + normalisation) * s.existing
        flops = (expansion * before + (convolution + projection) * after) * s.existing
        stem, first = 25.0 * in_channels * s.stem, s.stem * s.filters[:, 0].astype(np.float64)
        head, classifier = HEAD * s.filters[:, -1].astype(np.float64), (HEAD + 1) * num_classes
        ends = 2 * (s.stem + s.filters[:, 0] + HEAD) + stem + first + head + classifier
        return {
            "params": ends + params.sum(axis=1),
            "flops": (stem + first) * sides[0] ** 2 + head * sides[-1] ** 2 + classifier + flops.sum(axis=1),
            "depth": s.existing.sum(axis=1).astype(np.float64),
        }

    # ---- network

    def input_shape(self, input_size: int = 224, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        return (in_channels, checked_size("edgetpu", input_size), input_size)

    def build(
        self, arch: Archs, num_classes: int = 1000, input_size: int = 224, in_channels: int = 3
    ) -> torch.nn.Module:
        """The network: ``(batch, in_channels, input_size, input_size)`` to ``(batch, num_classes)``."""
        from nastk.spaces._edgetpu_network import Network

        checked_size("edgetpu", input_size)
        s = self.settings(self.as_archs(arch))
        stages: list[list[Bottleneck]] = [[] for _ in LAYERS]
        for i in np.flatnonzero(s.existing[0]).tolist():
            stage, stride = int(_STAGE[i]), int(_FIRST_STRIDE[i]) if _PLACE[i] == 0 else 1
            c_in, inside, c_out, kernel, groups = (
                int(of[0, i]) for of in (s.c_in, s.c_inside, s.c_out, s.kernels, s.groups)
            )
            kind = s.kinds[0, i]
            stages[stage].append(Bottleneck(bool(_EXPANDS[kind]), c_in, inside, c_out, kernel, groups, stride))
        return Network(in_channels, int(s.stem[0]), int(s.filters[0, 0]), stages, HEAD, num_classes)


def _groups(c_in: NDArray[np.int64], inside: NDArray[np.int64], size: Any) -> NDArray[np.int64]:
    """The most groups that divide the input channels (then also those inside) and have `size` channels inside each."""
    return _largest_divisors()[c_in, inside // size]


@lru_cache(maxsize=1)
def _largest_divisors() -> NDArray[np.int64]:
    """The largest divisor of a number of channels up to a limit, ``(channels, limit)``; 1 where the limit is 0."""
    channels = np.arange(max(f for stage in FILTERS for f in stage) + 1)
    limits = np.arange(len(channels) * max(EXPANSIONS) // min(GROUP_SIZES) + 1)
    divides = (channels[:, None] % np.maximum(limits, 1) == 0) * limits
    return np.maximum(np.maximum.accumulate(divides, axis=1), 1)
