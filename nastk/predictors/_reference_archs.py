"""Reference architectures: measured on every device, so that their latencies describe it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nastk.errors import InvalidValue
from nastk.predictors.base import Task
from nastk.spaces.base import Archs


def pick_references(tasks: Sequence[Task], n: int, seed: int) -> Archs:
    """Random architectures ``(n, d)`` that were measured on all source devices.

    Raises:
        InvalidValue: the devices share fewer.
    """
    shared = set.intersection(*({row.tobytes() for row in task.archs} for task in tasks))
    rows = [row for row in tasks[0].archs if row.tobytes() in shared]
    common = np.unique(np.array(rows).reshape(-1, tasks[0].space.d), axis=0)
    if len(common) < n:
        raise InvalidValue(f"the source devices share {len(common)} architectures; {n} references are needed")
    return common[np.random.default_rng(seed).choice(len(common), n, replace=False)]


def reference_values(task: Task, references: Archs) -> NDArray[np.float64]:
    """The task's values of the references, ``(n,)``.

    Raises:
        InvalidValue: one of them was not measured.
    """
    rows = {row.tobytes(): value for row, value in zip(task.archs, task.values, strict=True)}
    missing = sum(row.tobytes() not in rows for row in references)
    if missing:
        raise InvalidValue(
            f"{missing} of the {len(references)} reference architectures that describe a device are not among the "
            f"{len(task)} measured ones; measure what choose(n) returns"
        )
    return np.array([rows[row.tobytes()] for row in references])
