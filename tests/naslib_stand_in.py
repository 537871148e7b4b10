"""What the adapter uses of NASLib's search spaces: the same signatures, order of integers, and errors.

The tests of the adapter run on it, and on NASLib itself where that can be imported; one of them compares the two.
"""

from __future__ import annotations

import itertools
import re
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

MICRO_TASKS = {"jigsaw": 1000, "class_object": 100, "class_scene": 63, "room_layout": 9, "normal": 3}
"""Some of TransNAS-Bench-101's tasks, and their outputs."""


class Graph(nn.Module):
    """An empty graph: NASLib makes one for search spaces whose networks it cannot build."""

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module | None = None

    def parse(self) -> None:
        pass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.network is not None, "There are more than one input nodes but input indeces are not defined."
        output: torch.Tensor = self.network(x)
        return output


def network(spec: Any, outputs: int, channels: int = 3, tiles: int = 1) -> nn.Module:
    """Convolutions whose widths are the numbers in `spec`, so that networks of two architectures differ."""
    numbers = [int(n) for n in re.findall(r"\d+", re.sub(r"int\d+", "", repr(spec)))]
    widths = [channels, *(1 + n for n in numbers)]
    layers = [nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(widths)]
    pool: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if tiles == 1:
        return nn.Sequential(*layers, *pool, nn.Linear(widths[-1], outputs))
    return _Tiles(nn.Sequential(*layers, *pool), nn.Linear(widths[-1] * tiles, outputs))


class _Tiles(nn.Module):
    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 4:
            assert x.shape == (1, 3, 720, 1080)
        logits: torch.Tensor = self.decoder(torch.cat([self.encoder(x[:, i]) for i in range(x.shape[1])], dim=1))
        return logits


def _once(graph: Any, what: Any) -> None:
    assert what is None, (
        f"An architecture has already been assigned to this instance of {type(graph).__name__}. Instantiate a new "
        "instance to be able to sample a new model or set a new architecture."
    )


class NasBench101SearchSpace(Graph):
    """Takes a dictionary, a tuple, or a text with the tables; has ten classes, whatever it is told."""

    OPS = ("input", "output", "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu")

    def __init__(self, n_classes: int = 10):
        super().__init__()
        self.num_classes, self.spec = n_classes, None

    def convert_to_cell(self, matrix: Any, ops: Any) -> dict[str, Any]:
        n = len(matrix)
        kept = [*range(n - 1), 6]
        whole = np.zeros((7, 7), dtype="int8")
        whole[np.ix_(kept, kept)] = matrix
        return {"matrix": whole, "ops": [*ops[:-1], *["conv3x3-bn-relu"] * (7 - n), "output"]}

    def set_spec(self, spec: Any, dataset_api: Any = None) -> None:
        assert isinstance(spec, (str, tuple, dict)), "The spec has to be a string, a dict, or a tuple"
        if isinstance(spec, str):
            assert dataset_api is not None, "To set the hash string as the spec, the NAS-Bench-101 API must be passed"
        if isinstance(spec, tuple):
            spec = {"matrix": np.array(spec[:49]).reshape(7, 7), "ops": [self.OPS[t] for t in spec[49:]]}
        _once(self, self.spec)
        self.network = network((spec["matrix"].tolist(), [self.OPS.index(o) for o in spec["ops"]]), 10)
        self.spec = spec

    def get_hash(self) -> Any:
        return (*self.spec["matrix"].flatten(), *map(self.OPS.index, self.spec["ops"]))  # type: ignore[index]


class NasBench201SearchSpace(Graph):
    """Six integers: skip, zero, 3x3, 1x1, pooling on the edges 1-2, 1-3, 1-4, 2-3, 2-4, 3-4."""

    def __init__(self, n_classes: int = 10, in_channels: int = 3):
        super().__init__()
        self.num_classes, self.in_channels, self.op_indices = n_classes, in_channels, None

    def set_spec(self, op_indices: Any, dataset_api: Any = None) -> None:
        _once(self, self.op_indices)
        self.network = network([range(5)[i] for i in op_indices], self.num_classes, self.in_channels)
        self.op_indices = op_indices

    def get_hash(self) -> Any:
        return tuple(self.op_indices)  # type: ignore[arg-type]


class NasBench301SearchSpace(Graph):
    """Two cells of eight pairs (input, operation)."""

    def __init__(self, n_classes: int = 10, in_channels: int = 3, auxiliary: bool = True):
        super().__init__()
        self.num_classes, self.in_channels, self.auxiliary_output = n_classes, in_channels, auxiliary
        self.compact: Any = None

    def set_spec(self, compact: Any, dataset_api: Any = None) -> None:
        _once(self, self.compact)
        self.compact = tuple(tuple(map(tuple, cell)) for cell in compact)
        assert [len(cell) for cell in self.compact] == [8, 8]
        made = network(self.compact, self.num_classes, self.in_channels)
        self.network = nn.ModuleDict({"with": made})["with"] if self.auxiliary_output else nn.Sequential(made)

    def get_hash(self) -> Any:
        return self.compact


class TransBench101SearchSpaceMicro(Graph):
    """Six integers: the benchmark's digits, or with create_graph the codes and edges of NAS-Bench-201 here.

    Of its options only the data set counts unless create_graph is set; with it the number of classes is the caller's
    for other data sets only.
    """

    def __init__(
        self,
        dataset: str = "jigsaw",
        use_small_model: bool = True,
        create_graph: bool = False,
        n_classes: int = 10,
        in_channels: int = 3,
    ):
        super().__init__()
        known = {"jigsaw": 1000, "class_object": 100, "class_scene": 63}
        self.num_classes = known.get(dataset, n_classes)
        self.dataset, self.small, self.create_graph, self.op_indices = dataset, use_small_model, create_graph, None
        self.in_channels = 3 if dataset in MICRO_TASKS else in_channels

    def set_spec(self, op_indices: Any, dataset_api: Any = None) -> None:
        self.op_indices = op_indices
        if not self.create_graph:
            self.network = _of_task(op_indices, self.dataset)
            return
        codes = [range(4)[i] for i in op_indices] + ([] if self.small else [1, 1])
        self.network = network(codes, self.num_classes, self.in_channels, 9 if self.dataset == "jigsaw" else 1)

    def get_hash(self) -> Any:
        return tuple(self.op_indices)  # type: ignore[arg-type]


class TransBench101SearchSpaceMacro(Graph):
    """Six integers, zeros at the end; takes any option and ignores it."""

    def __init__(self, dataset: str = "jigsaw", *arg: Any, **kwargs: Any):
        super().__init__()
        self.dataset, self.op_indices = dataset, None

    def set_spec(self, op_indices: Any, dataset_api: Any = None) -> None:
        self.op_indices = op_indices
        self.network = _of_task([e for e in op_indices if e != 0], self.dataset)

    def get_hash(self) -> Any:
        return tuple(self.op_indices)  # type: ignore[arg-type]


def _of_task(op_indices: Any, task: str) -> nn.Module:
    if task not in MICRO_TASKS:
        raise NotImplementedError(f"Model not implemented for task {task}")
    if task == "normal":
        return nn.Sequential(network([*op_indices], 3), nn.Unflatten(1, (3, 1, 1)), nn.Upsample(size=(256, 256)))
    return network([*op_indices], MICRO_TASKS[task], tiles=9 if task == "jigsaw" else 1)


class NATSBenchSizeSearchSpace(Graph):
    """Takes an architecture, and makes no network of it."""

    def set_spec(self, channels: Any, dataset_api: Any = None) -> None:
        self.channels = channels

    def get_hash(self) -> Any:
        return tuple(self.channels)


class NasBenchNLPSearchSpace(Graph):
    """Takes an architecture, and makes no network of it."""

    def set_spec(self, compact: Any, dataset_api: Any = None) -> None:
        self.compact = tuple(compact)


class NasBenchASRSearchSpace(Graph):
    """Takes no architecture."""


class SimpleCellSearchSpace(Graph):
    """For one-shot optimizers: takes no architecture."""


class HierarchicalSearchSpace(Graph):
    """For one-shot optimizers: takes no architecture."""


def module() -> ModuleType:
    """As ``naslib.search_spaces``."""
    made = ModuleType("naslib.search_spaces")
    for kind in Graph.__subclasses__():
        setattr(made, kind.__name__, kind)
    made.Graph = Graph  # type: ignore[attr-defined]
    return made
