"""Progress bars: on a terminal only, so that pipes and logs stay clean."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def bar(total: int | None, what: str) -> Any:
    """A progress bar on standard error; silent where that is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)


def each(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar that follows them."""
    from tqdm import tqdm

    yield from tqdm(items, desc=what, total=total, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
