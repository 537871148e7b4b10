"""Counting: encoders and decoders of multi-scale cells that draw density maps, as NAS-Count's AMSNet (ECCV 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._sides import checked_size
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import networkx as nx

    from nastk.spaces._counting_network import Network

ENCODER = ("conv1", "conv3", "conv3_d2")
"""Operations of the encoder's cells: convolutions, the last with a dilation of 2, each with normalisation and ReLU."""
DECODER = ("conv1", "conv3", "conv5")
"""Operations of the decoder's cells."""
SKIPS = ("e1d1", "e2d2", "e2d1")
"""Paths from a level of the encoder to one of the decoder, beside the way down and up."""
WIDTHS = (8, 12, 16)
"""Channels of the levels, whose maps have a half, a quarter and an eighth of the image's side."""

_IN_ENCODER, _IN_DECODER = 4, 3
_LEVELS = 3


class Counting(SearchSpace):
    """The four operations of the encoder's cells, the three of the decoder's, and which of three skip paths there are.

    It follows what is known to us of AMSNet (Hu et al., NAS-Count, arXiv 2003.00217): dilated convolutions at several
    scales in the encoder, fewer and larger ones in the decoder, several paths between them, and a density map. How
    cells are wired, their options, and the sizes are this project's, for small images.

    Architectures are written as encoder, decoder and skip paths: ``conv3+conv1+conv3+conv3_d2|conv3+conv1+conv5|e1d1``,
    with ``none`` for no path.
    """

    name = "counting"
    choices = (
        *(Choice(f"encoder {i}", ENCODER, "encoder") for i in range(1, _IN_ENCODER + 1)),
        *(Choice(f"decoder {i}", DECODER, "decoder") for i in range(1, _IN_DECODER + 1)),
        *(Choice(name, ("off", "on"), "paths") for name in SKIPS),
    )

    @property
    def usual(self) -> Archs:
        """A network that nobody searched for, ``(d,)``: 3x3 convolutions and both paths between equal levels."""
        return np.array([1] * (_IN_ENCODER + _IN_DECODER) + [1, 1, 0], dtype=np.int64)

    # ---- text

    def _parts(self, arch: Archs) -> tuple[list[str], list[str], list[str]]:
        """Operations of the encoder and of the decoder, and paths."""
        row = np.asarray(arch).ravel().tolist()
        options = [choice.options[value] for choice, value in zip(self.choices, row, strict=True)]
        paths = [name for name, value in zip(SKIPS, row[_IN_ENCODER + _IN_DECODER :], strict=True) if value]
        return options[:_IN_ENCODER], options[_IN_ENCODER : _IN_ENCODER + _IN_DECODER], paths

    def format(self, arch: Archs) -> str:
        """Encoder, decoder and paths: ``conv3+conv1+conv3+conv3_d2|conv3+conv1+conv5|e1d1+e2d1``."""
        return "|".join("+".join(part) or "none" for part in self._parts(arch))

    def parse(self, text: str) -> Archs:
        """The row of a text as :meth:`format` writes it, or of as many integers as there are choices."""
        row = self._parse_integers(text)
        if row is None:
            parts = [part.split("+") for part in text.strip().split("|")]
            operations = [*parts[0], *(parts[1] if len(parts) > 1 else [])]
            if [len(part) for part in parts[:2]] != [_IN_ENCODER, _IN_DECODER] or len(parts) != 3:
                raise self._wrong_form(text)
            paths = [] if parts[2] == ["none"] else parts[2]
            if len(set(paths)) < len(paths) or set(paths) - set(SKIPS):
                raise self._wrong_form(text)
            row = np.array(
                [self._option(i, name) for i, name in enumerate(operations)] + [name in paths for name in SKIPS],
                dtype=np.int64,
            )
        return self.as_archs(row)[0]

    def _wrong_form(self, text: str) -> InvalidArchitecture:
        return InvalidArchitecture(
            f"{self.name}: expected {_IN_ENCODER} operations, {_IN_DECODER} operations and paths, as in "
            f"{self.format(self.usual)!r}, or {self.d} integers with commas; got {text[:80]!r}"
        )

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """Operations of the cells, each cell once, and the paths ("off", "on") from the encoder's to the decoder's."""
        import networkx as nx

        names = [choice.name for choice in self.choices]
        row = np.asarray(arch).ravel().tolist()
        labels = {name: c.options[value] for name, c, value in zip(names, self.choices, row, strict=True)}
        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        for cell, count in (("encoder", _IN_ENCODER), ("decoder", _IN_DECODER)):
            ends = f"end of {cell}"
            begins = "input" if cell == "encoder" else "end of encoder"
            graph.add_nodes_from((f"{cell} {i}", {"op": labels[f"{cell} {i}"]}) for i in range(1, count + 1))
            graph.add_node(ends, op="add")
            graph.add_edges_from((begins, f"{cell} {i}") for i in (1, 2))
            graph.add_edge(f"{cell} 1", f"{cell} 3")
            last = [f"{cell} 2", f"{cell} 3"]
            if count == _IN_ENCODER:
                graph.add_edges_from((each, f"{cell} 4") for each in last)
                last.append(f"{cell} 4")
            graph.add_edges_from((each, ends) for each in (begins, *last))
            if cell == "encoder":
                graph.add_nodes_from((name, {"op": labels[name]}) for name in SKIPS)
                graph.add_edges_from((ends, name) for name in SKIPS)
        graph.add_node("output", op="output")
        graph.add_edges_from((each, "output") for each in ("end of decoder", *SKIPS))
        return graph

    # ---- counts

    def statics(self, archs: Archs, input_size: int = 24, in_channels: int = 1) -> dict[str, NDArray[np.float64]]:
        """Parameters and multiply-adds of one image, ``(n,)`` each: `params`, `flops`."""
        archs = np.asarray(archs, dtype=np.int64).reshape(-1, self.d)
        self.input_shape(input_size)
        one, two, three = WIDTHS
        areas = [(input_size >> level) ** 2 for level in range(1, _LEVELS + 1)]
        taps = {"conv1": 1, "conv3": 9, "conv3_d2": 9, "conv5": 25}
        cells = [
            np.array([taps[name] for name in options])[archs[:, columns]].sum(axis=1)
            for options, columns in ((ENCODER, slice(0, _IN_ENCODER)), (DECODER, slice(_IN_ENCODER, -len(SKIPS))))
        ]
        normalised = _IN_ENCODER * sum(WIDTHS) + _IN_DECODER * (one + two) + 2 * one + (two + three) + (one + two)
        fixed = [9 * in_channels * one + 9 * one**2, one * two, two * three, three * two, two * one, one + 1]
        at = [areas[0], areas[1], areas[2], areas[2], areas[1], areas[0]]
        squares = [width**2 for width in WIDTHS]
        paths = np.array([one * one, two * two, two * one])
        path_norms, path_areas = np.array([2 * one, 2 * two, 2 * one]), np.array([areas[0], areas[1], areas[1]])
        opened = archs[:, -len(SKIPS) :]
        found = {
            "params": sum(fixed)
            + 2 * normalised
            + cells[0] * sum(squares)
            + cells[1] * (squares[0] + squares[1])
            + opened @ (paths + path_norms),
            "flops": sum(weights * area for weights, area in zip(fixed, at, strict=True))
            + cells[0] * sum(square * area for square, area in zip(squares, areas, strict=True))
            + cells[1] * (squares[0] * areas[0] + squares[1] * areas[1])
            + opened @ (paths * path_areas),
        }
        return {name: values.astype(np.float64) for name, values in found.items()}

    # ---- network

    def input_shape(self, input_size: int = 24, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        side = checked_size(self.name, input_size)
        if side % 2**_LEVELS:
            raise InvalidValue(f"{self.name}: input_size is a multiple of {2**_LEVELS}; got {side}")
        return (in_channels, side, side)

    def build(self, arch: Archs, input_size: int = 24, in_channels: int = 1) -> Network:
        """The network: ``(batch, in_channels, input_size, input_size)`` to density maps ``(batch, 1, input_size / 2,
        input_size / 2)``."""
        from nastk.spaces._counting_network import Network

        self.input_shape(input_size, in_channels)
        return Network(*self._parts(self.as_archs(arch)[0]), WIDTHS, in_channels)
