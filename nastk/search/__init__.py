"""Searchers, one file each; the package itself is callable: ``nastk.search(space, objectives=...)`` runs a search.

``nastk.search.NastkSampler`` brings them to Optuna.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nastk.search._nastk_sampler import NastkSampler

__all__ = ["NastkSampler"]


def __getattr__(name: str) -> Any:
    if name == "NastkSampler":
        from nastk.search._nastk_sampler import NastkSampler

        return NastkSampler
    raise AttributeError(f"module 'nastk.search' has no attribute {name!r}")


class _CallablePackage(ModuleType):
    """Lets ``nastk.search`` be both the package of searchers and the function that runs one."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from nastk.run import search

        return search(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
