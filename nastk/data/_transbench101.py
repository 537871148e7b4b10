"""Shared by the importers of TransNAS-Bench-101's two tables: NASLib's files."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.data.proxies import FAILED, PROXIES, proxy_column
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces._transbench101_heads import SEVEN
from nastk.spaces.base import SearchSpace
from nastk.spaces.transbench101_macro import TransBench101Macro

PERCENT = ("class_scene", "class_object", "jigsaw", "segmentsemantic")
"""Tasks whose score is a percentage."""
RANGES = dict.fromkeys(PERCENT, (0.0, 100.0)) | {"room_layout": (-np.inf, 0.0)}
"""Valid range of scores; that of structural similarity is -1 to 1."""
SCORES = {
    "class_scene": "top-1 accuracy",
    "class_object": "top-1 accuracy",
    "jigsaw": "top-1 accuracy of 1,000 permutations",
    "segmentsemantic": "accuracy of pixels",
    "room_layout": "negative loss",
    "normal": "structural similarity",
    "autoencoder": "structural similarity",
}
"""What the score of each task is."""

Rows = NDArray[np.int64]


def rows_of(space: SearchSpace, texts: Iterable[str], file: str) -> Rows:
    """Row numbers of NASLib's tuples, ``"(1, 0, 0, 2, 1, 0)"``; those of short macro networks may omit zeros.

    Raises:
        DataError: something that is not an architecture, or one twice.
    """
    try:
        tuples = [tuple(ast.literal_eval(text)) for text in texts]
        if isinstance(space, TransBench101Macro):
            tuples = [(*t, *[0] * (space.d - len(t))) for t in tuples]
        archs = space.as_archs(np.array(tuples))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, InvalidArchitecture) as error:
        raise DataError(f"{file} holds something that is not an architecture: {error}") from error
    rows = space.index(archs)
    if len(np.unique(rows)) != len(rows):
        raise DataError(f"{file} holds an architecture twice")
    return rows


def add_scores(table: Draft, space: SearchSpace, file: str, path: Path) -> None:
    """Scores of all seven tasks, and zen, of every architecture, from a zip of NASLib's parts."""
    for task in SEVEN:
        members = readers.read_zip(path, f"*--{task}--*.json")
        entries: list[dict[str, Any]] = []
        for name, content in sorted(members.items()):
            entries += readers.parse_json(content, f"{file}, {name}")
        try:
            rows = rows_of(space, [e["arch"] for e in entries], f"{file}, {task}")
            scores = readers.numbers([e["val_accuracy"] for e in entries], f"{file}, {task}")
            zen = readers.numbers([e["zen"]["score"] for e in entries], f"{file}, {task}")
        except (KeyError, TypeError) as error:
            raise DataError(f"{file}, {task} has another layout than expected: {error!r}") from error
        if len(rows) != space.size:
            raise DataError(f"{file} has {len(rows)} architectures of {task}, expected {space.size}")
        unit = "%" if task in PERCENT else ""
        column = Column("val_accuracy", "accuracy", unit, dataset=task, note=SCORES[task])
        low, high = RANGES.get(task, (-1.0, 1.0))
        table.add(file, column, scores, rows, low, high)
        table.add(file, proxy_column("zen", dataset=task), zen, rows, failed=FAILED)


def add_proxies(
    table: Draft, space: SearchSpace, file: str, path: Path, variants: dict[str, str] | None = None
) -> None:
    """The other proxies of some architectures, with their run times, from NASLib's file.

    Args:
        variants: for tasks that have a better source.
    """
    content = readers.read_json(path)
    try:
        for task in SEVEN:
            entries = list(content[task].values())
            rows = rows_of(space, content[task], f"{file}, {task}")
            variant = (variants or {}).get(task)
            for name in [p for p in PROXIES if p != "zen" and p in entries[0]]:
                scores = readers.numbers([e[name]["score"] for e in entries], f"{file}, {task}, {name}")
                seconds = readers.numbers([e[name]["time"] for e in entries], f"{file}, {task}, {name}")
                scores[scores == -np.inf] = FAILED  # nwot where the kernel is singular
                column = proxy_column(name, dataset=task, in_millions=True, variant=variant)
                table.add(file, column, scores, rows, failed=FAILED)
                timed = Column(f"{name}_seconds", "seconds", "s", "min", dataset=task, variant=variant)
                table.add(file, timed, seconds, rows, low=0)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{file} has another layout than expected: {error!r}") from error
