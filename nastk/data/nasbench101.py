"""NAS-Bench-101 (Ying et al., ICML 2019): accuracy and 11 proxies of 292 cells, recorded by NAS-Bench-Suite-Zero.

NASLib's file lists 500 sampled encodings, many of them isomorphic: they are 292 members of the space. Their entries
differ because each is one of the benchmark's three trainings and has proxies of its own weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.data import readers
from nastk.data.proxies import COUNTS, FAILED, PROXIES, proxy_column
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench101 import NASBench101

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

SOURCE = "naslib/zc_nasbench101.json"
"""Accuracies and proxies by NASLib's tuples."""
FILES = (SOURCE,)
"""Source files of the table."""
N = 500
"""Entries of the file."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read NASLib's file; entries of isomorphic cells are merged.

    Accuracy is the mean over the distinct trainings among the entries, a proxy the mean over entries, a count that of
    the first entry (isomorphic encodings divide channels differently).

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: the file is not what it should be.
    """
    content = readers.read_json(path(SOURCE))
    try:
        entries = content["nasbench101"]["cifar10"]
        archs = NASBench101().as_archs(list(entries))
        names = [p for p in PROXIES if p in next(iter(entries.values()))]
        columns = {n: np.array([float(e[n]) for e in entries.values()]) for n in (*names, "val_accuracy")}
    except (KeyError, TypeError, AttributeError, ValueError, StopIteration, InvalidArchitecture) as error:
        raise DataError(f"{SOURCE} has another layout than expected: {error}") from error
    if len(archs) != N:
        raise DataError(f"{SOURCE} has {len(archs)} architectures, expected {N}")
    members, first, group = np.unique(archs, axis=0, return_index=True, return_inverse=True)
    groups = [np.flatnonzero(group.ravel() == i) for i in range(len(members))]
    table = Draft(members.astype(np.int8))
    for name in names:
        values = np.where(columns[name] == FAILED, np.nan, columns[name])
        together = values[first] if name in COUNTS else np.array([values[g].mean() for g in groups])
        column = proxy_column(name, dataset="cifar10", in_millions=True)
        table.add(SOURCE, column, np.nan_to_num(together, nan=FAILED), failed=FAILED)
    trainings = np.array([np.unique(columns["val_accuracy"][g]).mean() for g in groups])
    note = "mean over the trainings (of three) that NASLib's file shows, 108 epochs"
    column = Column("val_accuracy", "accuracy", "%", dataset="cifar10", fidelity=108, note=note)
    table.add(SOURCE, column, trainings, low=0, high=100)
    return table
