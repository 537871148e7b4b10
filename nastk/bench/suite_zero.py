"""The 28 tasks of NAS-Bench-Suite-Zero as accuracy predictors take them, with their proxies in the context."""

from __future__ import annotations

from collections.abc import Iterable

from nastk.data import suite_zero
from nastk.data.fetch import Store
from nastk.encodings.base import Context
from nastk.predictors.base import Task


def tasks(names: Iterable[str] | None = None, store: Store | None = None) -> dict[str, Task]:
    """Tasks by their names, all 28 by default; see :func:`nastk.data.suite_zero.read`.

    Raises:
        UnknownName: no such task.
        DataError: a file was not fetched (the message has the command), or has another layout.
    """
    return {
        name: Task(
            found.space,
            found.archs,
            found.accuracies,
            "accuracy",
            direction="max",
            dataset=found.dataset,
            context=Context(proxies=found.proxies, dataset=found.dataset),
        )
        for name, found in suite_zero.read(names, store).items()
    }
