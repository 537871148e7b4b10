"""Zero-cost proxies by name as quantiles within their space: features that transfer between spaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nastk.encodings.base import Features
from nastk.errors import InvalidValue
from nastk.predictors.base import Task
from nastk.spaces.base import Archs


def proxy_names(tasks: Sequence[Task]) -> list[str]:
    """Names of all proxies that the tasks' contexts have.

    Raises:
        InvalidValue: no tasks, or one without proxies.
    """
    if not tasks:
        raise InvalidValue("pretraining needs at least one task")
    for task in tasks:
        if task.context.proxies is None:
            raise InvalidValue(f"a task of {task.space.name} has no proxies in its context")
    return sorted({name for task in tasks for name in task.context.proxies.names})  # type: ignore[union-attr]


def proxy_quantiles(task: Task, names: Sequence[str], archs: Archs, reference: Archs) -> Features:
    """Quantiles of the proxies `names` among those of `reference`, ``(n, k)`` in [0, 1]; NaN where missing."""
    assert task.context.proxies is not None
    there = list(task.context.proxies.names)
    known, asked = (_with_canonical(task, rows) for rows in (reference, archs))
    found = np.full((len(archs), len(names)), np.nan)
    for j, name in enumerate(names):
        if name not in there:
            continue
        column = known[:, there.index(name)]
        column = np.sort(column[np.isfinite(column)])
        values = asked[:, there.index(name)]
        rows = np.isfinite(values)
        if len(column):
            low, high = (np.searchsorted(column, values[rows], side) for side in ("left", "right"))
            found[rows, j] = (low + high) / (2.0 * len(column))
    return found


def _with_canonical(task: Task, archs: Archs) -> Features:
    """Proxies; those of the canonical form if an architecture has none itself."""
    assert task.context.proxies is not None
    values = np.array(task.context.proxies(archs), dtype=np.float64)
    gaps = ~np.isfinite(values).all(axis=1)
    if gaps.any():
        others = np.asarray(task.context.proxies(task.space.canonical(archs[gaps])), dtype=np.float64)
        values[gaps] = np.where(np.isfinite(values[gaps]), values[gaps], others)
    return values
