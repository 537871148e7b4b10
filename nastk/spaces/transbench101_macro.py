"""TransNAS-Bench-101 macro: 3,256 networks of four to six residual modules, seven tasks (Duan et al., CVPR 2021)."""

from __future__ import annotations

import itertools
import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture
from nastk.spaces._transbench101_heads import (
    SEVEN,
    STEM,
    TILES,
    Task,
    head_counts,
    input_shape,
    stem_counts,
    stem_sides,
    task_of,
)  # fmt: skip
from nastk.spaces.base import Archs, Choice, SearchSpace, Seed

if TYPE_CHECKING:
    import networkx as nx
    import torch

MODULES = ("none", "normal", "double", "halve", "halve_double")
"""A module keeps the shape, doubles the channels, halves the resolution, or both; only at the end may there be none."""
LEAST = 4
"""Fewest modules (the paper, as the next three)."""
MOST = 6
"""Most modules."""
HALVINGS = (1, 4)
"""How often the resolution is halved, least and most."""
DOUBLINGS = (1, 3)
"""How often the channels are doubled, least and most."""
DEFAULT = "class_scene"
"""Task of :meth:`TransBench101Macro.build` and of counts unless another is given."""

_TEXT = re.compile(r"(?:64-)?([1-4]{4,6})(?:-basic)?")
"""The benchmark's text form of a network."""


@lru_cache(maxsize=1)
def members() -> Archs:
    """Every network once, ``(3256, 6)``: the shorter ones first, by their modules."""
    rows = []
    for length in range(LEAST, MOST + 1):
        for kinds in itertools.product(range(1, len(MODULES)), repeat=length):
            halvings, doublings = sum(k in (3, 4) for k in kinds), sum(k in (2, 4) for k in kinds)
            if HALVINGS[0] <= halvings <= HALVINGS[1] and DOUBLINGS[0] <= doublings <= DOUBLINGS[1]:
                rows.append([*kinds, *[0] * (MOST - length)])
    everything = np.array(rows, dtype=np.int64)
    everything.setflags(write=False)
    return everything


def _code(archs: Archs) -> NDArray[np.int64]:
    return np.asarray(archs) @ 5 ** np.arange(MOST)


class TransBench101Macro(SearchSpace):
    """Four to six modules of two residual blocks (ResNet's basic ones), the first of which changes the shape."""

    name = "transbench101-macro"
    choices = tuple(Choice(f"module {i}", MODULES) for i in range(1, MOST + 1))
    datasets = {name: {"task": name} for name in SEVEN}  # noqa: RUF012

    # ---- members

    @property
    def size(self) -> int:
        return len(members())

    def enumerate(self) -> Archs:
        return members()

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        places = np.full(5**MOST, -1)
        places[_code(members())] = np.arange(len(members()))
        return places

    def is_valid(self, archs: Archs) -> NDArray[np.bool_]:
        return np.asarray(self._place[_code(archs)] >= 0)

    def index(self, archs: Archs) -> NDArray[np.int64]:
        return self._place[_code(archs)]

    def _sample(self, n: int, rng: np.random.Generator) -> Archs:
        return members()[rng.integers(0, self.size, n)]

    def mutate(self, archs: Archs, seed: Seed = None, n_changes: int = 1) -> Archs:
        """Members that differ in exactly `n_changes` modules, where appending or dropping one at the end counts as
        one."""
        if n_changes != 1:
            return super().mutate(archs, seed, n_changes)
        rng = np.random.default_rng(seed)
        parents = np.asarray(archs)
        children, todo = parents.copy(), np.arange(len(parents))
        while len(todo):
            fresh = parents[todo].copy()
            length = (fresh > 0).sum(axis=1)
            place = np.minimum(rng.integers(0, length + 1), MOST - 1)  # one past the end appends
            drop = (place == length - 1) & (rng.random(len(fresh)) < 0.25)
            value = np.where(drop, 0, rng.integers(1, len(MODULES), len(fresh)))
            fresh[np.arange(len(fresh)), place] = value
            good = self.is_valid(fresh) & (fresh != parents[todo]).any(axis=1)
            children[todo[good]] = fresh[good]
            todo = todo[~good]
        return children

    # ---- text and graph

    def format(self, arch: Archs) -> str:
        """The official text, ``64-1234-basic``."""
        return "64-" + "".join(str(int(v)) for v in np.asarray(arch).ravel() if v) + "-basic"

    def parse(self, text: str) -> Archs:
        """The row that an official text, its digits, or six integers (0 for no module) name."""
        match = _TEXT.fullmatch(text.strip())
        row = self._parse_integers(text)
        if match:
            row = np.array([int(c) for c in match[1].ljust(MOST, "0")], dtype=np.int64)
        if row is None:
            raise InvalidArchitecture(
                f"{text!r} is not a TransNAS-Bench-101 macro network; write 64-1234-basic, {LEAST} to {MOST} modules"
            )
        return self.as_archs(row)[0]

    def graph(self, arch: Archs) -> nx.DiGraph:
        """The chain of the modules."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        for choice, value in zip(self.choices, np.asarray(arch).ravel(), strict=True):
            if value:
                graph.add_node(choice.name, op=MODULES[int(value)])
        graph.add_node("output", op="output")
        nx.add_path(graph, list(graph.nodes))
        return graph

    # ---- counts

    def statics(self, archs: Archs, task: str = DEFAULT) -> dict[str, NDArray[np.float64]]:
        """Parameters (the tables'), multiply-adds of one input with the task's head, and modules, each ``(n,)``."""
        archs = np.asarray(archs)
        wanted = task_of(task, SEVEN)
        tiles = TILES if wanted.head == "jigsaw" else 1
        stem = stem_counts(wanted)
        side = np.full(len(archs), stem_sides(wanted)[0])
        channels = np.full(len(archs), STEM)
        params, flops = np.full(len(archs), float(stem[0])), np.full(len(archs), float(stem[1]))
        for kinds in archs.T:
            there = kinds > 0
            c_out = np.where(np.isin(kinds, (2, 4)), 2 * channels, channels)
            after = np.where(np.isin(kinds, (3, 4)), -(-side // 2), side)
            shortcut = (c_out != channels) | (after != side)
            weights = 9.0 * channels * c_out + 27.0 * c_out**2 + shortcut * channels * c_out
            params += there * (weights + 2 * c_out * (4 + shortcut))
            flops += there * weights * after**2
            channels, side = c_out, after
        flops *= tiles
        for c, s in np.unique(np.stack([channels, side], axis=1), axis=0):
            rows = (channels == c) & (side == s)
            more = head_counts(wanted, int(c), (int(s), int(s)))
            params[rows] += more[0]
            flops[rows] += more[1]
        return {"params": params, "flops": flops, "depth": (archs > 0).sum(axis=1).astype(np.float64)}

    # ---- network

    def input_shape(self, task: str = DEFAULT, **options: Any) -> tuple[int, ...]:
        """Shape of an image; for the jigsaw of nine tiles."""
        return input_shape(task_of(task, SEVEN))

    def build(self, arch: Archs, task: str = DEFAULT) -> torch.nn.Module:
        """The network of a task: images to classes, numbers, or images of the same size."""
        from nastk.spaces._transbench101_network import Network, Residual

        wanted: Task = task_of(task, SEVEN)
        body, channels, reduced = [], STEM, 1
        for kind in self.as_archs(arch)[0]:
            if not kind:
                break
            c_out, stride = (2 * channels if kind in (2, 4) else channels), (2 if kind in (3, 4) else 1)
            body += [Residual(channels, c_out, stride), Residual(c_out, c_out, 1)]
            channels, reduced = c_out, reduced * stride
        return Network(wanted, body, channels, reduced)
