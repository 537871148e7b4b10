"""NAS-Bench-Suite-Zero's zc_<space>.json, whole or in part: zero-cost proxies, their run times and an accuracy.

A file (Krishnakumar et al., NeurIPS 2022) is ``{data set: {architecture: {proxy: {"score", "time"}, "val_accuracy"}}}``
with architectures as the texts of NASLib's tuples; scores may be plain numbers, and everything may be nested under the
name of the space. The file's name gives the space, unless `space` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import nasbench201, readers
from nastk.data.official import Measurements
from nastk.data.proxies import COUNTS, FAILED, PROXIES, proxy_column
from nastk.data.tables import Column
from nastk.errors import DataError, InvalidArchitecture, InvalidValue
from nastk.registry import SPACES
from nastk.spaces.base import SearchSpace
from nastk.spaces.factory import space as space_named
from nastk.spaces.nasbench201 import NASBench201

SPACE = None
"""The file or the user names the space."""
LIMIT = 2 << 30
"""Most bytes of a file, so that a wrong file cannot exhaust the memory."""
PERCENT = ("class_object", "class_scene", "jigsaw")
"""Tasks of TransNAS-Bench-101 whose score is an accuracy in %."""
EPOCHS = {"nasbench101": 108}
"""Training epochs of the accuracies, where they are known."""
NOTES = {
    "nasbench101": "of one of three trainings; the mean where the file shows several",
    "nasbench201": "one seed's record, named validation accuracy in the file; on CIFAR-10 the test record of seed 888",
    "nasbench301": "as the file has it; on CIFAR-10 predicted by the surrogate of NAS-Bench-301, not trained",
}
"""Notes of the accuracy columns by space."""
_NAME = re.compile(r"zc_(\w+?)\.json")
"""File names that give the space."""


def read(paths: Sequence[Path], space: str | None = None) -> list[Measurements]:
    """The columns of each file, over all of its architectures.

    Isomorphic encodings are merged (NAS-Bench-101's small file has 500 tuples of 292 cells): the accuracy is the mean
    over the distinct values, a proxy the mean over the entries, a count that of the first entry.

    Args:
        paths: the files.
        space: of their architectures, if the files' names do not give it.

    Raises:
        InvalidValue: no such file, or its name does not give the space.
        UnknownName: nastk has no such space.
        DataError: a file is not of NAS-Bench-Suite-Zero.
    """
    return [_read_file(path, space or _space_of(path)) for path in paths]


def _space_of(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    name = match.group(1).replace("_", "-") if match else ""
    if name not in SPACES.entries:
        raise InvalidValue(f"{path}: the name does not say the space as zc_nasbench201.json does; add --space")
    return name


def _read_file(path: Path, name: str) -> Measurements:
    if not path.is_file():
        raise InvalidValue(f"{path}: no such file")
    space = space_named(name)
    content = readers.read_json(path, LIMIT)
    try:
        if set(content) == {name}:
            content = content[name]
        texts = list(dict.fromkeys(text for entries in content.values() for text in entries))
        if not texts:
            raise DataError(f"{path} holds no architecture")
        archs, row_of = _distinct(_architectures(texts, space, path), texts)
        columns = []
        for dataset, entries in content.items():
            columns += _columns(name, str(dataset), entries, row_of, len(archs), path)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} has another layout than NAS-Bench-Suite-Zero's files: {error!r}") from error
    return Measurements(name, archs, columns, files=(path,), label=path.stem)


def _architectures(texts: list[str], space: SearchSpace, path: Path) -> NDArray[np.int64]:
    if isinstance(space, NASBench201):  # its tuples number operations and edges differently
        official = space.enumerate()
        return official[nasbench201.Rows(space.format_all(official)).of_tuples(texts, str(path))]
    try:
        return np.stack([space.parse(text) for text in texts])
    except InvalidArchitecture as error:
        raise DataError(f"{path} holds something that is not an architecture: {error}") from error


def _distinct(archs: NDArray[np.int64], texts: list[str]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """The different architectures in the order of the texts, and the row of each text."""
    _, first, group = np.unique(archs, axis=0, return_index=True, return_inverse=True)
    order = np.sort(first)
    rows = np.searchsorted(order, first[group.ravel()])
    return archs[order], dict(zip(texts, rows.tolist(), strict=True))


def _columns(
    space: str, dataset: str, entries: dict[str, dict[str, Any]], row_of: dict[str, int], n: int, path: Path
) -> list[tuple[Column, NDArray[np.float64]]]:
    rows = np.array([row_of[text] for text in entries])

    def spread(values: list[Any], what: str) -> NDArray[np.float64]:
        numbers = readers.numbers([np.nan if v is None else v for v in values], f"{path}, {dataset} {what}")
        known = np.isfinite(numbers) & (numbers != FAILED)
        pairs = np.stack([rows[known], numbers[known]], axis=1)
        if what in COUNTS:
            pairs = pairs[np.unique(pairs[:, 0], return_index=True)[1]]
        elif what == "val_accuracy":
            pairs = np.unique(pairs, axis=0)
        there = pairs[:, 0].astype(np.int64)
        with np.errstate(invalid="ignore"):
            return np.bincount(there, weights=pairs[:, 1], minlength=n) / np.bincount(there, minlength=n)

    found = []
    for proxy in PROXIES:
        given = [entry.get(proxy) for entry in entries.values()]
        scores = [g.get("score") if isinstance(g, dict) else g for g in given]
        if any(s is not None for s in scores):
            found.append((proxy_column(proxy, dataset=dataset, in_millions=True), spread(scores, proxy)))
        seconds = [g.get("time") if isinstance(g, dict) else None for g in given]
        if any(s is not None for s in seconds):
            timed = Column(f"{proxy}_seconds", "seconds", "s", "min", dataset=dataset)
            found.append((timed, spread(seconds, f"{proxy} time")))
    accuracies = [entry.get("val_accuracy") for entry in entries.values()]
    if any(a is not None for a in accuracies):
        metric = "naslib_accuracy" if space == "nasbench201" else "val_accuracy"
        unit = "%" if not space.startswith("transbench101") or dataset in PERCENT else ""
        column = Column(
            metric, "accuracy", unit, dataset=dataset, fidelity=EPOCHS.get(space), note=NOTES.get(space, "")
        )
        found.append((column, spread(accuracies, "val_accuracy")))
    return found
