"""What something costs, counted, not timed: the same on a slow, a busy and a fast machine."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

HANGS = 600
"""Seconds after which what a test waits for counts as hanging; what works comes nowhere near, however slow."""


def until(happens: Callable[[], Any]) -> None:
    """Wait until something has happened elsewhere."""
    deadline = time.monotonic() + HANGS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def calls(action: Callable[[], Any]) -> int:
    """How many functions `action` calls, Python's and C's alike.

    A loop over n architectures calls at least n; array operations on all of them at once call as many for any n.
    """
    count = 0

    def count_one(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count_one)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def peak(action: Callable[[], Any]) -> int:
    """Bytes that `action` holds at its greatest, beyond what was held before: all pairs of n rows are n^2 of them."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
