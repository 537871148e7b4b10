"""TransNAS-Bench-101 micro: 4,096 cells of four nodes and four operations, ten tasks (Duan et al., CVPR 2021)."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces._transbench101_heads import (
    STEM,
    TASKS,
    TILES,
    Task,
    head_counts,
    input_shape,
    stem_counts,
    stem_sides,
    task_of,
)  # fmt: skip
from nastk.spaces.base import Archs, Choice, SearchSpace
from nastk.spaces.nasbench201 import EDGES, expressions, live_edges, without_dead_edges

if TYPE_CHECKING:
    import networkx as nx
    import torch

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
"""In the order of the benchmark's digits."""
CELLS = 2
"""Cells of a module."""

_TEXT = re.compile(r"(?:64-41414-)?([0-3])_([0-3]{2})_([0-3]{3})")
"""The benchmark's text form of a cell."""


class _Shape(NamedTuple):
    """Input and output channels, stride, and input sides of one cell."""

    c_in: int
    c_out: int
    stride: int
    height: int
    width: int


def skeleton(task: Task) -> list[_Shape]:
    """The cells of a task's network: a module of type 4 halves the resolution and doubles the channels, 1 does not."""
    cells, channels = [], STEM
    height, width = stem_sides(task)
    for kind in task.modules:
        for place in range(CELLS):
            stride = 2 if kind == "4" and place == 0 else 1
            cells.append(_Shape(channels, channels * stride, stride, height, width))
            channels, height, width = channels * stride, -(-height // stride), -(-width // stride)
    return cells


class TransBench101Micro(SearchSpace):
    """A cell is a complete directed graph on four nodes; each of its six edges carries one of four operations.

    The skeleton of the seven tasks is the benchmark's 64-41414: five modules of two cells, of which the first, third
    and fifth halve the resolution. The three small-image tasks have that of NAS-Bench-Suite-Zero, 414 after a stem that
    keeps the resolution.
    """

    name = "transbench101-micro"
    choices = tuple(Choice(f"edge {a}-{b}", OPERATIONS) for a, b in EDGES)
    forms_differ = True
    datasets = {name: {"task": name} for name in TASKS}  # noqa: RUF012

    # ---- members

    @cached_property
    def _representative(self) -> NDArray[np.int64]:
        """For each index, that of the isomorphic cell with the most `none` edges."""
        everything = self.enumerate()
        shapes = expressions(everything, reducing=True)
        clean = (everything == 0).sum(axis=1)
        first: dict[str, int] = {}
        for i in np.lexsort((np.arange(len(everything)), -clean)):
            first.setdefault(shapes[i], int(i))
        return np.array([first[s] for s in shapes])

    def canonical(self, archs: Archs) -> Archs:
        """The cell with the most `none` edges among those whose output is the same expression of the input.

        A skip from the input counts as an operation, as it may have to halve the resolution.
        """
        return self.enumerate()[self._representative[self.index(archs)]]

    def compiled(self, archs: Archs) -> Archs:
        return without_dead_edges(archs)

    def connected(self, archs: Archs) -> NDArray[np.bool_]:
        return np.asarray(live_edges(archs).any(axis=1))

    # ---- text and graph

    def format(self, arch: Archs) -> str:
        """The official text, ``64-41414-1_02_333``: the operations into each node."""
        a, b, c, d, e, f = (int(v) for v in np.asarray(arch).ravel())
        return f"64-41414-{a}_{b}{c}_{d}{e}{f}"

    def parse(self, text: str) -> Archs:
        """The row that an official text, with or without the skeleton, or six integers name."""
        match = _TEXT.fullmatch(text.strip())
        row = np.array([int(c) for part in match.groups() for c in part]) if match else self._parse_integers(text)
        if row is None:
            raise InvalidArchitecture(
                f"{text!r} is not a TransNAS-Bench-101 micro network; write 64-41414-1_02_333 with operations 0 to 3"
            )
        return self.as_archs(row)[0]

    def graph(self, arch: Archs) -> nx.DiGraph:
        """Eight nodes: input, the six operations, output; an edge where one feeds the other."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        for (a, b), value in zip(EDGES, np.asarray(arch).ravel(), strict=True):
            graph.add_node(f"{a}-{b}", op=OPERATIONS[int(value)])
        graph.add_node("output", op="output")
        for a, b in EDGES:
            sources = [f"{p}-{q}" for p, q in EDGES if q == a] or ["input"]
            graph.add_edges_from((source, f"{a}-{b}") for source in sources)
            if b == 3:
                graph.add_edge(f"{a}-{b}", "output")
        return graph

    # ---- counts

    def statics(self, archs: Archs, task: str = "class_scene") -> dict[str, NDArray[np.float64]]:
        """Parameters (NAS-Bench-Suite-Zero's) and multiply-adds of one input with the task's head, each ``(n,)``."""
        archs = np.asarray(archs)
        wanted = task_of(task)
        params, flops, rest_params, rest_flops = _cell_counts(wanted)
        places = np.arange(self.d)
        tiles = TILES if wanted.head == "jigsaw" else 1
        return {
            "params": rest_params + params[places, archs].sum(axis=1),
            "flops": rest_flops + tiles * flops[places, archs].sum(axis=1),
        }

    # ---- network

    def input_shape(self, task: str = "class_scene", **options: Any) -> tuple[int, ...]:
        """Shape of an image; for the jigsaw of nine tiles."""
        return input_shape(task_of(task))

    def build(self, arch: Archs, task: str = "class_scene") -> torch.nn.Module:
        """The network of a task: images to classes, numbers, or images of the same size."""
        from nastk.spaces._transbench101_network import Cell, Network

        wanted = task_of(task)
        row = [int(v) for v in self.as_archs(arch)[0]]
        cells = skeleton(wanted)
        body = [Cell(row, c.c_in, c.c_out, c.stride, wanted.strided) for c in cells]
        stride = int(np.prod([c.stride for c in cells]))
        return Network(wanted, body, cells[-1].c_out, stride)


@lru_cache(maxsize=16)
def _cell_counts(task: Task) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Parameters and multiply-adds of each operation on each edge over all cells, ``(6, 4)`` each; those of stem and
    head."""
    params, flops = np.zeros((2, len(EDGES), len(OPERATIONS)))
    cells = skeleton(task)
    for cell in cells:
        area = -(-cell.height // cell.stride) * -(-cell.width // cell.stride)
        for j, (a, _) in enumerate(EDGES):
            c_in = cell.c_out if a else cell.c_in
            product = c_in * cell.c_out
            if not a and cell.stride == 2:
                params[j, 1] += product + 2 * cell.c_out * task.strided
                flops[j, 1] += product * area
            for option, weights in ((2, product), (3, 9 * product)):
                params[j, option] += weights + 2 * cell.c_out
                flops[j, option] += weights * area
    last = cells[-1]
    sides = (-(-last.height // last.stride), -(-last.width // last.stride))
    head, stem = head_counts(task, last.c_out, sides), stem_counts(task)
    tiles = TILES if task.head == "jigsaw" else 1
    return params, flops, float(head[0] + stem[0]), float(head[1] + tiles * stem[1])
