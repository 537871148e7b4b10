"""Architectures as a user gives them: texts, indices, integers."""

from __future__ import annotations

from collections.abc import Sequence

from nastk.spaces.base import Archs, SearchSpace


def read_archs(space: SearchSpace, texts: Sequence[str]) -> Archs:
    """Architectures from arguments: text forms, official indices, or integers with commas.

    Raises:
        InvalidArchitecture: the first that cannot be read.
    """
    import numpy as np

    rows = [space.as_archs(int(t) if _is_index(t.strip()) and space.d > 1 else t) for t in texts]
    return np.concatenate([np.empty((0, space.d), dtype=np.int64), *rows])


def _is_index(text: str) -> bool:
    """Whether a text is a number that fits in 64 bits; a longer one is no index of any space."""
    return text.isascii() and text.isdigit() and len(text) < 19
