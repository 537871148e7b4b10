"""NAS-Bench-301 (Zela et al., ICLR 2022): accuracies and proxies of 924 DARTS cells, recorded by NAS-Bench-Suite-Zero.

Rows: 725 architectures with CIFAR-10 values in the order of NASLib's file, then the 199 that have values on three
NAS-Bench-360 tasks; none has both. Accuracies on CIFAR-10 are predictions of the benchmark's surrogate, those on the
tasks are trainings. Proxies come with their run times: 12 on CIFAR-10 (no zen), 13 on the tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.data import readers
from nastk.data.proxies import FAILED, PROXIES, proxy_column
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench301 import NASBench301

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

N = 725
"""Architectures with CIFAR-10 values."""
N_360 = 199
"""Architectures with values on the tasks."""
CIFAR10 = "naslib/zc_nasbench301.json"
"""Accuracies and proxies on CIFAR-10."""
NASLIB_360 = "naslib/9x_all.zip"
"""Accuracies and proxies on the tasks of NAS-Bench-360."""
FILES = (CIFAR10, NASLIB_360)
"""Source files of the table."""
TASKS_360 = ("svhn", "ninapro", "scifar100")
"""Tasks of NAS-Bench-360."""
NOTES = {"cifar10": "predicted by the surrogate of NAS-Bench-301, not trained"} | dict.fromkeys(
    TASKS_360, "a NAS-Bench-360 task; the file calls it validation accuracy and does not say which split it is"
)
"""Notes of the accuracy columns by data set."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read both sources.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: a file is not what it should be, or an architecture comes twice in one of them, perhaps with a
            node's inputs in another order.
    """
    content = readers.read_json(path(CIFAR10))
    members = readers.read_zip(path(NASLIB_360), "*--nasbench301--*.json")
    try:
        entries = list(content["cifar10"].values())
        if [e["arch"] for e in entries] != list(content["cifar10"]):
            raise DataError(f"{CIFAR10}: an entry describes another architecture than its key")
        tasks = {task: _task(members, task) for task in TASKS_360}
        first = [e["arch"] for e in tasks[TASKS_360[0]][PROXIES[0]]]
        archs = np.concatenate(
            [_architectures(list(content["cifar10"]), CIFAR10, N), _architectures(first, NASLIB_360, N_360)]
        )
        if len(np.unique(archs, axis=0)) != len(archs):
            raise DataError(f"{CIFAR10} and {NASLIB_360} hold an architecture twice")
        table = Draft(archs.astype(np.int8))
        rows = np.arange(N)
        for name in [p for p in PROXIES if p in entries[0]]:
            _add_proxy(table, CIFAR10, name, "cifar10", entries, rows)
        _add_accuracy(table, CIFAR10, "cifar10", entries, rows)
        for task, by_proxy in tasks.items():
            for name, scores in by_proxy.items():
                if [e["arch"] for e in scores] != first:
                    raise DataError(f"{NASLIB_360}: {name} of {task} lists other architectures than the first member")
                if [e["val_accuracy"] for e in scores] != [e["val_accuracy"] for e in by_proxy[PROXIES[0]]]:
                    raise DataError(f"{NASLIB_360}: {name} of {task} has other accuracies than {PROXIES[0]}")
                _add_proxy(table, NASLIB_360, name, task, scores, N + np.arange(N_360))
            _add_accuracy(table, NASLIB_360, task, by_proxy[PROXIES[0]], N + np.arange(N_360))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{CIFAR10} or {NASLIB_360} has another layout than expected: {error!r}") from error
    return table


def _task(members: dict[str, bytes], task: str) -> dict[str, list[dict[str, Any]]]:
    """Entries of a task's architectures by proxy."""
    found = {}
    for name in PROXIES:
        member = f"{name}/benchmark--nasbench301--{task}--0.json"
        if member not in members:
            raise DataError(f"{NASLIB_360} has no member {member}")
        found[name] = readers.parse_json(members[member], f"{NASLIB_360}, {member}")
    return found


def _architectures(texts: list[str], file: str, expected: int) -> NDArray[np.int64]:
    """Rows of NASLib's compact tuples."""
    if len(texts) != expected:
        raise DataError(f"{file} has {len(texts)} architectures, expected {expected}")
    try:
        return NASBench301().as_archs(texts)
    except InvalidArchitecture as error:
        raise DataError(f"{file} holds something that is not an architecture: {error}") from error


def _add_proxy(
    table: Draft, file: str, name: str, dataset: str, entries: list[dict[str, Any]], rows: NDArray[np.int64]
) -> None:
    scores = readers.numbers([e[name]["score"] for e in entries], f"{file}, {name}")
    seconds = readers.numbers([e[name]["time"] for e in entries], f"{file}, {name}")
    table.add(file, proxy_column(name, dataset=dataset, in_millions=True), scores, rows, failed=FAILED)
    table.add(file, Column(f"{name}_seconds", "seconds", "s", "min", dataset=dataset), seconds, rows, low=0)


def _add_accuracy(
    table: Draft, file: str, dataset: str, entries: list[dict[str, Any]], rows: NDArray[np.int64]
) -> None:
    column = Column("val_accuracy", "accuracy", "%", dataset=dataset, note=NOTES[dataset])
    values = readers.numbers([e["val_accuracy"] for e in entries], f"{file}, {dataset}")
    table.add(file, column, values, rows, low=0, high=100)
