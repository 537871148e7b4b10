"""HAT: encoder-decoder transformers for translation, of Hardware-Aware Transformers (Wang et al., ACL 2020)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._layered import Layered
from nastk.spaces.base import Archs, Choice

if TYPE_CHECKING:
    import networkx as nx
    import torch

WIDTHS = (512, 640)
"""Widths of the embeddings (Section 3.1 of the paper; all options of its measurements, as are the next four)."""
FFN = (512, 1024, 2048, 3072)
"""Widths of the perceptrons."""
HEADS = (2, 4, 8)
"""Heads of each attention; their channels together are always :data:`INNER`."""
ENCODER = 6
"""Layers of the encoder."""
LAYERS = tuple(range(1, 7))
"""Numbers of decoder layers."""
REACH = (1, 2, 3)
"""How many of the last encoder layers a decoder layer attends to (arbitrary encoder-decoder attention)."""
INNER = 512
"""Channels of queries, keys and values, whatever the width."""
DEEPEST = max(LAYERS)
"""Decoder layers of a row, active or not."""
VARIANTS: dict[str, dict[str, tuple[int, ...]]] = {
    "all": {},
    "wmt": {"ffn": (1024, 2048, 3072), "heads": (4, 8)},
    "iwslt": {"ffn": (512, 1024, 2048), "heads": (2, 4)},
}
"""Options of the paper's two spaces (its Table 1); the measurements are of all options."""
FEATURES = (
    *("encoder_embed_dim", "encoder_layer_num", "encoder_ffn_embed_dim_avg", "encoder_self_attention_heads_avg"),
    *("decoder_embed_dim", "decoder_layer_num", "decoder_ffn_embed_dim_avg", "decoder_self_attention_heads_avg"),
    *("decoder_ende_attention_heads_avg", "decoder_arbitrary_ende_attn_avg"),
)
"""The ten numbers by which the paper predicts latency, with the names of its files."""
PARTS = ("whole", "encoder", "decoder")
"""What :meth:`HAT.build` can build."""

SHRINKS = (1, 2, 4, 8, 16, 32, 64)
"""By what widths may be divided: whatever the heads, each keeps a whole number of channels."""

# Columns of a row.
_ENCODER_FFN, _ENCODER_HEADS = slice(3, 9), slice(9, 15)
_FFN, _SELF, _CROSS, _REACH = slice(15, 21), slice(21, 27), slice(27, 33), slice(33, 39)
_OF_DECODER = (_FFN, _SELF, _CROSS, _REACH)
_TEXT = re.compile(r"e(\d+)-f([\d,]+)-h([\d,]+)\|e(\d+)-f([\d,]+)-s([\d,]+)-c([\d,]+)-a([\d,]+)")
"""Text form of an architecture: encoder, decoder."""


class Settings(NamedTuple):
    """Decoded rows: widths and decoder layers ``(n,)``, and by layer ``(n, 6)``; `active` decoder layers exist."""

    encoder_width: NDArray[np.int64]
    decoder_width: NDArray[np.int64]
    layers: NDArray[np.int64]
    encoder_ffn: NDArray[np.int64]
    encoder_heads: NDArray[np.int64]
    ffn: NDArray[np.int64]
    self_heads: NDArray[np.int64]
    cross_heads: NDArray[np.int64]
    reach: NDArray[np.int64]
    active: NDArray[np.bool_]


class HAT(Layered):
    """Widths, decoder layers, and by layer the perceptron and the heads, and in the decoder how far attention reaches.

    Decoder layers beyond their number do not exist: in canonical form they have the first options. Samples are uniform
    over rows, so that all numbers of layers are equally likely.

    Args:
        variant: "all" options that were measured, or those of the paper's space for "wmt" or "iwslt".

    Raises:
        InvalidValue: no such variant.
    """

    name = "hat"
    by_layer = _OF_DECODER

    def __init__(self, variant: str = "all"):
        if variant not in VARIANTS:
            raise InvalidValue(f"hat: variant is {variant!r}, must be one of {', '.join(VARIANTS)}")
        self.variant = variant
        self._ffn = VARIANTS[variant].get("ffn", FFN)
        self._heads = VARIANTS[variant].get("heads", HEADS)
        ffn, heads = tuple(f"f{v}" for v in self._ffn), tuple(f"h{v}" for v in self._heads)
        widths, reach = tuple(f"e{v}" for v in WIDTHS), tuple(f"a{v}" for v in REACH)
        self.choices = (
            Choice("encoder width", widths, "encoder"),
            Choice("decoder width", widths, "decoder"),
            Choice("decoder layers", tuple(f"l{v}" for v in LAYERS), "decoder"),
            *_by_layer("encoder ffn", ffn, "encoder"),
            *_by_layer("encoder heads", heads, "encoder"),
            *_by_layer("decoder ffn", ffn, "decoder"),
            *_by_layer("decoder heads", heads, "decoder"),
            *_by_layer("decoder cross heads", heads, "decoder"),
            *_by_layer("decoder reach", reach, "decoder"),
        )

    def settings(self, archs: Archs) -> Settings:
        """The options of rows as numbers."""
        archs = np.asarray(archs)
        widths, ffn, heads, reach = (np.array(v) for v in (WIDTHS, self._ffn, self._heads, REACH))
        layers = archs[:, 2] + 1
        return Settings(
            widths[archs[:, 0]], widths[archs[:, 1]], layers,
            ffn[archs[:, _ENCODER_FFN]], heads[archs[:, _ENCODER_HEADS]],
            ffn[archs[:, _FFN]], heads[archs[:, _SELF]], heads[archs[:, _CROSS]], reach[archs[:, _REACH]],
            np.arange(DEEPEST) < layers[:, None],
        )  # fmt: skip

    def features(self, archs: Archs) -> NDArray[np.float64]:
        """The ten numbers of :data:`FEATURES`, ``(n, 10)``: means over the layers that exist.

        Architectures with equal features are told apart by nothing that the paper's latencies are known by.
        """
        s = self.settings(np.atleast_2d(archs))

        def mean(values: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.asarray((values * s.active).sum(axis=1) / s.layers)

        return np.stack(
            [
                s.encoder_width, np.full(len(s.layers), ENCODER), s.encoder_ffn.mean(axis=1),
                s.encoder_heads.mean(axis=1), s.decoder_width, s.layers, mean(s.ffn), mean(s.self_heads),
                mean(s.cross_heads), mean(s.reach),
            ],
            axis=1,
        ).astype(np.float64)  # fmt: skip

    def with_features(self, features: NDArray[np.float64]) -> Archs:
        """An architecture with each row of ten features, ``(n, 39)``: of all that have them, one with even layers.

        Raises:
            InvalidArchitecture: none has them.
        """
        found = np.zeros((len(features), self.d), dtype=np.int64)
        for row, given in zip(found, np.asarray(features, dtype=np.float64), strict=True):
            width, encoder, ffn, heads, decoder_width, layers, *means = given
            if width not in WIDTHS or decoder_width not in WIDTHS or encoder != ENCODER or layers not in LAYERS:
                raise InvalidArchitecture(f"hat: no architecture has the features {given.tolist()}")
            n = int(layers)
            row[:3] = WIDTHS.index(int(width)), WIDTHS.index(int(decoder_width)), n - 1
            row[_ENCODER_FFN], row[_ENCODER_HEADS] = _even(ffn, ENCODER, self._ffn), _even(heads, ENCODER, self._heads)
            options = (self._ffn, self._heads, self._heads, REACH)
            for part, mean, of in zip(_OF_DECODER, means, options, strict=True):
                row[part.start : part.start + n] = _even(mean, n, of)
        return found

    # ---- members

    def _existing(self, archs: Archs) -> NDArray[np.bool_]:
        return self.settings(archs).active

    # ---- text and graph

    def format(self, arch: Archs) -> str:
        """``e640-f2048,...-h4,...|e512-f1024,...-s4,...-c8,...-a1,...``: encoder, then decoder with its layers.

        Lists of decoder layers end where those do not exist, unless the row has other options there than the first.
        """
        row = np.asarray(arch).reshape(1, -1)
        s = self.settings(row)
        n = int(s.layers[0])
        shown = n if np.array_equal(self.canonical(row), row) else DEEPEST
        encoder = [",".join(map(str, v[0].tolist())) for v in (s.encoder_ffn, s.encoder_heads)]
        lists = (s.ffn, s.self_heads, s.cross_heads, s.reach)
        decoder = [",".join(map(str, v[0, :shown].tolist())) for v in lists]
        depth = "" if shown == n else f"-l{n}"
        return (
            f"e{s.encoder_width[0]}-f{encoder[0]}-h{encoder[1]}|e{s.decoder_width[0]}-f{decoder[0]}-s{decoder[1]}"
            f"-c{decoder[2]}-a{decoder[3]}{depth}"
        )

    def parse(self, text: str) -> Archs:
        """The row of a text as :meth:`format` writes it, or of 39 integers."""
        row = self._parse_integers(text)
        if row is None:
            body, _, depth = text.strip().partition("-l")
            match = _TEXT.fullmatch(body)
            if not match or (depth and depth not in map(str, LAYERS)) or ("-l" in text and not depth):
                raise InvalidArchitecture(
                    f"hat: expected e<width>-f<6 widths>-h<6 heads>|e<width>-f..-s..-c..-a.. with a number for each "
                    f"decoder layer, or 39 integers; got {text!r}"
                )
            width, ffn, heads, decoder_width, *lists = match.groups()
            per_layer = [[int(v or -1) for v in values.split(",")] for values in lists]
            n = len(per_layer[0])
            if n not in LAYERS or any(len(values) != n for values in per_layer) or (depth and n != DEEPEST):
                raise InvalidArchitecture(f"hat: decoder layers are 1 to 6, each with f, s, c and a; got {text!r}")
            row = np.zeros(self.d, dtype=np.int64)
            row[0], row[1] = _place("width", int(width), WIDTHS), _place("width", int(decoder_width), WIDTHS)
            row[2] = int(depth or n) - 1
            options = (self._ffn, self._heads, self._ffn, self._heads, self._heads, REACH)
            parts = (_ENCODER_FFN, _ENCODER_HEADS, *_OF_DECODER)
            given = [[int(v or -1) for v in values.split(",")] for values in (ffn, heads)] + per_layer
            for part, values, of in zip(parts, given, options, strict=True):
                if part.start < _FFN.start and len(values) != ENCODER:
                    raise InvalidArchitecture(f"hat: an encoder has {ENCODER} layers; got {len(values)} in {text!r}")
                row[part.start : part.start + len(values)] = [_place("an option", v, of) for v in values]
        return self.as_archs(row)[0]

    def graph(self, arch: Archs) -> nx.DiGraph:
        """The encoder's chain and the decoder's, whose layers are also fed by the encoder layers they attend to."""
        import networkx as nx

        s = self.settings(np.asarray(arch).reshape(1, -1))
        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        graph.add_node("encoder", op=f"encoder_e{s.encoder_width[0]}")
        for i in range(ENCODER):
            graph.add_node(f"encoder {i + 1}", op=f"encoder_f{s.encoder_ffn[0, i]}_h{s.encoder_heads[0, i]}")
        nx.add_path(graph, list(graph))
        graph.add_node("decoder", op=f"decoder_e{s.decoder_width[0]}")
        graph.add_edge("input", "decoder")
        before = "decoder"
        for i in range(int(s.layers[0])):
            op = f"decoder_f{s.ffn[0, i]}_s{s.self_heads[0, i]}_c{s.cross_heads[0, i]}"
            graph.add_node(f"decoder {i + 1}", op=op)
            graph.add_edge(before, f"decoder {i + 1}")
            for j in range(int(s.reach[0, i])):
                graph.add_edge(f"encoder {ENCODER - j}", f"decoder {i + 1}")
            before = f"decoder {i + 1}"
        graph.add_node("output", op="output")
        graph.add_edge(before, "output")
        return graph

    # ---- counts

    def statics(
        self, archs: Archs, vocabulary: int = 10000, length: int = 30, part: str = "whole", shrink: int = 1
    ) -> dict[str, NDArray[np.float64]]:
        """Parameters, multiply-adds of translating one sentence of `length` tokens into as many, and decoder layers.

        The decoder runs token by token, and keeps keys and values; each token attends to those before it. The options
        are those of :meth:`build`.
        """
        s = self.settings(np.atleast_2d(archs))
        _check(part, shrink)
        inner = INNER // shrink
        width, decoder = (w.astype(np.float64) / shrink for w in (s.encoder_width, s.decoder_width))
        active = s.active.astype(np.float64)
        ffn, reach = (s.ffn * active).sum(axis=1) / shrink, (s.reach * active).sum(axis=1)
        layers, t = s.layers.astype(np.float64), float(length)

        encoder_ffn = s.encoder_ffn.sum(axis=1) / shrink
        of_encoder = ENCODER * _attention(width, inner) + 2 * width * encoder_ffn + encoder_ffn + ENCODER * width
        encoder_params = vocabulary * width + of_encoder + ENCODER * 4 * width
        encoder_flops = t * of_encoder + ENCODER * 2 * inner * t**2

        per_token = layers * _attention(decoder, inner) + 2 * decoder * ffn + ffn + layers * decoder
        per_token += layers * (decoder * inner + inner + inner * decoder + decoder)  # queries and output of the cross
        memory = 2 * (width * inner + inner)  # its keys and values, of each encoder layer that is attended to
        decoder_params = vocabulary * decoder + per_token + layers * (memory + 6 * decoder)
        attended = layers * 2 * inner * t * (t + 1) / 2 + 2 * inner * t * t * reach
        decoder_flops = t * (per_token + vocabulary * decoder) + memory * t * reach + attended
        params = {"encoder": encoder_params, "decoder": decoder_params, "whole": encoder_params + decoder_params}
        flops = {"encoder": encoder_flops, "decoder": decoder_flops, "whole": encoder_flops + decoder_flops}
        return {"params": params[part], "flops": flops[part], "depth": layers}

    # ---- network

    def input_shape(self, length: int = 30, part: str = "whole", shrink: int = 1, **options: Any) -> tuple[int, ...]:
        """A sentence of tokens; of the decoder alone, what the last three encoder layers made of it (at most 640
        channels, of which a narrower network takes the first)."""
        _check(part, shrink)
        return (len(REACH), length, max(WIDTHS) // shrink) if part == "decoder" else (length,)

    def vocabulary(self, vocabulary: int = 10000, part: str = "whole", **options: Any) -> int | None:
        return None if part == "decoder" else vocabulary

    def build(
        self, arch: Archs, vocabulary: int = 10000, length: int = 30, part: str = "whole", shrink: int = 1
    ) -> torch.nn.Module:
        """The network: tokens ``(batch, length)`` to logits ``(batch, length, vocabulary)`` of a greedy translation.

        Args:
            arch: one row.
            vocabulary: of both languages.
            length: tokens that are decoded.
            part: "encoder" and "decoder" are the two networks whose latencies add up to the "whole".
            shrink: by what all widths are divided, for networks that train on little: 1, 2, 4 ... 64.
        """
        from nastk.spaces._hat_network import Decoder, DecoderLayer, Encoder, EncoderLayer, Network

        _check(part, shrink)
        s, inner = self.settings(self.as_archs(arch)), INNER // shrink
        width, decoder_width = int(s.encoder_width[0]) // shrink, int(s.decoder_width[0]) // shrink
        chosen = zip(s.encoder_ffn[0].tolist(), s.encoder_heads[0].tolist(), strict=True)
        encoder = Encoder(
            [EncoderLayer(width, inner, ffn // shrink, heads) for ffn, heads in chosen], width, vocabulary, len(REACH)
        )
        lists = (v[0, : int(s.layers[0])].tolist() for v in (s.ffn, s.self_heads, s.cross_heads, s.reach))
        decoder = Decoder(
            [
                DecoderLayer(decoder_width, width, inner, ffn // shrink, heads, cross_heads, reach)
                for ffn, heads, cross_heads, reach in zip(*lists, strict=True)
            ],
            decoder_width,
            width,
            vocabulary,
            length,
        )
        return {"whole": Network(encoder, decoder), "encoder": encoder, "decoder": decoder}[part]


def _attention(width: NDArray[np.float64], inner: int) -> NDArray[np.float64]:
    """Weights and biases of queries, keys, values and output."""
    return 4 * inner * width + 3 * inner + width


def _by_layer(name: str, options: tuple[str, ...], group: str) -> tuple[Choice, ...]:
    return tuple(Choice(f"{name} {i}", options, group) for i in range(1, DEEPEST + 1))


def _check(part: str, shrink: int) -> None:
    if part not in PARTS:
        raise InvalidValue(f"hat: part is {part!r}, must be one of {', '.join(PARTS)}")
    if shrink not in SHRINKS:
        raise InvalidValue(f"hat: shrink is {shrink}, must be one of {', '.join(map(str, SHRINKS))}")


def _place(what: str, value: int, options: Sequence[int]) -> int:
    if value not in options:
        raise InvalidArchitecture(f"hat: {what} is {value}, must be one of {', '.join(map(str, options))}")
    return options.index(value)


def _even(mean: float, layers: int, options: tuple[int, ...]) -> tuple[int, ...]:
    """Options of so many layers whose mean is this, as indices, largest first; among several the most even.

    Raises:
        InvalidArchitecture: there are none.
    """
    total = round(float(mean) * layers)
    found = _with_total(total, layers, options) if abs(mean * layers - total) <= 1e-6 * max(1, total) else None
    if found is None:
        raise InvalidArchitecture(f"hat: no {layers} of {', '.join(map(str, options))} have the mean {mean:g}")
    return found


@lru_cache(maxsize=4096)
def _with_total(total: int, layers: int, options: tuple[int, ...]) -> tuple[int, ...] | None:
    """Options of so many layers that add up to a total, as indices, largest first; the most even, None without any."""
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for _ in range(layers):
        longer: dict[int, tuple[int, tuple[int, ...]]] = {}
        for reached, (squares, chosen) in best.items():
            for place, value in enumerate(options):
                made = squares + value**2, tuple(sorted((*chosen, place), reverse=True))
                if reached + value not in longer or made < longer[reached + value]:
                    longer[reached + value] = made
        best = longer
    return best[total][1] if total in best else None
