"""MTL-fusion: paths between the backbones of several tasks on the same image (Gao et al., MTL-NAS, CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidArchitecture, InvalidValue
from nastk.spaces._sides import checked_size
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import networkx as nx

    from nastk.spaces._mtl_fusion_network import Edge, Network, Supernet

OFF, ON = "off", "on"
"""Options of each choice."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Names of the backbones, in the order of the tasks."""
NO_PATHS = "none"
"""Text of the network whose backbones have nothing to do with each other."""


class MTLFusion(SearchSpace):
    """For each stage of each task's backbone, which stages of the other backbones it also reads.

    A choice is one directed path: ``a1b2`` leads from stage 1 of the first task's backbone to stage 2 of the second's,
    and is open or not. Paths end at the same stage as they begin or at a later one, so that the network has no cycles.
    Backbones are this project's own, small ones for small images: 3x3 convolutions, with stride 2 in every second
    stage. The paper's are VGG-16 or a ResNet, cut into as many as 16 stages.

    Architectures are written as their open paths, joined by ``+``: ``a1b2+b3a3``, or ``none``.

    Args:
        outputs: numbers that each task tells, such as its classes.
        widths: channels of the stages of each backbone.
        reach: by how many stages a path's end may be later than its beginning.

    Raises:
        InvalidValue: fewer than 2 tasks or more than 26, no stages or more than 9, or numbers that are not positive.
    """

    name = "mtl-fusion"

    def __init__(self, outputs: Sequence[int] = (10, 2), widths: Sequence[int] = (8, 8, 16, 16), reach: int = 1):
        self.outputs, self.widths, self.reach = tuple(outputs), tuple(widths), reach
        if not (2 <= len(self.outputs) <= len(LETTERS) and 1 <= len(self.widths) <= 9 and reach >= 0):
            raise InvalidValue(
                f"{self.name}: there are 2 to {len(LETTERS)} tasks, 1 to 9 stages and a reach of at least 0; got "
                f"{len(self.outputs)}, {len(self.widths)} and {reach}"
            )
        if min(*self.outputs, *self.widths) < 1:
            raise InvalidValue(f"{self.name}: outputs and widths are positive; got {self.outputs} and {self.widths}")
        self.choices = tuple(Choice(edge[0], (OFF, ON), f"to {LETTERS[edge[3]]}") for edge in self.edges)

    @property
    def edges(self) -> list[Edge]:
        """Every path: its name, the backbone and stage that it leaves, and those that it enters, from 0."""
        tasks, depth = range(len(self.outputs)), len(self.widths)
        return [
            (f"{LETTERS[source]}{begin + 1}{LETTERS[target]}{end + 1}", source, begin, target, end)
            for end in range(depth)
            for target in tasks
            for source in tasks
            if source != target
            for begin in range(max(end - self.reach, 0), end + 1)
        ]

    # ---- text

    def format(self, arch: Archs) -> str:
        """The open paths: ``a1b2+b3a3``."""
        opened = [c.name for c, value in zip(self.choices, np.asarray(arch).ravel(), strict=True) if value]
        return "+".join(opened) or NO_PATHS

    def parse(self, text: str) -> Archs:
        """The row of open paths as :meth:`format` writes them, or of as many integers as there are choices."""
        row = self._parse_integers(text)
        if row is None:
            named = [] if text.strip() == NO_PATHS else text.strip().split("+")
            known = [choice.name for choice in self.choices]
            strange = next((name for i, name in enumerate(named) if name not in known or name in named[:i]), None)
            if strange is not None:
                raise InvalidArchitecture(
                    f"{self.name}: {strange[:40]!r} is no path, or is named twice; an architecture is paths joined by "
                    f"'+', such as {'+'.join(known[:2])}, or {NO_PATHS!r}"
                )
            row = np.array([name in named for name in known], dtype=np.int64)
        return self.as_archs(row)[0]

    # ---- graph

    def graph(self, arch: Archs) -> nx.DiGraph:
        """Stages ("stage1"), mixtures of features ("fuse") and paths ("on", "off") between them."""
        import networkx as nx

        opened = dict(zip([c.name for c in self.choices], np.asarray(arch).ravel().tolist(), strict=True))
        graph = nx.DiGraph()
        graph.add_node("input", op="input")
        before = dict.fromkeys(range(len(self.outputs)), "input")
        for i in range(len(self.widths)):
            for task in before:
                graph.add_node(f"stage {LETTERS[task]}{i + 1}", op=f"stage{i + 1}")
                graph.add_edge(before[task], f"stage {LETTERS[task]}{i + 1}")
            for task in before:
                ends = f"fuse {LETTERS[task]}{i + 1}"
                entering = [edge for edge in self.edges if edge[3:] == (task, i)]
                graph.add_nodes_from((name, {"op": (OFF, ON)[opened[name]]}) for name, *_ in entering)
                graph.add_node(ends, op="fuse")
                graph.add_edge(f"stage {LETTERS[task]}{i + 1}", ends)
                for name, source, begin, *_ in entering:
                    graph.add_edge(f"stage {LETTERS[source]}{begin + 1}", name)
                    graph.add_edge(name, ends)
                before[task] = ends
        graph.add_node("output", op="output")
        graph.add_edges_from((last, "output") for last in before.values())
        return graph

    # ---- counts

    def statics(self, archs: Archs, input_size: int = 8, in_channels: int = 1) -> dict[str, NDArray[np.float64]]:
        """Parameters, multiply-adds of one image and open paths, ``(n,)`` each: `params`, `flops`, `paths`."""
        archs = np.asarray(archs, dtype=np.int64).reshape(-1, self.d)
        areas = np.array(self._sides(input_size)) ** 2
        widths, reads = np.array(self.widths), np.array([in_channels, *self.widths[:-1]])
        weights, heads = 9 * widths * reads + widths**2, (self.widths[-1] + 1) * sum(self.outputs)
        tasks = len(self.outputs)
        of_path = np.array([self.widths[begin] * self.widths[end] for _, _, begin, _, end in self.edges])
        ends = np.array([end for *_, end in self.edges])
        found = {
            "params": tasks * (weights + 4 * widths).sum() + heads + archs @ of_path,
            "flops": tasks * (weights * areas).sum() + heads + archs @ (of_path * areas[ends]),
            "paths": archs.sum(axis=1),
        }
        return {name: values.astype(np.float64) for name, values in found.items()}

    # ---- networks

    @property
    def _strides(self) -> list[int]:
        return [1 + i % 2 for i in range(len(self.widths))]

    def _sides(self, input_size: int) -> list[int]:
        """Side of the output of each stage."""
        side, found = checked_size(self.name, input_size), []
        for stride in self._strides:
            side = -(-side // stride)
            found.append(side)
        return found

    def input_shape(self, input_size: int = 8, in_channels: int = 1, **options: Any) -> tuple[int, ...]:
        size = checked_size(self.name, input_size)
        return (in_channels, size, size)

    def build(self, arch: Archs, input_size: int = 8, in_channels: int = 1) -> Network:
        """The network: ``(batch, in_channels, input_size, input_size)`` to a tuple of ``(batch, outputs)``, one a
        task."""
        from nastk.spaces._mtl_fusion_network import Network

        checked_size(self.name, input_size)
        opened = self.as_archs(arch)[0]
        edges = [edge for edge, value in zip(self.edges, opened, strict=True) if value]
        return Network(edges, self.outputs, self.widths, self._strides, in_channels)

    def supernet(self, input_size: int = 8, in_channels: int = 1) -> Supernet:
        """The network with all paths, each with a gate, called with inputs and an architecture.

        It normalises by batches while it is trained, whatever paths are open, and by running statistics in evaluation
        mode.
        """
        from nastk.spaces._mtl_fusion_network import Supernet

        checked_size(self.name, input_size)
        return Supernet(self.edges, self.outputs, self.widths, self._strides, in_channels)
