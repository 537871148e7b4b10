"""Zero-cost proxies by name as quantiles within their space: features that transfer between spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def further_names(task: Task) -> tuple[str, ...]:
    """Names of the further proxies of a task's context (`ProxySource`)."""
    further = getattr(task.context.proxies, "further", None)
    return () if further is None else tuple(further.names)


def proxy_quantiles(task: Task, names: Sequence[str], archs: Archs, reference: Archs) -> Features:
    """Quantiles of the proxies `names` among those of `reference`, ``(n, k)`` in [0, 1]; NaN where missing."""
    known, asked = (proxy_columns(task, names, rows) for rows in (reference, archs))
    found = np.full((len(archs), len(names)), np.nan)
    for j in range(len(names)):
        column = np.sort(known[:, j][np.isfinite(known[:, j])])
        rows = np.isfinite(asked[:, j])
        if len(column):
            low, high = (np.searchsorted(column, asked[rows, j], side) for side in ("left", "right"))
            found[rows, j] = (low + high) / (2.0 * len(column))
    return found


def proxy_columns(task: Task, names: Sequence[str], archs: Archs) -> Features:
    """Proxies ``(n, k)``, NaN where missing, the further ones where the source itself has none of the name."""
    source = task.context.proxies
    assert source is not None
    found = np.full((len(archs), len(names)), np.nan)
    for part in (source, getattr(source, "further", None)):
        there = [] if part is None else list(part.names)
        at = [(j, there.index(name)) for j, name in enumerate(names) if name in there and np.isnan(found[:, j]).all()]
        if at:
            to, of = (list(places) for places in zip(*at, strict=True))
            found[:, to] = _with_canonical(task, part, archs)[:, of]
    return found


def _with_canonical(task: Task, source: Any, archs: Archs) -> Features:
    """Proxies; those of the canonical form if an architecture has none itself."""
    values = np.array(source(archs), dtype=np.float64)
    gaps = ~np.isfinite(values).all(axis=1)
    if gaps.any():
        others = np.asarray(source(task.space.canonical(archs[gaps])), dtype=np.float64)
        values[gaps] = np.where(np.isfinite(values[gaps]), values[gaps], others)
    return values
