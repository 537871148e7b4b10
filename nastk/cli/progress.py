"""Progress bars, only on a terminal, so that pipes and logs stay clean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from nastk.report.text import printable


def bar(total: int | None, what: str) -> Any:
    """A progress bar on standard error; disabled if that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)


def follow(progress: Any) -> Callable[..., None]:
    """Moves a bar to (done, total) as benchmarks report it, or to (done, total, what) as studies do."""

    def move(done: float, total: float, label: str = "") -> None:
        progress.total, progress.n = total, done
        progress.set_postfix_str(printable(label), refresh=True)

    return move
