"""MobileNetV3: the once-for-all space of about 5 * 10^20 networks (Cai et al., Once-for-All, ICLR 2020)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._chains import chain
from nastk.spaces._mobilenetv3_shapes import Layer
from nastk.spaces._sides import checked_size, stage_sides
from nastk.spaces.base import Archs, Choice, Graphs, SearchSpace, Seed

if TYPE_CHECKING:
    import networkx as nx
    import torch

DEPTHS = (2, 3, 4)
"""Layers of a stage (Section 3.2 of the paper, as are the next three)."""
KERNELS = (3, 5, 7)
"""Sides of the depthwise convolutions."""
EXPANSIONS = (3, 4, 6)
"""Channels inside a layer per input channel."""
RESOLUTIONS = tuple(range(128, 225, 4))
"""Sides of the square input image, in pixels."""
STAGES = 5
"""Number of stages."""
LAYERS = max(DEPTHS)
"""Layers of a stage in a row, active or not."""
STEM = 16
"""Channels of the stem and of the fixed first block, before the width multiplier (this and the next three:
MobileNetV3-Large, Howard et al., ICCV 2019, Table 1)."""
WIDTHS = (24, 40, 80, 112, 160)
"""Output channels of each stage."""
EXPANDED = 960
"""Channels of the last 1x1 convolution with normalisation."""
FEATURES = 1280
"""Channels of the classifier's input."""
STRIDES = (2, 2, 2, 2, 1, 2)
"""Stride of the stem, and of the first layer of each stage."""
SQUEEZED = (False, True, False, True, True)
"""Stages whose layers have squeeze-and-excitation."""
HARD_SWISH = (False, False, True, True, True)
"""Stages whose layers have h-swish; the others have ReLU."""
REDUCTION = 4
"""Factor by which squeeze-and-excitation reduces the channels."""
DIVISOR = 8
"""Channels are multiples of it."""
WIDTH = 1.2
"""Width multiplier of the once-for-all network ``ofa_mbv3_d234_e346_k357_w1.2``, whose subnets HELP measured."""
DATASETS: dict[str, dict[str, Any]] = {"ImageNet": {"num_classes": 1000}}
"""Build options of data sets."""

# Columns of a row.
_DEPTH = slice(0, 5)
_KERNEL = slice(5, 25)
_EXPANSION = slice(25, 45)
_RESOLUTION = 45
_TEXT = re.compile(r"r(\d+)-d([\d,]+)-k([\d,]+)-e([\d,]+)")
"""Text form of an architecture."""
_LAYER_LABELS = tuple(f"s{s}_k{k}_e{e}" for s in range(1, STAGES + 1) for k in KERNELS for e in EXPANSIONS)
"""Graph labels of layers by stage, kernel and expansion."""
_LABELS = ("input", "output", "none", *(f"r{r}" for r in RESOLUTIONS), *_LAYER_LABELS)
"""All labels of graphs."""


class Settings(NamedTuple):
    """Decoded rows; kernels and expansions of layers beyond a stage's depth have no effect.

    Args:
        depths: layers of each stage, ``(n, 5)``.
        kernels: of the depthwise convolutions, ``(n, 20)``, four per stage.
        expansions: channels inside a layer per input channel, ``(n, 20)``.
        resolutions: sides of the image in pixels, ``(n,)``.
    """

    depths: NDArray[np.int64]
    kernels: NDArray[np.int64]
    expansions: NDArray[np.int64]
    resolutions: NDArray[np.int64]


def round_channels(channels: float, divisor: int = DIVISOR) -> int:
    """The nearest multiple of `divisor`, the next one if that is below 90 % of `channels`, at least `divisor`."""
    nearest = max(divisor, divisor * int(channels / divisor + 0.5))
    return nearest + divisor if nearest < 0.9 * channels else nearest


def widths(width: float = WIDTH, divisor: int = DIVISOR) -> tuple[int, tuple[int, ...], int, int]:
    """Channels of the stem, the stages, the last convolution and the classifier's input under a width multiplier.

    Raises:
        InvalidValue: the multiplier is not positive.
    """
    if not width > 0:
        raise InvalidValue(f"mobilenetv3: the width multiplier must be positive; got {width}")
    full = (STEM, *WIDTHS, EXPANDED, FEATURES)
    stem, *stages, expanded, features = (round_channels(c * width, divisor) for c in full)
    return stem, tuple(stages), expanded, features


def first_block(width: float = WIDTH, divisor: int = DIVISOR) -> Layer:
    """The fixed block after the stem."""
    stem, *_ = widths(width, divisor)
    return Layer(stem, stem, 0, stem, kernel=3, stride=1, hard_swish=False)


def layer(
    stage: int,
    place: int,
    kernel: int,
    expansion: int,
    width: float = WIDTH,
    divisor: int = DIVISOR,
    strides: tuple[int, ...] = STRIDES,
) -> Layer:
    """A layer of a stage, both counted from 0, with one of the choices of kernel and expansion."""
    stem, stages, *_ = widths(width, divisor)
    before = stem if stage == 0 else stages[stage - 1]
    c_in = before if place == 0 else stages[stage]
    inside = c_in * expansion
    squeezed = round_channels(inside // REDUCTION, divisor) if SQUEEZED[stage] else 0
    stride = strides[1 + stage] if place == 0 else 1
    return Layer(c_in, inside, squeezed, stages[stage], kernel, stride, HARD_SWISH[stage])


def active_layers(archs: Archs) -> NDArray[np.bool_]:
    """Mask of the 20 layers within the depth of their stage, ``(n, 20)``."""
    depths = np.asarray(DEPTHS)[np.asarray(archs)[:, _DEPTH]]
    return (np.arange(LAYERS) < depths[:, :, None]).reshape(-1, STAGES * LAYERS)


def _choices() -> tuple[Choice, ...]:
    layers = [(f"stage {s}", f"stage {s} layer {i}") for s in range(1, STAGES + 1) for i in range(1, LAYERS + 1)]
    return (
        *(Choice(f"stage {s} depth", tuple(f"d{d}" for d in DEPTHS), f"stage {s}") for s in range(1, STAGES + 1)),
        *(Choice(f"{name} kernel", tuple(f"k{k}" for k in KERNELS), stage) for stage, name in layers),
        *(Choice(f"{name} expansion", tuple(f"e{e}" for e in EXPANSIONS), stage) for stage, name in layers),
        Choice("resolution", tuple(f"r{r}" for r in RESOLUTIONS), "input"),
    )


class MobileNetV3(SearchSpace):
    """Subnets of a once-for-all network: five stages of two to four inverted residuals, and the image's resolution.

    A row has 46 integers: the depths of the stages (5), kernels (20) and expansions (20) of the layers, four per stage,
    and the resolution. Every row of the product is a member (`size` counts rows), but layers beyond a stage's depth do
    not exist, so that there are ((9^2 + 9^3 + 9^4)^5) * 25, about 5.4 * 10^20, different networks (2.2 * 10^19 without
    the resolution, Section 3.2 of the paper). In the canonical form such layers have the first kernel and expansion.

    Samples, children of :meth:`mutate` and :meth:`crossover`, and neighbours are canonical. Samples are uniform over
    rows, so that all depths are equally likely; uniform over networks, few would be shallow.

    The resolution is part of the architecture: the network of :meth:`build` first resizes its images, whatever
    their size, to its own resolution (bilinear), as evaluations of once-for-all networks do when they load the data.
    Its counts and a latency measured on it are therefore those of its resolution; the option `input_size` replaces the
    resolution of all architectures.
    """

    name = "mobilenetv3"
    datasets = DATASETS
    choices = _choices()
    width: ClassVar[float] = WIDTH
    """Width multiplier of the networks, unless an option says another."""
    divisor: ClassVar[int] = DIVISOR
    """Channels are multiples of it; a space of very narrow networks may have a smaller one."""
    strides: ClassVar[tuple[int, ...]] = STRIDES
    """Of the stem and of each stage; a space for small images may have more that are 1."""

    # ---- rows and settings

    def settings(self, archs: Archs) -> Settings:
        """Depths, kernels, expansions and resolutions of rows ``(n, 46)``."""
        archs = np.asarray(archs)
        return Settings(
            np.array(DEPTHS)[archs[:, _DEPTH]],
            np.array(KERNELS)[archs[:, _KERNEL]],
            np.array(EXPANSIONS)[archs[:, _EXPANSION]],
            np.array(RESOLUTIONS)[archs[:, _RESOLUTION]],
        )

    def from_settings(self, settings: Settings) -> Archs:
        """The rows ``(n, 46)`` of these settings, the inverse of :meth:`settings`.

        Raises:
            InvalidArchitecture: a wrong number of settings, or one that the space does not have.
        """
        depths, kernels, expansions, resolutions = settings
        columns = [
            _places("depth", depths, DEPTHS, STAGES),
            _places("kernel", kernels, KERNELS, STAGES * LAYERS),
            _places("expansion", expansions, EXPANSIONS, STAGES * LAYERS),
            _places("resolution", np.asarray(resolutions)[..., None], RESOLUTIONS, 1),
        ]
        return np.concatenate(columns, axis=1)

    def from_ofa(self, subnet: Mapping[str, Any]) -> Archs:
        """The canonical row ``(46,)`` of a subnet as the once-for-all library describes it.

        Args:
            subnet: ``{"ks": 20 kernels, "e": 20 expansions, "d": 5 depths, "r": resolution}``.

        Raises:
            InvalidArchitecture: not such a dictionary.
        """
        missing = [key for key in ("ks", "e", "d", "r") if key not in subnet]
        if missing:
            raise InvalidArchitecture(f"{self.name}: a subnet needs 'ks', 'e', 'd' and 'r'; {missing[0]!r} is missing")
        parts = [[subnet["d"]], [subnet["ks"]], [subnet["e"]], np.ravel(subnet["r"])]
        try:
            return self.canonical(self.from_settings(Settings(*(np.array(part) for part in parts))))[0]
        except (ValueError, IndexError) as error:
            raise InvalidArchitecture(f"{self.name}: 'ks', 'e' and 'd' must be plain lists of integers") from error

    def to_ofa(self, arch: Archs) -> dict[str, Any]:
        """The dictionary of one architecture that the once-for-all library takes, the inverse of :meth:`from_ofa`."""
        depths, kernels, expansions, resolutions = (part[0].tolist() for part in self.settings(self.as_archs(arch)))
        return {"ks": kernels, "e": expansions, "d": depths, "r": resolutions}

    def canonical(self, archs: Archs) -> Archs:
        canonical = np.array(archs)
        inactive = ~active_layers(canonical)
        canonical[:, _KERNEL][inactive] = 0
        canonical[:, _EXPANSION][inactive] = 0
        return canonical

    # ---- text

    def format(self, arch: Archs) -> str:
        """``r224-d2,3,...-k7,5,...-e6,4,...``: resolution, 5 depths, 20 kernels, 20 expansions."""
        depths, kernels, expansions, (resolution,) = self.settings(np.asarray(arch).reshape(1, -1))
        lists = (",".join(map(str, part[0].tolist())) for part in (depths, kernels, expansions))
        return f"r{resolution}-" + "-".join(f"{letter}{text}" for letter, text in zip("dke", lists, strict=True))

    def parse(self, text: str) -> Archs:
        """The row of a text as :meth:`format` writes it, or of 46 integers."""
        row = self._parse_integers(text)
        if row is None:
            match = _TEXT.fullmatch(text.strip())
            if not match:
                raise InvalidArchitecture(
                    f"{self.name}: expected r<resolution>-d<5 depths>-k<20 kernels>-e<20 expansions> with commas "
                    f"within, or 46 integers; got {text!r}"
                )
            resolution, *lists = ([int(v) if v else -1 for v in group.split(",")] for group in match.groups())
            depths, kernels, expansions = (np.array([values]) for values in lists)
            row = self.from_settings(Settings(depths, kernels, expansions, np.array(resolution)))[0]
        return self.as_archs(row)[0]

    # ---- moves

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        return self.canonical(super()._sample(n, rng))

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """Change `n_changes` random choices of each row so that the network changes; canonical, shape ``(n, 46)``.

        Layers added by a greater depth have a random kernel and expansion.
        """
        rng = np.random.default_rng(seed)
        parents = self.canonical(archs)
        children, todo = parents.copy(), np.arange(len(parents))
        while len(todo):
            inactive = np.flatnonzero(~active_layers(parents[todo]))
            written = parents[todo]
            for part, options in ((_KERNEL, KERNELS), (_EXPANSION, EXPANSIONS)):
                values = written[:, part].copy()
                values.flat[inactive] = rng.integers(0, len(options), len(inactive))
                written[:, part] = values
            fresh = self.canonical(super().mutate(written, rng, n_changes))
            changed = (fresh != parents[todo]).any(axis=1)
            children[todo[changed]] = fresh[changed]
            todo = todo[~changed]
        return children

    def crossover(self, a: Archs, b: Archs, seed: Seed = None) -> Archs:
        """Uniform crossover of paired rows, canonical; a layer active in one parent only comes from that parent."""
        a, b = np.array(a), np.array(b)
        only_a, only_b = (np.tile(active_layers(own) & ~active_layers(other), 2) for own, other in ((a, b), (b, a)))
        layers = slice(_KERNEL.start, _EXPANSION.stop)
        whole_a, whole_b = a.copy(), b.copy()
        whole_a[:, layers][only_b] = b[:, layers][only_b]
        whole_b[:, layers][only_a] = a[:, layers][only_a]
        return self.canonical(super().crossover(whole_a, whole_b, seed))

    def neighbours(self, arch: Archs) -> Archs:
        """The other networks whose rows differ in exactly one choice, canonical, shape ``(m, 46)``."""
        around = self.canonical(super().neighbours(arch))
        return around[(around != self.canonical(np.reshape(arch, (1, -1)))).any(axis=1)]

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """A chain: input, resolution ("r224"), the active layers ("s2_k5_e6": stage, kernel, expansion), output."""
        import networkx as nx

        row = np.asarray(arch).reshape(1, -1)
        _, kernels, expansions, (resolution,) = self.settings(row)
        names, operations = ["input", "resolution"], ["input", f"r{resolution}"]
        for place in np.flatnonzero(active_layers(row)[0]).tolist():
            stage, number = place // LAYERS + 1, place % LAYERS + 1
            names.append(f"stage {stage} layer {number}")
            operations.append(f"s{stage}_k{kernels[0, place]}_e{expansions[0, place]}")
        graph = nx.DiGraph()
        graph.add_nodes_from((n, {"op": op}) for n, op in zip([*names, "output"], [*operations, "output"], strict=True))
        nx.add_path(graph, [*names, "output"])
        return graph

    def graphs(self, archs: Archs) -> Graphs:
        """The chains, with 23 nodes: input, resolution, four layers per stage, output."""
        archs = np.atleast_2d(archs)
        active = active_layers(archs)
        operations = np.empty((len(archs), 3 + STAGES * LAYERS), dtype=np.int64)
        operations[:, 0], operations[:, -1] = _LABELS.index("input"), _LABELS.index("output")
        operations[:, 1] = _LABELS.index("r128") + archs[:, _RESOLUTION]
        stage = np.repeat(np.arange(STAGES), LAYERS)
        kind = (stage * len(KERNELS) + archs[:, _KERNEL]) * len(EXPANSIONS) + archs[:, _EXPANSION]
        operations[:, 2:-1] = np.where(active, _LABELS.index(_LAYER_LABELS[0]) + kind, _LABELS.index("none"))
        used = np.pad(active, ((0, 0), (2, 1)), constant_values=True)
        return Graphs(_LABELS, operations, chain(used))

    # ---- counts

    def statics(
        self,
        archs: Archs,
        num_classes: int = 1000,
        width: float | None = None,
        input_size: int | None = None,
        in_channels: int = 3,
    ) -> dict[str, NDArray[np.float64]]:
        """Counts of the network for one image, each ``(n,)``.

        `params`; `flops`, the multiply-adds of convolutions and classifier with their biases, at the architecture's
        resolution unless `input_size` is given; `depth`, the number of layers in the five stages, which
        determines most of the latency of a single image on a GPU.
        """
        archs, width = np.asarray(archs), self.width if width is None else width
        if input_size is None:
            sides, place = RESOLUTIONS, archs[:, _RESOLUTION]
        else:
            sides, place = (checked_size("mobilenetv3", input_size),), np.zeros(len(archs), dtype=np.int64)
        shape = width, self.divisor, self.strides
        params, flops = _layer_counts(sides, *shape)
        fixed_params, fixed_flops = _fixed_counts(sides, num_classes, in_channels, *shape)
        active, layers = active_layers(archs), np.arange(STAGES * LAYERS)
        kernels, expansions = archs[:, _KERNEL], archs[:, _EXPANSION]
        return {
            "params": fixed_params + (active * params[layers, kernels, expansions]).sum(axis=1),
            "flops": fixed_flops[place] + (active * flops[place[:, None], layers, kernels, expansions]).sum(axis=1),
            "depth": active.sum(axis=1).astype(np.float64),
        }

    # ---- network

    def input_shape(self, input_size: int | None = None, in_channels: int = 3, **options: Any) -> tuple[int, ...]:
        """``(in_channels, 224, 224)``, or of `input_size`; the network resizes it to the architecture's resolution."""
        side = RESOLUTIONS[-1] if input_size is None else checked_size("mobilenetv3", input_size)
        return (in_channels, side, side)

    def build(
        self,
        arch: Archs,
        num_classes: int = 1000,
        width: float | None = None,
        input_size: int | None = None,
        in_channels: int = 3,
    ) -> torch.nn.Module:
        """The network: ``(batch, in_channels, any height, any width)`` to ``(batch, num_classes)``."""
        from nastk.spaces._mobilenetv3_network import Network

        row, width = self.as_archs(arch), self.width if width is None else width
        _, kernels, expansions, (resolution,) = self.settings(row)
        layers, places = [first_block(width, self.divisor)], ["first block"]
        for place in np.flatnonzero(active_layers(row)[0]).tolist():
            kernel, expansion = int(kernels[0, place]), int(expansions[0, place])
            stage, number = divmod(place, LAYERS)
            layers.append(layer(stage, number, kernel, expansion, width, self.divisor, self.strides))
            places.append(f"stage {stage + 1} layer {number + 1}")
        side = int(resolution) if input_size is None else checked_size("mobilenetv3", input_size)
        _, _, expanded, features = widths(width, self.divisor)
        return Network(layers, places, side, in_channels, expanded, features, num_classes, self.strides[0])


def _places(what: str, values: NDArray[Any], options: tuple[int, ...], columns: int) -> Archs:
    """Indices of the values among the options, ``(n, columns)``."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != columns or values.dtype.kind not in "iu":
        raise InvalidArchitecture(f"mobilenetv3: expected {columns} integers of {what}; got shape {values.shape[1:]}")
    places = np.minimum(np.searchsorted(options, values), len(options) - 1)
    unknown = np.array(options)[places] != values
    if unknown.any():
        known = ", ".join(map(str, options)) if len(options) < 10 else f"{options[0]} to {options[-1]} in steps of 4"
        raise InvalidArchitecture(f"mobilenetv3: {what} is {values[unknown][0]}, must be one of {known}")
    return places.astype(np.int64)


@lru_cache(maxsize=8)
def _layer_counts(
    sides: tuple[int, ...], width: float, divisor: int, strides: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parameters ``(20, 3, 3)`` and multiply-adds ``(sides, 20, 3, 3)`` by layer, kernel and expansion."""
    params = np.empty((STAGES * LAYERS, len(KERNELS), len(EXPANSIONS)))
    flops = np.empty((len(sides), *params.shape))
    inputs = np.array([stage_sides(side, strides[1:], strides[0]) for side in sides])
    for place in range(STAGES * LAYERS):
        stage, number = divmod(place, LAYERS)
        for i, kernel in enumerate(KERNELS):
            for j, expansion in enumerate(EXPANSIONS):
                made = layer(stage, number, kernel, expansion, width, divisor, strides)
                params[place, i, j] = made.params
                before = inputs[:, stage] if number == 0 else inputs[:, stage + 1]
                flops[:, place, i, j] = [made.flops(int(side)) for side in before]
    return params, flops


def _fixed_counts(
    sides: tuple[int, ...],
    num_classes: int,
    in_channels: int,
    width: float,
    divisor: int,
    strides: tuple[int, ...],
) -> tuple[float, NDArray[np.float64]]:
    """Parameters, and multiply-adds by side, of the fixed parts."""
    stem, stages, expanded, features = widths(width, divisor)
    block = first_block(width, divisor)
    convolution, expand = 9 * in_channels * stem, stages[-1] * expanded
    mix, classifier = expanded * features, (features + 1) * num_classes
    params = convolution + 2 * stem + block.params + expand + 2 * expanded + mix + classifier
    flops = []
    for side in sides:
        before, *_, after = stage_sides(side, strides[1:], strides[0])
        flops.append(convolution * before**2 + block.flops(before) + expand * after**2 + mix + classifier)
    return float(params), np.array(flops, dtype=np.float64)
