"""The 28 tasks of NAS-Bench-Suite-Zero that Multi-Predict transfers between (Krishnakumar et al., NeurIPS 2022).

A task is one data set in one space: a few hundred architectures with zero-cost proxies and an accuracy (or another
score, higher is better). Architectures are read as tuples of integers, one choice per position, so that every space has
a ``vec`` encoding, whether or not its networks can be built here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.data.fetch import Store
from nastk.data.proxies import FAILED, PROXIES
from nastk.errors import DataError, UnknownName, Unsupported
from nastk.spaces._pool import Pool
from nastk.spaces.base import Archs, Choice, SearchSpace

if TYPE_CHECKING:
    import torch

COMMON = ("fisher", "flops", "grad_norm", "grasp", "jacov", "l2_norm", "params", "plain", "snip")
"""Proxies that every task has."""
SEVEN = ("autoencoder", "class_object", "class_scene", "jigsaw", "normal", "room_layout", "segmentsemantic")
"""Tasks of TransNAS-Bench-101."""
THREE = ("ninapro", "scifar100", "svhn")
"""Tasks of NAS-Bench-360."""
DATASETS = {
    "nasbench101": ("cifar10",),
    "nasbench201": ("cifar10", "cifar100", "ImageNet16-120", *THREE),
    "nasbench301": ("cifar10", *THREE),
    "transbench101-micro": (*SEVEN, *THREE),
    "transbench101-macro": SEVEN,
}
"""Data sets of each space."""
NAMES = tuple(f"{space}/{dataset}" for space, datasets in DATASETS.items() for dataset in datasets)
"""All tasks as ``space/dataset``."""

_FILES = {space: f"naslib/zc_{space.replace('-', '_')}.json" for space in DATASETS} | {
    "transbench101-micro": "naslib/zc_transbench101_micro.json",
    "transbench101-macro": "naslib/zc_transbench101_macro.json",
}
"""Proxies and accuracies of each space."""
_ACCURACIES = {
    "transbench101-micro": "naslib/all_benchmarks_zen.zip",
    "transbench101-macro": "naslib/tnb101_macro_zen.zip",
}
"""Complete accuracies, where the small files have wrong ones."""
_FILE_360 = "naslib/9x_all.zip"
"""Proxies and accuracies on the tasks of NAS-Bench-360."""


class RecordedSpace(SearchSpace):
    """The architectures of a file as rows of choices, one per position of their tuples; it has no networks.

    Args:
        name: of the space.
        codes: ``(n, d)`` integers; positions missing in a shorter architecture are -1.
    """

    def __init__(self, name: str, codes: NDArray[np.int64]):
        self.name = name
        self.choices = tuple(
            Choice(f"position {i}", tuple("-" if v < 0 else str(v) for v in np.unique(column)))
            for i, column in enumerate(codes.T)
        )

    def build(self, arch: Archs, **options: Any) -> torch.nn.Module:
        """Not supported: recorded architectures have no networks."""
        raise Unsupported(f"{self.name} is read as recorded architectures, which have no networks")


class RecordedProxies:
    """Zero-cost proxies of the members of a pool, ``(n, k)``."""

    def __init__(self, pool: Pool, names: Sequence[str], values: NDArray[np.float64]):
        self.pool, self.names, self._values = pool, tuple(names), values

    def __call__(self, archs: Archs) -> NDArray[np.float64]:
        return self._values[self.pool.index(archs)]


@dataclass(frozen=True)
class Recorded:
    """The records of one task: all recorded architectures with an accuracy.

    Args:
        space: the architectures, a pool of a space whose choices all its tasks share.
        archs: the architectures in the order of the file, ``(n, d)``.
        accuracies: or another score of the task, higher is better, ``(n,)``.
        proxies: those of :data:`PROXIES` that the files have for the space, NaN where they failed.
        dataset: of the accuracies.
    """

    space: Pool
    archs: Archs
    accuracies: NDArray[np.float64]
    proxies: RecordedProxies
    dataset: str


def names_of(names: Sequence[str] | None) -> list[str]:
    """Tasks by their names, or by those of their spaces for all tasks of each; all 28 for None.

    Raises:
        UnknownName: no such task or space.
    """
    if names is None:
        return list(NAMES)
    found = []
    for name in names:
        mine = [task for task in NAMES if name in (task, task.partition("/")[0])]
        if not mine:
            raise UnknownName("task or space", name, [*DATASETS, *NAMES])
        found += mine
    return list(dict.fromkeys(found))


def read(names: Iterable[str] | None = None, store: Store | None = None) -> dict[str, Recorded]:
    """Tasks by their names; all 28 by default.

    Raises:
        UnknownName: no such task.
        DataError: a file was not fetched (the message has the command), or has another layout.
    """
    wanted = list(NAMES if names is None else names)
    for name in wanted:
        if name not in NAMES:
            raise UnknownName("task", name, NAMES)
    spaces = list(dict.fromkeys(name.partition("/")[0] for name in wanted))
    read = {space: _read_space(space, store or Store()) for space in spaces}
    return {name: read[name.partition("/")[0]][name.partition("/")[2]] for name in wanted}


def _read_space(name: str, store: Store) -> dict[str, Recorded]:
    """All tasks of a space, with the choices that they share and the architectures of each."""
    try:
        raw = {dataset: _records(name, dataset, store) for dataset in DATASETS[name]}
    except (KeyError, TypeError, AttributeError, ValueError, SyntaxError, IndexError) as error:
        raise DataError(f"the files of {name} have another layout than expected: {error!r}") from error
    everything = sorted({code for records in raw.values() for code in records})
    longest = max(map(len, everything))
    codes = np.array([[*code, *[-1] * (longest - len(code))] for code in everything])
    space = RecordedSpace(name, codes)
    rows = np.stack([np.unique(column, return_inverse=True)[1] for column in codes.T], axis=1)
    row_of = dict(zip(everything, rows, strict=True))
    tasks = {}
    for dataset, records in raw.items():
        archs = np.array([row_of[code] for code in records], dtype=np.int64)
        pool = Pool(space, archs)
        accuracies, scores = (np.array(part, dtype=np.float64) for part in zip(*records.values(), strict=True))
        there = [i for i in range(len(PROXIES)) if np.isfinite(scores[:, i]).any()]
        proxies = RecordedProxies(pool, [PROXIES[i] for i in there], scores[:, there])
        tasks[dataset] = Recorded(pool, archs, accuracies, proxies, dataset)
    return tasks


def _records(space: str, dataset: str, store: Store) -> dict[tuple[int, ...], tuple[float, list[float]]]:
    """Accuracy and proxies by architecture, for those with an accuracy."""
    if dataset in THREE:
        return _records_360(space, dataset, store)
    content = readers.read_json(store.path(_FILES[space]))
    entries = content["nasbench101"]["cifar10"] if space == "nasbench101" else content[dataset]
    better = _zip_accuracies(space, dataset, store) if space in _ACCURACIES else {}
    found = {}
    for text, entry in entries.items():
        code = _code(text)
        accuracy = better.get(code, entry.get("val_accuracy"))
        found[code] = (float(accuracy), [_score(entry.get(name)) for name in PROXIES])
    return {code: pair for code, pair in found.items() if np.isfinite(pair[0])}


def _zip_accuracies(space: str, dataset: str, store: Store) -> dict[tuple[int, ...], float]:
    """Accuracies that are wrong in the small files (class_scene by up to 6.7 points)."""
    file = _ACCURACIES[space]
    members = readers.read_zip(store.path(file), f"*--{dataset}--*.json")
    if not members:
        raise DataError(f"{file} has no member for {dataset}")
    lists = [readers.parse_json(content, f"{file}, {member}") for member, content in members.items()]
    return {_code(entry["arch"]): float(entry["val_accuracy"]) for entries in lists for entry in entries}


def _records_360(space: str, dataset: str, store: Store) -> dict[tuple[int, ...], tuple[float, list[float]]]:
    pattern = f"*--{space.replace('-', '_')}--{dataset}--0.json"
    members = readers.read_zip(store.path(_FILE_360), pattern)
    found: dict[tuple[int, ...], tuple[float, list[float]]] = {}
    for member, content in sorted(members.items()):
        place = PROXIES.index(member.partition("/")[0])
        for entry in readers.parse_json(content, f"{_FILE_360}, {member}"):
            empty = (float(entry["val_accuracy"]), [np.nan] * len(PROXIES))
            found.setdefault(_code(entry["arch"]), empty)[1][place] = _score(entry[PROXIES[place]])
    if not found:
        raise DataError(f"{_FILE_360} has no member for {space} and {dataset}")
    return found


def _code(text: str) -> tuple[int, ...]:
    """The integers of a nested tuple's text, in order."""
    flat: list[int] = []

    def add(part: Any) -> None:
        if isinstance(part, (tuple, list)):
            for inner in part:
                add(inner)
        else:
            flat.append(int(part))

    add(ast.literal_eval(text))
    return tuple(flat)


def _score(entry: Any) -> float:
    """A proxy's value from a number or ``{score, time}``; NaN where it is missing or failed."""
    value = entry.get("score") if isinstance(entry, dict) else entry
    value = np.nan if value is None else float(value)
    return value if np.isfinite(value) and value != FAILED else np.nan
