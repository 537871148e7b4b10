"""Searchers, one file each; ``from nastk.search import NastkSampler`` brings them to Optuna.

The attribute ``nastk.search`` is not this package but the function that runs a search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nastk.search._nastk_sampler import NastkSampler

__all__ = ["NastkSampler"]

if not TYPE_CHECKING:  # a type checker shall refuse a name that does not exist

    def __getattr__(name: str) -> Any:
        if name == "NastkSampler":
            from nastk.search._nastk_sampler import NastkSampler

            return NastkSampler
        raise AttributeError(f"module 'nastk.search' has no attribute {name!r}")
