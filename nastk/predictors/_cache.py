"""What a predictor has computed and can compute again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

Kept = TypeVar("Kept")


class Cache(Generic[Kept]):
    """Values by key, the last few of them; belongs to the predictor that computes them.

    Copies of the predictor share it, deep copies too, so that `Predictor.adapt` computes nothing twice: what is kept
    must depend on nothing that a copy may change, and who changes that takes a new cache. A pickled cache is empty.
    Threads may share it; a value is then made once.

    Args:
        size: how many values are kept; the oldest goes first.
    """

    def __init__(self, size: int):
        self.size = size
        self._kept: dict[Hashable, Kept] = {}
        self._lock = Lock()

    def find(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """The value of a key, made if it is not known."""
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= self.size:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = make()
            return self._kept[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> Cache[Kept]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (self.size,)
