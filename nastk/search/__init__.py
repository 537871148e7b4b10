"""Searchers, one file each; the package itself is callable: ``nastk.search(space, objectives=...)`` runs a search."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Lets ``nastk.search`` be both the package of searchers and the function that runs one."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from nastk.study import search

        return search(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
