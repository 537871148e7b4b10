"""NAS-Bench-Macro (Su et al., CVPR 2021): CIFAR-10 test accuracy, parameters and FLOPs of all 6,561 networks.

Rows are in the order of the digits. Each network was trained three times.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nastk.data import readers
from nastk.data.tables import Column, Draft
from nastk.errors import DataError, InvalidArchitecture
from nastk.spaces.nasbench_macro import NASBenchMacro

VERSION = 1
"""Version of this importer; an increase recompiles the table."""

SOURCE = "nas-bench-macro/nas-bench-macro_cifar10.json"
"""The benchmark's file."""
FILES = (SOURCE,)
"""Source files of the table."""
RUNS = 3
"""Trainings of each network."""


def draft(path: Callable[[str], Path]) -> Draft:
    """Read the benchmark's file.

    Args:
        path: gives the place of a file of :data:`FILES`, checksum verified.

    Raises:
        DataError: the file is not what it should be.
    """
    content = readers.read_json(path(SOURCE))
    space = NASBenchMacro()
    try:
        archs = np.stack([space.parse(text) for text in content])
        accuracies = np.array([entry["test_acc"] for entry in content.values()], dtype=np.float64)
        counts = np.array([[e["params"], e["flops"]] for e in content.values()], dtype=np.float64)
    except (InvalidArchitecture, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{SOURCE} has another layout than expected: {error}") from error
    if accuracies.shape != (space.size, RUNS):
        raise DataError(f"{SOURCE} has accuracies of shape {accuracies.shape}, expected {space.size} of {RUNS} runs")
    rows = space.index(archs)
    table = Draft(space.enumerate().astype(np.int8))
    mean = Column("test_accuracy", "accuracy", "%", dataset="cifar10", note=f"mean over {RUNS} trainings")
    table.add(SOURCE, mean, accuracies.mean(axis=1), rows, low=0, high=100)
    for run in range(RUNS):
        column = Column("test_accuracy", "accuracy", "%", dataset="cifar10", variant=f"run {run + 1}")
        table.add(SOURCE, column, accuracies[:, run], rows, low=0, high=100)
    for number, name in enumerate(("params", "flops")):
        note = "without the classifier's bias" if name == "flops" else ""
        table.add(SOURCE, Column(name, "count", "", "min", note=note), counts[:, number], rows, low=1)
    return table
